//! The page of races: every race and fault of the runtime has its defence in the code and a test that was seen red without it.

use std::collections::BTreeMap;

use super::Finding;
use crate::rule_id::RuleId;
use crate::spec::{definitions, not_applicable};
use crate::tree::Tree;

const PAGE: &str = "docs/design/races.md";

/// What stands for a defence or a test that there is not, with the reason in the next cell.
const NONE: &str = "—";

/// A row of the page: `| id | defence | tests |`.
struct Row<'t> {
    line: usize,
    defence: &'t str,
    tests: &'t str,
}

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let page = tree.text(PAGE).unwrap_or_default();
    let rows = rows(page);
    let mut findings = Vec::new();
    let exempt = not_applicable(tree);
    for id in definitions(tree).into_keys().filter(|id| ["AR", "AF"].contains(&id.prefix())) {
        if !rows.contains_key(&id) && !exempt.contains_key(&id) {
            findings.push(Finding::new(PAGE, 0, format!("{id} has no row")));
        }
    }
    for (id, row) in &rows {
        let names = quoted(row.tests);
        if row.defence != NONE {
            findings.extend(
                defence(tree, row.defence)
                    .into_iter()
                    .map(|what| Finding::new(PAGE, row.line, format!("{id}: {what}"))),
            );
            if names.is_empty() {
                findings.push(Finding::new(PAGE, row.line, format!("{id} names no test")));
            }
        }
        for name in names.into_iter().filter(|name| !is_proof(tree, name)) {
            findings.push(Finding::new(PAGE, row.line, format!("{id}: there is no test or story `{name}`")));
        }
    }
    findings
}

fn rows(page: &str) -> BTreeMap<RuleId, Row<'_>> {
    let mut rows = BTreeMap::new();
    for (index, line) in page.lines().enumerate() {
        let mut cells = line.trim().trim_matches('|').split('|').map(str::trim);
        if let (Some(id), Some(defence), Some(tests)) =
            (cells.next().and_then(RuleId::parse), cells.next(), cells.next())
        {
            rows.insert(id, Row { line: index + 1, defence, tests });
        }
    }
    rows
}

/// Gives the words between backquotes.
fn quoted(cell: &str) -> Vec<&str> {
    cell.split('`').skip(1).step_by(2).collect()
}

/// Says what is wrong with a defence, which is a file of the crates and functions in it: `` `agent/src/inbox.rs` `receive` ``.
fn defence(tree: &Tree, cell: &str) -> Vec<String> {
    let words = quoted(cell);
    let Some((file, functions)) = words.split_first() else {
        return vec!["the defence names no file".to_owned()];
    };
    let Some(text) = tree.text(&format!("crates/{file}")) else {
        return vec![format!("there is no crates/{file}")];
    };
    let missing = functions.iter().filter(|function| !declares(text, function));
    missing.map(|function| format!("crates/{file} has no function `{function}`")).collect()
}

fn declares(text: &str, function: &str) -> bool {
    [format!("fn {function}("), format!("fn {function}<")].iter().any(|head| text.contains(head))
}

/// Tells whether a name is that of a function in Rust or of a story.
fn is_proof(tree: &Tree, name: &str) -> bool {
    tree.text(&format!("scenarios/{name}.json")).is_some()
        || tree.below("", "rs").any(|file| declares(&file.text, name))
}

#[cfg(test)]
mod tests {
    use super::*;

    // AA-165: a race without a row, a defence or a test is found; that the test goes red is for the hand that writes the row.
    #[test]
    fn a_race_without_its_defence_or_its_test_is_found_aa165() {
        let tree = Tree::of(&[
            (
                "docs/spec/agent-runtime.md",
                "> Race AR-1 — a\n> Race AR-2 — b\n> Race AR-3 — c\n> Race AR-4 — d\n> Race AR-5 — e\n> Race AR-6 — f\n- A-1 g",
            ),
            ("docs/spec/not-applicable.md", "| AR-6 | There is none. |"),
            (
                PAGE,
                "| AR-1 | `a.rs` `guard` | `holds_ar1` `story` |\n| AR-2 | `a.rs` `gone` | `holds_ar1` |\n\
                 | AR-3 | `b.rs` | `holds_ar1` `no_more` |\n| AR-4 | — | another crate's |\n",
            ),
            ("crates/a.rs", "fn guard() {}\nfn holds_ar1() {}"),
            ("scenarios/story.json", "{}"),
        ]);

        let found: Vec<String> = check(&tree).iter().map(Finding::to_string).collect();

        assert_eq!(
            found,
            [
                "docs/design/races.md: AR-5 has no row",
                "docs/design/races.md:2: AR-2: crates/a.rs has no function `gone`",
                "docs/design/races.md:3: AR-3: there is no crates/b.rs",
                "docs/design/races.md:3: AR-3: there is no test or story `no_more`",
            ]
        );
    }
}

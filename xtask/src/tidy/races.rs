//! The pages of races: every race and fault of an area has its defence in the code, a test that was seen red without it and one that
//! walks its event table.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;

use super::Finding;
use crate::markdown;
use crate::rule_id::RuleId;
use crate::spec::{definitions, not_applicable, test_names};
use crate::tree::Tree;

/// A page and what it tells of.
struct Page {
    path: &'static str,
    /// The kinds of id that must all have a row here; none while the page is being written.
    whole: &'static [&'static str],
}

const PAGES: [Page; 3] = [
    Page { path: "docs/design/races.md", whole: &["AR", "AF"] },
    Page { path: "docs/design/races-client.md", whole: &["CR", "CF"] },
    Page { path: "docs/design/races-server.md", whole: &["SR"] },
];

/// What stands for a defence or a test that there is not, with the reason in the next cell.
const NONE: &str = "—";

/// A row of the page: `| id | defence | tests | step by step |`.
struct Row<'t> {
    line: usize,
    defence: &'t str,
    tests: &'t str,
    /// The tests and stories that walk the race's event table.
    walks: &'t str,
}

pub(super) fn check(tree: &Tree) -> Result<Vec<Finding>> {
    let tests = test_names(tree)?;
    Ok(PAGES.iter().flat_map(|page| check_page(tree, &tests, page)).collect())
}

fn check_page(tree: &Tree, tests: &BTreeSet<String>, page: &Page) -> Vec<Finding> {
    let rows = rows(tree.text(page.path).unwrap_or_default());
    let mut findings = Vec::new();
    let exempt = not_applicable(tree);
    for id in definitions(tree).into_keys().filter(|id| page.whole.contains(&id.prefix())) {
        if !rows.contains_key(&id) && !exempt.contains_key(&id) {
            findings.push(Finding::new(page.path, 0, format!("{id} has no row")));
        }
    }
    for (id, row) in &rows {
        let wrongs = check_row(tree, tests, row);
        findings.extend(wrongs.into_iter().map(|what| Finding::new(page.path, row.line, format!("{id}{what}"))));
    }
    findings
}

/// Says what is wrong with a row, each to be read behind its id.
fn check_row(tree: &Tree, tests: &BTreeSet<String>, row: &Row<'_>) -> Vec<String> {
    let names: Vec<&str> = markdown::code(row.tests).collect();
    let walks: Vec<&str> = markdown::code(row.walks).collect();
    let mut wrongs = Vec::new();
    if row.defence != NONE {
        wrongs.extend(defence(tree, row.defence).into_iter().map(|what| format!(": {what}")));
        if names.is_empty() {
            wrongs.push(" names no test".to_owned());
        }
        if walks.is_empty() {
            wrongs.push(" names no test that walks it step by step".to_owned());
        }
    }
    let is_story = |name: &str| tree.text(&format!("scenarios/{name}.json")).is_some();
    let unknown = names.into_iter().chain(walks).filter(|name| !tests.contains(*name) && !is_story(name));
    wrongs.extend(unknown.map(|name| format!(": there is no test or story `{name}`")));
    wrongs
}

fn rows(page: &str) -> BTreeMap<RuleId, Row<'_>> {
    let mut rows = BTreeMap::new();
    for (index, line) in page.lines().enumerate() {
        let cells = markdown::cells(line).unwrap_or_default();
        if let [id, defence, tests, rest @ ..] = &cells[..]
            && let Some(id) = RuleId::parse(id)
        {
            let walks = rest.first().copied().unwrap_or(NONE);
            rows.insert(id, Row { line: index + 1, defence, tests, walks });
        }
    }
    rows
}

/// Says what is wrong with a defence, which is a file of the crates and functions in it: `` `agent/src/inbox.rs` `receive` ``.
fn defence(tree: &Tree, cell: &str) -> Vec<String> {
    let words: Vec<&str> = markdown::code(cell).collect();
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
                "docs/design/races.md",
                "| AR-1 | `a.rs` `guard` | `holds_ar1` `story` | `holds_ar1` |\n| AR-2 | `a.rs` `gone` | `holds_ar1` | `story` |\n\
                 | AR-3 | `b.rs` | `holds_ar1` `no_more` `no_test` | `story` |\n| AR-4 | — | another crate's |\n\
                 | AR-7 | `a.rs` | `holds_ar1` | `holds_ar1` `no_walk` |\n| AR-8 | `a.rs` | `holds_ar1` | — |\n\
                 | AR-9 | `a.rs` | `holds_ar1` |\n",
            ),
            ("docs/design/races-client.md", "| CR-1 | `a.rs` `gone` | `holds_ar1` | `story` |\n"),
            ("crates/a.rs", "fn guard() {}\n#[test]\nfn holds_ar1() {}\nfn no_test() {}"),
            ("scenarios/story.json", "{}"),
        ]);

        let found: Vec<String> = check(&tree).unwrap().iter().map(Finding::to_string).collect();

        assert_eq!(
            found,
            [
                "docs/design/races.md: AR-5 has no row",
                "docs/design/races.md:2: AR-2: crates/a.rs has no function `gone`",
                "docs/design/races.md:3: AR-3: there is no crates/b.rs",
                "docs/design/races.md:3: AR-3: there is no test or story `no_more`",
                "docs/design/races.md:3: AR-3: there is no test or story `no_test`",
                "docs/design/races.md:5: AR-7: there is no test or story `no_walk`",
                "docs/design/races.md:6: AR-8 names no test that walks it step by step",
                "docs/design/races.md:7: AR-9 names no test that walks it step by step",
                "docs/design/races-client.md:1: CR-1: crates/a.rs has no function `gone`",
            ]
        );
    }
}

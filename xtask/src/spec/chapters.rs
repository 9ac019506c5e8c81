//! The pages of docs/spec: which ids they define, where, under which heading.

use std::collections::BTreeMap;

use crate::markdown;
use crate::rule_id::{self, RuleId};
use crate::tree::{File, Tree};

const SPEC: &str = "docs/spec/";

/// Names the ids that need no test, with the reason; it defines none.
const NOT_APPLICABLE: &str = "docs/spec/not-applicable.md";

/// What may stand before an id that a line defines: list, table, quote and box marks.
const MARKS: [char; 7] = [' ', '>', '|', '*', '-', '[', ']'];

/// Where an id is defined; a race with a table of events and a row in a list is defined by the table, which comes first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Definition {
    /// The page, from the top.
    pub(crate) page: String,
    /// The line, from 1.
    pub(crate) line: usize,
    /// The number of the section's heading (`14.2`, `C.7`), or the whole heading when it has none.
    pub(crate) section: String,
    /// The rest of the line, without marks.
    pub(crate) title: String,
}

/// Finds every id that a page of docs/spec defines.
pub(crate) fn definitions(tree: &Tree) -> BTreeMap<RuleId, Definition> {
    let mut found = BTreeMap::new();
    for page in tree.below(SPEC, "md").filter(|page| page.path != NOT_APPLICABLE) {
        let mut section = String::new();
        for (index, line) in page.text.lines().enumerate() {
            if let Some(heading) = heading(line) {
                section = heading;
            }
            let Some((ids, title)) = defined(line) else { continue };
            for id in ids {
                let definition = Definition {
                    page: page.path.clone(),
                    line: index + 1,
                    section: section.clone(),
                    title: title.clone(),
                };
                found.entry(id).or_insert(definition);
            }
        }
    }
    found
}

/// Finds the ids that need no test, with the reason: the rows `| id | reason |` of their page.
pub(crate) fn not_applicable(tree: &Tree) -> BTreeMap<RuleId, String> {
    let rows = tree.files.iter().filter(|page| page.path == NOT_APPLICABLE).flat_map(|page: &File| page.text.lines());
    rows.filter_map(|row| {
        let cells = markdown::cells(row)?;
        Some((RuleId::parse(cells[0])?, (*cells.get(1)?).to_owned()))
    })
    .collect()
}

/// Gives a heading's number, or all of it when it has none.
fn heading(line: &str) -> Option<String> {
    let text = line.strip_prefix('#')?.trim_start_matches('#').strip_prefix(' ')?.trim();
    let text = text.strip_prefix("Appendix ").unwrap_or(text);
    let first = text.split_whitespace().next().unwrap_or_default().trim_end_matches('.');
    let is_part = |part: &str| part.parse::<u32>().is_ok() || part.len() == 1 && part.starts_with(char::is_uppercase);
    let is_number = first.split('.').all(is_part);
    Some(if is_number { first.to_owned() } else { text.to_owned() })
}

/// Gives the ids that a line defines, several when they share a table cell, and what it says.
fn defined(line: &str) -> Option<(Vec<RuleId>, String)> {
    let text = line.trim_start_matches(MARKS);
    if text.len() == line.len() {
        return None;
    }
    let text = text.strip_prefix("Race ").unwrap_or(text);
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    let first = text.find(|c| !is_word(c)).map_or(text, |end| &text[..end]);
    let mut ids = vec![RuleId::parse(first)?];
    let (cell, rest) = text.split_once('|').unwrap_or((first, &text[first.len()..]));
    if line.trim_start().starts_with('|') {
        ids = rule_id::ids(cell).collect();
    }
    let title = rest.trim_start_matches([' ', '*', ':', '—', '|']).trim_end_matches([' ', '|']);
    Some((ids, title.replace("**", "")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec() -> Tree {
        Tree::of(&[
            (
                "docs/spec/agent-runtime.md",
                "# Agent\n## 2. Reading\n- A-21 [FIX] Records are read.\n> Race AR-1 — a race\nA-99 is named.\n\
                 ### 14.2 Agent\n- **A-222** One.\n## Appendix A — races\n| AR-1 | again | A-21 |\n| AR-2, AR-3 | two |\n\
                 ### C.7 Handover\n- AA-53 skip: exits\n",
            ),
            (
                "docs/spec/decisions.md",
                "## The session server\n| # | Question |\n| --- | --- |\n| D-1 | Closed | 409. |\n",
            ),
            (
                "docs/spec/not-applicable.md",
                "| id | reason |\n| --- | --- |\n| A-21 | There is no replica. |\n| A-77 | x |\n",
            ),
        ])
    }

    #[test]
    fn every_id_has_its_section_and_its_first_line() {
        let found = definitions(&spec());

        let lines: Vec<String> = found
            .iter()
            .map(|(id, at)| {
                format!("{id} {}:{} §{} {}", at.page.trim_start_matches(SPEC), at.line, at.section, at.title)
            })
            .collect();
        assert_eq!(
            lines,
            [
                "A-21 agent-runtime.md:3 §2 [FIX] Records are read.",
                "A-222 agent-runtime.md:7 §14.2 One.",
                "AR-1 agent-runtime.md:4 §2 a race",
                "AR-2 agent-runtime.md:10 §A two",
                "AR-3 agent-runtime.md:10 §A two",
                "AA-53 agent-runtime.md:12 §C.7 skip: exits",
                "D-1 decisions.md:4 §The session server Closed | 409.",
            ]
        );
    }

    #[test]
    fn a_definition_starts_its_line_behind_a_mark() {
        for line in [
            "- **S-120 [H]** Also",
            "| D-30 | A",
            "> **Race S-120: reload",
            "- [ ] CA-1 Stop",
            "- AA-1 unknown",
            "**Race CR-1** — a",
        ] {
            assert!(defined(line).is_some(), "{line}");
        }
        for line in ["as S-120 says", "SR-36, SR-42 were reproduced", "- see S-120", "- S-120-b"] {
            assert_eq!(defined(line), None, "{line}");
        }
    }

    #[test]
    fn ids_that_need_no_test_come_with_their_reason() {
        let found: Vec<String> = not_applicable(&spec()).iter().map(|(id, why)| format!("{id}: {why}")).collect();

        assert_eq!(found, ["A-21: There is no replica.", "A-77: x"]);
    }
}

//! Rule ids that are cited must be defined under docs/spec/.

use std::collections::BTreeSet;

use super::Finding;
use super::tree::Tree;

const SPEC: &str = "docs/spec/";
const PREFIXES: &[&str] = &["S", "A", "C", "D", "SR", "AR", "CR", "RC", "AA", "CA", "AF", "CF"];

/// Where ids are cited.
const CITING: &[(&str, &str)] = &[
    ("crates/", "rs"),
    ("harness/", "rs"),
    ("reference-agents/", "rs"),
    ("xtask/", "rs"),
    ("scenarios/", "json"),
    ("", "md"),
    ("", "toml"),
];

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let specs = tree.below(SPEC, "md");
    let defined: BTreeSet<&str> = specs.flat_map(|file| file.text.lines()).filter_map(definition).collect();
    let mut findings = Vec::new();
    for (folder, ext) in CITING {
        for file in tree.below(folder, ext).filter(|file| !file.path.starts_with(SPEC)) {
            for (index, line) in file.text.lines().enumerate() {
                for id in ids(line).filter(|id| !defined.contains(id)) {
                    findings.push(Finding::new(&file.path, index + 1, format!("{id} is not defined under {SPEC}")));
                }
            }
        }
    }
    findings
}

/// Gives the id that a line of a specification defines: the first thing in it, past list, table and quote marks.
fn definition(line: &str) -> Option<&str> {
    let mut text = line.trim_start_matches([' ', '>', '|', '*', '-', '[', ']']);
    text = text.strip_prefix("Race ").unwrap_or(text);
    ids(text).next().filter(|id| text.starts_with(id))
}

/// Finds the ids in a line: a known prefix, a dash, digits and perhaps a letter, as a word of their own.
fn ids(line: &str) -> impl Iterator<Item = &str> {
    line.split(|c: char| !(c.is_ascii_alphanumeric() || c == '-' || c == '_')).filter(|word| {
        let Some((prefix, number)) = word.split_once('-') else { return false };
        let digits = number.strip_suffix(|c: char| c.is_ascii_lowercase()).unwrap_or(number);
        PREFIXES.contains(&prefix) && !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_words_of_their_own() {
        let found: Vec<&str> = ids("S-120, A-65…A-67 (SR-22), A-256a; UTF-8 X-1 TLS-1 A-x S-120-b").collect();

        assert_eq!(found, ["S-120", "A-65", "A-67", "SR-22", "A-256a"]);
    }

    #[test]
    fn a_definition_starts_its_line() {
        for line in [
            "- **S-120 [H]** Also require",
            "| D-30 | A failure",
            "> **Race S-120: reload",
            "- [ ] CA-1 Stop",
            "- AA-1 unknown",
        ] {
            assert!(definition(line).is_some(), "{line}");
        }
        assert_eq!(definition("as S-120 says"), None);
    }

    #[test]
    fn a_citation_of_nothing_is_found() {
        let tree = Tree::of(&[
            ("docs/spec/sessions.md", "- **S-1 [H]** First."),
            ("crates/a.rs", "// S-1 holds.\n// S-2 does not."),
            ("scenarios/a.json", "{ \"why\": \"CR-1\" }"),
        ]);

        let found: Vec<String> = check(&tree).iter().map(Finding::to_string).collect();

        assert_eq!(
            found,
            [
                "crates/a.rs:2: S-2 is not defined under docs/spec/",
                "scenarios/a.json:1: CR-1 is not defined under docs/spec/"
            ]
        );
    }
}

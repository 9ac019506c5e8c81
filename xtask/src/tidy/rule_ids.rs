//! Rule ids that are cited must be defined under docs/spec/.

use super::Finding;
use crate::rule_id::ids;
use crate::spec::definitions;
use crate::tree::Tree;

const SPEC: &str = "docs/spec/";

/// Defines no id, so what it names is checked like everywhere else.
const NOT_APPLICABLE: &str = "docs/spec/not-applicable.md";

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
    let defined = definitions(tree);
    let mut findings = Vec::new();
    for (folder, ext) in CITING {
        let cites = |path: &str| !path.starts_with(SPEC) || path == NOT_APPLICABLE;
        for file in tree.below(folder, ext).filter(|file| cites(&file.path)) {
            for (index, line) in file.text.lines().enumerate() {
                for id in ids(line).filter(|id| !defined.contains_key(id)) {
                    findings.push(Finding::new(&file.path, index + 1, format!("{id} is not defined under {SPEC}")));
                }
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_citation_of_nothing_is_found() {
        let tree = Tree::of(&[
            ("docs/spec/sessions.md", "- **S-1 [H]** First."),
            ("docs/spec/not-applicable.md", "| S-1 | why |\n| S-2 | why |"),
            ("crates/a.rs", "// S-1 holds.\n// S-2 does not."),
            ("scenarios/a.json", "{ \"why\": \"CR-1\" }"),
        ]);

        let found: Vec<String> = check(&tree).iter().map(Finding::to_string).collect();

        assert_eq!(
            found,
            [
                "crates/a.rs:2: S-2 is not defined under docs/spec/",
                "scenarios/a.json:1: CR-1 is not defined under docs/spec/",
                "docs/spec/not-applicable.md:2: S-2 is not defined under docs/spec/"
            ]
        );
    }
}

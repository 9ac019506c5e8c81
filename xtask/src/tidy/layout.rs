//! What lies at the top, and how long a file may be.

use super::Finding;
use crate::tree::Tree;

/// What lies at the top, and nothing else.
const TOP: &[&str] = &[
    ".cargo",
    ".ci",
    ".gitignore",
    "ARCHITECTURE.md",
    "CONTRIBUTING.md",
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE",
    "README.md",
    "clippy.toml",
    "crates",
    "docs",
    "golden",
    "harness",
    "interop",
    "reference-agents",
    "rustfmt.toml",
    "scenarios",
    "xtask",
];

/// Past this many lines a second idea is hiding in a file.
const MAX_LINES: usize = 500;

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = top(&tree.top);
    for file in tree.below("", "rs") {
        let n_lines = file.text.lines().count();
        if n_lines > MAX_LINES {
            let what = format!("{n_lines} lines: past {MAX_LINES} a second idea is hiding in there");
            findings.push(Finding::new(&file.path, MAX_LINES + 1, what));
        }
    }
    findings
}

fn top(found: &[String]) -> Vec<Finding> {
    let missing = TOP.iter().filter(|name| !found.iter().any(|other| other == *name));
    let strange = found.iter().filter(|name| !TOP.contains(&name.as_str()));
    missing
        .map(|name| Finding::new(*name, 0, "is missing at the top"))
        .chain(strange.map(|name| Finding::new(name, 0, "does not belong at the top")))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_top_is_exactly_as_agreed() {
        let right: Vec<String> = TOP.iter().map(|name| (*name).to_owned()).collect();
        let mut wrong = right.clone();
        wrong[0] = "utils".to_owned();

        assert_eq!(top(&right), []);
        let found: Vec<String> = top(&wrong).iter().map(Finding::to_string).collect();
        assert_eq!(found, [".cargo: is missing at the top", "utils: does not belong at the top"]);
    }

    #[test]
    fn a_file_past_the_limit_is_found() {
        let (full, over) = ("\n".repeat(MAX_LINES), "\n".repeat(MAX_LINES + 1));
        let mut tree = Tree::of(&[("crates/a.rs", &full), ("crates/b.rs", &over), ("docs/c.md", &over)]);
        tree.top = TOP.iter().map(|name| (*name).to_owned()).collect();

        let found: Vec<String> = check(&tree).iter().map(Finding::to_string).collect();

        assert_eq!(found, ["crates/b.rs:501: 501 lines: past 500 a second idea is hiding in there"]);
    }
}

//! The commands that the pages tell people to run exist.

use clap::Parser as _;

use super::Finding;
use crate::cli::Cli;
use crate::tree::Tree;

const PAGES: &[&str] = &["README.md", "CONTRIBUTING.md", "ARCHITECTURE.md", ".ci/run"];
const GUIDE: &str = "docs/guide/";
const COMMAND: &str = "cargo xtask";

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    let guide = tree.below(GUIDE, "md").map(|page| page.path.as_str());
    for page in PAGES.iter().copied().chain(guide) {
        for (index, line) in tree.text(page).unwrap_or_default().lines().enumerate() {
            for command in commands(line) {
                let words = command.split_whitespace().skip(2);
                if let Err(err) = Cli::try_parse_from(std::iter::once(COMMAND).chain(words))
                    && err.exit_code() != 0
                {
                    let why = err.to_string().lines().next().unwrap_or_default().to_owned();
                    findings.push(Finding::new(page, index + 1, format!("`{command}`: {why}")));
                }
            }
        }
    }
    findings
}

/// Finds the commands in a line: up to a backtick, a comment, two spaces or the line's end.
fn commands(line: &str) -> impl Iterator<Item = &str> {
    line.match_indices(COMMAND).filter_map(|(at, _)| {
        let text = &line[at..];
        let end = ["`", " #", "  "].iter().filter_map(|stop| text.find(stop)).min().unwrap_or(text.len());
        let command = text[..end].trim_end();
        (command.len() > COMMAND.len()).then_some(command)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_found_in_prose_and_in_blocks() {
        let found: Vec<&str> = commands("Run `cargo xtask sim --twin` or cargo xtask bless a   # writes").collect();

        assert_eq!(found, ["cargo xtask sim --twin", "cargo xtask bless a"]);
        assert_eq!(commands("the verbs of `cargo xtask`:").count(), 0);
    }

    #[test]
    fn a_command_that_does_not_exist_is_found() {
        let tree = Tree::of(&[
            ("README.md", "cargo xtask sim\ncargo xtask fly\n`cargo xtask sim --help`"),
            ("docs/guide/a.md", "cargo xtask swim"),
        ]);

        let found: Vec<String> = check(&tree).iter().map(Finding::to_string).collect();

        assert_eq!(
            found,
            [
                "README.md:2: `cargo xtask fly`: error: unrecognized subcommand 'fly'",
                "docs/guide/a.md:1: `cargo xtask swim`: error: unrecognized subcommand 'swim'"
            ]
        );
    }
}

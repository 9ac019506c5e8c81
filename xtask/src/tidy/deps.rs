//! Every direct dependency is named in the sources of its crate, and every one the workspace declares is taken by some crate.

use super::Finding;
use super::words::code;
use crate::tree::{File, Tree};

/// Folders with a `Cargo.toml` of ours in them or below them.
const MEMBERS: &[&str] = &["crates/", "harness/", "reference-agents/", "xtask/"];

const WORKSPACE: &str = "[workspace.dependencies]";

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let manifests: Vec<&File> = MEMBERS
        .iter()
        .flat_map(|folder| tree.below(folder, "toml"))
        .filter(|file| file.path.ends_with("/Cargo.toml"))
        .collect();
    let mut findings: Vec<Finding> = manifests.iter().flat_map(|manifest| unnamed(tree, manifest)).collect();
    let root = tree.files.iter().find(|file| file.path == "Cargo.toml");
    let taken: Vec<Dependency<'_>> = manifests
        .iter()
        .copied()
        .chain(root)
        .flat_map(dependencies)
        .filter(|dependency| dependency.section != WORKSPACE)
        .collect();
    for declared in root.into_iter().flat_map(dependencies).filter(|dependency| dependency.section == WORKSPACE) {
        if !taken.iter().any(|dependency| dependency.name == declared.name) {
            findings.push(Finding::new("Cargo.toml", declared.line, format!("no crate takes `{}`", declared.name)));
        }
    }
    findings
}

/// A line of a manifest.
struct Dependency<'a> {
    section: &'a str,
    name: &'a str,
    line: usize,
    renamed: bool,
}

/// Lists the dependencies of a manifest, each on its own line as ours are written.
fn dependencies(manifest: &File) -> Vec<Dependency<'_>> {
    let mut section = "";
    let mut found = Vec::new();
    for (index, line) in manifest.text.lines().enumerate() {
        if line.starts_with('[') {
            section = line.trim_end();
        } else if section.ends_with("dependencies]") && line.starts_with(|c: char| c.is_ascii_lowercase()) {
            let name = line.split(['.', ' ', '=']).next().unwrap_or_default();
            found.push(Dependency { section, name, line: index + 1, renamed: line.contains("package =") });
        }
    }
    found
}

fn unnamed(tree: &Tree, manifest: &File) -> Vec<Finding> {
    let folder = manifest.path.strip_suffix("Cargo.toml").unwrap_or_default();
    let unnamed = dependencies(manifest).into_iter().filter(|dependency| {
        let word = dependency.name.replace('-', "_");
        !dependency.renamed
            && !tree.below(folder, "rs").any(|file| file.text.lines().any(|line| has(code(line), &word)))
    });
    unnamed
        .map(|dependency| {
            let what = format!("no source of this crate names `{}`", dependency.name);
            Finding::new(&manifest.path, dependency.line, what)
        })
        .collect()
}

/// Whether `line` has `word` as a word of its own.
fn has(line: &str, word: &str) -> bool {
    let part = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word).any(|(at, _)| {
        let (before, after) = (line[..at].chars().next_back(), line[at + word.len()..].chars().next());
        !before.is_some_and(part) && !after.is_some_and(part)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn finds(files: &[(&str, &str)], want: &[&str]) {
        let found: Vec<String> = check(&Tree::of(files)).iter().map(Finding::to_string).collect();

        assert_eq!(found, want);
    }

    #[test]
    fn a_dependency_that_no_source_names_is_found() {
        let manifest = "[package]\nname = \"a\"\n[dependencies]\nhttp-body.workspace = true\nserde = { workspace = true }\n\
                        [dev-dependencies]\nproptest.workspace = true\nother = { package = \"x\" }\n";
        let unnamed = |line, name| format!("crates/a/Cargo.toml:{line}: no source of this crate names `{name}`");

        finds(
            &[("crates/a/Cargo.toml", manifest), ("crates/a/src/lib.rs", "use http_body_util::x;\n// serde, proptest")],
            &[&unnamed(4, "http-body"), &unnamed(5, "serde"), &unnamed(7, "proptest")],
        );
        let sources = ("crates/a/src/lib.rs", "use http_body::Body;\n#[derive(serde::Serialize)]");
        let tests = ("crates/a/tests/t.rs", "proptest! {}");
        finds(&[("crates/a/Cargo.toml", manifest), sources, tests], &[]);
    }

    #[test]
    fn what_the_workspace_declares_and_no_crate_takes_is_found() {
        let root = "[workspace.dependencies]\nserde = \"1\"\nanyhow = \"1\"\nold = \"1\"\n[dev-dependencies]\nanyhow.workspace = true\n";
        let harness = "[dependencies]\nserde.workspace = true\n";

        finds(
            &[("Cargo.toml", root), ("harness/Cargo.toml", harness), ("harness/src/lib.rs", "use serde::Serialize;")],
            &["Cargo.toml:4: no crate takes `old`"],
        );
    }
}

//! `cargo xtask` is built with the features that the tests of the workspace have, so that a cold run of CI compiles each crate once.
//!
//! Cargo unites the features of what one command builds: one feature more in the tests' build, and all crates above it are built twice.

use std::collections::BTreeSet;

use anyhow::Result;

use super::{Finding, cargo};

/// Writes a package as cargo's tree has it, then its features.
const PACKAGE_AND_FEATURES: [&str; 4] = ["--prefix", "none", "--format", "{p} {f}"];

/// How cargo's tree marks what it has shown before.
const AGAIN: &str = " (*)";

pub(super) fn check() -> Result<Vec<Finding>> {
    let tree = |what: &[&str]| cargo(&[&["tree"], what, &PACKAGE_AND_FEATURES[..]].concat());
    let xtask = tree(&["--package", "xtask", "--edges", "no-dev"])?;
    let tests = tree(&["--workspace", "--all-features"])?;
    Ok(compare(&xtask, &tests))
}

fn compare(xtask: &str, tests: &str) -> Vec<Finding> {
    let lines = |tree: &str| -> BTreeSet<String> {
        tree.lines().map(|line| line.strip_suffix(AGAIN).unwrap_or(line).trim_end().to_owned()).collect()
    };
    let tests = lines(tests);
    let twice = lines(xtask).into_iter().filter(|line| !tests.contains(line));
    twice
        .map(|line| Finding::new("xtask/Cargo.toml", 0, format!("the tests build this with other features: {line}")))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crate_with_other_features_than_in_the_tests_is_found() {
        let xtask = "xtask v0.1.0 \nhyper v1.0.0 client,http1\nbytes v1.0.0 std\nbytes v1.0.0 std (*)\n";
        let tests = "turnkeep v0.1.0 \nhyper v1.0.0 client,full,http1\nbytes v1.0.0 std (*)\nxtask v0.1.0 (*)\n";

        let found: Vec<String> = compare(xtask, tests).iter().map(Finding::to_string).collect();

        assert_eq!(found, ["xtask/Cargo.toml: the tests build this with other features: hyper v1.0.0 client,http1"]);
    }
}

//! `cargo xtask tidy`: the house rules that a machine can check.
//!
//! Each rule is a function from what it reads to findings, with a test that shows it red on a bad sample.

mod arrows;
mod deps;
mod features;
mod goldens;
mod layout;
mod links;
mod races;
mod readme;
mod red_bank;
mod rule_ids;
mod words;

use std::fmt;

use anyhow::{Context as _, Result, ensure};

use crate::house;
use crate::tree::Tree;
use crate::verdict::Verdict;

/// Something that breaks a rule of the house.
#[derive(Debug, PartialEq, Eq)]
struct Finding {
    /// The file or folder, from the top.
    place: String,
    /// The line, from 1; 0 when the file as a whole is meant.
    line: usize,
    what: String,
}

impl Finding {
    fn new(place: impl Into<String>, line: usize, what: impl Into<String>) -> Self {
        Self { place: place.into(), line, what: what.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}: {}", self.place, self.what),
            line => write!(f, "{}:{line}: {}", self.place, self.what),
        }
    }
}

/// Checks every rule and prints what breaks one.
pub(crate) fn tidy() -> Result<Verdict> {
    let tree = Tree::read(&house::root())?;
    let mut findings = layout::check(&tree);
    findings.extend(arrows::check()?);
    findings.extend(deps::check(&tree));
    findings.extend(features::check()?);
    findings.extend(words::check(&tree));
    findings.extend(rule_ids::check(&tree));
    findings.extend(goldens::check(&tree));
    findings.extend(red_bank::check(&tree)?);
    findings.extend(races::check(&tree)?);
    findings.extend(readme::check(&tree));
    findings.extend(links::check(&tree));
    for finding in &findings {
        println!("{finding}");
    }
    eprintln!("tidy: {} files, {} findings", tree.files.len(), findings.len());
    Ok(if findings.is_empty() { Verdict::Held } else { Verdict::Unforeseen })
}

/// Asks cargo about the workspace and gives what it prints.
fn cargo(args: &[&str]) -> Result<String> {
    let mut command = house::cargo();
    let output = command.args(args).current_dir(house::root()).output().context("cargo could not be started")?;
    ensure!(output.status.success(), "cargo {}: {}", args.join(" "), String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).context("cargo wrote no text")
}

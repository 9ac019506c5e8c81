//! `cargo xtask red`: proves that the stories can fail. Each defence of the bank under `xtask/red` is taken out of a copy of the tree, and
//! the story that defends it must report it.

mod bank;
mod bounded;
mod copy;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;

pub(crate) use bank::{Bank, Defence, missing, unfit};

use crate::bad_input::no_such;
use crate::cli::RedArgs;
use crate::house;
use crate::tree::Tree;
use crate::verdict::Verdict;
use bounded::Ended;
use copy::Copy;

/// The seeds on which a story without its defence is run; one of them must show it.
const SEEDS: &str = "1..6";

/// Takes out what `args` name, one defence at a time, and tells what reported it.
pub(crate) fn red(args: &RedArgs) -> Result<Verdict> {
    let tree = Tree::read(&house::root())?;
    let bank = Bank::read(&tree)?;
    let chosen = choose(&bank, &args.names)?;
    let n_defences: usize = chosen.values().map(|defences| defences.len()).sum();
    if args.list {
        for (story, defence) in pairs(&chosen) {
            println!("{story}\n  without: {}\n  reported by: {}", defence.without, defence.reported_by.join(", "));
        }
        return Ok(Verdict::Held);
    }
    let bench = Bench::set_up(&tree)?;
    bench.control(&chosen)?;
    let mut n_seen = 0;
    for (at, (story, defence)) in pairs(&chosen).enumerate() {
        eprintln!("[{}/{n_defences}] {story} without: {}", at + 1, defence.without);
        let told = bench.without(story, defence)?;
        let is_seen = defence.reported_by.iter().all(|check| told.contains(check));
        n_seen += usize::from(is_seen);
        let told: Vec<&str> = told.iter().map(String::as_str).collect();
        let told = if told.is_empty() { "nothing".to_owned() } else { told.join(", ") };
        if is_seen {
            println!("{story}: reported by {told}");
        } else {
            println!(
                "{story}: NOT SEEN\n  without: {}\n  must be reported by {}; reported by {told}\n  again: cargo xtask red {story}",
                defence.without,
                defence.reported_by.join(", "),
            );
        }
    }
    eprintln!("{n_seen} of {n_defences} defences are noticed when they are gone");
    Ok(if n_seen == n_defences { Verdict::Held } else { Verdict::Unforeseen })
}

type Chosen<'a> = BTreeMap<&'a str, &'a [Defence]>;

fn choose<'a>(bank: &'a Bank, names: &[String]) -> Result<Chosen<'a>> {
    let all: Vec<&str> = bank.stories().collect();
    if let Some(unknown) = names.iter().find(|name| !all.contains(&name.as_str())) {
        return Err(no_such("story in the bank", unknown, &all).into());
    }
    let wanted = |story: &&str| names.is_empty() || names.iter().any(|name| name == story);
    Ok(all.into_iter().filter(wanted).map(|story| (story, bank.of(story))).collect())
}

fn pairs<'a>(chosen: &'a Chosen<'a>) -> impl Iterator<Item = (&'a str, &'a Defence)> {
    chosen.iter().flat_map(|(story, defences)| defences.iter().map(|defence| (*story, defence)))
}

/// A copy of the tree, and where it is built.
struct Bench {
    copy: Copy,
    target: PathBuf,
}

impl Bench {
    /// Copies the tree and builds it once, so that a copy that does not build is not taken for a red story.
    fn set_up(tree: &Tree) -> Result<Self> {
        let folder = house::root().join("target").join("red");
        // Never a folder that the tree itself is built in: cargo tells two checkouts apart by their relative paths alone, and would take
        // the tree's libraries for the copy's.
        let target = folder.join("target");
        let copy = Copy::of(tree, &folder.join("tree"))?;
        let bench = Self { copy, target };
        bench.build().context("the tree as it is does not build")?;
        Ok(bench)
    }

    /// Runs every chosen story with all its defences: one that is red anyway proves nothing.
    fn control(&self, chosen: &Chosen<'_>) -> Result<()> {
        for story in chosen.keys() {
            let told = self.run(story)?;
            if !told.is_empty() {
                let told: Vec<&str> = told.iter().map(String::as_str).collect();
                bail!(
                    "{story} does not hold with all its defences: {} complains\n  again: cargo xtask sim {story} --seeds {SEEDS}",
                    told.join(", ")
                );
            }
        }
        Ok(())
    }

    /// Runs a story without a defence and gives what reported it; the copy is whole again afterwards.
    fn without(&self, story: &str, defence: &Defence) -> Result<BTreeSet<String>> {
        let edited = self.copy.edit(&defence.edits)?;
        let told = self.build().with_context(|| format!("without its defence, {story}: {}", defence.without));
        let told = told.and_then(|()| self.run(story));
        edited.undo()?;
        told
    }

    fn build(&self) -> Result<()> {
        let mut command = crate::house::cargo();
        command.args(["build", "--quiet", "--package", "xtask"]).current_dir(self.copy.root());
        let built = command.env("CARGO_TARGET_DIR", &self.target).output().context("cargo could not be started")?;
        if !built.status.success() {
            bail!("cargo build ended with {}\n{}", built.status, String::from_utf8_lossy(&built.stderr));
        }
        Ok(())
    }

    fn run(&self, story: &str) -> Result<BTreeSet<String>> {
        let binary = self.target.join("debug").join(format!("xtask{}", std::env::consts::EXE_SUFFIX));
        let args = ["sim", story, "--seeds", SEEDS, "--format", "json"].map(OsString::from);
        let ended = bounded::run(&binary, &args, self.copy.root())?;
        reported(&ended, self.copy.root())
    }
}

/// One run's line, as much of it as matters here.
#[derive(Deserialize)]
struct Line {
    verdict: String,
    violations: Vec<Told>,
}

#[derive(Deserialize)]
struct Told {
    check: String,
}

/// Collects what complained: checks by name, `golden`, and a process that had to be ended.
fn reported(ended: &Ended, place: &Path) -> Result<BTreeSet<String>> {
    let mut told = BTreeSet::new();
    for line in ended.stdout.lines() {
        let line: Line = serde_json::from_str(line).with_context(|| format!("in {}: {line}", place.display()))?;
        told.extend(line.violations.into_iter().map(|violation| violation.check));
        if line.verdict == "golden_differs" {
            told.insert("golden".to_owned());
        }
    }
    told.extend(ended.why_killed.map(str::to_owned));
    if ended.code == Some(2) {
        bail!("the story cannot be run: {}", ended.stderr);
    }
    // The watchdog of `sim` ends its process without a line.
    if told.is_empty() && ended.code == Some(i32::from(Verdict::NotSettled.exit_code())) {
        told.insert("watchdog".to_owned());
    }
    if told.is_empty() && ended.code != Some(0) {
        bail!("the story's process ended with {:?} and told nothing: {}", ended.code, ended.stderr);
    }
    Ok(told)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ended(code: i32, stdout: &str) -> Ended {
        Ended { code: Some(code), stdout: stdout.to_owned(), stderr: String::new(), why_killed: None }
    }

    fn told(ended: &Ended) -> Vec<String> {
        reported(ended, Path::new("tree")).unwrap().into_iter().collect()
    }

    #[test]
    fn every_kind_of_complaint_is_collected_once() {
        let red = r#"{"verdict":"safety","violations":[{"check":"shown-once"},{"check":"expect"},{"check":"expect"}]}"#;
        let other = r#"{"verdict":"golden_differs","violations":[]}"#;

        assert_eq!(told(&ended(3, &format!("{red}\n{other}\n"))), ["expect", "golden", "shown-once"]);
        assert_eq!(told(&ended(0, r#"{"verdict":"held","violations":[]}"#)), [""; 0]);
        assert_eq!(told(&ended(4, "")), ["watchdog"]);
        assert_eq!(told(&Ended { why_killed: Some("memory"), ..ended(0, "") }), ["memory"]);
    }

    #[test]
    fn a_story_that_cannot_be_run_is_no_proof() {
        assert!(reported(&ended(2, ""), Path::new("tree")).is_err());
        assert!(reported(&ended(101, ""), Path::new("tree")).is_err());
    }
}

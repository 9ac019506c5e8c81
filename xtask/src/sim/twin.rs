//! Whether a seed gives one trace: twice in this process, once in another, compared whole.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::process::{Command, Stdio};
use std::thread;

use anyhow::{Context as _, Result, ensure};
use turnkeep_harness::scenario::Scenario;
use turnkeep_harness::trace::{self, Entry};
use turnkeep_harness::world::Cast;

use crate::address::Address;
use crate::cli::{SimArgs, StoreName};
use crate::house;
use crate::verdict::Verdict;
use crate::watchdog::run_watched;

/// How many tasks run before the second run: task ids are counted per process, and nothing may depend on them.
const N_DUMMY_TASKS: usize = 3;

/// The first line in which two traces differ.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Difference {
    line: usize,
    ours: Option<String>,
    theirs: Option<String>,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |line: &Option<String>| line.clone().unwrap_or_else(|| "(the trace has ended)".to_owned());
        writeln!(f, "  first differing line: {}", self.line)?;
        writeln!(f, "  one run:   {}", shown(&self.ours))?;
        write!(f, "  the other: {}", shown(&self.theirs))
    }
}

/// Compares two traces as JSON lines.
pub(super) fn first_difference(ours: &str, theirs: &str) -> Option<Difference> {
    let (mut ours, mut theirs) = (ours.lines(), theirs.lines());
    for line in 1.. {
        match (ours.next(), theirs.next()) {
            (None, None) => return None,
            (a, b) if a == b => {}
            (a, b) => return Some(Difference { line, ours: a.map(str::to_owned), theirs: b.map(str::to_owned) }),
        }
    }
    None
}

/// Runs a scenario again on a thread of its own, after a few tasks that have nothing to do with it.
pub(super) fn again(scenario: &Scenario, seed: u64, cast: &Cast) -> Vec<Entry> {
    thread::scope(|scope| {
        let twin = scope.spawn(|| {
            shift_task_ids();
            run_watched(scenario, &scenario.agent, seed, cast).entries
        });
        // `run` turns panics into violations, so only our own code around it can have failed.
        twin.join().expect("the twin run ends without a panic")
    })
}

fn shift_task_ids() {
    let runtime =
        tokio::runtime::Builder::new_current_thread().build().expect("a runtime without drivers always builds");
    runtime.block_on(async {
        let tasks: Vec<_> = (0..N_DUMMY_TASKS).map(|_| runtime.spawn(std::future::ready(()))).collect();
        for task in tasks {
            task.await.expect("a task that does nothing ends");
        }
    });
}

/// A run as the other process names it: scenario and seed.
pub(super) type Run = (String, u64);

/// Has another process of this binary run the same seeds; gives the traces' hashes.
pub(super) fn hashes_elsewhere(args: &SimArgs, n_threads: usize) -> Result<BTreeMap<Run, String>> {
    let mut command = Command::new(house::this_binary()?);
    command.args(["sim", "--hashes", "--jobs", &n_threads.to_string()]);
    command.args(store_flag(args.store));
    if let Some(seed) = args.seed {
        command.args(["--seed", &seed.to_string()]);
    }
    if let Some(seeds) = &args.seeds {
        command.args(["--seeds", &format!("{}..{}", seeds.start, seeds.end)]);
    }
    command.args(args.names.iter().map(Address::to_string));
    let output = command.stderr(Stdio::inherit()).output().context("the other process could not be started")?;
    if output.status.code() == Some(Verdict::NotSettled.exit_code().into()) {
        // A run there never yielded; that process has said which one.
        std::process::exit(Verdict::NotSettled.exit_code().into());
    }
    ensure!(output.status.success(), "the other process ended with {}", output.status);
    parse_hashes(&String::from_utf8(output.stdout).context("the other process wrote no text")?)
}

fn store_flag(store: StoreName) -> [&'static str; 2] {
    match store {
        StoreName::Journal => ["--store", "journal"],
        StoreName::Redb => ["--store", "redb"],
    }
}

fn parse_hashes(text: &str) -> Result<BTreeMap<Run, String>> {
    let parse = |line: &str| {
        let mut words = line.split(' ');
        let (name, seed, hash) = (words.next()?, words.next()?.parse().ok()?, words.next()?);
        Some(((name.to_owned(), seed), hash.to_owned()))
    };
    text.lines().map(|line| parse(line).with_context(|| format!("the other process wrote `{line}`"))).collect()
}

/// Shows how the run of another process differs from `ours`.
pub(super) fn compare_elsewhere(ours: &[Entry], run: &Run, store: StoreName) -> Result<String> {
    let (name, seed) = run;
    let dir = tempfile::tempdir().context("no temporary folder")?;
    let address = format!("{name}@{seed}");
    let mut command = Command::new(house::this_binary()?);
    command.args(["sim", "--jobs", "1", "--format", "json", &address, "--trace"]).arg(dir.path());
    command.args(store_flag(store));
    // Its verdict may be anything; only its trace is of interest.
    command.output().context("the other process could not be started")?;
    let theirs =
        fs::read_to_string(dir.path().join(format!("{address}.jsonl"))).context("the other process left no trace")?;
    Ok(match first_difference(&trace::to_jsonl(ours), &theirs) {
        Some(difference) => difference.to_string(),
        None => "  the other process had another hash, and on one more try the same trace".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(ours: &str, theirs: &str, want: Option<(usize, Option<&str>, Option<&str>)>) {
        let got = first_difference(ours, theirs);

        let want = want.map(|(line, ours, theirs)| Difference {
            line,
            ours: ours.map(str::to_owned),
            theirs: theirs.map(str::to_owned),
        });
        assert_eq!(got, want);
    }

    #[test]
    fn the_first_differing_line_is_found() {
        check("a\nb\n", "a\nb\n", None);
        check("", "", None);
        check("a\nb\n", "a\nc\n", Some((2, Some("b"), Some("c"))));
        check("a\n", "a\nb\n", Some((2, None, Some("b"))));
        check("a\nb\n", "a\n", Some((2, Some("b"), None)));
    }

    #[test]
    fn hashes_are_read_by_run() {
        let hashes = parse_hashes("reload 1 abc\nreload 2 def\n").unwrap();

        assert_eq!(hashes[&("reload".to_owned(), 2)], "def");
        assert!(parse_hashes("reload one abc\n").is_err());
    }

    #[test]
    fn dummy_tasks_run_on_a_thread_without_a_runtime() {
        shift_task_ids();
    }
}

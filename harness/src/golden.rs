//! Goldens: the kept transcripts under `golden/`, one `NAME.snap` a scenario.
//!
//! They are insta's files, so `cargo insta review` shows and accepts what [`propose`] leaves beside them. A comparison never
//! writes. insta's rule of equality is kept: line ends and outer blank lines do not count.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use similar::TextDiff;

use crate::outcome::Outcome;
use crate::scenario::Scenario;

/// How many equal lines a diff shows around each change.
const CONTEXT_LINES: usize = 3;

/// How a run's transcript differs from the golden; its text is the report of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GoldenDiff {
    /// The scenario.
    pub scenario: String,
    /// The seed that ran.
    pub seed: u64,
    /// How it differs.
    pub how: Difference,
}

/// How a transcript differs from its golden.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Difference {
    /// There is no golden yet; this is what it would hold.
    Missing(String),
    /// The golden cannot be read; this is why.
    Unreadable(String),
    /// A unified diff, the golden first.
    Changed(String),
}

/// Compares a run with its golden in `folder`.
///
/// # Errors
///
/// Gives the difference when there is one, and when there is no golden to compare with.
pub fn compare(folder: &Path, scenario: &Scenario, outcome: &Outcome) -> Result<(), GoldenDiff> {
    let differs = |how| Err(GoldenDiff { scenario: scenario.name.clone(), seed: outcome.seed, how });
    let now = normalized(&outcome.transcript);
    let file = match std::fs::read_to_string(path(folder, scenario)) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return differs(Difference::Missing(now)),
        Err(error) => return differs(Difference::Unreadable(error.to_string())),
    };
    let Some(kept) = contents(&file) else {
        return differs(Difference::Unreadable("it has no header between two lines of dashes".to_owned()));
    };
    if kept == now {
        return Ok(());
    }
    let name = format!("golden/{}.snap", scenario.name);
    let diff = TextDiff::from_lines(&kept, &now);
    differs(Difference::Changed(
        diff.unified_diff().context_radius(CONTEXT_LINES).header(&name, "this run").to_string(),
    ))
}

/// Writes the run's transcript as the golden in `folder`, replacing the one before.
///
/// # Errors
///
/// Fails when the file cannot be written.
pub fn write(folder: &Path, scenario: &Scenario, outcome: &Outcome) -> io::Result<()> {
    std::fs::create_dir_all(folder)?;
    std::fs::write(path(folder, scenario), snapshot(scenario, outcome))
}

/// Leaves the run's transcript beside the golden in `folder`, as `NAME.snap.new`, for `cargo insta review`.
///
/// # Errors
///
/// Fails when the file cannot be written.
pub fn propose(folder: &Path, scenario: &Scenario, outcome: &Outcome) -> io::Result<()> {
    std::fs::create_dir_all(folder)?;
    std::fs::write(path(folder, scenario).with_extension("snap.new"), snapshot(scenario, outcome))
}

fn path(folder: &Path, scenario: &Scenario) -> PathBuf {
    folder.join(format!("{}.snap", scenario.name))
}

/// Writes insta's file format: a header in YAML, then the text.
fn snapshot(scenario: &Scenario, outcome: &Outcome) -> String {
    let (name, text) = (&scenario.name, normalized(&outcome.transcript));
    format!("---\nsource: xtask/tests/scenarios.rs\ninput_file: scenarios/{name}.json\n---\n{text}")
}

/// Gives the text after the header; none when there is no header.
fn contents(file: &str) -> Option<String> {
    let file = file.replace("\r\n", "\n");
    let (_, text) = file.strip_prefix("---\n")?.split_once("\n---\n")?;
    Some(normalized(text))
}

/// Folds what insta folds: line ends and outer blank lines.
fn normalized(text: &str) -> String {
    let text = text.replace("\r\n", "\n");
    format!("{}\n", text.trim_end().trim_start_matches('\n'))
}

impl fmt::Display for GoldenDiff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { scenario, seed, how } = self;
        match how {
            Difference::Missing(text) => {
                writeln!(f, "{scenario} has no golden; seed {seed} came to")?;
                writeln!(f)?;
                text.lines().try_for_each(|line| writeln!(f, "  {line}"))?;
            }
            Difference::Unreadable(why) => writeln!(f, "the golden of {scenario} cannot be read: {why}")?,
            Difference::Changed(diff) => {
                writeln!(f, "{scenario} differs from its golden on seed {seed}")?;
                writeln!(f)?;
                write!(f, "{diff}")?;
            }
        }
        writeln!(f)?;
        writeln!(f, "show it again:  cargo xtask sim {scenario} --seed {seed}")?;
        write!(f, "keep the new:   cargo xtask bless {scenario}")
    }
}

#[cfg(test)]
mod tests;

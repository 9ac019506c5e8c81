//! Results on stdout, talk on stderr.

use std::fmt::Write as _;
use std::io::IsTerminal as _;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;
use turnkeep_harness::Violation;

use super::plan::Telling;
use crate::judge::Judged;
use crate::verdict::Verdict;

/// The most reports of one scenario that are printed in full; the other seeds are only named.
const MAX_REPORTS: usize = 3;

/// A run as `--format json` prints it.
#[derive(Serialize)]
struct RunLine<'a> {
    scenario: &'a str,
    seed: u64,
    verdict: Verdict,
    virtual_ms: u64,
    wall_ms: u64,
    turns: usize,
    records: usize,
    violations: &'a [Violation],
    #[serde(skip_serializing_if = "str::is_empty")]
    report: &'a str,
}

/// Writes one run as a JSON object.
pub(super) fn json_line(judged: &Judged) -> String {
    let outcome = &judged.outcome;
    let line = RunLine {
        scenario: &outcome.scenario,
        seed: outcome.seed,
        verdict: judged.verdict,
        virtual_ms: outcome.virtual_ms,
        wall_ms: judged.wall_ms,
        turns: outcome.turns,
        records: outcome.records,
        violations: &outcome.violations,
        report: &judged.report,
    };
    serde_json::to_string(&line).expect("numbers and texts always serialise")
}

/// Counts the runs of one scenario until its line can be written.
#[derive(Debug)]
pub(super) struct Tally {
    n_runs: usize,
    n_failed: usize,
    worst: Verdict,
    virtual_ms: u64,
    wall_ms: u64,
    turns: usize,
    records: usize,
    reports: Vec<String>,
    unreported: Vec<u64>,
}

impl Tally {
    pub(super) fn new() -> Self {
        Self {
            n_runs: 0,
            n_failed: 0,
            worst: Verdict::Held,
            virtual_ms: 0,
            wall_ms: 0,
            turns: 0,
            records: 0,
            reports: Vec::new(),
            unreported: Vec::new(),
        }
    }

    pub(super) fn add(&mut self, judged: &Judged) {
        self.n_runs += 1;
        self.virtual_ms += judged.outcome.virtual_ms;
        self.wall_ms += judged.wall_ms;
        self.turns += judged.outcome.turns;
        self.records += judged.outcome.records;
        self.worst = self.worst.max(judged.verdict);
        if judged.verdict == Verdict::Held {
            return;
        }
        self.n_failed += 1;
        if self.reports.len() < MAX_REPORTS {
            self.reports.push(judged.report.clone());
        } else {
            self.unreported.push(judged.outcome.seed);
        }
    }

    /// Whether every run of the scenario is in.
    pub(super) fn is_complete(&self, telling: &Telling) -> bool {
        self.n_runs == telling.seeds.len()
    }

    /// Writes the scenario's line and what did not hold.
    pub(super) fn text(&self, telling: &Telling, name_width: usize) -> String {
        let mut verdict = self.worst.name().to_owned();
        if self.n_failed > 0 && self.n_runs > 1 {
            let _ = write!(verdict, " ({} of {})", self.n_failed, self.n_runs);
        }
        let mut text = format!(
            "{:<name_width$}  {:<12}  {verdict:<16}  {:>8} virtual ms  {:>6} wall ms  {:>4} turns  {:>5} records\n",
            telling.scenario.name,
            telling.seeds_text(),
            self.virtual_ms,
            self.wall_ms,
            self.turns,
            self.records,
        );
        for report in &self.reports {
            let _ = write!(text, "\n{}\n\n", report.trim_end());
        }
        if !self.unreported.is_empty() {
            let seeds: Vec<String> = self.unreported.iter().map(u64::to_string).collect();
            let _ =
                write!(text, "{} failed on {} more seeds: {}\n\n", telling.scenario.name, seeds.len(), seeds.join(" "));
        }
        text
    }
}

/// Makes the progress line: on a terminal only.
pub(super) fn progress(n_runs: usize) -> ProgressBar {
    let target = if std::io::stderr().is_terminal() && std::io::stdout().is_terminal() {
        ProgressDrawTarget::stderr()
    } else {
        ProgressDrawTarget::hidden()
    };
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len} runs  {msg}").expect("the template is well-formed");
    ProgressBar::with_draw_target(Some(n_runs as u64), target).with_style(style)
}

#[cfg(test)]
mod tests {
    use turnkeep_harness::Outcome;
    use turnkeep_harness::scenario::parse;

    use super::*;

    fn judged(seed: u64, verdict: Verdict) -> Judged {
        let report = if verdict == Verdict::Held { String::new() } else { format!("report of seed {seed}\n") };
        let outcome = Outcome {
            scenario: "reload".to_owned(),
            seed,
            violations: Vec::new(),
            entries: Vec::new(),
            transcript: String::new(),
            virtual_ms: 1200,
            turns: 2,
            records: 40,
        };
        Judged { outcome, verdict, wall_ms: 30, report }
    }

    fn telling(n_seeds: u64) -> Telling {
        let text = r#"{ "why": "w", "agent": "a", "model": [], "steps": [{ "advance_ms": 1 }] }"#;
        Telling { scenario: parse("reload", text).unwrap(), seeds: (0..n_seeds).collect(), moment_ms: None }
    }

    #[test]
    fn a_held_scenario_is_one_line() {
        let mut tally = Tally::new();
        tally.add(&judged(0, Verdict::Held));

        assert!(tally.is_complete(&telling(1)));
        assert_eq!(
            tally.text(&telling(1), 8),
            "reload    seed 0        held                  1200 virtual ms      30 wall ms     2 turns     40 records\n"
        );
    }

    #[test]
    fn many_failures_are_named_but_only_the_first_are_told() {
        let mut tally = Tally::new();
        tally.add(&judged(0, Verdict::Held));
        for seed in 1..=5 {
            tally.add(&judged(seed, if seed == 2 { Verdict::Safety } else { Verdict::GoldenDiffers }));
        }

        let text = tally.text(&telling(6), 8);

        assert!(text.starts_with("reload    seeds 0..6    safety (5 of 6)"), "{text}");
        assert!(text.contains("\nreport of seed 3\n"), "{text}");
        assert!(text.ends_with("reload failed on 2 more seeds: 4 5\n\n"), "{text}");
    }

    #[test]
    fn a_run_is_one_json_object() {
        assert_eq!(
            json_line(&judged(3, Verdict::GoldenDiffers)),
            r#"{"scenario":"reload","seed":3,"verdict":"golden_differs","virtual_ms":1200,"wall_ms":30,"turns":2,"records":40,"violations":[],"report":"report of seed 3\n"}"#
        );
    }
}

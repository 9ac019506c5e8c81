//! The report of a run that did not hold, for someone new, at night, without colour.
//!
//! What broke, to whom, at which seq_num and virtual time; the few trace entries that touch it and the faults around them; the
//! command that shows it again. Facts only: a report never guesses a cause.

mod words;

use std::collections::BTreeSet;
use std::fmt::Write as _;

pub use words::{describe, line};

use crate::outcome::{Outcome, Violation, ViolationKind};
use crate::scenario::{Scenario, Store};
use crate::trace::{Entry, Event};

/// The most steps, faults and boots that are shown before the last entry which touches a violation.
const MAX_AROUND: usize = 6;

/// The most violations that are told in full; the others are only counted.
const MAX_TOLD: usize = 5;

/// Writes why `outcome` did not hold.
pub fn report(scenario: &Scenario, outcome: &Outcome) -> String {
    let (name, seed) = (&scenario.name, outcome.seed);
    let mut text = format!("{name} did not hold on seed {seed}\n  {}\n", scenario.why);
    for violation in outcome.violations.iter().take(MAX_TOLD) {
        text.push('\n');
        tell(&mut text, outcome, violation);
    }
    let left = outcome.violations.len().saturating_sub(MAX_TOLD);
    if left > 0 {
        let _ = writeln!(text, "\nand {left} more");
    }
    let store = if scenario.store == Store::Redb { " --store redb" } else { "" };
    let _ = writeln!(text, "\nshow it again:  cargo xtask sim {name} --seed {seed}{store}");
    if let Some(first) = outcome.violations.first() {
        let _ = writeln!(text, "and the moment: cargo xtask sim {}", address(outcome, first.at_ms) + store);
    }
    text
}

/// Gives the address of a moment of a run (D-30).
pub fn address(outcome: &Outcome, ms: u64) -> String {
    format!("{}@{}+{ms}", outcome.scenario, outcome.seed)
}

fn tell(text: &mut String, outcome: &Outcome, violation: &Violation) {
    let Violation { check, kind, what, whom, seq_num, at_ms, .. } = violation;
    let _ = writeln!(text, "{check} {} for {whom}: {what}", fate(*kind));
    let place = seq_num.map(|seq_num| format!("seq_num {seq_num}, ")).unwrap_or_default();
    let _ = writeln!(text, "  at {place}{}, {}", words::moment(*at_ms), address(outcome, *at_ms));
    for entry in touching(&outcome.entries, violation) {
        let mark = if violation.entries.contains(&entry.n) { '>' } else { ' ' };
        let _ = writeln!(text, "  {mark} {}", line(entry));
    }
}

/// Says what became of a promise.
const fn fate(kind: ViolationKind) -> &'static str {
    match kind {
        ViolationKind::Safety => "is broken",
        ViolationKind::Liveness => "did not come true in time",
        ViolationKind::Unforeseen => "failed unforeseen",
    }
}

/// Gives the entries that touch the violation, and the newest steps, faults and boots up to the last of them.
fn touching<'e>(entries: &'e [Entry], violation: &Violation) -> Vec<&'e Entry> {
    let Some(last) = violation.entries.iter().copied().max() else { return Vec::new() };
    let before = entries.iter().take(last.saturating_add(1)).rev();
    let around = before.filter(|entry| is_act(&entry.event)).take(MAX_AROUND).map(|entry| entry.n);
    let shown: BTreeSet<usize> = violation.entries.iter().copied().chain(around).collect();
    shown.into_iter().filter_map(|n| entries.get(n)).collect()
}

/// Tells whether the story or the world did this, as opposed to the system under test.
fn is_act(event: &Event) -> bool {
    matches!(
        event,
        Event::Step { .. } | Event::Fault { .. } | Event::Heal | Event::Boot { boot: 1.. } | Event::ServerFailed { .. }
    )
}

#[cfg(test)]
mod tests;

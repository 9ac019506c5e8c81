//! Runs one story on one seed, from the first boot to the verdict.

use std::cell::RefCell;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Once;

use crate::checks;
use crate::outcome::{Outcome, Violation, ViolationKind};
use crate::scenario::Scenario;
use crate::trace::{Entry, Event, Trace};
use crate::transcript::transcript;
use crate::world::{Cast, play};

/// Runs `scenario` with its agent; never panics: a panic inside becomes a violation.
pub fn run(scenario: &Scenario, seed: u64, cast: &Cast) -> Outcome {
    run_with(scenario, &scenario.agent, seed, cast)
}

/// Runs `scenario` with another agent in the place of its own, for its `careless` twin.
pub fn run_with(scenario: &Scenario, agent: &str, seed: u64, cast: &Cast) -> Outcome {
    listen_for_panics();
    let trace = Trace::new();
    HEARD.with_borrow_mut(|heard| *heard = Some(Vec::new()));
    let played = panic::catch_unwind(AssertUnwindSafe(|| play(scenario, agent, seed, cast, &trace)));
    let heard = HEARD.with_borrow_mut(Option::take).unwrap_or_default();
    let entries = trace.entries();
    let mut violations = match played {
        Ok(Ok(late)) => late,
        Ok(Err(problem)) => vec![unforeseen(&entries, problem)],
        Err(_) => {
            let first = heard.into_iter().next().unwrap_or_else(|| "a panic without a message".to_owned());
            vec![unforeseen(&entries, first)]
        }
    };
    violations.extend(checks::check(scenario, &entries));
    violations.sort_by_key(|violation| (violation.at_ms, violation.kind));
    Outcome {
        scenario: scenario.name.clone(),
        seed,
        violations,
        transcript: transcript(&entries),
        virtual_ms: entries.last().map_or(0, |entry| entry.ms),
        turns: count(&entries, |event| matches!(event, Event::Stored { record, .. } if record.is_turn_complete())),
        records: count(&entries, |event| matches!(event, Event::Stored { .. })),
        entries,
    }
}

fn count(entries: &[Entry], is: impl Fn(&Event) -> bool) -> usize {
    entries.iter().filter(|entry| is(&entry.event)).count()
}

fn unforeseen(entries: &[Entry], what: String) -> Violation {
    let last = entries.last();
    Violation {
        check: "no-panic".to_owned(),
        kind: ViolationKind::Unforeseen,
        what,
        whom: last.map_or_else(|| "world".to_owned(), |entry| entry.host.clone()),
        seq_num: None,
        at_ms: last.map_or(0, |entry| entry.ms),
        entries: last.map(|entry| entry.n).into_iter().collect(),
    }
}

thread_local! {
    /// What panicked on this thread while a story runs on it. turmoil's own panic carries no reason, so the first one counts.
    static HEARD: RefCell<Option<Vec<String>>> = const { RefCell::new(None) };
}

fn listen_for_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let default = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            let story = HEARD.with_borrow_mut(|heard| {
                let Some(heard) = heard else { return false };
                heard.push(info.to_string().replace('\n', " "));
                true
            });
            if !story {
                default(info);
            }
        }));
    });
}

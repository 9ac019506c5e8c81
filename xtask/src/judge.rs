//! Runs one scenario on one seed and says whether it held: the story, its careless twin, its golden.

use turnkeep_harness::scenario::{Careless, Scenario};
use turnkeep_harness::world::Cast;
use turnkeep_harness::{Outcome, Violation, ViolationKind, golden, report};

use crate::house;
use crate::proposal;
use crate::verdict::Verdict;
use crate::watchdog::run_watched;

/// One run and what it came to.
#[derive(Debug)]
pub(crate) struct Judged {
    pub(crate) outcome: Outcome,
    pub(crate) verdict: Verdict,
    pub(crate) wall_ms: u64,
    /// Why it did not hold, for people; empty when it held.
    pub(crate) report: String,
}

/// Whether the golden is part of the judgement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Golden {
    Compare,
    Leave,
}

/// Runs `scenario` on `seed` and judges it.
pub(crate) fn judge(scenario: &Scenario, seed: u64, cast: &Cast, compare: Golden) -> Judged {
    let (mut outcome, wall_ms) = timed(|| run_watched(scenario, &scenario.agent, seed, cast));
    if let Some(careless) = &scenario.careless {
        let twin = run_watched(scenario, &careless.agent, seed, cast);
        outcome.violations.extend(missed(careless, &twin));
    }
    let mut verdict = Verdict::of(&outcome.violations);
    let mut text = if verdict == Verdict::Held { String::new() } else { report::report(scenario, &outcome) };
    // A golden tells the whole story; of a broken one it would only say again that it broke.
    let asked = compare == Golden::Compare && golden_applies(scenario, seed);
    if asked && verdict == Verdict::Held {
        (verdict, text) = against_golden(scenario, &outcome);
    }
    Judged { outcome, verdict, wall_ms, report: text }
}

/// Compares a run with its golden; outside CI a difference leaves a proposal, and a match takes the last one away.
fn against_golden(scenario: &Scenario, outcome: &Outcome) -> (Verdict, String) {
    let folder = house::golden();
    let watched = !proposal::in_ci();
    match golden::compare(&folder, scenario, outcome) {
        Ok(()) if !watched => (Verdict::Held, String::new()),
        Ok(()) => match proposal::withdraw(&folder, scenario, outcome.seed) {
            Ok(()) => (Verdict::Held, String::new()),
            Err(err) => (Verdict::Unforeseen, format!("golden/{}.snap.new cannot be removed: {err}\n", scenario.name)),
        },
        Err(difference) => {
            let left = if watched { proposal::leave(&folder, scenario, outcome) } else { String::new() };
            (Verdict::GoldenDiffers, format!("{difference}{left}"))
        }
    }
}

/// A story whose outcome rightly depends on timing has a golden for its own seed only.
fn golden_applies(scenario: &Scenario, seed: u64) -> bool {
    scenario.timing.is_none() || seed == scenario.seed
}

/// Says that the careless agent went unnoticed, if it did, and passes on what must not happen even then.
fn missed(careless: &Careless, twin: &Outcome) -> Vec<Violation> {
    let mut found: Vec<Violation> =
        twin.violations.iter().filter(|violation| violation.kind == ViolationKind::Unforeseen).cloned().collect();
    for violation in &mut found {
        // Places in the twin's trace mean nothing in this one.
        violation.entries.clear();
        violation.what = format!("with agent {}: {}", careless.agent, violation.what);
    }
    if !twin.violations.iter().any(|violation| violation.check == careless.reported_by) {
        found.push(unnoticed(careless, twin));
    }
    found
}

fn unnoticed(careless: &Careless, twin: &Outcome) -> Violation {
    let mut others: Vec<&str> = twin.violations.iter().map(|violation| violation.check.as_str()).collect();
    others.dedup();
    let others = if others.is_empty() { "nothing".to_owned() } else { others.join(", ") };
    Violation {
        check: "careless".to_owned(),
        kind: ViolationKind::Safety,
        what: format!(
            "the careless agent {} must be reported by {}, and that check held; reported was {others}",
            careless.agent, careless.reported_by
        ),
        whom: format!("agent {}", careless.agent),
        seq_num: None,
        at_ms: twin.virtual_ms,
        entries: Vec::new(),
    }
}

#[expect(clippy::disallowed_methods, reason = "how long a run takes on this machine is what is asked")]
fn timed<T>(work: impl FnOnce() -> T) -> (T, u64) {
    let start = std::time::Instant::now();
    let done = work();
    (done, u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn twin(checks: &[(&str, ViolationKind)]) -> Outcome {
        let violations = checks.iter().map(|(check, kind)| Violation {
            check: (*check).to_owned(),
            kind: *kind,
            what: "it broke".to_owned(),
            whom: "chat-1".to_owned(),
            seq_num: None,
            at_ms: 3,
            entries: vec![7],
        });
        Outcome {
            scenario: "deferred".to_owned(),
            seed: 1,
            violations: violations.collect(),
            entries: Vec::new(),
            transcript: String::new(),
            virtual_ms: 9,
            turns: 0,
            records: 0,
        }
    }

    fn careless() -> Careless {
        Careless { agent: "hasty".to_owned(), reported_by: "question-kept".to_owned() }
    }

    #[test]
    fn a_careless_agent_that_is_reported_is_as_it_should_be() {
        let twin = twin(&[("other", ViolationKind::Safety), ("question-kept", ViolationKind::Safety)]);

        assert_eq!(missed(&careless(), &twin), []);
    }

    #[test]
    fn a_careless_agent_that_goes_unnoticed_is_a_failure() {
        let found = missed(&careless(), &twin(&[("other", ViolationKind::Safety)]));

        assert_eq!(Verdict::of(&found), Verdict::Safety);
        assert_eq!(
            found[0].what,
            "the careless agent hasty must be reported by question-kept, and that check held; reported was other"
        );
    }

    #[test]
    fn a_panic_of_the_careless_agent_is_not_hidden() {
        let twin = twin(&[("question-kept", ViolationKind::Safety), ("no-panic", ViolationKind::Unforeseen)]);

        let found = missed(&careless(), &twin);

        assert_eq!(found.len(), 1);
        assert_eq!((found[0].what.as_str(), found[0].entries.len()), ("with agent hasty: it broke", 0));
    }
}

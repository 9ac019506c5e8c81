//! What a run came to, and the exit code that says so.

use serde::Serialize;
use turnkeep_harness::{Violation, ViolationKind};

/// The verdict on one run or on many.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Verdict {
    /// Everything held.
    Held,
    /// Anything unforeseen, such as a panic.
    Unforeseen,
    /// The story looks different from its golden.
    GoldenDiffers,
    /// The world did not settle, or a wait ran out.
    NotSettled,
    /// Something happened that must never happen.
    Safety,
    /// The same seed gave two traces.
    TwinsDiffer,
}

impl Verdict {
    /// Gives the process's exit code; of several verdicts the greatest counts.
    pub(crate) fn exit_code(self) -> u8 {
        match self {
            Self::Held => 0,
            Self::Unforeseen => 1,
            Self::Safety => 3,
            Self::NotSettled => 4,
            Self::GoldenDiffers => 5,
            Self::TwinsDiffer => 6,
        }
    }

    /// Names the verdict in a line.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Held => "held",
            Self::Unforeseen => "unforeseen",
            Self::GoldenDiffers => "golden differs",
            Self::NotSettled => "not settled",
            Self::Safety => "safety",
            Self::TwinsDiffer => "twins differ",
        }
    }

    /// Judges one run by its violations. A panic outranks the rest here: what the checks then say is about half a story.
    pub(crate) fn of(violations: &[Violation]) -> Self {
        let kinds = |kind| violations.iter().any(|violation| violation.kind == kind);
        if kinds(ViolationKind::Unforeseen) {
            Self::Unforeseen
        } else if kinds(ViolationKind::Safety) {
            Self::Safety
        } else if kinds(ViolationKind::Liveness) {
            Self::NotSettled
        } else {
            Self::Held
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn violation(kind: ViolationKind) -> Violation {
        Violation {
            check: "a-check".to_owned(),
            kind,
            what: "it broke".to_owned(),
            whom: "session chat-1".to_owned(),
            seq_num: None,
            at_ms: 0,
            entries: Vec::new(),
        }
    }

    #[test]
    fn of_several_runs_the_most_severe_verdict_wins() {
        let order = [6, 3, 4, 5, 1, 0];

        let mut all = [
            Verdict::Held,
            Verdict::GoldenDiffers,
            Verdict::TwinsDiffer,
            Verdict::Unforeseen,
            Verdict::NotSettled,
            Verdict::Safety,
        ];
        all.sort();
        all.reverse();

        assert_eq!(all.map(Verdict::exit_code), order);
    }

    #[test]
    fn one_run_is_judged_by_its_worst_violation() {
        let safety = violation(ViolationKind::Safety);
        let liveness = violation(ViolationKind::Liveness);
        let panic = violation(ViolationKind::Unforeseen);

        assert_eq!(Verdict::of(&[]), Verdict::Held);
        assert_eq!(Verdict::of(std::slice::from_ref(&liveness)), Verdict::NotSettled);
        assert_eq!(Verdict::of(&[liveness, safety.clone()]), Verdict::Safety);
        assert_eq!(Verdict::of(&[safety, panic]), Verdict::Unforeseen);
    }
}

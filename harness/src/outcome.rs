//! What one run of a story came to.

use serde::Serialize;

use crate::trace::Entry;

/// One run of a scenario on one seed.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// The scenario's name.
    pub scenario: String,
    /// The seed.
    pub seed: u64,
    /// What broke, in the order of the trace; empty when everything held.
    pub violations: Vec<Violation>,
    /// Everything that happened.
    pub entries: Vec<Entry>,
    /// The contract as text, for the golden: records and replies in order, ids renumbered, no times.
    pub transcript: String,
    /// Virtual milliseconds from start to settled.
    pub virtual_ms: u64,
    /// `turn-complete` records stored.
    pub turns: usize,
    /// Records stored.
    pub records: usize,
}

/// Something that must hold and did not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Violation {
    /// The check's name.
    pub check: String,
    /// How bad it is, which decides the exit code.
    pub kind: ViolationKind,
    /// What broke, with the values, as one lowercase sentence without a full stop.
    pub what: String,
    /// To whom: a session, a page or a run.
    pub whom: String,
    /// At which record, when there is one.
    pub seq_num: Option<u64>,
    /// When, in virtual milliseconds.
    pub at_ms: u64,
    /// The few trace entries that touch it.
    pub entries: Vec<usize>,
}

/// What kind of promise was broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ViolationKind {
    /// Something that must never happen did: exit code 3.
    Safety,
    /// The world did not settle, or a wait of the story ran out: exit code 4.
    Liveness,
    /// Our own code panicked, or the story asked for something that is not there: exit code 1.
    Unforeseen,
}

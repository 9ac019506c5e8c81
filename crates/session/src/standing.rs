//! What a session's changes add up to, without the records themselves: small, and kept by stores beside them.
//!
//! The core and every store fold changes with the code of this module, so that a state which was loaded equals one that was lived.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use turnkeep_host::Timestamp;
use turnkeep_protocol::{ChannelName, Record, RecordKind, SeqNum, TRIM, Tail, control, is_owed};

use crate::change::Millis;
use crate::trims::Trims;
use crate::{Change, SnapshotId};

/// How long a part id outlives a trimmed record (D-6).
pub(crate) const PART_MEMORY: Duration = Duration::from_secs(24 * 60 * 60);

/// A session's cursors and channels as a store keeps them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Standing {
    /// What its changes say of its turns.
    pub summary: Summary,
    /// Where `in` begins and ends.
    pub input: Shape,
    /// Where `out` begins and ends.
    pub output: Shape,
}

impl Standing {
    /// Folds one of the session's own changes in.
    pub fn apply(&mut self, change: &Change) {
        self.summary.apply(change);
        match change {
            Change::Record { channel, record, .. } => self.shape_mut(*channel).append(record),
            Change::Trim { first, .. } => self.output.trim(*first),
            _ => {}
        }
    }

    /// Gives the shape of one of the two channels.
    pub fn shape(&self, channel: ChannelName) -> &Shape {
        match channel {
            ChannelName::In => &self.input,
            ChannelName::Out => &self.output,
        }
    }

    fn shape_mut(&mut self, channel: ChannelName) -> &mut Shape {
        match channel {
            ChannelName::In => &mut self.input,
            ChannelName::Out => &mut self.output,
        }
    }
}

/// What a session's changes say of its turns.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Summary {
    /// The settled cursor (D-32).
    pub settled: Option<SeqNum>,
    /// The highest `in` seq_num a run has received (D-41).
    pub consumed: Option<SeqNum>,
    /// The newest record of `in` that wants a turn, while it lies above the settled cursor: the highest owed one (D-33). However many
    /// are owed, this one tells whether any is.
    pub last_owed: Option<SeqNum>,
    /// Whether `out` says that the session is closed (D-37).
    pub announced: bool,
    /// The newest `out` record that belongs to a turn, skipping commands and notices (D-33); it may be trimmed by now.
    pub newest_output: Option<NewestOutput>,
    /// The boundary that the stored chat snapshot covers (S-192), when there is a snapshot that names one.
    pub snapshot_end: Option<SeqNum>,
    /// Which object is the chat snapshot, when there is one (S-192).
    pub snapshot: Option<SnapshotId>,
}

/// A record of `out` that belongs to a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NewestOutput {
    /// Its place.
    pub seq_num: SeqNum,
    /// Whether it ends the turn.
    pub ends_turn: bool,
}

impl Summary {
    /// Folds one of the session's own changes in.
    pub fn apply(&mut self, change: &Change) {
        match change {
            Change::Cursors { settled, consumed, .. } => {
                (self.settled, self.consumed) = (*settled, *consumed);
                self.last_owed = self.last_owed.filter(|seq| Some(*seq) > *settled);
            }
            Change::Record { channel: ChannelName::In, record, .. } if wants_turn(record) => {
                self.last_owed = Some(record.seq_num);
            }
            Change::Record { channel: ChannelName::Out, record, .. } => {
                self.announced |= says_closed(record);
                if !is_notice(record) {
                    let ends_turn = record.is_turn_complete();
                    self.newest_output = Some(NewestOutput { seq_num: record.seq_num, ends_turn });
                }
            }
            Change::Snapshot { end, object, .. } => (self.snapshot_end, self.snapshot) = (*end, Some(*object)),
            _ => {}
        }
    }
}

/// Where a channel begins and ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Shape {
    /// The first readable record's place.
    pub first: SeqNum,
    /// The next record's place.
    pub tail: SeqNum,
    /// When the newest record was stored, Unix milliseconds; 0 before the first.
    pub last_timestamp: u64,
    /// The trims that have not taken effect (D-69).
    #[serde(default, skip_serializing_if = "Trims::is_empty")]
    pub trims: Trims,
}

impl Shape {
    /// Gives the tail as batches and pings report it (S-109).
    pub(crate) fn tail_mark(&self) -> Tail {
        Tail { seq_num: self.tail, timestamp: self.last_timestamp }
    }

    /// Says where a trim to `requested` would really cut: never backwards, never past the tail (S-89).
    pub(crate) fn trim_point(&self, requested: SeqNum) -> SeqNum {
        self.first.max(requested.min(self.tail))
    }

    pub(crate) fn append(&mut self, record: &Record) {
        assert_eq!(record.seq_num, self.tail, "a record is placed at the tail, so seq_nums are dense (S-54)");
        // The trim is clamped to the tail as it was at its place (S-89).
        let doomed = trim_target(record.kind(), &record.body).map(|requested| self.trim_point(requested));
        if let Some(first) = doomed.filter(|first| *first > self.first) {
            self.trims.add(first, Timestamp::from_millis(record.timestamp));
        }
        self.tail = self.tail.next();
        self.last_timestamp = record.timestamp;
    }

    /// Makes records below `first` unreadable.
    pub(crate) fn trim(&mut self, first: SeqNum) {
        self.first = self.trim_point(first);
        self.trims.done(self.first);
    }
}

/// The records that were written under one part id: one append, so they lie side by side.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Part {
    /// The first one's place.
    pub first: SeqNum,
    /// The last one's place.
    pub last: SeqNum,
    /// When the first of them was stored.
    pub at: Millis,
}

impl Part {
    /// Makes the part of one record.
    pub fn new(place: SeqNum, at: Millis) -> Self {
        Self { first: place, last: place, at }
    }

    /// Adds the next record of the same append.
    pub fn push(&mut self, place: SeqNum) {
        assert_eq!(place, self.last.next(), "a part is written by one append (D-5)");
        self.last = place;
    }

    /// Gives the places of its records, in order.
    pub fn places(&self) -> Vec<SeqNum> {
        (self.first.get()..=self.last.get()).map(SeqNum::new).collect()
    }

    /// Tells whether a retry under this id is still known as one at `now`: as long as a record is there, and at least a day (D-6).
    pub fn is_remembered(&self, shape: &Shape, now: Timestamp) -> bool {
        self.last >= shape.first || now < Timestamp::from(self.at).plus(PART_MEMORY)
    }
}

/// Reads the trim command's target, or nothing when the record is another command or malformed (S-89).
pub(crate) fn trim_target(kind: RecordKind<'_>, body: &str) -> Option<SeqNum> {
    match kind {
        RecordKind::Command(TRIM) => SeqNum::parse_cursor(body),
        _ => None,
    }
}

/// Tells whether an `in` record is owed an answer (D-33). The run answers it, or the server does so after two runs (D-34).
fn wants_turn(record: &Record) -> bool {
    record.envelope().is_some_and(|envelope| is_owed(&envelope.data))
}

/// Tells whether an `out` record announces the session's end, alone or on a turn's boundary (D-37).
fn says_closed(record: &Record) -> bool {
    match record.kind() {
        RecordKind::Control(control::SESSION_CLOSED) => true,
        RecordKind::Control(control::TURN_COMPLETE) => record.header(turnkeep_protocol::SESSION_CLOSED) == Some("true"),
        _ => false,
    }
}

/// Tells whether an `out` record belongs to no turn.
fn is_notice(record: &Record) -> bool {
    match record.kind() {
        RecordKind::Command(_) => true,
        RecordKind::Control(subtype) => [control::UPGRADE_REQUIRED, control::SESSION_CLOSED].contains(&subtype),
        RecordKind::Data => false,
    }
}

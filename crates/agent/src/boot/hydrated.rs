//! The little that boot must know when the author keeps the history: where `in` is settled, what is owed, and whether a dead turn
//! has left its message open.

use std::collections::BTreeSet;

use turnkeep_protocol::session_api::DrainedRecord;
use turnkeep_protocol::{ChatInputChunk, InputRecord, SeqNum, Trigger};

use super::plan::Closing;
use super::replay::Owed;
use super::segments::{Segment, SegmentEnd, TurnRecords, turns};

/// What `out` tells without its content.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct OutTail {
    /// Where `in` is settled: the higher of the row's cursor and the last boundary's (D-32).
    pub(crate) cursor: Option<SeqNum>,
    /// The newest boundary.
    pub(crate) newest_boundary: Option<SeqNum>,
    /// What a turn without a boundary has left.
    dead_turn: Option<SegmentEnd>,
    /// How many messages it has begun.
    n_begun: usize,
    /// Whether the run waits for a head start; whoever asks the tail says so.
    pub(crate) awaits_handover: bool,
    /// The messages that joined the answers of closed turns.
    joined: Vec<Joined>,
}

/// A message that joined an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Joined {
    id: String,
    /// What was settled before that turn: the message came after it.
    after: Option<SeqNum>,
}

/// What `in` holds above the cursor.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct InFlight {
    /// The records that want a turn or an answer, in order: one turn each.
    pub(crate) owed: Vec<Owed>,
    /// What wants none: signals, closes (A-55, D-41).
    pub(crate) dropped: Vec<SeqNum>,
    /// Whether one of them was a close (D-32).
    pub(crate) closing: bool,
    /// The signal of the head start that the run waits for (D-41).
    pub(crate) signal: Option<SeqNum>,
}

/// Looks for the cursor and for a turn that died.
pub(crate) fn out_tail(row_settled: Option<SeqNum>, out: &[DrainedRecord]) -> OutTail {
    let turns = turns(out);
    let boundaries = || turns.iter().filter_map(|turn| turn.boundary);
    let published = boundaries().filter_map(|boundary| boundary.settled).max();
    let open = turns.last().filter(|turn| turn.boundary.is_none());
    OutTail {
        cursor: row_settled.max(published),
        newest_boundary: boundaries().map(|boundary| boundary.seq_num).max(),
        dead_turn: open.and_then(|turn| turn.segments.last()).map(|last| last.end),
        n_begun: open.map_or(0, |turn| turn.segments.iter().filter(|segment| !segment.is_apart).count()),
        awaits_handover: false,
        joined: joined(&turns),
    }
}

/// Lists what joined the answers of closed turns. Only the last message of a turn is the one that its boundary ends for sure: code
/// that drives its turns itself may leave one open, and what had joined it is still owed (D-63).
fn joined(turns: &[TurnRecords]) -> Vec<Joined> {
    let mut joined = Vec::new();
    let mut after = None;
    for turn in turns {
        let Some(boundary) = turn.boundary else { continue };
        let ids = turn.segments.last().into_iter().flat_map(Segment::injected);
        joined.extend(ids.map(|id| Joined { id: id.to_owned(), after }));
        after = after.max(boundary.settled);
    }
    joined
}

impl OutTail {
    /// Gives the cursor from which `in` must be drained: everything above it may still matter.
    pub(crate) fn drain_from(&self) -> Option<SeqNum> {
        self.joined.iter().map(|joined| joined.after).fold(self.cursor, Ord::min)
    }

    /// Finds the records of the messages that joined a closed turn: they are served with it, even where a record that waits holds the
    /// cursor below them. Of records with equal ids the first one joined, the others were sent again (A-30, A-166, D-42).
    fn served(&self, input: &[InputRecord]) -> BTreeSet<SeqNum> {
        let place = |joined: &Joined| {
            let said = |record: &&InputRecord| match &record.input {
                Some(ChatInputChunk::Message { payload }) => {
                    payload.message.as_ref().is_some_and(|message| message.is_user() && message.id == joined.id)
                }
                _ => false,
            };
            input.iter().filter(|record| joined.after < Some(record.seq_num)).find(said).map(|record| record.seq_num)
        };
        self.joined.iter().filter_map(place).collect()
    }

    /// Decides how a dead turn is closed. Its record runs again, and the boundary of that turn covers it; where nothing runs, one is
    /// due here, or no reader would ever see the session settled (D-31, D-33).
    ///
    /// While the run waits for a head start nothing is closed: the message that is open is the warm server's, which may still write it.
    /// The handover's own turn runs again.
    pub(crate) fn closing(&self, in_flight: &InFlight) -> Option<Closing> {
        let dead_turn = self.dead_turn?;
        if self.awaits_handover {
            let aborts = self.n_begun > 1 && dead_turn == SegmentEnd::Open;
            return aborts.then_some(Closing { aborts, tells: false, ends: false });
        }
        let closing = Closing { aborts: dead_turn == SegmentEnd::Open, tells: false, ends: in_flight.owed.is_empty() };
        (closing.aborts || closing.ends).then_some(closing)
    }

    /// Sorts what lies above the cursor. A run that waits for a head start keeps its first signal, unless its turn is over: that is the
    /// first turn of all (D-41).
    pub(crate) fn in_flight(&self, input: &[InputRecord]) -> InFlight {
        let served = self.served(input);
        let mut in_flight = InFlight::default();
        for record in input.iter().filter(|record| self.cursor < Some(record.seq_num)) {
            let payload = match &record.input {
                Some(ChatInputChunk::Message { payload }) => Some(payload),
                _ => None,
            };
            let awaits_it = self.awaits_handover && in_flight.signal.is_none();
            if awaits_it && record.input.as_ref().is_some_and(ChatInputChunk::is_handover_signal) {
                in_flight.signal = Some(record.seq_num);
                continue;
            }
            match payload {
                Some(_) if served.contains(&record.seq_num) => in_flight.dropped.push(record.seq_num),
                // Unreadable ones too: their senders are told when their turn comes (D-33).
                Some(payload) if payload.trigger.is_some_and(Trigger::wants_turn) => {
                    in_flight.owed.push(Owed { seq_num: Some(record.seq_num), payload: (**payload).clone() });
                }
                _ => {
                    in_flight.closing |= payload.is_some_and(|payload| payload.trigger == Some(Trigger::Close));
                    in_flight.dropped.push(record.seq_num);
                }
            }
        }
        in_flight
    }
}

//! The history that snapshot, `out` and `in` tell together (A-47…A-58, S-200…S-202).

use std::collections::BTreeSet;

use turnkeep_protocol::reduce::cleanup_aborted_parts;
use turnkeep_protocol::session_api::DrainedRecord;
use turnkeep_protocol::{ChatInputChunk, ChatSnapshot, ChatTaskWirePayload, InputRecord, SeqNum, Trigger, UiMessage};

use super::segments::{Segment, SegmentEnd, TurnRecords, turns};
use crate::chain::{Chain, says_nothing};
use crate::tool::ServerTools;

/// What the boot reads found.
#[derive(Clone, Debug, Default)]
pub(crate) struct Found {
    /// The row's settled cursor (D-32).
    pub(crate) row_settled: Option<SeqNum>,
    /// The chat snapshot.
    pub(crate) snapshot: Option<ChatSnapshot>,
    /// `out` after the snapshot's boundary.
    pub(crate) out: Vec<DrainedRecord>,
    /// `in` after the lower of all known cursors.
    pub(crate) input: Vec<InputRecord>,
    /// The agent's own tools, for which no client answers.
    pub(crate) server_tools: ServerTools,
    /// The head start that the session began with, if it did.
    pub(crate) head_start: Option<HeadStart>,
}

/// A head start, as a boot looks at it: its turn is the first of all, and the message that opens it on `out` is the warm server's.
#[derive(Clone, Debug)]
pub(crate) enum HeadStart {
    /// This run was started for it, with this history (A-73, D-41).
    Awaited(Vec<UiMessage>),
    /// A run before this one was, and has ended.
    Past,
}

impl Found {
    /// Lists the messages that joined a turn: the answer's id, the place and the message. Of records with equal ids the first one
    /// did, the others are duplicates (D-42).
    fn joined<'f>(&'f self, turn: &'f TurnRecords) -> impl Iterator<Item = (&'f str, SeqNum, &'f UiMessage)> {
        turn.injected().filter_map(|(response, id)| {
            let mut messages = self.input.iter().filter_map(|record| match &record.input {
                Some(ChatInputChunk::Message { payload }) => Some((record.seq_num, payload.message.as_ref()?)),
                _ => None,
            });
            let (seq_num, message) = messages.find(|(_, message)| message.is_user() && message.id == id)?;
            Some((response, seq_num, message))
        })
    }
}

/// What it means.
#[derive(Debug, Default)]
pub(crate) struct Replay {
    /// The chain up to the last closed turn.
    pub(crate) settled: Chain,
    /// What is settled on `in`: the highest of row, snapshot and last boundary (A-48, D-32).
    pub(crate) cursor: Option<SeqNum>,
    /// The records that want a turn above the cursor, in order.
    pub(crate) in_flight: Vec<Owed>,
    /// The seq_nums above the cursor that are owed an answer and cannot have a turn: nobody can use them (D-33, D-59).
    pub(crate) unusable: Vec<SeqNum>,
    /// The seq_nums above the cursor that want none: signals, closes, what cannot be read (A-55, D-41).
    pub(crate) dropped: Vec<SeqNum>,
    /// Whether one of them was a close (A-39, D-32).
    pub(crate) closing: bool,
    /// The turn that was running, if it wrote anything.
    pub(crate) open_turn: Option<OpenTurn>,
    /// The newest boundary on `out`, and the one the snapshot covers.
    pub(crate) newest_boundary: Option<SeqNum>,
    pub(crate) snapshot_boundary: Option<SeqNum>,
    /// The places of messages that joined an answer of a closed turn.
    served: BTreeSet<SeqNum>,
    /// Segments that could not be folded.
    pub(crate) n_malformed: usize,
    /// Whether the head start's turn is still to come.
    pub(crate) awaits_handover: bool,
    /// The signal that it waits for, if it is there (D-41).
    pub(crate) signal: Option<SeqNum>,
}

/// A record that wants a turn.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Owed {
    /// Its place; none for a message that a recovery hook invented.
    pub(crate) seq_num: Option<SeqNum>,
    pub(crate) payload: ChatTaskWirePayload,
}

/// What the turn that died has left on `out`.
#[derive(Debug, PartialEq)]
pub(crate) struct OpenTurn {
    /// The chain with the turn's own record applied; its messages are based on it.
    pub(crate) base: Chain,
    /// The messages it had ended, those apart that answer no record (D-64).
    pub(crate) ended: Vec<UiMessage>,
    /// The places of the messages that had joined it: they belong to it.
    pub(crate) joined: Vec<SeqNum>,
    /// The message it was streaming, as it stood and cleaned; none when cleaning leaves nothing.
    pub(crate) partial: Option<Partial>,
    /// Whether the last segment still wants its end.
    pub(crate) is_open: bool,
    /// How the answer to its record stands; none while there is nothing of it.
    answer: Option<SegmentEnd>,
}

/// A message whose stream never ended.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Partial {
    pub(crate) raw: UiMessage,
    pub(crate) cleaned: UiMessage,
}

/// Gives the cursor from which `in` must be drained: everything above it may still matter (A-48, S-202).
pub(crate) fn drain_from(
    row_settled: Option<SeqNum>,
    snapshot: Option<&ChatSnapshot>,
    out: &[DrainedRecord],
) -> Option<SeqNum> {
    match snapshot {
        Some(snapshot) => snapshot.last_in_event_id,
        // Without a snapshot the surviving turns still pair with their messages.
        None => turns(out).iter().all(|turn| turn.boundary.is_none()).then_some(row_settled).flatten(),
    }
}

/// Folds what was found into a history.
pub(crate) fn replay(found: &Found) -> Replay {
    let snapshot = found.snapshot.as_ref();
    let mut turns = turns(&found.out);
    let mut open = turns.pop_if(|turn| turn.boundary.is_none());
    let published = turns.iter().filter_map(|turn| turn.boundary?.settled).max();
    let snapshot_cursor = snapshot.and_then(|snapshot| snapshot.last_in_event_id);
    let cursor = found.row_settled.max(snapshot_cursor).max(published);

    let snapshot_boundary = snapshot.and_then(|snapshot| snapshot.last_out_event_id);
    let mut messages = snapshot.map(|snapshot| snapshot.messages.clone()).unwrap_or_default();
    let newest_boundary = turns.iter().filter_map(|turn| turn.boundary).map(|boundary| boundary.seq_num).max();
    let is_first_turn = turns.is_empty() && snapshot_boundary.is_none();
    let mut awaits_handover = false;
    match &found.head_start {
        Some(HeadStart::Awaited(history)) => {
            awaits_handover = is_first_turn;
            // What people said before the first turn is on no channel.
            if messages.is_empty() {
                messages = history.clone().into();
            }
        }
        // What the warm server has said answers no record of `in`: whoever spoke meanwhile gets a turn (A-65, D-64).
        Some(HeadStart::Past) if is_first_turn => open.iter_mut().for_each(TurnRecords::set_first_message_apart),
        Some(HeadStart::Past) | None => {}
    }

    let mut replay = Replay {
        settled: Chain::seeded(messages),
        cursor,
        snapshot_boundary,
        awaits_handover,
        newest_boundary,
        ..Replay::default()
    };
    let mut history = found
        .input
        .iter()
        .filter(|record| cursor >= Some(record.seq_num) && snapshot_cursor < Some(record.seq_num))
        .peekable();
    for turn in &turns {
        let covered = turn.boundary.and_then(|boundary| boundary.settled);
        let joined: Vec<_> = found.joined(turn).collect();
        // What joined the turn is served, even where a record that waits holds it above the cursor.
        replay.served.extend(joined.iter().map(|(_, seq_num, _)| seq_num));
        // The messages that a boundary covers came before its answers: user and assistant keep their order (A-48, AR-48).
        while let Some(record) = history.next_if(|record| Some(record.seq_num) <= covered) {
            if !replay.served.contains(&record.seq_num) {
                replay.apply(record, &found.server_tools);
            }
        }
        for (response, _, message) in joined {
            replay.settled.insert_before(response, message.clone());
        }
        replay.fold_closed(turn);
    }
    for record in history {
        replay.apply(record, &found.server_tools);
    }
    for record in found.input.iter().filter(|record| cursor < Some(record.seq_num)) {
        replay.sort_in(record);
    }
    if let Some(turn) = open.filter(|_| replay.takes_open_turn()) {
        replay.fold_open(&turn, found);
    }
    replay
}

impl Replay {
    fn apply(&mut self, record: &InputRecord, server_tools: &ServerTools) {
        if let Some(ChatInputChunk::Message { payload }) = &record.input {
            self.settled.apply_history(payload, server_tools);
        }
    }

    /// Tells whether what is open on `out` is a turn of ours: while no handover is there, it is the warm server's to go on with.
    fn takes_open_turn(&self) -> bool {
        let is_handed_over = self.in_flight.first().is_some_and(|first| first.seq_num == self.signal);
        !self.awaits_handover || (self.signal.is_some() && is_handed_over)
    }

    fn sort_in(&mut self, record: &InputRecord) {
        match &record.input {
            Some(ChatInputChunk::Handover { .. }) if self.awaits_handover && self.signal.is_none() => {
                self.signal = Some(record.seq_num);
                // Its turn is the first, whoever spoke before it.
                let payload = ChatTaskWirePayload::new("", Trigger::SubmitMessage);
                self.in_flight.insert(0, Owed { seq_num: Some(record.seq_num), payload });
                return;
            }
            Some(ChatInputChunk::HandoverSkip) if self.awaits_handover && self.signal.is_none() => {
                self.signal = Some(record.seq_num);
                return;
            }
            // Told behind the first turn: a boundary in front of it would end it.
            Some(ChatInputChunk::Message { payload })
                if self.awaits_handover && payload.trigger.is_some_and(Trigger::wants_turn) =>
            {
                self.in_flight.push(Owed { seq_num: Some(record.seq_num), payload: (**payload).clone() });
                return;
            }
            _ if self.served.contains(&record.seq_num) => {}
            Some(ChatInputChunk::Message { payload }) if wants_turn(payload) => {
                self.in_flight.push(Owed { seq_num: Some(record.seq_num), payload: (**payload).clone() });
                return;
            }
            // Its sender waits for a boundary all the same.
            Some(ChatInputChunk::Message { payload }) if payload.trigger.is_some_and(Trigger::wants_turn) => {
                self.unusable.push(record.seq_num);
                return;
            }
            Some(ChatInputChunk::Message { payload }) if payload.trigger == Some(Trigger::Close) => self.closing = true,
            // A stop belongs to the dead run's turn (A-55, AR-46); a handover wait is not resumed here (D-41).
            _ => {}
        }
        self.dropped.push(record.seq_num);
    }

    /// Takes a closed turn's messages into the chain.
    fn fold_closed(&mut self, turn: &TurnRecords) {
        for (at, segment) in turn.segments.iter().enumerate() {
            let Some(Folded { message, base }) = fold(segment, &self.settled, &mut self.n_malformed) else {
                continue;
            };
            // A head start's first step may have no end of its own: the run goes on with its message, and with its calls.
            let goes_on = turn.segments[at + 1..].iter().any(|next| next.message_id() == Some(&message.id));
            match segment.end {
                SegmentEnd::Finished => self.settled.commit(message),
                // Cut before its first word: no message that a reader would miss.
                _ if adds_nothing(&message, base.as_ref()) => continue,
                _ if goes_on => self.settled.commit(message),
                _ => self.settled.commit(cleanup_aborted_parts(message)),
            };
        }
    }

    fn fold_open(&mut self, turn: &TurnRecords, found: &Found) {
        let mut base = self.settled.clone();
        if let Some(first) = self.open_turns_record() {
            base.apply_history(&first.payload, &found.server_tools);
        }
        let mut joined = Vec::new();
        for (response, seq_num, message) in found.joined(turn) {
            if self.in_flight.iter().any(|owed| owed.seq_num == Some(seq_num)) {
                base.insert_before(response, message.clone());
                joined.push(seq_num);
            }
        }
        let is_last_open = turn.segments.last().is_some_and(|last| last.end == SegmentEnd::Open);
        let is_open = is_last_open && !(self.awaits_handover && turn.segments.len() == 1);
        let mut chain = base.clone();
        // Whatever hooks have piped is beside the answer; alone it is only something that was cut (A-60, D-64).
        let has_own = turn.segments.iter().any(|segment| !segment.is_apart);
        let segments: Vec<_> = turn.segments.iter().filter(|segment| segment.is_apart != has_own).collect();
        let n_given = usize::from(self.awaits_handover);
        let answer = segments.iter().skip(n_given).next_back().filter(|_| has_own).map(|last| last.end);
        let mut open_turn = OpenTurn { base, ended: Vec::new(), joined, partial: None, is_open, answer };
        for (at, segment) in segments.iter().enumerate() {
            let Some(Folded { message, base }) = fold(segment, &chain, &mut self.n_malformed) else {
                continue;
            };
            if at == 0 && self.awaits_handover {
                // The warm server's: the run's own goes on with it.
                chain.commit(message);
                continue;
            }
            let cleaned = cleanup_aborted_parts(message.clone());
            let is_last = at + 1 == segments.len();
            match segment.end {
                SegmentEnd::Open | SegmentEnd::Interrupted if adds_nothing(&message, base.as_ref()) => continue,
                // Whoever was asked about it may have died as well.
                SegmentEnd::Open | SegmentEnd::Interrupted if is_last => {
                    open_turn.partial = Some(Partial { raw: message.clone(), cleaned });
                }
                SegmentEnd::Finished => open_turn.ended.push(message.clone()),
                SegmentEnd::Open | SegmentEnd::Interrupted | SegmentEnd::Cut => open_turn.ended.push(cleaned),
            }
            chain.commit(message);
        }
        self.open_turn = Some(open_turn);
    }

    /// Gives the record that the open turn served: turns run in order, so it is the lowest one.
    pub(crate) fn open_turns_record(&self) -> Option<&Owed> {
        let first = self.in_flight.first()?;
        let lowest = self.unusable.first().is_none_or(|unusable| first.seq_num < Some(*unusable));
        lowest.then_some(first)
    }
}

/// Folds one segment; a continued message goes on from where the chain has it. One that does not fold is skipped and counted (AA-111).
fn fold(segment: &Segment, chain: &Chain, n_malformed: &mut usize) -> Option<Folded> {
    let base = segment.message_id().and_then(|id| chain.find(id)).filter(|message| message.is_assistant());
    let message = segment.reduce(base).unwrap_or_else(|_| {
        *n_malformed += 1;
        None
    })?;
    Some(Folded { message, base: base.cloned() })
}

/// A segment as a message.
struct Folded {
    message: UiMessage,
    /// What it went on from.
    base: Option<UiMessage>,
}

impl OpenTurn {
    /// Tells whether the first in-flight record has been answered as far as it ever will be (D-31, AR-47).
    pub(crate) fn has_answer(&self) -> bool {
        self.answer.is_some_and(|end| end != SegmentEnd::Open || self.partial.is_some() || !self.ended.is_empty())
    }
}

/// Tells whether an answer was cut before its first word, beyond what the message it continues had said already: its turn runs
/// again as a whole (A-290, D-31).
fn adds_nothing(message: &UiMessage, base: Option<&UiMessage>) -> bool {
    let known = base.map_or(&[][..], |base| &base.parts);
    let Some(new) = message.parts.strip_prefix(known) else {
        return false;
    };
    let new = cleanup_aborted_parts(UiMessage::assistant(String::new(), new.to_vec()));
    new.parts.iter().all(says_nothing)
}

/// Tells whether a payload is owed a turn or an action (D-33); a submit needs a message (A-53, AA-92).
fn wants_turn(payload: &ChatTaskWirePayload) -> bool {
    match payload.trigger {
        Some(Trigger::SubmitMessage) => payload.message.is_some(),
        Some(trigger) => trigger.wants_turn(),
        None => false,
    }
}

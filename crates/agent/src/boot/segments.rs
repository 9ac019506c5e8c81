//! The drained `out`, cut into turns at `turn-complete` and into messages at `start` and `finish` (A-50…A-52).

use turnkeep_protocol::reduce::{MessageReducer, ReduceError};
use turnkeep_protocol::session_api::DrainedRecord;
use turnkeep_protocol::{
    ANSWERS_NOTHING, Header, SESSION_IN_EVENT_ID, SeqNum, TRIGGER_CONTROL, UiMessage, UiMessageChunk, control,
};

use crate::attempt::INTERRUPTED;
use crate::chain::is_empty;
use crate::steering::INJECTED;

/// One turn's part of `out`.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct TurnRecords {
    /// The messages it streamed, in order.
    pub(crate) segments: Vec<Segment>,
    /// Its `turn-complete`; none while the turn is open.
    pub(crate) boundary: Option<Boundary>,
}

/// A `turn-complete`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Boundary {
    pub(crate) seq_num: SeqNum,
    /// The settled cursor it published (D-32).
    pub(crate) settled: Option<SeqNum>,
}

/// The chunks of one message.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Segment {
    pub(crate) chunks: Vec<UiMessageChunk>,
    pub(crate) end: SegmentEnd,
    /// Whether it answers no record of `in` (D-64).
    pub(crate) is_apart: bool,
}

/// How a message's chunks ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum SegmentEnd {
    /// They just stopped.
    #[default]
    Open,
    /// A boot ended it with `abort`, for a turn that died (D-31): until that turn's boundary is there, it is cut as it was.
    Interrupted,
    /// With `finish`.
    Finished,
    /// With `abort`, or with `error` before `finish`: what was begun stays unfinished.
    Cut,
}

impl Segment {
    fn has_start(&self) -> bool {
        self.chunks.iter().any(|chunk| matches!(chunk, UiMessageChunk::Start(_)))
    }

    /// Gives the id of the message, if `start` named one.
    pub(crate) fn message_id(&self) -> Option<&str> {
        self.chunks.iter().find_map(|chunk| match chunk {
            UiMessageChunk::Start(start) => start.message_id.as_deref(),
            _ => None,
        })
    }

    /// Lists the people's messages that joined it, by id.
    pub(crate) fn injected(&self) -> impl Iterator<Item = &str> {
        let ids = self.chunks.iter().filter_map(|chunk| match chunk {
            UiMessageChunk::Data(data) if data.kind.name() == INJECTED => data.data.get("messageIds")?.as_array(),
            _ => None,
        });
        ids.flatten().filter_map(|id| id.as_str())
    }

    /// Folds the chunks into a message, going on from `base` when they continue one.
    ///
    /// Chunks without a `start` make no message: an error before any answer, or data that nobody opened a message for. The author's
    /// data parts come last, whenever they were written, as the run itself has them. A chunk that does not follow changes
    /// nothing, here as for every reader; its error is given when there is nothing else.
    pub(crate) fn reduce(&self, base: Option<&UiMessage>) -> Result<Option<UiMessage>, ReduceError> {
        if !self.has_start() {
            return Ok(None);
        }
        let mut reducer = base.map_or_else(MessageReducer::new, |base| MessageReducer::resume(base.clone()));
        let mut broken = Ok(());
        let (data, streamed): (Vec<_>, Vec<_>) = self.chunks.iter().partition(|chunk| is_authors_data(chunk));
        for chunk in streamed.into_iter().chain(data) {
            broken = broken.and(reducer.apply(chunk));
        }
        let message = reducer.into_message();
        if is_empty(&message) { broken.map(|()| Some(message)) } else { Ok(Some(message)) }
    }
}

/// Tells whether the author's code wrote a chunk beside the answer: models stream no data, and what tells of injected messages stands
/// where they came in.
fn is_authors_data(chunk: &UiMessageChunk) -> bool {
    matches!(chunk, UiMessageChunk::Data(data) if data.kind.name() != INJECTED)
}

/// Cuts `records` into turns; the last one is open when it has no boundary and holds something.
pub(crate) fn turns(records: &[DrainedRecord]) -> Vec<TurnRecords> {
    let mut turns = Vec::new();
    let mut turn = TurnRecords::default();
    for record in records {
        if let Some(subtype) = header(&record.headers, TRIGGER_CONTROL) {
            if subtype == control::TURN_COMPLETE {
                let settled = header(&record.headers, SESSION_IN_EVENT_ID).and_then(SeqNum::parse_cursor);
                turn.boundary = Some(Boundary { seq_num: record.seq_num, settled });
                turns.push(std::mem::take(&mut turn));
            }
            continue;
        }
        if let Some(chunk) = content(record) {
            turn.push(chunk, header(&record.headers, ANSWERS_NOTHING).is_some());
        }
    }
    if !turn.segments.is_empty() {
        turns.push(turn);
    }
    turns
}

/// Keeps what may be part of a message: objects with a `type` that is not an old control word.
fn content(record: &DrainedRecord) -> Option<UiMessageChunk> {
    let kind = record.data.get("type")?.as_str()?;
    if kind.starts_with("trigger:") {
        return None;
    }
    // The chat's store is of no message, so it opens no turn either.
    UiMessageChunk::from_value(record.data.clone()).filter(|chunk| !chunk.is_of_store())
}

fn header<'a>(headers: &'a [Header], name: &str) -> Option<&'a str> {
    headers.iter().find(|header| header.0 == name).map(|header| header.1.as_str())
}

impl TurnRecords {
    /// Lists the people's messages that joined the turn's answers, by id, each with the id of its answer.
    pub(crate) fn injected(&self) -> impl Iterator<Item = (&str, &str)> {
        self.segments.iter().flat_map(|segment| {
            let response = segment.message_id().unwrap_or_default();
            segment.injected().map(move |id| (response, id))
        })
    }

    /// Says of the message that the turn begins with, and of what goes on with it, that it answers no record (D-64).
    pub(crate) fn set_first_message_apart(&mut self) {
        let first = self.segments.iter().find_map(Segment::message_id).map(str::to_owned);
        let is_its = |segment: &&mut Segment| segment.message_id() == first.as_deref();
        self.segments.iter_mut().take_while(is_its).for_each(|segment| segment.is_apart = true);
    }

    fn push(&mut self, chunk: UiMessageChunk, is_apart: bool) {
        let opens = matches!(chunk, UiMessageChunk::Start(_));
        let begins = opens || self.segments.last().is_none_or(|last| !last.has_start());
        match self.segments.last_mut() {
            // Data that came before `start` attaches to the message that follows.
            Some(last) if !opens || !last.has_start() => last.push(chunk),
            _ => {
                let mut segment = Segment::default();
                // Data after the previous message's end and before this `start` belongs here as well.
                if opens && let Some(last) = self.segments.last_mut() {
                    segment.chunks = last.take_late_data();
                }
                segment.push(chunk);
                self.segments.push(segment);
            }
        }
        // A failure behind a message is of that message.
        if let Some(last) = self.segments.last_mut().filter(|_| begins && is_apart) {
            last.is_apart = true;
        }
    }
}

impl Segment {
    fn push(&mut self, chunk: UiMessageChunk) {
        match &chunk {
            UiMessageChunk::Finish(_) if self.end == SegmentEnd::Open => self.end = SegmentEnd::Finished,
            // What fails after the answer is whole leaves it whole.
            UiMessageChunk::Error(_) if self.end == SegmentEnd::Finished => {}
            UiMessageChunk::Abort(abort)
                if self.end == SegmentEnd::Open && abort.reason.as_deref() == Some(INTERRUPTED) =>
            {
                self.end = SegmentEnd::Interrupted;
            }
            UiMessageChunk::Abort(_) | UiMessageChunk::Error(_) => self.end = SegmentEnd::Cut,
            _ => {}
        }
        self.chunks.push(chunk);
    }

    fn take_late_data(&mut self) -> Vec<UiMessageChunk> {
        let last_other = self.chunks.iter().rposition(|chunk| !matches!(chunk, UiMessageChunk::Data(_)));
        let from = last_other.filter(|at| self.chunks[*at].is_terminal()).map_or(self.chunks.len(), |at| at + 1);
        self.chunks.split_off(from)
    }
}

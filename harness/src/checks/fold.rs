//! The conversation as the durable records tell it: turns of `out`, messages by id, and the chain of a snapshot.
//!
//! Written against the wire alone, so that the agent's own folding is judged by something that does not share its mistakes.

use std::collections::BTreeMap;

use turnkeep_protocol::{MessageReducer, UiMessage, UiMessageChunk};

use super::story::{Content, Stored};

/// One turn of `out`: the records after one boundary up to and with the next.
#[derive(Default)]
pub(super) struct Turn<'s, 't> {
    /// The data records.
    pub(super) chunks: Vec<&'s Stored<'t>>,
    /// The `turn-complete`; none while the turn is open.
    pub(super) boundary: Option<&'s Stored<'t>>,
}

/// Cuts `out` into turns, the open one last if it has chunks.
pub(super) fn turns<'s, 't>(out: impl Iterator<Item = &'s Stored<'t>>) -> Vec<Turn<'s, 't>> {
    let mut turns = vec![Turn::default()];
    for stored in out {
        let open = turns.last_mut().expect("there is always an open turn");
        match stored.content {
            Content::Chunk(_) => open.chunks.push(stored),
            Content::Boundary(_) => {
                open.boundary = Some(stored);
                turns.push(Turn::default());
            }
            _ => {}
        }
    }
    turns.pop_if(|open| open.chunks.is_empty());
    turns
}

impl<'s> Turn<'s, '_> {
    pub(super) fn settled(&self) -> Option<u64> {
        match self.boundary?.content {
            Content::Boundary(settled) => settled.map(|settled| settled.get()),
            _ => None,
        }
    }

    fn has(&self, wanted: impl Fn(&UiMessageChunk) -> bool) -> bool {
        self.chunks.iter().filter_map(|stored| stored.chunk()).any(wanted)
    }

    /// Tells whether a message was streamed, be it only its beginning.
    pub(super) fn answers(&self) -> bool {
        self.has(|chunk| !matches!(chunk, UiMessageChunk::Data(_) | UiMessageChunk::Error(_)))
    }

    pub(super) fn failed(&self) -> bool {
        self.has(|chunk| matches!(chunk, UiMessageChunk::Error(_)))
    }

    /// Tells whether the turn was cut by a death and closed by the recovery (D-31).
    pub(super) fn interrupted(&self) -> bool {
        self.has(
            |chunk| matches!(chunk, UiMessageChunk::Abort(abort) if abort.reason.as_deref() == Some("interrupted")),
        )
    }

    /// Lists the ids of the messages that were injected into the turn.
    pub(super) fn injected(&self) -> Vec<&'s str> {
        let data = self.chunks.iter().filter_map(|stored| match stored.chunk() {
            Some(UiMessageChunk::Data(data)) if data.kind.as_str() == "data-pending-message-injected" => {
                Some(&data.data)
            }
            _ => None,
        });
        data.filter_map(|data| data.get("messageIds")?.as_array()).flatten().filter_map(|id| id.as_str()).collect()
    }

    /// Cuts the turn into messages, each from its `start`; chunks before the first `start` belong to it.
    pub(super) fn segments(&self) -> Vec<Vec<&'s UiMessageChunk>> {
        let mut segments: Vec<Vec<_>> = Vec::new();
        for chunk in self.chunks.iter().filter_map(|stored| stored.chunk()) {
            let starts = matches!(chunk, UiMessageChunk::Start(_));
            match segments.last_mut() {
                Some(open) if !starts || segment_id(open).is_none() => open.push(chunk),
                _ => segments.push(vec![chunk]),
            }
        }
        segments
    }

    /// Cuts the turn into the messages it told: one that died before its end and was streamed anew is none.
    pub(super) fn answers_told(&self) -> Vec<Vec<&'s UiMessageChunk>> {
        let mut segments = self.segments();
        let newest = segments.pop();
        segments.retain(|segment| segment.iter().any(|chunk| chunk.is_terminal()));
        segments.extend(newest);
        segments
    }
}

/// Gives the id that a segment's `start` names; empty for a `start` without one, none without a `start`.
pub(super) fn segment_id<'c>(segment: &[&'c UiMessageChunk]) -> Option<&'c str> {
    segment.iter().find_map(|chunk| match chunk {
        UiMessageChunk::Start(start) => Some(start.message_id.as_deref().unwrap_or_default()),
        _ => None,
    })
}

/// The messages that `out` tells, growing chunk by chunk.
#[derive(Default)]
pub(super) struct Messages {
    by_id: BTreeMap<String, MessageReducer>,
    open: Option<String>,
    /// The ids of messages that once lost text again, by `reset-step`.
    pub(super) shrunk: Vec<String>,
}

impl Messages {
    /// Takes the next record of `out`.
    pub(super) fn take(&mut self, stored: &Stored<'_>) {
        match &stored.content {
            Content::Boundary(_) => self.open = None,
            Content::Chunk(chunk) => self.take_chunk(chunk),
            _ => {}
        }
    }

    fn take_chunk(&mut self, chunk: &UiMessageChunk) {
        if let UiMessageChunk::Start(start) = chunk {
            self.open = Some(start.message_id.clone().unwrap_or_default());
        }
        let Some(id) = &self.open else { return };
        if matches!(chunk, UiMessageChunk::ResetStep(_)) {
            self.shrunk.push(id.clone());
        }
        let message = self.by_id.entry(id.clone()).or_default();
        // A chunk that does not follow from those before it changes nothing, here as for every reader.
        let _ = message.apply(chunk);
    }

    /// Gives the text of a message so far; none for an id that no `start` has named.
    pub(super) fn text(&self, id: &str) -> Option<String> {
        self.by_id.get(id).map(|reducer| reducer.message().text())
    }
}

/// Folds one segment, going on with `before` when it has the same id. Data parts stand behind the model's, in the order in which
/// they first came; models stream none, and what tells of injected messages stands where they came in.
pub(super) fn fold_segment(segment: &[&UiMessageChunk], before: Option<&UiMessage>) -> UiMessage {
    let mut reducer = before.map_or_else(MessageReducer::new, |message| MessageReducer::resume(message.clone()));
    let is_authors = |chunk: &&&UiMessageChunk| match chunk {
        UiMessageChunk::Data(data) => data.kind.as_str() != "data-pending-message-injected",
        _ => false,
    };
    let (data, streamed): (Vec<_>, Vec<_>) = segment.iter().partition(is_authors);
    for chunk in streamed.into_iter().chain(data) {
        let _ = reducer.apply(chunk);
    }
    reducer.into_message()
}

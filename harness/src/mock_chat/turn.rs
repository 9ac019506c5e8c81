//! [`MockTurn`]: one answered input, as the person saw it and as the channel has it.

use turnkeep_protocol::{Record, SeqNum, UiMessage, UiMessageChunk};

use super::journal::name;
use crate::model::word_diff;

/// One answered input.
#[derive(Debug, Clone)]
pub struct MockTurn {
    pub(super) label: String,
    pub(super) chunks: Vec<(SeqNum, UiMessageChunk)>,
    pub(super) raw: Vec<Record>,
    pub(super) message: UiMessage,
    /// What this turn told of it.
    pub(super) told: UiMessage,
    pub(super) input: Option<SeqNum>,
    pub(super) boundary: Option<SeqNum>,
    pub(super) misfits: Vec<String>,
}

impl MockTurn {
    /// Gives the text that the turn told.
    pub fn text(&self) -> String {
        self.told.text()
    }

    /// Gives the text deltas one by one.
    pub fn deltas(&self) -> Vec<String> {
        let delta = |(_, chunk): &(SeqNum, UiMessageChunk)| match chunk {
            UiMessageChunk::TextDelta(delta) => Some(delta.delta.clone()),
            _ => None,
        };
        self.chunks.iter().filter_map(delta).collect()
    }

    /// Names the tools that were called in the turn, in order.
    pub fn tools(&self) -> Vec<String> {
        self.told.tool_parts().map(|part| part.tool_name.clone()).collect()
    }

    /// Gives every chunk that the person was shown.
    pub fn chunks(&self) -> Vec<UiMessageChunk> {
        self.chunks.iter().map(|(_, chunk)| chunk.clone()).collect()
    }

    /// Gives the turn's records on `out`, control records and commands included.
    pub fn raw_chunks(&self) -> &[Record] {
        &self.raw
    }

    /// Gives the answer as her page has it, with what earlier turns told of the same message.
    pub fn message(&self) -> &UiMessage {
        &self.message
    }

    /// Gives the text of the turn's `error` chunk, if it failed.
    pub fn error(&self) -> Option<String> {
        self.chunks.iter().find_map(|(_, chunk)| match chunk {
            UiMessageChunk::Error(error) => Some(error.error_text.clone()),
            _ => None,
        })
    }

    /// Gives the place of the input on `in`.
    pub fn input(&self) -> Option<SeqNum> {
        self.input
    }

    /// Gives the place of the turn's `turn-complete` on `out`: where a reader that has the answer resumes.
    pub fn last_event_id(&self) -> Option<SeqNum> {
        self.boundary
    }

    /// Gives the chunks that did not follow from those before them, in words; readers skip them.
    pub fn misfits(&self) -> &[String] {
        &self.misfits
    }

    /// Wants the answer's text to be this.
    ///
    /// # Panics
    ///
    /// When it is another: names the turn and shows the difference.
    #[track_caller]
    pub fn assert_text(&self, want: &str) -> &Self {
        let found = self.text();
        let because = self.error().map(|error| format!("; the turn failed: {error}")).unwrap_or_default();
        assert!(want == found, "{}: the text differs: {}{because}", self.named(), word_diff(want, &found));
        self
    }

    /// Wants these tools to have been called, in this order.
    ///
    /// # Panics
    ///
    /// When it was not so.
    #[track_caller]
    pub fn assert_tools(&self, want: &[&str]) -> &Self {
        let found = self.tools();
        assert!(found == want, "{}: the tools differ: wanted {want:?}, called were {found:?}", self.named());
        self
    }

    /// Wants the turn's records to be of these kinds: a chunk's type, a control's kind, a command's name.
    ///
    /// # Panics
    ///
    /// When they are not: names the first record that differs.
    #[track_caller]
    pub fn assert_records(&self, want: &[&str]) -> &Self {
        let found: Vec<String> = self.raw.iter().map(name).collect();
        let n_both = want.len().min(found.len());
        for at in 0..n_both {
            let (seq_num, body) = (self.raw[at].seq_num, &self.raw[at].body);
            let (want, found) = (want[at], &found[at]);
            assert!(want == found, "{}: record {seq_num} is {found}, wanted {want}: {body}", self.label);
        }
        let missing = want.get(n_both).map(|want| format!("{want} is missing"));
        let more =
            self.raw.get(n_both).map(|record| format!("record {} is one more: {}", record.seq_num, name(record)));
        let differs = missing.or(more);
        assert!(differs.is_none(), "{}: {}; its records are {found:?}", self.label, differs.unwrap_or_default());
        self
    }

    /// Names the turn: its input, and where its records are.
    fn named(&self) -> String {
        match (self.raw.first(), self.raw.last()) {
            (Some(first), Some(last)) => {
                format!("{}, records {}–{} on `out`", self.label, first.seq_num, last.seq_num)
            }
            _ => format!("{}, no record on `out`", self.label),
        }
    }
}

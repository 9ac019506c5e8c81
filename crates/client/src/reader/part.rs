//! What a reader hands out: one record, decoded.

use serde_json::Value;
use turnkeep_protocol::{ChatInputChunk, Header, InputRecord, PartId, SeqNum, TRIGGER_CONTROL, UiMessageChunk};

/// One data or control record of a channel (C-32). Commands never come out.
#[derive(Clone, Debug, PartialEq)]
pub struct Part {
    /// The record's place; on a v1 stream, which has no places, the number of the part (C-29).
    pub seq_num: SeqNum,
    /// When the record was stored, Unix milliseconds.
    pub timestamp: u64,
    /// The record's headers; those of data tell readers nothing (D-64).
    pub headers: Vec<Header>,
    /// The envelope's id, or a v1 event's id.
    pub part_id: Option<PartId>,
    /// The envelope's content as it is on the wire: a JSON value on `out`, a JSON string on `in`; none for control records and
    /// bodies that are no envelope (C-33).
    pub chunk: Option<Value>,
}

impl Part {
    /// Gives the first header called `name`, compared exactly (C-7).
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|header| header.0 == name).map(|header| header.1.as_str())
    }

    /// Gives the control subtype, when this is a control record (C-6).
    pub fn control(&self) -> Option<&str> {
        self.header(TRIGGER_CONTROL)
    }

    /// Reads the content as a record of `in`; its input is none when it cannot be decoded.
    pub fn into_input(self) -> InputRecord {
        let input = self.chunk.and_then(ChatInputChunk::decode);
        InputRecord { seq_num: self.seq_num, timestamp: self.timestamp, input }
    }

    /// Reads the content as a chunk of a message; none for anything that is not a JSON object.
    pub fn into_ui_chunk(self) -> Option<UiMessageChunk> {
        self.chunk.and_then(UiMessageChunk::from_value)
    }
}

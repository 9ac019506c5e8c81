//! Bytes to parts: frames, batches, records, and the cursor that moves over them (C-26…C-35).
//!
//! One decoder belongs to one subscription and outlives its connections: the cursor and the window of known ids go on, only a
//! half-read frame dies with its connection.

mod quick;

use std::fmt;

use serde::de::Visitor;
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use turnkeep_protocol::sse::{Frame, FrameDecoder};
use turnkeep_protocol::{Header, PartId, Ping, RecordKind, SeqNum, Tail};

use super::Part;
use super::window::Window;
use crate::Error;

/// Which decoder a response asks for (C-28).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    /// One part per event.
    V1,
    /// `batch` events; every session stream.
    Batch,
}

impl Version {
    /// Reads the `X-Stream-Version` header; missing means v1 (C-28).
    pub(crate) fn from_header(value: Option<&str>) -> Self {
        if matches!(value, None | Some("v1")) { Self::V1 } else { Self::Batch }
    }
}

/// What a piece of a body gave.
#[derive(Debug, Default)]
pub(crate) struct Decoded {
    /// Records read, dropped ones included: proof that the stream is alive (C-45, C-52).
    pub(crate) n_records: usize,
    /// What the consumer gets.
    pub(crate) parts: Vec<Part>,
    /// The text of an `error` event: the attempt failed and is resumed (RC-18).
    pub(crate) broken: Option<String>,
}

/// The decoder of one subscription.
#[derive(Debug)]
pub(crate) struct Decoder {
    frames: FrameDecoder,
    version: Version,
    cursor: Option<SeqNum>,
    /// The last event id of a v1 stream, which is no seq_num.
    legacy_cursor: Option<String>,
    n_legacy_parts: u64,
    seen: Window,
    /// What the first answer said about the tail.
    first_tail: FirstTail,
}

/// The tail when reading began.
#[derive(Clone, Copy, Debug)]
enum FirstTail {
    /// Nothing has been said yet.
    Unheard,
    /// The server does not tell it.
    Untold,
    /// The seq_num that the next record was to get.
    At(SeqNum),
}

impl Decoder {
    pub(crate) fn new(cursor: Option<SeqNum>) -> Self {
        Self {
            frames: FrameDecoder::new(),
            version: Version::Batch,
            cursor,
            legacy_cursor: None,
            n_legacy_parts: 0,
            seen: Window::default(),
            first_tail: FirstTail::Unheard,
        }
    }

    /// Tells whether everything has been decoded that the server had when it was first asked, as far as it says so.
    pub(crate) fn is_caught_up(&self) -> bool {
        match self.first_tail {
            FirstTail::Unheard => false,
            FirstTail::Untold => true,
            FirstTail::At(tail) => self.cursor.map_or(SeqNum::ZERO, SeqNum::next) >= tail,
        }
    }

    /// Starts the body of a new connection.
    pub(crate) fn begin(&mut self, version: Version) {
        self.frames = FrameDecoder::new();
        self.version = version;
    }

    /// Gives the seq_num of the last decoded record (C-32, C-37).
    pub(crate) fn cursor(&self) -> Option<SeqNum> {
        self.cursor
    }

    /// Gives the value of `Last-Event-ID`; the text `0` is a known cursor (C-25).
    pub(crate) fn last_event_id(&self) -> Option<String> {
        self.legacy_cursor.clone().or_else(|| self.cursor.map(|cursor| cursor.to_string()))
    }

    /// Decodes the next bytes; `now` stamps v1 parts that carry no time.
    pub(crate) fn push(&mut self, bytes: &[u8], now: u64) -> Result<Decoded, Error> {
        let frames = self
            .frames
            .push(bytes)
            .map_err(|error| Error::BadResponse { what: "event stream", problem: error.to_string() })?;
        let mut decoded = Decoded::default();
        for frame in frames {
            match self.version {
                Version::V1 => self.take_event(frame, now, &mut decoded),
                Version::Batch => self.take_frame(&frame, &mut decoded),
            }
            if decoded.broken.is_some() {
                break;
            }
        }
        Ok(decoded)
    }

    fn take_frame(&mut self, frame: &Frame, decoded: &mut Decoded) {
        match frame.event.as_str() {
            "batch" => {
                let (records, tail) = read_batch(&frame.data);
                if !records.is_empty() {
                    self.hear_tail(tail);
                }
                decoded.parts.reserve(records.len());
                for record in records {
                    decoded.n_records += 1;
                    decoded.parts.extend(self.take_record(record));
                }
            }
            "ping" => {
                if let Ok(Ping { tail: Some(tail), .. }) = serde_json::from_str(&frame.data) {
                    self.hear_tail(Some(tail));
                }
            }
            "error" => decoded.broken = Some(frame.data.clone()),
            // `[DONE]` and unknown names produce nothing (C-30).
            _ => {}
        }
    }

    fn hear_tail(&mut self, tail: Option<Tail>) {
        if matches!(self.first_tail, FirstTail::Unheard) {
            self.first_tail = tail.map_or(FirstTail::Untold, |tail| FirstTail::At(tail.seq_num));
        }
    }

    fn take_record(&mut self, record: ReadRecord) -> Option<Part> {
        self.cursor = Some(record.seq_num);
        if matches!(RecordKind::of(&record.headers), RecordKind::Command(_)) {
            return None;
        }
        let (chunk, part_id) = record.body.0.map_or((None, None), |envelope| (Some(envelope.data), envelope.id));
        if let Some(id) = &part_id
            && !self.seen.insert(id)
        {
            return None;
        }
        Some(Part { seq_num: record.seq_num, timestamp: record.timestamp, headers: record.headers, part_id, chunk })
    }

    fn take_event(&mut self, frame: Frame, now: u64, decoded: &mut Decoded) {
        let id = frame.id.filter(|id| !id.is_empty());
        let stamp = id.as_deref().and_then(|id| id.split('-').next()?.parse().ok());
        if id.is_some() {
            self.legacy_cursor.clone_from(&id);
        }
        self.hear_tail(None);
        let chunk = serde_json::from_str(&frame.data).unwrap_or(Value::String(frame.data));
        decoded.n_records += 1;
        decoded.parts.push(Part {
            seq_num: SeqNum::new(self.n_legacy_parts),
            timestamp: stamp.unwrap_or(now),
            headers: Vec::new(),
            part_id: Some(PartId::new(id.unwrap_or_else(|| "unknown".to_owned()))),
            chunk: Some(chunk),
        });
        self.n_legacy_parts += 1;
    }
}

/// A batch whose bodies are read where they stand.
#[derive(Deserialize)]
struct ReadBatch {
    records: Vec<ReadRecord>,
    #[serde(default)]
    tail: Option<Tail>,
}

/// A [`Record`](turnkeep_protocol::Record) with the envelope of its body.
#[derive(Debug, PartialEq, Deserialize)]
struct ReadRecord {
    seq_num: SeqNum,
    timestamp: u64,
    body: ReadBody,
    #[serde(default)]
    headers: Vec<Header>,
}

/// What a body holds, if it is an envelope (C-33).
#[derive(Debug, PartialEq)]
struct ReadBody(Option<LooseEnvelope>);

/// An envelope whose id may be missing: such records are never de-duplicated (C-34).
#[derive(Debug, PartialEq, Deserialize)]
struct LooseEnvelope {
    data: Value,
    #[serde(default)]
    id: Option<PartId>,
}

impl<'de> Deserialize<'de> for ReadBody {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl Visitor<'_> for Text {
            type Value = ReadBody;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            // The text is JSON within JSON; it is read from where it was unescaped, without a copy of its own.
            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<ReadBody, E> {
                Ok(ReadBody::read(text))
            }
        }
        deserializer.deserialize_str(Text)
    }
}

impl ReadBody {
    fn read(text: &str) -> Self {
        // serde would take an array for a struct.
        let is_object = text.trim_start().starts_with('{');
        Self(is_object.then(|| serde_json::from_str(text).ok()).flatten())
    }
}

/// Reads a batch event.
fn read_batch(data: &str) -> (Vec<ReadRecord>, Option<Tail>) {
    quick::read(data).unwrap_or_else(|| read_any(data))
}

/// Reads a batch event of any form; a record that cannot be read does not take its neighbours with it (C-30, C-33).
fn read_any(data: &str) -> (Vec<ReadRecord>, Option<Tail>) {
    if let Ok(batch) = serde_json::from_str::<ReadBatch>(data) {
        return (batch.records, batch.tail);
    }
    let value = serde_json::from_str::<Value>(data).unwrap_or_default();
    let records = value.get("records").and_then(Value::as_array);
    let records = records.into_iter().flatten().filter_map(|record| ReadRecord::deserialize(record).ok()).collect();
    (records, value.get("tail").and_then(|tail| Tail::deserialize(tail).ok()))
}

#[cfg(test)]
mod tests;

//! Records: one entry of a channel, as it is stored and as it travels in a batch (S-81, S-108).

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{PartId, SeqNum};

/// The header that makes a record a control record.
pub const TRIGGER_CONTROL: &str = "trigger-control";
/// `turn-complete` sibling: the settled cursor of `in` (D-32).
pub const SESSION_IN_EVENT_ID: &str = "session-in-event-id";
/// `turn-complete` sibling: the highest `in` seq_num the run has received (D-41).
pub const SESSION_IN_CONSUMED_ID: &str = "session-in-consumed-id";
/// Header of a data record, a `start` or an `error`, whose message answers no record of `in`: a hook piped it outside of a turn, or a
/// recovery hook invented what it answers. Readers ignore it; a boot looks at it (A-65, D-64).
pub const ANSWERS_NOTHING: &str = "answers-nothing";
/// `turn-complete` sibling: a renewed session token (S-84).
pub const PUBLIC_ACCESS_TOKEN: &str = "public-access-token";
/// `turn-complete` sibling: the session is closed (D-37).
pub const SESSION_CLOSED: &str = "session-closed";
/// Sibling of `session-closed`: why.
pub const SESSION_CLOSED_REASON: &str = "session-closed-reason";

/// One header: name and value. An empty name marks a command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub struct Header(pub String, pub String);

impl Header {
    /// Makes a header.
    pub fn new(name: impl Into<String>, value: impl Into<String>) -> Self {
        Self(name.into(), value.into())
    }
}

/// One entry of a channel: data, control or command. Never edited.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub struct Record {
    /// Its place.
    pub seq_num: SeqNum,
    /// When it was stored, Unix milliseconds.
    pub timestamp: u64,
    /// The stored text: an [`Envelope`] for data, empty for control.
    pub body: String,
    /// Ordered headers; none for data.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<Header>,
}

/// What a record is, judged by its headers alone (S-81).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RecordKind<'a> {
    /// Content.
    Data,
    /// A boundary or notice; the subtype is the header's value.
    Control(&'a str),
    /// A storage instruction such as `trim`; invisible but for the cursor.
    Command(&'a str),
}

impl Record {
    /// Tells data, control and command apart (S-81).
    pub fn kind(&self) -> RecordKind<'_> {
        RecordKind::of(&self.headers)
    }

    /// Gives the first header called `name` (S-83).
    pub fn header(&self, name: &str) -> Option<&str> {
        header(&self.headers, name)
    }

    /// Tells whether this is a `turn-complete` boundary.
    pub fn is_turn_complete(&self) -> bool {
        self.kind() == RecordKind::Control(control::TURN_COMPLETE)
    }

    /// Gives a boundary's `session-in-event-id`, the settled cursor it publishes (D-32).
    pub fn settled_cursor(&self) -> Option<SeqNum> {
        self.header(SESSION_IN_EVENT_ID).and_then(SeqNum::parse_cursor)
    }

    /// Reads the body's envelope; none when the body is empty or not an envelope (C-33).
    pub fn envelope(&self) -> Option<Envelope> {
        // serde would take an array for a struct.
        let is_object = self.body.trim_start().starts_with('{');
        is_object.then(|| serde_json::from_str(&self.body).ok()).flatten()
    }
}

/// Control subtypes.
pub mod control {
    /// A turn ended (S-86).
    pub const TURN_COMPLETE: &str = "turn-complete";
    /// The run was replaced; informational (S-85).
    pub const UPGRADE_REQUIRED: &str = "upgrade-required";
    /// The session was closed (D-2).
    pub const SESSION_CLOSED: &str = "session-closed";
}

/// The command that names the earliest record to keep (S-89).
pub const TRIM: &str = "trim";

impl<'a> RecordKind<'a> {
    /// Tells data, control and command apart by a record's headers (S-81).
    pub fn of(headers: &'a [Header]) -> Self {
        if let Some(Header(name, op)) = headers.first()
            && name.is_empty()
        {
            return Self::Command(op);
        }
        header(headers, TRIGGER_CONTROL).map_or(Self::Data, Self::Control)
    }
}

fn header<'a>(headers: &'a [Header], name: &str) -> Option<&'a str> {
    headers.iter().find(|header| header.0 == name).map(|header| header.1.as_str())
}

/// A record before it has a place: what a writer hands to the server (D-39).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub struct NewRecord {
    /// The text to store.
    pub body: String,
    /// Ordered headers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<Header>,
}

impl NewRecord {
    /// Wraps `chunk` as a data record; `id` is the record's part id (S-92).
    ///
    /// # Panics
    ///
    /// When `chunk` has no JSON form; chunks and JSON values have one.
    pub fn data(chunk: &impl Serialize, id: &PartId) -> Self {
        // As an `Envelope` is written, without a copy of the chunk or a tree of it.
        #[derive(Serialize)]
        struct Borrowed<'a, T> {
            data: &'a T,
            id: &'a PartId,
        }
        let body = serde_json::to_string(&Borrowed { data: chunk, id }).expect("a chunk always serialises");
        Self { body, headers: Vec::new() }
    }

    /// Makes a control record: empty body, the subtype first, then its siblings (S-174).
    pub fn control(subtype: &str, siblings: impl IntoIterator<Item = Header>) -> Self {
        let mut headers = vec![Header::new(TRIGGER_CONTROL, subtype)];
        headers.extend(siblings);
        Self { body: String::new(), headers }
    }

    /// Makes the command that keeps records from `first_kept` on (S-89).
    pub fn trim(first_kept: SeqNum) -> Self {
        Self { body: first_kept.to_string(), headers: vec![Header::new("", TRIM)] }
    }

    /// Tells data, control and command apart (S-81).
    pub fn kind(&self) -> RecordKind<'_> {
        RecordKind::of(&self.headers)
    }

    /// Gives the first header called `name` (S-83).
    pub fn header(&self, name: &str) -> Option<&str> {
        header(&self.headers, name)
    }

    /// Meters the record as the store does: 8 + 2·headers + header bytes + body bytes (S-71).
    pub fn metered_bytes(&self) -> usize {
        let headers: usize = self.headers.iter().map(|Header(name, value)| 2 + name.len() + value.len()).sum();
        8 + headers + self.body.len()
    }
}

/// The largest record that is stored, metered, inclusive (S-71).
pub const MAX_RECORD_BYTES: usize = 1_048_576;

/// The largest data envelope a run writes, in bytes (S-175, A-17).
pub const MAX_CHUNK_BYTES: usize = 1_047_552;

/// The body of a data record. On `in` the data is a JSON *string*, on `out` a JSON value (S-70, S-92).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Envelope {
    /// The content.
    pub data: Value,
    /// The part id.
    pub id: PartId,
}

impl Envelope {
    /// Gives the content with a string's JSON unpacked, as `in` readers want it (A-15).
    pub fn unpacked(self) -> Value {
        match self.data {
            Value::String(text) => serde_json::from_str(&text).unwrap_or(Value::String(text)),
            other => other,
        }
    }
}

/// The place after the newest record, as batches and pings report it (S-109).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub struct Tail {
    /// The seq_num the next record will get.
    pub seq_num: SeqNum,
    /// When the newest record was stored, Unix milliseconds; 0 in an empty channel.
    pub timestamp: u64,
}

/// The data of a `batch` event (S-108).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub struct Batch {
    /// Records in seq_num order, every kind.
    pub records: Vec<Record>,
    /// Where the channel ended when the batch was cut; may be absent in backlog.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tail: Option<Tail>,
}

/// The data of a `ping` event (S-108).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub struct Ping {
    /// Unix milliseconds.
    pub timestamp: u64,
    /// Where the channel ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tail: Option<Tail>,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn stored(new: NewRecord) -> Record {
        Record { seq_num: SeqNum::ZERO, timestamp: 1, body: new.body, headers: new.headers }
    }

    #[test]
    fn kinds_are_told_apart_by_headers_s81() {
        let data = stored(NewRecord::data(&json!({ "type": "start" }), &PartId::new("p")));
        let boundary = stored(NewRecord::control(control::TURN_COMPLETE, [Header::new(SESSION_IN_EVENT_ID, "7")]));
        let trim = stored(NewRecord::trim(SeqNum::new(4)));

        assert_eq!(data.kind(), RecordKind::Data);
        assert_eq!(boundary.kind(), RecordKind::Control("turn-complete"));
        assert_eq!(trim.kind(), RecordKind::Command("trim"));
        assert_eq!(boundary.settled_cursor(), Some(SeqNum::new(7)));
    }

    #[test]
    fn control_records_have_no_body_and_commands_are_known_by_their_first_header_a18_a19() {
        let token = Header::new(crate::PUBLIC_ACCESS_TOKEN, "t");
        let boundary = NewRecord::control(control::TURN_COMPLETE, [token, Header::new(SESSION_IN_EVENT_ID, "7")]);
        let upgrade = NewRecord::control(control::UPGRADE_REQUIRED, []);

        assert_eq!((boundary.body.as_str(), upgrade.body.as_str()), ("", ""));
        let names = |record: &NewRecord| record.headers.iter().map(|header| header.0.clone()).collect::<Vec<_>>();
        assert_eq!(names(&boundary), ["trigger-control", "public-access-token", "session-in-event-id"]);
        assert_eq!(names(&upgrade), ["trigger-control"]);
        assert_eq!(upgrade.headers[0].1, "upgrade-required");

        // An empty name counts in the first place only, and there it wins over everything behind it.
        let with = |headers| stored(NewRecord { body: String::new(), headers });
        let command = with(vec![Header::new("", "later"), Header::new(TRIGGER_CONTROL, "turn-complete")]);
        assert_eq!((command.kind(), command.is_turn_complete()), (RecordKind::Command("later"), false));
        let control = with(vec![Header::new(TRIGGER_CONTROL, "turn-complete"), Header::new("", "trim")]);
        assert_eq!(control.kind(), RecordKind::Control("turn-complete"));
        assert_eq!(with(vec![Header::new("x", "y"), Header::new("", "trim")]).kind(), RecordKind::Data);
    }

    #[test]
    fn the_first_header_of_a_name_wins_s83() {
        let record = stored(NewRecord::control(
            "turn-complete",
            [Header::new(SESSION_IN_EVENT_ID, "1"), Header::new(SESSION_IN_EVENT_ID, "2")],
        ));

        assert_eq!(record.header(SESSION_IN_EVENT_ID), Some("1"));
    }

    #[test]
    fn the_envelope_is_written_data_first_without_white_space_s70() {
        let record = NewRecord::data(&json!("{\"a\":1}"), &PartId::new("abc1234"));

        assert_eq!(record.body, r#"{"data":"{\"a\":1}","id":"abc1234"}"#);
        assert_eq!(record.metered_bytes(), 8 + record.body.len());
        assert_eq!(stored(record).envelope().map(Envelope::unpacked), Some(json!({ "a": 1 })));
    }

    #[test]
    fn a_chunk_is_written_as_its_json_value_is_s92() {
        let chunks = json!([
            { "type": "text-delta", "id": "t", "delta": "a\u{1}\"b", "later": { "z": 1, "a": null } },
            { "type": "data-x", "id": "d", "data": { "b": 1.0, "a": [1e300, -0.0] }, "transient": true },
            { "type": "finish", "messageMetadata": null },
            { "type": "unheard-of", "id": 7 },
        ]);
        for value in chunks.as_array().unwrap() {
            let chunk = crate::UiMessageChunk::from_value(value.clone()).unwrap();

            let record = NewRecord::data(&chunk, &PartId::new("p"));

            assert_eq!(record, NewRecord::data(&serde_json::to_value(&chunk).unwrap(), &PartId::new("p")));
            assert_eq!(stored(record).envelope().map(|envelope| envelope.data).as_ref(), Some(value));
        }
    }

    #[test]
    fn a_body_that_is_no_envelope_is_no_error_c33() {
        for body in ["not json", "", "\"text\"", "[1, \"p1\"]", "{\"id\": \"p1\"}"] {
            let record = stored(NewRecord { body: body.to_owned(), headers: Vec::new() });

            assert_eq!(record.envelope(), None, "{body}");
        }
    }
}

//! The chat snapshot: messages and cursors, saved after a turn (S §8, A-45).

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{Messages, SeqNum, UiPart};

/// Reasoning of a message that the message itself does not have: a model that signs its thinking wants it back with the outcomes of its
/// calls.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Withheld {
    /// Names the message.
    pub message_id: String,
    /// How many parts the message had; one that has more or less is not what this is of.
    pub n_parts: usize,
    /// Each part, and how many parts of the message stand in front of it.
    pub parts: Vec<(usize, UiPart)>,
}

fn lenient<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Withheld>, D::Error> {
    Ok(serde_json::from_value(Value::deserialize(deserializer)?).ok())
}

/// A saved conversation, version 1 (S-192).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ChatSnapshot {
    version: u8,
    /// When, Unix milliseconds.
    pub saved_at: u64,
    /// The chain.
    pub messages: Messages,
    /// The `turn-complete` that ended the saved turn.
    #[serde(default, with = "cursor_text", skip_serializing_if = "Option::is_none")]
    pub last_out_event_id: Option<SeqNum>,
    /// The settled cursor then (D-32).
    #[serde(default, with = "cursor_text", skip_serializing_if = "Option::is_none")]
    pub last_in_event_id: Option<SeqNum>,
    /// The chat's store, once it was ever set (D-56).
    #[serde(default, deserialize_with = "crate::wire::present", skip_serializing_if = "Option::is_none")]
    pub store: Option<Value>,
    /// What people do not get of the newest answer while calls of it wait (D-68); anything else there counts as nothing.
    #[serde(default, deserialize_with = "lenient", skip_serializing_if = "Option::is_none")]
    pub withheld: Option<Withheld>,
    /// Fields of other versions.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

impl ChatSnapshot {
    /// Makes a version 1 snapshot.
    pub fn new(
        saved_at: u64,
        messages: impl Into<Messages>,
        last_out_event_id: Option<SeqNum>,
        last_in_event_id: Option<SeqNum>,
    ) -> Self {
        let messages = messages.into();
        Self {
            version: 1,
            saved_at,
            messages,
            last_out_event_id,
            last_in_event_id,
            store: None,
            withheld: None,
            extra: Map::new(),
        }
    }

    /// Reads a stored object; anything that is not a version 1 snapshot is no snapshot (S-193, A-44).
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let snapshot: Self = serde_json::from_slice(bytes).ok()?;
        (snapshot.version == 1).then_some(snapshot)
    }
}

/// Cursors travel as decimal text; one that does not parse counts as absent.
mod cursor_text {
    use serde::{Deserialize, Deserializer, Serializer};
    use serde_json::Value;

    use crate::SeqNum;

    #[expect(clippy::ref_option, reason = "the signature serde calls")]
    pub(super) fn serialize<S: Serializer>(cursor: &Option<SeqNum>, serializer: S) -> Result<S::Ok, S::Error> {
        match cursor {
            Some(cursor) => serializer.collect_str(cursor),
            None => serializer.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<SeqNum>, D::Error> {
        let value = Option::<Value>::deserialize(deserializer)?;
        Ok(value.as_ref().and_then(Value::as_str).and_then(SeqNum::parse_cursor))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_version_1_with_a_message_list_is_a_snapshot_s193_aa141() {
        let good = json!({ "version": 1, "savedAt": 5, "messages": [], "lastOutEventId": "9", "later": true });

        let snapshot = ChatSnapshot::parse(good.to_string().as_bytes()).unwrap();

        assert_eq!(snapshot.last_out_event_id, Some(SeqNum::new(9)));
        assert_eq!(serde_json::to_value(&snapshot).unwrap(), good);
        for bad in
            [json!({ "version": 2, "savedAt": 5, "messages": [] }), json!({ "version": 1, "messages": {} }), json!(3)]
        {
            assert_eq!(ChatSnapshot::parse(bad.to_string().as_bytes()), None, "{bad}");
        }
        assert_eq!(ChatSnapshot::parse(b"{"), None);
    }

    #[test]
    fn a_store_of_null_is_another_than_no_store_d56() {
        let mut snapshot = ChatSnapshot::new(5, Vec::new(), None, None);
        let read = |snapshot: &ChatSnapshot| {
            let bytes = serde_json::to_vec(snapshot).unwrap();
            ChatSnapshot::parse(&bytes).unwrap().store
        };

        assert_eq!(read(&snapshot), None);
        snapshot.store = Some(Value::Null);
        assert_eq!(read(&snapshot), Some(Value::Null));
        snapshot.store = Some(json!({ "a": [1] }));
        assert_eq!(read(&snapshot), Some(json!({ "a": [1] })));
    }

    #[test]
    fn a_cursor_that_is_no_number_is_absent_a46() {
        let stored = json!({ "version": 1, "savedAt": 5, "messages": [], "lastOutEventId": "abc" });

        assert_eq!(ChatSnapshot::parse(stored.to_string().as_bytes()).unwrap().last_out_event_id, None);
    }
}

//! What a record of `in` asks of the run, the unreadable ones included (A-15, D-33).

use serde_json::Value;
use turnkeep_protocol::{ChatInputChunk, ChatTaskWirePayload, Trigger, is_owed};

/// What the sender of an owed record is told that nobody can use (D-33).
pub(crate) const UNUSABLE: &str = "the message cannot be read";

/// The key under which a payload carries that its record could not be read. A sender who sets it gets the same answer as one whose
/// message is broken.
const UNREADABLE: &str = "unreadable";

/// Decodes a record's content. One that is owed an answer and cannot be read becomes a submit without a message, so that its sender
/// gets a boundary and no silence (D-33, D-59); whatever else cannot be read is none.
pub(crate) fn decode(content: Value) -> Option<ChatInputChunk> {
    let is_owed = is_owed(&content);
    ChatInputChunk::decode(content).or_else(|| {
        let mut payload = ChatTaskWirePayload::new("", Trigger::SubmitMessage);
        payload.extra.insert(UNREADABLE.to_owned(), true.into());
        is_owed.then(|| ChatInputChunk::message(payload))
    })
}

/// Tells whether a payload stands for a record that could not be read.
pub(crate) fn is_unreadable(payload: &ChatTaskWirePayload) -> bool {
    payload.message.is_none() && payload.extra.contains_key(UNREADABLE)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_owed_record_that_cannot_be_read_is_kept_for_its_answer_d33_d59() {
        let no_chat = |trigger: &str| json!({ "kind": "message", "payload": { "trigger": trigger } });
        let bad_role = json!({ "kind": "message", "payload": {
            "chatId": "c", "trigger": "submit-message", "message": { "id": "u", "role": "wizard", "parts": [] },
        } });
        let as_text = Value::String(no_chat("action").to_string());
        for owed in [no_chat("submit-message"), no_chat("regenerate-message"), no_chat("action"), bad_role, as_text] {
            match decode(owed.clone()) {
                Some(ChatInputChunk::Message { payload }) => assert!(is_unreadable(&payload), "{owed}"),
                other => panic!("{owed} became {other:?}"),
            }
        }
        for other in
            [no_chat("close"), no_chat("wink"), json!({ "kind": "message" }), json!({ "kind": "wink" }), json!(7)]
        {
            assert_eq!(decode(other.clone()), None, "{other}");
        }
    }

    #[test]
    fn a_readable_record_stays_what_it_is_a15() {
        let stop = json!({ "kind": "stop" });

        assert_eq!(decode(stop), Some(ChatInputChunk::Stop { message: None }));
    }
}

//! What travels on `in`: messages, stops and handover signals, and the payload that messages and runs carry (A §1).

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{SeqNum, SessionId, UiMessage};

/// A record of `in` (A-14).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
#[serde(tag = "kind", rename_all = "kebab-case", rename_all_fields = "camelCase")]
pub enum ChatInputChunk {
    /// All that a user does, actions and closes included (A-16).
    Message {
        /// What is asked.
        payload: Box<ChatTaskWirePayload>,
    },
    /// Ends the running turn's answer.
    Stop {
        /// Why, for the `abort` chunk.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        message: Option<String>,
    },
    /// Gives the head start's first step to the run.
    Handover {
        /// The step's messages in model form.
        #[cfg_attr(feature = "arbitrary", arbitrary(with = crate::arbitrary_json::values))]
        partial_assistant_message: Vec<Value>,
        /// The assistant message's id.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        message_id: Option<String>,
        /// Whether the answer is already whole.
        is_final: bool,
    },
    /// The head start gave up.
    HandoverSkip,
}

impl ChatInputChunk {
    /// Decodes a record's content, a JSON object or a string that holds one; none for anything else (A-15).
    pub fn decode(content: Value) -> Option<Self> {
        match content {
            Value::String(text) => serde_json::from_str(&text).ok(),
            other => serde_json::from_value(other).ok(),
        }
    }

    /// Wraps a payload as a message.
    pub fn message(payload: ChatTaskWirePayload) -> Self {
        Self::Message { payload: Box::new(payload) }
    }

    /// Tells whether the record is a head start's word to the run that waits for it.
    pub fn is_handover_signal(&self) -> bool {
        matches!(self, Self::Handover { .. } | Self::HandoverSkip)
    }

    /// Tells whether the record wants a turn: submit, regenerate or action (D-33).
    pub fn wants_turn(&self) -> bool {
        matches!(self, Self::Message { payload } if payload.trigger.is_some_and(Trigger::wants_turn))
    }
}

/// Tells whether a record's content is owed an answer: a message that submits, regenerates or acts (D-33).
///
/// Judged by `kind` and `trigger` alone, so a message that cannot be read otherwise is owed too: its sender gets an error and a
/// boundary, never silence. Server and run both ask here, so they cannot disagree about what is owed.
pub fn is_owed(content: &Value) -> bool {
    #[derive(Deserialize)]
    struct Input {
        kind: String,
        payload: Option<Payload>,
    }
    #[derive(Deserialize)]
    struct Payload {
        trigger: Option<Trigger>,
    }
    let input: Option<Input> = match content {
        Value::String(text) => serde_json::from_str(text).ok(),
        other => Input::deserialize(other).ok(),
    };
    let trigger = input.filter(|input| input.kind == "message").and_then(|input| input.payload?.trigger);
    trigger.is_some_and(Trigger::wants_turn)
}

/// Why a payload was sent (A-2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
#[serde(rename_all = "kebab-case")]
pub enum Trigger {
    /// Boot before the first message.
    Preload,
    /// A message.
    SubmitMessage,
    /// Redo the last answer.
    RegenerateMessage,
    /// An action, no turn.
    Action,
    /// End the run.
    Close,
    /// Boot and wait for a head start.
    HandoverPrepare,
}

impl Trigger {
    /// Tells whether a record with this trigger is owed an answer (D-33).
    pub const fn wants_turn(self) -> bool {
        matches!(self, Self::SubmitMessage | Self::RegenerateMessage | Self::Action)
    }
}

/// A run's payload, and the payload of a message record (A-1). Unknown keys survive (A-291).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
#[serde(rename_all = "camelCase")]
pub struct ChatTaskWirePayload {
    /// The author's id of the chat.
    pub chat_id: String,
    /// Absent only on continuations started by the server (A-4).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trigger: Option<Trigger>,
    /// At most one message (A-5).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<UiMessage>,
    /// The message to regenerate (A-149).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message_id: Option<String>,
    /// Client data before validation (A-8).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "arbitrary", arbitrary(with = crate::arbitrary_json::optional))]
    pub metadata: Option<Value>,
    /// The action.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "arbitrary", arbitrary(with = crate::arbitrary_json::optional))]
    pub action: Option<Value>,
    /// The chat's store as a client has changed it (A-185).
    #[serde(default, deserialize_with = "crate::wire::present", skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "arbitrary", arbitrary(with = crate::arbitrary_json::optional))]
    pub incoming_store: Option<Value>,
    /// History for a head start; read only with `handover-prepare` (A-6).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub head_start_messages: Option<Vec<UiMessage>>,
    /// Whether a run before this one served the session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub continuation: Option<bool>,
    /// That run's id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous_run_id: Option<String>,
    /// How long to wait warm, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle_timeout_in_seconds: Option<u64>,
    /// The session's public id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_id: Option<SessionId>,
    /// Keys of other versions.
    #[serde(flatten)]
    #[cfg_attr(feature = "arbitrary", arbitrary(default))]
    pub extra: Map<String, Value>,
}

impl ChatTaskWirePayload {
    /// Makes a payload that only has a chat and a trigger.
    pub fn new(chat_id: impl Into<String>, trigger: Trigger) -> Self {
        Self {
            chat_id: chat_id.into(),
            trigger: Some(trigger),
            message: None,
            message_id: None,
            metadata: None,
            action: None,
            incoming_store: None,
            head_start_messages: None,
            continuation: None,
            previous_run_id: None,
            idle_timeout_in_seconds: None,
            session_id: None,
            extra: Map::new(),
        }
    }

    /// Makes the payload of a submitted message.
    pub fn submit(chat_id: impl Into<String>, message: UiMessage) -> Self {
        Self { message: Some(message), ..Self::new(chat_id, Trigger::SubmitMessage) }
    }
}

/// A decoded record of `in` with its place.
#[derive(Clone, Debug, PartialEq)]
pub struct InputRecord {
    /// Its place.
    pub seq_num: SeqNum,
    /// When it was stored, Unix milliseconds.
    pub timestamp: u64,
    /// What it asks; none when it could not be decoded (A-15).
    pub input: Option<ChatInputChunk>,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn input_kinds_have_their_wire_names_a14_aa132() {
        let stop = ChatInputChunk::Stop { message: None };
        let skip = ChatInputChunk::HandoverSkip;

        assert_eq!(serde_json::to_value(stop).unwrap(), json!({ "kind": "stop" }));
        assert_eq!(serde_json::to_value(skip).unwrap(), json!({ "kind": "handover-skip" }));
        let handover = json!({ "kind": "handover", "partialAssistantMessage": [], "messageId": "a1", "isFinal": true });
        let decoded = ChatInputChunk::decode(handover.clone()).unwrap();
        assert_eq!(serde_json::to_value(decoded).unwrap(), handover);
        let message = ChatInputChunk::message(ChatTaskWirePayload::new("c", Trigger::Close));
        assert_eq!(
            serde_json::to_value(message).unwrap(),
            json!({ "kind": "message", "payload": { "chatId": "c", "trigger": "close" } })
        );
    }

    #[test]
    fn the_four_kinds_of_record_survive_a_round_trip_and_are_not_wrapped_c11_ca79() {
        let say = json!({ "role": "assistant", "content": [{ "type": "text", "text": "Hm" }] });
        for wire in [
            json!({ "kind": "message", "payload": { "chatId": "c", "trigger": "submit-message" } }),
            json!({ "kind": "stop" }),
            json!({ "kind": "stop", "message": "enough" }),
            json!({ "kind": "handover", "partialAssistantMessage": [say], "isFinal": false }),
            json!({ "kind": "handover", "partialAssistantMessage": [], "messageId": "a1", "isFinal": true }),
            json!({ "kind": "handover-skip" }),
        ] {
            let read = ChatInputChunk::decode(wire.clone()).unwrap_or_else(|| panic!("{wire}"));

            assert_eq!(serde_json::to_value(read).unwrap(), wire);
            assert_eq!(ChatInputChunk::decode(json!({ "data": wire, "id": "p" })), None, "that is how out looks");
        }
    }

    #[test]
    fn a_store_of_null_replaces_and_an_absent_one_does_not_a185() {
        let payload = |fields: Value| -> ChatTaskWirePayload { serde_json::from_value(fields).unwrap() };

        let null = payload(json!({ "chatId": "c", "trigger": "action", "incomingStore": null }));

        assert_eq!(null.incoming_store, Some(Value::Null));
        assert_eq!(serde_json::to_value(&null).unwrap()["incomingStore"], Value::Null);
        assert_eq!(payload(json!({ "chatId": "c", "trigger": "action" })).incoming_store, None);
    }

    #[test]
    fn a_body_may_be_an_object_or_a_string_holding_one_a15() {
        let object = json!({ "kind": "stop", "message": "enough" });

        let from_object = ChatInputChunk::decode(object.clone());
        let from_text = ChatInputChunk::decode(Value::String(object.to_string()));

        assert_eq!(from_object, Some(ChatInputChunk::Stop { message: Some("enough".to_owned()) }));
        assert_eq!(from_object, from_text);
        assert_eq!(ChatInputChunk::decode(json!({ "kind": "wink" })), None);
        assert_eq!(ChatInputChunk::decode(json!(7)), None);
    }

    #[test]
    fn payloads_survive_a_round_trip_with_every_trigger_a7_aa123() {
        for trigger in ["preload", "submit-message", "regenerate-message", "action", "close", "handover-prepare"] {
            let wire = json!({ "chatId": "c", "trigger": trigger, "metadata": { "k": [1] }, "later": { "x": null } });
            let payload: ChatTaskWirePayload = serde_json::from_value(wire.clone()).unwrap();
            assert_eq!(serde_json::to_value(payload).unwrap(), wire, "{trigger}");
        }
    }

    #[test]
    fn each_triggers_payload_survives_with_exactly_its_fields_and_none_is_a_list_of_messages_c12_ca76() {
        let message = json!({ "id": "u1", "role": "user", "parts": [{ "type": "text", "text": "hi" }] });
        for fields in [
            json!({ "trigger": "submit-message", "message": message, "messageId": "u1", "metadata": { "user": 7 } }),
            json!({ "trigger": "regenerate-message", "messageId": "a1" }),
            json!({ "trigger": "preload", "idleTimeoutInSeconds": 9 }),
            json!({ "trigger": "close" }),
            json!({ "trigger": "action", "action": { "type": "undo" }, "metadata": { "user": 7 } }),
            json!({ "trigger": "handover-prepare", "headStartMessages": [message], "messageId": "a1" }),
            json!({ "continuation": true, "previousRunId": "run_1", "sessionId": "session_1" }),
        ] {
            let mut wire = fields;
            wire["chatId"] = json!("c");

            let read: ChatTaskWirePayload = serde_json::from_value(wire.clone()).unwrap();

            assert_eq!(serde_json::to_value(&read).unwrap(), wire);
            assert!(read.extra.is_empty(), "each is known: {:?}", read.extra);
        }
        let older: ChatTaskWirePayload =
            serde_json::from_value(json!({ "chatId": "c", "messages": [message] })).unwrap();
        assert_eq!(older.extra.keys().collect::<Vec<_>>(), ["messages"], "it has no meaning");
    }

    #[test]
    fn every_field_of_a_payload_has_its_name_and_its_type_and_only_the_chat_is_required_a1() {
        let message = json!({ "id": "u1", "role": "user", "parts": [] });
        let whole = json!({
            "chatId": "c", "trigger": "submit-message", "message": message, "messageId": "u1", "metadata": [1],
            "action": { "type": "undo" }, "headStartMessages": [message], "continuation": true, "previousRunId": "run_1",
            "idleTimeoutInSeconds": 9, "sessionId": "session_1",
        });
        let read = |wire: &Value| serde_json::from_value::<ChatTaskWirePayload>(wire.clone());

        let payload = read(&whole).unwrap();

        assert_eq!(serde_json::to_value(&payload).unwrap(), whole);
        assert!(payload.extra.is_empty(), "each is known: {:?}", payload.extra);
        for name in whole.as_object().unwrap().keys() {
            let mut without = whole.clone();
            without.as_object_mut().unwrap().remove(name);
            assert_eq!(read(&without).is_ok(), name != "chatId", "without {name}");
            let mut wrong = whole.clone();
            wrong[name] = json!({ "no": ["such", "thing"] });
            // Client data and actions are the author's to judge.
            assert_eq!(read(&wrong).is_ok(), ["metadata", "action"].contains(&name.as_str()), "a wrong {name}");
        }
    }

    #[test]
    fn there_are_six_triggers_and_no_other_a2() {
        let names = ["preload", "submit-message", "regenerate-message", "action", "close", "handover-prepare"];
        let read = |name: &str| serde_json::from_value::<Trigger>(json!(name));

        for name in names {
            assert_eq!(serde_json::to_value(read(name).unwrap()).unwrap(), json!(name));
        }
        for other in ["", "submit", "Preload", "submitMessage", "stop"] {
            assert!(read(other).is_err(), "{other}");
        }
    }

    #[test]
    fn whatever_a_person_sends_travels_as_a_message_a16() {
        for trigger in ["preload", "submit-message", "regenerate-message", "action", "close"] {
            let payload = json!({ "chatId": "c", "trigger": trigger });
            let chunk = ChatInputChunk::message(serde_json::from_value(payload.clone()).unwrap());

            let wire = json!({ "kind": "message", "payload": payload });
            assert_eq!(serde_json::to_value(&chunk).unwrap(), wire);
            assert_eq!(ChatInputChunk::decode(wire), Some(chunk));
            // There is no record kind of that name.
            assert_eq!(ChatInputChunk::decode(json!({ "kind": trigger, "payload": payload })), None, "{trigger}");
        }
    }

    #[track_caller]
    fn survives(wire: &Value) -> ChatTaskWirePayload {
        let payload: ChatTaskWirePayload = serde_json::from_value(wire.clone()).unwrap();
        assert_eq!(&serde_json::to_value(&payload).unwrap(), wire);
        payload
    }

    #[test]
    fn a_continuation_keeps_its_ids_and_needs_no_trigger_a4_aa124() {
        let payload = survives(&json!({
            "chatId": "c", "continuation": true, "previousRunId": "run_1", "idleTimeoutInSeconds": 9, "sessionId": "session_1",
        }));

        assert_eq!(payload.trigger, None);
        assert_eq!(payload.previous_run_id.as_deref(), Some("run_1"));
        assert_eq!(payload.session_id, Some(SessionId::new("session_1")));
    }

    #[test]
    fn an_approval_in_an_assistant_message_survives_a5_aa125() {
        let payload = survives(&json!({ "chatId": "c", "trigger": "submit-message", "message": {
            "id": "a1", "role": "assistant", "parts": [{ "type": "tool-send", "toolCallId": "tc", "state": "approval-responded",
                "approval": { "id": "ap", "approved": true, "reason": "fine" } }],
        } }));

        let message = payload.message.unwrap();
        let approval = message.tool_parts().next().and_then(|part| part.approval.clone()).unwrap();
        assert_eq!(
            (approval.id.as_str(), approval.approved, approval.reason.as_deref()),
            ("ap", Some(true), Some("fine"))
        );
    }

    #[test]
    fn there_is_one_message_and_a_list_under_an_old_name_is_no_history_a3_aa131() {
        let old =
            json!({ "chatId": "c", "trigger": "preload", "messages": [{ "id": "u1", "role": "user", "parts": [] }] });

        let payload: ChatTaskWirePayload = serde_json::from_value(old).unwrap();

        assert_eq!((&payload.message, &payload.head_start_messages), (&None, &None));
        for required in ["{}", r#"{ "trigger": "preload" }"#] {
            assert!(serde_json::from_str::<ChatTaskWirePayload>(required).is_err(), "{required} has no chat");
        }
        let head_start = json!({ "chatId": "c", "trigger": "handover-prepare", "headStartMessages": [
            { "id": "u1", "role": "user", "parts": [{ "type": "text", "text": "hi" }] },
        ] });
        assert_eq!(survives(&head_start).head_start_messages.map(|messages| messages.len()), Some(1));
    }

    #[test]
    fn only_submit_regenerate_and_action_are_owed_d33() {
        let owed = |trigger| ChatInputChunk::message(ChatTaskWirePayload::new("c", trigger)).wants_turn();

        assert!(owed(Trigger::SubmitMessage) && owed(Trigger::RegenerateMessage) && owed(Trigger::Action));
        assert!(!owed(Trigger::Preload) && !owed(Trigger::Close) && !owed(Trigger::HandoverPrepare));
        assert!(!ChatInputChunk::Stop { message: None }.wants_turn());
    }

    #[track_caller]
    fn check_owed(content: Value, want: bool) {
        assert_eq!(is_owed(&content), want, "{content}");
        assert_eq!(is_owed(&Value::String(content.to_string())), want, "{content} as a string");
        if let Some(chunk) = ChatInputChunk::decode(content.clone()) {
            assert_eq!(chunk.wants_turn(), want, "{content} decoded");
        }
    }

    #[test]
    fn kind_and_trigger_alone_say_whether_a_record_is_owed_d33() {
        let message = |payload: Value| json!({ "kind": "message", "payload": payload });
        for (trigger, want) in [
            ("submit-message", true),
            ("regenerate-message", true),
            ("action", true),
            ("preload", false),
            ("close", false),
            ("handover-prepare", false),
            ("wink", false),
        ] {
            check_owed(message(json!({ "trigger": trigger })), want);
            check_owed(message(json!({ "chatId": "c", "trigger": trigger, "message": null })), want);
            check_owed(json!({ "kind": "stop", "payload": { "trigger": trigger } }), false);
        }
        check_owed(message(json!({ "trigger": "submit-message", "message": 7, "chatId": [] })), true);
        for other in [
            message(json!({})),
            message(json!({ "trigger": null })),
            message(json!({ "trigger": 7 })),
            message(json!("submit-message")),
            json!({ "kind": "message" }),
            json!({ "kind": 7, "payload": { "trigger": "action" } }),
            json!({ "payload": { "trigger": "action" } }),
            json!({ "kind": "handover", "partialAssistantMessage": [], "isFinal": true }),
            json!(7),
            json!(null),
            json!([]),
        ] {
            check_owed(other, false);
        }
        assert!(!is_owed(&json!("not json")));
    }
}

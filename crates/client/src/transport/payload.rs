//! What a send says: the requests of the application, and the record each becomes (C-13, C-14, C-74, C-78).

use serde_json::Value;
use turnkeep_protocol::{ChatInputChunk, ChatTaskWirePayload, JsonObject, Trigger, UiMessage, slim_message};

use super::Source;
use super::store::Queued;
use crate::Error;

/// Body fields that only the transport sets (C-78).
const FIXED_FIELDS: [&str; 8] =
    ["chatId", "trigger", "messageId", "metadata", "message", "headStartMessages", "action", "incomingStore"];

/// A send that produces a turn.
#[derive(Clone, Debug)]
pub struct SendMessages {
    trigger: Trigger,
    messages: Vec<UiMessage>,
    message_id: Option<String>,
    metadata: Option<JsonObject>,
    body: JsonObject,
}

impl SendMessages {
    /// Submits the last of `messages` (C-13).
    pub fn submit(messages: impl IntoIterator<Item = UiMessage>) -> Self {
        Self::new(Trigger::SubmitMessage, messages.into_iter().collect())
    }

    /// Asks for the last answer again; carries no message (C-13).
    pub fn regenerate() -> Self {
        Self::new(Trigger::RegenerateMessage, Vec::new())
    }

    /// Tells whether it is sent as an action (C-84).
    pub(crate) fn is_action(&self) -> bool {
        self.body.contains_key("action")
    }

    fn new(trigger: Trigger, messages: Vec<UiMessage>) -> Self {
        Self { trigger, messages, message_id: None, metadata: None, body: JsonObject::new() }
    }

    /// Names the message, for a regeneration the one to replace.
    #[must_use]
    pub fn message_id(self, id: impl Into<String>) -> Self {
        Self { message_id: Some(id.into()), ..self }
    }

    /// Lays metadata over the client data, key by key (C-74).
    #[must_use]
    pub fn metadata(self, metadata: JsonObject) -> Self {
        Self { metadata: Some(metadata), ..self }
    }

    /// Adds fields to the record's payload; they never override the fixed ones (C-78).
    ///
    /// With a field `action` the send becomes that action (C-84).
    #[must_use]
    pub fn body(self, body: JsonObject) -> Self {
        Self { body, ..self }
    }
}

/// One record on its way, ready but for its part id.
#[derive(Debug)]
pub(crate) struct Outgoing {
    pub(crate) record: Vec<u8>,
    pub(crate) source: Source,
    pub(crate) message_id: Option<String>,
    /// The store's change that it carries (C-174).
    pub(crate) store: Option<Queued>,
}

/// What a transport adds to every send that wants a turn.
#[derive(Clone, Copy, Default)]
pub(crate) struct Ambient<'a> {
    pub(crate) client_data: Option<&'a JsonObject>,
    pub(crate) store: Option<&'a Queued>,
}

impl Outgoing {
    /// Builds a submit or a regeneration; an empty submit is refused (C-77).
    pub(crate) fn messages(chat_id: &str, send: SendMessages, ambient: Ambient<'_>) -> Result<Self, Error> {
        let SendMessages { trigger, messages, message_id, metadata, mut body } = send;
        if let Some(action) = body.shift_remove("action") {
            return Ok(Self::action(chat_id, action, metadata.as_ref(), ambient));
        }
        let last = messages.last();
        if trigger == Trigger::SubmitMessage && last.is_none() {
            return Err(Error::NothingToSubmit);
        }
        let mut payload = ChatTaskWirePayload::new(chat_id, trigger);
        payload.message =
            last.filter(|_| trigger == Trigger::SubmitMessage).map(|last| slim_message(last).into_owned());
        payload.message_id.clone_from(&message_id);
        payload.metadata = merge(ambient.client_data, metadata.as_ref());
        payload.incoming_store = ambient.store.map(|queued| queued.value.clone());
        payload.extra = strip(body);
        let source = if trigger == Trigger::SubmitMessage { Source::SubmitMessage } else { Source::RegenerateMessage };
        let message_id = message_id.or_else(|| last.map(|last| last.id.clone()).filter(|id| !id.is_empty()));
        let store = ambient.store.cloned();
        Ok(Self { record: encode(&ChatInputChunk::message(payload)), source, message_id, store })
    }

    /// Builds what the author's warm server gets: the payload alone, with all messages (C §5.2, step 1).
    pub(crate) fn head_start(chat_id: &str, send: SendMessages, ambient: Ambient<'_>) -> Result<Self, Error> {
        let SendMessages { trigger, messages, message_id, metadata, body } = send;
        if trigger == Trigger::SubmitMessage && messages.is_empty() {
            return Err(Error::NothingToSubmit);
        }
        let last_id = messages.last().map(|last| last.id.clone()).filter(|id| !id.is_empty());
        let mut payload = ChatTaskWirePayload::new(chat_id, trigger);
        payload.head_start_messages = Some(messages);
        payload.message_id.clone_from(&message_id);
        payload.metadata = merge(ambient.client_data, metadata.as_ref());
        payload.incoming_store = ambient.store.map(|queued| queued.value.clone());
        payload.extra = strip(body);
        let record = serde_json::to_vec(&payload).expect("a payload always serialises");
        let (message_id, store) = (message_id.or(last_id), ambient.store.cloned());
        Ok(Self { record, source: Source::HeadStart, message_id, store })
    }

    /// Builds an action (C-118).
    pub(crate) fn action(chat_id: &str, action: Value, metadata: Option<&JsonObject>, ambient: Ambient<'_>) -> Self {
        let mut payload = ChatTaskWirePayload::new(chat_id, Trigger::Action);
        payload.action = Some(action);
        payload.metadata = merge(ambient.client_data, metadata);
        payload.incoming_store = ambient.store.map(|queued| queued.value.clone());
        let store = ambient.store.cloned();
        Self { record: encode(&ChatInputChunk::message(payload)), source: Source::Action, message_id: None, store }
    }

    /// Builds a message that is posted beside a running turn (C-120).
    pub(crate) fn steer(
        chat_id: &str,
        message: &UiMessage,
        metadata: Option<&JsonObject>,
        client_data: Option<&JsonObject>,
    ) -> Self {
        let mut payload = ChatTaskWirePayload::submit(chat_id, slim_message(message).into_owned());
        payload.metadata = merge(client_data, metadata);
        let message_id = Some(message.id.clone()).filter(|id| !id.is_empty());
        Self { record: encode(&ChatInputChunk::message(payload)), source: Source::Steer, message_id, store: None }
    }

    /// Builds the request to end the run (C-163).
    pub(crate) fn close(chat_id: &str) -> Self {
        let payload = ChatTaskWirePayload::new(chat_id, Trigger::Close);
        Self { record: encode(&ChatInputChunk::message(payload)), source: Source::Close, message_id: None, store: None }
    }

    /// Builds a stop: exactly `{"kind":"stop"}` (CA-41).
    pub(crate) fn stop() -> Self {
        Self {
            record: encode(&ChatInputChunk::Stop { message: None }),
            source: Source::Stop,
            message_id: None,
            store: None,
        }
    }
}

fn encode(input: &ChatInputChunk) -> Vec<u8> {
    serde_json::to_vec(input).expect("an input record always serialises")
}

/// Lays the call's metadata over the client data per top-level key; absent when both are (C-74).
fn merge(client_data: Option<&JsonObject>, call: Option<&JsonObject>) -> Option<Value> {
    if client_data.is_none() && call.is_none() {
        return None;
    }
    let mut merged = client_data.cloned().unwrap_or_default();
    for (key, value) in call.into_iter().flatten() {
        merged.insert(key.clone(), value.clone());
    }
    Some(Value::Object(merged))
}

fn strip(mut body: JsonObject) -> JsonObject {
    for field in FIXED_FIELDS {
        body.shift_remove(field);
    }
    body
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(value: Value) -> JsonObject {
        value.as_object().unwrap().clone()
    }

    #[track_caller]
    fn check(outgoing: &Outgoing, want: Value) {
        assert_eq!(serde_json::from_slice::<Value>(&outgoing.record).unwrap(), want);
    }

    #[test]
    fn only_the_last_message_travels_c13_ca31_cf10() {
        let messages = ["a", "b", "c"].map(|id| UiMessage::user(id, id));

        let submit = Outgoing::messages("chat", SendMessages::submit(messages), Ambient::default()).unwrap();
        let again =
            Outgoing::messages("chat", SendMessages::regenerate().message_id("m1"), Ambient::default()).unwrap();

        let message = json!({ "id": "c", "role": "user", "parts": [{ "type": "text", "text": "c" }] });
        let payload = json!({ "chatId": "chat", "trigger": "submit-message", "message": message });
        check(&submit, json!({ "kind": "message", "payload": payload }));
        let payload = json!({ "chatId": "chat", "trigger": "regenerate-message", "messageId": "m1" });
        check(&again, json!({ "kind": "message", "payload": payload }));
        assert_eq!((submit.message_id.as_deref(), again.message_id.as_deref()), (Some("c"), Some("m1")));
    }

    #[test]
    fn a_head_start_carries_the_whole_first_history_and_is_no_record_ca86() {
        let messages = ["a", "b"].map(|id| UiMessage::user(id, id));
        let client = object(json!({ "user": "u" }));
        let ambient = Ambient { client_data: Some(&client), store: None };

        let outgoing = Outgoing::head_start("chat", SendMessages::submit(messages), ambient).unwrap();

        let message = |id: &str| json!({ "id": id, "role": "user", "parts": [{ "type": "text", "text": id }] });
        let want = json!({ "chatId": "chat", "trigger": "submit-message", "metadata": { "user": "u" },
            "headStartMessages": [message("a"), message("b")] });
        check(&outgoing, want);
        assert_eq!(outgoing.message_id.as_deref(), Some("b"));
        let nothing = Outgoing::head_start("chat", SendMessages::submit([]), Ambient::default());
        assert!(matches!(nothing, Err(Error::NothingToSubmit)));
    }

    #[test]
    fn an_empty_submit_is_refused_c77() {
        let refused = Outgoing::messages("chat", SendMessages::submit([]), Ambient::default());

        assert!(matches!(refused, Err(Error::NothingToSubmit)));
    }

    #[test]
    fn an_answered_tool_call_is_sent_without_the_rest_of_its_message_c14() {
        let message = json!({ "id": "m", "role": "assistant", "parts": [
            { "type": "text", "text": "let me look" },
            { "type": "tool-ask", "toolCallId": "t1", "state": "output-available", "input": {}, "output": 7 },
        ]});
        let message: UiMessage = serde_json::from_value(message).unwrap();

        let outgoing = Outgoing::messages("chat", SendMessages::submit([message.clone()]), Ambient::default()).unwrap();

        let sent: Value = serde_json::from_slice(&outgoing.record).unwrap();
        let want = json!([{ "type": "tool-ask", "toolCallId": "t1", "state": "output-available", "output": 7 }]);
        assert_eq!(sent["payload"]["message"]["parts"], want);
        assert_eq!(message.parts.len(), 2, "the caller's message is not touched (C-17)");
    }

    #[test]
    fn per_call_metadata_wins_per_key_c74_ca32() {
        let client = object(json!({ "user": "u1", "model": "small" }));
        let call = object(json!({ "model": "large" }));

        assert_eq!(merge(Some(&client), Some(&call)), Some(json!({ "user": "u1", "model": "large" })));
        assert_eq!(merge(Some(&client), None), Some(json!({ "user": "u1", "model": "small" })));
        assert_eq!(merge(None, Some(&call)), Some(json!({ "model": "large" })));
        assert_eq!(merge(None, None), None);
    }

    #[test]
    fn extra_body_fields_never_override_the_fixed_ones_c78() {
        let body = object(json!({
            "chatId": "x", "trigger": "close", "messageId": "x", "metadata": 1, "message": 1, "headStartMessages": [1],
            "idleTimeoutInSeconds": 9, "mine": true,
        }));

        let outgoing = Outgoing::messages("chat", SendMessages::regenerate().body(body), Ambient::default()).unwrap();

        let payload =
            json!({ "chatId": "chat", "trigger": "regenerate-message", "idleTimeoutInSeconds": 9, "mine": true });
        check(&outgoing, json!({ "kind": "message", "payload": payload }));
    }

    #[test]
    fn a_send_with_an_action_is_sent_as_that_action_c84() {
        let body = object(json!({ "action": { "type": "undo" } }));
        let send = SendMessages::submit([UiMessage::user("u", "hi")]).body(body);

        let outgoing = Outgoing::messages("chat", send, Ambient::default()).unwrap();

        let payload = json!({ "chatId": "chat", "trigger": "action", "action": { "type": "undo" } });
        check(&outgoing, json!({ "kind": "message", "payload": payload }));
        assert_eq!(outgoing.source, Source::Action);
    }

    #[test]
    fn a_stop_is_exactly_its_kind_ca41() {
        assert_eq!(Outgoing::stop().record, br#"{"kind":"stop"}"#);
    }
}

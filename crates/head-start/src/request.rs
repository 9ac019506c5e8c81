//! [`HeadStartRequest`]: what a page posts for its first turn (C §5.2, steps 1 and 2).

use serde_json::{Map, Value};
use turnkeep_protocol::{ChatTaskWirePayload, JsonObject, Trigger, UiMessage, slim_message};

use crate::error::Error;

/// Fields of a payload that only the session server or the handler may set; a page's own are dropped.
const NOT_THE_PAGES: [&str; 6] =
    ["message", "action", "continuation", "previousRunId", "sessionId", "idleTimeoutInSeconds"];

/// A first turn as the page asks for it.
#[derive(Clone, Debug, PartialEq)]
pub struct HeadStartRequest {
    chat_id: String,
    messages: Vec<UiMessage>,
    /// Asks for the last answer again instead of submitting the last message.
    is_regenerate: bool,
    message_id: Option<String>,
    metadata: Option<Value>,
    incoming_store: Option<Value>,
    extra: Map<String, Value>,
}

impl HeadStartRequest {
    /// Makes the request that a page would post for these messages.
    pub fn new(chat_id: impl Into<String>, messages: impl IntoIterator<Item = UiMessage>) -> Self {
        Self {
            chat_id: chat_id.into(),
            messages: messages.into_iter().collect(),
            is_regenerate: false,
            message_id: None,
            metadata: None,
            incoming_store: None,
            extra: Map::new(),
        }
    }

    /// Reads a request's body.
    ///
    /// # Errors
    ///
    /// [`Error::NoChatId`] without a chat id, [`Error::BadRequest`] for a body that is no JSON object or has no list of messages.
    pub fn parse(body: &[u8]) -> Result<Self, Error> {
        let bad = |problem: String| Error::BadRequest { problem };
        let body: Value = serde_json::from_slice(body).map_err(|error| bad(error.to_string()))?;
        let Value::Object(mut body) = body else { return Err(bad("the body must be a JSON object".to_owned())) };
        let chat_id = match body.shift_remove("chatId") {
            Some(Value::String(id)) if !id.is_empty() => id,
            _ => return Err(Error::NoChatId),
        };
        let messages = body.shift_remove("headStartMessages").ok_or_else(|| bad("no headStartMessages".to_owned()))?;
        let messages = serde_json::from_value(messages).map_err(|error| bad(format!("headStartMessages: {error}")))?;
        let is_regenerate = body.shift_remove("trigger").is_some_and(|trigger| trigger == "regenerate-message");
        let message_id = body.shift_remove("messageId").and_then(|id| Some(id.as_str()?.to_owned()));
        let metadata = body.shift_remove("metadata");
        let incoming_store = body.shift_remove("incomingStore");
        for field in NOT_THE_PAGES {
            body.shift_remove(field);
        }
        Ok(Self { chat_id, messages, is_regenerate, message_id, metadata, incoming_store, extra: body })
    }

    /// Gives the chat's id.
    pub fn chat_id(&self) -> &str {
        &self.chat_id
    }

    /// Gives the history, the question last.
    pub fn messages(&self) -> &[UiMessage] {
        &self.messages
    }

    /// Gives the client data: a claim of the page, until the author's own overlays it (C-222).
    pub fn metadata(&self) -> Option<&Value> {
        self.metadata.as_ref()
    }

    /// Replaces the client data; it reaches the run and never the browser (C-211).
    #[must_use]
    pub fn with_metadata(self, metadata: Value) -> Self {
        Self { metadata: Some(metadata), ..self }
    }

    /// Builds what the run gets of it: the caller's own payload below, what makes it a head start above (C §5.2, step 3).
    pub(crate) fn payload(&self, base: &Map<String, Value>, idle_timeout_in_seconds: u64) -> Map<String, Value> {
        let mut payload = base.clone();
        for field in ["message", "continuation", "previousRunId"] {
            payload.shift_remove(field);
        }
        payload.extend(self.extra.clone());
        payload.insert("headStartMessages".to_owned(), serde_json::json!(self.messages));
        if let Some(id) = &self.message_id {
            payload.insert("messageId".to_owned(), id.as_str().into());
        }
        if let Some(metadata) = &self.metadata {
            payload.insert("metadata".to_owned(), metadata.clone());
        }
        if let Some(store) = &self.incoming_store {
            payload.insert("incomingStore".to_owned(), store.clone());
        }
        payload.insert("chatId".to_owned(), self.chat_id.as_str().into());
        payload.insert("trigger".to_owned(), "handover-prepare".into());
        payload.insert("idleTimeoutInSeconds".to_owned(), idle_timeout_in_seconds.into());
        payload
    }

    /// Builds the record of an ordinary send: what a chat that is there already gets instead of a head start (C-198, C-13).
    pub(crate) fn ordinary(&self) -> Result<ChatTaskWirePayload, Error> {
        let mut payload = if self.is_regenerate {
            ChatTaskWirePayload::new(&*self.chat_id, Trigger::RegenerateMessage)
        } else {
            let last = self.messages.last().ok_or_else(|| Error::BadRequest { problem: "no messages".to_owned() })?;
            ChatTaskWirePayload::submit(&*self.chat_id, slim_message(last).into_owned())
        };
        payload.message_id.clone_from(&self.message_id);
        payload.metadata.clone_from(&self.metadata);
        payload.incoming_store.clone_from(&self.incoming_store);
        payload.extra = self.extra.clone();
        Ok(payload)
    }

    /// Adds fields for the agent to the payload; they override none that a head start sets.
    #[must_use]
    pub fn with_body(mut self, body: JsonObject) -> Self {
        let fixed = ["chatId", "trigger", "messageId", "metadata", "headStartMessages", "incomingStore"];
        let is_free = |key: &str| !fixed.contains(&key) && !NOT_THE_PAGES.contains(&key);
        self.extra.extend(body.into_iter().filter(|(key, _)| is_free(key)));
        self
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn parse(body: &Value) -> Result<HeadStartRequest, Error> {
        HeadStartRequest::parse(body.to_string().as_bytes())
    }

    fn hello() -> Value {
        json!({ "id": "u1", "role": "user", "parts": [{ "type": "text", "text": "Hi" }] })
    }

    #[test]
    fn a_request_without_a_chat_id_is_refused_by_that_name_ca83() {
        for body in [json!({}), json!({ "chatId": "" }), json!({ "chatId": 7, "headStartMessages": [] })] {
            assert!(matches!(parse(&body), Err(Error::NoChatId)), "{body}");
        }
        assert_eq!(Error::NoChatId.to_string(), "chatId is missing");
    }

    #[test]
    fn a_request_that_is_none_says_what_is_wrong() {
        for (body, want) in [
            ("[]", "the body must be a JSON object"),
            (r#"{"chatId":"c"}"#, "no headStartMessages"),
            (r#"{"chatId":"c","headStartMessages":[7]}"#, "headStartMessages: "),
        ] {
            let error = HeadStartRequest::parse(body.as_bytes()).unwrap_err();

            assert_eq!(error.status(), 400);
            assert!(error.to_string().contains(want), "{error}");
        }
    }

    #[test]
    fn the_runs_payload_lays_what_makes_a_head_start_over_everything_ca80_ca81_a221() {
        let request = parse(&json!({
            "chatId": "c1", "headStartMessages": [hello()], "trigger": "submit-message", "messageId": "u1",
            "metadata": { "user": "u" }, "mine": 1, "message": hello(), "continuation": true, "idleTimeoutInSeconds": 1,
        }));
        let base = json!({ "chatId": "x", "trigger": "preload", "theirs": 2, "mine": 0, "message": hello() });

        let payload = request.unwrap().payload(base.as_object().unwrap(), 60);

        let want = json!({
            "chatId": "c1", "trigger": "handover-prepare", "idleTimeoutInSeconds": 60, "headStartMessages": [hello()],
            "messageId": "u1", "metadata": { "user": "u" }, "mine": 1, "theirs": 2,
        });
        assert_eq!(Value::Object(payload), want);
    }

    #[test]
    fn an_ordinary_send_carries_the_last_message_alone_c198_c13() {
        let body = json!({ "chatId": "c1", "headStartMessages": [hello(), hello()], "metadata": 1, "mine": 1 });
        let request = parse(&body).unwrap();

        let submit = serde_json::to_value(request.ordinary().unwrap()).unwrap();

        let want = json!({ "chatId": "c1", "trigger": "submit-message", "message": hello(), "metadata": 1, "mine": 1 });
        assert_eq!(submit, want);
        let again = json!({ "chatId": "c1", "headStartMessages": [], "trigger": "regenerate-message" });
        let again = serde_json::to_value(parse(&again).unwrap().ordinary().unwrap()).unwrap();
        assert_eq!(again, json!({ "chatId": "c1", "trigger": "regenerate-message" }));
        let nothing = parse(&json!({ "chatId": "c1", "headStartMessages": [] })).unwrap();
        assert!(matches!(nothing.ordinary(), Err(Error::BadRequest { .. })));
    }

    #[test]
    fn an_authors_fields_override_none_of_a_head_starts() {
        let body = json!({ "chatId": "x", "message": 1, "trigger": "close", "mine": true });
        let request =
            HeadStartRequest::new("c1", []).with_body(body.as_object().unwrap().clone().into_iter().collect());

        let payload = request.payload(&Map::new(), 5);

        let want = json!({ "mine": true, "headStartMessages": [], "chatId": "c1", "trigger": "handover-prepare",
            "idleTimeoutInSeconds": 5 });
        assert_eq!(Value::Object(payload), want);
    }
}

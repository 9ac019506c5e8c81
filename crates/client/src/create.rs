//! What creates a chat's session: one body, laid together from what the author set and what one call says (C-155, C-217, C-218).

use serde_json::{Map, Value};
use turnkeep_protocol::run_api::RunOptions;
use turnkeep_protocol::session_api::{CreateSession, TriggerConfig};
use turnkeep_protocol::{JsonObject, TaskId};

/// The session type of chats.
pub const CHAT_AGENT: &str = "chat.agent";

/// How many run tags a session may have (C-156).
const MAX_TAGS: usize = 5;

/// Everything that goes into the body.
#[derive(Clone, Copy)]
pub(crate) struct ChatBody<'a> {
    pub(crate) task: &'a TaskId,
    pub(crate) chat_id: &'a str,
    /// What holds for all chats.
    pub(crate) options: &'a TriggerConfig,
    /// What holds for this one; it wins field by field.
    pub(crate) call: Option<&'a TriggerConfig>,
    pub(crate) client_data: Option<&'a JsonObject>,
    /// Row metadata, unrelated to client data (C-219).
    pub(crate) metadata: Option<&'a JsonObject>,
}

impl ChatBody<'_> {
    /// Builds the body of the create request.
    pub(crate) fn build(self) -> CreateSession {
        CreateSession {
            kind: CHAT_AGENT.to_owned(),
            task_identifier: self.task.clone(),
            trigger_config: self.trigger_config(),
            external_id: Some(self.chat_id.to_owned()),
            tags: None,
            metadata: self.metadata.map(|metadata| metadata.clone().into_iter().collect()),
            expires_at: None,
        }
    }

    fn trigger_config(self) -> TriggerConfig {
        let none = TriggerConfig::default();
        let call = self.call.unwrap_or(&none);
        let (asked, usual) = (&call.options, &self.options.options);
        let text = |asked: &Option<String>, usual: &Option<String>| asked.clone().or_else(|| usual.clone());
        TriggerConfig {
            base_payload: self.base_payload(call),
            options: RunOptions {
                machine: text(&asked.machine, &usual.machine),
                queue: text(&asked.queue, &usual.queue),
                tags: Some(self.tags(call)),
                max_attempts: asked.max_attempts.or(usual.max_attempts),
                max_duration: asked.max_duration.or(usual.max_duration),
                lock_to_version: text(&asked.lock_to_version, &usual.lock_to_version),
                region: text(&asked.region, &usual.region),
            },
            idle_timeout_in_seconds: call.idle_timeout_in_seconds.or(self.options.idle_timeout_in_seconds),
        }
    }

    /// A first run without a trigger would boot without its hooks (CR-25); the empty list is for agents of another age.
    fn base_payload(self, call: &TriggerConfig) -> Map<String, Value> {
        let mut payload = Map::new();
        payload.insert("trigger".to_owned(), "preload".into());
        payload.insert("messages".to_owned(), Value::Array(Vec::new()));
        let layers = self.options.base_payload.iter().chain(&call.base_payload);
        payload.extend(layers.map(|(key, value)| (key.clone(), value.clone())));
        if let Some(client_data) = self.client_data {
            let client_data = client_data.iter().map(|(key, value)| (key.clone(), value.clone())).collect();
            payload.insert("metadata".to_owned(), Value::Object(client_data));
        }
        payload.insert("chatId".to_owned(), self.chat_id.into());
        payload
    }

    fn tags(self, call: &TriggerConfig) -> Vec<String> {
        let rest = call.options.tags.as_ref().or(self.options.options.tags.as_ref()).cloned().unwrap_or_default();
        chat_tags(self.chat_id, rest)
    }
}

/// Gives the run tags of a chat's session: its own first, then `rest`, five in all (C-156, C-186, C-218).
pub fn chat_tags(chat_id: &str, rest: impl IntoIterator<Item = String>) -> Vec<String> {
    let own = format!("chat:{chat_id}");
    let rest = rest.into_iter().filter(|tag| *tag != own);
    std::iter::once(own.clone()).chain(rest).take(MAX_TAGS).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(value: Value) -> Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    fn config(base_payload: Value) -> TriggerConfig {
        TriggerConfig { base_payload: object(base_payload), ..TriggerConfig::default() }
    }

    #[track_caller]
    fn check(options: &TriggerConfig, call: Option<&TriggerConfig>, client_data: Option<Value>, want: Value) {
        let client_data = client_data.map(object);
        let task = TaskId::new("agent");
        let body =
            ChatBody { task: &task, chat_id: "c1", options, call, client_data: client_data.as_ref(), metadata: None };
        assert_eq!(serde_json::to_value(body.build()).unwrap()["triggerConfig"], want);
    }

    #[test]
    fn the_plain_body_preloads_the_chat_under_its_own_tag_c155_c217_cr25() {
        // A-256a, AF-13: the trigger is there.
        let payload = json!({ "trigger": "preload", "messages": [], "chatId": "c1" });

        check(&TriggerConfig::default(), None, None, json!({ "basePayload": payload, "tags": ["chat:c1"] }));
    }

    #[test]
    fn a_calls_payload_wins_over_the_options_and_nobody_renames_the_chat_c155_c217_ca91() {
        // A-256a, AA-158.
        let options = config(json!({ "a": 1, "b": 1, "chatId": "x", "metadata": { "is": "no client data" } }));
        let call = config(json!({ "b": 2, "trigger": "handover-prepare" }));

        let payload = json!({ "trigger": "handover-prepare", "messages": [], "a": 1, "b": 2, "chatId": "c1",
                              "metadata": { "user": "u" } });
        let want = json!({ "basePayload": payload, "tags": ["chat:c1"] });
        check(&options, Some(&call), Some(json!({ "user": "u" })), want);
    }

    #[test]
    fn every_other_field_is_forwarded_and_the_call_wins_c156_c218_ca91() {
        // A-256a, AA-159.
        let full = |n: u32, text: &str| TriggerConfig {
            base_payload: Map::new(),
            options: RunOptions {
                machine: Some(text.to_owned()),
                queue: Some(text.to_owned()),
                tags: None,
                max_attempts: Some(n),
                max_duration: Some(n.into()),
                lock_to_version: Some(text.to_owned()),
                region: Some(text.to_owned()),
            },
            idle_timeout_in_seconds: Some(n.into()),
        };
        let payload = json!({ "trigger": "preload", "messages": [], "chatId": "c1" });
        let want = |n: u32, text: &str| {
            json!({ "basePayload": payload, "tags": ["chat:c1"], "machine": text, "queue": text, "maxAttempts": n,
                    "maxDuration": n, "lockToVersion": text, "region": text, "idleTimeoutInSeconds": n })
        };

        check(&full(1, "options"), None, None, want(1, "options"));
        check(&full(1, "options"), Some(&full(2, "call")), None, want(2, "call"));
        check(&full(1, "options"), Some(&TriggerConfig::default()), None, want(1, "options"));
    }

    #[test]
    fn the_chats_tag_comes_first_and_the_list_is_cut_to_five_c156_c218_ca91() {
        // A-256a, AA-159.
        let tagged = |tags: &[&str]| TriggerConfig {
            options: RunOptions { tags: Some(tags.iter().map(ToString::to_string).collect()), ..RunOptions::default() },
            ..TriggerConfig::default()
        };
        let tags = |options: &TriggerConfig, call: Option<&TriggerConfig>| {
            let task = TaskId::new("agent");
            ChatBody { task: &task, chat_id: "c1", options, call, client_data: None, metadata: None }
                .build()
                .trigger_config
                .options
                .tags
                .unwrap()
        };

        assert_eq!(tags(&tagged(&["a", "b", "c", "d", "e"]), None), ["chat:c1", "a", "b", "c", "d"]);
        assert_eq!(tags(&tagged(&["a"]), Some(&tagged(&["z", "chat:c1"]))), ["chat:c1", "z"], "one list, not both");
    }
}

//! What creates the session of a head start: the author's configuration and one request (C-186).

use turnkeep_client::{CHAT_AGENT, chat_tags};
use turnkeep_protocol::TaskId;
use turnkeep_protocol::session_api::{CreateSession, TriggerConfig};

use crate::request::HeadStartRequest;

/// How long a run waits for its handover when nobody says otherwise, in seconds (C-180).
const IDLE_TIMEOUT_S: u64 = 60;

/// The shortest and longest wait that the session server takes, in seconds.
const IDLE_TIMEOUT_BOUNDS_S: (u64, u64) = (1, 3600);

/// Gives the seconds that a run waits for its handover, and the handler for its first step.
pub(crate) fn idle_timeout_s(own: Option<u64>, config: &TriggerConfig) -> u64 {
    let (shortest, longest) = IDLE_TIMEOUT_BOUNDS_S;
    own.or(config.idle_timeout_in_seconds).unwrap_or(IDLE_TIMEOUT_S).clamp(shortest, longest)
}

/// Builds the body of the create request; the session keeps this configuration for life.
pub(crate) fn create_session(
    agent: &TaskId,
    config: &TriggerConfig,
    idle_timeout_s: u64,
    request: &HeadStartRequest,
) -> CreateSession {
    let mut config = config.clone();
    config.base_payload = request.payload(&config.base_payload, idle_timeout_s);
    config.idle_timeout_in_seconds = Some(idle_timeout_s);
    let tags = config.options.tags.take().unwrap_or_default();
    config.options.tags = Some(chat_tags(request.chat_id(), tags));
    CreateSession {
        kind: CHAT_AGENT.to_owned(),
        task_identifier: agent.clone(),
        trigger_config: config,
        external_id: Some(request.chat_id().to_owned()),
        tags: None,
        metadata: None,
        expires_at: None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn config(json: Value) -> TriggerConfig {
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn the_session_is_a_chats_whose_run_waits_for_a_handover_ca80() {
        let config = config(json!({ "basePayload": {} }));
        let request = HeadStartRequest::new("c1", []);

        let body = create_session(&TaskId::new("agent"), &config, idle_timeout_s(None, &config), &request);

        let want = json!({
            "type": "chat.agent", "externalId": "c1", "taskIdentifier": "agent",
            "triggerConfig": {
                "basePayload": { "headStartMessages": [], "chatId": "c1", "trigger": "handover-prepare",
                    "idleTimeoutInSeconds": 60 },
                "tags": ["chat:c1"], "idleTimeoutInSeconds": 60,
            },
        });
        assert_eq!(serde_json::to_value(body).unwrap(), want);
    }

    #[test]
    fn an_authors_configuration_is_kept_and_the_chats_tag_comes_first_of_five_ca81_c186() {
        let options = json!({
            "basePayload": {}, "queue": "q", "machine": "m", "maxAttempts": 2, "maxDuration": 9, "region": "r",
            "lockToVersion": "v", "tags": ["a", "b", "c", "d", "e"],
        });
        let body =
            create_session(&TaskId::new("agent"), &config(options.clone()), 60, &HeadStartRequest::new("c1", []));

        let sent = serde_json::to_value(body.trigger_config).unwrap();
        assert_eq!(sent["tags"], json!(["chat:c1", "a", "b", "c", "d"]));
        for field in ["queue", "machine", "maxAttempts", "maxDuration", "region", "lockToVersion"] {
            assert_eq!(sent[field], options[field], "{field}");
        }
    }

    #[test]
    fn the_wait_is_the_handlers_own_before_the_configurations_before_60_s_c186() {
        let told = config(json!({ "basePayload": {}, "idleTimeoutInSeconds": 20 }));
        let untold = config(json!({ "basePayload": {} }));

        for (own, config, want) in [
            (Some(5), &told, 5),
            (None, &told, 20),
            (None, &untold, 60),
            (Some(0), &told, 1),
            (Some(9999), &told, 3600),
        ] {
            assert_eq!(idle_timeout_s(own, config), want);
        }
    }
}

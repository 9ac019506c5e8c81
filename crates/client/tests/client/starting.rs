//! What an application's server calls to start a chat (C §6).

use serde_json::{Value, json};
use turnkeep_client::{Error, SessionsApi, StartChat, StartSessionAction};
use turnkeep_protocol::run_api::RunOptions;
use turnkeep_protocol::session_api::TriggerConfig;
use turnkeep_protocol::{JsonObject, TaskId};

use crate::rig::Rig;

fn object(value: Value) -> JsonObject {
    value.as_object().unwrap().clone()
}

#[derive(serde::Serialize)]
struct Person {
    user: &'static str,
}

fn action(rig: &Rig) -> StartSessionAction {
    let sessions = SessionsApi::new(rig.host.clone(), "http://session".parse().unwrap(), "sk_test");
    StartSessionAction::new(sessions, TaskId::new("agent"))
}

#[tokio::test(start_paused = true)]
async fn a_chat_is_created_with_its_data_apart_from_the_rows_c216_c217_c219_c222_ca91() {
    // A-256, A-256a, AA-158, AA-161.
    let rig = Rig::start().await;
    let chat = StartChat::new("c1")
        .typed_client_data(&Person { user: "u1" })
        .unwrap()
        .metadata(object(json!({ "folder": "work" })))
        .trigger_config(TriggerConfig {
            options: RunOptions { region: Some("eu".to_owned()), ..RunOptions::default() },
            ..TriggerConfig::default()
        });

    let started = action(&rig).start(&chat).await.unwrap();

    assert_eq!((started.run_id.as_str(), started.session_id.as_str()), ("run_1", "session_1"));
    assert_eq!(started.public_access_token, "created-1", "the body's token, never the header's (C-3)");
    let want = json!({
        "type": "chat.agent", "taskIdentifier": "agent", "externalId": "c1", "metadata": { "folder": "work" },
        "triggerConfig": {
            "basePayload": { "trigger": "preload", "messages": [], "metadata": { "user": "u1" }, "chatId": "c1" },
            "tags": ["chat:c1"], "region": "eu",
        },
    });
    let create = &rig.fake.creates()[0];
    assert_eq!((create.token.as_str(), &create.body), ("sk_test", &want));
    assert!(rig.fake.minted().is_empty());
}

#[tokio::test(start_paused = true)]
async fn without_client_data_the_first_run_has_no_metadata_c217_ca91() {
    // A-256a, AA-158: absent means unset, not null.
    let rig = Rig::start().await;

    action(&rig).start(&StartChat::new("c1")).await.unwrap();

    let body = rig.fake.creates()[0].body.clone();
    assert_eq!(body["triggerConfig"]["basePayload"].get("metadata"), None);
    assert_eq!(body.get("metadata"), None);
}

#[tokio::test(start_paused = true)]
async fn a_token_of_ones_own_lifetime_is_minted_with_exactly_the_two_scopes_c220_ca91() {
    let rig = Rig::start().await;

    let started = action(&rig).token_ttl("2h").start(&StartChat::new("c1")).await.unwrap();

    assert_eq!(started.public_access_token, "minted");
    let want = json!({ "scopes": ["read:sessions:c1", "write:sessions:c1"], "expirationTime": "2h" });
    assert_eq!(rig.fake.minted(), [want]);
}

#[tokio::test(start_paused = true)]
async fn a_missing_chat_id_fails_naming_it_before_any_request_c216() {
    //
    let rig = Rig::start().await;

    let error = action(&rig).start(&StartChat::default()).await.unwrap_err();

    assert!(error.to_string().contains("chatId"), "{error}");
    assert!(rig.fake.creates().is_empty());
}

#[tokio::test(start_paused = true)]
async fn the_id_of_a_closed_chat_cannot_be_used_again_c4_d54() {
    let rig = Rig::start().await;
    rig.fake.on_create(409, json!({ "error": "closed", "code": "session_closed", "closedReason": "over" }));

    let error = action(&rig).start(&StartChat::new("c1")).await.unwrap_err();

    assert!(matches!(error, Error::SessionClosed { reason: Some(reason) } if reason == "over"));
}

#[tokio::test(start_paused = true)]
async fn a_token_that_starts_chats_is_for_one_agent_and_a_day_a257() {
    let rig = Rig::start().await;
    let sessions = SessionsApi::new(rig.host.clone(), "http://session".parse().unwrap(), "sk_test");

    assert_eq!(sessions.task_token(&TaskId::new("agent")).await.unwrap(), "minted");

    assert_eq!(rig.fake.minted(), [json!({ "scopes": ["write:tasks:agent"], "expirationTime": "24h" })]);
}

#[test]
fn client_data_of_a_type_is_an_object_aa158() {
    assert!(StartChat::new("c1").typed_client_data(&"u1").is_err());
    let typed = StartChat::new("c1").typed_client_data(&Person { user: "u1" }).unwrap();
    assert_eq!(typed, StartChat::new("c1").client_data(object(json!({ "user": "u1" }))));
}

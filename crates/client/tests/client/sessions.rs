//! The secret-key client of the session routes.

use turnkeep_client::SessionsApi;
use turnkeep_protocol::{ChatInputChunk, PartId, SeqNum};

use crate::fake::AppendPlan;
use crate::rig::Rig;

#[tokio::test(start_paused = true)]
async fn an_append_with_the_secret_key_keeps_the_callers_part_id_c18_d6() {
    let rig = Rig::start().await;
    rig.fake.on_append(AppendPlan::StoreThen(503));
    let api = SessionsApi::new(rig.host.clone(), "http://session/".parse().unwrap(), "sk_test");
    let stop = ChatInputChunk::Stop { message: None };

    let first = api.append("chat-1", &stop, &PartId::new("mine")).await.unwrap();
    let again = api.append("chat-1", &stop, &PartId::new("mine")).await.unwrap();

    assert_eq!((first, again), (Some(SeqNum::ZERO), Some(SeqNum::ZERO)));
    let appends = rig.fake.appends();
    assert_eq!(appends.len(), 3);
    assert!(appends.iter().all(|seen| seen.token == "sk_test" && seen.part_id == "mine"));
}

#[tokio::test(start_paused = true)]
async fn a_refusal_keeps_its_status_and_text_c21() {
    let rig = Rig::start().await;
    let body = serde_json::json!({ "ok": false, "error": "session not found" });
    rig.fake.on_append(AppendPlan::Refuse(404, body, Vec::new()));
    let api = SessionsApi::new(rig.host.clone(), "http://session".parse().unwrap(), "sk_test");

    let error = api.append("chat-1", &ChatInputChunk::HandoverSkip, &PartId::new("p")).await.unwrap_err();

    assert_eq!((error.status(), error.to_string().as_str()), (Some(404), "status 404: session not found"));
}

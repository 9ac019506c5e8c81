//! A head start without a page (C-210…C-212, CA-84).

use std::time::Duration;

use serde_json::json;
use turnkeep_client::{ChatSessionState, Transport};
use turnkeep_head_start::{Error, StartHeadStart};
use turnkeep_model::{ModelError, StreamPart};
use turnkeep_protocol::{TaskId, UiMessage};

use crate::rig::{CHAT, Rig, Say, call, text};

fn start() -> StartHeadStart {
    StartHeadStart::new(CHAT, [UiMessage::user("u1", "What is it like in Oslo?")])
}

#[tokio::test(start_paused = true)]
async fn it_resolves_with_the_session_and_completes_with_the_handover_c210_c211_ca84() {
    let mut step = text(["Rain", "."]);
    step.insert(1, Say::Wait(Duration::from_secs(5)));
    let rig = Rig::start(step).await;
    let asked = tokio::time::Instant::now();

    let started = rig.head_start.start(start().metadata(json!({ "user": "u7" }))).await.unwrap();
    let until_started = asked.elapsed();
    assert_eq!(rig.inputs().await.len(), 0, "the step is still being made");
    started.completion.await.unwrap();

    assert!(until_started < Duration::from_secs(1));
    assert_eq!(started.chat_id, CHAT);
    let handover = rig.handover().await;
    assert_eq!((&handover["isFinal"], handover["messageId"].as_str().unwrap().len()), (&json!(true), 16));
    let payload = rig.sessions.retrieve(CHAT).await.unwrap().trigger_config.base_payload;
    assert_eq!(
        (&payload["metadata"], &payload["headStartMessages"][0]["id"]),
        (&json!({ "user": "u7" }), &json!("u1"))
    );
    let out = json!(rig.out().await).to_string();
    assert!(!out.contains("u7"), "client data is the run's alone");
}

#[tokio::test(start_paused = true)]
async fn a_step_that_waits_for_tools_is_not_final_and_nobody_need_wait_for_it_c210_ca84() {
    let rig = Rig::start(call()).await;

    drop(rig.head_start.start(start()).await.unwrap());

    assert_eq!(rig.handover().await["isFinal"], json!(false));
}

#[tokio::test(start_paused = true)]
async fn a_step_that_fails_rejects_the_completion_and_lets_the_run_go_c210_ca84() {
    let failing = vec![Say::Part(StreamPart::Error(ModelError::unavailable("out of order")))];
    let rig = Rig::start(failing).await;

    let started = rig.head_start.start(start()).await.unwrap();
    let failed = started.completion.await;

    assert!(matches!(failed, Err(Error::Step { message }) if message == "out of order"));
    assert_eq!(rig.inputs().await, [json!({ "kind": "handover-skip" })]);
    assert_eq!(rig.heard(), ["the first step failed: out of order"]);
}

#[tokio::test(start_paused = true)]
async fn a_page_that_is_told_nothing_but_the_token_reads_the_turn_c212() {
    let mut step = text(["Rain", "."]);
    step.insert(1, Say::Wait(Duration::from_secs(5)));
    let rig = Rig::start(step).await;
    let started = rig.head_start.start(start()).await.unwrap();
    let state = ChatSessionState::new(started.public_access_token);
    let token = std::sync::Arc::new(|_| Box::pin(async { Err("not asked for".into()) }) as _);
    let page = Transport::builder(rig.host.clone(), "http://session".parse().unwrap(), TaskId::new("agent"), token)
        .sessions([(CHAT.to_owned(), state)])
        .build();

    let mut stream = page.reconnect_to_stream(CHAT).expect("a running turn is not hidden");
    let mut kinds = Vec::new();
    while kinds.last().is_none_or(|kind| kind != "finish") {
        kinds.push(stream.next().await.unwrap().unwrap().chunk.kind().to_owned());
    }
    rig.handover().await;
    rig.agent_ends(0).await;

    assert!(stream.next().await.is_none());
    assert_eq!(kinds.len(), 8);
}

#[tokio::test(start_paused = true)]
async fn a_chat_that_is_there_gets_its_question_as_an_ordinary_one_c198() {
    let rig = Rig::start(text(["Rain", "."])).await;
    rig.head_start.start(start()).await.unwrap().completion.await.unwrap();

    rig.head_start.start(start()).await.unwrap().completion.await.unwrap();

    assert_eq!(rig.inputs().await[1]["payload"]["message"]["id"], json!("u1"));
    assert_eq!(rig.model.prompts.lock().unwrap().len(), 1);
}

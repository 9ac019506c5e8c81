//! The session by hand (C-182).

use std::time::Duration;

use futures::{StreamExt, stream};
use serde_json::json;
use turnkeep_head_start::{Error, Handover, HeadStartSession, OpenedSession, StepResult};
use turnkeep_model::FinishReason;
use turnkeep_protocol::{ContentPart, ModelMessage, UiMessageChunk};

use crate::rig::{Rig, question};

async fn open(rig: &Rig) -> HeadStartSession {
    match rig.head_start.open_session(question()).await.unwrap() {
        OpenedSession::New(session) => session,
        OpenedSession::Existing(chat) => panic!("{chat:?}"),
    }
}

fn said(text: &str) -> Vec<ModelMessage> {
    vec![ModelMessage::assistant(vec![ContentPart::text(text)])]
}

fn handover() -> Handover {
    Handover { partial_assistant_message: said("Hi."), is_final: true, message_id: None }
}

#[tokio::test(start_paused = true)]
async fn an_authors_own_stream_is_written_as_it_passes_and_then_handed_over_c182_c188() {
    let rig = Rig::start(Vec::new()).await;
    let session = open(&rig).await;
    let chunks = [UiMessageChunk::start(session.message_id()), UiMessageChunk::text_start("1")];

    let passed: Vec<UiMessageChunk> = session.tee(stream::iter(chunks.clone())).collect().await;
    let result = StepResult { finish_reason: FinishReason::Stop, messages: said("Hi.") };
    session.handover_when_done(async { Ok(result) }).await.unwrap();

    assert_eq!(passed, chunks);
    assert_eq!(rig.out_kinds().await, ["start", "text-start"]);
    let want = json!([{ "kind": "handover", "isFinal": true, "messageId": session.message_id(),
        "partialAssistantMessage": [{ "role": "assistant", "content": [{ "type": "text", "text": "Hi." }] }] }]);
    assert_eq!(json!(rig.inputs().await), want);
}

#[tokio::test(start_paused = true)]
async fn a_step_that_failed_is_given_up_and_its_failure_is_told_c192() {
    let rig = Rig::start(Vec::new()).await;
    let session = open(&rig).await;

    let failed = session.handover_when_done(async { Err(Error::Cut) }).await;

    assert!(matches!(failed, Err(Error::Cut)));
    assert_eq!(rig.inputs().await, [json!({ "kind": "handover-skip" })]);
}

#[tokio::test(start_paused = true)]
async fn a_session_is_handed_over_once_and_nothing_is_written_behind_it_c188() {
    let rig = Rig::start(Vec::new()).await;
    let session = open(&rig).await;

    session.handover(handover()).await.unwrap();
    let late = session.tee(stream::iter([UiMessageChunk::start_step()]));
    assert_eq!(late.collect::<Vec<_>>().await.len(), 1, "the browser has it");
    tokio::time::sleep(Duration::from_secs(1)).await;

    assert_eq!(rig.out_kinds().await, [] as [&str; 0]);
    assert!(matches!(session.handover(handover()).await, Err(Error::HandedOver)));
    assert!(matches!(session.handover_skip().await, Err(Error::HandedOver)));
    assert_eq!(rig.inputs().await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_clock_runs_until_the_run_is_told_c194() {
    let rig = Rig::start(Vec::new()).await;
    let session = open(&rig).await;
    let signal = session.signal();

    tokio::time::sleep(Duration::from_secs(59)).await;
    assert!(!signal.is_cancelled());
    session.handover_skip().await.unwrap();
    tokio::time::sleep(Duration::from_secs(60)).await;

    assert!(!signal.is_cancelled(), "an explicit skip clears the timer");
    let second = Rig::start(Vec::new()).await;
    let waiting = open(&second).await;
    tokio::time::sleep(Duration::from_secs(61)).await;
    assert!(waiting.signal().is_cancelled());
}

#[tokio::test(start_paused = true)]
async fn a_session_that_is_let_go_of_keeps_no_run_waiting() {
    let rig = Rig::start(Vec::new()).await;

    drop(open(&rig).await);

    assert_eq!(rig.handover().await, json!({ "kind": "handover-skip" }));
}

//! What goes wrong, and what the run and the page are told of it (C-191…C-194).

use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::json;
use turnkeep_head_start::HeadStart;
use turnkeep_model::{ModelError, StreamPart};

use crate::rig::{CHAT, Rig, Say, Seen, call, kinds, question, text};

#[tokio::test(start_paused = true)]
async fn a_model_that_fails_is_told_to_the_page_and_the_run_is_let_go_a222_d87() {
    let parts = [StreamPart::text_start("1"), StreamPart::Error(ModelError::unavailable("out of order"))];
    let rig = Rig::start(parts.map(Say::Part).to_vec()).await;

    let mut answer = rig.ask().await;
    let all = answer.rest().await;

    assert_eq!(kinds(&all), ["start", "start-step", "text-start", "error", "trigger:session-state"]);
    assert_eq!(all[3]["errorText"], json!("out of order"));
    assert_eq!(rig.inputs().await, [json!({ "kind": "handover-skip" })]);
    let out = rig.out_kinds().await;
    assert_eq!(out.last().map(String::as_str), Some("[turn-complete]"), "the next turn begins behind a boundary");
    assert_eq!(all[4]["lastEventId"], json!((out.len() - 1).to_string()), "the next turn reads on behind it");
    assert_eq!(rig.heard(), ["the first step failed: out of order"]);
}

#[tokio::test(start_paused = true)]
async fn a_run_that_throws_lets_the_run_go_before_it_fails_c193_cf4() {
    // The skip is not taken at once.
    let seen = Arc::new(Seen::default());
    let fetch = seen.fetch(|request, n_before| request.uri().path().ends_with("/in/append") && n_before < 3);
    let adjust = |head_start: HeadStart| head_start.fetch(fetch);
    let rig = Rig::running(Vec::new(), adjust, |_, _| Err("no budget left".into())).await;

    let error = rig.head_start.respond(question()).await.unwrap_err();

    assert_eq!((error.to_string().as_str(), error.status().as_u16()), ("no budget left", 500));
    assert_eq!(rig.inputs().await, [json!({ "kind": "handover-skip" })], "there when the handler has failed");
    assert_eq!(rig.head_start.running(), 0, "no timer is left");
}

#[tokio::test(start_paused = true)]
async fn a_run_that_panics_lets_the_run_go_all_the_same_c193() {
    let rig = Rig::running(Vec::new(), |head_start| head_start, |_, _| panic!("the author's own")).await;

    let error = rig.head_start.respond(question()).await.unwrap_err();

    assert_eq!(error.to_string(), "the head start ended before it was done");
    assert_eq!(rig.handover().await, json!({ "kind": "handover-skip" }));
}

#[tokio::test(start_paused = true)]
async fn a_step_may_take_as_long_as_the_run_waits_c194() {
    let mut step = text(["Rain", "."]);
    step.insert(2, Say::Hang);
    let rig = Rig::with(step, |head_start| head_start.idle_timeout_in_seconds(20)).await;
    let asked = tokio::time::Instant::now();

    let mut answer = rig.ask().await;
    let all = answer.rest().await;

    assert_eq!(asked.elapsed().as_secs(), 20);
    assert_eq!(kinds(&all), ["start", "start-step", "text-start", "text-delta", "trigger:session-state"]);
    assert_eq!(rig.inputs().await, [json!({ "kind": "handover-skip" })]);
    let out = rig.out_kinds().await;
    assert_eq!(out[4..], ["abort", "[turn-complete]"]);
}

#[tokio::test(start_paused = true)]
async fn a_step_that_cannot_be_written_is_said_once_and_the_turn_goes_on_c191_cr31() {
    let seen = Arc::new(Seen::default());
    let delta = Say::Part(StreamPart::text_delta("1", "Hm."));
    let wait = |seconds| Say::Wait(Duration::from_secs(seconds));
    let mut step = vec![Say::Part(StreamPart::text_start("1")), wait(1), delta, wait(45)];
    step.extend(call());
    // The first batch is stored and the second is lost on the way, with all its tries; a third would get through.
    let fetch =
        seen.fetch(|request, n_before| request.uri().path().ends_with("/out/batch") && (1..=10).contains(&n_before));
    let rig = Rig::with(step, |head_start| head_start.fetch(fetch)).await;

    let mut answer = rig.ask().await;
    answer.until("finish-step").await;
    let handover = rig.handover().await;
    let output = json!({ "type": "tool-output-available", "toolCallId": "t1", "output": 4 });
    rig.agent_says(std::slice::from_ref(&output)).await;
    rig.agent_ends(0).await;
    let last = answer.rest().await;

    assert_eq!(handover["kind"], json!("handover"), "a failed write fails no turn");
    assert_eq!(rig.out_kinds().await[..4], ["start", "start-step", "text-start", "tool-output-available"]);
    assert_eq!(last[0], output, "the written half of the step does not come again");
    assert_eq!(kinds(&last[1..]), ["trigger:turn-complete", "trigger:session-state"]);
}

#[tokio::test(start_paused = true)]
async fn where_not_even_the_tail_can_be_read_the_response_ends_behind_the_step_c191_cr31() {
    let seen = Arc::new(Seen::default());
    let fetch = seen.fetch(|request, n_before| {
        let path = request.uri().path();
        (path.ends_with("/out/batch") && n_before > 0) || path.ends_with("/out/records")
    });
    let mut step = vec![Say::Part(StreamPart::text_start("1")), Say::Wait(Duration::from_secs(1))];
    step.extend(call());
    let rig = Rig::with(step, |head_start| head_start.fetch(fetch)).await;

    let mut answer = rig.ask().await;
    answer.until("finish-step").await;
    let last = answer.rest().await;

    assert_eq!(last, [] as [serde_json::Value; 0]);
    assert_eq!(rig.inputs().await[0]["kind"], json!("handover"), "the agent answers all the same");
}

#[tokio::test(start_paused = true)]
async fn a_handover_that_is_not_taken_is_given_up_and_told_c192() {
    let seen = Arc::new(Seen::default());
    let fetch = seen.fetch(|request, _| {
        let body = String::from_utf8_lossy(request.body());
        request.uri().path().ends_with("/in/append") && body.contains("\"handover\"")
    });
    let rig = Rig::with(text(["Rain", "."]), |head_start| head_start.fetch(fetch)).await;

    let mut answer = rig.ask().await;
    answer.until("finish").await;
    let last = answer.rest().await;

    assert_eq!(last, [] as [serde_json::Value; 0], "the response closes normally");
    assert_eq!(rig.inputs().await, [json!({ "kind": "handover-skip" })]);
    assert!(rig.heard()[0].starts_with("retries exhausted"), "{:?}", rig.heard());
    let mut ids = seen.part_ids("/in/append");
    ids.dedup();
    assert_eq!(ids.len(), 2, "one part id for all tries of the handover, another for the skip (C-199)");
    assert!(seen.count("/in/append") > 5);
}

#[tokio::test(start_paused = true)]
async fn a_session_that_cannot_be_made_is_the_handlers_failure() {
    let seen = Arc::new(Seen::default());
    let fetch = seen.fetch(|request, _| request.uri().path() == "/api/v1/sessions");
    let rig = Rig::with(text(["Rain", "."]), |head_start| head_start.fetch(fetch)).await;

    let error = rig.head_start.respond(question()).await.unwrap_err();

    assert!(error.is_retryable(), "{error}");
    assert_eq!(error.status().as_u16(), 500);
    assert!(rig.sessions.retrieve(CHAT).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn the_signal_ends_with_the_runs_wait_and_not_after_a_handover_c194() {
    let signals = Arc::new(Mutex::new(Vec::new()));
    let kept = signals.clone();
    let rig = Rig::running(
        call(),
        |head_start| head_start,
        move |step, model| {
            kept.lock().unwrap().push(step.signal.clone());
            Ok(step.stream_text(model))
        },
    )
    .await;
    let mut answer = rig.ask().await;
    answer.until("finish-step").await;
    rig.handover().await;

    // The response is still open: the agent works.
    tokio::time::sleep(Duration::from_secs(70)).await;

    assert!(!signals.lock().unwrap()[0].is_cancelled());
}

//! A browser that leaves (C-195, C-196).

use std::time::Duration;

use serde_json::json;

use crate::rig::{Rig, Say, call, text};

fn slow(mut step: Vec<Say>) -> Vec<Say> {
    step.insert(1, Say::Wait(Duration::from_secs(5)));
    step
}

#[tokio::test(start_paused = true)]
async fn a_browser_that_leaves_ends_the_step_and_the_run_is_let_go_c195_cf3() {
    let rig = Rig::start(slow(text(["Rain", "."]))).await;
    let mut answer = rig.ask().await;
    answer.until("text-start").await;
    let left = tokio::time::Instant::now();

    drop(answer);

    assert_eq!(rig.handover().await, json!({ "kind": "handover-skip" }));
    assert!(left.elapsed() < Duration::from_secs(1), "the model is not heard out");
    let out = rig.out_kinds().await;
    assert_eq!(out, ["start", "start-step", "text-start", "abort", "[turn-complete]"]);
    assert_eq!(rig.heard(), [] as [&str; 0], "leaving is nobody's failure");
}

#[tokio::test(start_paused = true)]
async fn a_step_may_outlive_its_browser_c196_d21_cf3() {
    let rig = Rig::with(slow(text(["Rain", "."])), |head_start| head_start.outlive_browser()).await;
    let mut answer = rig.ask().await;
    answer.until("text-start").await;

    drop(answer);

    assert_eq!(rig.handover().await["isFinal"], json!(true));
    let out = rig.out_kinds().await;
    assert_eq!(out.last().map(String::as_str), Some("finish"), "the whole step is there for the reload");
}

#[tokio::test(start_paused = true)]
async fn a_browser_that_leaves_behind_the_handover_leaves_the_turn_alone() {
    let rig = Rig::start(call()).await;
    let mut answer = rig.ask().await;
    answer.until("finish-step").await;
    rig.handover().await;

    drop(answer);
    tokio::time::sleep(Duration::from_secs(1)).await;

    assert_eq!(rig.inputs().await.len(), 1, "no skip behind a handover");
    assert_eq!(rig.head_start.running(), 0, "nothing reads on for nobody");
}

#[tokio::test(start_paused = true)]
async fn a_browser_that_leaves_before_its_answer_lets_the_run_go_c195() {
    let rig = Rig::start(slow(text(["Rain", "."]))).await;
    let head_start = rig.head_start.clone();
    let asked = tokio::time::timeout(Duration::ZERO, head_start.respond(crate::rig::question())).await;

    assert!(asked.is_err(), "the question was on its way");
    assert_eq!(rig.handover().await, json!({ "kind": "handover-skip" }));
}

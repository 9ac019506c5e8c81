//! What goes wrong between a worker and its server.

use std::time::Duration;

use serde_json::json;
use turnkeep_agent::{TurnComplete, TurnStart};
use turnkeep_harness::model::{MockLanguageModel, say};
use turnkeep_harness::{At, Fault, FaultPoint, Faults, MockChat, MockOutcome, Restart, TokenAnswer};
use turnkeep_protocol::{ModelMessage, PUBLIC_ACCESS_TOKEN, UiMessage};

use crate::support::*;

async fn chat(faults: &Faults, model: &MockLanguageModel) -> turnkeep_harness::MockChatAgent {
    MockChat::new(plain()).faults(faults).start(model).await
}

#[tokio::test(start_paused = true)]
async fn without_faults_everything_passes() {
    let model = MockLanguageModel::new().step([say("a")]);
    let mut chat = chat(&Faults::new(), &model).await;

    chat.send("hi").await.assert_text("a");

    chat.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_that_is_not_stored_is_a_warning_and_the_turn_stands_a108() {
    let faults = Faults::new();
    let model = MockLanguageModel::new().step([say("a")]).step([say("b")]);
    let mut chat = chat(&faults, &model).await;

    faults.next(FaultPoint::SnapshotWrite, Fault::Status(403));
    chat.send("one").await;

    assert_eq!(chat.get_snapshot().await, None);
    assert!(chat.warnings()[0].starts_with("the chat snapshot was not stored"), "{:?}", chat.warnings());
    chat.send("two").await;
    assert_eq!(chat.get_snapshot().await.unwrap().messages.len(), 4);
    chat.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_write_whose_answer_is_lost_is_one_record_d6() {
    let faults = Faults::new();
    let model = MockLanguageModel::new().step([say("a")]);
    let mut chat = chat(&faults, &model).await;

    faults.next(FaultPoint::OutWrite, Fault::Lost);
    faults.next(FaultPoint::OutWrite, Fault::Cut);
    faults.next(FaultPoint::OutWrite, Fault::Status(503));
    let turn = chat.send("one").await;

    assert_eq!(faults.met(FaultPoint::OutWrite), 3);
    assert_eq!(turn.raw_chunks().iter().filter(|record| record.body.contains("\"start\"")).count(), 1);
    turn.assert_text("a");
    chat.finish().await;
}

#[tokio::test(start_paused = true)]
async fn requests_wait_as_long_as_the_test_says() {
    let faults = Faults::new();
    let model = MockLanguageModel::new().step([say("a")]).step([say("b")]);
    let mut chat = chat(&faults, &model).await;
    let started = tokio::time::Instant::now();

    faults.next(FaultPoint::SnapshotWrite, Fault::Delay(Duration::from_secs(4)));
    chat.send("one").await;
    assert_eq!(started.elapsed().as_secs(), 4);

    faults.next(FaultPoint::SnapshotWrite, Fault::Hold);
    let posted = chat.send("two").begin().await;
    chat.advance(Duration::from_secs(5)).await;
    assert_eq!(chat.get_snapshot().await.unwrap().messages.len(), 2);
    faults.release(FaultPoint::SnapshotWrite);
    posted.turn().await;

    assert_eq!(chat.get_snapshot().await.unwrap().messages.len(), 4);
    chat.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_run_that_loses_its_heartbeats_loses_its_lease_and_the_next_attempt_answers_d35() {
    let faults = Faults::new();
    let agent = plain().on_turn_start(|event: TurnStart| async move {
        if event.ctx.attempt == 1 {
            tokio::time::sleep(Duration::from_secs(60)).await;
        }
        Ok(())
    });
    let model = MockLanguageModel::new().step([say("a")]);
    let mut chat = MockChat::new(agent).faults(&faults).start(&model).await;

    faults.always(FaultPoint::Heartbeat, Fault::Status(503));
    let posted = chat.send("one").begin().await;
    chat.advance(Duration::from_secs(15)).await;
    faults.clear(FaultPoint::Heartbeat);

    posted.turn().await.assert_text("a");
    assert_eq!(chat.run_attempt().unwrap().1, 2);
    chat.finish().await;
}

#[tokio::test(start_paused = true)]
async fn the_turns_tokens_are_as_the_test_says_and_none_is_no_failure_a93_a280() {
    let diary = Diary::default();
    let told = diary.clone();
    let agent = plain().on_turn_complete(move |event: TurnComplete| {
        told.note(format!("<{}>", event.chat_access_token));
        async { Ok(()) }
    });
    let faults = Faults::new();
    faults.mint_tokens(["first"]);
    let model = MockLanguageModel::new().step([say("a")]).step([say("b")]);
    let mut chat = MockChat::new(agent).faults(&faults).start(&model).await;

    let one = chat.send("one").await;
    let two = chat.send("two").await;

    assert_eq!(diary.read(), "<first> <>");
    let token = |turn: &turnkeep_harness::MockTurn| {
        turn.raw_chunks().last().unwrap().header(PUBLIC_ACCESS_TOKEN).map(str::to_owned)
    };
    assert_eq!((token(&one).as_deref(), token(&two)), (Some("first"), None));
    chat.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_page_whose_token_is_bad_asks_for_another_a280() {
    let model = MockLanguageModel::new().step([say("a")]);
    let mut chat = MockChat::new(plain())
        .client_token(TokenAnswer::Text("stale".to_owned()))
        .client_token(TokenAnswer::Real)
        .start(&model)
        .await;

    chat.send("hi").await.assert_text("a");

    chat.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_page_without_a_token_cannot_send_a280() {
    let model = MockLanguageModel::new();
    let mut chat = MockChat::new(plain())
        .client_token(TokenAnswer::Text("stale".to_owned()))
        .client_token(TokenAnswer::Fail("signed out".to_owned()))
        .start(&model)
        .await;

    let error = error_of(chat.send("hi").try_wait().await);

    assert!(error.to_string().contains("signed out"), "{error}");
    chat.finish().await;
}

/// Two turns, of which `out` holds the last one, and a crash behind them; gives what the next attempt's turn reads.
async fn read_after(fault: Fault) -> (Vec<String>, usize, Vec<String>) {
    let faults = Faults::new();
    let model = MockLanguageModel::new().step([say("a")]).step([say("b")]).step([say("c")]);
    let mut chat = chat(&faults, &model).await;
    chat.send("one").await;
    chat.send("two").await;
    // Until the first turn is trimmed: within a minute (S-89).
    tokio::time::sleep(Duration::from_secs(60)).await;

    faults.next(FaultPoint::SnapshotRead, fault);
    chat.restart(Restart::Crash).await;
    chat.send("three").await.assert_text("c");

    let (met, warnings) = (faults.met(FaultPoint::SnapshotRead), chat.warnings());
    chat.finish().await;
    (model.prompts()[2].messages.iter().map(ModelMessage::text).collect(), met, warnings)
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_that_cannot_be_read_for_now_is_read_again_a44() {
    let (read, met, warnings) = read_after(Fault::Status(503)).await;

    assert_eq!((read.join(" ").as_str(), met), ("one a two b three", 1));
    assert_eq!(warnings, [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_that_is_none_is_done_without_a44_a292() {
    let (read, met, warnings) = read_after(Fault::Answer(json!("no snapshot"))).await;

    // The untrimmed records hold all questions and the last answer.
    assert_eq!((read.join(" ").as_str(), met), ("one two b three", 1));
    assert_eq!(warnings, ["the stored chat snapshot is unusable"]);
}

#[tokio::test(start_paused = true)]
async fn a_slow_hook_is_a_delay_at_its_place_a282() {
    let diary = Diary::default();
    let agent = plain().on_turn_start(noting::<TurnStart>(&diary, "start"));
    let model = MockLanguageModel::new().step([say("a")]);
    let mut chat = MockChat::new(agent).start(&model).await;
    let started = tokio::time::Instant::now();

    chat.delay(At::after("on_turn_start"), Duration::from_secs(9));
    chat.send("one").await;

    assert_eq!((started.elapsed().as_secs(), diary.read().as_str()), (9, "start"));
    chat.finish().await;
}

#[tokio::test(start_paused = true)]
async fn an_end_that_is_not_heard_lapses_and_what_is_owed_is_answered_d3() {
    let faults = Faults::new();
    let agent = plain().max_turns(1);
    let model = MockLanguageModel::new().step([say("a")]).step([say("b")]);
    let mut chat = MockChat::new(agent).faults(&faults).start(&model).await;

    let lease = Duration::from_secs(10);
    faults.next(FaultPoint::End, Fault::Status(403));
    chat.send("one").await;
    let ended = tokio::time::Instant::now();
    chat.send("two").await.assert_text("b");

    assert_eq!(faults.met(FaultPoint::End), 1);
    assert!(ended.elapsed() > lease / 2, "{:?}", ended.elapsed());
    assert_eq!(chat.outcome(), Some(MockOutcome::Ok));
    assert_eq!(chat.messages().iter().map(UiMessage::text).collect::<Vec<_>>(), ["one", "a", "two", "b"]);
    chat.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_trim_that_fails_only_makes_out_longer_a106_a282() {
    let faults = Faults::new();
    let model = MockLanguageModel::new().step([say("a")]).step([say("b")]).step([say("c")]);
    let mut chat = chat(&faults, &model).await;
    let first = chat.send("one").await.last_event_id().unwrap();

    faults.next(FaultPoint::Trim, Fault::Lost);
    let second = chat.send("two").await.last_event_id().unwrap();
    chat.send("three").await.assert_text("c");

    assert_eq!(faults.met(FaultPoint::Trim), 1);
    assert!(second > first);
    // Trims take effect within a minute (S-89).
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(chat.read_out(None).await[0].seq_num, second, "trimmed once, by whichever try");
    chat.finish().await;
}

#[tokio::test(start_paused = true)]
async fn an_input_whose_delivery_breaks_is_delivered_again_once_a282() {
    let faults = Faults::new();
    let model = MockLanguageModel::new().step([say("a")]).step([say("b")]);
    faults.times(FaultPoint::InDelivery, Fault::Cut, 2);
    let mut chat = chat(&faults, &model).await;

    chat.send("one").await.assert_text("a");
    chat.send("two").await.assert_text("b");

    assert_eq!(faults.met(FaultPoint::InDelivery), 2);
    model.assert_prompt(1).reads(&["user: one", "assistant: a", "user: two"]);
    chat.finish().await;
}

#[tokio::test(start_paused = true)]
async fn an_input_may_be_held_back_for_as_long_as_the_test_says_a282() {
    let faults = Faults::new();
    let model = MockLanguageModel::new().step([say("a")]);
    faults.next(FaultPoint::InDelivery, Fault::Hold);
    let mut chat = chat(&faults, &model).await;

    let posted = chat.send("one").begin().await;
    chat.advance(Duration::from_secs(8)).await;
    model.assert_calls(0);
    faults.release(FaultPoint::InDelivery);

    posted.turn().await.assert_text("a");
    chat.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_fault_planned_no_times_is_no_fault_a282() {
    let faults = Faults::new();
    faults.times(FaultPoint::SnapshotWrite, Fault::Status(500), 0);
    let model = MockLanguageModel::new().step([say("a")]);
    let mut chat = MockChat::new(plain()).faults(&faults).start(&model).await;

    chat.send("hi").await.assert_text("a");

    assert_eq!(faults.met(FaultPoint::SnapshotWrite), 0);
    assert!(chat.get_snapshot().await.is_some());
    chat.finish().await;
}

//! What a finished chat must not leave behind (A-281).

use std::time::Duration;

use turnkeep_agent::{Agent, Boot, TurnComplete, TurnInput};
use turnkeep_harness::model::{MockLanguageModel, say, stall};
use turnkeep_harness::{At, Fault, FaultPoint, Faults, MockChat, MockChatAgent, Restart, TokenAnswer};
use turnkeep_protocol::UiMessage;

use crate::support::*;

/// What finishing the chat complains of.
async fn leaks(chat: MockChatAgent) -> String {
    chat.try_finish().await.unwrap_err().to_string()
}

#[tokio::test(start_paused = true)]
async fn unused_steps_and_calls_without_a_step_are_reported_a281() {
    let model = MockLanguageModel::new().step_when("cat", [say("meow")]);
    let mut chat = MockChatAgent::start(plain(), &model).await;
    chat.send("dog").await;

    let leaks = leaks(chat).await;

    redacted(|| {
        insta::assert_snapshot!(leaks, @r#"
    the agent and the script disagree
    the script has no step for model call 0 (chat test-chat, run 0, attempt 1, turn 0, step 0) asked "dog"
      nearest is step 0, which wants user "cat"
        the newest user message: [-cat-]{+dog+}
    step 0 of 1 still waits for a call: it wants user "cat" and plays [{"say":"meow"}]
      nearest came model call 0 (chat test-chat, run 0, attempt 1, turn 0, step 0) asked "dog"
        the newest user message: [-cat-]{+dog+}
    "#)
    });
}

#[tokio::test(start_paused = true)]
async fn inputs_that_nobody_answers_are_reported_a281() {
    let model = MockLanguageModel::new().step([say("a"), stall()]);
    let mut chat = MockChatAgent::start(plain(), &model).await;
    let _posted = chat.send("hi").begin().await;

    let leaks = leaks(chat).await;

    insta::assert_snapshot!(leaks, @"record 0 on `in` of chat test-chat was never answered; settled is none");
}

#[tokio::test(start_paused = true)]
async fn barriers_that_hold_or_were_never_met_are_reported_a281() {
    let model = MockLanguageModel::new().step([say("a")]);
    let mut chat = MockChatAgent::start(plain(), &model).await;
    drop(chat.barrier(At::before("on_chat_start")));
    let _holding = chat.barrier(At::before_snapshot());
    chat.send("hi").completed().await;
    chat.advance(Duration::from_secs(1)).await;

    let leaks = leaks(chat).await;

    insta::assert_snapshot!(leaks, @r"
    a barrier still holds a run at `before snapshot`
    no run ever came to the barrier at `before on_chat_start`
    ");
}

#[tokio::test(start_paused = true)]
async fn barriers_and_delays_still_up_at_the_end_were_never_met_either_a281() {
    let model = MockLanguageModel::new().step([say("a")]);
    let mut chat = MockChat::new(plain()).hold(At::before("on_chat_suspend")).start(&model).await;
    let _barrier = chat.barrier(At::before("on_chat_start"));
    chat.delay(At::before("on_compacted"), Duration::from_secs(1));
    chat.send("hi").await;

    let leaks = leaks(chat).await;

    insta::assert_snapshot!(leaks, @r"
    no run ever came to the barrier at `before on_chat_suspend`
    no run ever came to the barrier at `before on_chat_start`
    no run ever came to the barrier at `before on_compacted`
    ");
}

#[tokio::test(start_paused = true)]
async fn a_run_that_failed_is_reported_though_a_send_timed_out_before_a281() {
    let agent = plain().on_turn_start(|_| async {
        tokio::time::sleep(Duration::from_secs(60)).await;
        panic!("a bug")
    });
    let mut chat = MockChatAgent::start(agent, &MockLanguageModel::new()).await;
    let late = chat.send("hi").within(Duration::from_secs(1)).try_wait().await;
    assert!(late.is_err());
    chat.advance(Duration::from_secs(90)).await;

    let leaks = leaks(chat).await;

    assert!(leaks.contains("ended: crashed: panic: a bug"), "{leaks}");
}

#[tokio::test(start_paused = true)]
async fn a_failed_run_that_nobody_was_told_of_is_reported_a281() {
    let agent = plain().on_boot(|_: Boot| async { Err("no database".into()) });
    let chat = MockChatAgent::start(agent, &MockLanguageModel::new()).await;

    let leaks = leaks(chat).await;

    redacted(
        || insta::assert_snapshot!(leaks, @"run [run] of chat test-chat ended: failed: on_boot failed: no database"),
    );
}

#[tokio::test(start_paused = true)]
async fn tasks_that_outlive_their_worker_are_reported_a281() {
    let agent = Agent::new("plain", |turn: TurnInput| async move {
        let task = turn.chat.host().spawn(std::future::pending());
        // Nobody will ever end it.
        std::mem::forget(task);
        Ok(turn.stream_text())
    });
    let model = MockLanguageModel::new().step([say("a")]);
    let mut chat = MockChatAgent::start(agent, &model).await;
    chat.send("hi").await;

    insta::assert_snapshot!(leaks(chat).await, @"1 task of the worker's machine outlived the worker");
}

#[tokio::test(start_paused = true)]
async fn whoever_dials_a_real_service_is_reported_a281() {
    let agent = plain().on_turn_complete(|event: TurnComplete| async move {
        let _ = event.chat.host().net().dial("api.example.com:443").await;
        Ok(())
    });
    let model = MockLanguageModel::new().step([say("a")]);
    let mut chat = MockChatAgent::start(agent, &model).await;
    chat.send("hi").await;

    insta::assert_snapshot!(leaks(chat).await, @"something dialled api.example.com:443, which is not of this test: give the agent a double, or serve it on the chat's machine");
}

#[tokio::test(start_paused = true)]
async fn seeds_that_no_boot_reads_are_reported_a278() {
    let agent =
        plain().hydrate_messages(|event: turnkeep_agent::HydrateMessages| async move { Ok(event.incoming_messages) });
    let chat = MockChat::new(agent).seed_snapshot([UiMessage::user("u", "hi")]).start(&MockLanguageModel::new()).await;

    insta::assert_snapshot!(leaks(chat).await, @"no boot read what was seeded: the snapshot; an agent that hydrates reads no history");
}

#[tokio::test(start_paused = true)]
async fn faults_and_tokens_that_nothing_met_are_reported_a281() {
    let faults = Faults::new();
    faults.next(FaultPoint::SnapshotRead, Fault::Cut);
    let chat = MockChat::new(plain())
        .faults(&faults)
        .client_token(TokenAnswer::Real)
        .client_token(TokenAnswer::Fail("no".to_owned()))
        .start(&MockLanguageModel::new())
        .await;

    insta::assert_snapshot!(leaks(chat).await, @r"
    1 fault planned at SnapshotRead, never met
    1 token for the page, never asked for
    ");
}

#[tokio::test(start_paused = true)]
async fn a_chat_that_went_through_everything_leaves_nothing_a281() {
    let model = MockLanguageModel::new().step([say("a")]).step([say("b")]);
    let mut chat = MockChatAgent::start(plain(), &model).await;

    chat.send("one").await;
    chat.suspend().await;
    chat.restart(Restart::Crash).await;
    chat.send("two").await;

    chat.finish().await;
}

/// Tells of a turn that completed, a while after its answer was said.
fn slow(diary: &Diary) -> Agent {
    let diary = diary.clone();
    plain().on_turn_complete(move |_: TurnComplete| {
        let diary = diary.clone();
        async move {
            tokio::time::sleep(Duration::from_secs(3)).await;
            diary.note("complete");
            Ok(())
        }
    })
}

#[tokio::test(start_paused = true)]
async fn closing_lets_the_turn_under_way_end_and_killing_does_not_a281() {
    for (closes, want) in [(true, "complete"), (false, "")] {
        let diary = Diary::default();
        let model = MockLanguageModel::new().step([say("a")]);
        let mut chat = MockChatAgent::start(slow(&diary), &model).await;
        let _answered = chat.send("hi").completed().await;

        if closes {
            chat.close().await;
        } else {
            chat.kill();
            tokio::time::sleep(Duration::from_secs(10)).await;
        }

        assert_eq!(diary.read(), want);
    }
}

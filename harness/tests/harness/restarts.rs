//! Restarts, suspends and time.

use std::time::Duration;

use turnkeep_agent::{Boot, ChatStart, Suspension, TurnComplete};
use turnkeep_harness::model::{MockLanguageModel, RunsOut, say};
use turnkeep_harness::{At, MockChatAgent, MockOutcome, Restart};
use turnkeep_protocol::{Messages, UiMessage};

use crate::support::*;

fn texts(chat: &Messages) -> Vec<String> {
    chat.iter().map(UiMessage::text).collect()
}

/// Notes each boot: its attempt, and whether it continues another run.
fn boots(diary: &Diary) -> turnkeep_agent::Agent {
    let diary = diary.clone();
    plain().on_boot(move |event: Boot| {
        diary.note(format!("{}{}", event.ctx.attempt, if event.continuation { "c" } else { "" }));
        async { Ok(()) }
    })
}

#[tokio::test(start_paused = true)]
async fn a_crash_starts_the_next_attempt_which_knows_the_conversation_a275() {
    let diary = Diary::default();
    let model = MockLanguageModel::new().step([say("one")]).step([say("two")]);
    let mut chat = MockChatAgent::start(boots(&diary), &model).await;
    chat.send("a").await;
    let (run, attempt) = chat.run_attempt().unwrap();

    chat.restart(Restart::Crash).await;
    chat.send("b").await.assert_text("two");

    assert_eq!(chat.run_attempt(), Some((run, attempt + 1)));
    assert_eq!(diary.read(), "1 2");
    model.assert_prompt(1).reads(&["user: a", "assistant: one", "user: b"]);
    chat.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_turn_timeout_that_was_set_outlives_a_crash_a195() {
    let ends_after = async |restart: bool| {
        let sets = plain()
            .idle_timeout(Duration::from_secs(1))
            .on_chat_start(|event: ChatStart| async move { Ok(event.chat.set_turn_timeout_in_seconds(60).await?) });
        let model = MockLanguageModel::new().step([say("one")]);
        let mut chat = MockChatAgent::start(sets, &model).await;
        chat.send("a").await;
        if restart {
            chat.restart(Restart::Crash).await;
        }
        let attempt = chat.run_attempt().unwrap().1;
        chat.advance(Duration::from_secs(50)).await;
        let slept = chat.outcome();
        chat.advance(Duration::from_secs(70)).await;
        let ended = chat.outcome();
        chat.finish().await;
        (attempt, slept, ended)
    };

    // The agent's own options say an hour.
    assert_eq!(ends_after(false).await, (1, None, Some(MockOutcome::Ok)));
    assert_eq!(ends_after(true).await, (2, None, Some(MockOutcome::Ok)));
}

#[tokio::test(start_paused = true)]
async fn a_message_that_dies_with_its_worker_is_answered_by_the_next_attempt_a275_d35() {
    let model = MockLanguageModel::new().step([say("lost")]).step([say("said")]);
    let mut chat = MockChatAgent::start(plain(), &model).await;
    let barrier = chat.barrier(At::before_record("start"));

    let posted = chat.send("a").begin().await;
    barrier.reached().await;
    chat.restart(Restart::Crash).await;
    barrier.release();
    let turn = posted.turn().await;

    assert_eq!(turn.text(), "said");
    assert_eq!(texts(&chat.get_snapshot().await.unwrap().messages), ["a", "said"]);
    chat.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_graceful_restart_ends_the_run_and_a_continuation_goes_on_a275_d35() {
    let diary = Diary::default();
    let model = MockLanguageModel::new().step([say("one")]).step([say("two")]);
    let mut chat = MockChatAgent::start(boots(&diary), &model).await;
    chat.send("a").await;
    let (run, _) = chat.run_attempt().unwrap();

    chat.restart(Restart::Graceful).await;

    assert_eq!(chat.outcome(), Some(MockOutcome::Ok));
    let (next, attempt) = chat.run_attempt().unwrap();
    assert!(next != run && attempt == 1, "{next} {attempt}");
    chat.send("b").await.assert_text("two");
    assert_eq!(diary.read(), "1 1c");
    chat.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_graceful_restart_waits_for_the_turn_that_is_under_way_d35() {
    let diary = Diary::default();
    let tells = diary.clone();
    let agent = boots(&diary).on_turn_complete(move |event: TurnComplete| {
        let tells = tells.clone();
        async move {
            tokio::time::sleep(Duration::from_secs(3)).await;
            tells.note(event.response_message.map(|answer| answer.text()).unwrap_or_default());
            Ok(())
        }
    });
    let model = MockLanguageModel::new().step([say("one")]).step([say("two")]);
    let mut chat = MockChatAgent::start(agent, &model).await;

    let barrier = chat.barrier(At::before("on_turn_complete"));
    let first = chat.send("a").begin().await;
    barrier.reached().await;
    let second = chat.send("b").begin().await;
    barrier.release();
    chat.restart(Restart::Graceful).await;

    // The first turn ended in the old run, its hook included; the second message was owed, and the continuation has it.
    assert_eq!(diary.read(), "1 one 1c");
    first.turn().await;
    assert_eq!(second.turn().await.text(), "two");
    chat.finish().await;
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_ran_out_of_memory_is_followed_by_the_next_a275_a41() {
    let diary = Diary::default();
    let model = MockLanguageModel::new().step([say("lost")]).step([say("said")]);
    let mut chat = MockChatAgent::start(boots(&diary), &model).await;
    let barrier = chat.barrier(At::before_record("start"));
    let started = tokio::time::Instant::now();

    let posted = chat.send("a").begin().await;
    barrier.reached().await;
    chat.restart(Restart::OutOfMemory).await;
    barrier.release();

    assert_eq!(posted.turn().await.text(), "said");
    assert_eq!(diary.read(), "1 2");
    // It was reported: nobody waited for a lease to lapse.
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    assert_eq!(chat.outcome(), Some(MockOutcome::Error("out of memory".to_owned())));
    chat.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_run_is_over_and_a_continuation_has_what_is_owed_a275_d70() {
    let diary = Diary::default();
    let agent = boots(&diary).on_turn_complete(noting::<TurnComplete>(&diary, "complete"));
    let model = MockLanguageModel::new().step([say("lost")]).step([say("said")]);
    let mut chat = MockChatAgent::start(agent, &model).await;
    let barrier = chat.barrier(At::before_record("start"));

    let posted = chat.send("a").begin().await;
    barrier.reached().await;
    chat.restart(Restart::Cancel).await;
    barrier.release();

    assert_eq!(chat.outcome(), Some(MockOutcome::Cancelled));
    assert_eq!(posted.turn().await.text(), "said");
    assert_eq!(diary.read(), "1 1c complete");
    chat.finish().await;
}

#[tokio::test(start_paused = true)]
async fn once_per_chat_hooks_stay_once_across_restarts_d45_aa48_aa49() {
    let diary = Diary::default();
    let agent = plain().on_chat_start(noting::<ChatStart>(&diary, "start"));
    let model = MockLanguageModel::new().step([say("a")]).when_it_runs_out(RunsOut::RepeatLast);
    let mut chat = MockChatAgent::start(agent, &model).await;

    for how in [Restart::Crash, Restart::Graceful, Restart::OutOfMemory, Restart::Cancel] {
        chat.send("hi").await;
        chat.restart(how).await;
    }
    chat.send("hi").await;

    assert_eq!(diary.read(), "start");
    chat.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_suspended_run_wakes_for_a_message_with_its_hooks_a271() {
    let diary = Diary::default();
    let agent = plain()
        .on_chat_suspend(noting::<Suspension>(&diary, "suspend"))
        .on_chat_resume(noting::<Suspension>(&diary, "resume"));
    let model = MockLanguageModel::new().step([say("one")]).step([say("two")]);
    let mut chat = MockChatAgent::start(agent, &model).await;
    chat.send("a").await;
    let run = chat.run_attempt();

    chat.suspend().await;
    assert!(chat.is_suspended());
    assert_eq!(diary.read(), "suspend");
    chat.resume("b").await.assert_text("two");

    assert_eq!(diary.read(), "suspend resume");
    assert!(!chat.is_suspended());
    assert_eq!(chat.run_attempt(), run);
    chat.finish().await;
}

#[tokio::test(start_paused = true)]
async fn time_passes_when_the_test_says_so_a272() {
    let agent = plain().idle_timeout(Duration::from_secs(10)).turn_timeout(Duration::from_secs(60));
    let model = MockLanguageModel::new().step([say("one")]).step([say("two")]);
    let mut chat = MockChatAgent::start(agent, &model).await;
    chat.send("a").await;

    chat.advance(Duration::from_secs(9)).await;
    assert!(!chat.is_suspended());
    chat.advance(Duration::from_secs(2)).await;
    assert!(chat.is_suspended());
    chat.advance(Duration::from_secs(61)).await;
    assert_eq!(chat.outcome(), Some(MockOutcome::Ok));

    chat.send("b").await.assert_text("two");
    chat.finish().await;
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "the run of chat test-chat does not sleep")]
async fn only_a_run_that_sleeps_is_resumed_a271() {
    let mut chat = MockChatAgent::start(plain(), &MockLanguageModel::new()).await;

    chat.resume("a").await;
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "the worker did not end its runs within")]
async fn a_worker_whose_run_stands_at_a_barrier_cannot_drain_a275() {
    let model = MockLanguageModel::new().step([say("a")]);
    let mut chat = MockChatAgent::start(plain(), &model).await;
    let barrier = chat.barrier(At::before_record("finish"));
    let _posted = chat.send("hi").begin().await;
    barrier.reached().await;

    chat.restart(Restart::Graceful).await;
}

#[tokio::test(start_paused = true)]
async fn a_run_that_says_itself_that_it_was_cancelled_has_failed_a267() {
    let agent = plain().on_boot(|_: Boot| async { Err("cancelled".into()) });
    let chat = MockChatAgent::start(agent, &MockLanguageModel::new()).await;

    assert!(matches!(chat.outcome(), Some(MockOutcome::Error(_))), "{:?}", chat.outcome());
    chat.kill();
}

//! Races driven step by step: each test fails when its rule is taken out.

use std::time::Duration;

use turnkeep_agent::{Agent, Boot, Suspension, TurnComplete, TurnStart};
use turnkeep_harness::model::{MockLanguageModel, say};
use turnkeep_harness::{At, MockChat, MockChatAgent, Restart};
use turnkeep_protocol::UiMessage;

use crate::support::*;

#[tokio::test(start_paused = true)]
async fn every_place_of_a_turn_can_be_held_and_the_run_goes_on_from_it_a283() {
    let places = [
        At::before("on_turn_start"),
        At::after("on_turn_start"),
        At::before("run"),
        At::after("run"),
        At::before_record("start"),
        At::after_record("start"),
        At::before_record("turn-complete"),
        At::after_record("turn-complete"),
        At::before("on_turn_complete"),
        At::after("on_turn_complete"),
        At::before_snapshot(),
        At::after_snapshot(),
        At::turn_end(),
        At::idle_end(),
        At::before("on_chat_suspend"),
        At::after("on_chat_suspend"),
        At::before_suspend(),
    ];
    for at in places {
        let diary = Diary::default();
        let agent = plain()
            .on_turn_start(noting::<TurnStart>(&diary, "start"))
            .on_turn_complete(noting::<TurnComplete>(&diary, "complete"))
            .on_chat_suspend(noting::<Suspension>(&diary, "suspend"));
        let model = MockLanguageModel::new().step([say("a")]).step([say("b")]);
        let mut chat = MockChatAgent::start(agent, &model).await;
        let barrier = chat.barrier(at.clone());

        let posted = chat.send("one").begin().await;
        barrier.reached().await;
        let held = (diary.read(), chat.all_raw_chunks().len(), chat.get_snapshot().await);
        // Held means held: nothing moves, longer than a lease; the run's signs of life go on.
        chat.advance(Duration::from_secs(25)).await;
        assert!(barrier.is_holding(), "held at {at}");
        let still = (diary.read(), chat.all_raw_chunks().len(), chat.get_snapshot().await);
        assert_eq!(still, held, "held at {at}");
        barrier.release();
        posted.turn().await.assert_text("a");
        chat.send("two").await.assert_text("b");

        chat.finish().await;
    }
}

#[tokio::test(start_paused = true)]
async fn the_nth_time_at_a_place_can_be_held_a283() {
    let model = MockLanguageModel::new().step([say("a"), say("b"), say("c")]);
    let mut chat = MockChatAgent::start(plain(), &model).await;
    let barrier = chat.barrier(At::before_record("text-delta").nth(2));

    let posted = chat.send("one").begin().await;
    barrier.reached().await;

    let deltas = chat.all_chunks().iter().filter(|chunk| chunk.kind() == "text-delta").count();
    assert_eq!(deltas, 2);
    barrier.release();
    posted.turn().await.assert_text("abc");
    chat.finish().await;
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "no run came to `before on_chat_start` within")]
async fn a_place_that_no_run_comes_to_fails_the_test_with_the_last_places() {
    let chat = MockChatAgent::start(plain(), &MockLanguageModel::new()).await;

    chat.barrier(At::before("on_chat_start")).reached().await;
}

/// Answers, and notes each boot, suspend and resume.
fn awake_or_asleep(diary: &Diary) -> Agent {
    plain()
        .on_boot(noting::<Boot>(diary, "boot"))
        .on_chat_suspend(noting::<Suspension>(diary, "suspend"))
        .on_chat_resume(noting::<Suspension>(diary, "resume"))
}

/// Lets a message come in while the run, which has had its turn, stands at a place; gives what was noted when it is answered.
async fn slips_in(agent: Agent, diary: &Diary, at: At) -> String {
    let model = MockLanguageModel::new().step([say("a")]).step([say("b")]);
    let mut chat = MockChatAgent::start(agent, &model).await;
    let barrier = chat.barrier(at);
    chat.send("one").await;

    barrier.reached().await;
    let posted = chat.send("two").begin().await;
    chat.advance(Duration::from_secs(1)).await;
    barrier.release();

    posted.turn().await.assert_text("b");
    chat.finish().await;
    diary.read()
}

#[tokio::test(start_paused = true)]
async fn a_message_in_the_suspend_window_is_taken_instead_of_sleeping_ar6_a33() {
    // 1 the idle time elapses, the suspend hook runs; 2 a message arrives; 3 the run must not sleep on it.
    let diary = Diary::default();

    let noted = slips_in(awake_or_asleep(&diary), &diary, At::before("on_chat_suspend")).await;

    assert_eq!(noted, "boot suspend", "who sleeps is resumed");
}

#[tokio::test(start_paused = true)]
async fn a_message_behind_the_last_look_still_wakes_the_run_ar6_a33() {
    // C-248, C-251: the suspend hook is through and the wait not yet registered, so that the record lies between the two.
    let diary = Diary::default();

    let noted = slips_in(awake_or_asleep(&diary), &diary, At::before_suspend()).await;

    assert_eq!(noted, "boot suspend resume");
}

#[tokio::test(start_paused = true)]
async fn a_message_in_the_exit_window_is_answered_by_a_continuation_ar21_d3() {
    let diary = Diary::default();

    let noted = slips_in(awake_or_asleep(&diary).max_turns(1), &diary, At::before_exit()).await;

    assert_eq!(noted, "boot boot");
}

#[tokio::test(start_paused = true)]
async fn a_first_message_outlives_a_run_that_ends_before_any_snapshot_ar36_a72_d38() {
    // 1 a run boots for its first message; 2 it ends before anything is stored; 3 a continuation starts, whose payload has no message.
    let diary = Diary::default();
    let model = MockLanguageModel::new().step([say("a")]);
    let first = UiMessage::user("u-1", "hi");
    let chat = MockChat::new(awake_or_asleep(&diary)).first_message(first).hold(At::before("run"));
    let mut chat = chat.start(&model).await;
    let (barrier, posted) = (chat.first_barrier(0), chat.first_turn().through_crashes());
    barrier.reached().await;
    let (run, _) = chat.run_attempt().unwrap();
    assert_eq!((chat.get_snapshot().await, chat.all_raw_chunks().len()), (None, 0));

    chat.restart(Restart::Cancel).await;
    barrier.release();

    posted.turn().await.assert_text("a");
    assert_ne!(chat.run_attempt().unwrap().0, run);
    assert_eq!(diary.read(), "boot boot");
    model.assert_prompt(0).reads(&["user: hi"]);
    chat.finish().await;
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_was_finished_but_not_closed_is_not_said_again_ar47_a65() {
    let model = MockLanguageModel::new().step([say("once")]);
    let mut chat = MockChatAgent::start(plain(), &model).await;
    let barrier = chat.barrier(At::before_record("turn-complete"));

    let posted = chat.send("one").begin().await;
    barrier.reached().await;
    chat.restart(Restart::Crash).await;
    barrier.release();
    posted.turn().await;

    let saved = chat.get_snapshot().await.unwrap().messages;
    assert_eq!(saved.iter().map(UiMessage::text).collect::<Vec<_>>(), ["one", "once"]);
    chat.finish().await; // The script has one step: a second answer would have had none.
}

#[tokio::test(start_paused = true)]
async fn a_turn_whose_snapshot_was_lost_is_restored_from_its_records_ar48_a48() {
    let diary = Diary::default();
    let agent = plain().on_boot(noting::<Boot>(&diary, "boot"));
    let model = MockLanguageModel::new().step([say("a")]).step([say("b")]).step([say("c")]);
    let mut chat = MockChatAgent::start(agent, &model).await;
    chat.send("one").await;
    let barrier = chat.barrier(At::before_snapshot());

    chat.send("two").completed().await;
    barrier.reached().await;
    chat.restart(Restart::Crash).await;
    barrier.release();
    chat.send("three").await.assert_text("c");

    model.assert_prompt(2).reads(&["user: one", "assistant: a", "user: two", "assistant: b", "user: three"]);
    assert_eq!(diary.read(), "boot boot");
    chat.finish().await;
}

#[tokio::test(start_paused = true)]
async fn two_barriers_at_one_place_count_each_passing_for_themselves_a283() {
    let model = MockLanguageModel::new().step([say("a")]).step([say("b")]);
    let mut chat = MockChatAgent::start(plain(), &model).await;
    let (first, second) = (chat.barrier(At::turn_end()), chat.barrier(At::turn_end().nth(1)));

    let posted = chat.send("one").begin().await;
    first.reached().await;
    assert!(!second.is_holding());
    first.release();
    posted.turn().await;
    let posted = chat.send("two").begin().await;
    second.reached().await;
    second.release();

    posted.turn().await.assert_text("b");
    chat.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_barrier_that_held_a_dead_run_holds_back_no_restart_a275_a283() {
    let model = MockLanguageModel::new().step([say("a")]).step([say("a")]);
    let mut chat = MockChatAgent::start(plain(), &model).await;
    let barrier = chat.barrier(At::before_record("start"));
    let posted = chat.send("hi").through_crashes().begin().await;
    barrier.reached().await;

    chat.restart(Restart::Crash).await;

    assert_eq!(chat.run_attempt().map(|(_, attempt)| attempt), Some(2));
    posted.turn().await.assert_text("a");
    drop(barrier);
    chat.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_barrier_holds_one_chat_and_no_other_a283() {
    let model = MockLanguageModel::new().step([say("a")]).step([say("b")]);
    let mut chat = MockChatAgent::start(plain(), &model).await;
    let mut other = chat.another("other").await;
    let barrier = chat.barrier(At::turn_end());
    let posted = chat.send("hi").begin().await;
    barrier.reached().await;

    other.send("hi").await.assert_text("b");
    other.finish().await;

    assert!(barrier.is_holding());
    barrier.release();
    posted.turn().await.assert_text("a");
    chat.finish().await;
}

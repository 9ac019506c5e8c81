//! Races between the records of `in` and those who take them, step by step (A Appendix A).

use std::time::Duration;

use turnkeep_agent::{PendingMessages, Preload};
use turnkeep_harness::model::{MockLanguageModel, say, wait};
use turnkeep_harness::{At, MockChat, MockChatAgent, Restart};
use turnkeep_protocol::SESSION_IN_EVENT_ID;

use crate::support::*;

const SECOND: Duration = Duration::from_secs(1);

/// Gives what each boundary on `out` covers.
fn covered(chat: &MockChatAgent) -> String {
    let boundaries = chat.all_raw_chunks().into_iter().filter(|record| record.is_turn_complete());
    boundaries
        .map(|record| record.header(SESSION_IN_EVENT_ID).unwrap_or("nothing").to_owned())
        .collect::<Vec<_>>()
        .join(" ")
}

#[tokio::test(start_paused = true)]
async fn a_first_message_that_comes_while_only_stops_are_listened_for_is_answered_ar1_a22() {
    // 1 the run has booted: it listens for stops, and nobody waits for messages yet; 2 the first message lands; 3 the wait registers and
    // must find it.
    let model = MockLanguageModel::new().step([say("a")]);
    let mut chat = MockChat::new(plain()).hold(At::booted()).start(&model).await;
    let barrier = chat.first_barrier(0);
    barrier.reached().await;
    let run = chat.run_attempt();
    let one = chat.send("one").begin().await;
    chat.advance(SECOND).await;

    barrier.release();

    one.turn().await.assert_text("a");
    assert_eq!(chat.run_attempt(), run, "it has not taken another run to find it");
    chat.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_message_that_a_turn_has_heard_has_one_turn_of_its_own_ar2_a22() {
    // 1 a message arrives while turn 1 streams, and turn 1 hears it without taking it in; 2 it has turn 2; 3 turn 2 hears whatever waits:
    // the message must not be there any more, for a third turn.
    let agent = plain().pending_messages(PendingMessages::new().should_inject(|_| async { Ok(false) }));
    let model = MockLanguageModel::new().step([say("a"), wait(SECOND * 2), say("!")]).step([say("b")]);
    let mut chat = MockChatAgent::start(agent, &model).await;
    let one = chat.send("one").begin().await;
    chat.advance(SECOND).await;
    let two = chat.send("two").begin().await;

    one.turn().await.assert_text("a!");
    two.turn().await.assert_text("b");
    chat.suspend().await;

    assert_eq!(covered(&chat), "0 1");
    model.assert_calls(2);
    chat.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_message_that_comes_before_the_preload_hook_is_through_is_answered_ar3_a75() {
    // 1 the first message lands while a preloaded run's hook runs; 2 stops are listened for; 3 the wait behind the hook must find it.
    let diary = Diary::default();
    let model = MockLanguageModel::new().step([say("a")]);
    let agent = plain().on_preload(noting::<Preload>(&diary, "preload"));
    let mut chat = MockChat::new(agent).hold(At::before("on_preload")).start(&model).await;
    let barrier = chat.first_barrier(0);
    barrier.reached().await;
    let run = chat.run_attempt();
    let one = chat.send("one").begin().await;
    chat.advance(SECOND).await;

    barrier.release();

    one.turn().await.assert_text("a");
    assert_eq!(chat.run_attempt(), run, "it has not taken another run to find it");
    assert_eq!(diary.read(), "preload");
    chat.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_message_that_woke_the_run_is_not_served_again_by_the_next_worker_ar4_a29() {
    // 1 the run sleeps, and a message wakes it; 2 its turn ends, with a boundary that must cover the message; 3 the worker dies; 4 the next
    // boot reads on behind the boundary: the message must not be there.
    let model = MockLanguageModel::new().step([say("a")]).step([say("b")]).step([say("c")]);
    let mut chat = MockChatAgent::start(plain(), &model).await;
    chat.send("one").await.assert_text("a");
    chat.suspend().await;
    chat.send("two").await.assert_text("b");

    chat.restart(Restart::Crash).await;
    chat.send("three").await.assert_text("c");

    assert_eq!(covered(&chat), "0 1 2");
    model.assert_calls(3);
    chat.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_queued_message_outlives_a_worker_that_dies_before_its_turn_ar5_a30() {
    // 1 M1's turn runs; 2 M2 arrives and is queued; 3 M1's boundary and snapshot are written; 4 the worker dies before M2's turn; 5 the next
    // boot must find M2, and M2's page must not take M1's boundary for its own.
    let model = MockLanguageModel::new().step([say("a")]).step([say("b")]);
    let mut chat = MockChatAgent::start(plain(), &model).await;
    let (run, end) = (chat.barrier(At::before("run")), chat.barrier(At::turn_end()));
    let one = chat.send("one").begin().await;
    run.reached().await;
    let two = chat.send("two").through_crashes().begin().await;
    chat.advance(SECOND).await;
    run.release();
    one.turn().await.assert_text("a");
    end.reached().await;
    let before = covered(&chat);

    chat.restart(Restart::Crash).await;
    end.release();

    two.turn().await.assert_text("b");
    assert_eq!((before.as_str(), covered(&chat).as_str()), ("0", "0 1"));
    model.assert_prompt(1).reads(&["user: one", "assistant: a", "user: two"]);
    chat.finish().await;
}

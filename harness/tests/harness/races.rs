//! Races of the runtime, step by step: each is brought about at the very place where it hurts (A Appendix A).

use std::time::Duration;

use turnkeep_agent::Suspension;
use turnkeep_harness::model::{MockLanguageModel, say};
use turnkeep_harness::{At, MockChatAgent};
use turnkeep_protocol::SESSION_IN_EVENT_ID;

use crate::support::*;

const SECOND: Duration = Duration::from_secs(1);

/// Gives what each boundary on `out` covers.
fn covered(chat: &MockChatAgent) -> Vec<String> {
    let boundaries = chat.all_raw_chunks().into_iter().filter(|record| record.is_turn_complete());
    boundaries.map(|record| record.header(SESSION_IN_EVENT_ID).unwrap_or("nothing").to_owned()).collect()
}

#[tokio::test(start_paused = true)]
async fn all_that_came_during_one_turn_is_answered_in_turns_of_its_own_ar13_a83() {
    let model = MockLanguageModel::new().step([say("a")]).step([say("b")]).step([say("c")]);
    let mut chat = MockChatAgent::start(plain(), &model).await;
    let barrier = chat.barrier(At::before("run"));
    let one = chat.send("one").begin().await;
    barrier.reached().await;
    let two = chat.send("two").begin().await;
    let three = chat.send("three").begin().await;
    chat.advance(SECOND).await;

    barrier.release();

    one.turn().await.assert_text("a");
    two.turn().await.assert_text("b");
    three.turn().await.assert_text("c");
    assert_eq!(covered(&chat), ["0", "1", "2"]);
    model.assert_prompt(2).reads(&["user: one", "assistant: a", "user: two", "assistant: b", "user: three"]);
    chat.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_run_does_not_sleep_on_a_snapshot_that_is_not_stored_ar18_a108() {
    // 1 the boundary is out; 2 the snapshot's write hangs, within its limit of 10 s; 3 the idle time is over; 4 the run must not be asleep.
    let diary = Diary::default();
    let model = MockLanguageModel::new().step([say("a")]);
    let agent = plain().idle_timeout(SECOND).on_chat_suspend(noting::<Suspension>(&diary, "suspend"));
    let mut chat = MockChatAgent::start(agent, &model).await;
    let barrier = chat.barrier(At::before_snapshot());
    let one = chat.send("one").completed().begin().await;
    barrier.reached().await;

    chat.advance(SECOND * 8).await;
    let while_hanging = (diary.read(), chat.is_suspended());
    barrier.release();
    one.turn().await.assert_text("a");
    chat.suspend().await;

    assert_eq!(while_hanging, (String::new(), false));
    assert!(chat.get_snapshot().await.is_some() && diary.read() == "suspend");
    chat.finish().await;
}

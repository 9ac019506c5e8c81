//! The offline chat as an author's test uses it.

use turnkeep_harness::MockChatAgent;
use turnkeep_harness::model::{MockLanguageModel, fail, say};

use crate::support::*;

#[tokio::test(start_paused = true)]
async fn two_chats_in_one_test_do_not_meet_a268() {
    let (one, other) = (MockLanguageModel::new().step([say("one")]), MockLanguageModel::new().step([say("other")]));
    let mut first = MockChatAgent::start(plain(), &one).await;
    let mut second = MockChatAgent::start(plain(), &other).await;

    let answers = futures::join!(first.send("hi"), second.send("hi"));

    assert_eq!((answers.0.text(), answers.1.text()), ("one".to_owned(), "other".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn a_failed_turn_ends_and_the_next_one_is_answered_a151() {
    let model = MockLanguageModel::new().step([fail("out of order")]).step([say("better")]);
    let mut chat = MockChatAgent::start(plain(), &model).await;

    let failed = chat.send("one").await;
    let better = chat.send("two").await;

    assert!(failed.chunks().iter().any(|chunk| chunk.kind() == "error"), "{:?}", failed.chunks());
    assert_eq!(better.text(), "better");
    chat.finish().await;
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "step 1 of 2 still waits for a call")]
async fn a_script_with_steps_left_fails_the_test() {
    let model = MockLanguageModel::new().step([say("one")]).step([say("never")]);
    let mut chat = MockChatAgent::start(plain(), &model).await;

    chat.send("hi").await;

    chat.finish().await;
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "the script has no step for model call 0")]
async fn an_agent_that_asks_for_more_than_the_script_fails_the_test() {
    let mut chat = MockChatAgent::start(plain(), &MockLanguageModel::new()).await;

    chat.send("hi").await;

    chat.finish().await;
}

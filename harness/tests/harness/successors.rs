//! Who has the session: successors, claims, and the look at every append.

use std::time::Duration;

use turnkeep_agent::{Agent, Boot, TurnInput};
use turnkeep_harness::model::{MockLanguageModel, say};
use turnkeep_harness::{At, Fault, FaultPoint, Faults, MockChat, MockChatAgent, MockOutcome, Restart};
use turnkeep_protocol::{ChatInputChunk, ChatTaskWirePayload, RecordKind, UiMessage, control};

use crate::support::*;

/// Tells readers that another version goes on.
const UPGRADED: RecordKind<'_> = RecordKind::Control(control::UPGRADE_REQUIRED);

/// Notes each boot with the run that it continues, and ends its run after the message `bye`.
fn noting_boots(diary: &Diary) -> Agent {
    let diary = diary.clone();
    let agent = Agent::new("plain", |turn: TurnInput| async move {
        if turn.ui_messages.last().is_some_and(|message| message.text() == "bye") {
            turn.chat.end_run();
        }
        Ok(turn.stream_text())
    });
    agent.on_boot(move |event: Boot| {
        diary.note(event.previous_run_id.as_ref().map_or("first".to_owned(), ToString::to_string));
        async { Ok(()) }
    })
}

#[tokio::test(start_paused = true)]
async fn a_run_that_ends_and_continues_is_followed_by_the_run_that_answers_a274() {
    let diary = Diary::default();
    let model = MockLanguageModel::new().step([say("a")]).step([say("lost")]).step([say("b")]);
    let mut chat = MockChatAgent::start(noting_boots(&diary), &model).await;
    chat.send("one").await;
    let (first, _) = chat.run_attempt().unwrap();
    let barrier = chat.barrier(At::before_record("start"));

    // The message that the old run has taken is deferred to its successor (S-52).
    let posted = chat.send("two").begin().await;
    barrier.reached().await;
    chat.restart(Restart::EndAndContinue).await;
    barrier.release();
    let turn = posted.turn().await;

    assert_eq!(turn.text(), "b");
    assert_eq!(chat.outcome(), Some(MockOutcome::Ok));
    assert_eq!(diary.read(), format!("first {first}"));
    assert_ne!(chat.run_attempt().unwrap().0, first);
    let told = chat.all_raw_chunks();
    let upgrades = told.iter().filter(|record| record.kind() == UPGRADED).count();
    assert_eq!(upgrades, 1, "readers are told that another version goes on");
    chat.finish().await;
}

#[tokio::test(start_paused = true)]
async fn of_two_claims_for_a_session_one_wins_and_the_loser_is_told_who_has_it_a274() {
    let diary = Diary::default();
    let model = MockLanguageModel::new().step([say("a")]).step([say("b")]);
    let mut chat = MockChatAgent::start(noting_boots(&diary), &model).await;
    chat.send("one").await;
    let (first, _) = chat.run_attempt().unwrap();

    let (won, lost) = futures::join!(chat.end_and_continue(&first), chat.end_and_continue(&first));

    let (won, lost) = (won.unwrap(), lost.unwrap());
    assert!(won.swapped && !lost.swapped, "{won:?} {lost:?}");
    assert_eq!(lost.run_id, won.run_id);
    // The old run, which lives, hears of it with its next sign of life.
    chat.advance(Duration::from_secs(5)).await;
    chat.send("two").await.assert_text("b");
    assert_eq!((diary.read(), chat.run_attempt().unwrap().0), (format!("first {first}"), won.run_id));
    chat.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_successor_that_cannot_be_had_is_started_by_who_speaks_next_a274_a282() {
    let (diary, faults) = (Diary::default(), Faults::new());
    let model = MockLanguageModel::new().step([say("a")]).step([say("b")]);
    let mut chat = MockChat::new(noting_boots(&diary)).faults(&faults).start(&model).await;
    chat.send("one").await;
    let (first, _) = chat.run_attempt().unwrap();

    faults.next(FaultPoint::EndAndContinue, Fault::Status(500));
    chat.restart(Restart::EndAndContinue).await;
    chat.send("two").await.assert_text("b");

    assert_eq!(faults.met(FaultPoint::EndAndContinue), 1);
    assert_eq!(diary.read(), format!("first {first}"));
    let told = chat.all_raw_chunks();
    assert!(!told.iter().any(|record| record.kind() == UPGRADED));
    chat.finish().await;
}

#[tokio::test(start_paused = true)]
async fn an_append_looks_whether_a_run_lives_and_starts_one_for_all_who_speak_a274() {
    let diary = Diary::default();
    let model = MockLanguageModel::new().step([say("a")]).step([say("b")]).step([say("c")]);
    let mut chat = MockChatAgent::start(noting_boots(&diary), &model).await;
    chat.send("bye").await;
    let (first, _) = chat.run_attempt().unwrap();
    chat.advance(Duration::from_secs(60)).await;
    assert_eq!((chat.outcome(), diary.read().as_str()), (Some(MockOutcome::Ok), "first"), "nobody has spoken");

    let say = |text: &str| {
        let message = UiMessage::user(text, text);
        chat.append(ChatInputChunk::message(ChatTaskWirePayload::submit(chat.chat_id(), message)))
    };
    futures::join!(say("two"), say("three"));
    chat.advance(Duration::from_secs(5)).await;

    assert_eq!(diary.read(), format!("first {first}"), "both are answered by the one run");
    model.assert_calls(3);
    chat.finish().await;
}

//! What a test says to its chat, and what of it reaches model and pipe.

use std::time::Duration;

use serde_json::json;
use turnkeep_agent::{Agent, CustomRun, PipeOptions, TurnComplete, WaitOptions};
use turnkeep_harness::model::{MockLanguageModel, fail, say, stall, wait};
use turnkeep_harness::{MockChat, MockChatAgent, MockOutcome, Restart};
use turnkeep_protocol::{ModelMessage, UiMessage};

use crate::support::*;

#[tokio::test(start_paused = true)]
async fn each_way_of_sending_is_a_turn_and_what_was_written_can_be_looked_at_a262() {
    let diary = Diary::default();
    let agent = plain().on_action(|_: turnkeep_agent::Action| async { Ok(()) });
    let agent = agent.on_turn_complete(noting::<TurnComplete>(&diary, "complete"));
    let model = MockLanguageModel::new().step([say("one")]).step([say("two")]).step([say("thr"), stall()]);
    let mut chat = MockChat::new(agent).chat_id("chat-1").start(&model).await;

    let sent = chat.send_message(UiMessage::user("u-1", "hi")).await;
    let again = chat.send_regenerate().await;
    let acted = chat.send_action(json!({ "rate": 5 })).await;
    let posted = chat.send("go on").begin().await;
    chat.advance(Duration::from_secs(1)).await;
    assert!(chat.send_stop().await);
    posted.turn().await;

    assert_eq!((chat.chat_id(), sent.text().as_str(), again.text().as_str()), ("chat-1", "one", "two"));
    // A turn has its chunks, and its records with the control records between them; so has the chat.
    assert_eq!(
        (sent.chunks().len() + 1, acted.chunks().len(), acted.raw_chunks().len()),
        (sent.raw_chunks().len(), 0, 1)
    );
    assert!(chat.all_raw_chunks().len() > chat.all_chunks().len());
    assert_eq!(chat.get_snapshot().await.unwrap().messages.len(), 4);
    assert_eq!(diary.read(), "complete complete complete");
    chat.close().await;
    assert_eq!(chat.outcome(), Some(MockOutcome::Ok));
    chat.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_scripted_model_is_late_fails_and_hears_its_stop_a264() {
    let model = MockLanguageModel::new()
        .step([wait(Duration::from_secs(7)), say("late")])
        .step([fail("overloaded")])
        .step([say("endless"), stall()]);
    let mut chat = MockChatAgent::start(plain(), &model).await;
    let started = tokio::time::Instant::now();

    chat.send("one").await.assert_text("late");
    assert_eq!(started.elapsed().as_secs(), 7);
    assert_eq!(chat.send("two").await.error().as_deref(), Some("overloaded"));
    let posted = chat.send("three").begin().await;
    chat.advance(Duration::from_secs(2)).await;
    chat.send_stop().await;
    posted.turn().await;

    assert!(model.calls()[2].is_aborted(), "{:?}", model.calls()[2].end);
    chat.finish().await;
}

/// Pipes the model's answer by hand, and tells how the pipe ended.
fn piping(diary: &Diary) -> turnkeep_agent::CustomAgent {
    let diary = diary.clone();
    Agent::custom("plain", move |mut run: CustomRun| {
        let diary = diary.clone();
        async move {
            let mut stop = run.create_stop_signal();
            while let Some(payload) = run.next_message(WaitOptions::new()).await? {
                stop.reset();
                let answer =
                    run.stream_text(payload.message.iter().map(|message| ModelMessage::user(message.text())).collect());
                let captured = run.chat.pipe_and_capture(answer, PipeOptions::new().signal(stop.signal())).await;
                diary.note(format!("{:?}", captured.status));
                run.write_turn_complete(None).await?;
            }
            Ok(())
        }
    })
}

#[tokio::test(start_paused = true)]
async fn a_stop_and_a_cancel_reach_the_pipe_and_its_model_a273() {
    let diary = Diary::default();
    let model = MockLanguageModel::new().step([say("a"), stall()]).step([say("b"), stall()]).step([say("c")]);
    let mut chat = MockChatAgent::start(piping(&diary), &model).await;

    let stopped = chat.send("one").begin().await;
    chat.advance(Duration::from_secs(1)).await;
    chat.send_stop().await;
    stopped.turn().await;
    let cancelled = chat.send("two").begin().await;
    chat.advance(Duration::from_secs(1)).await;
    chat.restart(Restart::Cancel).await;
    cancelled.turn().await;

    assert!(model.calls()[0].is_aborted() && model.calls()[1].is_aborted(), "{:?}", model.calls());
    assert_eq!(diary.read(), "Aborted Complete", "the cancelled pipe never came to its end");
    chat.finish().await;
}

//! How an answer takes its place in the conversation.

use std::sync::atomic::{AtomicBool, Ordering};

use turnkeep_model::{FinishReason, ModelError, StreamPart};

use super::*;
use crate::compaction::Compaction;
use crate::event::CompactionCheck;
use crate::pipe::{PipeOptions, PipeSource};

fn chunks(said: &[Value]) -> Vec<UiMessageChunk> {
    said.iter().map(|chunk| UiMessageChunk::from_value(chunk.clone()).unwrap()).collect()
}

/// A source that breaks behind a text and a call.
fn broken() -> PipeSource {
    let said = chunks(&[
        json!({ "type": "text-start", "id": "t" }),
        json!({ "type": "text-delta", "id": "t", "delta": "half" }),
        json!({ "type": "tool-input-available", "toolCallId": "c", "toolName": "x", "input": {} }),
    ]);
    let said = said.into_iter().map(Ok).chain([Err("broken".into())]);
    PipeSource::try_chunks(futures::stream::iter(said))
}

#[tokio::test(start_paused = true)]
async fn a_source_that_fails_is_kept_as_far_as_it_came_and_its_error_is_rethrown_aa35_a215() {
    // AA-35
    let (session, prompts) = (Arc::new(FakeSession::default()), Diary::default());
    session.say("a");
    session.say("b");
    let out = session.clone();
    let agent = turns(brief(), move |mut turn| {
        let out = out.clone();
        async move {
            if turn.number > 0 {
                return answer(turn).await;
            }
            let error = turn.complete(broken()).await.expect_err("the source fails");
            assert_eq!(error.to_string(), "broken");
            let kept = turn.ui_messages()[1].clone();
            assert_eq!((kept.text().as_str(), kept.tool_parts().count()), ("half", 0), "cleaned");
            assert_eq!(boundaries(&out), [] as [u64; 0], "the boundary is the author's duty");
            turn.done().await?;
            Ok(())
        }
        .boxed()
    });

    run(&session, agent, noting(&prompts)).await;

    assert_eq!(entries(&prompts), ["u:a a:half u:b"]);
    let want = "start text-start half tool-input-available error(broken) done(0)";
    assert!(session.story().starts_with(want), "{}", session.story());
}

#[tokio::test(start_paused = true)]
async fn a_source_that_fails_and_whose_error_ends_the_code_leaves_the_message_owed_aa35_a30() {
    let session = Arc::new(FakeSession::default());
    session.say("a");
    let agent = turns(brief(), |mut turn| {
        async move {
            turn.complete(broken()).await?;
            Ok(())
        }
        .boxed()
    });

    let failed = try_run(&session, agent, FakeModel::echo(), json!({ "trigger": "preload" })).await;

    assert!(matches!(failed, Err(Error::Hook { .. })), "{failed:?}");
    assert_eq!(session.state().settled, None);
}

#[tokio::test(start_paused = true)]
async fn an_error_inside_the_models_stream_is_told_and_closes_the_turn_a158_a215() {
    let (session, told) = (Arc::new(FakeSession::default()), Diary::default());
    session.say("a");
    let diary = told.clone();
    let agent = turns(brief(), move |mut turn| {
        let diary = diary.clone();
        async move {
            let answer = turn.stream_text()?;
            let done = turn.complete(answer).await?;
            note(&diary, format!("{:?} {:?}", done.error, done.finish_reason));
            note(&diary, texts(turn.ui_messages()));
            Ok(())
        }
        .boxed()
    });
    let model = FakeModel::new(|_| {
        let mut said = begins("half");
        said.push(part(StreamPart::Error(ModelError::unavailable("overloaded"))));
        said
    });

    run(&session, agent, model).await;

    let told = entries(&told);
    assert!(
        told[0].contains("overloaded") && told[0].ends_with(&format!("{:?}", Some(FinishReason::Error))),
        "{told:?}"
    );
    assert_eq!((told[1].as_str(), boundaries(&session)), ("a half", vec![0]));
}

#[tokio::test(start_paused = true)]
async fn parts_written_beside_an_answer_join_it_and_without_one_are_a_message_a188_a189_a215() {
    let session = Arc::new(FakeSession::default());
    session.say("a");
    session.say("b");
    let agent = turns(brief(), |mut turn| {
        async move {
            turn.chat.writer().write(UiMessageChunk::data("note", Some("n"), json!(turn.number))).await?;
            if turn.number == 0 {
                let answer = turn.stream_text()?;
                let response = turn.complete(answer).await?.response.expect("an answer");
                assert_eq!(response.parts.last().and_then(UiPart::as_data).map(|data| &data.data), Some(&json!(0)));
                return Ok(());
            }
            turn.done().await?;
            let last = turn.ui_messages().last().expect("messages");
            assert!(last.is_assistant() && last.parts.len() == 1, "{last:?}");
            assert_eq!(turn.ui_messages().len(), 4);
            Ok(())
        }
        .boxed()
    });

    run(&session, agent, FakeModel::echo()).await;

    assert!(session.story().ends_with("data-note start finish done(1)"), "{}", session.story());
}

#[tokio::test(start_paused = true)]
async fn an_answer_piped_by_hand_is_added_by_hand_a213() {
    let (session, prompts) = (Arc::new(FakeSession::default()), Diary::default());
    session.say("a");
    session.say("b");
    let agent = turns(brief(), |mut turn| {
        async move {
            let answer = turn.stream_text()?;
            let options = PipeOptions::new().signal(turn.signal());
            let captured = turn.chat.pipe_and_capture(answer, options).await;
            turn.add_response(captured.message.expect("an answer")).await?;
            let boundary = turn.done().await?;
            assert_eq!(boundary.session_in_event_id.map(|cursor| cursor.get()), Some(turn.number as u64));
            assert!(turn.done().await.is_err(), "a turn is closed once");
            let late = turn.stream_text()?;
            assert!(turn.complete(late).await.is_err());
            Ok(())
        }
        .boxed()
    });

    run(&session, agent, noting(&prompts)).await;

    assert_eq!(entries(&prompts), ["u:a", "u:a a:r0 u:b"]);
    assert_eq!(boundaries(&session), [0, 1]);
}

#[tokio::test(start_paused = true)]
async fn the_author_may_rewrite_the_conversation_in_a_turn_a213_a180() {
    let (session, prompts) = (Arc::new(FakeSession::default()), Diary::default());
    for said in ["a", "b", "c"] {
        session.say(said);
    }
    let agent = turns(brief(), |mut turn| {
        async move {
            match turn.number {
                1 => turn.set_messages(vec![UiMessage::user("x", "x")]),
                2 => turn.chat.history().set(vec![UiMessage::user("y", "y")]),
                _ => {}
            }
            if turn.number == 2 {
                turn.done().await?;
                assert_eq!(ids(turn.ui_messages()), "y");
                return Ok(());
            }
            answer(turn).await
        }
        .boxed()
    });

    run(&session, agent, noting(&prompts)).await;

    assert_eq!(entries(&prompts), ["u:a", "u:x"]);
}

#[tokio::test(start_paused = true)]
async fn what_a_tool_makes_of_the_history_counts_from_the_end_of_the_answer_a180() {
    let session = Arc::new(FakeSession::default());
    session.say("a");
    let forget = Tool::new("forget", "", json!({}), |_: Value, ctx: crate::tool::ToolContext| async move {
        ctx.chat.history().set(vec![UiMessage::user("x", "x")]);
        Ok(json!(1))
    });
    let agent = turns(brief().tools([forget]), |mut turn| {
        async move {
            let answer = turn.stream_text()?;
            let id = turn.complete(answer).await?.response.expect("an answer").id;
            assert_eq!(ids(turn.ui_messages()), format!("x {id}"));
            Ok(())
        }
        .boxed()
    });

    run(&session, agent, FakeModel::new(|_| calls("c", "forget", json!({})))).await;

    assert_eq!(boundaries(&session), [0]);
}

#[tokio::test(start_paused = true)]
async fn a_turn_that_nobody_closed_is_closed_with_the_next_one_a216() {
    let (session, prompts) = (Arc::new(FakeSession::default()), Diary::default());
    session.say("a");
    session.say("b");
    let agent =
        turns(brief(), |turn| async move { if turn.number == 0 { Ok(()) } else { answer(turn).await } }.boxed());

    run(&session, agent, noting(&prompts)).await;

    assert_eq!(entries(&prompts), ["u:a u:b"]);
    assert_eq!(boundaries(&session), [1]);
}

#[tokio::test(start_paused = true)]
async fn a_turn_that_has_become_long_is_summed_up_before_the_next_a173_a175_a215() {
    let (session, prompts) = (Arc::new(FakeSession::default()), Diary::default());
    for said in ["a", "b", "c"] {
        session.say(said);
    }
    let has_failed = Arc::new(AtomicBool::new(false));
    let compaction = Compaction::above(2, move |check: CompactionCheck| {
        // The first summary fails: that costs the answer nothing.
        let fails = !has_failed.swap(true, Ordering::Relaxed);
        async move { if fails { Err("no".into()) } else { Ok(format!("sum of {}", check.messages.len())) } }
    });

    run(&session, talker(brief().compaction(compaction)), noting(&prompts)).await;

    let want = ["u:a", "u:a a:r0 u:b", "a:[Conversation summary]\n\nsum of 4 u:c"];
    assert_eq!(entries(&prompts), want);
    assert_eq!(session.state().warnings, ["the compaction failed: no"]);
}

//! Pipes in the hands of an agent's code.

use std::sync::Arc;

use futures::stream;
use serde_json::{Value, json};
use turnkeep_model::{FinishReason, ModelError, StreamPart};
use turnkeep_protocol::{Messages, ModelMessage, UiMessage, UiMessageChunk};

use super::*;
use crate::testing::*;
use crate::{Action, Agent, Tool, TurnComplete, TurnInput, step_count_is};

async fn run(session: &Arc<FakeSession>, agent: Agent, model: Arc<FakeModel>) {
    let lease = lease(session, 1, json!({ "trigger": "preload" }));
    serve(session, agent, model, lease).await.expect("the run ends well");
}

/// An agent whose `run` is `code`, which pipes by hand.
fn agent<F, Fut>(code: F) -> Agent
where
    F: Fn(TurnInput) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<(), HookError>> + Send + 'static,
{
    Agent::new("test", code).idle_timeout(std::time::Duration::from_secs(5))
}

/// An agent that captures what the model says and notes what came of it.
fn capturing(diary: &Diary) -> Agent {
    let diary = diary.clone();
    agent(move |turn| {
        let diary = diary.clone();
        async move {
            let captured = turn.chat.pipe_and_capture(turn.stream_text(), PipeOptions::new()).await;
            diary.lock().unwrap().push(tell(&captured));
            Ok(())
        }
    })
}

/// Tells a capture: status, text, finish reason, error.
fn tell(captured: &Captured) -> String {
    let text = captured.message.as_ref().map_or("-".to_owned(), UiMessage::text);
    let reason = captured.finish_reason.map_or("-", FinishReason::as_str);
    let error = captured.error.as_ref().map_or("-".to_owned(), ToString::to_string);
    format!("{:?} {text} {reason} {error}", captured.status)
}

fn text_chunks(id: &str, texts: &[&str]) -> Vec<UiMessageChunk> {
    let mut chunks = vec![UiMessageChunk::start("theirs"), UiMessageChunk::text_start(id)];
    chunks.extend(texts.iter().map(|text| UiMessageChunk::text_delta(id, *text)));
    chunks.extend([UiMessageChunk::text_end(id), UiMessageChunk::finish("stop")]);
    chunks
}

/// What `out` holds of one kind, as JSON.
fn told(session: &FakeSession, kind: &str) -> Vec<Value> {
    let state = session.state();
    state.told.iter().map(|record| record.data.clone()).filter(|chunk| chunk["type"] == kind).collect()
}

#[tokio::test(start_paused = true)]
async fn an_answer_piped_by_hand_is_the_only_one_and_nobody_keeps_it_a207_a99() {
    let session = Arc::new(FakeSession::default());
    session.say("a");
    let hooked = Diary::default();
    let agent = Agent::new("test", |turn: TurnInput| async move {
        turn.chat.pipe(turn.stream_text(), PipeOptions::new()).await?;
        Ok(turn.stream_text())
    })
    .on_turn_complete(noted(&hooked, "on_turn_complete", |event: TurnComplete| async move {
        assert_eq!((event.response_message, event.new_ui_messages.len()), (None, 1));
        Ok(())
    }));

    run(&session, agent, FakeModel::echo()).await;

    assert_eq!(entries(&hooked).len(), 1);
    assert_eq!(session.story(), "start start-step text-start re a text-end finish-step finish done(0)");
    assert_eq!(session.saved_texts(), ["a"]);
}

#[tokio::test(start_paused = true)]
async fn parts_written_beside_a_pipe_form_the_message_that_stays_a207_a189() {
    let session = Arc::new(FakeSession::default());
    session.say("a");
    let agent = agent(|turn| async move {
        turn.writer.write(UiMessageChunk::data("plan", None, json!(1))).await?;
        turn.chat.pipe(turn.stream_text(), PipeOptions::new()).await
    });

    run(&session, agent, FakeModel::echo()).await;

    let state = session.state();
    let kinds: Vec<_> = state.snapshot.as_ref().unwrap().messages[1].parts.iter().map(|part| part.kind()).collect();
    assert_eq!(kinds, ["data-plan"]);
}

#[tokio::test(start_paused = true)]
async fn the_next_turn_is_piped_by_the_runtime_again_a84_a99() {
    let session = Arc::new(FakeSession::default());
    session.say("a");
    session.say("b");
    let agent = Agent::new("test", |turn: TurnInput| async move {
        if turn.turn == 0 {
            turn.chat.pipe(turn.stream_text(), PipeOptions::new()).await?;
        }
        Ok(turn.stream_text())
    });

    run(&session, agent, FakeModel::echo()).await;

    assert_eq!(session.saved_texts(), ["a", "b", "re b"]);
}

#[tokio::test(start_paused = true)]
async fn pipes_that_run_at_the_same_time_interleave_a207() {
    let session = Arc::new(FakeSession::default());
    session.say("a");
    let agent = agent(|turn| async move {
        let slow = |id: &'static str, texts: &[&str]| {
            let chunks = stream::iter(text_chunks(id, texts)).then(|chunk| async {
                tokio::task::yield_now().await;
                chunk
            });
            turn.chat.pipe(PipeSource::chunks(chunks), PipeOptions::new())
        };
        let (one, other) = tokio::join!(biased; slow("1", &["a1", "a2"]), slow("2", &["b1", "b2"]));
        one.and(other)
    });

    run(&session, agent, FakeModel::echo()).await;

    let want = "start start text-start text-start a1 b1 a2 b2 text-end text-end finish finish done(0)";
    assert_eq!(session.story(), want);
}

#[tokio::test(start_paused = true)]
async fn a_captured_answer_is_complete_with_message_and_finish_reason_aa145_a208() {
    // AA-145
    let session = Arc::new(FakeSession::default());
    session.say("a");
    let diary = Diary::default();

    run(&session, capturing(&diary), FakeModel::echo()).await;

    assert_eq!(entries(&diary), ["Complete re a stop -"]);
    assert_eq!(session.saved_texts(), ["a"], "it is the author's to keep");
}

#[tokio::test(start_paused = true)]
async fn captured_chunks_are_a_message_under_the_runtimes_id_aa145_a208_a123() {
    // S-170.
    let session = Arc::new(FakeSession::default());
    session.say("a");
    let agent = agent(|turn| async move {
        let source = PipeSource::chunks(stream::iter(text_chunks("t", &["hi ", "there"])));
        let captured = turn.chat.pipe_and_capture(source, PipeOptions::new()).await;
        assert_eq!(tell(&captured), "Complete hi there stop -");
        turn.chat.history().set(turn.ui_messages.into_iter().chain(captured.message).collect::<Messages>());
        Ok(())
    });

    run(&session, agent, FakeModel::echo()).await;

    assert_eq!(session.saved_texts(), ["a", "hi there"]);
    let id = told(&session, "start")[0]["messageId"].clone();
    assert_eq!(json!(session.saved_ids()[1]), id);
    assert_ne!(id, "theirs");
}

#[tokio::test(start_paused = true)]
async fn a_failure_inside_the_models_stream_is_the_captures_status_and_no_failure_of_the_turn_aa146_a158() {
    // AA-146
    let session = Arc::new(FakeSession::default());
    session.say("a");
    let diary = Diary::default();
    let model = FakeModel::new(|_| {
        let mut said = begins("half");
        said.push(part(StreamPart::Error(ModelError::unavailable("gone"))));
        said
    });

    run(&session, capturing(&diary), model).await;

    assert_eq!(entries(&diary), ["Error half error gone"]);
    assert_eq!(session.story(), "start start-step text-start half error(gone) done(0)");
}

#[tokio::test(start_paused = true)]
async fn an_error_chunk_of_a_source_is_an_error_too_aa146_a208() {
    let session = Arc::new(FakeSession::default());
    session.say("a");
    let agent = agent(|turn| async move {
        let chunks = [UiMessageChunk::text_start("t"), UiMessageChunk::error("sorry")];
        let source = PipeSource::chunks(stream::iter(chunks));
        let captured = turn.chat.pipe_and_capture(source, PipeOptions::new()).await;
        assert_eq!(tell(&captured), "Error  error sorry");
        Ok(())
    });

    run(&session, agent, FakeModel::echo()).await;

    assert_eq!(session.story(), "start text-start error(sorry) done(0)");
}

fn breaking() -> PipeSource {
    let mut chunks: Vec<Result<_, HookError>> = text_chunks("t", &["half"]).into_iter().take(3).map(Ok).collect();
    chunks.push(Err("the cable is out".into()));
    PipeSource::try_chunks(stream::iter(chunks))
}

#[tokio::test(start_paused = true)]
async fn a_source_that_breaks_is_told_to_readers_and_captured_aa146_a208() {
    // S-171.
    let session = Arc::new(FakeSession::default());
    session.say("a");
    let agent = agent(|turn| async move {
        let captured = turn.chat.pipe_and_capture(breaking(), PipeOptions::new()).await;
        assert_eq!(tell(&captured), "Error half error the cable is out");
        Ok(())
    });

    run(&session, agent, FakeModel::echo()).await;

    assert_eq!(session.story(), "start text-start half error(the cable is out) done(0)");
}

#[tokio::test(start_paused = true)]
async fn a_source_that_breaks_fails_an_uncaptured_pipe_and_so_the_turn_a207() {
    let session = Arc::new(FakeSession::default());
    session.say("a");
    let agent = agent(|turn| async move { turn.chat.pipe(breaking(), PipeOptions::new()).await }).on_turn_complete(
        |event| async move {
            assert_eq!(event.error.as_deref(), Some("the cable is out"));
            Ok(())
        },
    );

    run(&session, agent, FakeModel::echo()).await;

    assert_eq!(session.story(), "start text-start half error(the cable is out) done(0)", "readers are told once");
}

/// Stops the turn when so many records are on `out`.
async fn stop_after(session: &FakeSession, n_records: usize) {
    session.until(|state| state.told.len() >= n_records).await;
    session.send(stop());
}

#[tokio::test(start_paused = true)]
async fn a_stop_aborts_the_pipe_and_the_partial_is_captured_aa147_a208() {
    // AA-147
    let session = Arc::new(FakeSession::default());
    session.say("a");
    let diary = Diary::default();
    let model = FakeModel::new(|_| [begins("half"), vec![Said::Silence]].concat());

    let hooked = Diary::default();
    let agent =
        capturing(&diary).on_turn_complete(noted(&hooked, "on_turn_complete", |event: TurnComplete| async move {
            assert!(event.stopped);
            Ok(())
        }));
    tokio::join!(run(&session, agent, model), stop_after(&session, 4));

    assert_eq!(entries(&hooked).len(), 1);
    assert_eq!(entries(&diary), ["Aborted half - -"]);
    assert_eq!(session.story(), "start start-step text-start half abort(stopped) done(1)");
}

#[tokio::test(start_paused = true)]
async fn a_stop_aborts_a_pipe_of_chunks_too_aa147() {
    let session = Arc::new(FakeSession::default());
    session.say("a");
    let agent = agent(|turn| async move {
        let chunks = text_chunks("t", &["half"]).into_iter().take(3);
        let source = PipeSource::chunks(stream::iter(chunks).chain(stream::pending()));
        let captured = turn.chat.pipe_and_capture(source, PipeOptions::new()).await;
        assert_eq!(tell(&captured), "Aborted half - -");
        Ok(())
    });

    tokio::join!(run(&session, agent, FakeModel::echo()), stop_after(&session, 3));

    assert_eq!(session.story(), "start text-start half abort(stopped) done(1)");
}

#[tokio::test(start_paused = true)]
async fn whether_a_pipe_was_aborted_is_the_signals_word_even_if_it_drained_a208() {
    let session = Arc::new(FakeSession::default());
    session.say("a");
    let hooked = Diary::default();
    let agent = agent(|turn| async move {
        let (signal, late) = (Signal::new(), Signal::new());
        signal.set("enough");
        // The last chunk sets the signal that nobody waits for any more.
        let setting = late.clone();
        let chunks = text_chunks("t", &["whole"]).into_iter();
        let drained = PipeSource::chunks(stream::iter(chunks).inspect(move |chunk| {
            if chunk.is_terminal() {
                setting.set("late");
            }
        }));
        let drained = turn.chat.pipe_and_capture(drained, PipeOptions::new().signal(late)).await;
        let unheard = turn.chat.pipe_and_capture(turn.stream_text(), PipeOptions::new().signal(signal)).await;
        assert_eq!([tell(&drained), tell(&unheard)], ["Aborted whole - -", "Aborted - - -"]);
        Ok(())
    })
    .on_turn_complete(noted(&hooked, "on_turn_complete", |event: TurnComplete| async move {
        assert!(!event.stopped, "the turn itself was not");
        Ok(())
    }));

    run(&session, agent, FakeModel::echo()).await;

    assert_eq!(entries(&hooked).len(), 1);
    assert_eq!(session.story(), "start text-start whole text-end finish start start-step abort(enough) done(0)");
}

#[tokio::test(start_paused = true)]
async fn a_piped_answer_goes_on_with_the_message_whose_calls_were_answered_a205_a208() {
    let session = Arc::new(FakeSession::default());
    session.say("a");
    let ask = Tool::answered_by_client("ask", "", json!({}));
    let agent = Agent::new("test", move |turn: TurnInput| {
        let ask = ask.clone();
        async move {
            if turn.turn == 0 {
                return Ok(crate::Answer::from(turn.stream_text().tools([ask])));
            }
            let captured = turn.chat.pipe_and_capture(turn.stream_text(), PipeOptions::new()).await;
            let message = captured.message.unwrap();
            assert_eq!((message.id.as_str(), message.text()), (turn.ui_messages[1].id.as_str(), "re a".to_owned()));
            assert!(message.tool_part("c").is_some(), "the call is still there");
            let alone = PipeOptions::new().original_messages(Vec::new());
            let alone = turn.chat.pipe_and_capture(turn.stream_text(), alone).await.message.unwrap();
            assert!(alone.id != message.id && alone.tool_part("c").is_none());
            Ok(crate::Answer::Nothing)
        }
    });
    let model =
        FakeModel::new(|prompt| if prompt.messages.len() == 1 { calls("c", "ask", json!({})) } else { says("re a") });
    let talk = async {
        session.until_turns(1).await;
        let id = session.state().snapshot.as_ref().unwrap().messages[1].id.clone();
        let answer = json!({ "type": "tool-ask", "toolCallId": "c", "state": "output-available", "output": 1 });
        let answer = serde_json::from_value(json!({ "id": id, "role": "assistant", "parts": [answer] }));
        session.send(submit(answer.unwrap()));
    };

    tokio::join!(run(&session, agent, model), talk);

    assert_eq!(session.state().boundaries().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn an_action_piped_by_hand_has_no_other_answer_a160_a207() {
    let session = Arc::new(FakeSession::default());
    session.send(action(json!("go")));
    let agent = talker().on_action(|action: Action| async move {
        let chunks = PipeSource::chunks(stream::iter(text_chunks("t", &["by hand"])));
        action.chat.pipe(chunks, PipeOptions::new()).await?;
        Ok(action.stream_text().messages(vec![ModelMessage::user("x")]))
    });

    run(&session, agent, FakeModel::echo()).await;

    assert_eq!(session.story(), "start text-start by hand text-end finish done(0)");
    assert_eq!(session.state().snapshot, None);
}

#[tokio::test(start_paused = true)]
async fn what_only_the_model_was_told_during_a_pipe_is_told_again_a138_a207() {
    let session = Arc::new(FakeSession::default());
    session.say("a");
    session.say("b");
    let diary = Diary::default();
    let noted = diary.clone();
    let model = FakeModel::new(move |prompt| {
        let texts: Vec<_> = prompt.messages.iter().map(ModelMessage::text).collect();
        noted.lock().unwrap().push(texts.join("|"));
        if prompt.step == 0 && texts.len() == 1 { calls("c", "t", json!({})) } else { says("r") }
    });
    let tool = Tool::new("t", "", json!({}), |_, ctx| async move {
        ctx.chat.inject([ModelMessage::user("note")])?;
        Ok(json!(1))
    });
    let agent = agent(move |turn| {
        let stream = turn.stream_text().tools([tool.clone()]).stop_when(step_count_is(5));
        async move { turn.chat.pipe(stream, PipeOptions::new()).await }
    });

    run(&session, agent, model).await;

    assert_eq!(entries(&diary), ["a", "a|||note", "a|note|b"]);
}

#[tokio::test(start_paused = true)]
async fn a_tool_that_ran_in_a_pipe_is_nobody_elses_to_answer_a203() {
    let session = Arc::new(FakeSession::default());
    session.say("a");
    let tool = Tool::new("t", "", json!({}), |_, _| async { Ok(json!("ours")) });
    let agent = agent(move |turn| {
        let stream = turn.stream_text().tools([tool.clone()]);
        async move {
            turn.chat.pipe(stream, PipeOptions::new()).await?;
            // The author keeps the call without its result, as one might by mistake.
            let call = json!({ "type": "tool-t", "toolCallId": "c", "state": "input-available", "input": {} });
            let call = serde_json::from_value(json!({ "id": "a1", "role": "assistant", "parts": [call] }))?;
            if turn.turn == 0 {
                turn.chat.history().set(vec![turn.ui_messages[0].clone(), call]);
            }
            Ok(())
        }
    });
    let talk = async {
        session.until_turns(1).await;
        let forged = json!({ "type": "tool-t", "toolCallId": "c", "state": "output-available", "output": "forged" });
        let forged = serde_json::from_value(json!({ "id": "a1", "role": "assistant", "parts": [forged] }));
        session.send(submit(forged.unwrap()));
    };

    tokio::join!(run(&session, agent, FakeModel::new(|_| calls("c", "t", json!({})))), talk);

    let warnings = session.state().warnings.clone();
    assert!(warnings.iter().any(|warning| warning.contains("was not taken over")), "{warnings:?}");
}

#[tokio::test(start_paused = true)]
async fn memory_that_ran_out_is_the_callers_to_pass_on_a151_a208() {
    let session = Arc::new(FakeSession::default());
    session.say("a");
    let tool = Tool::new("t", "", json!({}), |_, _| async { Err(OutOfMemory.into()) });
    let agent = agent(move |turn| {
        let stream = turn.stream_text().tools([tool.clone()]);
        async move {
            let captured = turn.chat.pipe_and_capture(stream, PipeOptions::new()).await;
            captured.error.map_or(Ok(()), Err)
        }
    });

    let lease = lease(&session, 1, json!({ "trigger": "preload" }));
    let result = serve(&session, agent, FakeModel::new(|_| calls("c", "t", json!({}))), lease).await;

    assert_eq!(result, Err(Error::OutOfMemory));
    assert!(!session.story().contains("error"), "{}", session.story());
}

#[tokio::test(start_paused = true)]
async fn merged_chunks_are_streamed_and_no_message_keeps_them_a188() {
    // S-171.
    let session = Arc::new(FakeSession::default());
    session.say("a");
    let agent = talker().on_turn_start(|event| async move {
        let chunks = |name: &'static str| {
            stream::iter([1, 2]).then(move |n| async move {
                tokio::task::yield_now().await;
                UiMessageChunk::data(name, None, json!(n))
            })
        };
        let (one, other) = tokio::join!(biased; event.writer.merge(chunks("x")), event.writer.merge(chunks("y")));
        one.and(other)?;
        Ok(())
    });

    run(&session, agent, FakeModel::echo()).await;

    let want = "data-x data-y data-x data-y start start-step text-start re a text-end finish-step finish done(0)";
    assert_eq!(session.story(), want);
    let state = session.state();
    let kept = state.snapshot.as_ref().unwrap().messages.iter().flat_map(|message| &message.parts);
    assert_eq!(kept.filter(|part| part.as_data().is_some()).count(), 0);
}

#[tokio::test(start_paused = true)]
async fn parts_that_boot_hooks_write_are_in_the_next_answer_a189_a188() {
    let session = Arc::new(FakeSession::default());
    session.say("a");
    let agent = talker().on_boot(|event| async move {
        event.chat.writer().write(UiMessageChunk::data("plan", None, json!(1))).await?;
        Ok(())
    });

    run(&session, agent, FakeModel::echo()).await;

    assert!(session.story().starts_with("data-plan start "), "{}", session.story());
    let state = session.state();
    let kinds: Vec<_> = state.snapshot.as_ref().unwrap().messages[1].parts.iter().map(|part| part.kind()).collect();
    assert_eq!(kinds, ["step-start", "text", "data-plan"]);
}

#[tokio::test(start_paused = true)]
async fn a_chat_without_a_run_has_nothing_to_pipe_into() {
    let chat = tool_context().chat;

    let refused = chat.pipe(breaking(), PipeOptions::new()).await.unwrap_err();

    assert_eq!(refused.to_string(), "this chat has no run to pipe into");
}

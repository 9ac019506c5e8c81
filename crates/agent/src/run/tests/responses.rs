//! What of an answer is kept, and under which id (A-124, A-137, A-139, A-142… ).

use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;
use turnkeep_model::{FinishReason, ModelError, StreamPart};
use turnkeep_protocol::{ChatInputChunk, ChatSnapshot, Messages, UiMessage};

use crate::testing::*;
use crate::{Agent, Tool, TurnComplete, TurnInput, step_count_is};

async fn run(session: &Arc<FakeSession>, agent: Agent, model: Arc<FakeModel>) {
    let lease = lease(session, 1, json!({ "trigger": "preload" }));
    serve(session, agent, model, lease).await.expect("the run ends well");
}

/// A continuation whose snapshot ends with a message that asks the person.
fn asked() -> Arc<FakeSession> {
    let session = Arc::new(FakeSession::default());
    let messages = json!([
        { "id": "u1", "role": "user", "parts": [{ "type": "text", "text": "hi" }] },
        { "id": "a1", "role": "assistant", "parts": [
            { "type": "text", "text": "well" },
            { "type": "tool-ask", "toolCallId": "c1", "state": "input-available", "input": { "q": 1 } },
        ] },
    ]);
    session.state().snapshot =
        Some(ChatSnapshot::new(0, serde_json::from_value::<Messages>(messages).unwrap(), None, None));
    session
}

async fn continue_run(session: &Arc<FakeSession>, agent: Agent, model: Arc<FakeModel>) {
    let lease = lease(session, 1, json!({ "continuation": true, "previousRunId": "run_0" }));
    serve(session, agent, model, lease).await.expect("the run ends well");
}

fn asker() -> Agent {
    Agent::new("test", |turn: TurnInput| async move {
        let ask = Tool::answered_by_client("ask", "", json!({}));
        Ok(turn.stream_text().tools([ask]).stop_when(step_count_is(9)))
    })
    .idle_timeout(Duration::from_secs(5))
}

fn slim_answer(state: &str, extra: Value) -> ChatInputChunk {
    let mut part = json!({ "type": "tool-ask", "toolCallId": "c1", "state": state });
    part.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
    submit(serde_json::from_value(json!({ "id": "a1", "role": "assistant", "parts": [part] })).unwrap())
}

fn texts(messages: &[UiMessage]) -> Vec<String> {
    messages.iter().map(UiMessage::text).collect()
}

#[tokio::test(start_paused = true)]
async fn what_a_turn_added_is_its_question_if_new_and_its_answer_a137_a205() {
    let session = asked();
    session.send(slim_answer("output-available", json!({ "output": 2 })));
    session.send(regenerate());
    session.say("more");
    let added = Arc::new(Mutex::new(Vec::new()));
    let own = added.clone();
    let agent = asker().on_turn_complete(move |event: TurnComplete| {
        own.lock().unwrap().push((texts(&event.new_ui_messages), event.new_messages.len()));
        async { Ok(()) }
    });
    let model = FakeModel::new(|prompt| says(&format!("{}", prompt.messages.len())));

    continue_run(&session, agent, model).await;

    let told = |texts: &[&str], n_messages: usize| (texts.iter().map(|text| (*text).to_owned()).collect(), n_messages);
    // The tool's turn goes on with the message that asked; regenerate answers anew; the question and its answer.
    let want: [(Vec<String>, usize); 3] = [told(&["well3"], 3), told(&["1"], 1), told(&["more", "3"], 2)];
    assert_eq!(*added.lock().unwrap(), want);
}

#[tokio::test(start_paused = true)]
async fn a_slim_answer_keeps_the_input_that_the_snapshot_has_aa22_ar28() {
    let session = asked();
    session.send(slim_answer("output-available", json!({ "output": 2 })));

    continue_run(&session, asker(), FakeModel::new(|_| says("thanks"))).await;

    let state = session.state();
    let message = &state.snapshot.as_ref().unwrap().messages[1];
    let call = message.tool_part("c1").unwrap();
    assert_eq!((call.input.clone(), call.output.clone()), (Some(json!({ "q": 1 })), Some(json!(2))));
    assert_eq!(message.text(), "wellthanks");
}

#[tokio::test(start_paused = true)]
async fn new_results_are_found_in_a_streamed_chat_and_through_the_merge_aa42_aa43_a179() {
    let session = Arc::new(FakeSession::default());
    session.say("hi");
    let model = FakeModel::new(|prompt| match prompt.messages.last().unwrap().role.as_str() {
        "user" => calls("c1", "ask", json!({ "q": 1 })),
        _ => says("pity"),
    });
    let found = Arc::new(Mutex::new(Vec::new()));
    let (before, after) = (found.clone(), found.clone());
    let agent = asker()
        .on_validate_messages(move |event| {
            let results = event.chat.history().extract_new_tool_results(&event.messages[0]);
            before.lock().unwrap().extend(results.into_iter().map(|result| (result.tool_call_id, result.error_text)));
            async move { Ok(event.messages) }
        })
        .on_turn_complete(move |event| {
            let resolved = event.chat.history().resolved_tool_calls().len();
            after.lock().unwrap().push((format!("{resolved} resolved"), None));
            async { Ok(()) }
        });
    let talk = async {
        session.until(|state| state.snapshot.is_some()).await;
        let asked = session.saved_ids()[1].clone();
        let part = json!({ "type": "tool-ask", "toolCallId": "c1", "state": "output-error", "errorText": "no idea" });
        session.send(submit(
            serde_json::from_value(json!({ "id": asked, "role": "assistant", "parts": [part] })).unwrap(),
        ));
        session.until_turns(2).await;
    };

    tokio::join!(run(&session, agent, model), talk);

    let note = |text: &str| (text.to_owned(), None);
    let error = ("c1".to_owned(), Some("no idea".to_owned()));
    assert_eq!(*found.lock().unwrap(), [note("0 resolved"), error, note("1 resolved")]);
}

#[tokio::test(start_paused = true)]
async fn messages_without_an_id_get_one_and_no_two_share_one_a139() {
    let session = Arc::new(FakeSession::default());
    session.send(submit(UiMessage::user("", "a")));
    session.send(submit(UiMessage::user("", "a")));

    run(&session, talker(), FakeModel::echo()).await;

    let ids = session.saved_ids();
    assert_eq!(session.saved_texts(), ["a", "re a", "a", "re a"]);
    assert!(ids.iter().all(|id| !id.is_empty()));
    assert_eq!(ids.iter().collect::<std::collections::BTreeSet<_>>().len(), 4);
}

#[tokio::test(start_paused = true)]
async fn a_stop_ends_the_turn_at_once_with_what_was_said_ar17_a101_a124_a142_a144() {
    for (sent, heard) in [(None, "stopped"), (Some("enough"), "enough")] {
        let session = Arc::new(FakeSession::default());
        session.say("long");
        let completed = Arc::new(Mutex::new(0));
        let own = completed.clone();
        let agent = talker().on_turn_complete(move |event: TurnComplete| {
            *own.lock().unwrap() += 1;
            assert_eq!((event.stopped, event.finish_reason, event.usage), (true, None, None));
            assert_eq!(texts(&event.new_ui_messages), ["long", "Once"]);
            async { Ok(()) }
        });
        // The provider never says what the answer has cost.
        let model = FakeModel::new(|_| [begins("Once"), vec![Said::Silence]].concat());
        let talk = async {
            session.until(|state| state.told.len() == 4).await;
            let stopped_at = Instant::now();
            session.send(ChatInputChunk::Stop { message: sent.map(str::to_owned) });
            session.until_turns(1).await;
            stopped_at.elapsed()
        };

        let ((), took) = tokio::join!(run(&session, agent, model), talk);

        assert!(took < Duration::from_millis(100), "{took:?}");
        assert_eq!(session.story(), format!("start start-step text-start Once abort({heard}) done(1)"));
        assert_eq!(*completed.lock().unwrap(), 1, "the answer is captured once");
    }
}

#[tokio::test(start_paused = true)]
async fn a_stop_after_the_stream_has_ended_stops_nothing_a85_a27_ar12() {
    for fails in [false, true] {
        let session = Arc::new(FakeSession::default());
        session.say("a");
        session.say("b");
        let sender = session.clone();
        let hooked = Diary::default();
        let agent = talker()
            .on_before_turn_complete(move |event| {
                let session = sender.clone();
                async move {
                    if event.turn == 0 {
                        session.send(stop());
                        tokio::time::sleep(Duration::from_millis(1)).await;
                    }
                    if fails && event.turn == 0 { Err("no".into()) } else { Ok(()) }
                }
            })
            .on_turn_complete(noted(&hooked, "on_turn_complete", |event: TurnComplete| async move {
                assert!(!event.stopped);
                Ok(())
            }));

        run(&session, agent, FakeModel::echo()).await;

        assert_eq!(entries(&hooked).len(), 2);
        assert!(!session.story().contains("abort"), "{}", session.story());
        assert_eq!(session.saved_texts(), ["a", "re a", "b", "re b"]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_continued_message_that_fails_keeps_what_it_had_aa32_ar23_a153() {
    let session = asked();
    session.send(slim_answer("output-available", json!({ "output": 2 })));
    let model = FakeModel::new(|_| {
        [begins("half"), vec![part(StreamPart::Error(ModelError::unavailable("overloaded")))]].concat()
    });

    continue_run(&session, asker(), model).await;

    assert_eq!(session.saved_texts(), ["hi", "wellhalf"]);
    let state = session.state();
    let call = state.snapshot.as_ref().unwrap().messages[1].tool_part("c1").unwrap();
    assert_eq!((call.input.clone(), call.output.clone()), (Some(json!({ "q": 1 })), Some(json!(2))));
}

#[tokio::test(start_paused = true)]
async fn a_failed_answer_loses_its_dangling_calls_and_keeps_its_text_aa33_a153() {
    let session = Arc::new(FakeSession::default());
    session.say("hi");
    let model = FakeModel::new(|_| {
        let call = part(StreamPart::tool_call("c1", "ask", json!({})));
        let error = part(StreamPart::Error(ModelError::unavailable("overloaded")));
        [begins("Let me ask"), vec![call, error]].concat()
    });
    let hooked = Diary::default();
    let agent = asker().on_turn_complete(noted(&hooked, "on_turn_complete", |event: TurnComplete| async move {
        let kinds: Vec<_> = event.response_message.unwrap().parts.iter().map(|part| part.kind().into_owned()).collect();
        assert_eq!(kinds, ["step-start", "text"]);
        Ok(())
    }));

    run(&session, agent, model).await;

    assert_eq!(entries(&hooked).len(), 1);
    assert_eq!(session.saved_texts(), ["hi", "Let me ask"]);
}

#[tokio::test(start_paused = true)]
async fn a_turn_that_waits_for_the_person_is_complete_and_says_so_a288_a117() {
    let session = Arc::new(FakeSession::default());
    session.say("hi");
    let model = FakeModel::new(|_| [begins("One question"), calls("c1", "ask", json!({}))].concat());
    let hooked = Diary::default();
    let agent = asker().on_turn_complete(noted(&hooked, "on_turn_complete", |event: TurnComplete| async move {
        assert_eq!(event.finish_reason, Some(FinishReason::ToolCalls));
        assert_eq!(event.chat.history().pending_tool_calls().len(), 1);
        Ok(())
    }));

    run(&session, agent, model).await;

    assert_eq!(entries(&hooked).len(), 1);
    assert!(session.story().ends_with("finish done(0)"), "{}", session.story());
    assert_eq!(session.state().waits.len(), 1, "the run idles and suspends like after any turn");
}

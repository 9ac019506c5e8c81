//! What the hooks and `run` of a turn are told (A-94, A-95, A-98, A-107, A-109, A-154).

use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use turnkeep_protocol::{Trigger, UiMessage, UiPart};

use crate::testing::*;
use crate::{Agent, Error, TurnComplete, TurnInput};

async fn run(session: &Arc<FakeSession>, agent: Agent, payload: Value) -> Result<(), Error> {
    let lease = lease(session, 1, payload);
    serve(session, agent, FakeModel::echo(), lease).await
}

/// An agent that parses client data and counts the events of one hook.
fn knowing() -> Agent {
    talker().client_data(|raw| Ok(json!({ "parsed": raw })))
}

fn texts<'m>(messages: impl IntoIterator<Item = &'m UiMessage>) -> Vec<String> {
    messages.into_iter().map(UiMessage::text).collect()
}

#[tokio::test(start_paused = true)]
async fn chat_start_is_told_of_the_chat_before_its_first_answer_a94() {
    let session = Arc::new(FakeSession::default());
    session.say("a");
    session.say("b");
    let n_started = Arc::new(Mutex::new(0));
    let own = n_started.clone();
    let agent = knowing().on_chat_start(move |event| {
        *own.lock().unwrap() += 1;
        assert_eq!((event.chat.id(), event.ctx.run_id.as_str(), event.messages.len()), ("chat", "run_1", 1));
        assert_eq!((event.client_data, event.chat_access_token.as_str()), (json!({ "parsed": null }), "token"));
        assert_eq!((event.continuation, event.previous_run_id, event.preloaded), (false, None, true));
        async { Ok(()) }
    });

    run(&session, agent, json!({ "trigger": "preload" })).await.unwrap();

    assert_eq!(*n_started.lock().unwrap(), 1);
}

#[tokio::test(start_paused = true)]
async fn turn_start_and_run_are_told_of_the_turn_a95_a98() {
    let session = Arc::new(FakeSession::default());
    session.say("a");
    session.send(regenerate());
    let seen = Arc::new(Mutex::new(Vec::new()));
    let (starts, runs) = (seen.clone(), seen.clone());
    let agent = Agent::new("test", move |turn: TurnInput| {
        assert_eq!((turn.chat.id(), turn.ctx.attempt, &turn.client_data), ("chat", 1, &json!({ "parsed": null })));
        assert_eq!((turn.continuation, turn.previous_run_id.as_deref(), turn.preloaded), (true, Some("run_0"), false));
        assert_eq!(
            (turn.previous_turn_usage.is_some(), turn.total_usage.total_tokens),
            (turn.turn == 1, [None, Some(3)][turn.turn])
        );
        assert_eq!((turn.tools.len(), turn.stop_signal.is_set()), (0, false));
        let told = (turn.turn, turn.trigger, texts(&turn.ui_messages), turn.messages.len());
        runs.lock().unwrap().push(told);
        async move { Ok(turn.stream_text()) }
    })
    .client_data(|raw| Ok(json!({ "parsed": raw })))
    .on_turn_start(move |event| {
        assert_eq!((event.chat.id(), event.ctx.attempt, &event.client_data), ("chat", 1, &json!({ "parsed": null })));
        assert_eq!(
            (event.continuation, event.previous_run_id.as_deref(), event.preloaded),
            (true, Some("run_0"), false)
        );
        assert_eq!((event.previous_turn_usage.is_some(), event.chat_access_token.as_str()), (event.turn == 1, "token"));
        let trigger = if event.turn == 0 { Trigger::SubmitMessage } else { Trigger::RegenerateMessage };
        starts.lock().unwrap().push((event.turn, trigger, texts(&event.ui_messages), event.messages.len()));
        async { Ok(()) }
    })
    .idle_timeout(Duration::from_secs(5));

    run(&session, agent, json!({ "continuation": true, "previousRunId": "run_0" })).await.unwrap();

    let first = (0, Trigger::SubmitMessage, vec!["a".to_owned()], 1);
    let second = (1, Trigger::RegenerateMessage, vec!["a".to_owned()], 1);
    assert_eq!(*seen.lock().unwrap(), [first.clone(), first, second.clone(), second]);
}

#[tokio::test(start_paused = true)]
async fn the_completion_is_awaited_behind_the_boundary_and_its_override_is_stored_a107_a109_ar19() {
    let session = Arc::new(FakeSession::default());
    session.say("a");
    let seen = session.clone();
    let agent = knowing().on_turn_complete(move |event: TurnComplete| {
        let session = seen.clone();
        async move {
            assert_eq!(session.state().boundaries().len(), 1, "the boundary is durable");
            assert_eq!(event.last_event_id.map(|id| id.get()), Some(session.state().next_out - 1));
            assert_eq!((event.client_data.clone(), event.stopped), (json!({ "parsed": null }), false));
            tokio::time::sleep(Duration::from_secs(5)).await;
            assert_eq!(session.saved_texts(), [""; 0], "the snapshot waits for the hook");
            let mut messages = event.ui_messages;
            messages[1].parts.push(UiPart::text("!"));
            event.chat.history().set(messages);
            Ok(())
        }
    });

    run(&session, agent, json!({})).await.unwrap();

    assert_eq!(session.saved_texts(), ["a", "re a!"]);
}

#[tokio::test(start_paused = true)]
async fn a_failed_turn_is_told_complete_with_what_there_is_a154_a153_a155() {
    let session = Arc::new(FakeSession::default());
    session.say("a");
    let n_told = Arc::new(Mutex::new(0));
    let own = n_told.clone();
    let agent = knowing()
        .on_before_turn_complete(|_| async { panic!("a failed turn has no before") })
        .on_turn_complete(move |event: TurnComplete| {
            *own.lock().unwrap() += 1;
            assert_eq!((event.error.as_deref(), event.stopped), (Some("no"), false));
            assert_eq!(event.finish_reason.map(|reason| reason.as_str().to_owned()).as_deref(), Some("error"));
            assert_eq!((event.chat_access_token.as_str(), event.client_data), ("", Value::Null));
            assert_eq!((event.usage, event.response_message.is_some()), (None, true));
            assert_eq!(event.response_message, event.raw_response_message);
            assert_eq!(texts(&event.new_ui_messages), ["a", ""]);
            // Its own throw is swallowed.
            async { Err("again no".into()) }
        });
    let agent = agent.on_turn_start(|event| async move {
        event.writer.write(turnkeep_protocol::UiMessageChunk::data("note", None, json!(1))).await?;
        Err("no".into())
    });

    run(&session, agent, json!({})).await.unwrap();

    assert_eq!((session.story().as_str(), *n_told.lock().unwrap()), ("data-note start error(no) done(0)", 1));
    assert_eq!(session.saved_ids().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn what_the_last_hook_rewrites_stays_rewritten_beside_its_data_parts_a104_a180() {
    for removes in [false, true] {
        let session = Arc::new(FakeSession::default());
        session.say("a");
        let told = Diary::default();
        let tells = told.clone();
        let agent = knowing()
            .on_before_turn_complete(move |event| async move {
                let answer = event.complete.response_message.unwrap();
                let history = event.complete.chat.history();
                if removes {
                    history.remove(&answer.id);
                } else {
                    history.replace(&answer.id, UiMessage { parts: vec![UiPart::text("***")], ..answer.clone() });
                }
                event.writer.write(turnkeep_protocol::UiMessageChunk::data("note", None, json!(1))).await?;
                Ok(())
            })
            .on_turn_complete(move |event: TurnComplete| {
                let n_parts = event.response_message.map(|message| message.parts.len());
                note(&tells, format!("{:?} {n_parts:?}", texts(&event.new_ui_messages)));
                async { Ok(()) }
            });

        run(&session, agent, json!({})).await.unwrap();

        assert_eq!(entries(&told), [if removes { r#"["a", ""] Some(1)"# } else { r#"["a", "***"] Some(2)"# }]);
        assert_eq!(session.saved_texts(), if removes { ["a", ""] } else { ["a", "***"] });
    }
}

#[tokio::test(start_paused = true)]
async fn an_error_that_no_record_can_hold_is_cut_and_told_a152() {
    let session = Arc::new(FakeSession::default());
    session.say("a");
    let agent = knowing().on_turn_start(|_| async { Err("no".repeat(1 << 20).into()) });

    run(&session, agent, json!({})).await.unwrap();

    let told = format!("error({}) done(0)", "no".repeat(500));
    assert!(session.story().ends_with(&told), "{}", session.story().chars().take(200).collect::<String>());
}

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use turnkeep_model::{ModelError, StreamPart};
use turnkeep_protocol::{ChatSnapshot, Messages, SeqNum, UiMessage, UiMessageChunk};

use crate::testing::*;
use crate::{Action, Agent, HookError, TurnComplete, TurnInput};

async fn run(session: &Arc<FakeSession>, agent: Agent, model: Arc<FakeModel>) {
    let lease = lease(session, 1, json!({ "trigger": "preload" }));
    serve(session, agent, model, lease).await.expect("the run ends well");
}

/// An agent that has no business with turns.
fn no_turns() -> Agent {
    Agent::new("test", |_: TurnInput| async { Err::<(), HookError>("an action is no turn".into()) })
        .on_validate_messages(|_| async { panic!("an action is no turn") })
        .on_chat_start(|_| async { panic!("an action is no turn") })
        .on_turn_start(|_| async { panic!("an action is no turn") })
        .prepare_messages(|_| async { panic!("an action is no turn") })
        .on_before_turn_complete(|_| async { panic!("an action is no turn") })
        .on_turn_complete(|_| async { panic!("an action is no turn") })
        .idle_timeout(std::time::Duration::from_secs(5))
}

/// A session with one settled turn before the actions.
fn after_one_turn() -> Arc<FakeSession> {
    let session = Arc::new(FakeSession::default());
    let messages = serde_json::from_value::<Messages>(json!([
        { "id": "u0", "role": "user", "parts": [{ "type": "text", "text": "hi" }] },
        { "id": "a0", "role": "assistant", "parts": [{ "type": "text", "text": "hello" }] },
    ]));
    session.state().snapshot = Some(ChatSnapshot::new(0, messages.unwrap(), None, None));
    session
}

async fn continue_run(session: &Arc<FakeSession>, agent: Agent, model: Arc<FakeModel>) {
    let lease = lease(session, 1, json!({ "continuation": true, "previousRunId": "run_0" }));
    serve(session, agent, model, lease).await.expect("the run ends well");
}

#[tokio::test(start_paused = true)]
async fn an_action_is_parsed_and_reaches_its_hook_and_no_other_aa23_aa24_a159_a160() {
    let session = after_one_turn();
    session.send(action(json!({ "type": "undo" })));
    let seen = Arc::new(Mutex::new(None));
    let own = seen.clone();
    let agent = no_turns()
        .client_data(|_| Ok(json!("who")))
        .action_schema(|raw| Ok(json!({ "parsed": raw["type"] })))
        .on_action(move |event: Action| {
            assert_eq!((event.chat.id(), event.turn, &event.client_data), ("chat", 0, &json!("who")));
            assert_eq!((event.ui_messages.len(), event.messages.len()), (2, 2));
            assert_eq!((event.ctx.attempt, event.signal.is_set()), (1, false));
            *own.lock().unwrap() = Some(event.action);
            async { Ok(()) }
        });
    let model = FakeModel::new(|_| panic!("a void action asks no model"));

    continue_run(&session, agent, model).await;

    assert_eq!(*seen.lock().unwrap(), Some(json!({ "parsed": "undo" })));
    assert_eq!(session.story(), "done(0)");
    // No token for an action, and no snapshot when nothing has changed (D-43).
    let state = session.state();
    let is_token = |header: &turnkeep_protocol::Header| header.0 == "public-access-token";
    assert!(!state.told.iter().any(|record| record.headers.iter().any(is_token)));
    assert_eq!(state.snapshot.as_ref().unwrap().last_out_event_id, None);
}

#[tokio::test(start_paused = true)]
async fn an_action_may_rewrite_the_history_which_is_then_stored_a160_a162_a180_d43() {
    let session = after_one_turn();
    session.send(action(json!("undo")));
    session.say("again");
    let agent = talker().on_action(|event: Action| async move {
        event.chat.history().set(vec![]);
        // The event keeps the view before, the history is live.
        assert_eq!((event.ui_messages.len(), event.chat.history().all().len()), (2, 0));
        Ok(())
    });
    let talk = async {
        session.until_turns(1).await;
        session.until(|state| state.snapshot.as_ref().is_some_and(|snapshot| snapshot.messages.is_empty())).await;
    };

    tokio::join!(continue_run(&session, agent, FakeModel::echo()), talk);

    assert_eq!(session.saved_texts(), ["again", "re again"]);
}

#[tokio::test(start_paused = true)]
async fn a_streamed_answer_is_piped_under_a_fresh_id_and_kept_without_turn_hooks_aa25_a160_a161_af6() {
    let session = after_one_turn();
    session.send(action(json!("go on")));
    let agent = no_turns().on_action(|event: Action| async move { Ok(event.stream_text()) });
    let model = FakeModel::new(|prompt| says(&format!("{} messages", prompt.messages.len())));

    continue_run(&session, agent, model).await;

    assert_eq!(session.story(), "start start-step text-start 2 messages text-end finish-step finish done(0)");
    // The answer is a message of its own, not the last one's continuation.
    assert_eq!(session.saved_texts(), ["hi", "hello", "2 messages"]);
    assert_eq!(session.state().snapshot.as_ref().unwrap().last_in_event_id, Some(SeqNum::ZERO));
}

#[tokio::test(start_paused = true)]
async fn a_streamed_answer_is_to_the_history_as_the_hook_leaves_it_a160() {
    for chooses in [false, true] {
        let session = after_one_turn();
        session.send(action(json!("edit")));
        let agent = no_turns().on_action(move |event: Action| async move {
            event.chat.history().slice(0, Some(1));
            let stream = event.stream_text();
            Ok(if chooses { stream.messages(vec![]) } else { stream })
        });
        let model = FakeModel::new(|prompt| says(&format!("{} messages", prompt.messages.len())));

        continue_run(&session, agent, model).await;

        let want = if chooses { "0 messages" } else { "1 messages" };
        assert_eq!(session.saved_texts(), ["hi", want]);
    }
}

#[tokio::test(start_paused = true)]
async fn texts_and_messages_are_told_and_kept_a161() {
    let session = after_one_turn();
    for kind in ["text", "message", "known id", "empty text", "empty message"] {
        session.send(action(json!(kind)));
    }
    let agent = no_turns().on_action(|event: Action| async move {
        let message = |id: &str, text: &str| UiMessage::assistant(id, vec![turnkeep_protocol::UiPart::text(text)]);
        Ok(match event.action.as_str().unwrap() {
            "text" => "done".into(),
            "message" => message("own", "mine").into(),
            "known id" => message("a0", "another").into(),
            "empty text" => String::new().into(),
            _ => crate::ActionAnswer::from(UiMessage::assistant("x", vec![])),
        })
    });

    continue_run(&session, agent, FakeModel::echo()).await;

    let want = "start text-start done text-end finish done(0) start text-start mine text-end finish done(1) \
                start text-start another text-end finish done(2) done(3) done(4)";
    assert_eq!(session.story(), want);
    assert_eq!(session.saved_texts(), ["hi", "hello", "done", "mine", "another"]);
    let ids = session.saved_ids();
    assert_eq!((ids[3].as_str(), ids[4] == "a0"), ("own", false));
}

#[tokio::test(start_paused = true)]
async fn an_agent_without_the_hook_warns_once_and_closes_every_action_aa26_a161() {
    let session = Arc::new(FakeSession::default());
    session.send(action(json!(1)));
    session.send(action(json!(2)));
    let agent = no_turns();

    run(&session, agent.clone(), FakeModel::echo()).await;
    session.send(action(json!(3)));
    continue_run(&session, agent, FakeModel::echo()).await;

    assert_eq!(session.story(), "done(0) done(1) done(2)");
    assert_eq!(session.state().warnings, ["an action came, and the agent has no on_action"]);
    assert_eq!(session.state().snapshot, None);
}

#[tokio::test(start_paused = true)]
async fn a_failing_action_tells_an_error_and_nothing_else_happens_a162_af6_d43_ar27() {
    let session = after_one_turn();
    for kind in ["bad schema", "throws", "too large"] {
        session.send(action(json!(kind)));
    }
    session.say("and?");
    let hooked = Diary::default();
    let agent = talker()
        .max_turns(1)
        .action_schema(|raw| if raw == "bad schema" { Err("no such action".into()) } else { Ok(raw) })
        .on_action(|event: Action| async move {
            event.chat.history().set(vec![]);
            if event.action == "throws" { Err("no".into()) } else { Ok("x".repeat(1_100_000)) }
        })
        .on_turn_complete(noted(&hooked, "on_turn_complete", |event: TurnComplete| async move {
            let answer = event.response_message.map(|message| message.text());
            assert_eq!(answer.as_deref(), Some("re and?"), "an action is no turn");
            Ok(())
        }));

    continue_run(&session, agent, FakeModel::echo()).await;

    assert_eq!(entries(&hooked).len(), 1);
    let story = session.story();
    assert!(story.starts_with("error(no such action) done(0) error(no) done(1) start text-start error("), "{story}");
    // The failed hook's override is gone, the turns are not counted, and the loop goes on.
    assert!(story.ends_with("re and? text-end finish-step finish done(3)"), "{story}");
    assert_eq!(session.saved_texts().last().unwrap(), "re and?");
}

#[tokio::test(start_paused = true)]
async fn an_override_of_a_failed_or_stopped_action_is_of_no_later_hook_a157_a162_a182_ar27() {
    for waits in [false, true] {
        let session = after_one_turn();
        session.send(action(json!("throws")));
        let agent = talker()
            .on_action(move |event: Action| async move {
                event.chat.history().set(vec![]);
                if waits {
                    event.writer.stream(&UiMessageChunk::transient_data("waiting", json!(1))).await?;
                    event.signal.wait().await;
                }
                Err::<(), HookError>("no".into())
            })
            .on_chat_suspend(|_| async { Ok(()) });
        let talk = async {
            if waits {
                session.until(|state| state.told.len() == 1).await;
                session.send(stop());
            }
            session.until(|state| state.waits.len() == 1).await;
            session.say("and?");
        };

        tokio::join!(continue_run(&session, agent, FakeModel::echo()), talk);

        assert_eq!(session.saved_texts(), ["hi", "hello", "and?", "re and?"], "waits: {waits}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_model_that_fails_inside_an_action_leaves_what_it_said_a158_a162_d43() {
    let session = after_one_turn();
    session.send(action(json!("go")));
    session.say("b");
    let agent =
        talker().on_action(|event: Action| async move { Ok(event.stream_text()) }).on_turn_start(|event| async move {
            let texts: Vec<_> = event.ui_messages.iter().map(UiMessage::text).collect();
            assert_eq!(texts, ["hi", "hello", "half", "b"]);
            Ok(())
        });
    let model = FakeModel::new(|prompt| match prompt.messages.len() {
        2 => [begins("half"), vec![part(StreamPart::Error(ModelError::unavailable("overloaded")))]].concat(),
        _ => says("sure"),
    });

    continue_run(&session, agent, model).await;

    let want = "start start-step text-start half error(overloaded) done(0) \
                start start-step text-start sure text-end finish-step finish done(1)";
    assert_eq!(session.story(), want);
}

#[tokio::test(start_paused = true)]
async fn a_stop_ends_an_action_cleanly_a147_a162() {
    let session = after_one_turn();
    session.send(action(json!("long")));
    let agent = no_turns().on_action(|event: Action| async move { Ok(event.stream_text()) });
    let model = FakeModel::new(|_| [begins("Once"), vec![Said::Silence]].concat());
    let talk = async {
        session.until(|state| state.told.len() == 4).await;
        session.send(stop());
    };

    tokio::join!(continue_run(&session, agent, model), talk);

    assert_eq!(session.story(), "start start-step text-start Once abort(stopped) done(1)");
    assert_eq!(session.saved_texts(), ["hi", "hello", "Once"]);

    // A stop that the hook itself hears, with whatever it makes of it.
    for fails in [true, false] {
        let session = after_one_turn();
        session.send(action(json!("wait")));
        let agent = no_turns().on_action(move |event: Action| async move {
            event.chat.history().all();
            event.writer.stream(&UiMessageChunk::transient_data("waiting", json!(1))).await?;
            event.signal.wait().await;
            if fails { Err("stopped".into()) } else { Ok(event.stream_text()) }
        });
        let model = FakeModel::new(|_| panic!("the model must not be asked"));
        let talk = async {
            session.until(|state| state.told.len() == 1).await;
            session.send(stop());
        };

        tokio::join!(continue_run(&session, agent, model), talk);

        assert_eq!(session.story(), "data-waiting abort(stopped) done(1)");
    }
}

#[tokio::test(start_paused = true)]
async fn actions_hydrate_with_nothing_incoming_and_store_no_snapshot_a160_a87_d43() {
    let session = Arc::new(FakeSession::default());
    session.send(action(json!("count")));
    let agent = no_turns()
        .hydrate_messages(|event| async move {
            assert_eq!(
                (event.trigger.to_owned(), event.incoming_messages.len()),
                (turnkeep_protocol::Trigger::Action, 0)
            );
            Ok(vec![UiMessage::user("u", "stored")])
        })
        .on_action(|event: Action| async move { Ok(event.ui_messages[0].text()) });

    run(&session, agent, FakeModel::echo()).await;

    assert_eq!(session.story(), "start text-start stored text-end finish done(0)");
    assert_eq!(session.state().snapshot, None);
}

#[tokio::test(start_paused = true)]
async fn an_action_that_died_is_repeated_unless_its_answer_had_begun_d31_a290() {
    for (n_writes, want) in [
        (0, "start text-start done text-end finish done(0)"),
        (3, "start text-start done abort(interrupted) done(0)"),
        (5, "start text-start done text-end finish done(0)"),
    ] {
        let session = Arc::new(FakeSession::default());
        session.send(action(json!("go")));
        session.state().writes_left = Some(n_writes);
        let agent = || no_turns().on_action(|_: Action| async { Ok("done") });
        tokio::select! {
            biased;
            () = run(&session, agent(), FakeModel::echo()) => panic!("the process dies"),
            () = session.until(|state| state.is_dead) => {}
        }
        session.revive();
        let second = lease(&session, 2, json!({}));

        serve(&session, agent(), FakeModel::echo(), second).await.unwrap();

        assert_eq!(session.story(), want, "after {n_writes} writes");
        assert_eq!(session.saved_texts(), ["done"], "after {n_writes} writes");
    }
}

#[tokio::test(start_paused = true)]
async fn data_parts_of_an_action_join_its_answer_a161_a189() {
    let session = Arc::new(FakeSession::default());
    session.send(action(json!("go")));
    let agent = no_turns().on_action(|event: Action| async move {
        event.writer.write(UiMessageChunk::data("plan", None, json!(1))).await?;
        Ok("done")
    });

    run(&session, agent, FakeModel::echo()).await;

    assert_eq!(session.story(), "data-plan start text-start done text-end finish done(0)");
    let state = session.state();
    let parts: Vec<Value> =
        state.snapshot.as_ref().unwrap().messages[0].parts.iter().map(|part| json!(part.kind())).collect();
    assert_eq!(parts, ["text", "data-plan"]);
}

#[tokio::test(start_paused = true)]
async fn an_actions_tools_are_resolved_like_a_turns_and_a_failure_fails_it_a84_a193() {
    let session = Arc::new(FakeSession::default());
    session.send(action(json!("first")));
    session.send(action(json!("second")));
    let n_resolved = Arc::new(Mutex::new(0));
    let own = n_resolved.clone();
    let agent = no_turns()
        .resolve_tools(move |_| {
            *own.lock().unwrap() += 1;
            let is_first = *own.lock().unwrap() == 1;
            async move { if is_first { Err("no tools today".into()) } else { Ok(vec![]) } }
        })
        .on_action(|event: Action| async move { Ok(event.action.as_str().unwrap().to_owned()) });

    run(&session, agent, FakeModel::echo()).await;

    assert_eq!(session.story(), "error(no tools today) done(0) start text-start second text-end finish done(1)");
    assert_eq!(*n_resolved.lock().unwrap(), 2);
}

#[tokio::test(start_paused = true)]
async fn an_actions_boundary_covers_the_action_alone_ar43_a20_a30() {
    let session = Arc::new(FakeSession::default());
    session.send(action(json!("undo")));
    session.say("a");

    run(&session, talker().on_action(|_: Action| async { Ok(()) }), FakeModel::echo()).await;

    assert_eq!(session.state().boundaries(), [Some(SeqNum::ZERO), Some(SeqNum::new(1))]);
}

#[tokio::test(start_paused = true)]
async fn an_undo_is_an_action_on_the_authors_own_store_a286() {
    let session = Arc::new(FakeSession::default());
    for text in ["a", "b"] {
        session.say(text);
    }
    session.send(action(json!("undo")));
    session.say("c");
    let store = Arc::new(Mutex::new(Vec::new()));
    let (reads, undoes, writes) = (store.clone(), store.clone(), store.clone());
    let agent = talker()
        .hydrate_messages(move |event| {
            let mut messages = reads.lock().unwrap().clone();
            event.upsert_into(&mut messages);
            async move { Ok(messages) }
        })
        .on_action(move |event: Action| {
            event.chat.history().slice(0, Some(event.ui_messages.len() - 2));
            *undoes.lock().unwrap() = event.chat.history().all().to_vec();
            async { Ok(()) }
        })
        .on_turn_complete(move |event| {
            *writes.lock().unwrap() = event.ui_messages.to_vec();
            async { Ok(()) }
        });

    run(&session, agent, FakeModel::echo()).await;

    let texts: Vec<_> = store.lock().unwrap().iter().map(UiMessage::text).collect();
    assert_eq!(texts, ["a", "re a", "c", "re c"]);
}

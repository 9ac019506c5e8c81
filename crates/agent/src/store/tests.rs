use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;
use turnkeep_protocol::{ChatInputChunk, ChatTaskWirePayload, Trigger, UiMessage};

use super::*;
use crate::testing::*;
use crate::{Action, ActionAnswer, Agent, Boot, HydrateStore, TurnComplete, TurnInput, TurnStart};

/// Serves what lies on `in` until the run goes to sleep and ends.
async fn run(session: &Arc<FakeSession>, agent: Agent) {
    serve_attempt(session, agent, 1, json!({ "trigger": "submit-message" })).await;
}

async fn serve_attempt(session: &Arc<FakeSession>, agent: Agent, attempt: u32, payload: Value) {
    let lease = lease(session, attempt, payload);
    let agent = agent.idle_timeout(Duration::ZERO);
    serve(session, agent, FakeModel::echo(), lease).await.expect("the run ends well");
}

/// Gives what was told of the store: `=VALUE` for a whole value, `~OPERATIONS` for a change, `|` for a boundary.
fn told(session: &FakeSession) -> String {
    let state = session.state();
    let word = |record: &DrainedRecord| match record.data["type"].as_str() {
        Some("store-snapshot") => format!("={}", record.data["value"]),
        Some("store-delta") => format!("~{}", record.data["operations"]),
        None if !record.headers.is_empty() => "|".to_owned(),
        _ => String::new(),
    };
    state.told.iter().map(word).filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}

fn submit_with(text: &str, store: Value) -> ChatInputChunk {
    let payload = ChatTaskWirePayload::submit("chat", UiMessage::user(text, text));
    ChatInputChunk::message(ChatTaskWirePayload { incoming_store: Some(store), ..payload })
}

/// An agent whose `run` does this to the store before it answers.
fn changing<F, Fut>(change: F) -> Agent
where
    F: Fn(ChatStore, TurnInput) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<(), StoreError>> + Send + 'static,
{
    Agent::new("test", move |turn: TurnInput| {
        let changed = change(turn.chat.store().clone(), turn.clone());
        async move {
            changed.await?;
            Ok(turn.stream_text())
        }
    })
}

#[tokio::test(start_paused = true)]
async fn changes_are_told_in_their_order_and_read_at_once_a185() {
    let session = Arc::new(FakeSession::default());
    session.say("hi");

    run(
        &session,
        changing(|store, _| async move {
            assert_eq!(store.get(), None);
            store.set(json!({ "n": 1 })).await?;
            store.patch(Patch::new().replace("/n", json!(2)).add("/m", json!([]))).await?;
            store.patch(Patch::new()).await?;
            assert_eq!(store.get(), Some(json!({ "n": 2, "m": [] })));
            Ok(())
        }),
    )
    .await;

    let delta = r#"~[{"op":"replace","path":"/n","value":2},{"op":"add","path":"/m","value":[]}]"#;
    assert_eq!(told(&session), format!("={{\"n\":1}} {delta} |"));
    assert_eq!(session.state().snapshot.clone().unwrap().store, Some(json!({ "n": 2, "m": [] })));
}

#[tokio::test(start_paused = true)]
async fn a_first_patch_is_told_as_the_whole_value_c179() {
    let session = Arc::new(FakeSession::default());
    session.say("hi");

    run(&session, changing(|store, _| async move { store.patch(Patch::new().add("", json!({ "a": 1 }))).await })).await;

    assert_eq!(told(&session), "={\"a\":1} |");
}

#[tokio::test(start_paused = true)]
async fn what_is_refused_changes_nothing_and_is_not_told_a186_af12() {
    let session = Arc::new(FakeSession::default());
    session.say("hi");

    run(
        &session,
        changing(|store, _| async move {
            store.set(json!({ "a": 1 })).await?;
            let half = Patch::new().replace("/a", json!(2)).remove("/b");
            let polluting = Patch::new().add("/__proto__/x", json!(1));
            for (patch, why) in [
                (half, "the chat's store does not change: operation 1 at `/b`: path is invalid"),
                (polluting, "the chat's store does not change: operation 0: the segment `__proto__` is forbidden"),
            ] {
                assert_eq!(store.patch(patch).await.unwrap_err().to_string(), why);
            }
            let deep = (0..=turnkeep_protocol::MAX_STORE_DEPTH).fold(json!(0), |inner, _| json!([inner]));
            assert_eq!(store.set(deep).await, Err(StoreError::Refused(PatchError::TooDeep)));
            assert_eq!(store.get(), Some(json!({ "a": 1 })));
            Ok(())
        }),
    )
    .await;

    assert_eq!(told(&session), "={\"a\":1} |");
}

#[tokio::test(start_paused = true)]
async fn a_long_patch_to_a_small_value_is_told_as_the_value_a17() {
    let session = Arc::new(FakeSession::default());
    session.say("hi");

    run(
        &session,
        changing(|store, _| async move {
            store.set(json!("")).await?;
            let long = json!("x".repeat(600_000));
            store.patch(Patch::new().replace("", long.clone()).replace("", long).replace("", json!("short"))).await
        }),
    )
    .await;

    assert_eq!(told(&session), "=\"\" =\"short\" |");
}

#[tokio::test(start_paused = true)]
async fn every_turn_begins_with_the_whole_value_c174() {
    let session = Arc::new(FakeSession::default());
    session.say("a");
    session.say("b");

    run(
        &session,
        changing(|store, turn| async move { if turn.turn == 0 { store.set(json!(1)).await } else { Ok(()) } }),
    )
    .await;

    assert_eq!(told(&session), "=1 | =1 |");
    // In front of everything else that the turn says.
    assert!(session.story().contains("done(0) store-snapshot start"), "{}", session.story());
}

#[tokio::test(start_paused = true)]
async fn between_turns_nothing_is_told_and_the_next_turn_tells_it_d33() {
    let session = Arc::new(FakeSession::default());
    session.say("a");
    session.say("b");
    let agent = changing(|_, _| async { Ok(()) })
        .on_boot(|boot: Boot| async move { Ok(boot.chat.store().set(json!("boot")).await?) })
        .on_turn_complete(|event: TurnComplete| async move {
            Ok(event.chat.store().set(json!(format!("after {}", event.turn))).await?)
        });

    run(&session, agent).await;

    assert_eq!(told(&session), "=\"boot\" | =\"after 0\" |");
    // What nobody was told is in the snapshot all the same.
    assert_eq!(session.state().snapshot.clone().unwrap().store, Some(json!("after 1")));
}

#[tokio::test(start_paused = true)]
async fn the_next_run_has_the_value_before_its_first_hook_d13_a187() {
    let session = Arc::new(FakeSession::default());
    session.say("a");
    run(&session, changing(|store, _| async move { store.set(json!({ "kept": true })).await })).await;
    let seen = Arc::new(Mutex::new(None));
    let kept = seen.clone();

    let agent = changing(|_, _| async { Ok(()) }).on_boot(move |boot: Boot| {
        *kept.lock().unwrap() = boot.chat.store().get();
        async { Ok(()) }
    });
    serve_attempt(&session, agent, 1, json!({ "continuation": true })).await;

    assert_eq!(*seen.lock().unwrap(), Some(json!({ "kept": true })));
}

#[tokio::test(start_paused = true)]
async fn what_was_told_before_a_death_is_what_the_next_attempt_has_d13_d31() {
    let agent = || {
        changing(|store, turn| async move {
            if turn.turn == 0 && store.get().is_none() {
                store.set(json!({ "n": 0 })).await?;
            }
            store.patch(Patch::new().add("/last", json!(turn.ui_messages.len()))).await
        })
    };
    // Dies behind each record of its second turn in turn: snapshot, delta, start, …
    for n_records in 0..6 {
        let session = Arc::new(FakeSession::default());
        session.say("a");
        run(&session, agent()).await;
        session.say("b");
        session.state().writes_left = Some(n_records);
        let lease = lease(&session, 1, json!({ "continuation": true }));
        let dying = serve(&session, agent().idle_timeout(Duration::ZERO), FakeModel::echo(), lease);
        assert!(tokio::time::timeout(Duration::from_secs(60), dying).await.is_err(), "the process is dead");
        session.revive();
        let before: Vec<Value> = session.state().told.iter().map(|record| record.data.clone()).collect();
        let want = before.iter().fold(None, replay);

        let seen = Arc::new(Mutex::new(None));
        let kept = seen.clone();
        let agent = agent().on_boot(move |boot: Boot| {
            *kept.lock().unwrap() = boot.chat.store().get();
            async { Ok(()) }
        });
        serve_attempt(&session, agent, 2, json!({ "continuation": true })).await;

        assert_eq!(*seen.lock().unwrap(), want, "after {n_records} records");
        assert_eq!(session.saved_ids().iter().filter(|id| *id == "b").count(), 1, "after {n_records} records");
    }
}

#[tokio::test(start_paused = true)]
async fn a_clients_value_is_there_before_any_hook_of_the_turn_and_wins_a185_c174() {
    let session = Arc::new(FakeSession::default());
    session.say("a");
    session.send(submit_with("b", json!("client")));
    let seen = Arc::new(Mutex::new(Vec::new()));
    let (kept, asked) = (seen.clone(), seen.clone());
    let agent = changing(|_, _| async { Ok(()) })
        .hydrate_store(move |event: HydrateStore| {
            asked.lock().unwrap().push(json!([event.turn, event.previous_store, event.incoming_store]));
            async { Ok(json!("author")) }
        })
        .on_turn_start(move |event: TurnStart| {
            kept.lock().unwrap().push(event.chat.store().get().into());
            async { Ok(()) }
        });

    run(&session, agent).await;

    let want = [json!([0, null, null]), json!("author"), json!([1, "author", "client"]), json!("client")];
    assert_eq!(*seen.lock().unwrap(), want);
    assert_eq!(told(&session), "=\"author\" | =\"client\" |");
}

#[tokio::test(start_paused = true)]
async fn a_store_that_cannot_be_had_fails_the_turn_c175() {
    let session = Arc::new(FakeSession::default());
    session.say("a");
    let failing = changing(|_, _| async { Ok(()) }).hydrate_store(|_| async { Err("no database".into()) });
    run(&session, failing).await;
    let deep = (0..=turnkeep_protocol::MAX_STORE_DEPTH).fold(json!(0), |inner, _| json!([inner]));
    session.send(submit_with("b", deep));
    serve_attempt(&session, changing(|_, _| async { Ok(()) }), 1, json!({ "continuation": true })).await;

    let too_deep = "error(the chat's store does not change: the store would be nested deeper than 100)";
    assert_eq!(session.story(), format!("error(no database) done(0) {too_deep} done(1)"));
    assert_eq!(told(&session), "| |");
}

#[tokio::test(start_paused = true)]
async fn an_author_who_keeps_the_history_keeps_the_store_too_d56() {
    let session = Arc::new(FakeSession::default());
    session.say("a");
    run(&session, changing(|store, _| async move { store.set(json!("ours")).await })).await;
    session.say("b");
    let seen = Arc::new(Mutex::new(Vec::new()));
    let kept = seen.clone();
    let agent = changing(|_, _| async { Ok(()) })
        .hydrate_messages(|event: crate::HydrateMessages| async move { Ok(event.incoming_messages) })
        .on_turn_start(move |event: TurnStart| {
            kept.lock().unwrap().push(event.chat.store().get());
            async { Ok(()) }
        });

    serve_attempt(&session, agent, 1, json!({ "continuation": true })).await;

    assert_eq!(*seen.lock().unwrap(), [None]);
}

#[tokio::test(start_paused = true)]
async fn listeners_hear_every_change_and_one_that_fails_stops_nobody_a185() {
    let session = Arc::new(FakeSession::default());
    session.send(submit_with("a", json!({ "n": 0 })));
    let heard = Arc::new(Mutex::new(Vec::new()));
    let notes = heard.clone();
    let agent = changing(|store, _| async move {
        store.patch(Patch::new().replace("/n", json!(1))).await?;
        let deaf = store.on_change(|_, _| unreachable!("it was stopped"))?;
        deaf.stop();
        store.set(json!(2)).await
    })
    .on_boot(move |boot: Boot| {
        let notes = notes.clone();
        async move {
            boot.chat.store().on_change(|_, _| std::panic::resume_unwind(Box::new("its own affair")))?;
            boot.chat.store().on_change(move |value, patch| {
                notes.lock().unwrap().push((value.clone(), patch.map(|patch| patch.operations().len())));
            })?;
            Ok(())
        }
    });

    run(&session, agent).await;

    assert_eq!(*heard.lock().unwrap(), [(json!({ "n": 0 }), None), (json!({ "n": 1 }), Some(1)), (json!(2), None)]);
}

#[tokio::test(start_paused = true)]
async fn there_are_only_so_many_listeners() {
    let store = tool_context().chat.store().clone();
    for _ in 0..MAX_LISTENERS {
        store.on_change(|_, _| {}).unwrap();
    }

    assert_eq!(store.on_change(|_, _| {}).map(drop), Err(StoreError::TooManyListeners));
}

#[tokio::test(start_paused = true)]
async fn the_store_is_no_part_of_any_message_a187_c172() {
    let session = Arc::new(FakeSession::default());
    session.say("a");

    run(&session, changing(|store, _| async move { store.set(json!(1)).await })).await;

    let saved = session.state().snapshot.clone().unwrap();
    let kinds: Vec<_> =
        saved.messages[1].parts.iter().map(|part| serde_json::to_value(part).unwrap()["type"].clone()).collect();
    assert_eq!(kinds, ["step-start", "text"]);
}

#[tokio::test(start_paused = true)]
async fn an_action_finds_the_store_and_the_tools_of_its_own_moment_a84_a160_a185() {
    let session = Arc::new(FakeSession::default());
    let payload = ChatTaskWirePayload::new("chat", Trigger::Action);
    let payload = ChatTaskWirePayload { action: Some(json!("go")), incoming_store: Some(json!(1)), ..payload };
    session.send(ChatInputChunk::message(payload));
    let n_resolved = Arc::new(AtomicUsize::new(0));
    let counter = n_resolved.clone();
    let agent = changing(|_, _| async { Ok(()) })
        .resolve_tools(move |_| {
            counter.fetch_add(1, Ordering::SeqCst);
            async { Ok(Vec::new()) }
        })
        .on_action(|event: Action| async move {
            event.chat.store().patch(Patch::new().replace("", json!(2))).await?;
            Ok(ActionAnswer::Nothing)
        });

    run(&session, agent).await;

    assert_eq!(told(&session), r#"=1 ~[{"op":"replace","path":"","value":2}] |"#);
    assert_eq!(n_resolved.load(Ordering::SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn a_listener_that_holds_its_chat_keeps_nothing_beyond_the_run_a181() {
    let session = Arc::new(FakeSession::default());
    session.say("a");
    let (held, n_told) = (Arc::new(()), Arc::new(Mutex::new(0)));
    let (holding, telling) = (held.clone(), n_told.clone());
    let agent = talker().on_boot(move |boot: Boot| {
        let (held, n_told, chat) = (holding.clone(), telling.clone(), boot.chat.clone());
        async move {
            boot.chat.store().on_change(move |_, _| {
                let (held, n_told) = (held.clone(), n_told.clone());
                chat.defer(async move {
                    *n_told.lock().unwrap() += 1;
                    drop(held);
                    Ok(())
                });
            })?;
            boot.chat.store().set(json!({ "n": 1 })).await?;
            Ok(())
        }
    });
    let lease = lease(&session, 1, json!({ "trigger": "submit-message" }));

    serve(&session, agent, FakeModel::echo(), lease).await.unwrap();

    assert_eq!((*n_told.lock().unwrap(), Arc::strong_count(&held)), (1, 1), "only ours is left");
}

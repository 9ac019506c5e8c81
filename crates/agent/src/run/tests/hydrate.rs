use std::sync::{Arc, Mutex, MutexGuard};

use serde_json::{Value, json};
use turnkeep_protocol::{ChatInputChunk, ChatSnapshot, SeqNum, Trigger, UiMessage};

use crate::testing::*;
use crate::{Agent, HydrateMessages, Tool, TurnComplete, TurnInput, step_count_is};

/// The author's own store of one chat.
#[derive(Clone, Default)]
struct Store(Arc<Mutex<Vec<UiMessage>>>);

impl Store {
    fn of(messages: Value) -> Self {
        Self(Arc::new(Mutex::new(serde_json::from_value(messages).unwrap())))
    }

    fn rows(&self) -> MutexGuard<'_, Vec<UiMessage>> {
        self.0.lock().unwrap()
    }

    fn texts(&self) -> Vec<String> {
        self.rows().iter().map(UiMessage::text).collect()
    }

    fn ids(&self) -> Vec<String> {
        self.rows().iter().map(|message| message.id.clone()).collect()
    }

    /// Stores what is new and gives the whole, as an author does.
    fn hydrate(&self, event: &HydrateMessages) -> Vec<UiMessage> {
        let mut rows = self.rows();
        event.upsert_into(&mut rows);
        rows.clone()
    }
}

/// An agent whose history is in `store`; it answers at length once a person's tool is answered.
fn keeper(store: &Store) -> Agent {
    let (reads, writes) = (store.clone(), store.clone());
    Agent::new("test", |turn: TurnInput| async move {
        let ask = Tool::answered_by_client("ask", "", json!({}));
        Ok(turn.stream_text().tools([ask]).stop_when(step_count_is(9)))
    })
    .hydrate_messages(move |event| {
        let messages = reads.hydrate(&event);
        async move { Ok(messages) }
    })
    .on_turn_complete(move |event| {
        *writes.rows() = event.ui_messages.to_vec();
        async { Ok(()) }
    })
    .idle_timeout(std::time::Duration::from_secs(5))
}

async fn run(session: &Arc<FakeSession>, agent: Agent, model: Arc<FakeModel>) {
    let lease = lease(session, 1, json!({ "trigger": "preload" }));
    serve(session, agent, model, lease).await.expect("the run ends well");
}

/// Serves a run that takes over from another one.
async fn continue_run(session: &Arc<FakeSession>, agent: Agent, model: Arc<FakeModel>) {
    let lease = lease(session, 1, json!({ "continuation": true, "previousRunId": "run_0" }));
    serve(session, agent, model, lease).await.expect("the run ends well");
}

fn answer(message: &str, state: &str, extra: Value) -> ChatInputChunk {
    let mut part = json!({ "type": "tool-ask", "toolCallId": "c1", "state": state });
    part.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
    submit(serde_json::from_value(json!({ "id": message, "role": "assistant", "parts": [part] })).unwrap())
}

fn result(message: &str) -> ChatInputChunk {
    answer(message, "output-available", json!({ "output": 2 }))
}

/// A stored chat whose assistant waits for the person.
fn asking(state: &str, extra: Value) -> Value {
    let mut part = json!({ "type": "tool-ask", "toolCallId": "c1", "state": state, "input": { "q": 1 } });
    part.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
    json!([
        { "id": "u1", "role": "user", "parts": [{ "type": "text", "text": "hi" }] },
        { "id": "a1", "role": "assistant", "parts": [{ "type": "text", "text": "well" }, part] },
    ])
}

#[tokio::test(start_paused = true)]
async fn hydration_runs_every_turn_with_what_came_in_a87_a148_aa15() {
    let session = Arc::new(FakeSession::default());
    session.say("a");
    session.send(regenerate());
    session.say("b");
    let store = Store::default();
    let events = Arc::new(Mutex::new(Vec::new()));
    let (own, seen) = (store.clone(), events.clone());
    let agent = keeper(&store).client_data(|_| Ok(json!("who"))).hydrate_messages(move |event| {
        let ids = |messages: &[UiMessage]| messages.iter().map(UiMessage::text).collect::<Vec<_>>().join(",");
        seen.lock().unwrap().push(format!(
            "{} {:?} [{}] after [{}]",
            event.turn,
            event.trigger,
            ids(&event.incoming_messages),
            ids(&event.previous_messages.to_vec())
        ));
        assert_eq!((event.chat.id(), &event.client_data), ("chat", &json!("who")));
        assert_eq!((event.continuation, event.previous_run_id.as_deref()), (true, Some("run_0")));
        let mut messages = own.hydrate(&event);
        if event.trigger == Trigger::RegenerateMessage {
            messages.pop();
        }
        async move { Ok(messages) }
    });

    continue_run(&session, agent, FakeModel::echo()).await;

    let want =
        ["0 SubmitMessage [a] after []", "1 RegenerateMessage [] after [a,re a]", "2 SubmitMessage [b] after [a,re a]"];
    assert_eq!(*events.lock().unwrap(), want);
    assert_eq!(store.texts(), ["a", "re a", "b", "re b"]);
}

#[tokio::test(start_paused = true)]
async fn a_fresh_message_is_new_although_the_hook_has_stored_it_a89_ar14_aa16() {
    let session = Arc::new(FakeSession::default());
    session.say("a");
    session.say("b");
    let store = Store::default();
    let own = store.clone();
    let hooked = Diary::default();
    let agent = keeper(&store).on_turn_complete(noted(&hooked, "on_turn_complete", move |event: TurnComplete| {
        let new: Vec<_> = event.new_ui_messages.iter().map(UiMessage::text).collect();
        let asked = if event.turn == 0 { "a" } else { "b" };
        assert_eq!(new, [asked.to_owned(), format!("re {asked}")]);
        assert_eq!(event.new_messages.len(), 2);
        *own.rows() = event.ui_messages.to_vec();
        async { Ok(()) }
    }));

    run(&session, agent, FakeModel::echo()).await;

    assert_eq!(entries(&hooked).len(), 2);
    assert_eq!(session.state().boundaries().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_history_of_the_authors_own_needs_no_snapshot_and_no_replay_aa14_aa86_a44_a60_a74_a108() {
    // S-199.
    let session = Arc::new(FakeSession::default());
    session.say("a");
    let store = Store::default();
    run(&session, keeper(&store), FakeModel::echo()).await;
    assert_eq!(session.state().n_reads, 0);
    assert_eq!(session.saved_texts(), [""; 0]);
    session.say("b");
    let stale = vec![UiMessage::user("stale", "stale")];
    session.state().snapshot = Some(ChatSnapshot::new(0, stale, None, None));

    let agent = keeper(&store).on_recovery_boot(|_| async { panic!("there is nothing to recover") });
    continue_run(&session, agent, FakeModel::echo()).await;

    assert_eq!(store.texts(), ["a", "re a", "b", "re b"]);
    // `out` for its cursor, `in` for what is owed, and nothing else.
    assert_eq!(session.state().n_reads, 2);
    assert_eq!(session.saved_texts(), ["stale"]);
}

#[tokio::test(start_paused = true)]
async fn with_hydration_trim_goes_to_the_boundary_before_d44() {
    let session = Arc::new(FakeSession::default());
    for text in ["a", "b", "c"] {
        session.say(text);
    }

    run(&session, keeper(&Store::default()), FakeModel::echo()).await;

    assert!(session.readable().starts_with("done(1) start start-step text-start re c"), "{}", session.readable());
}

#[tokio::test(start_paused = true)]
async fn a_crash_after_any_write_loses_nothing_under_hydration_a82_aa166_d31_d32() {
    for n_writes in 0..18 {
        let session = Arc::new(FakeSession::default());
        let store = Store::default();
        session.say("a");
        session.say("b");
        session.state().writes_left = Some(n_writes);
        let first = lease(&session, 1, json!({ "trigger": "preload" }));
        tokio::select! {
            biased;
            result = serve(&session, keeper(&store), FakeModel::echo(), first) => result.expect("the run ends well"),
            () = session.until(|state| state.is_dead) => {}
        }
        session.revive();
        let second = lease(&session, 2, json!({ "trigger": "preload" }));
        serve(&session, keeper(&store), FakeModel::echo(), second).await.expect("the recovered run ends well");

        let told = format!("after {n_writes} writes: {}", session.story());
        // A turn that died between its boundary and the author's hook has told its answer on `out` alone.
        let texts: Vec<_> = store.texts().into_iter().filter(|text| !text.starts_with("re ")).collect();
        assert_eq!(texts, ["a", "b"], "{told}");
        for asked in ["a", "b"] {
            let n_whole = told.matches(&format!("re {asked} text-end finish-step finish done")).count();
            assert_eq!(n_whole, 1, "{asked} has one closed answer {told}");
        }
        assert!(told.ends_with("done(1)"), "{told}");
        assert_eq!(session.state().boundaries(), [Some(SeqNum::ZERO), Some(SeqNum::new(1))], "{told}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_cut_answer_is_aborted_and_its_message_answered_anew_d31_a82() {
    let session = Arc::new(FakeSession::default());
    let store = Store::default();
    session.say("a");
    let first = lease(&session, 1, json!({ "trigger": "preload" }));
    die_after(4, &session, keeper(&store), FakeModel::echo(), first).await;
    session.send(stop());
    session.send(trigger(Trigger::Close));
    session.say("b");

    // The stop was meant for the dead turn (A-55, AR-46), the close waits until everything before it is done (D-32).
    let second = lease(&session, 2, json!({ "trigger": "preload" }));
    let agent = keeper(&store).on_preload(|_| async { panic!("the first message is there already") });
    serve(&session, agent, FakeModel::echo(), second).await.unwrap();

    let want = "start start-step text-start re a abort(interrupted) \
                start start-step text-start re a text-end finish-step finish done(2) \
                start start-step text-start re b text-end finish-step finish done(3)";
    assert_eq!(session.story(), want);
    assert_eq!(store.texts(), ["a", "re a", "b", "re b"]);
    assert_eq!(session.state().waits, [], "the close ends the run");
}

#[tokio::test(start_paused = true)]
async fn a_message_that_the_store_has_answered_already_gets_its_boundary_only_d42_a71() {
    let session = Arc::new(FakeSession::default());
    session.say("a");
    let store = Store::of(json!([
        { "id": "a", "role": "user", "parts": [{ "type": "text", "text": "a" }] },
        { "id": "a1", "role": "assistant", "parts": [{ "type": "text", "text": "re a" }] },
    ]));

    continue_run(&session, keeper(&store), FakeModel::new(|_| panic!("the model must not be asked"))).await;

    assert_eq!(session.story(), "done(0)");
}

#[tokio::test(start_paused = true)]
async fn a_slim_answer_keeps_the_hydrated_input_aa18_a88_a205() {
    let session = Arc::new(FakeSession::default());
    session.send(result("a1"));
    let store = Store::of(asking("input-available", json!({})));
    let own = store.clone();
    let hooked = Diary::default();
    let agent = keeper(&store).on_turn_complete(noted(&hooked, "on_turn_complete", move |event: TurnComplete| {
        assert_eq!(event.new_ui_messages.len(), 1, "only the message that went on");
        assert_eq!(event.new_ui_messages[0].id, "a1");
        *own.rows() = event.ui_messages.to_vec();
        async { Ok(()) }
    }));

    continue_run(&session, agent, FakeModel::new(|_| says("thanks"))).await;

    assert_eq!(entries(&hooked).len(), 1);
    let rows = store.rows();
    assert_eq!(rows.len(), 2);
    let call = rows[1].tool_part("c1").unwrap();
    assert_eq!((call.input.clone(), call.output.clone()), (Some(json!({ "q": 1 })), Some(json!(2))));
    assert_eq!(rows[1].text(), "wellthanks");
}

#[tokio::test(start_paused = true)]
async fn an_answer_with_a_regenerated_id_joins_the_message_that_asked_aa17_ar15_a91() {
    // In a fresh run the store alone knows who asked (C-16); in a live one the hook is told the right id already.
    for asks_first in [false, true] {
        let session = Arc::new(FakeSession::default());
        let store = if asks_first { Store::default() } else { Store::of(asking("input-available", json!({}))) };
        let model = FakeModel::new(|prompt| match prompt.messages.last().unwrap().role.as_str() {
            "user" => calls("c1", "ask", json!({ "q": 1 })),
            _ => says("thanks"),
        });
        let (own, incoming) = (store.clone(), Arc::new(Mutex::new(Vec::new())));
        let seen = incoming.clone();
        let agent = keeper(&store).hydrate_messages(move |event| {
            let newest = event.incoming_messages.last().unwrap();
            // New results are new before the overlay, and only then.
            let n_new = event.chat.history().extract_new_tool_results(newest).len();
            seen.lock().unwrap().push((newest.id.clone(), n_new));
            let messages = own.hydrate(&event);
            async move { Ok(messages) }
        });
        let talk = async {
            if asks_first {
                session.say("hi");
                session.until_turns(1).await;
            }
            session.send(result("a2"));
            session.until_turns(if asks_first { 2 } else { 1 }).await;
        };

        tokio::join!(continue_run(&session, agent, model), talk);

        let ids = store.ids();
        assert_eq!(ids.len(), 2, "asks first: {asks_first}");
        let told = incoming.lock().unwrap().last().unwrap().clone();
        assert_eq!(told, (if asks_first { ids[1].clone() } else { "a2".to_owned() }, 1));
        let call = store.rows()[1].tool_part("c1").cloned().unwrap();
        assert_eq!((call.input, call.output), (Some(json!({ "q": 1 })), Some(json!(2))));
    }
}

#[tokio::test(start_paused = true)]
async fn an_approval_advances_a_hydrated_request_and_a_late_one_revives_nothing_aa19_aa20_ar29() {
    let approval = || json!({ "approval": { "id": "p", "approved": true } });
    for (stored, want, is_asked) in
        [("approval-requested", "approval-responded", true), ("output-denied", "output-denied", false)]
    {
        let session = Arc::new(FakeSession::default());
        session.send(answer("a1", "approval-responded", approval()));
        let store = Store::of(asking(stored, json!({ "approval": { "id": "p" } })));
        let seen = Arc::new(Mutex::new(None));
        let own = seen.clone();
        let agent = keeper(&store).on_turn_start(move |event| {
            *own.lock().unwrap() = event.ui_messages[1].tool_part("c1").map(|call| call.state);
            async { Ok(()) }
        });

        continue_run(&session, agent, FakeModel::new(|_| says("done"))).await;

        let state = seen.lock().unwrap().map(|state| state.as_str().to_owned());
        // A late approval for a call that was denied and never spoken of asks the model once more, and changes nothing.
        assert_eq!(state.as_deref(), Some(want));
        let call = store.rows()[1].tool_part("c1").cloned().unwrap();
        assert_eq!(call.approval.and_then(|approval| approval.approved), is_asked.then_some(true));
    }
}

#[tokio::test(start_paused = true)]
async fn validation_sees_the_slim_answer_and_may_look_at_fresh_messages_only_aa21_a86() {
    let session = Arc::new(FakeSession::default());
    session.say("rude");
    session.send(result("a1"));
    let store = Store::of(asking("input-available", json!({})));
    let seen = Arc::new(Mutex::new(Vec::new()));
    let own = seen.clone();
    let agent = keeper(&store).on_validate_messages(move |event| {
        let message = &event.messages[0];
        own.lock().unwrap().push((message.role.as_str().to_owned(), message.parts.len()));
        let is_rude = message.is_user() && message.text() == "rude";
        async move { if is_rude { Err("too rude".into()) } else { Ok(event.messages) } }
    });

    continue_run(&session, agent, FakeModel::new(|_| says("thanks"))).await;

    assert_eq!(*seen.lock().unwrap(), [("user".to_owned(), 1), ("assistant".to_owned(), 1)]);
    assert!(session.story().starts_with("error(too rude) done(0) start"), "{}", session.story());
    // The refused message is in this turn's record of the chat, the store decides about the next.
    assert!(store.rows()[1].tool_part("c1").unwrap().output.is_some());
}

#[tokio::test(start_paused = true)]
async fn a_message_that_the_hook_leaves_out_stays_out_a88() {
    let session = Arc::new(FakeSession::default());
    session.say("spam");
    let agent = keeper(&Store::default()).hydrate_messages(|_| async { Ok(vec![UiMessage::user("u", "ham")]) });

    run(&session, agent, FakeModel::echo()).await;

    assert_eq!(session.story(), "start start-step text-start re ham text-end finish-step finish done(0)");
}

#[tokio::test(start_paused = true)]
async fn a_failing_hydration_fails_the_turn_and_keeps_its_message_a152_a157() {
    let session = Arc::new(FakeSession::default());
    session.say("a");
    session.say("b");
    session.say("c");
    let hooked = Diary::default();
    let agent = keeper(&Store::default())
        .hydrate_messages(|event| async move {
            match event.turn {
                0 => Err("database is down".into()),
                1 => Ok(Vec::new()),
                _ => Ok(event.previous_messages.into_iter().chain(event.incoming_messages).collect()),
            }
        })
        .on_turn_complete(noted(&hooked, "on_turn_complete", |event: TurnComplete| async move {
            if event.turn < 2 {
                assert!(event.error.is_some());
                assert_eq!(event.new_ui_messages.len(), 1);
            }
            Ok(())
        }));
    let model = FakeModel::new(|prompt| says(&prompt.messages.len().to_string()));

    run(&session, agent, model).await;

    assert_eq!(entries(&hooked).len(), 3);
    let want = "error(database is down) done(0) error(hydrate_messages gave no messages) done(1) \
                start start-step text-start 3 text-end finish-step finish done(2)";
    assert_eq!(session.story(), want);
    assert_eq!(session.state().snapshot, None);
}

#[tokio::test(start_paused = true)]
async fn a_failed_turn_under_hydration_reports_its_message_once_a152_a89() {
    let session = Arc::new(FakeSession::default());
    session.say("a");
    let hooked = Diary::default();
    let agent = keeper(&Store::default())
        .hydrate_messages(|_| async { Ok(vec![UiMessage::user("other", "other")]) })
        .on_turn_start(|_| async { Err("no".into()) })
        .on_turn_complete(noted(&hooked, "on_turn_complete", |event: TurnComplete| async move {
            let new: Vec<_> = event.new_ui_messages.iter().map(UiMessage::text).collect();
            assert_eq!(new, ["a"]);
            Ok(())
        }));

    run(&session, agent, FakeModel::echo()).await;

    assert_eq!(entries(&hooked).len(), 1);
    assert_eq!(session.story(), "error(no) done(0)");
}

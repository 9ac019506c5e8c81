//! Patterns that the runtime must make possible (A §19), and what a run does where something is not there.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::json;
use turnkeep_protocol::{ChatInputChunk, ChatTaskWirePayload, NewRecord, PartId, UiMessage, UiMessageChunk, control};

use crate::testing::*;
use crate::{Agent, LocalKey};

async fn run(session: &Arc<FakeSession>, agent: Agent) {
    let lease = lease(session, 1, json!({ "trigger": "submit-message" }));
    serve(session, agent, FakeModel::echo(), lease).await.expect("the run ends well");
}

async fn continue_run(session: &Arc<FakeSession>, agent: Agent) {
    let lease = lease(session, 1, json!({ "continuation": true, "previousRunId": "run_0" }));
    serve(session, agent, FakeModel::echo(), lease).await.expect("the run ends well");
}

/// Something that is warm for as long as somebody holds it.
struct Warm(Diary);

impl Drop for Warm {
    fn drop(&mut self) {
        note(&self.0, "cold");
    }
}

/// What the author's code shares over its turns.
#[derive(Default)]
struct Pool(Mutex<Option<Warm>>);

impl Pool {
    fn warm(&self, diary: &Diary) {
        self.0.lock().unwrap().get_or_insert_with(|| Warm(diary.clone()));
    }

    fn cool(&self) {
        self.0.lock().unwrap().take();
    }

    fn is_warm(&self) -> bool {
        self.0.lock().unwrap().is_some()
    }
}

static POOL: LocalKey<Pool> = LocalKey::new("pool");

/// Warms the pool with every turn, uses it behind the turn's end, and lets it go when the run sleeps.
fn pooled(diary: &Diary) -> Agent {
    let (starts, completes, suspends) = (diary.clone(), diary.clone(), diary.clone());
    talker()
        .setup_locals(|locals| locals.set(&POOL, Pool::default()))
        .idle_timeout(Duration::from_secs(1))
        .on_turn_start(move |event| {
            note(&starts, "warm");
            event.chat.locals().get(&POOL).unwrap().warm(&starts);
            async { Ok(()) }
        })
        .on_turn_complete(move |event| {
            let (own, chat) = (completes.clone(), event.chat.clone());
            event.chat.defer(async move {
                tokio::time::sleep(Duration::from_secs(2)).await;
                let is_warm = chat.locals().get(&POOL).unwrap().is_warm();
                note(&own, if is_warm { "used" } else { "used cold" });
                Ok(())
            });
            async { Ok(()) }
        })
        .on_chat_suspend(move |event| {
            note(&suspends, "sleep");
            event.chat.locals().get(&POOL).unwrap().cool();
            async { Ok(()) }
        })
}

#[tokio::test(start_paused = true)]
async fn a_resource_is_warm_until_deferred_work_is_done_and_cold_while_the_run_sleeps_a289() {
    let (session, diary) = (Arc::new(FakeSession::default()), Diary::default());
    session.say("a");
    let talk = async {
        session.until(|state| !state.waits.is_empty()).await;
        note(&diary, "asleep");
        session.say("b");
    };
    let resumes = diary.clone();
    let agent = pooled(&diary).on_chat_resume(move |event| {
        note(&resumes, if event.chat.locals().get(&POOL).unwrap().is_warm() { "woken warm" } else { "woken cold" });
        event.chat.end_run();
        async { Ok(()) }
    });

    tokio::join!(run(&session, agent), talk);

    // The second turn's pool goes with the run, behind the work that uses it.
    assert_eq!(diary.lock().unwrap().join(" "), "warm used sleep cold asleep woken cold warm used cold");
}

// A-292, and with it A-143 of the writes (AA-143).
#[tokio::test(start_paused = true)]
async fn without_a_place_for_snapshots_the_chat_works_on_what_out_still_holds_and_the_run_warns_once_a292() {
    // S-203.
    let session = Arc::new(FakeSession::default());
    session.state().fails_snapshots = true;
    for text in ["a", "b", "c"] {
        session.say(text);
    }
    let read = Diary::default();
    let own = read.clone();
    let agent = move || {
        let own = own.clone();
        talker().on_turn_start(move |event| {
            note(&own, event.ui_messages.iter().map(UiMessage::text).collect::<Vec<_>>().join(","));
            async { Ok(()) }
        })
    };

    run(&session, agent()).await;
    let warnings = session.state().warnings.clone();
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    session.say("d");
    continue_run(&session, agent()).await;

    // Nothing is trimmed that no snapshot covers, so the next run has all of it.
    assert_eq!(read.lock().unwrap()[2..], ["a,re a,b,re b,c", "a,re a,b,re b,c,re c,d"]);
    let warnings = session.state().warnings.clone();
    assert_eq!(warnings.len(), 2, "each run warns once: {warnings:?}");
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_that_fails_again_after_one_that_was_stored_is_warned_about_again_a292_a108() {
    let session = Arc::new(FakeSession::default());
    let talk = async {
        for (n_turns, (text, fails)) in [("a", true), ("b", false), ("c", true)].into_iter().enumerate() {
            session.state().fails_snapshots = fails;
            session.say(text);
            session.until_turns(n_turns + 1).await;
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    };

    tokio::join!(run(&session, talker()), talk);

    let warnings = session.state().warnings.clone();
    assert_eq!(warnings.len(), 2, "{warnings:?}");
}

#[tokio::test(start_paused = true)]
async fn head_start_messages_seed_nothing_outside_a_head_start_a6() {
    let with = |payload: ChatTaskWirePayload| {
        let planted = Some(vec![UiMessage::user("planted", "planted")]);
        ChatInputChunk::message(ChatTaskWirePayload { head_start_messages: planted, ..payload })
    };
    let session = Arc::new(FakeSession::default());
    session.send(with(ChatTaskWirePayload::submit("chat", UiMessage::user("a", "a"))));
    session.send(with(ChatTaskWirePayload::new("chat", turnkeep_protocol::Trigger::RegenerateMessage)));
    let planted = json!([{ "id": "planted", "role": "user", "parts": [{ "type": "text", "text": "planted" }] }]);

    for trigger in ["submit-message", "preload"] {
        let boot = lease(&session, 1, json!({ "trigger": trigger, "headStartMessages": planted }));
        serve(&session, talker(), FakeModel::echo(), boot).await.unwrap();
    }
    session.say("b");
    let boot = lease(&session, 1, json!({ "continuation": true, "previousRunId": "r", "headStartMessages": planted }));
    serve(&session, talker(), FakeModel::echo(), boot).await.unwrap();

    assert_eq!(session.saved_texts(), ["a", "re a", "b", "re b"]);
}

#[tokio::test(start_paused = true)]
async fn a_head_start_that_was_given_up_before_the_run_booted_keeps_the_message_a225_d87_d41() {
    // 1 the warm server's step fails; 2 it closes the step on `out` and says `handover-skip`; 3 the run boots only now.
    let planted = json!([{ "id": "planted", "role": "user", "parts": [{ "type": "text", "text": "planted" }] }]);
    let boot = |session: &FakeSession, more: serde_json::Value| {
        let mut payload = json!({ "trigger": "handover-prepare", "headStartMessages": planted });
        payload.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        lease(session, 1, payload)
    };
    for is_hydrated in [false, true] {
        let session = Arc::new(FakeSession::default());
        let part = PartId::new("part");
        for chunk in [UiMessageChunk::start("a-1"), UiMessageChunk::error("no")] {
            session.state().append(&NewRecord::data(&json!(chunk), &part));
        }
        session.state().append(&NewRecord::control(control::TURN_COMPLETE, Vec::new()));
        session.send(ChatInputChunk::HandoverSkip);
        let own = talker().hydrate_messages(|event| async move { Ok(event.incoming_messages) });
        let agent = if is_hydrated { own } else { talker() };

        serve(&session, agent, FakeModel::echo(), boot(&session, json!({}))).await.unwrap();

        assert_eq!(session.story(), "start error(no) done(-)", "the run has ended without a word");
        assert_eq!(session.saved_texts(), if is_hydrated { vec![] } else { vec!["planted"] });
        if !is_hydrated {
            // Whoever speaks next gets an answer of his own.
            session.say("a");
            let next =
                lease(&session, 1, json!({ "continuation": true, "previousRunId": "r", "headStartMessages": planted }));
            serve(&session, talker(), FakeModel::echo(), next).await.unwrap();
            assert_eq!(session.saved_texts(), ["planted", "a", "re a"]);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_first_turn_that_died_behind_its_boundary_is_not_run_again_ar32_a227_d41() {
    // 1 somebody writes before the signal; 2 the handover's turn is closed, by a boundary that settles nothing yet; 3 the run dies
    // at the next write, whichever that is.
    let planted = json!([{ "id": "planted", "role": "user", "parts": [{ "type": "text", "text": "planted" }] }]);
    for writes_left in 0..6 {
        let session = Arc::new(FakeSession::default());
        session.say("before");
        let part = PartId::new("part");
        for chunk in [
            json!({ "type": "start", "messageId": "a-1" }),
            json!({ "type": "text-start", "id": "t" }),
            json!({ "type": "text-delta", "id": "t", "delta": "Clear." }),
            json!({ "type": "text-end", "id": "t" }),
        ] {
            session.state().append(&NewRecord::data(&chunk, &part));
        }
        let clear = json!({ "role": "assistant", "content": "Clear." });
        let message_id = Some("a-1".to_owned());
        session.send(ChatInputChunk::Handover { partial_assistant_message: vec![clear], message_id, is_final: true });
        let boot =
            |attempt| lease(&session, attempt, json!({ "trigger": "handover-prepare", "headStartMessages": planted }));
        session.state().writes_left = Some(writes_left);
        // Nor does it get as far as a snapshot.
        session.state().fails_snapshots = true;
        let first = serve(&session, talker(), FakeModel::echo(), boot(1));
        let _ = tokio::time::timeout(Duration::from_secs(5), first).await;
        session.revive();
        session.state().fails_snapshots = false;

        let second = serve(&session, talker(), FakeModel::echo(), boot(2));
        let _ = tokio::time::timeout(Duration::from_secs(300), second).await;

        assert_eq!(session.state().boundaries().len(), 2, "died after {writes_left}: {}", session.story());
        assert_eq!(session.saved_texts(), ["planted", "Clear.", "before", "re before"], "died after {writes_left}");
    }
}

#[tokio::test(start_paused = true)]
async fn head_start_messages_seed_turn_0_and_no_chat_that_has_messages_a73_aa13() {
    let planted = json!([{ "id": "planted", "role": "user", "parts": [{ "type": "text", "text": "planted" }] }]);
    let boot = |session: &FakeSession, attempt| {
        lease(session, attempt, json!({ "trigger": "handover-prepare", "headStartMessages": planted }))
    };
    let clear = json!({ "role": "assistant", "content": "Clear." });
    let handover =
        ChatInputChunk::Handover { partial_assistant_message: vec![clear], message_id: None, is_final: true };
    let session = Arc::new(FakeSession::default());
    session.say("a");
    session.send(handover.clone());
    serve(&session, talker(), FakeModel::echo(), boot(&session, 1)).await.unwrap();

    // What came before the signal waits for its turn (A-227).
    assert_eq!(session.saved_texts(), ["planted", "Clear.", "a", "re a"]);

    // A later attempt has a history of its own; an author's own history is the author's.
    session.say("b");
    serve(&session, talker(), FakeModel::echo(), boot(&session, 2)).await.unwrap();
    assert_eq!(session.saved_texts(), ["planted", "Clear.", "a", "re a", "b", "re b"]);
    let session = Arc::new(FakeSession::default());
    session.send(handover);
    let n_previous = Diary::default();
    let own = n_previous.clone();
    let hydrated = talker().hydrate_messages(move |event| {
        note(&own, event.previous_messages.len().to_string());
        async { Ok(event.incoming_messages) }
    });
    serve(&session, hydrated, FakeModel::echo(), boot(&session, 1)).await.unwrap();
    assert_eq!(entries(&n_previous), ["0"], "the head start is no history of the author's");
}

#[tokio::test(start_paused = true)]
async fn work_deferred_before_the_first_turn_is_done_and_warned_about_a178() {
    let deferring = |done: &Diary| {
        let (boots, turns) = (done.clone(), done.clone());
        talker()
            .on_boot(move |event| {
                let own = boots.clone();
                event.chat.defer(async move {
                    tokio::time::sleep(Duration::from_secs(1)).await;
                    note(&own, "early");
                    Ok(())
                });
                async { Ok(()) }
            })
            .on_turn_complete(move |event| {
                let own = turns.clone();
                event.chat.defer(async move {
                    note(&own, "late");
                    Ok(())
                });
                async { Ok(()) }
            })
    };
    let (session, done) = (Arc::new(FakeSession::default()), Diary::default());
    session.say("a");

    run(&session, deferring(&done)).await;

    assert_eq!(done.lock().unwrap().join(" "), "early late", "nothing is lost");
    let warnings = session.state().warnings.clone();
    assert!(matches!(&warnings[..], [one] if one.contains("deferred")), "{warnings:?}");
}

#[tokio::test(start_paused = true)]
async fn parts_written_when_the_turn_is_over_are_in_no_message_a189() {
    let session = Arc::new(FakeSession::default());
    session.say("a");
    session.say("b");
    let agent = talker().on_turn_complete(|event| async move {
        let chunk = turnkeep_protocol::UiMessageChunk::data("late", None, json!(event.turn));
        Ok(event.chat.writer().write(chunk).await?)
    });

    run(&session, agent).await;

    assert_eq!(session.story().matches("data-late").count(), 2, "readers get them: {}", session.story());
    let state = session.state();
    let mut parts = state.snapshot.as_ref().unwrap().messages.iter().flat_map(|message| &message.parts);
    assert!(parts.all(|part| part.as_data().is_none()));
    assert_eq!(state.warnings.iter().filter(|warning| warning.contains("data parts")).count(), 2);
}

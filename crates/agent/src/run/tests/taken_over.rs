//! What a run that takes over owes to what it finds: hooks that are due, records that are its own, nothing twice (A §3.4).

use std::sync::{Arc, Mutex};

use serde_json::json;
use turnkeep_model::StreamPart;
use turnkeep_protocol::{ChatTaskWirePayload, SeqNum, UiMessage, UiMessageChunk};

use crate::testing::*;
use crate::{Agent, Error, PipeOptions, PipeSource, Recovery, Tool};

async fn continue_run(session: &Arc<FakeSession>, agent: Agent) -> Result<(), Error> {
    let lease = lease(session, 1, json!({ "continuation": true, "previousRunId": "run_0" }));
    serve(session, agent, FakeModel::echo(), lease).await
}

/// Serves a first attempt until its process dies after so many writes.
async fn die(session: &Arc<FakeSession>, model: Arc<FakeModel>, n_writes: usize) {
    die_with(session, talker(), model, n_writes).await;
}

async fn die_as(session: &Arc<FakeSession>, agent: Agent, n_writes: usize) {
    die_with(session, agent, FakeModel::echo(), n_writes).await;
}

async fn die_with(session: &Arc<FakeSession>, agent: Agent, model: Arc<FakeModel>, n_writes: usize) {
    let first = lease(session, 1, json!({ "trigger": "preload" }));
    die_after(n_writes, session, agent, model, first).await;
}

#[tokio::test(start_paused = true)]
async fn before_boot_is_waited_for_and_its_failure_is_the_runs_a66_aa87() {
    let session = Arc::new(FakeSession::default());
    session.say("a");
    die(&session, FakeModel::echo(), 4).await;
    session.say("b");
    let before = session.story();
    let recovering = |fails: bool| {
        talker().on_recovery_boot(move |event| async move {
            let work = async move {
                tokio::time::sleep(std::time::Duration::from_secs(3)).await;
                event.chat.history().rollback_to("a");
                if fails { Err("the lock is taken".into()) } else { Ok(()) }
            };
            Ok(Recovery { before_boot: Some(Box::pin(work)), ..Recovery::default() })
        })
    };

    let error = continue_run(&session, recovering(true)).await.unwrap_err();

    assert_eq!(error.to_string(), "before_boot failed: the lock is taken");
    assert!(!session.story()[before.len()..].contains("re b"), "no recovered turn runs: {}", session.story());
    let began = tokio::time::Instant::now();
    continue_run(&session, recovering(false)).await.unwrap();
    assert!(session.story().ends_with("re b text-end finish-step finish done(1)"), "{}", session.story());
    assert!(began.elapsed() >= std::time::Duration::from_secs(3));
}

#[tokio::test(start_paused = true)]
async fn a_recovery_hook_whose_process_died_is_asked_again_a60_a66_d31() {
    let session = Arc::new(FakeSession::default());
    session.say("a");
    die(&session, FakeModel::echo(), 4).await;
    let partials = Arc::new(Mutex::new(Vec::new()));
    let asked = |dies_in_hook: bool, dies_after: bool| {
        let own = partials.clone();
        talker().on_recovery_boot(move |event| {
            own.lock().unwrap().push(event.partial_assistant.text());
            async move {
                if dies_in_hook {
                    futures::future::pending::<()>().await;
                }
                let work = async move { if dies_after { futures::future::pending().await } else { Ok(()) } };
                Ok(Recovery {
                    recovered_turns: Some(event.in_flight_users),
                    before_boot: Some(Box::pin(work)),
                    chain: None,
                })
            }
        })
    };

    for (n_asked, agent) in [(1, asked(true, false)), (2, asked(false, true))] {
        tokio::select! {
            biased;
            _ = continue_run(&session, agent) => panic!("the hook never ends"),
            // The answer's end is on record, and the hook is still at it.
            () = session.until(|state| state.told.len() == 5 && partials.lock().unwrap().len() == n_asked) => {}
        }
    }
    continue_run(&session, asked(false, false)).await.unwrap();

    assert_eq!(*partials.lock().unwrap(), ["re a"; 3]);
    let want = "start start-step text-start re a abort(interrupted) \
                start start-step text-start re a text-end finish-step finish done(0)";
    assert_eq!(session.story(), want, "one abort, whoever is asked");
}

#[tokio::test(start_paused = true)]
async fn a_greeting_of_a_hook_is_not_the_answer_to_the_next_message_a65_d31_d64() {
    fn greeting() -> PipeSource {
        let chunks = ["start", "finish"].map(|kind| UiMessageChunk::from_value(json!({ "type": kind })).unwrap());
        PipeSource::chunks(futures::stream::iter(chunks))
    }
    let at_preload =
        || talker().on_preload(|event| async move { event.chat.pipe(greeting(), PipeOptions::new()).await });
    let at_boot = || talker().on_boot(|event| async move { event.chat.pipe(greeting(), PipeOptions::new()).await });
    let after_turn = || {
        talker().on_turn_complete(|event| async move {
            if event.turn == 0 { event.chat.pipe(greeting(), PipeOptions::new()).await } else { Ok(()) }
        })
    };
    // Behind the greeting's two records the process dies, before the first word of the next answer.
    for (agent, before, n_writes) in
        [(at_preload as fn() -> Agent, None, 2), (at_boot, None, 2), (after_turn, Some("a"), 10)]
    {
        let session = Arc::new(FakeSession::default());
        if let Some(text) = before {
            session.say(text);
        }
        session.say("b");
        die_as(&session, agent(), n_writes).await;
        assert!(session.story().ends_with("start finish"), "{}", session.story());

        continue_run(&session, talker()).await.unwrap();

        assert!(session.story().contains("re b text-end"), "{}", session.story());
        assert_eq!(session.saved_texts().last().unwrap(), "re b");
    }
}

#[tokio::test(start_paused = true)]
async fn a_crash_in_a_turn_that_a_hook_invented_costs_no_message_a63_a65_d64() {
    let session = Arc::new(FakeSession::default());
    session.say("a");
    die(&session, FakeModel::echo(), 4).await;
    let inventing = || {
        talker().on_recovery_boot(|_| async {
            Ok(Recovery { recovered_turns: Some(vec![UiMessage::user("new", "new")]), ..Recovery::default() })
        })
    };
    // abort, done(0), and the invented turn up to its first words.
    let second = lease(&session, 1, json!({ "continuation": true, "previousRunId": "run_0" }));
    die_after(6, &session, inventing(), FakeModel::echo(), second).await;
    assert!(session.story().ends_with("re new"), "{}", session.story());
    session.say("b");

    continue_run(&session, talker()).await.unwrap();

    let want = "re new abort(interrupted) start start-step text-start re b text-end finish-step finish done(1)";
    assert!(session.story().ends_with(want), "{}", session.story());
}

#[tokio::test(start_paused = true)]
async fn what_boot_has_recovered_does_not_come_in_once_more_a67() {
    let session = Arc::new(FakeSession::default());
    for text in ["a", "b"] {
        session.say(text);
    }
    session.send(stop());

    continue_run(&session, talker()).await.unwrap();

    // The tail opens behind the last record that boot has read, the stop included, and never in front of it.
    assert_eq!(session.state().tails.first(), Some(&Some(SeqNum::new(2))));
    assert!(session.state().tails.iter().all(|after| *after >= Some(SeqNum::new(2))));
    assert_eq!(session.saved_texts(), ["a", "re a", "b", "re b"]);
}

#[tokio::test(start_paused = true)]
async fn a_message_in_the_boots_own_payload_is_served_once_a69_ar10_a71_d38() {
    let payload = serde_json::to_value(ChatTaskWirePayload::submit("chat", UiMessage::user("a", "a"))).unwrap();
    // Found in flight: the record serves it, and the payload does not do so again.
    let session = Arc::new(FakeSession::default());
    session.say("a");
    session.say("b");
    let retry = lease(&session, 2, payload.clone());
    serve(&session, talker(), FakeModel::echo(), retry).await.unwrap();
    assert_eq!(session.saved_texts(), ["a", "re a", "b", "re b"]);
    let boundaries = session.state().boundaries();
    assert_eq!(boundaries.len(), 2, "{}", session.story());

    // Served by the attempt before, which died over the next one: the original payload does not bring it back.
    let session = Arc::new(FakeSession::default());
    session.say("a");
    let first = lease(&session, 1, payload.clone());
    serve(&session, talker(), FakeModel::echo(), first).await.unwrap();
    session.say("b");
    let retry = lease(&session, 2, payload);
    serve(&session, talker(), FakeModel::echo(), retry).await.unwrap();
    assert_eq!(session.saved_texts(), ["a", "re a", "b", "re b"]);
    let boundaries = session.state().boundaries();
    assert_eq!((session.story().matches("re a").count(), boundaries.len()), (1, 2));
}

#[tokio::test(start_paused = true)]
async fn a_stored_boot_payload_brings_no_turn_of_its_own_to_a_continuation_ar9_a4_a80() {
    for trigger in ["submit-message", "preload"] {
        let stored = json!({ "continuation": true, "previousRunId": "run_0", "trigger": trigger,
            "message": { "id": "a", "role": "user", "parts": [{ "type": "text", "text": "a" }] } });
        let (session, preloads) = (Arc::new(FakeSession::default()), Diary::default());
        for text in [Some("a"), Some("b"), None] {
            text.map(|text| session.say(text));
            let lease = lease(&session, 1, stored.clone());
            let agent = talker().on_preload(notes(&preloads, "preload"));
            serve(&session, agent, FakeModel::echo(), lease).await.unwrap();
        }

        // Not even an empty one.
        let boundaries = session.state().boundaries();
        assert_eq!(boundaries, [Some(SeqNum::ZERO), Some(SeqNum::new(1))], "{}", session.story());
        assert_eq!(session.saved_texts(), ["a", "re a", "b", "re b"]);
        assert_eq!(entries(&preloads), [""; 0]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_that_was_cut_off_is_pending_for_the_recovery_hook_and_for_nobody_else_aa80_a62_af15() {
    let session = Arc::new(FakeSession::default());
    session.say("a");
    let model = FakeModel::new(|_| {
        let unfinished = StreamPart::ToolInputStart {
            id: "c0".to_owned(),
            name: "look".to_owned(),
            provider_executed: false,
            dynamic: false,
            title: None,
            provider_metadata: None,
        };
        let call = StreamPart::tool_call("c1", "look", json!({ "at": 1 }));
        [begins("hm"), vec![part(unfinished), part(call), Said::Silence]].concat()
    });
    die_silently(&session, model, 6).await;
    let seen = Arc::new(Mutex::new(Vec::new()));
    let own = seen.clone();
    let agent = talker().on_recovery_boot(move |event| {
        own.lock().unwrap().push((event.pending_tool_calls.clone(), event.partial_assistant.parts.len()));
        async { Ok(Recovery::default()) }
    });

    continue_run(&session, agent).await.unwrap();

    let seen = seen.lock().unwrap();
    let (pending, n_parts) = &seen[0];
    let pending: Vec<_> = pending
        .iter()
        .map(|call| (call.tool_call_id.as_str(), call.tool_name.as_str(), call.input.clone(), call.part_index))
        .collect();
    // The step's mark, the text and the unfinished call come before it; cleaned, only the first two are left.
    assert_eq!((pending, *n_parts), (vec![("c1", "look", json!({ "at": 1 }), 3)], 2));
}

/// Serves a first attempt until it has written so many records, and then kills it where it waits.
async fn die_silently(session: &Arc<FakeSession>, model: Arc<FakeModel>, n_writes: usize) {
    let first = lease(session, 1, json!({ "trigger": "preload" }));
    let agent = talker().tools([Tool::answered_by_client("look", "", json!({}))]);
    tokio::select! {
        biased;
        _ = serve(session, agent, model, first) => panic!("the model never ends"),
        () = session.until(|state| state.told.len() >= n_writes) => {}
    }
}

#[tokio::test(start_paused = true)]
async fn a_chat_whose_first_run_died_too_early_starts_with_the_next_one_a103_a94() {
    let session = Arc::new(FakeSession::default());
    session.say("a");
    die(&session, FakeModel::echo(), 0).await;
    let starts = Arc::new(Mutex::new(Vec::new()));
    let starter = || {
        let own = starts.clone();
        talker().on_chat_start(move |event| {
            own.lock().unwrap().push(event.continuation);
            async { Ok(()) }
        })
    };

    continue_run(&session, starter()).await.unwrap();
    session.say("b");
    continue_run(&session, starter()).await.unwrap();

    assert_eq!(*starts.lock().unwrap(), [true], "once, although a run went before");
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_that_is_none_of_ours_is_no_snapshot_a44() {
    let session = Arc::new(FakeSession::default());
    session.state().holds_nonsense = true;
    session.say("a");

    continue_run(&session, talker()).await.unwrap();

    assert_eq!(session.saved_texts(), ["a", "re a"]);
    assert_eq!(session.state().warnings, ["the stored chat snapshot is unusable"]);
}

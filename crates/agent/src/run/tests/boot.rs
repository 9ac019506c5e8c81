//! What a run does before its first turn, seen from outside (A §3).

use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::json;
use turnkeep_protocol::{ChannelName, ChatSnapshot, ChatTaskWirePayload, SeqNum, UiMessage};

use crate::testing::*;
use crate::{Agent, Error, Recovery, RecoveryBoot, Tool, TurnInput};

async fn continue_run(session: &Arc<FakeSession>, agent: Agent) -> Result<(), Error> {
    let lease = lease(session, 1, json!({ "continuation": true, "previousRunId": "run_0" }));
    serve(session, agent, FakeModel::echo(), lease).await
}

#[tokio::test(start_paused = true)]
async fn boot_reads_then_recovers_then_boots_and_only_then_takes_a_turn_a43_a75_aa87() {
    let session = cut().await;
    session.say("b");
    let order = Arc::new(Mutex::new(Vec::new()));
    let note = |text: &'static str| {
        let (order, session) = (order.clone(), session.clone());
        move || order.lock().unwrap().push(format!("{text} after {} reads", session.state().n_reads))
    };
    let (recovering, before, booting, turning) =
        (note("recovery"), Arc::new(note("before")), note("boot"), note("turn"));
    let agent = talker()
        .on_recovery_boot(move |_| {
            recovering();
            let before = before.clone();
            let work: futures::future::BoxFuture<'static, _> = Box::pin(async move {
                before();
                Ok(())
            });
            async { Ok(Recovery { before_boot: Some(work), ..Recovery::default() }) }
        })
        .on_boot(move |event| {
            booting();
            // Reads of the history see the seeded chain.
            assert_eq!(event.chat.history().all().len(), 2);
            async { Ok(()) }
        })
        .on_turn_start(move |_| {
            turning();
            async { Ok(()) }
        });

    continue_run(&session, agent).await.unwrap();

    let want = ["recovery", "before", "boot", "turn"].map(|what| format!("{what} after 3 reads"));
    assert_eq!(*order.lock().unwrap(), want);
}

#[tokio::test(start_paused = true)]
async fn the_recovery_hook_is_told_all_there_is_a61_a59_a62() {
    let session = cut().await;
    session.say("b");
    let hooked = Diary::default();
    let agent = talker().on_recovery_boot(noted(&hooked, "on_recovery_boot", |event: RecoveryBoot| async move {
        assert_eq!((event.chat.id(), event.ctx.run_id.as_str(), event.ctx.attempt), ("chat", "run_1", 1));
        assert_eq!((event.previous_run_id.as_str(), event.cause), ("run_0", "unknown"));
        assert_eq!(
            (event.settled_messages.len(), event.in_flight_users.iter().map(UiMessage::text).collect::<Vec<_>>()),
            (0, vec!["a".to_owned(), "b".to_owned()])
        );
        assert_eq!((event.partial_assistant.text().as_str(), event.pending_tool_calls.len()), ("re a", 0));
        Ok(Recovery::default())
    }));

    continue_run(&session, agent).await.unwrap();

    assert_eq!(entries(&hooked).len(), 1);
    assert_eq!(session.saved_texts(), ["a", "re a", "b", "re b"]);
}

#[tokio::test(start_paused = true)]
async fn channels_are_read_from_where_the_snapshot_ends_a47_a48_aa94_aa104() {
    // S-200.
    let session = Arc::new(FakeSession::default());
    for text in ["a", "b"] {
        session.say(text);
    }
    let first = lease(&session, 1, json!({ "trigger": "preload" }));
    serve(&session, talker(), FakeModel::echo(), first).await.unwrap();
    session.say("c");
    let saved = session.state().snapshot.clone().unwrap();

    continue_run(&session, talker()).await.unwrap();

    assert_eq!((saved.last_out_event_id, saved.last_in_event_id), (Some(SeqNum::new(15)), Some(SeqNum::new(1))));
    let drains = session.state().drains.clone();
    assert_eq!(drains, [(ChannelName::Out, saved.last_out_event_id), (ChannelName::In, saved.last_in_event_id)]);
}

#[tokio::test(start_paused = true)]
async fn a_channel_that_cannot_be_read_ends_the_attempt_and_changes_nothing_a47() {
    for channel in [ChannelName::Out, ChannelName::In] {
        let session = cut().await;
        session.state().unreadable = Some(channel);
        let before = session.story();

        let ended = continue_run(&session, talker()).await;

        // Another attempt may do better; going on without the history would overwrite what is there.
        assert!(ended.unwrap_err().is_retryable());
        assert_eq!((session.story(), session.saved_texts().len()), (before, 0));
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_stored_is_a_version_1_snapshot_a45_a108() {
    let session = Arc::new(FakeSession::default());
    session.say("a");
    let first = lease(&session, 1, json!({}));

    serve(&session, talker(), FakeModel::echo(), first).await.unwrap();

    let mut stored = serde_json::to_value(session.state().snapshot.as_ref().unwrap()).unwrap();
    let saved_at = stored["savedAt"].take().as_u64().unwrap();
    assert!(saved_at > 1_600_000_000_000, "milliseconds since 1970");
    assert_eq!(stored["messages"].take().as_array().unwrap().len(), 2);
    let want = json!({ "version": 1, "savedAt": null, "messages": null, "lastOutEventId": "7", "lastInEventId": "0" });
    assert_eq!(stored, want);
}

#[tokio::test(start_paused = true)]
async fn a_first_message_lives_on_in_and_not_in_a_payload_a72_ar36_ar9() {
    let message = UiMessage::user("a", "a");
    let payload = serde_json::to_value(ChatTaskWirePayload::submit("chat", message)).unwrap();
    // A payload that repeats the message changes nothing: it is answered once.
    let session = Arc::new(FakeSession::default());
    session.say("a");
    let first = lease(&session, 1, payload.clone());
    serve(&session, talker(), FakeModel::echo(), first).await.unwrap();
    assert_eq!(session.saved_texts(), ["a", "re a"]);

    // The run dies before anything is stored; the continuation has no payload, and answers all the same.
    let session = Arc::new(FakeSession::default());
    session.say("a");
    let first = lease(&session, 1, payload);
    die_after(0, &session, talker(), FakeModel::echo(), first).await;
    continue_run(&session, talker()).await.unwrap();
    assert_eq!(session.saved_texts(), ["a", "re a"]);
}

#[tokio::test(start_paused = true)]
async fn the_agents_own_settings_hold_from_the_first_turn_a40() {
    let session = Arc::new(FakeSession::default());
    session.say("a");
    let agent = Agent::new("test", |turn: TurnInput| async move {
        let names: Vec<_> = turn.tools.iter().map(|tool| tool.name().to_owned()).collect();
        assert_eq!((turn.chat.id(), names), ("chat", vec!["look".to_owned()]));
        Ok(turn.stream_text())
    })
    .tools([Tool::new("look", "", json!({}), |_: serde_json::Value, _| async { Ok(json!(1)) })])
    .idle_timeout(Duration::from_secs(5));
    let first = lease(&session, 1, json!({}));

    serve(&session, agent, FakeModel::new(|_| calls("c1", "look", json!({}))), first).await.unwrap();

    assert!(session.story().contains("tool-output-available"), "{}", session.story());
    assert!(!session.readable().is_empty(), "a first turn has nothing behind it to trim to");
    assert_eq!(session.readable(), session.story());
}

#[tokio::test(start_paused = true)]
async fn client_data_goes_to_its_own_record_whole_a291_a8() {
    let session = Arc::new(FakeSession::default());
    let with = |text: &str, metadata| {
        let payload = ChatTaskWirePayload::submit("chat", UiMessage::user(text, text));
        turnkeep_protocol::ChatInputChunk::message(ChatTaskWirePayload { metadata: Some(metadata), ..payload })
    };
    session.send(with("a", json!({ "user": 1, "__edge": { "ip": "::1" } })));
    session.send(with("b", json!({ "user": 2 })));
    let seen = Arc::new(Mutex::new(Vec::new()));
    let own = seen.clone();
    let agent = talker().client_data(move |raw| {
        own.lock().unwrap().push(raw.clone());
        Ok(raw)
    });
    let first = lease(&session, 1, json!({ "metadata": { "boot": true } }));

    serve(&session, agent, FakeModel::echo(), first).await.unwrap();

    // Nothing of the boot's or of another record's data is mixed in.
    assert_eq!(*seen.lock().unwrap(), [json!({ "user": 1, "__edge": { "ip": "::1" } }), json!({ "user": 2 })]);
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_of_nothing_seeds_nothing_and_hides_nothing_a73() {
    let session = Arc::new(FakeSession::default());
    session.state().snapshot = Some(ChatSnapshot::new(0, vec![], None, None));
    session.say("a");

    continue_run(&session, talker()).await.unwrap();

    assert_eq!(session.saved_texts(), ["a", "re a"]);
}

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::json;
use turnkeep_protocol::{UiMessage, UiMessageChunk};

use crate::testing::*;
use crate::{Agent, Error, Recovery, TurnInput};

/// Serves attempt 1 until its process dies after `n_writes` records, then attempt 2 to its end.
async fn crash_and_recover(session: &Arc<FakeSession>, agent: impl Fn() -> Agent, n_writes: usize) {
    session.state().writes_left = Some(n_writes);
    let first = lease(session, 1, json!({ "trigger": "preload" }));
    tokio::select! {
        biased;
        result = serve(session, agent(), FakeModel::echo(), first) => result.expect("the run ends well"),
        () = session.until(|state| state.is_dead) => {}
    }
    session.revive();
    let second = lease(session, 2, json!({ "trigger": "preload" }));
    serve(session, agent(), FakeModel::echo(), second).await.expect("the recovered run ends well");
}

/// Checks what must hold however the run died: no message lost, none answered twice, no id twice, everything closed.
#[track_caller]
fn check_whole(session: &FakeSession, users: &[&str], n_writes: usize) {
    let story = session.story();
    let told = format!("after {n_writes} writes: {story}");
    let ids = session.saved_ids();
    let unique: BTreeSet<_> = ids.iter().collect();
    assert_eq!(unique.len(), ids.len(), "an id twice {told}");
    let texts = session.saved_texts();
    for user in users {
        let at = texts.iter().position(|text| text == user).unwrap_or_else(|| panic!("{user} is lost {told}"));
        let answer = texts.get(at + 1).unwrap_or_else(|| panic!("{user} has no answer {told}"));
        assert_eq!(*answer, format!("re {user}"), "{told}");
        assert_eq!(story.matches(&format!("re {user}")).count(), 1, "{user} is answered twice {told}");
    }
    assert!(story.ends_with(&format!("done({})", users.len() - 1)), "the last turn stays open {told}");
    assert_eq!(texts.len(), users.len() * 2, "{told}");
}

#[tokio::test(start_paused = true)]
async fn a_crash_after_any_write_loses_nothing_and_repeats_nothing_aa166_ar11_ar47_d31() {
    for n_writes in 0..18 {
        let session = Arc::new(FakeSession::default());
        session.say("a");
        session.say("b");

        crash_and_recover(&session, talker, n_writes).await;

        check_whole(&session, &["a", "b"], n_writes);
    }
}

#[tokio::test(start_paused = true)]
async fn a_crash_after_any_write_is_survived_without_any_snapshot_ar41_ar48() {
    // S-203.
    for n_writes in 0..18 {
        let session = Arc::new(FakeSession::default());
        session.state().fails_snapshots = true;
        session.say("a");
        session.say("b");
        session.state().writes_left = Some(n_writes);
        let first = lease(&session, 1, json!({}));
        tokio::select! {
            biased;
            result = serve(&session, talker(), FakeModel::echo(), first) => result.expect("the run ends well"),
            () = session.until(|state| state.is_dead) => {}
        }
        session.revive();
        session.state().fails_snapshots = false;
        session.say("c");
        let second = lease(&session, 2, json!({}));
        serve(&session, talker(), FakeModel::echo(), second).await.expect("the recovered run ends well");

        check_whole(&session, &["a", "b", "c"], n_writes);
    }
}

#[tokio::test(start_paused = true)]
async fn a_cut_answer_is_closed_as_interrupted_before_anything_else_d31_a65() {
    let session = Arc::new(FakeSession::default());
    session.say("a");
    session.say("b");

    crash_and_recover(&session, talker, 4).await;

    let want = "start start-step text-start re a abort(interrupted) done(0) \
                start start-step text-start re b text-end finish-step finish done(1)";
    assert_eq!(session.story(), want);
}

#[tokio::test(start_paused = true)]
async fn the_recovery_hook_sees_the_partial_and_decides_aa79_aa84_aa85_aa87() {
    let session = Arc::new(FakeSession::default());
    session.say("a");
    let agent = || {
        talker().on_recovery_boot(|event| async move {
            assert_eq!(event.partial_assistant.text(), "re a");
            assert_eq!((event.in_flight_users.len(), event.cause, event.previous_run_id.as_str()), (1, "unknown", ""));
            event.writer.write(turnkeep_protocol::UiMessageChunk::data("note", None, json!(1))).await?;
            Ok(Recovery { chain: Some(vec![]), recovered_turns: Some(event.in_flight_users), before_boot: None })
        })
    };

    crash_and_recover(&session, agent, 4).await;

    // The boundary of the turn that runs again is the only one: a bare one would end the sender's wait.
    let want = "start start-step text-start re a abort(interrupted) data-note \
                start start-step text-start re a text-end finish-step finish done(0)";
    assert_eq!(session.story(), want);
    // The note is in the new answer, on the wire behind the cut one's end.
    let state = session.state();
    let messages = &state.snapshot.as_ref().unwrap().messages;
    assert!(messages.last().unwrap().parts.iter().any(|part| part.as_data().is_some()));
}

#[tokio::test(start_paused = true)]
async fn a_failing_recovery_hook_leaves_the_default_aa88_a64() {
    let session = Arc::new(FakeSession::default());
    session.say("a");
    let agent = || talker().on_recovery_boot(|_| async { Err("no".into()) });

    crash_and_recover(&session, agent, 4).await;

    assert_eq!(session.story(), "start start-step text-start re a abort(interrupted) done(0)");
}

#[tokio::test(start_paused = true)]
async fn without_a_partial_the_recovery_hook_does_not_run_a60_aa81() {
    let session = Arc::new(FakeSession::default());
    session.say("a");
    let agent = || talker().on_recovery_boot(|_| async { panic!("there is nothing to decide") });

    crash_and_recover(&session, agent, 0).await;

    check_whole(&session, &["a"], 0);
}

#[tokio::test(start_paused = true)]
async fn a_stop_in_the_tail_does_not_abort_the_recovered_turn_ar46_a55() {
    // SR-43.
    let session = Arc::new(FakeSession::default());
    session.say("a");
    session.send(stop());
    let lease = lease(&session, 1, json!({ "continuation": true, "previousRunId": "run_0" }));

    serve(&session, talker(), FakeModel::echo(), lease).await.unwrap();

    assert_eq!(session.story(), "start start-step text-start re a text-end finish-step finish done(1)");
}

#[tokio::test(start_paused = true)]
async fn a_continuation_takes_up_where_the_last_run_ended_aa11_a80_ar9() {
    let session = Arc::new(FakeSession::default());
    session.say("a");
    let first = lease(&session, 1, json!({ "trigger": "preload" }));
    serve(&session, talker(), FakeModel::echo(), first).await.unwrap();
    session.say("b");

    let second = lease(&session, 1, json!({ "continuation": true, "previousRunId": "run_1" }));
    serve(&session, talker(), FakeModel::echo(), second).await.unwrap();

    assert_eq!(session.saved_texts(), ["a", "re a", "b", "re b"]);
}

#[tokio::test(start_paused = true)]
async fn a_crash_while_the_dead_turn_is_closed_loses_nothing_either_d31() {
    for n_writes in 0..4 {
        let session = Arc::new(FakeSession::default());
        session.say("a");
        session.state().writes_left = Some(4);
        for attempt in 1..=2 {
            let lease = lease(&session, attempt, json!({}));
            tokio::select! {
                biased;
                result = serve(&session, talker(), FakeModel::echo(), lease) => result.expect("the run ends well"),
                () = session.until(|state| state.is_dead) => {}
            }
            session.revive();
            session.state().writes_left = Some(n_writes);
        }
        session.state().writes_left = None;

        let third = lease(&session, 3, json!({}));
        serve(&session, talker(), FakeModel::echo(), third).await.expect("the recovered run ends well");

        check_whole(&session, &["a"], n_writes);
    }
}

#[tokio::test(start_paused = true)]
async fn a_hook_that_only_names_the_cut_message_has_it_answered_again_a63() {
    let session = Arc::new(FakeSession::default());
    session.say("a");
    let agent = || {
        talker().on_recovery_boot(|event| async move {
            Ok(Recovery { recovered_turns: Some(event.in_flight_users), ..Recovery::default() })
        })
    };

    crash_and_recover(&session, agent, 4).await;

    let want = "start start-step text-start re a abort(interrupted) \
                start start-step text-start re a text-end finish-step finish done(0)";
    assert_eq!(session.story(), want);
    assert_eq!(session.saved_texts(), ["a", "re a"]);
}

#[tokio::test(start_paused = true)]
async fn an_unusable_record_is_answered_with_an_error_live_and_at_boot_d33_d59() {
    let broken = || crate::record::decode(json!({ "kind": "message", "payload": { "trigger": "action" } })).unwrap();
    for payload in [json!({ "trigger": "preload" }), json!({ "continuation": true, "previousRunId": "run_0" })] {
        let session = Arc::new(FakeSession::default());
        session.send(broken());
        session.say("a");
        let lease = lease(&session, 1, payload);

        serve(&session, talker(), FakeModel::echo(), lease).await.unwrap();

        let want = "error(the message cannot be read) done(0) \
                    start start-step text-start re a text-end finish-step finish done(1)";
        assert_eq!(session.story(), want);
    }
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_that_cannot_be_read_is_waited_for_when_out_was_trimmed_behind_it_a44_a106() {
    for (n_failing_reads, want) in [(2, Ok(())), (usize::MAX, Err(true))] {
        let session = Arc::new(FakeSession::default());
        for text in ["a", "b", "c"] {
            session.say(text);
        }
        let first = lease(&session, 1, json!({ "trigger": "preload" }));
        serve(&session, talker(), FakeModel::echo(), first).await.unwrap();
        session.say("d");
        session.state().n_failing_reads = n_failing_reads;

        let second = lease(&session, 1, json!({ "continuation": true, "previousRunId": "run_1" }));
        let ended = serve(&session, talker(), FakeModel::echo(), second).await;

        // The attempt crashes rather than overwrite the good snapshot.
        assert_eq!(ended.map_err(|error| error.is_retryable()), want);
        let texts = session.saved_texts();
        assert_eq!(texts[..6], ["a", "re a", "b", "re b", "c", "re c"]);
        assert_eq!(texts.len(), if want.is_ok() { 8 } else { 6 });
    }
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_that_is_lost_is_done_without_at_once_though_out_was_trimmed_behind_it_d86() {
    let session = Arc::new(FakeSession::default());
    for text in ["a", "b", "c"] {
        session.say(text);
    }
    let first = lease(&session, 1, json!({ "trigger": "preload" }));
    serve(&session, talker(), FakeModel::echo(), first).await.unwrap();
    session.say("d");
    {
        let mut state = session.state();
        (state.has_lost_snapshot, state.n_reads) = (true, 0);
        state.drains.clear();
    }

    let second = lease(&session, 1, json!({ "continuation": true, "previousRunId": "run_1" }));
    serve(&session, talker(), FakeModel::echo(), second).await.unwrap();

    // What was said is on `in` as ever; of the answers, `out` still has the last.
    assert_eq!(session.saved_texts(), ["a", "b", "c", "re c", "d", "re d"]);
    let lost = "the stored chat snapshot is lost: the chat goes on with what is still on its channels";
    let state = session.state();
    assert_eq!((state.n_reads - state.drains.len(), state.warnings.as_slice()), (1, &[lost.to_owned()][..]));
}

#[tokio::test(start_paused = true)]
async fn an_unreadable_snapshot_is_none_when_nothing_was_trimmed_a44() {
    let session = Arc::new(FakeSession::default());
    session.say("a");
    session.state().n_failing_reads = 1;
    let lease = lease(&session, 1, json!({ "continuation": true, "previousRunId": "run_0" }));

    serve(&session, talker(), FakeModel::echo(), lease).await.unwrap();

    assert_eq!(session.saved_texts(), ["a", "re a"]);
}

#[tokio::test(start_paused = true)]
async fn a_crash_anywhere_after_the_recovery_hook_leaves_nothing_open_d31_a63() {
    for n_writes in 0..10 {
        let session = Arc::new(FakeSession::default());
        session.say("a");
        session.say("b");
        let agent = || {
            talker().on_recovery_boot(|event| async move {
                Ok(Recovery { recovered_turns: Some(event.in_flight_users), ..Recovery::default() })
            })
        };
        session.state().writes_left = Some(4);
        for attempt in 1..=2 {
            let lease = lease(&session, attempt, json!({}));
            tokio::select! {
                biased;
                result = serve(&session, agent(), FakeModel::echo(), lease) => result.expect("the run ends well"),
                () = session.until(|state| state.is_dead) => {}
            }
            session.revive();
            session.state().writes_left = Some(n_writes);
        }
        session.state().writes_left = None;

        let third = lease(&session, 3, json!({}));
        serve(&session, agent(), FakeModel::echo(), third).await.expect("the recovered run ends well");

        let story = session.story();
        assert!(story.ends_with("done(1)") && !story.contains("done(-)"), "after {n_writes} writes: {story}");
        let texts = session.saved_texts();
        assert_eq!((texts[0].as_str(), texts[1].as_str()), ("a", "re a"), "after {n_writes} writes: {story}");
        assert_eq!(texts[texts.len() - 2..], ["b", "re b"], "after {n_writes} writes: {story}");
        let ids = session.saved_ids();
        assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len(), "after {n_writes} writes: {story}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_run_that_loses_its_lease_says_no_more_and_the_next_attempt_ends_its_message_a199_a100_d36() {
    let session = Arc::new(FakeSession::default());
    session.say("a");
    let too_late = || talker().on_turn_complete(|_| async { panic!("the run is no longer ours") });
    session.state().writes_left = Some(4);
    session.state().is_fenced = true;
    let first = lease(&session, 1, json!({}));

    let ended = serve(&session, too_late(), FakeModel::echo(), first).await;

    assert_eq!((ended, session.story().as_str()), (Err(Error::LeaseLost), "start start-step text-start re a"));
    session.revive();
    let second = lease(&session, 2, json!({}));
    serve(&session, talker(), FakeModel::echo(), second).await.unwrap();
    assert_eq!(session.story(), "start start-step text-start re a abort(interrupted) done(0)");
}

/// Lets a turn end without its snapshot, and the next worker restore the chat; gives what the turn's end saw and what was restored.
async fn restored_from_out(agent: fn() -> Agent) -> (Vec<UiMessage>, Vec<UiMessage>, String) {
    let session = Arc::new(FakeSession::default());
    session.say("a");
    session.state().fails_snapshots = true;
    let seen = Arc::new(Mutex::new(Vec::new()));
    let ended = seen.clone();
    let first = agent().on_turn_complete(move |event| {
        *ended.lock().unwrap() = event.ui_messages.to_vec();
        async { Ok(()) }
    });
    let one = lease(&session, 1, json!({ "trigger": "preload" }));
    serve(&session, first, FakeModel::echo(), one).await.unwrap();
    let story = session.story();
    session.state().fails_snapshots = false;
    session.say("b");
    let two = lease(&session, 1, json!({ "continuation": true, "previousRunId": "run_0" }));
    serve(&session, talker(), FakeModel::echo(), two).await.unwrap();
    let restored = session.state().snapshot.as_ref().unwrap().messages.clone();
    let ended = seen.lock().unwrap().clone();
    (ended, restored.to_vec()[..restored.len() - 2].to_vec(), story)
}

#[tokio::test(start_paused = true)]
async fn an_authors_parts_are_restored_from_out_as_the_turn_had_them_a189_a50() {
    fn plan(data: i64) -> UiMessageChunk {
        UiMessageChunk::data("plan", Some("1"), json!(data))
    }
    let before = || talker().on_turn_start(|event| async move { Ok(event.writer.write(plan(1)).await?) });
    let late = || {
        talker()
            .on_turn_start(|event| async move { Ok(event.writer.write(plan(1)).await?) })
            .on_before_turn_complete(|event| async move { Ok(event.writer.write(plan(2)).await?) })
    };
    for agent in [before as fn() -> Agent, late] {
        let (ended, restored, story) = restored_from_out(agent).await;

        assert_eq!(restored, ended, "{story}");
        let kinds: Vec<_> = restored[1].parts.iter().map(|part| part.kind().into_owned()).collect();
        assert_eq!(kinds, ["step-start", "text", "data-plan"], "{story}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_message_of_parts_alone_is_told_under_its_id_and_restored_a189_a50() {
    let silent = || {
        Agent::new("test", |turn: TurnInput| async move {
            turn.writer.write(UiMessageChunk::data("plan", None, json!(1))).await?;
            Ok(())
        })
        .idle_timeout(Duration::from_secs(5))
    };
    let late = || {
        Agent::new("test", |_: TurnInput| async { Ok(()) })
            .idle_timeout(Duration::from_secs(5))
            .on_before_turn_complete(|event| async move {
                Ok(event.writer.write(UiMessageChunk::data("plan", None, json!(1))).await?)
            })
    };
    let failing = || {
        talker().on_turn_start(|event| async move {
            event.writer.write(UiMessageChunk::data("plan", None, json!(1))).await?;
            Err("no".into())
        })
    };
    let whole = "data-plan start finish done(0)";
    for (agent, want) in
        [(silent as fn() -> Agent, whole), (late, whole), (failing, "data-plan start error(no) done(0)")]
    {
        let (ended, restored, story) = restored_from_out(agent).await;

        assert_eq!(story, want);
        assert_eq!(restored, ended, "{story}");
        assert_eq!(restored[1].parts.len(), 1, "{story}");
    }
}

//! Leases, heartbeats, lapses and attempts (D-9, D-35, D-36).

use super::*;
use crate::core::end_of;
use crate::{RunStatus, SnapshotId};

#[test]
fn a_run_goes_to_one_worker_that_serves_its_task_d9() {
    let mut fixture = Fixture::with_chat();

    assert!(fixture.lease_as("another agent", "1").is_none());
    let run = fixture.lease();

    assert_eq!((run.attempt, run.session_key.as_str(), run.lease_ms), (1, "chat", 10_000));
    assert!(fixture.try_lease().is_none(), "it is in a worker's hands");
}

#[test]
fn the_oldest_queued_run_goes_first_d9() {
    let mut fixture = Fixture::new();
    for chat in ["a", "b", "c"] {
        fixture.create_as(new_session(Some(chat), json!({}))).unwrap();
    }

    let order = [(); 3].map(|()| fixture.lease().session_key);

    assert_eq!(order, ["a", "b", "c"]);
}

#[test]
fn a_pinned_session_is_served_by_its_version_only_s11() {
    let mut fixture = Fixture::new();
    let mut new = new_session(Some("chat"), json!({}));
    new.trigger_config.options.lock_to_version = Some("2".to_owned());
    fixture.create_as(new).unwrap();

    assert!(fixture.lease_as("agent", "1").is_none());
    assert!(fixture.lease_as("agent", "2").is_some());
}

#[test]
fn a_lease_lasts_as_long_as_its_heartbeats_d35() {
    let mut fixture = Fixture::with_chat();
    let run = fixture.lease();

    for _ in 0..5 {
        fixture.pass(LEASE - Duration::from_millis(1));
        assert_eq!(fixture.heartbeat(&run), Ok(false));
    }
    assert!(fixture.try_lease().is_none());
    assert_eq!(fixture.core.next_deadline(), Some(fixture.now.plus(LEASE)));
    fixture.pass(LEASE);

    assert_eq!(fixture.heartbeat(&run), Err(Refused::LeaseLost));
    assert_eq!(fixture.lease().attempt, 2);
}

#[test]
fn a_lapse_starts_the_next_attempt_with_the_same_run_and_payload_d9_d35() {
    let mut fixture = Fixture::with_chat();
    let first = fixture.lease();
    fixture.pass(LEASE);

    let second = fixture.lease();

    assert_eq!((&second.run_id, &second.payload, second.attempt), (&first.run_id, &first.payload, 2));
}

#[test]
fn the_last_attempts_lapse_ends_the_run_and_owed_input_gets_a_continuation_d9_d35() {
    let mut fixture = Fixture::with_chat();
    fixture.send();
    let first = fixture.lease();
    fixture.lose(&first);
    for attempt in [2, 3] {
        let run = fixture.lease();
        assert_eq!((&run.run_id, run.attempt), (&first.run_id, attempt));
        fixture.lose(&run);
    }

    let next = fixture.lease();

    assert_ne!(next.run_id, first.run_id);
    assert_eq!((next.attempt, &next.payload["previousRunId"]), (1, &json!(first.run_id)));
    assert!(matches!(fixture.tables().run(&first.run_id).unwrap().status, RunStatus::Crashed { .. }));
}

#[test]
fn max_attempts_comes_from_the_trigger_config_d35() {
    let mut fixture = Fixture::new();
    let mut new = new_session(Some("chat"), json!({}));
    new.trigger_config.options.max_attempts = Some(1);
    fixture.create_as(new).unwrap();
    let run = fixture.lease();

    fixture.lose(&run);

    assert!(fixture.live_run().is_none());
}

#[test]
fn outcomes_decide_whether_another_attempt_follows_d35_a41() {
    for (outcome, retried) in
        [(crashed(), true), (RunOutcome::OutOfMemory, true), (failed(), false), (RunOutcome::Completed, false)]
    {
        let mut fixture = Fixture::with_chat();
        let run = fixture.lease();

        let next = fixture.end(&run, outcome.clone()).unwrap();

        assert_eq!(next, retried.then(|| run.run_id.clone()), "{outcome:?}");
        assert_eq!(fixture.try_lease().map(|run| run.attempt), retried.then_some(2), "{outcome:?}");
    }
}

#[test]
fn an_ended_or_lapsed_attempt_reports_into_the_void_d36() {
    let mut fixture = Fixture::with_chat();
    fixture.send();
    let first = fixture.lease();
    fixture.pass(LEASE);
    let second = fixture.lease();

    assert_eq!(fixture.end_at(&first, RunOutcome::Completed, Some(0)), Err(Refused::LeaseLost));
    assert_eq!(fixture.settled_cursor(), None, "a stale report settles nothing");
    assert_eq!(fixture.heartbeat(&second), Ok(false));
    fixture.end_at(&second, RunOutcome::Completed, Some(0)).unwrap();
    assert_eq!(fixture.end(&second, RunOutcome::Completed), Err(Refused::LeaseLost));
}

#[test]
fn the_next_lease_brings_the_rows_cursors_d32_d41() {
    let mut fixture = Fixture::with_chat();
    fixture.send();
    fixture.send();
    let first = fixture.lease();
    assert_eq!((first.settled_cursor, first.consumed_cursor), (None, None));
    let beat =
        fixture.core.heartbeat(fixture.now, &writer(&first), Some(SeqNum::ZERO), Some(SeqNum::new(1)), RunLook::NotYet);
    assert_eq!(fixture.keep(beat), Ok(false));
    fixture.pass(LEASE);

    let second = fixture.lease();

    assert_eq!((second.settled_cursor, second.consumed_cursor), (Some(SeqNum::ZERO), Some(SeqNum::new(1))));
}

#[test]
fn a_restart_keeps_leases_until_their_stored_end_d35() {
    let mut fixture = Fixture::with_chat();
    let run = fixture.lease();
    fixture.pass(Duration::from_secs(4));

    fixture.core = fixture.reloaded(2, LEASE);

    assert_eq!(fixture.core.next_deadline(), Some(fixture.now.plus(Duration::from_secs(6))));
    assert!(fixture.try_lease().is_none());
    assert_eq!(fixture.heartbeat(&run), Ok(false));
}

#[test]
fn marks_are_write_once_and_fenced_d45() {
    use turnkeep_protocol::run_api::Mark;
    let mut fixture = Fixture::with_chat();
    let run = fixture.lease();
    let mark = |fixture: &mut Fixture, run: &LeasedRun, mark| {
        let marked = fixture.core.mark(fixture.now, "chat", &writer(run), mark);
        fixture.keep(marked)
    };

    mark(&mut fixture, &run, Mark::ChatStarted).unwrap();
    let first = fixture.core.find("chat").unwrap().row.chat_started_at;
    fixture.pass(Duration::from_secs(1));
    mark(&mut fixture, &run, Mark::ChatStarted).unwrap();
    assert_eq!(fixture.core.find("chat").unwrap().row.chat_started_at, first);
    fixture.pass(LEASE);

    assert_eq!(mark(&mut fixture, &run, Mark::Preloaded), Err(Refused::LeaseLost));
    let next = fixture.lease();
    assert_eq!((next.chat_started, next.preloaded), (true, false));
}

#[test]
fn a_snapshot_is_replaced_as_a_whole_and_only_by_the_holder_d36_s194() {
    let mut fixture = Fixture::with_chat();
    let id = fixture.core.find("chat").unwrap().row.id.clone();
    let run = fixture.lease();
    assert_eq!(fixture.core.snapshot(&id), None);

    for (object, replaced) in [(1, None), (2, Some(SnapshotId(1)))] {
        let put = fixture.core.put_snapshot(fixture.now, &id, Some(&writer(&run)), None, SnapshotId(object));
        assert_eq!(put, Ok(replaced));
    }
    fixture.keep(());
    fixture.pass(LEASE);
    let stale = fixture.core.put_snapshot(fixture.now, &id, Some(&writer(&run)), None, SnapshotId(3));

    assert_eq!(stale, Err(Refused::LeaseLost));
    assert_eq!(fixture.core.snapshot(&id), Some(SnapshotId(2)));
    assert_eq!(fixture.reloaded(2, LEASE).snapshots().collect::<Vec<_>>(), [(id, SnapshotId(2))]);
    fixture.keep(());
}

#[test]
fn a_snapshot_of_an_older_turn_never_replaces_a_newer_one_s91_a108() {
    let snapshot = |last_out: Value, n: u64| {
        json!({ "version": 1, "savedAt": n, "messages": [], "lastOutEventId": last_out }).to_string()
    };
    let refused = Err(Refused::OldSnapshot { stored: SeqNum::new(10) });
    let taken = || Ok(Some(SnapshotId(1)));
    for (body, want) in [
        (snapshot(json!("9"), 1), refused.clone()),
        (snapshot(json!("0"), 1), refused),
        (snapshot(json!("10"), 1), taken()),
        (snapshot(json!("11"), 1), taken()),
        (snapshot(Value::Null, 1), taken()),
        (snapshot(json!(9), 1), taken()),
        (json!({ "version": 2, "messages": [], "lastOutEventId": "9" }).to_string(), taken()),
        ("no json".to_owned(), taken()),
    ] {
        let mut fixture = Fixture::with_chat();
        let id = fixture.core.find("chat").unwrap().row.id.clone();
        let run = fixture.lease();
        let newer = snapshot(json!("10"), 0);
        fixture.core.put_snapshot(fixture.now, &id, Some(&writer(&run)), end_of(&newer), SnapshotId(1)).unwrap();
        fixture.keep(());
        // A server that has just started knows it too.
        let mut restarted = fixture.reloaded(2, LEASE);
        let again = restarted.put_snapshot(fixture.now, &id, Some(&writer(&run)), end_of(&body), SnapshotId(2));
        assert_eq!(again, want, "{body} after a restart");

        let stored = fixture.core.put_snapshot(fixture.now, &id, Some(&writer(&run)), end_of(&body), SnapshotId(2));

        fixture.keep(());
        assert_eq!(stored, want, "{body}");
        assert_eq!(fixture.core.snapshot(&id), Some(SnapshotId(if want.is_ok() { 2 } else { 1 })));
    }
}

#[test]
fn a_first_snapshot_and_one_over_an_unreadable_object_are_stored_s192_s193() {
    let mut fixture = Fixture::with_chat();
    let id = fixture.core.find("chat").unwrap().row.id.clone();
    let body = json!({ "version": 1, "savedAt": 1, "messages": [], "lastOutEventId": "0" }).to_string();

    for (n, text) in [(1, body.as_str()), (2, "{}"), (3, &body)] {
        let put = fixture.core.put_snapshot(fixture.now, &id, None, end_of(text), SnapshotId(n));
        assert!(put.is_ok(), "{text}: {put:?}");
    }
    fixture.keep(());
}

#[test]
fn what_a_run_notes_is_given_to_its_later_attempts_and_to_no_other_run_a195_d36() {
    let noted = |text: &str| json!({ "chat.turnTimeout": text }).as_object().cloned().unwrap();
    let mut fixture = Fixture::with_chat();
    let first = fixture.lease();
    assert!(first.metadata.is_empty());

    let set = fixture.core.set_run_metadata(fixture.now, &writer(&first), noted("90s"));
    fixture.keep(set).unwrap();
    fixture.lose(&first);
    let second = fixture.lease();
    let late = fixture.core.set_run_metadata(fixture.now, &writer(&first), noted("1s"));
    assert_eq!(fixture.keep(late), Err(Refused::LeaseLost));
    fixture.end(&second, crashed()).unwrap();
    let third = fixture.lease();
    fixture.end(&third, RunOutcome::Completed).unwrap();
    fixture.send();
    let continuation = fixture.lease();

    assert_eq!((second.metadata, third.metadata), (noted("90s"), noted("90s")));
    assert_ne!(continuation.run_id, first.run_id);
    assert!(continuation.metadata.is_empty());
}

#[test]
fn a_lease_of_a_former_life_stands_no_longer_than_one_from_now_d84() {
    // The clock was set back by ten minutes while the server was down, by so little that it does not matter, or not at all.
    for (back, until) in [(600, 10), (4, 10), (0, 10), (0, 8)] {
        let mut fixture = Fixture::with_chat();
        let run = fixture.lease();
        let given = fixture.now;
        fixture.heartbeat(&run).unwrap();
        let seconds = |n| Timestamp::from_millis(given.as_millis() + n * 1000);
        fixture.now =
            if back > 0 { Timestamp::from_millis(given.as_millis() - back * 1000) } else { seconds(10 - until) };
        let begun = fixture.now;
        fixture.core = fixture.reloaded(2, LEASE);

        fixture.core.resume(fixture.now);

        let n_changes = fixture.log.len();
        fixture.keep(());
        assert_eq!(fixture.log.len() - n_changes, usize::from(back > 0), "{back}: only what is too long is cut");
        fixture.pass(Duration::from_secs(until) - Duration::from_millis(1));
        assert!(fixture.live_run().unwrap().status.is_leased(), "{back}");
        fixture.pass(Duration::from_millis(1));
        let RunRow { status, tries, .. } = fixture.live_run().unwrap();
        assert_eq!((status, *tries), (&RunStatus::Queued, 1), "{back}: it had given a sign of life");
        assert_eq!(fixture.now, begun.plus(Duration::from_secs(until)));
    }
}

#[test]
fn the_queue_is_as_old_as_the_wait_of_its_oldest_run_for_a_worker_s8_d35() {
    let mut fixture = Fixture::with_chat();
    let age = |fixture: &Fixture| {
        let counts = fixture.core.counts(fixture.now);
        (counts.queued, counts.leased, counts.sessions, counts.queue_age.as_secs())
    };
    assert_eq!(age(&fixture), (1, 0, 1, 0));
    fixture.pass(Duration::from_secs(7));
    assert_eq!(age(&fixture), (1, 0, 1, 7));

    let run = fixture.lease();
    assert_eq!(age(&fixture), (0, 1, 1, 0), "nobody waits");
    for _ in 0..400 {
        fixture.pass(Duration::from_secs(9));
        fixture.heartbeat(&run).unwrap();
    }
    fixture.create_as(new_session(Some("other"), json!({}))).unwrap();
    fixture.pass(LEASE);
    // Its run lived for an hour; its next attempt waits from now on, behind the other chat's run.
    assert_eq!(age(&fixture), (2, 0, 2, 10));
    let other = fixture.lease();
    assert_ne!(other.run_id, run.run_id);
    assert_eq!(age(&fixture), (1, 1, 2, 0));
    fixture.pass(Duration::from_secs(3));
    assert_eq!(age(&fixture), (1, 1, 2, 3));
    fixture.core = fixture.reloaded(2, LEASE);
    assert_eq!(age(&fixture), (1, 1, 2, 3), "a restart forgets none of it");
}

#[test]
fn a_run_row_from_before_its_queueing_was_noted_has_waited_since_it_was_made() {
    let fixture = Fixture::with_chat();
    let mut row = serde_json::to_value(fixture.live_run().unwrap()).unwrap();
    assert!(row.as_object_mut().unwrap().remove("queuedAt").is_some());

    let row: RunRow = serde_json::from_value(row).unwrap();

    assert_eq!((row.queued_at, row.queued_at()), (None, row.created_at));
}

//! Waitpoints (S-133…S-145, D-2, D-8).

use turnkeep_protocol::run_api::{CreatedWait, WaitOutcome};

use super::*;
use crate::core::waits::MAX_PENDING;

impl Fixture {
    fn wait(&mut self, run: &LeasedRun, after: Option<u64>, timeout: Option<Duration>) -> CreatedWait {
        self.wait_as(run, after, timeout, None).unwrap()
    }

    fn wait_as(
        &mut self,
        run: &LeasedRun,
        after: Option<u64>,
        timeout: Option<Duration>,
        key: Option<&str>,
    ) -> Result<CreatedWait, Refused> {
        let new = NewWait {
            expires_at: timeout.map(|timeout| self.now.plus(timeout)),
            idempotency_key: key.map(str::to_owned),
            after: after.map(SeqNum::new),
            ..new_wait("chat")
        };
        let created = self.core.create_wait(self.now, &writer(run), new, self.look(&run.run_id));
        self.keep(created)
    }

    /// Lets a run of another chat wait for it.
    fn wait_of(&mut self, run: &LeasedRun, chat: &str, timeout: Option<Duration>) {
        let expires_at = timeout.map(|timeout| self.now.plus(timeout));
        let new = NewWait { expires_at, ..new_wait(chat) };
        let created = self.core.create_wait(self.now, &writer(run), new, RunLook::NotYet);
        self.keep(created).unwrap();
    }

    #[track_caller]
    fn expect(&self, wait: &CreatedWait, outcome: Option<WaitOutcome>) {
        assert_eq!(self.core.outcome(&wait.waitpoint_id), Ok(outcome));
    }
}

#[test]
fn an_append_wakes_every_waiter_of_its_channel_once_s138_s139_d8() {
    let mut fixture = Fixture::with_chat();
    let run = fixture.lease();
    let (one, two) = (fixture.wait(&run, None, None), fixture.wait(&run, None, None));
    fixture.expect(&one, None);
    fixture.append(OUT, "x", None).unwrap();
    fixture.expect(&one, None);

    fixture.send();

    fixture.expect(&one, Some(WaitOutcome::Record));
    fixture.expect(&two, Some(WaitOutcome::Record));
    fixture.close(None);
    fixture.expect(&one, Some(WaitOutcome::Record));
}

#[test]
fn a_record_that_landed_before_the_wait_completes_it_at_once_s137_sr26() {
    let mut fixture = Fixture::with_chat();
    let run = fixture.lease();
    fixture.send();

    let behind = fixture.wait(&run, None, None);
    let up_to_date = fixture.wait(&run, Some(0), None);

    fixture.expect(&behind, Some(WaitOutcome::Record));
    fixture.expect(&up_to_date, None);
}

#[test]
fn the_consumed_cursor_finds_what_was_received_but_not_consumed_s135_sr28() {
    let mut fixture = Fixture::with_chat();
    let run = fixture.lease();
    fixture.send();
    fixture.send();

    let wait = fixture.wait(&run, Some(0), None);

    fixture.expect(&wait, Some(WaitOutcome::Record));
}

#[test]
fn one_wake_for_a_record_between_registration_and_check_s139_sr27() {
    let mut fixture = Fixture::with_chat();
    let run = fixture.lease();
    let wait = fixture.wait(&run, None, Some(Duration::from_secs(5)));
    fixture.send();

    fixture.send();
    fixture.pass(Duration::from_secs(5));

    fixture.expect(&wait, Some(WaitOutcome::Record));
}

#[test]
fn two_appends_wake_once_and_the_channel_has_both_in_order_s134_sr29() {
    let mut fixture = Fixture::with_chat();
    let run = fixture.lease();
    let wait = fixture.wait(&run, None, None);
    fixture.append(IN, "b", None).unwrap();
    fixture.append(IN, "a", None).unwrap();

    let bodies: Vec<_> = fixture.records(IN).iter().map(|record| record.envelope().unwrap().data).collect();

    fixture.expect(&wait, Some(WaitOutcome::Record));
    assert_eq!(bodies, ["b", "a"]);
}

#[test]
fn a_duplicate_append_wakes_nobody_sr18() {
    let mut fixture = Fixture::with_chat();
    let run = fixture.lease();
    fixture.append(IN, "p", Some("p")).unwrap();
    let wait = fixture.wait(&run, Some(0), None);

    fixture.append(IN, "p", Some("p")).unwrap();

    fixture.expect(&wait, None);
}

#[test]
fn every_wait_has_its_own_time_s140_s141_sr31() {
    let mut fixture = Fixture::with_chat();
    let run = fixture.lease();
    let long = fixture.wait(&run, None, Some(Duration::from_secs(9)));
    let short = fixture.wait(&run, None, Some(Duration::from_secs(5)));
    let endless = fixture.wait(&run, None, None);
    let late = fixture.wait(&run, None, Some(Duration::from_secs(9)));
    assert_eq!(fixture.core.next_deadline(), Some(fixture.now.plus(Duration::from_secs(5))));

    fixture.pass(Duration::from_secs(5));

    fixture.expect(&short, Some(WaitOutcome::TimedOut));
    fixture.expect(&long, None);
    fixture.expect(&late, None);
    fixture.pass(Duration::from_secs(4));
    fixture.expect(&long, Some(WaitOutcome::TimedOut));
    fixture.expect(&late, Some(WaitOutcome::TimedOut));
    fixture.expect(&endless, None);
}

#[test]
fn closing_completes_pending_waits_and_every_later_one_d2() {
    let mut fixture = Fixture::with_chat();
    let run = fixture.lease();
    let before = fixture.wait(&run, None, Some(Duration::from_secs(5)));

    fixture.close(None);

    let after = fixture.wait(&run, None, None);
    fixture.expect(&before, Some(WaitOutcome::Closed));
    fixture.expect(&after, Some(WaitOutcome::Closed));
}

#[test]
fn an_idempotency_key_finds_its_waitpoint_again_s144() {
    let mut fixture = Fixture::with_chat();
    let run = fixture.lease();

    let first = fixture.wait_as(&run, None, None, Some("k")).unwrap();
    fixture.send();
    let again = fixture.wait_as(&run, Some(0), None, Some("k")).unwrap();
    let other = fixture.wait_as(&run, Some(0), None, Some("l")).unwrap();

    assert_eq!((first.is_cached, again.is_cached, other.is_cached), (false, true, false));
    assert_eq!(first.waitpoint_id, again.waitpoint_id);
    fixture.expect(&again, Some(WaitOutcome::Record));
}

#[test]
fn only_the_holder_of_a_lease_waits_and_its_waits_go_with_its_attempt_d36() {
    let mut fixture = Fixture::with_chat();
    let run = fixture.lease();
    let wait = fixture.wait(&run, None, None);
    fixture.pass(LEASE);

    assert_eq!(fixture.wait_as(&run, None, None, None), Err(Refused::LeaseLost));
    assert_eq!(fixture.core.outcome(&wait.waitpoint_id), Err(Refused::NoWaitpoint));
    let unknown = LeasedRun { run_id: RunId::new("run_x"), ..run };
    assert_eq!(fixture.wait_as(&unknown, None, None, None), Err(Refused::NoRun));
}

#[test]
fn a_wait_reports_the_settled_cursor_d32() {
    let mut fixture = Fixture::with_chat();
    let run = fixture.lease();
    fixture.send();
    let new = NewWait { after: Some(SeqNum::ZERO), settled: Some(SeqNum::ZERO), ..new_wait("chat") };

    fixture.core.create_wait(fixture.now, &writer(&run), new, RunLook::NotYet).unwrap();
    fixture.keep(());

    assert_eq!(fixture.settled_cursor(), Some(0));
}

#[test]
fn a_repeated_wait_reports_the_settled_cursor_too_d32_s144() {
    let mut fixture = Fixture::with_chat();
    let run = fixture.lease();
    fixture.send();
    let new = |settled| NewWait {
        after: Some(SeqNum::ZERO),
        settled,
        idempotency_key: Some("k".to_owned()),
        ..new_wait("chat")
    };
    fixture.core.create_wait(fixture.now, &writer(&run), new(None), RunLook::NotYet).unwrap();
    fixture.keep(());

    let again = fixture.core.create_wait(fixture.now, &writer(&run), new(Some(SeqNum::ZERO)), RunLook::NotYet).unwrap();
    fixture.keep(());

    assert_eq!((again.is_cached, fixture.settled_cursor()), (true, Some(0)));
}

#[test]
fn a_long_run_keeps_only_its_newest_completed_waits() {
    let mut fixture = Fixture::with_chat();
    let run = fixture.lease();
    let first = fixture.wait(&run, None, None);
    let mut last = fixture.wait(&run, None, None);

    for turn in 0..40 {
        fixture.send();
        last = fixture.wait(&run, Some(turn), None);
    }

    assert_eq!(fixture.core.outcome(&first.waitpoint_id), Err(Refused::NoWaitpoint));
    fixture.expect(&last, None);
    assert_eq!(fixture.core.state().waits().of_run(&run.run_id).count(), 17);
}

#[test]
fn a_completed_wait_is_found_by_its_key_as_long_as_the_key_counts_s133_s144() {
    let mut fixture = Fixture::with_chat();
    let run = fixture.lease();
    let until = fixture.now.plus(Duration::from_secs(3));
    let keyed = || NewWait {
        idempotency_key: Some("k".to_owned()),
        idempotency_key_expires_at: Some(until),
        ..new_wait("chat")
    };
    let first = fixture.core.create_wait(fixture.now, &writer(&run), keyed(), RunLook::NotYet).unwrap();
    fixture.keep(());
    for turn in 0..40 {
        fixture.send();
        fixture.wait(&run, Some(turn), None);
    }

    let again = fixture.core.create_wait(fixture.now, &writer(&run), keyed(), RunLook::NotYet).unwrap();
    fixture.keep(());

    assert_eq!((again.is_cached, again.waitpoint_id), (true, first.waitpoint_id));
    let kept = fixture.core.state().waits().of_run(&run.run_id).count();
    assert_eq!(kept, 18, "the newest sixteen, the pending one and the one with the key");
}

#[test]
fn a_wake_stays_inside_its_session_s143_sr30() {
    let mut fixture = Fixture::with_chat();
    let run = fixture.lease();
    let wait = fixture.wait(&run, None, None);
    // Neighbours on both sides, and one whose key begins alike.
    for key in ["a", "cha", "chat2", "z"] {
        fixture.create_as(new_session(Some(key), json!({}))).unwrap();

        fixture.core.append(fixture.now, key, IN, "x", None, None, None).unwrap();
        fixture.keep(());

        fixture.expect(&wait, None);
    }
}

#[test]
fn a_key_finds_its_waitpoint_until_its_time_is_up_and_then_names_a_new_one_s133_s144() {
    let mut fixture = Fixture::with_chat();
    let run = fixture.lease();
    let wait = |fixture: &mut Fixture| {
        let until = Some(fixture.now.plus(Duration::from_secs(3)));
        let new =
            NewWait { idempotency_key: Some("k".to_owned()), idempotency_key_expires_at: until, ..new_wait("chat") };
        let created = fixture.core.create_wait(fixture.now, &writer(&run), new, RunLook::NotYet);
        fixture.keep(created).unwrap()
    };
    let first = wait(&mut fixture);

    fixture.pass(Duration::from_millis(2999));
    let again = wait(&mut fixture);
    fixture.pass(Duration::from_millis(1));
    let second = wait(&mut fixture);
    fixture.send();
    let still_second = wait(&mut fixture);

    assert_eq!(
        (first.is_cached, again.is_cached, second.is_cached, still_second.is_cached),
        (false, true, false, true)
    );
    assert_eq!(again.waitpoint_id, first.waitpoint_id);
    assert_ne!(second.waitpoint_id, first.waitpoint_id);
    assert_eq!(still_second.waitpoint_id, second.waitpoint_id, "completing the old one must not give it the key back");
    fixture.expect(&first, Some(WaitOutcome::Record));
}

#[test]
fn a_wait_may_come_before_its_session_but_not_before_a_friendly_id_s133_s57() {
    let mut fixture = Fixture::with_chat();
    let run = fixture.lease();
    let wait = |fixture: &mut Fixture, url_id: &str| {
        let created = fixture.core.create_wait(fixture.now, &writer(&run), new_wait(url_id), RunLook::NotYet);
        fixture.keep(created)
    };
    let (later, never) = (wait(&mut fixture, "later").unwrap(), wait(&mut fixture, "session_x"));
    let by_message = wait(&mut fixture, "with-message").unwrap();

    fixture.create_as(new_session(Some("later"), json!({}))).unwrap();
    fixture.expect(&later, None);
    fixture.core.append(fixture.now, "later", IN, "x", None, None, None).unwrap();
    fixture.create_as(new_session(Some("with-message"), json!({ "message": { "id": "m" } }))).unwrap();

    fixture.expect(&later, Some(WaitOutcome::Record));
    fixture.expect(&by_message, Some(WaitOutcome::Record));
    assert_eq!(never, Err(Refused::NoSession));
}

#[test]
fn tags_are_kept_with_the_waitpoint_s133() {
    let mut fixture = Fixture::with_chat();
    let run = fixture.lease();
    let new = NewWait { tags: vec!["a".to_owned()], ..new_wait("chat") };

    let created = fixture.core.create_wait(fixture.now, &writer(&run), new, RunLook::NotYet).unwrap();
    fixture.keep(());

    assert_eq!(fixture.core.state().waits().get(&created.waitpoint_id).unwrap().tags, ["a"]);
}

#[test]
fn a_pending_wait_survives_a_restart_whatever_its_age_s141_s142() {
    let month = Duration::from_secs(30 * 24 * 3600);
    let mut fixture = Fixture::with_chat();
    fixture.core = fixture.reloaded(2, month * 2);
    let run = fixture.lease();
    let wait = fixture.wait(&run, None, None);

    fixture.pass(month);
    fixture.core = fixture.reloaded(3, month * 2);

    fixture.expect(&wait, None);
    fixture.send();
    fixture.expect(&wait, Some(WaitOutcome::Record));
}

#[test]
fn expiry_completes_no_wait_s145_s24() {
    let mut fixture = Fixture::new();
    let expires_at = Some(fixture.now.plus(Duration::from_secs(5)));
    fixture.create_as(NewSession { expires_at, ..new_session(Some("chat"), json!({})) }).unwrap();
    let run = fixture.lease();
    let wait = fixture.wait(&run, None, None);

    fixture.pass(Duration::from_secs(6));

    fixture.expect(&wait, None);
}

#[test]
fn a_run_has_so_many_pending_waits_and_one_more_is_refused_and_leaves_nothing_d85() {
    let mut fixture = Fixture::with_chat();
    let run = fixture.lease();
    let keyed = fixture.wait_as(&run, None, Some(LEASE / 2), Some("key")).unwrap();
    let waits: Vec<_> = (1..MAX_PENDING).map(|_| fixture.wait(&run, None, None)).collect();
    let n_changes = fixture.log.len();

    assert_eq!(fixture.wait_as(&run, None, None, None), Err(Refused::TooManyWaits));
    assert_eq!(fixture.log.len(), n_changes);
    let again = fixture.wait_as(&run, None, None, Some("key")).unwrap();
    assert_eq!((again.waitpoint_id, again.is_cached), (keyed.waitpoint_id, true));
    fixture.create_as(new_session(Some("other"), json!({}))).unwrap();
    let other = fixture.lease();
    fixture.wait_of(&other, "other", None);

    // One whose time is up makes room for one, and a record for all.
    fixture.pass(LEASE / 2);
    fixture.wait(&run, None, None);
    assert_eq!(fixture.wait_as(&run, None, None, None), Err(Refused::TooManyWaits));
    fixture.send();
    let told = fixture.wait(&run, None, None);
    fixture.expect(&told, Some(WaitOutcome::Record));
    fixture.expect(waits.last().unwrap(), Some(WaitOutcome::Record));
    fixture.wait(&run, Some(0), None);
}

#[test]
fn what_is_known_at_once_needs_no_room_among_the_pending_waits_d85_s137() {
    let mut fixture = Fixture::with_chat();
    let run = fixture.lease();
    fixture.send();
    (0..MAX_PENDING).for_each(|_| _ = fixture.wait(&run, Some(0), None));

    let told = fixture.wait(&run, None, None);

    fixture.expect(&told, Some(WaitOutcome::Record));
    assert_eq!(fixture.wait_as(&run, Some(0), None, None), Err(Refused::TooManyWaits));
}

/// What a server finds due at once that was held up: many leases, or many waits of one moment.
#[test]
fn what_falls_due_in_one_moment_is_done_in_helpings_and_none_is_forgotten_d9_s140() {
    let mut fixture = Fixture::new();
    let n = 150;
    for chat in 0..n {
        fixture.create_as(new_session(Some(&chat.to_string()), json!({}))).unwrap();
        let run = fixture.lease();
        fixture.heartbeat(&run).unwrap();
        fixture.wait_of(&run, &chat.to_string(), Some(LEASE));
    }
    let pending = |fixture: &Fixture| fixture.core.next_deadline().is_some_and(|at| at <= fixture.now);
    fixture.now = fixture.now.plus(LEASE);
    let mut steps = Vec::new();

    while pending(&fixture) {
        let n_changes = fixture.log.len();
        fixture.core.tick(fixture.now);
        fixture.keep(());
        assert!(fixture.log.len() - n_changes <= 64 * 3, "a lapse is a run and its wait, a timeout a wait");
        steps.push(fixture.core.counts(fixture.now).queued);
    }

    assert_eq!(steps.last(), Some(&n));
    assert_eq!(steps[0], 64, "the others in the next steps: {steps:?}");
}

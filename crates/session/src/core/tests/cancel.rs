//! A run that is cancelled from outside (A-199, D-70).

use super::*;
use crate::{CancelledBy, RunStatus};

const ABORT: &str = "abort";

fn covered(seq: u64) -> String {
    format!("turn-complete session-in-event-id={seq}")
}

#[test]
fn a_cancelled_run_writes_nothing_more_and_its_open_message_is_aborted_in_the_same_step_a199() {
    let mut fixture = Fixture::with_chat();
    let run = fixture.lease();
    fixture.send();
    fixture.write(&run, vec![data("start"), data("text-delta")]).unwrap();

    fixture.cancel(&run.run_id).unwrap();

    assert_eq!(fixture.out(), ["start", "text-delta", ABORT], "no turn-complete");
    assert_eq!(fixture.write(&run, vec![data("late")]), Err(Refused::LeaseLost));
    assert_eq!(fixture.end(&run, RunOutcome::Completed), Err(Refused::LeaseLost));
    assert_eq!(fixture.out().len(), 3);
}

#[test]
fn nothing_is_aborted_that_readers_know_to_be_over_a199() {
    for (written, aborts) in [
        (vec![], false),
        (vec![data("start"), turn_complete(0)], false),
        (vec![data("start"), data("finish")], false),
        (vec![data("start"), data("abort")], false),
        (vec![data("error")], false),
        (vec![data("start"), data("finish"), NewRecord::trim(SeqNum::ZERO)], false),
        (vec![data("start"), NewRecord::trim(SeqNum::ZERO)], true),
        (vec![data("data-note")], true),
    ] {
        let mut fixture = Fixture::with_chat();
        let run = fixture.lease();
        fixture.send();
        let before = written.len();
        if !written.is_empty() {
            fixture.write(&run, written.clone()).unwrap();
        }

        fixture.cancel(&run.run_id).unwrap();

        let out = fixture.out();
        assert_eq!(out.len() - before, usize::from(aborts), "{written:?}: {out:?}");
        assert_eq!(
            out.last().is_some_and(|last| last == ABORT),
            aborts || written.iter().any(|it| it.body.contains(ABORT))
        );
    }
}

#[test]
fn the_continuation_starts_in_the_same_step_if_anything_is_owed_and_none_otherwise_d3_d70() {
    for is_leased in [false, true] {
        let mut fixture = Fixture::with_chat();
        let run = if is_leased { fixture.lease().run_id } else { fixture.live_run().unwrap().id.clone() };
        fixture.send();

        fixture.cancel(&run).unwrap();

        let next = fixture.lease();
        assert_eq!((next.attempt, &next.payload["previousRunId"]), (1, &json!(run)));
        assert_eq!(next.settled_cursor, None);
        fixture.write(&next, vec![turn_complete(0)]).unwrap();
        fixture.cancel(&next.run_id).unwrap();
        assert!(fixture.try_lease().is_none() && fixture.live_run().is_none());
        assert!(fixture.is_settled());
    }
}

#[test]
fn what_two_cancelled_runs_have_not_moved_is_answered_by_the_server_d34_d70() {
    let mut fixture = Fixture::with_chat();
    fixture.send();
    let first = fixture.lease();
    fixture.cancel(&first.run_id).unwrap();
    let second = fixture.lease();
    fixture.write(&second, vec![data("start")]).unwrap();

    fixture.cancel(&second.run_id).unwrap();

    assert_eq!(fixture.out(), ["start", ABORT, "error", &covered(0)]);
    assert!(fixture.try_lease().is_none() && fixture.is_settled());
}

#[test]
fn the_heartbeat_alone_says_why_the_lease_is_gone_and_to_the_attempt_that_held_it_d70_d36() {
    let mut fixture = Fixture::with_chat();
    let first = fixture.lease();
    fixture.lose(&first);
    let second = fixture.lease();
    fixture.cancel(&second.run_id).unwrap();

    // While the run is in its slot, and when it is only in the store.
    for _ in 0..2 {
        assert_eq!(fixture.heartbeat(&second), Err(Refused::RunCancelled));
        assert_eq!(fixture.heartbeat(&first), Err(Refused::LeaseLost));
        fixture.send();
    }
    assert!(fixture.core.state().run(&second.run_id).is_none());
}

#[test]
fn nobody_is_told_of_a_cancel_when_the_end_of_the_session_took_the_run_d70_d2() {
    let mut fixture = Fixture::with_chat();
    let run = fixture.lease();
    fixture.heartbeat(&run).unwrap();
    fixture.close(None);
    fixture.pass(LEASE);

    // While the run is in memory, and as the store tells it.
    assert_eq!(fixture.runs()[0].status, RunStatus::Cancelled { by: CancelledBy::Close });
    assert_eq!(fixture.heartbeat(&run), Err(Refused::LeaseLost));
    assert_eq!(fixture.look(&run.run_id), RunLook::Found { cancelled_in: None });
}

#[test]
fn a_row_that_does_not_say_who_cancelled_the_run_means_that_somebody_did_d70() {
    let status: RunStatus = serde_json::from_value(json!({ "state": "cancelled" })).unwrap();

    assert_eq!(status, RunStatus::Cancelled { by: CancelledBy::Request });
}

#[test]
fn what_answers_nothing_is_aborted_and_no_run_is_started_for_it_d64_d70() {
    let mut fixture = Fixture::with_chat();
    let run = fixture.lease();
    fixture.write(&run, vec![data("start"), data("text-delta")]).unwrap();

    fixture.cancel(&run.run_id).unwrap();

    assert_eq!(fixture.out(), ["start", "text-delta", ABORT], "it has no boundary, with or without a cancel");
    assert!(fixture.live_run().is_none() && !fixture.is_settled());
    fixture.send();
    let next = fixture.lease();
    fixture.write(&next, vec![turn_complete(0)]).unwrap();
    assert!(fixture.is_settled(), "the next turn closes it");
}

#[test]
fn cancelling_what_is_over_changes_nothing_and_what_never_was_is_refused_a199() {
    let mut fixture = Fixture::with_chat();
    let run = fixture.lease();
    fixture.end(&run, RunOutcome::Completed).unwrap();
    fixture.send();
    let live = fixture.live_run().unwrap().id.clone();
    let n_changes = fixture.log.len();

    fixture.cancel(&run.run_id).unwrap();

    assert_eq!(fixture.log.len(), n_changes);
    assert_eq!(fixture.live_run().unwrap().id, live);
    assert_eq!(fixture.cancel(&RunId::new("run_none")), Err(Refused::NoRun));
    fixture.cancel(&live).unwrap();
    let n_changes = fixture.log.len();
    fixture.cancel(&live).unwrap();
    assert_eq!(fixture.log.len(), n_changes);
}

#[test]
fn a_closed_sessions_last_turn_can_be_cancelled_and_the_close_is_announced_d37() {
    let mut fixture = Fixture::with_chat();
    let run = fixture.lease();
    fixture.send();
    fixture.write(&run, vec![data("start")]).unwrap();
    fixture.close(Some("done"));
    assert_eq!(fixture.out(), ["start"]);

    fixture.cancel(&run.run_id).unwrap();

    assert_eq!(fixture.out(), ["start", ABORT, "session-closed session-closed-reason=done"]);
    assert_eq!(fixture.runs().last().unwrap().status, RunStatus::Cancelled { by: CancelledBy::Request });
}

#[test]
fn the_waits_of_a_cancelled_run_are_forgotten_s134() {
    let mut fixture = Fixture::with_chat();
    let run = fixture.lease();
    let created = fixture.core.create_wait(fixture.now, &writer(&run), new_wait("chat"), RunLook::NotYet);
    let wait = fixture.keep(created).unwrap().waitpoint_id;

    fixture.cancel(&run.run_id).unwrap();

    assert_eq!(fixture.core.outcome(&wait), Err(Refused::NoWaitpoint));
}

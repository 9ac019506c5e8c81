//! End-and-continue (S-43…S-52, SR-11, SR-12, D-34, D-36).

use super::*;
use crate::RunStatus;

fn row(fixture: &Fixture, run: &RunId) -> crate::RunRow {
    fixture.tables().run(run).unwrap()
}

fn swapped(run: &RunId) -> Swapped {
    Swapped { run_id: run.clone(), swapped: true }
}

fn owned_by(run: &RunId) -> Result<Swapped, Refused> {
    Ok(Swapped { run_id: run.clone(), swapped: false })
}

#[test]
fn a_swap_ends_the_caller_announces_the_upgrade_and_queues_a_continuation_in_one_step_s43_s46_s48_d36() {
    let mut fixture = Fixture::with_chat();
    let old = fixture.lease();
    fixture.send();

    let answer = fixture.swap(&old).unwrap();

    let new = fixture.lease();
    assert_eq!(answer, swapped(&new.run_id));
    assert_eq!(new.payload["continuation"], true);
    assert_eq!(new.payload["previousRunId"], old.run_id.as_str());
    assert_eq!((new.payload.get("trigger"), new.payload.get("message")), (None, None));
    assert_eq!(
        (row(&fixture, &old.run_id).status, row(&fixture, &new.run_id).reason),
        (RunStatus::Completed, RunReason::Upgrade)
    );
    assert_eq!(fixture.out(), ["upgrade-required"]);
    assert_eq!(fixture.write(&old, vec![data("late")]), Err(Refused::LeaseLost));
    assert_eq!(fixture.end(&old, RunOutcome::Completed), Err(Refused::LeaseLost));
    assert_eq!(fixture.live_run().map(|run| &run.id), Some(&new.run_id));
}

#[test]
fn the_deferred_message_is_answered_by_the_successor_alone_on_the_same_stream_s52_s85() {
    let mut fixture = Fixture::with_chat();
    let old = fixture.lease();
    fixture.send();
    fixture.swap(&old).unwrap();

    let new = fixture.lease();
    assert_eq!(new.settled_cursor, None, "the message is still owed");
    fixture.write(&new, vec![data("start"), turn_complete(0)]).unwrap();

    assert_eq!(fixture.end(&new, RunOutcome::Completed), Ok(None));
    assert_eq!(fixture.out(), ["upgrade-required", "start", "turn-complete session-in-event-id=0"]);
    assert!(fixture.is_settled());
}

#[test]
fn whoever_no_longer_has_the_slot_learns_who_has_it_and_changes_nothing_s47_s48_sr11() {
    let mut fixture = Fixture::with_chat();
    let old = fixture.lease();
    fixture.end(&old, RunOutcome::Completed).unwrap();
    fixture.send();
    let owner = fixture.live_run().unwrap().id.clone();
    let n_changes = fixture.log.len();

    assert_eq!(fixture.swap(&old), owned_by(&owner));
    assert_eq!(fixture.swap_as(new_swap(&old.run_id)), owned_by(&owner));

    assert_eq!(fixture.log.len(), n_changes);
    assert_eq!(fixture.lease().run_id, owner);
}

#[test]
fn a_repeated_swap_is_told_of_the_successor_s48() {
    let mut fixture = Fixture::with_chat();
    let old = fixture.lease();
    let answer = fixture.swap(&old).unwrap();

    assert_eq!(fixture.swap(&old), owned_by(&answer.run_id));
    assert_eq!(fixture.out(), ["upgrade-required"]);
}

#[test]
fn a_fresh_run_may_swap_at_once_sr12() {
    let mut fixture = Fixture::with_chat();
    fixture.send();
    let first = fixture.lease();
    fixture.write(&first, vec![turn_complete(0)]).unwrap();
    fixture.end(&first, RunOutcome::Completed).unwrap();
    fixture.send();
    let fresh = fixture.lease();

    let answer = fixture.swap(&fresh).unwrap();

    assert_eq!(answer, swapped(&fixture.lease().run_id));
}

#[test]
fn a_run_whose_lease_is_gone_swaps_nothing_while_its_next_attempt_has_the_slot_d36() {
    let mut fixture = Fixture::with_chat();
    let silent = fixture.lease();
    fixture.lose(&silent);

    assert_eq!(fixture.swap(&silent), Err(Refused::LeaseLost));

    assert_eq!(fixture.lease().attempt, 2);
    assert_eq!(fixture.out(), [""; 0]);
}

#[test]
fn the_slot_alone_decides_for_a_caller_who_names_no_attempt_s47() {
    for ended in [false, true] {
        let mut fixture = Fixture::with_chat();
        let run = fixture.lease();
        if ended {
            fixture.end(&run, RunOutcome::Completed).unwrap();
        }

        let answer = fixture.swap_as(NewSwap { reason: RunReason::Manual, ..new_swap(&run.run_id) }).unwrap();

        let new = fixture.lease();
        assert_eq!(answer, swapped(&new.run_id), "ended: {ended}");
        assert_eq!(row(&fixture, &new.run_id).reason, RunReason::Manual);
    }
}

#[test]
fn swaps_of_dead_sessions_and_by_unknown_runs_are_refused_s45() {
    let mut fixture = Fixture::with_chat();
    let run = fixture.lease();
    fixture.create_as(new_session(Some("other"), json!({}))).unwrap();
    let other = fixture.lease();
    let elsewhere = NewSwap { url_id: "nobody".to_owned(), ..new_swap(&run.run_id) };

    assert_eq!(fixture.swap_as(elsewhere), Err(Refused::NoSession));
    assert_eq!(fixture.swap_as(new_swap(&RunId::new("run_x"))), Err(Refused::NoCallingRun));
    assert_eq!(fixture.swap_as(new_swap(&other.run_id)), owned_by(&run.run_id), "a run of another session");
    fixture.close(None);
    assert_eq!(fixture.swap(&run), Err(Refused::Closed { reason: None }));

    let mut expired = Fixture::new();
    let expires_at = Some(expired.now.plus(Duration::from_secs(1)));
    expired.create_as(NewSession { expires_at, ..new_session(Some("chat"), json!({})) }).unwrap();
    let run = expired.lease();
    expired.pass(Duration::from_secs(1));
    assert_eq!(expired.swap(&run), Err(Refused::Expired));
}

#[test]
fn the_caller_reports_its_cursors_if_it_names_its_attempt_d32() {
    for names_itself in [true, false] {
        let mut fixture = Fixture::with_chat();
        let run = fixture.lease();
        fixture.send();
        let reports = NewSwap {
            writer: names_itself.then(|| writer(&run)),
            settled: Some(SeqNum::ZERO),
            consumed: Some(SeqNum::ZERO),
            ..new_swap(&run.run_id)
        };

        fixture.swap_as(reports).unwrap();

        assert_eq!(fixture.settled_cursor(), names_itself.then_some(0));
        assert_eq!(fixture.lease().consumed_cursor.is_some(), names_itself);
    }
}

#[test]
fn a_failed_swap_leaves_the_caller_its_lease_and_the_next_append_revives_the_session_s51() {
    let mut fixture = Fixture::with_chat();
    let run = fixture.lease();
    assert_eq!(fixture.swap_as(new_swap(&RunId::new("run_x"))), Err(Refused::NoCallingRun));

    fixture.write(&run, vec![NewRecord::control(control::UPGRADE_REQUIRED, [])]).unwrap();
    fixture.end(&run, RunOutcome::Completed).unwrap();
    fixture.send();

    assert_eq!(fixture.lease().payload["previousRunId"], run.run_id.as_str());
}

#[test]
fn two_swaps_for_one_message_are_one_too_many_and_its_sender_is_answered_d34() {
    let mut fixture = Fixture::with_chat();
    let first = fixture.lease();
    fixture.send();
    fixture.swap(&first).unwrap();
    let second = fixture.lease();

    assert_eq!(fixture.swap(&second), Err(Refused::SwapLoop));
    fixture.end(&second, RunOutcome::Completed).unwrap();

    assert_eq!(fixture.out(), ["upgrade-required", "error", "turn-complete session-in-event-id=0"]);
    assert!(fixture.live_run().is_none());
}

#[test]
fn a_successor_that_swaps_before_anything_was_asked_of_it_is_stopped_d34() {
    let mut fixture = Fixture::with_chat();
    let first = fixture.lease();
    fixture.swap(&first).unwrap();
    let second = fixture.lease();

    assert_eq!(fixture.swap(&second), Err(Refused::SwapLoop));
    fixture.send();

    assert!(fixture.swap(&second).is_ok(), "for a message of its own it may");
}

#[test]
fn a_turn_between_two_swaps_makes_the_second_one_fine_d34() {
    let mut fixture = Fixture::with_chat();
    let mut run = fixture.lease();
    for turn in 0..3 {
        fixture.send();
        fixture.swap(&run).unwrap();
        run = fixture.lease();
        fixture.write(&run, vec![turn_complete(turn)]).unwrap();
    }

    fixture.send();

    assert!(fixture.swap(&run).is_ok());
}

#[test]
fn an_announced_upgrade_unsettles_nobody_d33() {
    let mut fixture = Fixture::with_chat();
    let run = fixture.lease();
    fixture.write(&run, vec![turn_complete(0)]).unwrap();

    fixture.swap(&run).unwrap();

    assert!(fixture.is_settled());
}

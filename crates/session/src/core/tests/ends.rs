//! What follows the end of a run: continuations, and the bound on poison input (D-3, D-34, SR-9).

use super::*;
use crate::core::runs::GAVE_UP;

const COVERED_0: &str = "turn-complete session-in-event-id=0";

#[test]
fn a_run_that_ends_with_nothing_owed_has_no_successor_d3() {
    let mut fixture = Fixture::with_chat();
    fixture.send();
    let run = fixture.lease();
    fixture.write(&run, vec![turn_complete(0)]).unwrap();

    assert_eq!(fixture.end(&run, RunOutcome::Completed), Ok(None));
    assert!(fixture.live_run().is_none());
}

#[test]
fn the_end_of_a_run_leaves_no_record_s86() {
    for outcome in [RunOutcome::Completed, failed()] {
        let mut fixture = Fixture::with_chat();
        let run = fixture.lease();
        fixture.write(&run, vec![turn_complete(0)]).unwrap();
        let before = fixture.out();

        fixture.end(&run, outcome).unwrap();

        assert_eq!(fixture.out(), before);
    }
}

#[test]
fn the_end_and_the_question_what_is_owed_are_one_step_d3_s42_sr9() {
    let mut fixture = Fixture::with_chat();
    fixture.send();
    let run = fixture.lease();
    fixture.write(&run, vec![turn_complete(0)]).unwrap();
    fixture.send(); // The append finds the run live and reuses it; the run has already made up its mind to end.

    let next = fixture.end(&run, RunOutcome::Completed).unwrap();

    assert_eq!(next, Some(fixture.lease().run_id));
}

#[test]
fn the_end_report_settles_before_it_asks_d32_d3() {
    let mut fixture = Fixture::with_chat();
    fixture.send();
    let run = fixture.lease();

    assert_eq!(fixture.end_at(&run, RunOutcome::Completed, Some(0)), Ok(None));
}

#[test]
fn two_runs_without_progress_are_answered_by_an_error_and_a_boundary_d34() {
    let mut fixture = Fixture::with_chat();
    fixture.send();
    let first = fixture.lease();
    assert!(fixture.end(&first, failed()).unwrap().is_some(), "one more try");
    let second = fixture.lease();

    let next = fixture.end(&second, failed());

    assert_eq!(next, Ok(None));
    assert_eq!(fixture.out(), ["error", COVERED_0]);
    assert_eq!(fixture.records(OUT)[0].envelope().unwrap().data["errorText"], GAVE_UP);
    assert!(fixture.is_settled());
    assert!(fixture.try_lease().is_none(), "no run until the next append");
    fixture.send();
    let fresh = fixture.lease();
    assert!(fixture.end(&fresh, failed()).unwrap().is_some(), "the next append starts afresh");
}

#[test]
fn clean_ends_without_progress_are_bounded_just_like_failures_d34() {
    let mut fixture = Fixture::with_chat();
    fixture.send();
    let mut runs = 0;

    while let Some(run) = fixture.try_lease() {
        runs += 1;
        assert!(runs <= 2, "the bound is gone");
        fixture.end(&run, RunOutcome::Completed).unwrap();
    }

    assert_eq!(runs, 2);
    assert_eq!(fixture.out(), ["error", COVERED_0]);
}

#[test]
fn crash_loops_are_bounded_by_attempts_and_continuations_d34_d35_sr8() {
    let mut fixture = Fixture::with_chat();
    fixture.send();
    let mut leases = 0;

    while let Some(run) = fixture.try_lease() {
        leases += 1;
        assert!(leases <= 6, "the bound is gone");
        fixture.lose(&run);
    }

    assert_eq!(leases, 6, "two runs of three attempts");
    assert!(fixture.is_settled());
}

#[test]
fn a_record_that_came_after_the_second_run_started_gets_a_run_of_its_own_d34() {
    let mut fixture = Fixture::with_chat();
    fixture.send();
    let first = fixture.lease();
    fixture.end(&first, failed()).unwrap();
    let second = fixture.lease();
    let newer = fixture.send();

    let third = fixture.end(&second, failed()).unwrap();

    assert_eq!(fixture.out(), ["error", COVERED_0], "only what both runs saw is given up");
    assert_eq!(fixture.core.find("chat").unwrap().last_owed(), Some(SeqNum::new(newer)));
    assert!(!fixture.is_settled());
    let third_run = fixture.lease();
    assert_eq!(third, Some(third_run.run_id.clone()));
    assert!(fixture.end(&third_run, failed()).unwrap().is_some(), "the newer record has its own second try");
    let fourth = fixture.lease();
    assert_eq!(fixture.end(&fourth, failed()), Ok(None));
    assert_eq!(fixture.out().len(), 4);
}

#[test]
fn progress_wipes_the_slate_d34() {
    let mut fixture = Fixture::with_chat();
    fixture.send();
    fixture.send();
    let first = fixture.lease();
    fixture.end(&first, failed()).unwrap();
    let second = fixture.lease();
    fixture.write(&second, vec![turn_complete(0)]).unwrap();

    assert!(fixture.end(&second, failed()).unwrap().is_some(), "record 0 was answered; record 1 is still owed");
    let third = fixture.lease();
    assert!(fixture.end(&third, failed()).unwrap().is_some());
    let fourth = fixture.lease();
    assert_eq!(fixture.end(&fourth, failed()), Ok(None));

    assert_eq!(fixture.out(), [COVERED_0, "error", "turn-complete session-in-event-id=1"]);
}

#[test]
fn records_that_want_no_turn_keep_no_run_alive_d3_d33() {
    let mut fixture = Fixture::with_chat();
    fixture.append(IN, &json!({ "kind": "stop" }).to_string(), None).unwrap();
    let run = fixture.lease();

    assert_eq!(fixture.end(&run, RunOutcome::Completed), Ok(None));
}

#[test]
fn an_open_segment_is_left_to_the_next_run_d31() {
    let mut fixture = Fixture::with_chat();
    fixture.send();
    let run = fixture.lease();
    fixture.write(&run, vec![data("start"), data("text-delta")]).unwrap();

    fixture.end(&run, crashed()).unwrap();

    assert_eq!(fixture.out(), ["start", "text-delta"]);
}

//! The run's batch on `out`: all or nothing, fenced, de-duplicated, followed (D-5, D-6, D-32, D-36, D-39, S-89).

use turnkeep_protocol::{MAX_RECORD_BYTES, SESSION_IN_CONSUMED_ID};

use super::*;
use crate::core::TRIMS_PER_TICK;
use crate::trims::TRIM_GRACE;

#[test]
fn a_batch_is_stored_whole_or_not_at_all_d39() {
    let mut fixture = Fixture::with_chat();
    let run = fixture.lease();
    let too_large = NewRecord { body: "x".repeat(MAX_RECORD_BYTES), headers: Vec::new() };
    let bad_trim = NewRecord { body: "soon".to_owned(), ..NewRecord::trim(SeqNum::ZERO) };

    let large = fixture.write(&run, vec![data("start"), too_large]);
    let bad = fixture.write(&run, vec![data("start"), bad_trim]);
    let good = fixture.write(&run, vec![data("start"), data("finish")]);

    assert_eq!(large, Err(Refused::TooLarge { metered: MAX_RECORD_BYTES + 8 }));
    assert!(matches!(bad, Err(Refused::Invalid(_))));
    assert_eq!(good, Ok(vec![0, 1]));
    assert_eq!(fixture.out(), ["start", "finish"]);
}

#[test]
fn a_duplicate_batch_gives_the_original_places_d6_d39() {
    let mut fixture = Fixture::with_chat();
    let run = fixture.lease();
    let batch = || vec![data("start"), data("finish"), turn_complete(0)];
    fixture.write_part(Some(&run), vec![data("zero")], None).unwrap();

    let first = fixture.write_part(Some(&run), batch(), Some("b"));
    fixture.write_part(Some(&run), vec![data("between")], None).unwrap();
    let again = fixture.write_part(Some(&run), batch(), Some("b"));

    assert_eq!((first, again), (Ok(vec![1, 2, 3]), Ok(vec![1, 2, 3])));
    assert_eq!(fixture.out().len(), 5);
}

#[test]
fn whoever_does_not_hold_the_lease_cannot_write_d36() {
    let mut fixture = Fixture::with_chat();
    fixture.create_as(new_session(Some("other"), json!({}))).unwrap();
    let run = fixture.lease();
    let of_other_session = fixture.lease();
    let attempt_2 = LeasedRun { attempt: 2, ..run.clone() };
    let unknown = LeasedRun { run_id: RunId::new("run_unknown"), ..run.clone() };

    for imposter in [&of_other_session, &attempt_2, &unknown] {
        assert_eq!(fixture.write(imposter, vec![data("x")]), Err(Refused::LeaseLost));
    }
    fixture.end(&run, RunOutcome::Completed).unwrap();
    assert_eq!(fixture.write(&run, vec![data("x")]), Err(Refused::LeaseLost));
    assert!(fixture.out().is_empty());
}

#[test]
fn a_duplicate_from_a_fenced_run_is_refused_too_d36() {
    let mut fixture = Fixture::with_chat();
    let run = fixture.lease();
    fixture.write_part(Some(&run), vec![data("x")], Some("b")).unwrap();
    fixture.pass(LEASE);

    assert_eq!(fixture.write_part(Some(&run), vec![data("x")], Some("b")), Err(Refused::LeaseLost));
}

#[test]
fn a_warm_server_writes_without_a_lease_until_the_session_is_closed_c188_d39() {
    let mut fixture = Fixture::with_chat();
    let runs = fixture.runs().len();

    assert_eq!(fixture.write_part(None, vec![data("start")], None), Ok(vec![0]));
    assert_eq!(fixture.runs().len(), runs, "a direct write ensures no run (S-96)");
    fixture.close(None);
    assert!(matches!(fixture.write_part(None, vec![data("x")], None), Err(Refused::Closed { .. })));
}

#[test]
fn a_boundary_moves_the_rows_cursors_and_never_back_s84_s88_d4_d32_i4() {
    let mut fixture = Fixture::with_chat();
    for _ in 0..5 {
        fixture.send();
    }
    let run = fixture.lease();
    let mut boundary = turn_complete(2);
    boundary.headers.push(Header::new(SESSION_IN_CONSUMED_ID, "3"));

    fixture.write(&run, vec![boundary]).unwrap();
    fixture.write(&run, vec![turn_complete(1)]).unwrap();

    let session = fixture.core.find("chat").unwrap();
    assert_eq!((session.summary.settled, session.summary.consumed), (Some(SeqNum::new(2)), Some(SeqNum::new(3))));
}

#[test]
fn a_cursor_beyond_what_was_sent_settles_nothing_in_advance_d32() {
    let mut fixture = Fixture::with_chat();
    let run = fixture.lease();
    fixture.write(&run, vec![turn_complete(99)]).unwrap();
    assert_eq!(fixture.settled_cursor(), None);
    fixture.send();

    fixture.write(&run, vec![turn_complete(99)]).unwrap();

    assert_eq!(fixture.settled_cursor(), Some(0));
    fixture.send();
    assert!(!fixture.is_settled(), "the next message is owed");
}

#[test]
fn a_trim_takes_a_place_of_its_own_and_later_cuts_what_lies_below_s89_s54() {
    let mut fixture = Fixture::with_chat();
    let run = fixture.lease();
    fixture.write(&run, vec![data("a"), turn_complete(0), data("b"), turn_complete(0)]).unwrap();

    let seqs = fixture.write(&run, vec![NewRecord::trim(SeqNum::new(1))]);

    assert_eq!(seqs, Ok(vec![4]));
    assert_eq!(
        fixture.out(),
        ["a", "turn-complete session-in-event-id=0", "b", "turn-complete session-in-event-id=0", "trim 1"]
    );
    fixture.pass(TRIM_GRACE);
    assert_eq!(
        fixture.out(),
        ["turn-complete session-in-event-id=0", "b", "turn-complete session-in-event-id=0", "trim 1"]
    );
    let run = fixture.lease();
    fixture.write(&run, vec![NewRecord::trim(SeqNum::ZERO)]).unwrap();
    fixture.pass(TRIM_GRACE);
    assert_eq!(fixture.records(OUT)[0].seq_num, SeqNum::new(1), "going backwards brings nothing back");
}

#[test]
fn a_trim_inside_a_batch_is_applied_in_its_place_d39() {
    let mut fixture = Fixture::with_chat();
    let run = fixture.lease();

    fixture.write(&run, vec![data("a"), NewRecord::trim(SeqNum::new(99)), data("b")]).unwrap();
    fixture.pass(TRIM_GRACE);

    assert_eq!(fixture.out(), ["trim 99", "b"], "clamped to the tail as it was at the trim");
}

#[test]
fn what_a_trim_dooms_stays_readable_until_its_time_whether_or_not_the_server_restarts_s89_d69() {
    for restarts in [false, true] {
        let mut fixture = Fixture::with_chat();
        let run = fixture.lease();
        fixture.write(&run, vec![data("a"), turn_complete(0), NewRecord::trim(SeqNum::new(1))]).unwrap();
        let due = fixture.now.plus(TRIM_GRACE);

        if restarts {
            fixture.core = fixture.reloaded(2, LEASE * 9);
        }
        fixture.pass(TRIM_GRACE - Duration::from_millis(1));
        assert_eq!(fixture.out()[0], "a", "restarts: {restarts}");
        assert!(fixture.core.next_deadline().is_some_and(|next| next <= due), "restarts: {restarts}");

        fixture.pass(Duration::from_millis(1));
        assert_eq!(fixture.out(), ["turn-complete session-in-event-id=0", "trim 1"], "restarts: {restarts}");
    }
}

#[test]
fn more_trims_than_one_step_takes_are_done_step_by_step() {
    let mut fixture = Fixture::new();
    let n = TRIMS_PER_TICK + 1;
    for at in 0..n {
        let chat = format!("chat-{at}");
        fixture.create_as(new_session(Some(&chat), json!({}))).unwrap();
        let records = [data("a"), NewRecord::trim(SeqNum::new(1))];
        let written = fixture.core.write_out(fixture.now, &chat, None, &records, None, None);
        fixture.keep(written).unwrap();
    }
    let is_trim = |change: &&Change| matches!(change, Change::Trim { .. });

    fixture.pass(TRIM_GRACE);
    assert_eq!(fixture.log.iter().filter(is_trim).count(), TRIMS_PER_TICK);
    assert_eq!(fixture.core.next_deadline(), Some(fixture.now), "the rest is due at once");
    fixture.pass(Duration::ZERO);
    assert_eq!(fixture.log.iter().filter(is_trim).count(), n);
}

#[test]
fn an_empty_batch_changes_nothing() {
    let mut fixture = Fixture::with_chat();
    let run = fixture.lease();

    assert_eq!(fixture.write(&run, Vec::new()), Ok(Vec::new()));
}

#[test]
fn a_stored_record_names_the_run_and_attempt_that_wrote_it_d36() {
    let mut fixture = Fixture::with_chat();
    fixture.send();
    fixture.lease();
    fixture.pass(LEASE);
    let run = fixture.lease();

    fixture.write(&run, vec![data("start")]).unwrap();
    fixture.write_part(None, vec![data("warm")], None).unwrap();
    let by_append = fixture.core.append(fixture.now, "chat", OUT, "x", None, Some(writer(&run)), None);
    fixture.keep(by_append).unwrap();
    fixture.close(None);
    fixture.end(&run, failed()).unwrap();

    let writers = fixture.log.iter().filter_map(|change| match change {
        Change::Record { channel, writer, .. } => Some((*channel, writer.clone())),
        _ => None,
    });
    let held = Some(writer(&run));
    assert_eq!(writers.collect::<Vec<_>>(), [(IN, None), (OUT, held.clone()), (OUT, None), (OUT, held), (OUT, None)]);
}

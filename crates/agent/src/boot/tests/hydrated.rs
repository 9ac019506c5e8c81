//! Boot with a history that the author keeps (A-44, A-56, A-74, A-82, D-31, D-32).

use super::*;
use crate::boot::hydrated::out_tail;

/// Says how a dead turn is closed, given `out` and `in` above the cursor.
fn closing(out: &[Vec<Value>], input: &[InputRecord]) -> Option<Closing> {
    let tail = out_tail(None, &script(out));
    tail.closing(&tail.in_flight(input))
}

const ONLY_ABORTS: Option<Closing> = Some(Closing { aborts: true, tells: false, ends: false });

#[test]
fn the_cursor_is_the_higher_of_row_and_last_boundary_a56_d32() {
    for (row, published, want) in [(9, 6, 9), (1, 6, 6)] {
        let tail = out_tail(Some(seq(row)), &script(&[text("a0", "x"), done(published)]));
        assert_eq!(tail.cursor, Some(seq(want)));
    }
    let tail = out_tail(None, &script(&[done(1), done(4), done(-1)]));
    assert_eq!((tail.cursor, tail.newest_boundary), (Some(seq(4)), Some(seq(102))));
    assert_eq!(out_tail(None, &[]), Default::default());
}

#[test]
fn an_open_message_is_aborted_and_its_record_left_to_run_again_d31_a82() {
    assert_eq!(closing(&[begun("a0", "hal")], &[user(0, "u0"), user(1, "u1")]), ONLY_ABORTS);
    let bare = vec![json!({ "type": "start", "messageId": "a0" })];
    assert_eq!(closing(&[bare], &[user(0, "u0")]), ONLY_ABORTS);
    // An older boundary closes its own turn only.
    assert_eq!(closing(&[text("a0", "x"), done(0), begun("a1", "hal")], &[user(1, "u1")]), ONLY_ABORTS);
}

#[test]
fn a_message_that_has_ended_needs_no_abort_and_runs_again_all_the_same_a74() {
    let abort = vec![json!({ "type": "abort" })];

    assert_eq!(closing(&[text("a0", "x")], &[user(0, "u0")]), None);
    assert_eq!(closing(&[begun("a0", "x"), abort], &[user(0, "u0")]), None);
}

#[test]
fn a_dead_turn_that_nothing_follows_gets_its_boundary_at_boot_d31_d33() {
    assert_eq!(closing(&[begun("a0", "hal")], &[]), ABORTS);
    assert_eq!(closing(&[begun("a0", "hal")], &[stop(0), trigger(1, Trigger::Close)]), ABORTS);
    assert_eq!(closing(&[text("a0", "x")], &[stop(0)]), ONLY_CLOSES);
    assert_eq!(closing(&[text("a0", "x"), done(0)], &[]), None);
    assert_eq!(closing(&[], &[user(0, "u0")]), None);
}

#[test]
fn what_is_owed_runs_in_order_and_signals_are_dropped_a82_a55_d41_d32() {
    let broken = crate::record::decode(json!({ "kind": "message", "payload": { "trigger": "action" } })).unwrap();
    let input = [
        stop(0),
        user(1, "u1"),
        trigger(2, Trigger::RegenerateMessage),
        trigger(3, Trigger::Close),
        trigger(4, Trigger::Action),
        input(5, broken),
        input(6, ChatInputChunk::HandoverSkip),
        InputRecord { seq_num: seq(7), timestamp: 0, input: None },
    ];

    let in_flight = out_tail(None, &[]).in_flight(&input);

    let owed: Vec<_> = in_flight.owed.iter().filter_map(|owed| owed.seq_num).collect();
    assert_eq!(owed, [1, 2, 4, 5].map(seq));
    assert_eq!((in_flight.dropped, in_flight.closing), ([0, 3, 6, 7].map(seq).to_vec(), true));
}

#[test]
fn what_joined_an_answer_that_is_over_does_not_run_again_a166_a30_d42() {
    let injected = |ids: &[&str]| {
        let data = json!({ "messageIds": ids });
        vec![json!({ "type": "data-pending-message-injected", "id": "d", "data": data })]
    };
    let answer = |ids: &[&str]| [begun("a0", "x"), injected(ids), vec![json!({ "type": "finish" })]].concat();
    #[track_caller]
    fn check(out: &[Vec<Value>], input: &[InputRecord], owed: &[u64], dropped: &[u64]) {
        let tail = out_tail(None, &script(out));
        let from = tail.drain_from();
        let drained: Vec<_> = input.iter().filter(|record| from < Some(record.seq_num)).cloned().collect();
        let in_flight = tail.in_flight(&drained);

        let places: Vec<_> = in_flight.owed.iter().filter_map(|owed| owed.seq_num).collect();
        assert_eq!(places, owed.iter().copied().map(seq).collect::<Vec<_>>(), "owed");
        assert_eq!(in_flight.dropped, dropped.iter().copied().map(seq).collect::<Vec<_>>(), "dropped");
    }
    let action = || trigger(1, Trigger::Action);
    // An action waits between the message that was served and the one that joined it.
    check(&[answer(&["s"]), done(0)], &[user(0, "u0"), action(), user(2, "s"), user(3, "s")], &[1, 3], &[2]);
    // Covered, so what comes later under its id is sent again.
    check(&[answer(&["s"]), done(1)], &[user(0, "u0"), user(1, "s"), user(2, "s")], &[2], &[]);
    check(&[done(0), answer(&["s"]), done(2)], &[user(0, "s"), user(1, "u1"), user(2, "s"), user(3, "s")], &[3], &[]);
    // The turn is not over: it runs again, and the message has a turn of its own.
    check(&[answer(&["s"])], &[user(0, "u0"), user(1, "s")], &[0, 1], &[]);
    // A turn that its code forgot is closed with the next one, and what joined it is still owed (D-63).
    let forgotten = [answer(&["s"]), text("a1", "y"), done(1)];
    check(&forgotten, &[user(0, "u0"), user(1, "u1"), user(2, "s")], &[2], &[]);
}

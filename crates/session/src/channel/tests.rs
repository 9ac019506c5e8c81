//! One channel, its window and its memory for part ids.

use std::time::Duration;

use serde_json::json;

use super::*;
use crate::standing::PART_MEMORY;

const T0: Timestamp = Timestamp::from_millis(1_000);

fn data(n: u64) -> NewRecord {
    NewRecord::data(&json!(n), &PartId::new(format!("p{n}")))
}

fn push(channel: &mut Channel, part: Option<&str>, now: Timestamp) -> SeqNum {
    let record = channel.place(data(channel.tail().get()), 0, now);
    let seq = record.seq_num;
    channel.append(record, part.map(PartId::new));
    seq
}

fn filled(n: u64) -> Channel {
    let mut channel = Channel::default();
    for _ in 0..n {
        push(&mut channel, None, T0);
    }
    channel
}

#[test]
fn seq_nums_are_dense_from_zero_over_appends_and_trims_s54() {
    let mut channel = filled(3);

    channel.trim(SeqNum::new(3));
    let after_trim = push(&mut channel, None, T0);

    assert_eq!(after_trim, SeqNum::new(3));
    assert_eq!(channel.tail(), SeqNum::new(4));
    assert_eq!(channel.from(SeqNum::ZERO).map(|record| record.seq_num.get()).collect::<Vec<_>>(), [3]);
}

#[test]
#[should_panic(expected = "dense")]
fn a_record_out_of_place_is_our_own_broken_invariant() {
    let mut channel = filled(1);
    let mut record = channel.place(data(1), 0, T0);
    record.seq_num = SeqNum::new(5);

    channel.append(record, None);
}

#[track_caller]
fn check_start(cursor: Option<u64>, next: u64, first_available: Option<u64>, clamped_to: Option<u64>) {
    let mut channel = filled(6);
    channel.trim(SeqNum::new(2));

    let start = channel.start_after(cursor.map(SeqNum::new));

    let want = ReadStart {
        next: SeqNum::new(next),
        first_available: first_available.map(SeqNum::new),
        clamped_to: clamped_to.map(SeqNum::new),
    };
    assert_eq!(start, want, "cursor {cursor:?}");
}

#[test]
fn a_read_starts_after_its_cursor_bent_to_what_exists_s104_s105_d57() {
    check_start(None, 2, None, None);
    check_start(Some(0), 2, Some(2), None);
    check_start(Some(1), 2, None, None);
    check_start(Some(2), 3, None, None);
    check_start(Some(5), 6, None, None);
    check_start(Some(6), 6, None, Some(6));
    check_start(Some(99), 6, None, Some(6));
}

#[test]
fn an_empty_channel_reads_as_empty_s55() {
    let channel = Channel::default();

    assert_eq!(channel.start_after(None).next, SeqNum::ZERO);
    assert_eq!(channel.read(SeqNum::ZERO), []);
    assert_eq!(channel.last(), None);
    assert_eq!(channel.tail_mark(), Tail { seq_num: SeqNum::ZERO, timestamp: 0 });
}

#[test]
fn a_trim_goes_forward_only_and_never_past_the_tail_s89() {
    let mut channel = filled(5);

    for (requested, want) in [(2, 2), (1, 2), (2, 2), (99, 5)] {
        channel.trim(SeqNum::new(requested));
        assert_eq!(channel.shape().first, SeqNum::new(want), "trim to {requested}");
    }
    assert_eq!(channel.tail(), SeqNum::new(5));
}

#[test]
fn a_duplicate_part_id_gives_the_original_places_s76_d6() {
    let mut channel = filled(2);
    let first = push(&mut channel, Some("p"), T0);
    let second = push(&mut channel, Some("p"), T0);
    push(&mut channel, Some("q"), T0);

    assert_eq!(channel.duplicate(&PartId::new("p"), None, T0), Ok(Some(vec![first, second])));
    assert_eq!(channel.duplicate(&PartId::new("unknown"), None, T0), Ok(None));
}

#[test]
fn a_part_id_is_remembered_as_long_as_its_record_and_a_day_d6() {
    let mut channel = Channel::default();
    push(&mut channel, Some("p"), T0);
    let known = |channel: &Channel, now| channel.duplicate(&PartId::new("p"), None, now).unwrap().is_some();
    let almost_a_day = T0.plus(PART_MEMORY - Duration::from_millis(1));
    let day = T0.plus(PART_MEMORY);

    assert!(known(&channel, T0.plus(PART_MEMORY * 7)), "the record is still there");
    channel.trim(SeqNum::new(1));

    assert!(known(&channel, almost_a_day), "a day has not passed");
    assert!(!known(&channel, day));
}

#[test]
fn a_part_id_that_comes_back_after_it_was_forgotten_names_the_new_record_d6() {
    let mut channel = filled(1);
    push(&mut channel, Some("p"), T0);
    channel.trim(SeqNum::new(2));
    let later = T0.plus(PART_MEMORY);

    let again = push(&mut channel, Some("p"), later);

    assert_eq!(channel.duplicate(&PartId::new("p"), None, later), Ok(Some(vec![again])));
    assert_eq!(channel.parts.len(), channel.parts_by_place.len());
}

fn window(records: usize, bytes: usize, parts: usize) -> Window {
    Window { records: Bounds { records, bytes }, parts }
}

#[test]
fn a_window_keeps_the_newest_records_within_both_bounds_and_tells_what_is_cold() {
    let one = data(0).body.len();
    for (window, kept) in [
        (window(3, usize::MAX, 9), 3),
        (window(9, 2 * one, 9), 2),
        (window(9, 2 * one - 1, 9), 1),
        (window(9, one - 1, 9), 0),
        (window(9, 9 * one, 9), 5),
    ] {
        let mut channel = filled(5);

        channel.evict(&window);

        assert_eq!(channel.from(SeqNum::ZERO).count(), kept, "{window:?}");
        assert_eq!(channel.tail(), SeqNum::new(5));
        for next in 0..=5 {
            let cold = (next < 5 - kept as u64).then_some(SeqNum::new(next));
            assert_eq!(channel.cold_from(SeqNum::new(next)), cold, "{window:?} at {next}");
        }
    }
}

#[test]
fn what_was_trimmed_is_not_cold_d7() {
    let mut channel = filled(5);
    channel.evict(&window(2, usize::MAX, 9));

    channel.trim(SeqNum::new(2));
    assert_eq!(channel.cold_from(SeqNum::ZERO), Some(SeqNum::new(2)));
    channel.trim(SeqNum::new(4));
    assert_eq!(channel.cold_from(SeqNum::ZERO), None);
    assert_eq!(channel.from(SeqNum::ZERO).map(|record| record.seq_num.get()).collect::<Vec<_>>(), [4]);
}

#[test]
fn a_look_into_the_store_counts_only_while_the_window_reaches_back_to_it_d6() {
    let mut channel = Channel::default();
    for part in ["a", "b", "c"] {
        push(&mut channel, Some(part), T0);
    }
    channel.evict(&window(9, usize::MAX, 1));
    let ask = |channel: &Channel, part: &str, looked: Option<Looked>| {
        channel.duplicate(&PartId::new(part), looked.as_ref(), T0)
    };
    let found = Part::new(SeqNum::ZERO, T0.into());
    let looked = |up_to, found: Option<&Part>| Some(Looked { up_to: SeqNum::new(up_to), found: found.cloned() });

    assert_eq!(ask(&channel, "c", None), Ok(Some(vec![SeqNum::new(2)])), "in the window");
    assert_eq!(ask(&channel, "a", None), Err(Unsure));
    assert_eq!(
        ask(&channel, "a", looked(1, Some(&found))),
        Err(Unsure),
        "b has left since, and may be what is asked for"
    );
    assert_eq!(ask(&channel, "a", looked(2, Some(&found))), Ok(Some(vec![SeqNum::ZERO])));
    assert_eq!(ask(&channel, "new", looked(3, None)), Ok(None));
}

#[test]
fn one_read_is_bounded_by_count_and_by_bytes_but_never_empty_s114() {
    let many = filled(HELPING.records as u64 + 1);
    assert_eq!(many.read(SeqNum::ZERO).len(), HELPING.records);

    let mut heavy = Channel::default();
    for _ in 0..3 {
        let body = "x".repeat(HELPING.bytes - 10);
        let record = heavy.place(NewRecord { body, headers: Vec::new() }, 0, T0);
        heavy.append(record, None);
    }
    assert_eq!(heavy.read(SeqNum::ZERO).len(), 1);
    assert_eq!(heavy.read(SeqNum::new(2)).len(), 1);
}

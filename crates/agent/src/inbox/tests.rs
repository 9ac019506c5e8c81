use proptest::prelude::*;
use turnkeep_protocol::{ChatTaskWirePayload, UiMessage};

use super::*;

fn seq(number: u64) -> SeqNum {
    SeqNum::new(number)
}

fn message() -> ChatInputChunk {
    ChatInputChunk::message(ChatTaskWirePayload::submit("c", UiMessage::user("u", "hi")))
}

fn stop() -> ChatInputChunk {
    ChatInputChunk::Stop { message: None }
}

fn record(number: u64, input: ChatInputChunk) -> InputRecord {
    InputRecord { seq_num: seq(number), timestamp: number * 10, input: Some(input) }
}

/// Takes the oldest message and gives its place.
fn take(inbox: &mut Inbox) -> Option<u64> {
    inbox.take(Facade::Messages).map(|(seq_num, _)| seq_num.get())
}

/// Gives the place of what waits longest.
fn head(inbox: &Inbox) -> Option<u64> {
    inbox.buffered().next().map(|(seq_num, _)| seq_num.get())
}

fn places(taken: &[(SeqNum, ChatInputChunk)]) -> Vec<u64> {
    taken.iter().map(|(seq_num, _)| seq_num.get()).collect()
}

#[test]
fn a_listener_for_stops_does_not_swallow_the_first_message_ar1_s148_sr33() {
    // C-252, CR-39.
    let mut inbox = Inbox::default();
    inbox.attach(Facade::Stops);

    assert_eq!(inbox.receive(record(0, message())), Dispatched::Buffered);

    assert_eq!(take(&mut inbox), Some(0));
}

#[test]
fn what_a_handler_took_is_not_buffered_as_well_ar2_a22_s149_sr34() {
    let mut inbox = Inbox::default();
    inbox.attach(Facade::Messages);

    assert_eq!(inbox.receive(record(0, message())), Dispatched::Handled(message()));
    inbox.detach(Facade::Messages);

    assert_eq!(inbox.attach(Facade::Messages), []);
    assert_eq!(take(&mut inbox), None);
}

#[test]
fn attaching_takes_its_own_kind_and_leaves_the_rest_in_order_ar3_a21_a23_a24_s151_sr35() {
    let mut inbox = Inbox::default();
    let inputs = [message(), stop(), ChatInputChunk::HandoverSkip, message(), stop()];
    for (at, input) in inputs.into_iter().enumerate() {
        inbox.receive(record(at as u64, input));
    }

    assert_eq!(places(&inbox.attach(Facade::Stops)), [1, 4]);
    assert_eq!(head(&inbox), Some(0));
    assert_eq!(places(&inbox.attach(Facade::Handovers)), [2]);
    assert_eq!((take(&mut inbox), take(&mut inbox), take(&mut inbox)), (Some(0), Some(3), None));
}

#[test]
fn a_wait_for_messages_skips_other_kinds_and_leaves_them_a26_d46() {
    let mut inbox = Inbox::default();
    inbox.receive(record(0, stop()));
    inbox.receive(record(1, message()));

    assert_eq!(take(&mut inbox), Some(1));
    assert_eq!(head(&inbox), Some(0));
}

#[test]
fn looking_shows_what_waits_longest_and_takes_nothing_s153() {
    let mut inbox = Inbox::seeded(Some(seq(4)));
    assert_eq!(head(&inbox), None);
    inbox.receive(record(5, message()));
    inbox.receive(record(6, message()));

    assert_eq!((head(&inbox), head(&inbox), inbox.wait_cursor()), (Some(5), Some(5), Some(seq(4))));

    assert_eq!((take(&mut inbox), head(&inbox)), (Some(5), Some(6)));
}

#[test]
fn a_record_leaves_the_buffer_with_its_own_place_s155_sr40() {
    let mut inbox = Inbox::default();
    let said = |text: &str| ChatInputChunk::message(ChatTaskWirePayload::submit("c", UiMessage::user(text, text)));
    let unreadable = InputRecord { input: None, ..record(2, stop()) };
    inbox.receive(record(0, stop()));
    inbox.receive(record(1, said("one")));
    inbox.receive(unreadable);
    inbox.receive(record(3, said("three")));

    // A drain takes records from in front of those that stay.
    assert_eq!(places(&inbox.attach(Facade::Stops)), [0]);

    assert_eq!(inbox.take(Facade::Messages), Some((seq(1), said("one"))));
    assert_eq!((inbox.wait_cursor(), inbox.settled_with(Some(seq(1)))), (Some(seq(2)), Some(seq(2))));
    assert_eq!(inbox.take(Facade::Messages), Some((seq(3), said("three"))));
}

#[test]
fn the_consumed_cursor_never_goes_back_s156() {
    let mut inbox = Inbox::seeded(Some(seq(4)));
    inbox.attach(Facade::Stops);
    inbox.receive(record(5, message()));
    assert_eq!((inbox.received(), inbox.wait_cursor()), (Some(seq(5)), Some(seq(4))));

    // The stop is consumed at once, the message before it later.
    inbox.receive(record(6, stop()));
    take(&mut inbox);

    assert_eq!((inbox.received(), inbox.wait_cursor()), (Some(seq(6)), Some(seq(6))));
    assert_eq!(inbox.receive(record(5, message())), Dispatched::Repeated);
    assert_eq!(inbox.received(), Some(seq(6)), "neither does the received one");
}

#[test]
fn a_queued_message_holds_the_settled_cursor_back_ar5_a30_s157_sr42() {
    let mut inbox = Inbox::seeded(Some(seq(4)));
    inbox.attach(Facade::Stops);
    inbox.receive(record(5, message()));
    inbox.receive(record(6, message()));
    inbox.receive(record(7, stop()));

    assert_eq!(take(&mut inbox), Some(5));
    assert_eq!(inbox.settled(), Some(seq(4)));
    // The boundary of the first turn covers its own message and no more.
    assert_eq!(inbox.settled_with(Some(seq(5))), Some(seq(5)));
    inbox.finish(seq(5));
    assert_eq!(inbox.settled(), Some(seq(5)));

    assert_eq!(take(&mut inbox), Some(6));
    assert_eq!(inbox.settled_with(Some(seq(6))), Some(seq(7)));
}

#[test]
fn a_message_finished_out_of_order_moves_the_cursor_later_a30() {
    let mut inbox = Inbox::default();
    for at in 0..3 {
        inbox.receive(record(at, message()));
    }

    inbox.finish(seq(1));
    assert_eq!(inbox.settled(), None);
    inbox.finish(seq(0));
    assert_eq!(inbox.settled(), Some(seq(1)));
    inbox.finish(seq(2));
    assert_eq!(inbox.settled(), Some(seq(2)));
}

#[test]
fn unreadable_records_move_the_cursors_and_nothing_else_a15_a25() {
    let mut inbox = Inbox::default();

    let unreadable = InputRecord { seq_num: seq(0), timestamp: 1, input: None };
    assert_eq!(inbox.receive(unreadable), Dispatched::Skipped);

    assert_eq!((inbox.received(), inbox.settled(), inbox.wait_cursor()), (Some(seq(0)), Some(seq(0)), Some(seq(0))));
}

#[test]
fn no_record_is_dispatched_twice_s154_ar7_sr37() {
    let mut inbox = Inbox::default();
    inbox.receive(record(0, message()));
    take(&mut inbox);

    assert_eq!(inbox.receive(record(0, message())), Dispatched::Repeated);
    assert_eq!(take(&mut inbox), None);
}

#[test]
fn reading_starts_after_the_seeded_cursor_ar8_a37_s158_sr39() {
    let mut inbox = Inbox::seeded(Some(seq(9)));
    inbox.attach(Facade::Stops);

    assert_eq!((inbox.received(), inbox.settled(), inbox.wait_cursor()), (Some(seq(9)), Some(seq(9)), Some(seq(9))));
    for at in 0..=9 {
        assert_eq!(inbox.receive(record(at, message())), Dispatched::Repeated);
    }
    assert_eq!(inbox.receive(record(10, message())), Dispatched::Buffered);
}

#[test]
fn a_wait_registers_below_what_is_buffered_ar6_a33_s135_sr28_sr36() {
    let mut inbox = Inbox::default();
    inbox.receive(record(0, message()));
    assert_eq!(inbox.wait_cursor(), None);

    take(&mut inbox);
    assert_eq!(inbox.wait_cursor(), Some(seq(0)));

    inbox.receive(record(1, message()));
    assert_eq!(inbox.wait_cursor(), Some(seq(0)));
}

#[test]
fn a_delivery_after_a_wait_moves_both_cursors_to_its_true_place_ar4_a29_a34_s166_sr29_sr38() {
    let mut inbox = Inbox::seeded(Some(seq(4)));

    // Woken by the append of 6; the channel is read, and 5 is there as well.
    inbox.receive(record(5, message()));
    inbox.receive(record(6, message()));

    assert_eq!((take(&mut inbox), inbox.wait_cursor()), (Some(5), Some(seq(5))));
    assert_eq!((take(&mut inbox), inbox.wait_cursor()), (Some(6), Some(seq(6))));
}

#[test]
fn a_record_behind_a_gap_is_refused_and_settles_nothing_s54_a30() {
    let mut inbox = Inbox::seeded(Some(seq(4)));

    assert_eq!(inbox.receive(record(6, stop())), Dispatched::Gap);
    assert_eq!((inbox.received(), inbox.settled()), (Some(seq(4)), Some(seq(4))));

    assert_eq!(inbox.receive(record(5, message())), Dispatched::Buffered);
    // A drain holds all there is.
    assert_eq!(inbox.receive_drained(record(9, message())), Dispatched::Buffered);
    assert_eq!((take(&mut inbox), take(&mut inbox)), (Some(5), Some(9)));
}

#[test]
fn a_full_buffer_rests_the_tail() {
    let mut inbox = Inbox::default();
    for at in 0..MAX_BUFFERED_RECORDS as u64 {
        assert!(!inbox.is_full());
        inbox.receive(record(at, message()));
    }

    assert!(inbox.is_full());
    take(&mut inbox);
    assert!(!inbox.is_full());
}

#[derive(Clone, Debug)]
enum Step {
    Receive(bool),
    Replay(u64),
    Take,
    FinishOldest,
    FinishNewest,
    Attach,
    Detach,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => any::<bool>().prop_map(Step::Receive),
        1 => (0..20_u64).prop_map(Step::Replay),
        3 => Just(Step::Take),
        2 => Just(Step::FinishOldest),
        1 => Just(Step::FinishNewest),
        1 => Just(Step::Attach),
        1 => Just(Step::Detach),
    ]
}

proptest! {
    /// Whatever the interleaving: no message is lost, none is delivered twice or out of order, and the settled cursor never passes
    /// one that is unfinished (A-22, A-28, A-30, S-154).
    #[test]
    fn every_message_is_delivered_once_and_settled_last(steps in prop::collection::vec(step(), 0..80)) {
        let mut inbox = Inbox::default();
        let (mut sent, mut delivered, mut unfinished) = (Vec::new(), Vec::new(), BTreeSet::new());
        let mut next = 0;
        let mut settled = None;
        for step in steps {
            match step {
                Step::Receive(is_message) => {
                    if is_message {
                        sent.push(next);
                        unfinished.insert(next);
                    }
                    inbox.receive(record(next, if is_message { message() } else { stop() }));
                    next += 1;
                }
                Step::Replay(at) if at < next => {
                    prop_assert_eq!(inbox.receive(record(at, message())), Dispatched::Repeated);
                }
                Step::Replay(_) => {}
                Step::Take => delivered.extend(take(&mut inbox)),
                Step::FinishOldest | Step::FinishNewest => {
                    let mut open = delivered.iter().filter(|at| unfinished.contains(*at)).copied();
                    let at = if matches!(step, Step::FinishOldest) { open.next() } else { open.next_back() };
                    if let Some(at) = at {
                        unfinished.remove(&at);
                        inbox.finish(seq(at));
                    }
                }
                Step::Attach => drop(inbox.attach(Facade::Stops)),
                Step::Detach => inbox.detach(Facade::Stops),
            }
            let now = inbox.settled();
            prop_assert!(now >= settled, "the settled cursor went back from {settled:?} to {now:?}");
            settled = now;
            if let (Some(now), Some(first)) = (now, unfinished.first()) {
                prop_assert!(now < seq(*first), "settled {now} passed the unfinished {first}");
            }
        }
        while let Some(at) = take(&mut inbox) {
            delivered.push(at);
        }
        prop_assert_eq!(delivered, sent);
    }
}

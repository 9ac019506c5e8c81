//! Tabs that send at the same moment.

use super::*;

#[test]
fn who_loses_a_crossing_takes_the_chat_when_the_winner_lets_go_for_its_turn_goes_on_c133() {
    let now = Instant::now();
    let (mut a, mut b) = crossed(now);
    let effects = deliver(&sent(&a.let_go(CHAT, now)), &mut b, now);
    assert_eq!(effects[..1], read_only(false));
    assert_eq!(deliver(&sent(&effects), &mut a, now), read_only(true), "it is taken");

    // One that has had its turn meanwhile takes nothing.
    let (mut a, mut b) = crossed(now);
    b.let_go(CHAT, now);
    assert_eq!(deliver(&sent(&a.let_go(CHAT, now)), &mut b, now), read_only(false));
    // One whose winner has died takes it as well.
    let (_, mut b) = crossed(now);
    let effects = b.tick(now + 2 * CLAIM_LIFE);
    assert_eq!(effects[..1], read_only(false), "its own stream goes on: there is nothing to resume");
    assert!(matches!(sent(&effects)[..], [TabMessage::Claim { .. }, TabMessage::Heartbeat { .. }]), "{effects:?}");
}

/// Tabs `a` and `b` whose claims have crossed: `a` holds the chat.
fn crossed(now: Instant) -> (Claims, Claims) {
    let (mut a, mut b) = (tab("a"), tab("b"));
    let (by_a, by_b) = (claim(&mut a), claim(&mut b));
    assert_eq!(deliver(&by_b, &mut a, now), []);
    assert_eq!(deliver(&by_a, &mut b, now), read_only(true));
    (a, b)
}

#[test]
fn tabs_that_sent_at_once_end_with_one_list_that_has_both_messages_c133() {
    let now = Instant::now();
    // The smaller tab's message was accepted first, or second.
    for (place_a, place_b) in [(1, 2), (2, 1)] {
        let (mut a, mut b) = crossed(now);
        a.accepted(CHAT, SeqNum::new(place_a));
        b.accepted(CHAT, SeqNum::new(place_b));
        let both = if place_a < place_b { ["u0", "u1", "a1", "u2"] } else { ["u0", "u2", "u1", "a1"] };
        b.share(CHAT, list(&["u0", "u2"]));

        a.share(CHAT, list(&["u0", "u1"]));
        assert_eq!(deliver(&sent(&a.flush()), &mut b, now), [], "its turn is not over");
        a.share(CHAT, list(&["u0", "u1", "a1"]));
        assert_eq!(deliver(&over(&mut a, 7), &mut b, now), [], "the list that this cursor covers comes behind it");
        a.let_go(CHAT, now);
        let freed = deliver(&sent(&a.release_due(now + LAST_WORDS, nobody)), &mut b, now);
        assert_eq!(freed[..3], [adopt(&both), cursor(7, true), read_only(false).remove(0)]);
        assert_eq!(deliver(&sent(&freed), &mut a, now), read_only(true));

        let whole = [&both[..], &["a2"]].concat();
        b.share(CHAT, list(&whole));
        deliver(&sent(&b.flush()), &mut a, now);
        assert_eq!(deliver(&over(&mut b, 9), &mut a, now), []);
        b.let_go(CHAT, now);
        let last = deliver(&sent(&b.release_due(now + LAST_WORDS, nobody)), &mut a, now);
        assert_eq!(last, [adopt(&whole), cursor(9, true), read_only(false).remove(0)]);
    }
}

#[test]
fn a_turn_that_ends_before_the_winners_is_told_of_all_the_same_c133() {
    let now = Instant::now();
    let (mut a, mut b) = crossed(now);
    let mut third = tab("c");
    deliver(&[tab_claims("b"), tab_claims("a")], &mut third, now);
    b.accepted(CHAT, SeqNum::new(1));
    a.accepted(CHAT, SeqNum::new(2));
    a.share(CHAT, list(&["u2"]));
    a.flush();

    b.share(CHAT, list(&["u1", "a1"]));
    deliver(&over(&mut b, 7), &mut a, now);
    b.let_go(CHAT, now);
    let last = sent(&b.release_due(now + LAST_WORDS, nobody));

    assert_eq!(deliver(&last, &mut a, now), [adopt(&["u1", "a1", "u2"]), cursor(7, true)], "the winner holds on");
    assert!(a.has_unsent(), "the others are to have it too");
    assert_eq!(deliver(&last, &mut third, now), [], "a third tab shows what the winner shows");
    assert_eq!(deliver(&sent(&a.flush()), &mut third, now), [adopt(&["u1", "a1", "u2"])]);
    assert_eq!(deliver(&sent(&a.leave()), &mut third, now).last(), read_only(false).first());
}

#[test]
fn a_rivals_list_is_taken_as_it_is_from_its_next_claim_on_c133() {
    let now = Instant::now();
    let (mut a, mut b) = crossed(now);
    a.share(CHAT, list(&["u1"]));
    b.share(CHAT, list(&["u2"]));
    let freed = deliver(&sent(&a.leave()), &mut b, now);
    assert_eq!(freed[0], adopt(&["u1", "u2"]));
    let mut a = tab("a");
    a.share(CHAT, list(&["u1"]));
    deliver(&sent(&b.leave()), &mut a, now);
    let mut b = tab("b");
    b.share(CHAT, list(&["u1", "u2"]));

    // What `a` takes back from here on is taken back: it sends anew, and nobody else does.
    deliver(&claim(&mut a), &mut b, now);
    a.share(CHAT, list(&["u1"]));
    assert_eq!(deliver(&sent(&a.flush()), &mut b, now), [adopt(&["u1"])]);

    // As after a crossing whose loser has heard the winner's last list.
    let (mut a, mut b) = crossed(now);
    b.share(CHAT, list(&["u1", "u2"]));
    deliver(&sent(&a.let_go(CHAT, now)), &mut b, now);
    b.let_go(CHAT, now);
    b.release_due(now + LAST_WORDS, nobody);
    deliver(&claim(&mut a), &mut b, now);
    a.share(CHAT, list(&["u1"]));
    assert_eq!(deliver(&sent(&a.flush()), &mut b, now), [adopt(&["u1"])], "an undone message does not come back");
}

//! Claims by rule, over a channel that delivers when the test says so.

use serde_json::json;

use super::*;

const CHAT: &str = "chat-1";

fn tab(id: &str) -> Claims {
    Claims::new(id.to_owned())
}

fn read_only(is_read_only: bool) -> Vec<Effect> {
    vec![Effect::ReadOnly { chat_id: CHAT.to_owned(), is_read_only }]
}

/// What the others get of some effects.
fn sent(effects: &[Effect]) -> Vec<TabMessage> {
    let sent = effects.iter().filter_map(|effect| match effect {
        Effect::Send(message) => Some(message.clone()),
        _ => None,
    });
    sent.collect()
}

/// Hands messages over; gives what the receiver does.
fn deliver(messages: &[TabMessage], to: &mut Claims, now: Instant) -> Vec<Effect> {
    messages.iter().flat_map(|message| to.on_message(message.clone(), now)).collect()
}

fn claim(tab: &mut Claims) -> Vec<TabMessage> {
    sent(&tab.claim(CHAT).expect("nobody else holds the chat"))
}

#[test]
fn a_claim_makes_the_others_read_only_and_not_its_owner_c124_ca73() {
    let now = Instant::now();
    let (mut a, mut b) = (tab("a"), tab("b"));

    let claimed = claim(&mut a);
    assert_eq!(deliver(&claimed, &mut b, now), read_only(true));
    assert_eq!(deliver(&claimed, &mut a, now), [], "own messages are ignored (C-123)");

    assert_eq!((a.is_read_only(CHAT), b.is_read_only(CHAT)), (false, true));
    assert_eq!(a.claim(CHAT), Some(Vec::new()), "claiming again is no news");
    assert_eq!(b.claim(CHAT), None);
    assert!(b.claim("chat-2").is_some(), "chats are independent (CA-74)");
    assert_eq!(deliver(&claimed, &mut b, now), [], "told on change only (C-127)");
}

#[test]
fn only_the_recorded_holders_release_counts_c125_ca73() {
    let now = Instant::now();
    let (mut a, mut b) = (tab("a"), tab("b"));
    deliver(&claim(&mut a), &mut b, now);

    let strangers = TabMessage::Release { chat_id: CHAT.to_owned(), tab_id: "x".to_owned() };
    assert_eq!(b.on_message(strangers, now), []);
    assert_eq!(b.release(CHAT), [], "what is not held is not announced");
    assert_eq!(deliver(&sent(&a.release(CHAT)), &mut b, now), read_only(false));

    assert!(b.claim(CHAT).is_some());
    assert_eq!(a.release(CHAT), []);
}

#[test]
fn a_crashed_tabs_claim_ends_ten_to_fifteen_seconds_later_c126_ca74() {
    let start = Instant::now();
    let at = |seconds| start + Duration::from_secs(seconds);
    let (mut a, mut b) = (tab("a"), tab("b"));
    deliver(&claim(&mut a), &mut b, at(0));

    assert_eq!(deliver(&sent(&a.tick(at(5))), &mut b, at(5)), [], "a sign of life is no news");
    // From here on tab a is dead.
    assert_eq!(b.tick(at(10)), []);
    assert_eq!(b.tick(at(15)), [], "ten seconds are not more than ten");
    assert_eq!(b.tick(at(20)), read_only(false));
    assert_eq!(b.tick(at(25)), []);
}

#[test]
fn a_tab_opened_in_mid_turn_learns_from_the_next_heartbeat_c132_cf7() {
    let now = Instant::now();
    let (mut a, mut late) = (tab("a"), tab("late"));
    claim(&mut a);

    assert_eq!(deliver(&sent(&a.tick(now)), &mut late, now), read_only(true));

    assert_eq!(late.claim(CHAT), None);
}

#[test]
fn crossing_claims_leave_one_holder_whoever_hears_first_c133_cf7() {
    let now = Instant::now();
    for order in [["a", "b"], ["b", "a"]] {
        let (mut a, mut b) = (tab("a"), tab("b"));
        let (of_a, of_b) = (claim(&mut a), claim(&mut b));
        let mut news = Vec::new();
        for first in order {
            news.extend(if first == "a" { deliver(&of_b, &mut a, now) } else { deliver(&of_a, &mut b, now) });
        }

        assert_eq!((a.is_read_only(CHAT), b.is_read_only(CHAT)), (false, true), "{order:?}");
        assert_eq!(news, read_only(true));
        // Neither heartbeats nor a late release of the loser change it.
        deliver(&sent(&b.tick(now)), &mut a, now);
        deliver(&sent(&b.release_all()), &mut a, now);
        assert!(!a.is_read_only(CHAT));
        assert_eq!(deliver(&sent(&a.release(CHAT)), &mut b, now), read_only(false));
    }
}

#[test]
fn a_third_tab_follows_the_winner_of_two_crossing_claims_c133() {
    let now = Instant::now();
    for first in ["a", "b"] {
        let (mut a, mut b, mut c) = (tab("a"), tab("b"), tab("c"));
        let (of_a, of_b) = (claim(&mut a), claim(&mut b));
        let (one, other) = if first == "a" { (&of_a, &of_b) } else { (&of_b, &of_a) };
        deliver(one, &mut c, now);
        deliver(other, &mut c, now);

        assert_eq!(deliver(&sent(&a.release(CHAT)), &mut c, now), read_only(false), "{first} first");
    }
}

#[test]
fn the_latest_list_is_shared_and_once_more_at_the_end_c128() {
    let now = Instant::now();
    let (mut a, mut b) = (tab("a"), tab("b"));
    let list = |text: &str| vec![UiMessage::user("m", text)];
    assert!(!a.share(CHAT, list("nobody's")), "only a holder has something to share");
    deliver(&claim(&mut a), &mut b, now);

    a.share(CHAT, list("old"));
    a.share(CHAT, list("new"));
    let adopted = deliver(&sent(&a.flush()), &mut b, now);
    assert_eq!(adopted, [Effect::Adopt { chat_id: CHAT.to_owned(), messages: list("new") }]);
    assert_eq!(a.flush(), [], "nothing new");

    a.share(CHAT, list("last"));
    let last = deliver(&sent(&a.release(CHAT)), &mut b, now);
    let adopt = Effect::Adopt { chat_id: CHAT.to_owned(), messages: list("last") };
    assert_eq!(last, [adopt, read_only(false).remove(0)], "adopted while it is still read-only");
    assert_eq!(a.flush(), []);
}

#[test]
fn a_chat_whose_list_is_shared_is_held_a_while_longer_and_for_its_last_list_c128() {
    let now = Instant::now();
    let list = |text: &str| vec![UiMessage::user("m", text)];
    let mut a = tab("a");
    claim(&mut a);
    assert_eq!(sent(&a.let_go(CHAT, now)).len(), 1, "nobody waits for a list that is never shared");
    claim(&mut a);
    a.share(CHAT, list("half"));

    assert_eq!(a.let_go(CHAT, now), []);
    assert_eq!(a.let_go(CHAT, now + LAST_WORDS / 2), [], "the time counts from the first");
    assert!(a.share(CHAT, list("whole")), "it is held still");
    assert_eq!(a.release_due(now + LAST_WORDS / 2), []);
    assert_eq!(a.next_release(), Some(now + LAST_WORDS));
    let last = sent(&a.release_due(now + LAST_WORDS));

    let [TabMessage::Messages { messages, .. }, TabMessage::Release { .. }] = &last[..] else { panic!("{last:?}") };
    assert_eq!((messages, a.next_release()), (&list("whole"), None));
}

#[test]
fn a_tab_on_its_way_out_keeps_what_it_claims_anew_and_yields_to_anybody_else_c124_c133() {
    let now = Instant::now();
    let leaving = || {
        let mut a = tab("a");
        claim(&mut a);
        a.share(CHAT, Vec::new());
        a.let_go(CHAT, now);
        a
    };
    let (mut again, mut yields, mut b) = (leaving(), leaving(), tab("b"));

    assert_eq!(again.claim(CHAT), Some(Vec::new()), "the others know it already");
    assert_eq!(again.release_due(now + LAST_WORDS), []);
    assert_eq!(deliver(&claim(&mut b), &mut yields, now), read_only(true), "though its own id is smaller");
    assert_eq!((yields.release_due(now + LAST_WORDS), yields.next_release()), (Vec::new(), None));
}

#[test]
fn who_loses_a_crossing_takes_the_chat_when_the_winner_lets_go_for_its_turn_goes_on_c133() {
    let now = Instant::now();
    let crossed = || {
        let (mut a, mut b) = (tab("a"), tab("b"));
        let (by_a, by_b) = (claim(&mut a), claim(&mut b));
        assert_eq!(deliver(&by_b, &mut a, now), []);
        assert_eq!(deliver(&by_a, &mut b, now), read_only(true));
        (a, b)
    };
    let (mut a, mut b) = crossed();
    let effects = deliver(&sent(&a.let_go(CHAT, now)), &mut b, now);
    assert_eq!(effects[..1], read_only(false));
    assert_eq!(deliver(&sent(&effects), &mut a, now), read_only(true), "it is taken");

    // One that has had its turn meanwhile takes nothing.
    let (mut a, mut b) = crossed();
    b.let_go(CHAT, now);
    assert_eq!(deliver(&sent(&a.let_go(CHAT, now)), &mut b, now), read_only(false));
    // Nor does one whose winner has died before its own turn was over.
    let (_, mut b) = crossed();
    assert_eq!(b.tick(now + 2 * CLAIM_LIFE)[..1], read_only(false));
    assert!(b.share(CHAT, Vec::new()), "it holds the chat");
}

#[test]
fn tabs_that_sent_at_once_never_show_each_others_lists_c133_c128() {
    let now = Instant::now();
    let list = vec![UiMessage::user("m", "mine")];
    let (mut a, mut b, mut c) = (tab("a"), tab("b"), tab("c"));
    let (by_a, by_b) = (claim(&mut a), claim(&mut b));
    deliver(&by_b, &mut a, now);
    deliver(&by_a, &mut b, now);
    deliver(&by_a, &mut c, now);

    a.share(CHAT, list.clone());
    let shared = sent(&a.flush());
    assert_eq!(deliver(&shared, &mut b, now), [], "its own message is not among them");
    assert_eq!(deliver(&shared, &mut c, now).len(), 1, "a third tab sees the holder's");
    let freed = deliver(&sent(&a.release(CHAT)), &mut b, now);
    deliver(&sent(&freed), &mut a, now);
    b.share(CHAT, list);
    assert_eq!(deliver(&sent(&b.flush()), &mut a, now), []);
}

#[test]
fn a_list_of_a_tab_that_holds_nothing_is_not_adopted_c128() {
    let message = TabMessage::Messages { chat_id: CHAT.to_owned(), tab_id: "x".to_owned(), messages: Vec::new() };

    assert_eq!(tab("a").on_message(message, Instant::now()), []);
}

#[test]
fn dispose_lets_every_chat_go_c125_c151_ca74() {
    let mut a = tab("a");
    a.claim("one");
    a.claim("two");

    let released = sent(&a.release_all());

    let chats: Vec<_> = released
        .iter()
        .map(|message| match message {
            TabMessage::Release { chat_id, .. } => chat_id.as_str(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(chats, ["one", "two"]);
}

#[test]
fn messages_are_spelt_as_on_the_fields_channel_c123() {
    let (chat_id, tab_id) = (CHAT.to_owned(), "a".to_owned());
    let spelt = |message: TabMessage| {
        let json = serde_json::to_value(&message).unwrap();
        assert_eq!(serde_json::from_value::<TabMessage>(json.clone()).unwrap(), message);
        json
    };

    let claim = spelt(TabMessage::Claim { chat_id: chat_id.clone(), tab_id: tab_id.clone() });
    let session =
        spelt(TabMessage::Session { chat_id: chat_id.clone(), tab_id: tab_id.clone(), last_event_id: SeqNum::new(7) });
    let heartbeat = spelt(TabMessage::Heartbeat { chat_id, tab_id });

    assert_eq!(claim, json!({ "type": "claim", "chatId": CHAT, "tabId": "a" }));
    assert_eq!(session, json!({ "type": "session", "chatId": CHAT, "tabId": "a", "lastEventId": 7 }));
    assert_eq!(heartbeat["type"], "heartbeat");
}

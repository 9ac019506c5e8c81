//! Claims by rule, over a channel that delivers when the test says so.

mod crossing;

use serde_json::json;
use turnkeep_protocol::Role;

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

/// No chat is needed any more.
fn nobody(_: &str) -> bool {
    false
}

/// A list with one message for each id, `a…` being answers.
fn list(ids: &[&str]) -> Vec<UiMessage> {
    let message = |id: &&str| {
        let role = if id.starts_with('a') { Role::Assistant } else { Role::User };
        UiMessage { role, ..UiMessage::user(*id, *id) }
    };
    ids.iter().map(message).collect()
}

fn adopt(ids: &[&str]) -> Effect {
    Effect::Adopt { chat_id: CHAT.to_owned(), messages: list(ids) }
}

fn cursor(at: u64, has_list: bool) -> Effect {
    Effect::Cursor { chat_id: CHAT.to_owned(), last_event_id: SeqNum::new(at), has_list }
}

fn over(tab: &mut Claims, at: u64) -> Vec<TabMessage> {
    sent(&Vec::from_iter(tab.turn_over(CHAT, SeqNum::new(at))))
}

fn tab_claims(id: &str) -> TabMessage {
    TabMessage::Claim { chat_id: CHAT.to_owned(), tab_id: id.to_owned() }
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
    assert_eq!(b.tick(at(20)).last(), read_only(false).first());
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
        deliver(&sent(&b.release(CHAT)), &mut a, now);
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

        assert_eq!(deliver(&sent(&a.release(CHAT)), &mut c, now), [], "{first} first: the other goes on");
        assert_eq!(deliver(&sent(&b.release(CHAT)), &mut c, now), read_only(false), "{first} first");
    }
}

#[test]
fn the_latest_list_is_shared_and_once_more_at_the_end_c128() {
    let now = Instant::now();
    let (mut a, mut b) = (tab("a"), tab("b"));
    deliver(&claim(&mut a), &mut b, now);

    a.share(CHAT, list(&["old"]));
    a.share(CHAT, list(&["new"]));
    let adopted = deliver(&sent(&a.flush()), &mut b, now);
    assert_eq!(adopted, [adopt(&["new"])]);
    assert_eq!(a.flush(), [], "nothing new");

    a.share(CHAT, list(&["last"]));
    let last = deliver(&sent(&a.release(CHAT)), &mut b, now);
    assert_eq!(last, [adopt(&["last"]), read_only(false).remove(0)], "adopted while it is still read-only");
    assert_eq!(a.flush(), []);
}

#[test]
fn a_chat_whose_list_is_shared_is_held_a_while_longer_and_for_its_last_list_c128() {
    let now = Instant::now();
    let mut a = tab("a");
    claim(&mut a);
    assert_eq!(sent(&a.let_go(CHAT, now)).len(), 1, "nobody waits for a list that is never shared");
    claim(&mut a);
    a.share(CHAT, list(&["half"]));

    assert_eq!(a.let_go(CHAT, now), []);
    assert_eq!(a.let_go(CHAT, now + LAST_WORDS / 2), [], "the time counts from the first");
    assert!(a.share(CHAT, list(&["whole"])), "it is held still");
    assert_eq!(a.release_due(now + LAST_WORDS / 2, nobody), []);
    assert_eq!(a.next_release(), Some(now + LAST_WORDS));
    let last = sent(&a.release_due(now + LAST_WORDS, nobody));

    let [TabMessage::Messages { messages, .. }, TabMessage::Release { .. }] = &last[..] else { panic!("{last:?}") };
    assert_eq!((messages, a.next_release()), (&list(&["whole"]), None));
}

#[test]
fn a_tab_on_its_way_out_keeps_what_it_claims_anew_c124() {
    let now = Instant::now();
    let mut a = leaving(now);

    assert_eq!(a.claim(CHAT), Some(Vec::new()), "the others know it already");
    assert_eq!((a.release_due(now + LAST_WORDS, nobody), a.next_release()), (Vec::new(), None));

    // A send that was counted before the time was over, and claims behind it, keeps the chat as well.
    let mut a = leaving(now);
    assert_eq!((a.release_due(now + LAST_WORDS, |chat| chat == CHAT), a.next_release()), (Vec::new(), None));
    assert_eq!(a.claim(CHAT), Some(Vec::new()));
}

/// A tab `a` that shares a list and whose turn is over.
fn leaving(now: Instant) -> Claims {
    let mut a = tab("a");
    claim(&mut a);
    a.share(CHAT, list(&["half"]));
    a.let_go(CHAT, now);
    a
}

#[test]
fn a_tab_on_its_way_out_yields_to_anybody_and_has_its_last_words_all_the_same_c133_c128() {
    let now = Instant::now();
    // A heartbeat is heard like a claim: `b` has not heard of `a` yet, which is the smaller.
    for by_heartbeat in [false, true] {
        let (mut a, mut b) = (leaving(now), tab("b"));
        let claimed = claim(&mut b);
        let of_b = if by_heartbeat { sent(&b.tick(now)) } else { claimed };
        assert_eq!(deliver(&of_b, &mut a, now), read_only(true), "though its own id is smaller");
        assert_eq!(deliver(&sent(&tab_a_claims()), &mut b, now), read_only(true), "both give way to each other");

        a.share(CHAT, list(&["whole"]));
        let last = sent(&a.release_due(now + LAST_WORDS, nobody));
        let [TabMessage::Messages { messages, .. }, TabMessage::Release { .. }] = &last[..] else { panic!("{last:?}") };
        assert_eq!(messages, &list(&["whole"]));
        let effects = deliver(&last, &mut b, now);
        assert_eq!(effects[..2], [adopt(&["whole"]), read_only(false).remove(0)]);
        assert_eq!(deliver(&sent(&effects), &mut a, now), [], "it has known all the time who is next");
        assert_eq!((a.is_read_only(CHAT), b.is_read_only(CHAT)), (true, false));
        assert_eq!(deliver(&sent(&b.let_go(CHAT, now)), &mut a, now), read_only(false));
    }
}

/// The claim of tab `a`, as it comes late.
fn tab_a_claims() -> Vec<Effect> {
    tab("a").claim(CHAT).unwrap()
}

#[test]
fn a_cursor_comes_with_the_list_that_it_covers_c128_c65_c236() {
    let now = Instant::now();
    let (mut a, mut b) = (tab("a"), tab("b"));
    deliver(&claim(&mut a), &mut b, now);
    assert_eq!(
        deliver(&over(&mut a, 3), &mut b, now),
        [cursor(3, false)],
        "a tab that shows nothing has no more to tell"
    );

    a.share(CHAT, list(&["u1"]));
    deliver(&sent(&a.flush()), &mut b, now);
    assert_eq!(deliver(&over(&mut a, 7), &mut b, now), []);
    a.share(CHAT, list(&["u1", "a1"]));
    assert_eq!(deliver(&sent(&a.flush()), &mut b, now), [adopt(&["u1", "a1"])], "its turn may not be all there");
    a.let_go(CHAT, now);
    // The next turn begins before the chat is let go: a list of its midst is no whole one.
    a.claim(CHAT);
    a.share(CHAT, list(&["u1", "a1", "u2"]));
    a.let_go(CHAT, now);
    let stopped = deliver(&sent(&a.release_due(now + LAST_WORDS, nobody)), &mut b, now);
    assert_eq!(stopped, [adopt(&["u1", "a1", "u2"]), read_only(false).remove(0)]);

    deliver(&claim(&mut a), &mut b, now);
    deliver(&over(&mut a, 9), &mut b, now);
    let last = sent(&a.release(CHAT));
    assert_eq!(deliver(&last, &mut b, now)[..2], [adopt(&["u1", "a1", "u2"]), cursor(9, false)]);
    b.share(CHAT, list(&[]));
    deliver(&claim(&mut a), &mut b, now);
    assert_eq!(deliver(&last, &mut b, now)[..2], [adopt(&["u1", "a1", "u2"]), cursor(9, true)], "it shows the chat");
}

#[test]
fn a_chat_is_read_only_until_the_last_of_several_holders_lets_go_c125_c126() {
    let start = Instant::now();
    let mut c = tab("c");
    deliver(&[tab_claims("a"), tab_claims("b")], &mut c, start);
    let release = |id: &str| TabMessage::Release { chat_id: CHAT.to_owned(), tab_id: id.to_owned() };

    assert_eq!(c.on_message(release("a"), start), []);
    assert_eq!(c.on_message(release("a"), start), [], "twice is no news");
    assert_eq!(c.on_message(release("b"), start), read_only(false));
    // One of them dies.
    deliver(&[tab_claims("a"), tab_claims("b")], &mut c, start);
    c.on_message(tab_claims("b"), start + CLAIM_LIFE);
    assert_eq!(c.tick(start + CLAIM_LIFE + Duration::from_secs(1)), []);
    assert_eq!(c.on_message(release("b"), start + CLAIM_LIFE), read_only(false));
}

#[test]
fn of_more_tabs_than_it_can_keep_note_of_a_tab_forgets_the_last_c124() {
    let now = Instant::now();
    let mut own = tab("0");
    claim(&mut own);
    own.let_go(CHAT, now);
    claim(&mut own);

    for n in 0..2 * MAX_TABS {
        own.on_message(tab_claims(&format!("t{n}")), now);
    }

    assert_eq!(own.chats[CHAT].rivals.len(), MAX_TABS);
    let mut other = tab("z");
    for n in 0..2 * MAX_TABS {
        other.on_message(tab_claims(&format!("t{n}")), now);
    }
    assert_eq!((other.chats[CHAT].others.len(), other.is_read_only(CHAT)), (MAX_TABS, true));
}

#[test]
fn a_tab_whose_holder_dies_is_told_to_ask_what_goes_on_c126_c99() {
    let now = Instant::now();
    let (mut b, mut elsewhere) = (tab("b"), tab("c"));
    b.share(CHAT, list(&["u1"]));
    b.on_message(tab_claims("a"), now);
    elsewhere.on_message(tab_claims("a"), now);

    let effects = b.tick(now + 2 * CLAIM_LIFE);

    assert_eq!(effects, [Effect::Orphaned { chat_id: CHAT.to_owned() }, read_only(false).remove(0)]);
    assert_eq!(elsewhere.tick(now + 2 * CLAIM_LIFE), read_only(false), "it does not show the chat");
}

#[test]
fn what_a_page_shows_before_its_claim_is_shared_with_the_claim_c128() {
    let now = Instant::now();
    let (mut a, mut b) = (tab("a"), tab("b"));
    assert!(!a.share(CHAT, list(&["u1"])), "it holds nothing yet");
    assert_eq!((a.has_unsent(), a.flush()), (false, Vec::new()));

    deliver(&claim(&mut a), &mut b, now);

    assert!(a.has_unsent());
    assert_eq!(deliver(&sent(&a.flush()), &mut b, now), [adopt(&["u1"])]);
}

#[test]
fn a_tab_that_has_left_says_nothing_and_is_never_read_only_c123_c151() {
    let now = Instant::now();
    let mut a = tab("a");
    a.on_message(tab_claims("b"), now);

    assert_eq!(a.leave(), read_only(false), "it hears no release any more");

    a.on_message(tab_claims("b"), now);
    assert_eq!((a.is_read_only(CHAT), a.claim(CHAT)), (false, Some(Vec::new())));
    assert_eq!((a.tick(now), a.turn_over(CHAT, SeqNum::new(1))), (Vec::new(), None));
    assert!(!a.share(CHAT, Vec::new()) && a.leave().is_empty());
}

#[test]
fn a_chat_in_which_nothing_goes_on_is_not_remembered() {
    let now = Instant::now();
    let mut a = tab("a");
    claim(&mut a);
    a.let_go(CHAT, now);
    a.on_message(tab_claims("b"), now);
    assert_eq!(a.chats.len(), 1);

    a.on_message(TabMessage::Release { chat_id: CHAT.to_owned(), tab_id: "b".to_owned() }, now);
    a.on_message(TabMessage::Release { chat_id: "another".to_owned(), tab_id: "b".to_owned() }, now);

    assert_eq!(a.chats.len(), 0);
}

#[test]
fn a_list_of_a_tab_that_holds_nothing_is_not_adopted_c128() {
    let message = TabMessage::Messages {
        chat_id: CHAT.to_owned(),
        tab_id: "x".to_owned(),
        messages: Vec::new(),
        sent_at: None,
        last_event_id: None,
    };

    assert_eq!(tab("a").on_message(message, Instant::now()), []);
}

#[test]
fn dispose_lets_every_chat_go_c125_c151_ca74() {
    let mut a = tab("a");
    a.claim("one");
    a.claim("two");

    let released = sent(&a.leave());

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

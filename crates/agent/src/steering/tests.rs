//! The queue of steering and its transitions, step by step.

use serde_json::json;
use turnkeep_protocol::{ChatTaskWirePayload, Trigger};

use super::*;

fn seq(number: u64) -> Option<SeqNum> {
    Some(SeqNum::new(number))
}

fn said(number: u64, id: &str) -> (SeqNum, ChatInputChunk) {
    message(number, UiMessage::user(id, id))
}

fn message(number: u64, message: UiMessage) -> (SeqNum, ChatInputChunk) {
    (SeqNum::new(number), ChatInputChunk::message(ChatTaskWirePayload::submit("c", message)))
}

fn trigger(number: u64, trigger: Trigger) -> (SeqNum, ChatInputChunk) {
    (SeqNum::new(number), ChatInputChunk::message(ChatTaskWirePayload::new("c", trigger)))
}

/// Lets the steering look at a buffer; gives the ids that are new.
fn hear(steering: &mut Steering, buffer: &[(SeqNum, ChatInputChunk)]) -> String {
    hear_beside(steering, buffer, &[])
}

fn hear_beside(steering: &mut Steering, buffer: &[(SeqNum, ChatInputChunk)], known: &[&str]) -> String {
    names(&steering.hear(buffer.iter(), |id| known.contains(&id)))
}

fn names(pending: &[Pending]) -> String {
    pending.iter().map(|pending| pending.message.id.as_str()).collect::<Vec<_>>().join(" ")
}

#[test]
fn a_message_is_heard_once_and_waits_a163() {
    let mut steering = Steering::default();
    steering.begin(seq(5));

    assert_eq!(hear(&mut steering, &[said(6, "m2")]), "m2");
    assert_eq!(hear(&mut steering, &[said(6, "m2"), said(7, "m3")]), "m3");
    assert_eq!(names(&steering.take()), "m2 m3");
    assert_eq!(names(&steering.take()), "");
}

#[test]
fn what_waited_before_the_turn_has_a_turn_of_its_own_a83_d15() {
    let mut steering = Steering::default();
    steering.begin(seq(6));

    assert_eq!(hear(&mut steering, &[said(5, "m1"), said(6, "m2"), said(7, "m3")]), "m3");
}

#[test]
fn a_turn_of_the_first_record_hears_everything_after_it() {
    let mut steering = Steering::default();
    steering.begin(None);

    assert_eq!(hear(&mut steering, &[said(0, "m1")]), "m1");
}

#[test]
fn only_new_words_of_people_may_join_an_answer_a163_d42() {
    let assistant = serde_json::from_value(json!({ "id": "a1", "role": "assistant", "parts": [
        { "type": "tool-ask", "toolCallId": "c", "state": "output-available", "output": 1 }] }));
    let buffer = [
        said(0, "known"),
        trigger(1, Trigger::RegenerateMessage),
        trigger(2, Trigger::Action),
        trigger(3, Trigger::Close),
        trigger(4, Trigger::SubmitMessage),
        (SeqNum::new(5), ChatInputChunk::Stop { message: None }),
        message(6, assistant.unwrap()),
        message(7, UiMessage::user("", "no name")),
        message(8, UiMessage::user("empty", "")).clone(),
        message(9, UiMessage::new("nothing", turnkeep_protocol::Role::User, vec![])),
        said(10, "new"),
        said(11, "new"),
    ];
    let mut steering = Steering::default();
    steering.begin(None);

    assert_eq!(hear_beside(&mut steering, &buffer, &["known"]), "empty new");
}

#[test]
fn what_arrives_during_the_judgement_is_not_judged_with_it_ar25_a165() {
    let mut steering = Steering::default();
    steering.begin(None);
    hear(&mut steering, &[said(0, "m2")]);

    let batch = steering.take();
    hear(&mut steering, &[said(0, "m2"), said(1, "m3")]);
    assert_eq!(names(&batch), "m2");
    steering.put_back(batch);

    assert_eq!(names(&steering.take()), "m2 m3");
}

#[test]
fn the_next_turn_starts_with_nobody_waiting_ar37_a163() {
    let mut steering = Steering::default();
    steering.begin(None);
    hear(&mut steering, &[said(0, "m2")]);
    steering.end(seq(0));
    steering.begin(seq(0));

    // The record itself still waits in the buffer, for its own turn.
    assert_eq!(hear(&mut steering, &[said(0, "m2")]), "");
    assert_eq!(names(&steering.take()), "");
}

/// One turn leaves `m2` and `m3`, and has received record 2 when it ends.
fn left_over() -> Steering {
    let mut steering = Steering::default();
    steering.begin(seq(0));
    hear(&mut steering, &[said(1, "m2"), said(2, "m3")]);
    steering.end(seq(2));
    steering
}

#[test]
fn leftovers_that_a_client_joins_and_sends_again_are_known_d42() {
    let again = UiMessage::user("new-id", "m2\nm3");
    let mut steering = left_over();

    assert!(!steering.is_sent_again(seq(1), &UiMessage::user("m2", "m2")), "the leftovers themselves have their turns");
    assert!(!steering.is_sent_again(seq(2), &UiMessage::user("m3", "m3")));
    assert!(steering.is_sent_again(seq(3), &again));
    // The same words a second time are meant.
    assert!(!steering.is_sent_again(seq(4), &again));
}

#[test]
fn a_re_send_does_not_join_the_next_answer_d42() {
    let mut steering = left_over();
    steering.begin(seq(2));

    let buffer = [message(3, UiMessage::user("again", "m2\nm3")), said(4, "m4")];

    assert_eq!(hear(&mut steering, &buffer), "m4");
    assert!(steering.is_sent_again(seq(3), &UiMessage::user("again", "m2\nm3")), "hearing does not use it up");
}

#[test]
fn only_the_next_message_can_be_a_re_send_d42() {
    let again = UiMessage::user("new-id", "m2\nm3");
    let mut steering = left_over();
    assert!(!steering.is_sent_again(seq(3), &UiMessage::user("m4", "something else")));
    assert!(!steering.is_sent_again(seq(4), &again));
}

#[test]
fn who_says_the_same_after_the_leftovers_turns_means_it_d42() {
    let again = UiMessage::user("new-id", "m2\nm3");
    let served = |received: Option<SeqNum>| {
        let mut steering = left_over();
        for (place, name) in [(1, "m2"), (2, "m3")] {
            assert!(!steering.is_sent_again(seq(place), &UiMessage::user(name, name)));
            steering.begin(seq(2));
            steering.end(received);
        }
        steering
    };

    assert!(served(seq(3)).is_sent_again(seq(3), &again), "it came while the leftovers' turns ran");
    assert!(!served(seq(2)).is_sent_again(seq(3), &again));
}

#[test]
fn an_assistant_and_an_invented_message_are_no_re_sends_d42() {
    let mut steering = left_over();
    let text = || vec![UiPart::text("m2\nm3")];

    assert!(!steering.is_sent_again(None, &UiMessage::user("x", "m2\nm3")));
    assert!(!steering.is_sent_again(seq(3), &UiMessage::assistant("x", text())));
}

#[test]
fn few_turns_leftovers_are_remembered() {
    let mut steering = Steering::default();
    for number in 0..100 {
        steering.begin(seq(number));
        hear(&mut steering, &[said(number + 1, &format!("m{number}"))]);
        steering.end(seq(number));
    }

    assert_eq!(steering.leftovers.len(), MAX_REMEMBERED);
}

use serde_json::json;

use super::*;
use crate::checks::tale::{Tale, judge, reply};

fn asked() -> Tale {
    Tale::new().open("alice#1", &[], None).ask("alice-1", "Hi").sent("alice#1", "alice-1", "Hi", 0)
}

fn hi() -> UiMessage {
    UiMessage::user("alice-1", "Hi")
}

#[track_caller]
fn check_page(tale: Tale, messages: &[UiMessage], want: &[&str]) {
    assert_eq!(judge(check, &tale.settled().shows("alice#1", messages)), want);
}

const NOT_SHOWN: &str = r#"does not show message a1 at the end: "Hello you.""#;

const HALF_SHOWN: &str = "does not show message a1 whole at the end: part 0 is {\"type\":\"text\",\"text\":\"Hello \"} instead of \
                          {\"type\":\"text\",\"text\":\"Hello you.\"}";

#[test]
fn an_answer_on_the_page_is_right_and_one_that_is_not_or_half_is_seen() {
    let tale = || asked().say("a1", &["Hello ", "you."]).boundary(0);

    check_page(tale(), &[hi(), reply("a1", "Hello you.")], &[]);
    check_page(tale(), &[hi()], &[NOT_SHOWN]);
    check_page(tale(), &[hi(), reply("a1", "Hello ")], &[HALF_SHOWN]);
}

#[test]
fn a_call_without_its_result_is_seen() {
    let call = UiMessageChunk::tool_input_available("c", "forecast", json!({}));
    let result = UiMessageChunk::tool_output_available("c", json!(4));
    let tale = asked().begin("a1", &["A"]).chunks([call, result, UiMessageChunk::finish("stop")]).boundary(0);
    let mut half = reply("a1", "A");
    half.parts.push(turnkeep_protocol::UiPart::Tool(turnkeep_protocol::ToolPart::call("c", "forecast", json!({}))));

    let found = judge(check, &tale.settled().shows("alice#1", &[hi(), half]));

    assert_eq!(found.len(), 1);
    assert!(found[0].starts_with("does not show message a1 whole at the end: part 1 is"), "{found:?}");
}

#[test]
fn only_the_newest_page_counts_and_only_in_a_settled_world() {
    let tale = asked().say("a1", &["Hello ", "you."]).boundary(0);
    let whole = [hi(), reply("a1", "Hello you.")];
    let reloaded = tale.clone().settled().shows("alice#1", &[]).open("alice#2", &whole, Some(7));

    assert_eq!(judge(check, &tale.shows("alice#1", &[])), [""; 0]);
    assert_eq!(judge(check, &reloaded.shows("alice#2", &whole)), [""; 0]);
}

#[test]
fn what_others_asked_need_not_be_shown() {
    let tale = asked().say("a1", &["A"]).boundary(0).ask("bob-1", "Ho").sent("bob#1", "bob-1", "Ho", 1);

    check_page(tale.say("a2", &["B"]).boundary(1), &[hi(), reply("a1", "A")], &[]);
}

#[test]
fn an_input_acknowledged_without_a_place_is_found_by_its_message_c19() {
    let sent = Event::Sent {
        page: "alice#1".to_owned(),
        chat: crate::checks::tale::CHAT.to_owned(),
        message: hi(),
        seq_num: None,
    };
    let tale = Tale::new().ask("alice-1", "Hi").log("alice", sent).say("a1", &["Hello ", "you."]).boundary(0);

    check_page(tale, &[hi()], &[NOT_SHOWN]);
}

#[test]
fn a_beginning_is_enough_of_what_was_stopped_aborted_or_failed() {
    let begun = || asked().begin("a1", &["Hello ", "you."]);
    let aborted = begun().chunk(UiMessageChunk::abort("interrupted")).boundary(0);
    let failed = begun().chunk(UiMessageChunk::error("broken")).boundary(0);
    let stopped = asked().say("a1", &["Hello ", "you."]).stopped("alice#1").boundary(0);

    for tale in [aborted, failed, stopped] {
        check_page(tale, &[hi(), reply("a1", "Hello ")], &[]);
    }
}

#[test]
fn a_stop_after_the_end_excuses_nothing() {
    let tale = asked().say("a1", &["Hello ", "you."]).boundary(0).ended("alice#1", "completed").stopped("alice#1");

    check_page(tale, &[hi(), reply("a1", "Hello ")], &[HALF_SHOWN]);
}

#[test]
fn a_beginning_is_enough_of_a_turn_she_wrote_into_but_not_of_the_next_cr8() {
    let press = Event::Step { index: 1, step: json!({ "send": { "client": "alice", "text": "Wait" } }) };
    let tale = || {
        let midway = asked().begin("a1", &["Hello "]).watch("alice#1").log("world", press.clone());
        let midway = midway.ask("alice-2", "Wait").ended("alice#1", "superseded").sent("alice#1", "alice-2", "Wait", 1);
        midway.chunks([UiMessageChunk::text_delta("t", "you."), UiMessageChunk::finish("stop")]).boundary(0)
    };
    let next = || tale().say("a2", &["Yes?"]).boundary(1);
    let page = |text: &str| vec![hi(), reply("a1", "Hello "), UiMessage::user("alice-2", "Wait"), reply("a2", text)];

    check_page(next(), &page("Yes?"), &[]);
    check_page(next(), &page("you.Yes?"), &[]);
    assert_eq!(judge(check, &next().settled().shows("alice#1", &page("Y"))).len(), 1);
    assert_eq!(judge(check, &next().settled().shows("alice#1", &page("Y")[..3])).len(), 1);
}

#[test]
fn an_answer_that_went_on_under_its_id_begins_as_it_was_a123() {
    let tale = asked().say("a1", &["Hello "]).boundary(0).ask("bob-1", "Go on").say("a1", &["you."]).boundary(1);

    check_page(tale, &[hi(), reply("a1", "Hello you.")], &[]);
}

#[test]
fn what_a_regenerate_took_away_need_not_be_shown() {
    use turnkeep_protocol::{ChatInputChunk, ChatTaskWirePayload, Trigger};
    let again = ChatTaskWirePayload::new(crate::checks::tale::CHAT, Trigger::RegenerateMessage);
    let tale = asked().say("a1", &["A"]).boundary(0).input(&ChatInputChunk::message(again));

    check_page(tale.say("a2", &["B"]).boundary(1), &[hi(), reply("a2", "B")], &[]);
}

#[test]
fn what_an_action_may_have_taken_away_need_not_be_shown_d59() {
    use turnkeep_protocol::{ChatInputChunk, ChatTaskWirePayload, Trigger};
    let undo = ChatTaskWirePayload::new(crate::checks::tale::CHAT, Trigger::Action);
    let tale = || asked().say("a1", &["A"]).boundary(0).input(&ChatInputChunk::message(undo.clone())).boundary(1);
    let later = || tale().ask("alice-2", "Hm").sent("alice#1", "alice-2", "Hm", 2).say("a2", &["B"]).boundary(2);
    let hm = UiMessage::user("alice-2", "Hm");

    check_page(tale(), &[], &[]);
    check_page(later(), &[hm.clone(), reply("a2", "B")], &[]);
    check_page(later(), &[hm], &[r#"does not show message a2 at the end: "B""#]);
}

use serde_json::json;
use turnkeep_protocol::{ChatInputChunk, ChatTaskWirePayload, ToolApproval, ToolPart, ToolState, UiPart};

use super::*;
use crate::checks::tale::{CHAT, Tale, judge, reply};

fn answered() -> Tale {
    Tale::new().open("alice#1", &[], None).ask("alice-1", "Hi").say("a1", &["Hello ", "you."])
}

#[test]
fn a_screen_that_follows_the_records_is_right() {
    let tale = answered().watch("alice#1").boundary(0).shows("alice#1", &[reply("a1", "Hello you.")]);

    assert_eq!(judge(check, &tale), [""; 0]);
}

#[test]
fn a_turn_replayed_onto_the_saved_reply_is_seen_cr38() {
    let tale = answered()
        .boundary(0)
        .open("alice#2", &[reply("a1", "Hello you.")], None)
        .resumed("alice#2", true)
        .shown("alice#2", 3, "a1", "Hello you.Hello ");

    let want = r#"shows "Hello you.Hello " in message a1, where `out` tells "Hello you.""#;
    assert_eq!(judge(check, &tale), [want]);
}

#[test]
fn a_message_that_no_record_opened_is_seen() {
    let shown = answered().shown("alice#1", 3, "made-up", "Hello ");
    let at_the_end = answered().shows("alice#1", &[reply("made-up", "Hello you.")]);
    let from_history =
        answered().open("alice#2", &[reply("old", "Past.")], None).shows("alice#2", &[reply("old", "Past.")]);

    assert_eq!(judge(check, &shown), [r#"shows "Hello " in message made-up, which `out` does not tell"#]);
    let want = r#"shows "Hello you." in message made-up at the end, which `out` does not tell"#;
    assert_eq!(judge(check, &at_the_end), [want]);
    assert_eq!(judge(check, &from_history), [""; 0]);
}

#[test]
fn a_page_that_shows_a_message_twice_or_doubled_is_seen_cr38() {
    let twice = answered().shows("alice#1", &[reply("a1", "Hello you."), reply("a1", "Hello you.")]);
    let doubled = answered().shows("alice#1", &[reply("a1", "Hello you.Hello you.")]);

    assert_eq!(judge(check, &twice), ["shows message a1 twice at the end"]);
    let want = r#"shows "Hello you.Hello you." in message a1 at the end, where `out` tells "Hello you.""#;
    assert_eq!(judge(check, &doubled), [want]);
}

#[test]
fn a_reader_may_be_behind_a_step_that_was_reset_d25() {
    let tale = Tale::new().begin("a1", &["Wrong"]).chunk(UiMessageChunk::reset_step());
    let behind = tale.shown("alice#1", 3, "a1", "Wrong");

    assert_eq!(judge(check, &behind), [""; 0]);
}

#[test]
fn whole_messages_are_compared_at_the_end_and_not_only_their_texts() {
    let chunks = [
        UiMessageChunk::reasoning_start("r"),
        UiMessageChunk::reasoning_delta("r", "Hm"),
        UiMessageChunk::reasoning_end("r"),
        UiMessageChunk::tool_input_available("c", "forecast", json!({})),
        UiMessageChunk::tool_output_available("c", json!(4)),
        UiMessageChunk::data("mood", Some("d"), json!(1)),
    ];
    let tale = Tale::new().open("alice#1", &[], None).begin("a1", &["Hello"]).chunks(chunks);
    let mut tool = ToolPart::call("c", "forecast", json!({}));
    (tool.state, tool.output) = (ToolState::OutputAvailable, Some(json!(4)));
    let mut whole = reply("a1", "Hello");
    whole.parts.extend([
        UiPart::reasoning("Hm"),
        UiPart::Tool(tool.clone()),
        UiPart::data("mood", Some("d"), json!(1)),
    ]);
    let found = |change: &dyn Fn(&mut Vec<UiPart>)| {
        let mut message = whole.clone();
        change(&mut message.parts);
        judge(check, &tale.clone().shows("alice#1", &[message])).len()
    };

    assert_eq!(found(&|_| {}), 0);
    assert_eq!(found(&|parts| parts.truncate(3)), 0);
    assert_eq!(found(&|parts| parts.swap(2, 3)), 1);
    assert_eq!(found(&|parts| parts[2] = UiPart::reasoning("Hmm")), 1);
    assert_eq!(found(&|parts| parts[3] = UiPart::Tool(ToolPart { output: Some(json!(5)), ..tool.clone() })), 1);
    assert_eq!(found(&|parts| parts[4] = UiPart::data("mood", Some("d"), json!(2))), 1);
    assert_eq!(found(&|parts| parts.push(UiPart::file("image/png", "data:"))), 1);
}

#[test]
fn a_message_that_only_the_history_tells_stays_as_it_was() {
    let mut old = reply("old", "Past.");
    old.parts.push(UiPart::reasoning("Hm"));
    let tale = |shown: &UiMessage| {
        Tale::new().open("alice#2", std::slice::from_ref(&old), None).shows("alice#2", std::slice::from_ref(shown))
    };

    assert_eq!(judge(check, &tale(&old)), [""; 0]);
    assert_eq!(judge(check, &tale(&reply("old", "Past."))).len(), 1);
}

fn approval(approved: Option<bool>) -> ToolApproval {
    ToolApproval { id: "p".to_owned(), approved, ..ToolApproval::default() }
}

/// A turn that ends with a request, her consent on `in`, and the turn that goes on behind it.
fn consented() -> (Tale, UiMessage) {
    let mut call = ToolPart::call("c", "refund", json!({}));
    call.state = ToolState::ApprovalRequested;
    call.approval = Some(approval(None));
    let asked = UiMessage::assistant("a1", vec![UiPart::Tool(call.clone())]);
    call.state = ToolState::ApprovalResponded;
    call.approval = Some(approval(Some(true)));
    let answered = UiMessage { parts: vec![UiPart::Tool(call)], ..asked };
    let tale = Tale::new()
        .open("alice#1", &[], None)
        .ask("alice-1", "Pay")
        .chunks([UiMessageChunk::start("a1"), UiMessageChunk::tool_input_available("c", "refund", json!({}))])
        .chunks([UiMessageChunk::tool_approval_request("p", "c"), UiMessageChunk::finish("tool-calls")])
        .boundary(0)
        .input(&ChatInputChunk::message(ChatTaskWirePayload::submit(CHAT, answered.clone())));
    (tale, answered)
}

#[test]
fn what_a_person_answered_a_call_is_laid_over_where_it_came_a201() {
    let (tale, answered) = consented();
    let told = tale.chunks([UiMessageChunk::start("a1"), UiMessageChunk::tool_output_available("c", json!(4))]);
    let told = told.chunk(UiMessageChunk::finish("stop")).boundary(1);
    let paid = |approved: bool| {
        let mut message = answered.clone();
        let call = message.parts[0].as_tool_mut().unwrap();
        (call.state, call.output) = (ToolState::OutputAvailable, Some(json!(4)));
        call.approval.as_mut().unwrap().approved = Some(approved);
        message
    };
    let shown = |message: UiMessage| judge(check, &told.clone().shows("alice#1", &[message])).len();

    assert_eq!(shown(answered.clone()), 0);
    assert_eq!(shown(paid(true)), 0);
    assert_eq!(shown(paid(false)), 1);
}

#[test]
fn an_answer_that_no_turn_has_taken_yet_may_be_on_the_page() {
    let (tale, answered) = consented();

    assert_eq!(judge(check, &tale.shows("alice#1", &[answered])), [""; 0]);
}

#[test]
fn what_a_backend_told_that_was_replaced_may_stay_on_screen() {
    let shows = |text| answered().boundary(0).replaced_by(&Tale::new().shows("alice#1", &[reply("a1", text)]));

    assert_eq!(judge(check, &shows("Hello you.")), [""; 0]);
    let want = r#"shows "Hello me." in message a1 at the end, where `out` tells "Hello you.""#;
    assert_eq!(judge(check, &shows("Hello me.")), [want]);
}

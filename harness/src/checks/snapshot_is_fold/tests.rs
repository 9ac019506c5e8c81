use serde_json::json;
use turnkeep_protocol::{ChatInputChunk, ChatTaskWirePayload, ToolPart, ToolState, Trigger, UiMessageChunk, UiPart};

use super::*;
use crate::checks::tale::{CHAT, Tale, judge, reply};

#[track_caller]
fn check_tale(tale: &Tale, want: &[&str]) {
    assert_eq!(judge(check, tale), want);
}

fn hi() -> UiMessage {
    UiMessage::user("alice-1", "Hi")
}

fn answered() -> Tale {
    Tale::new().ask("alice-1", "Hi").say("a1", &["Hello ", "you."]).boundary(0)
}

#[test]
fn a_snapshot_of_what_was_said_is_right() {
    check_tale(&answered().snapshot(&[hi(), reply("a1", "Hello you.")], 8, 0), &[]);
}

#[test]
fn a_snapshot_that_lacks_or_invents_something_is_seen() {
    check_tale(&answered().snapshot(&[hi()], 8, 0), &[r#"the snapshot lacks assistant a1 "Hello you.""#]);
    check_tale(
        &answered().snapshot(&[hi(), reply("a1", "Hello you."), reply("a2", "More")], 8, 0),
        &[r#"the snapshot holds assistant a2 "More", which the records do not tell"#],
    );
    check_tale(
        &answered().snapshot(&[hi(), reply("a1", "Hello")], 8, 0),
        &[r#"message 1 of the snapshot is assistant a1 "Hello", of the records assistant a1 "Hello you.""#],
    );
    check_tale(
        &answered().snapshot(&[reply("a1", "Hello you."), hi()], 8, 0),
        &[r#"message 0 of the snapshot is assistant a1 "Hello you.", of the records user alice-1 "Hi""#],
    );
}

#[test]
fn a_snapshot_ends_at_a_boundary_and_never_goes_back() {
    let messages = [hi(), reply("a1", "Hello you.")];

    check_tale(
        &answered().snapshot(&messages, 7, 0),
        &["the snapshot ends at seq_num 7, where no turn-complete is stored"],
    );
    let back = answered().boundary(0).snapshot(&messages, 9, 0).snapshot(&messages, 8, 0);
    check_tale(&back, &["the snapshot ends at seq_num 8, the one before it at 9"]);
}

#[test]
fn a_snapshot_s_cursor_is_its_boundary_s_d32() {
    let messages = [hi(), reply("a1", "Hello you.")];
    let tale = answered().ask("alice-2", "Bye");

    check_tale(
        &tale.snapshot(&messages, 8, 1),
        &["the snapshot's cursor covers owed seq_num 1, its boundary's ends at 0"],
    );
    let behind = Tale::new().stop().ask("alice-1", "Hi").say("a1", &["Hello ", "you."]).boundary(1);
    check_tale(&behind.snapshot(&messages, 8, 0), &["the snapshot's cursor is 0, its boundary's 1"]);
}

#[test]
fn a_stop_that_was_settled_after_the_boundary_may_be_covered() {
    check_tale(&answered().stop().snapshot(&[hi(), reply("a1", "Hello you.")], 8, 1), &[]);
}

#[test]
fn stored_bytes_that_are_no_snapshot_are_seen() {
    let tale = answered().log("session", Event::SnapshotStored { session: CHAT.to_owned(), snapshot: None });

    check_tale(&tale, &["what was stored is not a version 1 snapshot"]);
}

#[test]
fn half_calls_of_an_aborted_or_failed_answer_are_cleaned_away_a140() {
    let call = || UiMessageChunk::tool_input_available("c", "forecast", json!({}));
    for end in [UiMessageChunk::abort("stopped"), UiMessageChunk::error("broken")] {
        let tale = Tale::new().ask("alice-1", "Hi").begin("a1", &["Hello"]).chunk(call()).chunk(end).boundary(0);

        check_tale(&tale.clone().snapshot(&[hi(), reply("a1", "Hello")], 6, 0), &[]);
        let mut dirty = reply("a1", "Hello");
        dirty.parts.push(UiPart::Tool(ToolPart::call("c", "forecast", json!({}))));
        assert_eq!(judge(check, &tale.snapshot(&[hi(), dirty], 6, 0)).len(), 1);
    }
}

#[test]
fn an_answer_that_died_before_it_was_closed_and_was_streamed_anew_is_no_message() {
    let tale = Tale::new().ask("alice-1", "Hi").begin("a0", &[]).say("a1", &["Hello"]).boundary(0);

    check_tale(&tale.snapshot(&[hi(), reply("a1", "Hello")], 10, 0), &[]);
}

#[test]
fn an_answer_without_content_may_be_kept_or_not() {
    let tale = Tale::new().ask("alice-1", "Hi").begin("a1", &[]).chunk(UiMessageChunk::abort("stopped")).boundary(0);

    check_tale(&tale.clone().snapshot(&[hi()], 4, 0), &[]);
    check_tale(&tale.snapshot(&[hi(), reply("a1", "")], 4, 0), &[]);
}

#[test]
fn a_regenerate_replaces_the_answer_a92() {
    let again = ChatInputChunk::message(ChatTaskWirePayload::new(CHAT, Trigger::RegenerateMessage));
    let tale = answered().input(&again).say("a2", &["Hey"]).boundary(1);

    check_tale(&tale.clone().snapshot(&[hi(), reply("a2", "Hey")], 16, 1), &[]);
    let both = [hi(), reply("a1", "Hello you."), reply("a2", "Hey")];
    assert_eq!(judge(check, &tale.snapshot(&both, 16, 1)).len(), 1);
}

#[test]
fn injected_messages_stand_before_the_answer_they_steered_a166() {
    let injected = json!({ "messageIds": ["alice-2"], "messages": [] });
    let mut answer = reply("a1", "Hello");
    answer.parts.insert(0, UiPart::data("pending-message-injected", Some("d"), injected.clone()));
    let tale = Tale::new()
        .ask("alice-1", "Hi")
        .ask("alice-2", "Short!")
        .chunk(UiMessageChunk::data("pending-message-injected", Some("d"), injected))
        .say("a1", &["Hello"])
        .boundary(1);

    let chain = [hi(), UiMessage::user("alice-2", "Short!"), answer];
    check_tale(&tale.snapshot(&chain, 8, 1), &[]);
}

#[test]
fn a_message_stored_twice_is_one_message_d42() {
    let tale = answered().ask("alice-1", "Hi").boundary(1);

    check_tale(&tale.snapshot(&[hi(), reply("a1", "Hello you.")], 9, 1), &[]);
}

#[test]
fn an_answer_that_goes_on_under_its_id_is_one_message_a123() {
    let tale = answered().ask("alice-2", "Go on").say("a1", &[" And more."]).boundary(1);

    let mut answer = reply("a1", "Hello you.");
    answer.parts.push(UiPart::text(" And more."));
    let chain = [hi(), answer, UiMessage::user("alice-2", "Go on")];
    check_tale(&tale.snapshot(&chain, 16, 1), &[]);
}

#[test]
fn whole_messages_are_compared_and_not_only_their_texts() {
    let call = UiMessageChunk::tool_input_available("c", "forecast", json!({ "city": "Oslo" }));
    let parts = [
        UiMessageChunk::reasoning_start("r"),
        UiMessageChunk::reasoning_delta("r", "Hm"),
        UiMessageChunk::reasoning_end("r"),
        call,
        UiMessageChunk::tool_output_available("c", json!(4)),
        UiMessageChunk::data("mood", Some("d"), json!(1)),
        UiMessageChunk::finish("stop"),
    ];
    let tale = Tale::new().ask("alice-1", "Hi").begin("a1", &["Hello"]).chunks(parts).boundary(0);
    let mut tool = ToolPart::call("c", "forecast", json!({ "city": "Oslo" }));
    (tool.state, tool.output) = (ToolState::OutputAvailable, Some(json!(4)));
    let mut whole = reply("a1", "Hello");
    whole.parts.extend([
        UiPart::reasoning("Hm"),
        UiPart::Tool(tool.clone()),
        UiPart::data("mood", Some("d"), json!(1)),
    ]);
    let with = |place: usize, part: UiPart| {
        let mut broken = whole.clone();
        broken.parts[place] = part;
        judge(check, &tale.clone().snapshot(&[hi(), broken], 11, 0)).len()
    };

    check_tale(&tale.clone().snapshot(&[hi(), whole.clone()], 11, 0), &[]);
    assert_eq!(with(2, UiPart::reasoning("Hmm")), 1);
    assert_eq!(with(3, UiPart::Tool(ToolPart { output: Some(json!(5)), ..tool.clone() })), 1);
    assert_eq!(with(3, UiPart::Tool(ToolPart { input: Some(json!({})), ..tool.clone() })), 1);
    assert_eq!(with(4, UiPart::data("mood", Some("d"), json!(2))), 1);
    assert_eq!(with(4, UiPart::file("image/png", "data:")), 1);
}

#[test]
fn an_action_may_rewrite_the_history_and_later_snapshots_are_judged_from_there_d43_d59() {
    let act = ChatInputChunk::message(ChatTaskWirePayload::new(CHAT, Trigger::Action));
    let undone = answered().input(&act).boundary(1);

    check_tale(&undone.clone().snapshot(&[], 9, 1), &[]);
    let later = undone.snapshot(&[], 9, 1).ask("alice-2", "Bye").say("a2", &["Bye"]).boundary(2);
    let bye = [UiMessage::user("alice-2", "Bye"), reply("a2", "Bye")];
    let end = later.newest();
    check_tale(&later.clone().snapshot(&bye, end, 2), &[]);
    let back = [&[hi(), reply("a1", "Hello you.")][..], &bye].concat();
    assert_eq!(judge(check, &later.snapshot(&back, end, 2)).len(), 1);
}

#[test]
fn an_authors_data_stands_behind_the_models_parts_a189() {
    let plan = UiMessageChunk::data("plan", None, json!(1));
    let tale = Tale::new().ask("alice-1", "Hi").chunk(plan.clone()).say("a1", &["Hello ", "you."]).boundary(0);
    let end = tale.newest();
    let mut answer = turnkeep_protocol::MessageReducer::resume(reply("a1", "Hello you."));
    answer.apply(&plan).unwrap();

    check_tale(&tale.snapshot(&[hi(), answer.into_message()], end, 0), &[]);
}

use serde_json::json;
use turnkeep_protocol::{Header, NewRecord, PUBLIC_ACCESS_TOKEN, SESSION_IN_CONSUMED_ID, UiMessageChunk, control};

use super::*;
use crate::checks::tale::{CHAT, Tale, reply};

#[test]
fn a_conversation_reads_from_top_to_bottom() {
    let chain = [UiMessage::user("alice-1", "Hi")];
    let wrote = Event::AppWrote { chat: CHAT.to_owned(), messages: chain.to_vec(), cursor: Some(SeqNum::new(8)) };

    let text = transcript(&Tale::good().log("app", wrote).entries);

    insta::assert_snapshot!(text, @r#"
    chat-1 in
      submit-message user msg-1 "Hi"
      submit-message user msg-2 "Weather?"
      submit-message user msg-3 "And?"
    chat-1 out
      start {"messageId":"msg-4"}
      start-step
      text-start {"id":"part-1"}
      text-delta {"id":"part-1","delta":"Hello you."}
      text-end {"id":"part-1"}
      finish-step
      finish {"finishReason":"stop"}
      turn-complete session-in-event-id=0
      start {"messageId":"msg-5"}
      start-step
      tool-input-available {"toolCallId":"call-1","toolName":"forecast","input":{"city":"Oslo"}}
      tool-output-available {"toolCallId":"call-1","output":4}
      finish-step
      finish {"finishReason":"tool-calls"}
      turn-complete session-in-event-id=1
      start {"messageId":"msg-6"}
      start-step
      text-start {"id":"part-1"}
      text-delta {"id":"part-1","delta":"Well"}
      abort {"reason":"interrupted"}
      turn-complete session-in-event-id=2
    runs
      run-1 attempt 2 completed
    page of alice
      user msg-1 "Hi"
      assistant msg-4 "Hello you."
      user msg-2 "Weather?"
      assistant msg-5 ""
        call-1 forecast output-available
      user msg-3 "And?"
      assistant msg-6 "Well"
    database of the author, chat-1, cursor at the end of turn 1
      user msg-1 "Hi"
    "#);
}

#[test]
fn the_schedule_leaves_no_mark() {
    let headers = |token: &str, consumed: &str| {
        [Header::new(PUBLIC_ACCESS_TOKEN, token), Header::new(SESSION_IN_CONSUMED_ID, consumed)]
    };
    let story = |run: &str, id: &str, texts: &[&str], token: &str, trims: u64| {
        let tale = Tale::new().ask("alice-1", "Hi").run(run, 1, "leased");
        let tale = (0..trims).fold(tale, |tale, _| tale.trim(0)).say(id, texts);
        tale.record(ChannelName::Out, NewRecord::control(control::TURN_COMPLETE, headers(token, &trims.to_string())))
    };

    let one = transcript(&story("run_a", "x7", &["Hel", "lo"], "secret", 0).entries);
    let other = transcript(&story("run_b", "q9", &["Hello"], "other", 3).entries);

    assert_eq!(one, other);
}

#[test]
fn ids_are_numbered_as_they_appear_wherever_they_stand() {
    let injected = json!({ "messageIds": ["alice-2"], "messages": [{ "id": "alice-2", "text": "Short!" }] });
    let tale = Tale::new()
        .ask("alice-1", "Hi")
        .ask("alice-2", "Short!")
        .chunk(UiMessageChunk::start("random-1"))
        .chunk(UiMessageChunk::data("pending-message-injected", Some("random-2"), injected))
        .stop();

    insta::assert_snapshot!(transcript(&tale.shows("alice#1", &[reply("random-1", "")]).entries), @r#"
    chat-1 in
      submit-message user msg-1 "Hi"
      submit-message user msg-2 "Short!"
      stop
    chat-1 out
      start {"messageId":"msg-3"}
      data-pending-message-injected {"id":"data-1","data":{"messageIds":["msg-2"],"messages":[{"id":"msg-2","text":"Short!"}]}}
    runs
      nothing
    page of alice
      assistant msg-3 ""
    "#);
}

#[test]
fn deltas_of_different_parts_are_not_joined() {
    let tale = Tale::new().chunks([
        UiMessageChunk::text_delta("a", "1"),
        UiMessageChunk::text_delta("b", "2"),
        UiMessageChunk::text_delta("b", "3"),
        UiMessageChunk::reasoning_delta("b", "4"),
    ]);

    insta::assert_snapshot!(transcript(&tale.entries), @r#"
    chat-1 in
      nothing
    chat-1 out
      text-delta {"id":"part-1","delta":"1"}
      text-delta {"id":"part-2","delta":"23"}
      reasoning-delta {"id":"part-2","delta":"4"}
    runs
      nothing
    "#);
}

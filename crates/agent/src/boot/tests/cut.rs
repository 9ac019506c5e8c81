//! What an answer that was cut leaves behind, and what it does not.

use super::*;

#[test]
fn a_continued_message_that_had_added_nothing_runs_again_whole_a290_d31() {
    let bare = vec![json!({ "type": "start", "messageId": "a0" }), json!({ "type": "start-step" })];
    let found = |chunks: &[Value]| Found {
        snapshot: snapshot(&[UiMessage::user("u0", ""), asking("a0", "input-available")], Some(50), Some(0)),
        out: script(&[chunks.to_vec()]),
        input: vec![input(
            1,
            ChatInputChunk::message(ChatTaskWirePayload::submit("c", asking("a0", "output-available"))),
        )],
        ..Found::default()
    };
    for cut in [&bare[..1], &bare] {
        check(&found(cut), "u0 a0", "a0", None);
    }

    check(&found(&begun("a0", "thank")), "u0 a0", "", ABORTS);
}

#[test]
fn a_cut_answer_without_a_word_is_no_message_a102() {
    let cut = vec![
        json!({ "type": "start", "messageId": "a0" }),
        json!({ "type": "text-start", "id": "t" }),
        json!({ "type": "abort" }),
        json!(0),
    ];
    let found = Found { out: script(&[cut]), input: vec![user(0, "u0")], ..Found::default() };

    check(&found, "u0", "", None);
}

#[test]
fn an_error_after_the_whole_answer_leaves_it_whole_a153() {
    let call = json!({ "type": "tool-input-available", "toolCallId": "c", "toolName": "ask", "input": 1 });
    let late = vec![
        json!({ "type": "start", "messageId": "a0" }),
        call,
        json!({ "type": "finish" }),
        json!({ "type": "error", "errorText": "a hook failed" }),
    ];

    let plan = check(&Found { out: script(&[late, done(0)]), ..Found::default() }, "a0", "", None);

    assert!(plan.chain[0].tool_part("c").is_some());
}

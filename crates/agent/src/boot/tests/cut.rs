//! What an answer that was cut leaves behind, and what it does not.

use turnkeep_protocol::UiPart;

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

#[test]
fn a_chunk_that_does_not_follow_is_skipped_and_its_message_survives_a50() {
    let mut chunks = text("a0", "x");
    chunks.insert(2, json!({ "type": "text-delta", "id": "nobody", "delta": "y" }));
    let found = Found { out: script(&[chunks, done(0)]), ..Found::default() };

    let replayed = replay(&found);

    assert_eq!(replayed.n_malformed, 0);
    assert_eq!(replayed.settled.messages()[0].text(), "x");
}

#[test]
fn an_authors_data_stands_behind_the_models_parts_and_is_replaced_in_place_a189() {
    let plan = |id: &str, data: i64| json!({ "type": "data-plan", "id": id, "data": data });
    let mut chunks = vec![plan("1", 1), plan("2", 2)];
    chunks.extend(text("a0", "x"));
    chunks.extend([plan("1", 3), json!({ "type": "data-tick", "data": 1, "transient": true })]);
    let again = [vec![plan("2", 4), plan("3", 5)], text("a0", "y")].concat();
    let found = Found { out: script(&[chunks, done(0), again, done(1)]), ..Found::default() };

    let replayed = replay(&found);

    let message = &replayed.settled.messages()[0];
    let show = |part: &UiPart| part.as_data().map_or_else(|| part.kind().into_owned(), |data| data.data.to_string());
    let parts: Vec<_> = message.parts.iter().map(show).collect();
    assert_eq!(parts, ["step-start", "text", "3", "4", "step-start", "text", "5"]);
}

#[test]
fn an_answer_that_an_earlier_boot_has_ended_is_still_the_partial_a60_d31() {
    let abort = |reason: &str| vec![json!({ "type": "abort", "reason": reason })];
    let found = |reason: &str| Found {
        out: script(&[begun("a0", "hal"), abort(reason)]),
        input: vec![user(0, "u0"), user(1, "u1")],
        ..Found::default()
    };
    let partial = |found: &Found| replay(found).open_turn.unwrap().partial.map(|partial| partial.cleaned.text());

    assert_eq!(partial(&found("interrupted")).as_deref(), Some("hal"));
    assert_eq!(partial(&found("a person's stop")), None);

    // No second abort, whoever is asked.
    check(&found("interrupted"), "u0 a0", "u1", ONLY_CLOSES);
}

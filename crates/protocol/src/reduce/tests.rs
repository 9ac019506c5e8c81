//! The reducer, rule by rule: chunks as JSON rows in, the message as JSON out.

use serde_json::{Value, json};

use super::*;
use crate::message::ToolState;

fn apply_all(reducer: &mut MessageReducer, chunks: Value) -> Result<(), ReduceError> {
    let chunks: Vec<UiMessageChunk> = serde_json::from_value(chunks).expect("a list of chunks");
    chunks.iter().try_for_each(|chunk| reducer.apply(chunk))
}

fn reduce(chunks: Value) -> MessageReducer {
    let mut reducer = MessageReducer::new();
    apply_all(&mut reducer, chunks).expect("chunks that follow from each other");
    reducer
}

#[track_caller]
fn check(chunks: Value, want_parts: Value) {
    assert_eq!(serde_json::to_value(&reduce(chunks).message().parts).expect("json"), want_parts);
}

#[track_caller]
fn check_error(chunks: Value, want: &str) {
    let error = apply_all(&mut MessageReducer::new(), chunks).expect_err("a chunk that refers to nothing");
    assert_eq!(error.to_string(), want);
}

#[test]
fn start_names_the_message_and_metadata_merges_deeply_a125() {
    let reducer = reduce(json!([
        { "type": "start", "messageId": "m1", "messageMetadata": { "a": { "x": 1, "list": [1, 2] } } },
        { "type": "start", "messageMetadata": null },
        { "type": "message-metadata", "messageMetadata": { "a": { "y": 2, "list": [3] } } },
        { "type": "finish", "finishReason": "stop", "messageMetadata": { "b": null } },
    ]));

    let message = reducer.message();
    assert_eq!(message.id, "m1");
    assert_eq!(message.metadata, Some(json!({ "a": { "x": 1, "list": [3], "y": 2 }, "b": null })));
    assert_eq!(reducer.finish_reason(), Some("stop"));
    assert!(message.parts.is_empty());
}

#[test]
fn error_and_abort_change_no_parts_a125() {
    let chunks = json!([{ "type": "text-start", "id": "1" }, { "type": "error", "errorText": "x" }, { "type": "abort", "reason": "y" }]);
    assert_eq!(reduce(chunks.clone()).finish_reason(), None);
    check(chunks, json!([{ "type": "text", "text": "", "state": "streaming" }]));
}

#[test]
fn texts_and_reasonings_grow_between_start_and_end_a126() {
    check(
        json!([
            { "type": "start-step" },
            { "type": "reasoning-start", "id": "1", "providerMetadata": { "p": 1 } },
            { "type": "text-start", "id": "1" },
            { "type": "text-delta", "id": "1", "delta": "He" },
            { "type": "reasoning-delta", "id": "1", "delta": "hm", "providerMetadata": { "q": 2 } },
            { "type": "text-delta", "id": "1", "delta": "y" },
            { "type": "reasoning-end", "id": "1" },
            { "type": "text-end", "id": "1", "providerMetadata": { "r": 3 } },
            { "type": "text-start", "id": "1" },
            { "type": "text-delta", "id": "1", "delta": "again" },
        ]),
        json!([
            { "type": "step-start" },
            { "type": "reasoning", "text": "hm", "state": "done", "providerMetadata": { "q": 2 } },
            { "type": "text", "text": "Hey", "state": "done", "providerMetadata": { "r": 3 } },
            { "type": "text", "text": "again", "state": "streaming" },
        ]),
    );
}

#[test]
fn a_delta_or_end_without_a_start_is_an_error_a126() {
    check_error(
        json!([{ "type": "text-delta", "id": "1", "delta": "x" }]),
        "received text-delta for `1`, which is not open",
    );
    check_error(json!([{ "type": "reasoning-end", "id": "1" }]), "received reasoning-end for `1`, which is not open");
    check_error(
        json!([{ "type": "text-start", "id": "1" }, { "type": "text-end", "id": "1" }, { "type": "text-end", "id": "1" }]),
        "received text-end for `1`, which is not open",
    );
    check_error(
        json!([{ "type": "tool-input-delta", "toolCallId": "c", "inputTextDelta": "{" }]),
        "received tool-input-delta for `c`, which is not open",
    );
}

#[test]
fn finish_step_forgets_open_parts_a125() {
    check_error(
        json!([{ "type": "text-start", "id": "1" }, { "type": "finish-step" }, { "type": "text-delta", "id": "1", "delta": "x" }]),
        "received text-delta for `1`, which is not open",
    );
}

#[test]
fn a_streamed_input_is_shown_while_it_grows_a127() {
    let start = json!({ "type": "tool-input-start", "toolCallId": "c", "toolName": "forecast", "title": "Forecast" });
    let deltas = [r#"{"ci"#, r#"ty": "Os"#, r#"lo", "days": 1"#, "2}"];
    let inputs = [
        json!({}),
        json!({ "city": "Os" }),
        json!({ "city": "Oslo", "days": 1 }),
        json!({ "city": "Oslo", "days": 12 }),
    ];
    let mut reducer = reduce(json!([start]));

    for (delta, input) in deltas.into_iter().zip(inputs) {
        apply_all(&mut reducer, json!([{ "type": "tool-input-delta", "toolCallId": "c", "inputTextDelta": delta }]))
            .expect("open");

        let part = reducer.message().tool_part("c").expect("the call");
        assert_eq!((part.state, part.input.as_ref()), (ToolState::InputStreaming, Some(&input)));
    }
}

#[test]
fn a_long_input_costs_as_much_as_its_length_however_it_is_cut() {
    let mut reducer = reduce(
        json!([{ "type": "tool-input-start", "toolCallId": "c", "toolName": "t" }, { "type": "text-start", "id": "1" }]),
    );
    let n_deltas = 200_000;

    // Were every delta to cost as much as what came before, this would run for hours.
    reducer.apply(&UiMessageChunk::tool_input_delta("c", "[\"")).expect("open");
    for _ in 0..n_deltas {
        reducer.apply(&UiMessageChunk::tool_input_delta("c", "abcd")).expect("open");
        reducer.apply(&UiMessageChunk::text_delta("1", "abcd")).expect("open");
    }

    let want = "abcd".repeat(n_deltas);
    assert_eq!(reducer.message().text(), want);
    assert_eq!(reducer.message().tool_part("c").and_then(|part| part.input.clone()), Some(json!([want])));
}

#[test]
fn a_call_moves_along_its_states_in_one_part_a127() {
    check(
        json!([
            { "type": "tool-input-start", "toolCallId": "c", "toolName": "t", "providerExecuted": true },
            { "type": "tool-input-delta", "toolCallId": "c", "inputTextDelta": "{\"a\":" },
            { "type": "tool-input-available", "toolCallId": "c", "toolName": "t", "input": { "a": 1 }, "providerMetadata": { "p": 1 } },
            { "type": "tool-output-available", "toolCallId": "c", "output": "half", "preliminary": true },
            { "type": "tool-output-available", "toolCallId": "c", "output": "whole", "providerMetadata": { "q": 1 } },
        ]),
        json!([{
            "type": "tool-t", "toolCallId": "c", "state": "output-available", "providerExecuted": true, "input": { "a": 1 }, "output": "whole",
            "callProviderMetadata": { "p": 1 }, "resultProviderMetadata": { "q": 1 },
        }]),
    );
    check(
        json!([
            { "type": "tool-input-available", "toolCallId": "c", "toolName": "t", "input": {}, "dynamic": true },
            { "type": "tool-approval-request", "toolCallId": "c", "approvalId": "p", "signature": "s" },
            { "type": "tool-output-denied", "toolCallId": "c" },
        ]),
        json!([{
            "type": "dynamic-tool", "toolName": "t", "toolCallId": "c", "state": "output-denied", "input": {},
            "approval": { "id": "p", "signature": "s" },
        }]),
    );
    check(
        json!([
            { "type": "tool-input-start", "toolCallId": "c", "toolName": "t" },
            { "type": "tool-input-error", "toolCallId": "c", "toolName": "t", "input": "{oops", "errorText": "not JSON" },
        ]),
        json!([{ "type": "tool-t", "toolCallId": "c", "state": "output-error", "rawInput": "{oops", "errorText": "not JSON" }]),
    );
    check(
        json!([
            { "type": "tool-input-available", "toolCallId": "c", "toolName": "t", "input": 1 },
            { "type": "tool-output-error", "toolCallId": "c", "errorText": "broken" },
        ]),
        json!([{ "type": "tool-t", "toolCallId": "c", "state": "output-error", "input": 1, "errorText": "broken" }]),
    );
}

#[test]
fn an_outcome_finds_its_call_in_this_step_then_anywhere_a128() {
    check(
        json!([
            { "type": "start-step" },
            { "type": "tool-input-available", "toolCallId": "c", "toolName": "t", "input": 1 },
            { "type": "tool-input-available", "toolCallId": "d", "toolName": "t", "input": 2 },
            { "type": "start-step" },
            { "type": "tool-input-available", "toolCallId": "c", "toolName": "t", "input": 3 },
            { "type": "tool-output-available", "toolCallId": "c", "output": "c" },
            { "type": "tool-output-available", "toolCallId": "d", "output": "d" },
        ]),
        json!([
            { "type": "step-start" },
            { "type": "tool-t", "toolCallId": "c", "state": "input-available", "input": 1 },
            { "type": "tool-t", "toolCallId": "d", "state": "output-available", "input": 2, "output": "d" },
            { "type": "step-start" },
            { "type": "tool-t", "toolCallId": "c", "state": "output-available", "input": 3, "output": "c" },
        ]),
    );
    for chunk in [
        json!({ "type": "tool-output-available", "toolCallId": "x", "output": 1 }),
        json!({ "type": "tool-output-error", "toolCallId": "x", "errorText": "e" }),
        json!({ "type": "tool-output-denied", "toolCallId": "x" }),
        json!({ "type": "tool-approval-request", "toolCallId": "x", "approvalId": "p" }),
    ] {
        check_error(json!([chunk]), "no tool invocation found for tool call id `x`");
    }
}

#[test]
fn data_with_the_same_kind_and_id_is_replaced_in_place_a129() {
    check(
        json!([
            { "type": "data-a", "id": "1", "data": 1 },
            { "type": "data-b", "id": "1", "data": 2 },
            { "type": "data-a", "data": 3 },
            { "type": "data-a", "data": 4 },
            { "type": "data-a", "id": "2", "data": 5, "transient": true },
            { "type": "data-a", "id": "1", "data": 6 },
        ]),
        json!([
            { "type": "data-a", "id": "1", "data": 6 },
            { "type": "data-b", "id": "1", "data": 2 },
            { "type": "data-a", "data": 3 },
            { "type": "data-a", "data": 4 },
        ]),
    );
}

#[test]
fn sources_and_files_are_parts_of_their_own() {
    let parts = json!([
        { "type": "source-url", "sourceId": "1", "url": "https://a.example", "title": "A" },
        { "type": "source-document", "sourceId": "2", "mediaType": "text/plain", "title": "B", "filename": "b.txt" },
        { "type": "file", "mediaType": "image/png", "url": "data:image/png;base64,AA==" },
    ]);
    check(parts.clone(), parts);
}

#[test]
fn unknown_kinds_are_ignored_but_those_of_ai_sdk_7_are_stored_a130_d25() {
    check(
        json!([
            { "type": "steering-message", "text": "x" },
            { "type": "tool-approval-response", "approvalId": "p" },
            { "type": "text-start" },
            { "no": "type" },
            { "type": "custom", "kind": "k", "providerMetadata": {} },
            { "type": "reasoning-file", "mediaType": "image/png", "url": "data:," },
        ]),
        json!([
            { "type": "custom", "kind": "k", "providerMetadata": {} },
            { "type": "reasoning-file", "mediaType": "image/png", "url": "data:," },
        ]),
    );
}

#[test]
fn reset_step_drops_the_parts_of_the_current_step_d25() {
    check(
        json!([
            { "type": "start-step" },
            { "type": "tool-input-available", "toolCallId": "c", "toolName": "t", "input": 1 },
            { "type": "data-a", "id": "1", "data": 1 },
            { "type": "start-step" },
            { "type": "text-start", "id": "1" },
            { "type": "tool-input-start", "toolCallId": "c", "toolName": "t" },
            { "type": "data-b", "id": "1", "data": 1 },
            { "type": "reset-step" },
            { "type": "data-b", "id": "1", "data": 2 },
            { "type": "data-a", "id": "1", "data": 2 },
            { "type": "tool-output-available", "toolCallId": "c", "output": 2 },
        ]),
        json!([
            { "type": "step-start" },
            { "type": "tool-t", "toolCallId": "c", "state": "output-available", "input": 1, "output": 2 },
            { "type": "data-a", "id": "1", "data": 2 },
            { "type": "step-start" },
            { "type": "data-b", "id": "1", "data": 2 },
        ]),
    );
    check(json!([{ "type": "data-a", "id": "1", "data": 1 }, { "type": "reset-step" }]), json!([]));
    check_error(
        json!([{ "type": "text-start", "id": "1" }, { "type": "reset-step" }, { "type": "text-end", "id": "1" }]),
        "received text-end for `1`, which is not open",
    );
}

#[test]
fn a_continuation_goes_on_with_the_parts_there_are_a123() {
    let stored = serde_json::from_value(json!({ "id": "a1", "role": "assistant", "metadata": { "a": 1 }, "parts": [
        { "type": "step-start" },
        { "type": "tool-t", "toolCallId": "c", "state": "input-available", "input": 1 },
        { "type": "data-a", "id": "1", "data": 1 },
    ] }));
    let mut reducer = MessageReducer::resume(stored.expect("a message"));

    apply_all(
        &mut reducer,
        json!([
            { "type": "start", "messageId": "a1", "messageMetadata": { "b": 2 } },
            { "type": "tool-output-available", "toolCallId": "c", "output": 2 },
            { "type": "start-step" },
            { "type": "data-a", "id": "1", "data": 2 },
        ]),
    )
    .expect("a continuation");

    let want = json!({ "id": "a1", "role": "assistant", "metadata": { "a": 1, "b": 2 }, "parts": [
        { "type": "step-start" },
        { "type": "tool-t", "toolCallId": "c", "state": "output-available", "input": 1, "output": 2 },
        { "type": "data-a", "id": "1", "data": 2 },
        { "type": "step-start" },
    ] });
    assert_eq!(serde_json::to_value(reducer.into_message()).expect("json"), want);
}

#[test]
fn cleanup_drops_calls_that_nobody_can_answer_and_closes_open_texts_a140() {
    let cut: UiMessage = serde_json::from_value(json!({ "id": "a1", "role": "assistant", "parts": [
        { "type": "step-start" },
        { "type": "text", "text": "He", "state": "streaming" },
        { "type": "reasoning", "text": "h", "state": "streaming" },
        { "type": "text", "text": "no state" },
        { "type": "tool-t", "toolCallId": "1", "state": "partial-call" },
        { "type": "tool-t", "toolCallId": "2", "state": "input-streaming" },
        { "type": "dynamic-tool", "toolName": "t", "toolCallId": "3", "state": "input-available" },
        { "type": "tool-t", "toolCallId": "4", "state": "approval-requested", "approval": { "id": "p" } },
        { "type": "tool-t", "toolCallId": "5", "state": "output-available", "output": 1 },
        { "type": "data-a", "data": 1 },
        { "type": "unknown", "state": "streaming" },
    ] }))
    .expect("a message");

    let clean = cleanup_aborted_parts(cut);

    let want = json!([
        { "type": "step-start" },
        { "type": "text", "text": "He", "state": "done" },
        { "type": "reasoning", "text": "h", "state": "done" },
        { "type": "text", "text": "no state" },
        { "type": "tool-t", "toolCallId": "4", "state": "approval-requested", "approval": { "id": "p" } },
        { "type": "tool-t", "toolCallId": "5", "state": "output-available", "output": 1 },
        { "type": "data-a", "data": 1 },
        { "type": "unknown", "state": "streaming" },
    ]);
    assert_eq!(serde_json::to_value(&clean.parts).expect("json"), want);
    assert_eq!(cleanup_aborted_parts(clean.clone()), clean);
}

#[test]
fn cleanup_may_leave_no_parts_a140() {
    let cut = UiMessage::assistant("a1", vec![UiPart::Tool(crate::message::ToolPart::call("c", "t", json!({})))]);
    assert_eq!(cleanup_aborted_parts(cut).parts, []);
}

//! The adapter, rule by rule: messages and settings in, a body out; a recorded stream in, parts out.

use proptest::prelude::*;
use serde_json::json;

use super::stream::ChatReader;
use super::*;
use crate::prompt::ToolSpec;
use crate::provider::testing::{
    check_every_cut, check_fields, check_messages, check_stream, decode, object, prompt, send_back,
};

const TEXT: &str = include_str!("../../tests/streams/openai/text.sse");
const REASONING: &str = include_str!("../../tests/streams/openai/reasoning.sse");
const PARALLEL_TOOLS: &str = include_str!("../../tests/streams/openai/parallel-tools.sse");
const SOURCES: &str = include_str!("../../tests/streams/openai/sources.sse");
const REFUSAL: &str = include_str!("../../tests/streams/openai/refusal.sse");

fn reader() -> Box<dyn Reader> {
    Box::new(ChatReader::default())
}

#[track_caller]
fn check(stream: &str, want: &[&str]) {
    check_stream(reader(), stream, want);
}

/// Writes events as the server does, `[DONE]` apart.
fn events(chunks: &[Value]) -> String {
    chunks.iter().map(|chunk| format!("data: {chunk}\n\n")).collect()
}

fn delta(delta: Value) -> Value {
    json!({ "choices": [{ "index": 0, "delta": delta }] })
}

fn stop(finish_reason: &str) -> Value {
    json!({ "choices": [{ "index": 0, "delta": {}, "finish_reason": finish_reason }] })
}

const BEGUN: &str = "response-metadata chatcmpl-B9MBs8 gpt-4.1-2025-04-14 1741569952000";

#[test]
fn text_comes_with_its_metadata_and_its_cost() {
    check(
        TEXT,
        &[
            BEGUN,
            "text-start text-0",
            r#"text-delta text-0 "Rain, ""#,
            r#"text-delta text-0 "4 °C — brr.""#,
            "text-end text-0",
            r#"finish stop {"inputTokens":19,"outputTokens":10,"totalTokens":29,"reasoningTokens":0,"cachedInputTokens":8}"#,
        ],
    );
}

#[test]
fn reasoning_in_a_field_of_its_own_remembers_the_field() {
    check(
        REASONING,
        &[
            "response-metadata 930c60df deepseek-reasoner 1741569952000",
            r#"reasoning-start reasoning-0 {"openai":{"reasoningField":"reasoning_content"}}"#,
            r#"reasoning-delta reasoning-0 "Oslo is ""#,
            r#"reasoning-delta reasoning-0 "north.""#,
            "reasoning-end reasoning-0",
            "text-start text-1",
            r#"text-delta text-1 "Cold.""#,
            "text-end text-1",
            r#"finish stop {"inputTokens":12,"outputTokens":30,"totalTokens":42,"reasoningTokens":24,"cachedInputTokens":0}"#,
        ],
    );
}

#[test]
fn parallel_calls_stream_in_turns_and_are_complete_at_the_end() {
    check(
        PARALLEL_TOOLS,
        &[
            BEGUN,
            "tool-input-start call_oslo forecast",
            r#"tool-input-delta call_oslo "{\"city\":""#,
            "tool-input-start call_rome forecast",
            r#"tool-input-delta call_rome "{\"city\":\"Rome\"}""#,
            r#"tool-input-delta call_oslo "\"Oslo\"}""#,
            "tool-input-end call_oslo",
            r#"tool-call call_oslo forecast {"city":"Oslo"}"#,
            "tool-input-end call_rome",
            r#"tool-call call_rome forecast {"city":"Rome"}"#,
            r#"finish tool-calls {"inputTokens":82,"outputTokens":34,"totalTokens":116,"reasoningTokens":0,"cachedInputTokens":0}"#,
        ],
    );
}

#[test]
fn sources_and_refusals_are_told() {
    check(
        SOURCES,
        &[
            BEGUN,
            "text-start text-0",
            r#"text-delta text-0 "It rained.""#,
            r#"source-url chatcmpl-B9MBs8-source-0 https://example.com/oslo "Weather""#,
            r#"source-url chatcmpl-B9MBs8-source-1 https://example.com/more "More""#,
            "text-end text-0",
            "finish stop {}",
        ],
    );
    check(
        REFUSAL,
        &[
            BEGUN,
            "text-start text-0",
            r#"text-delta text-0 "I can't help with that.""#,
            "text-end text-0",
            "finish content-filter {}",
        ],
    );
}

#[test]
fn servers_that_leave_out_what_they_can_are_understood() {
    let call = |id: Option<&str>, name: Option<&str>, arguments: &str| {
        delta(json!({ "tool_calls": [{ "id": id, "function": { "name": name, "arguments": arguments } }] }))
    };
    let stream = events(&[
        call(Some("a"), Some("t"), r#"{"x""#),
        call(None, None, ":1}"),
        call(Some("b"), Some("u"), ""),
        call(Some("a"), None, " "),
        stop("tool_calls"),
    ]);

    // No index, no `[DONE]`, no usage, no id of the answer, no arguments.
    check(
        &stream,
        &[
            "response-metadata",
            "tool-input-start a t",
            r#"tool-input-delta a "{\"x\"""#,
            r#"tool-input-delta a ":1}""#,
            "tool-input-start b u",
            r#"tool-input-delta a " ""#,
            "tool-input-end a",
            r#"tool-call a t {"x":1}"#,
            "tool-input-end b",
            "tool-call b u {}",
            "finish tool-calls {}",
        ],
    );
    let other_choice = json!({ "choices": [{ "index": 1, "delta": { "content": "no" } }] });
    check(&events(&[other_choice, stop("stop")]), &["response-metadata", "finish stop {}"]);
}

#[test]
fn calls_under_one_index_stay_apart_by_their_ids() {
    let call = |id: Option<&str>, name: Option<&str>, arguments: &str| {
        let function = json!({ "name": name, "arguments": arguments });
        delta(json!({ "tool_calls": [{ "index": 0, "id": id, "function": function }] }))
    };
    let pieces = [
        call(Some("a"), Some("t"), r#"{"x":1}"#),
        call(Some("b"), Some("u"), r#"{"y""#),
        call(None, None, ":2}"),
        stop("tool_calls"),
    ];

    check(
        &events(&pieces),
        &[
            "response-metadata",
            "tool-input-start a t",
            r#"tool-input-delta a "{\"x\":1}""#,
            "tool-input-start b u",
            r#"tool-input-delta b "{\"y\"""#,
            r#"tool-input-delta b ":2}""#,
            "tool-input-end a",
            r#"tool-call a t {"x":1}"#,
            "tool-input-end b",
            r#"tool-call b u {"y":2}"#,
            "finish tool-calls {}",
        ],
    );
}

#[test]
fn a_piece_with_an_id_of_its_own_and_no_name_goes_on_with_its_call() {
    let call = |index: usize, id: Option<&str>, name: Option<&str>, arguments: &str| {
        let function = json!({ "name": name, "arguments": arguments });
        delta(json!({ "tool_calls": [{ "index": index, "id": id, "function": function }] }))
    };
    let pieces = [
        call(0, Some("a"), Some("t"), r#"{"x""#),
        call(1, Some("b"), Some("u"), ""),
        call(0, Some("other"), None, ":1"),
        call(0, None, None, "}"),
        stop("tool_calls"),
    ];

    check(
        &events(&pieces),
        &[
            "response-metadata",
            "tool-input-start a t",
            r#"tool-input-delta a "{\"x\"""#,
            "tool-input-start b u",
            r#"tool-input-delta a ":1""#,
            r#"tool-input-delta a "}""#,
            "tool-input-end a",
            r#"tool-call a t {"x":1}"#,
            "tool-input-end b",
            "tool-call b u {}",
            "finish tool-calls {}",
        ],
    );
}

#[test]
fn a_call_whose_input_is_no_json_is_invalid_a119() {
    let call =
        delta(json!({ "tool_calls": [{ "index": 0, "id": "a", "function": { "name": "t", "arguments": "{x" } }] }));
    check(
        &events(&[call, stop("length")]),
        &[
            "response-metadata",
            "tool-input-start a t",
            r#"tool-input-delta a "{x""#,
            "tool-input-end a",
            r#"tool-call a t "{x" invalid"#,
            "finish length {}",
        ],
    );
}

#[test]
fn finish_reasons_are_read() {
    for (word, want) in [
        ("stop", "stop"),
        ("length", "length"),
        ("content_filter", "content-filter"),
        ("tool_calls", "tool-calls"),
        ("function_call", "tool-calls"),
        ("new", "other"),
    ] {
        check(&events(&[stop(word)]), &["response-metadata", &format!("finish {want} {{}}")]);
    }
}

#[test]
fn a_cut_a_malformed_and_a_failed_answer_end_with_their_error() {
    let said = delta(json!({ "content": "Ra" }));
    let begun = ["response-metadata", "text-start text-0", r#"text-delta text-0 "Ra""#];
    let check_end = |last: &str, want: &str| {
        let stream = events(std::slice::from_ref(&said)) + last;
        check(&stream, &[&begun[..], &[want]].concat());
    };

    let broke_off =
        r#"error Unavailable { message: "the provider's answer broke off: it ended without a finish reason" }"#;
    check_end("", broke_off);
    check_end("data: [DONE]\n\n", broke_off);
    check_end(
        "data: {\"choices\":\n\ndata: [DONE]\n\n",
        r#"error Malformed { message: "an event of the answer is not understood: EOF while parsing a value at line 1 column 11" }"#,
    );
    check_end(
        "data: {\"error\":{\"message\":\"boom\",\"type\":\"server_error\",\"code\":null}}\n\n",
        r#"error Unavailable { message: "boom" }"#,
    );
    check_end(
        "data: {\"choices\":[{\"delta\":{\"tool_calls\":[{\"index\":0,\"function\":{\"name\":\"t\"}}]}}]}\n\n",
        r#"error Malformed { message: "tool call 0 begins without an id" }"#,
    );
    check_end(
        "data: {\"choices\":[{\"delta\":{\"tool_calls\":[{\"index\":9999,\"id\":\"a\"}]}}]}\n\n",
        r#"error Malformed { message: "a tool call has the index 9999; the most is 1024" }"#,
    );
}

#[test]
fn an_answer_says_the_same_however_its_bytes_are_cut() {
    for stream in [TEXT, REASONING, PARALLEL_TOOLS, SOURCES, REFUSAL] {
        check_every_cut(reader, stream);
    }
}

#[test]
fn what_the_model_said_goes_back_whole_through_the_history() {
    assert_eq!(
        send_back(&ChatCompletions, REASONING),
        json!([{ "role": "assistant", "content": "Cold.", "reasoning_content": "Oslo is north." }])
    );
    let call = |id: &str, arguments: &str| json!({ "id": id, "type": "function", "function": { "name": "forecast", "arguments": arguments } });
    assert_eq!(
        send_back(&ChatCompletions, PARALLEL_TOOLS),
        json!([
            { "role": "assistant", "content": null, "tool_calls": [
                call("call_oslo", r#"{"city":"Oslo"}"#),
                call("call_rome", r#"{"city":"Rome"}"#),
            ] },
            { "role": "tool", "tool_call_id": "call_oslo", "content": "fine" },
            { "role": "tool", "tool_call_id": "call_rome", "content": "fine" },
        ])
    );
}

proptest! {
    #[test]
    fn an_answer_says_the_same_in_any_pieces(lengths in prop::collection::vec(0_usize..200, 0..40)) {
        let mut rest = PARALLEL_TOOLS.as_bytes();
        let mut pieces = Vec::new();
        for length in lengths {
            let (piece, after) = rest.split_at(length.min(rest.len()));
            pieces.push(piece);
            rest = after;
        }
        pieces.push(rest);

        prop_assert_eq!(decode(reader(), pieces), decode(reader(), [PARALLEL_TOOLS.as_bytes()]));
    }
}

mod requests;

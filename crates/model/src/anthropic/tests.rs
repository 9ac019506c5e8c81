//! The adapter, rule by rule: messages and settings in, a body out; a recorded stream in, parts out.

use proptest::prelude::*;
use serde_json::json;

use super::stream::MessageReader;
use super::*;
use crate::part::StreamPart;
use crate::prompt::ToolSpec;
use crate::provider::testing::{
    check_every_cut, check_fields, check_messages, check_stream, decode, object, prompt, send_back,
};

const TEXT: &str = include_str!("../../tests/streams/anthropic/text.sse");
const TOOLS: &str = include_str!("../../tests/streams/anthropic/reasoning-and-tools.sse");
const REDACTED: &str = include_str!("../../tests/streams/anthropic/redacted-reasoning.sse");
const WEB_SEARCH: &str = include_str!("../../tests/streams/anthropic/web-search.sse");
const CITATIONS: &str = include_str!("../../tests/streams/anthropic/document-citations.sse");
const OVERLOADED: &str = include_str!("../../tests/streams/anthropic/overloaded.sse");

fn reader() -> Box<dyn Reader> {
    Box::new(MessageReader::default())
}

#[track_caller]
fn check(stream: &str, want: &[&str]) {
    check_stream(reader(), stream, want);
}

/// Writes events as the server does.
fn events(events: &[Value]) -> String {
    let event = |event: &Value| format!("event: {}\ndata: {event}\n\n", event["type"].as_str().unwrap_or_default());
    events.iter().map(event).collect()
}

fn block(start: Value) -> Value {
    json!({ "type": "content_block_start", "index": 0, "content_block": start })
}

fn delta(delta: Value) -> Value {
    json!({ "type": "content_block_delta", "index": 0, "delta": delta })
}

const BEGUN: &str = "response-metadata msg_01XF claude-sonnet-4-5-20250929";

#[test]
fn text_comes_with_its_metadata_its_pings_and_its_cost() {
    check(
        TEXT,
        &[
            BEGUN,
            "text-start 0",
            "ping",
            r#"text-delta 0 "Rain, ""#,
            r#"text-delta 0 "4 °C — brr.""#,
            "text-end 0",
            r#"finish stop {"inputTokens":25,"outputTokens":15,"totalTokens":40,"cachedInputTokens":0}"#,
        ],
    );
}

#[test]
fn reasoning_keeps_its_signature_and_parallel_calls_follow_each_other() {
    check(
        TOOLS,
        &[
            BEGUN,
            "reasoning-start 0",
            r#"reasoning-delta 0 "Two cities, ""#,
            r#"reasoning-delta 0 "two calls.""#,
            r#"reasoning-delta 0 "" {"anthropic":{"signature":"EqQBCgIYAhIM"}}"#,
            "reasoning-end 0",
            "text-start 1",
            r#"text-delta 1 "Let me look.""#,
            "text-end 1",
            "tool-input-start toolu_oslo forecast",
            r#"tool-input-delta toolu_oslo "{\"city\":""#,
            r#"tool-input-delta toolu_oslo " \"Oslo\"}""#,
            "tool-input-end toolu_oslo",
            r#"tool-call toolu_oslo forecast {"city":"Oslo"}"#,
            "tool-input-start toolu_now now",
            "tool-input-end toolu_now",
            "tool-call toolu_now now {}",
            r#"finish tool-calls {"inputTokens":2112,"outputTokens":89,"totalTokens":2201,"cachedInputTokens":2000}"#,
        ],
    );
}

#[test]
fn redacted_reasoning_keeps_its_data() {
    check(
        REDACTED,
        &[
            BEGUN,
            r#"reasoning-start 0 {"anthropic":{"redactedData":"EmwKAhgBEgy3"}}"#,
            "reasoning-end 0",
            "text-start 1",
            r#"text-delta 1 "Done.""#,
            "text-end 1",
            r#"finish length {"inputTokens":25,"outputTokens":4096,"totalTokens":4121,"cachedInputTokens":0}"#,
        ],
    );
}

#[test]
fn a_search_by_the_provider_is_a_call_a_result_and_its_sources() {
    check(
        WEB_SEARCH,
        &[
            BEGUN,
            "tool-input-start srvtoolu_1 web_search by-provider",
            r#"tool-input-delta srvtoolu_1 "{\"query\": \"rain in Oslo\"}""#,
            "tool-input-end srvtoolu_1",
            r#"tool-call srvtoolu_1 web_search {"query":"rain in Oslo"} by-provider {"anthropic":{"type":"server_tool_use"}}"#,
            r#"tool-result srvtoolu_1 web_search ok [{"type":"web_search_result","url":"https://example.com/oslo","title":"Oslo","encrypted_content":"EqgfCioI","page_age":"1 day ago"}] by-provider {"anthropic":{"type":"web_search_tool_result"}}"#,
            r#"source-url msg_01XF-source-0 https://example.com/oslo "Oslo" {"anthropic":{"pageAge":"1 day ago"}}"#,
            "text-start 2",
            r#"text-delta 2 "It rains.""#,
            r#"source-url msg_01XF-source-1 https://example.com/oslo "Oslo" {"anthropic":{"citedText":"Rain all day"}}"#,
            "text-end 2",
            r#"finish stop {"inputTokens":2679,"outputTokens":55,"totalTokens":2734,"cachedInputTokens":0}"#,
        ],
    );
}

#[test]
fn citations_of_documents_are_sources() {
    check(
        CITATIONS,
        &[
            BEGUN,
            "text-start 0",
            r#"text-delta 0 "Grass is green.""#,
            r#"source-document msg_01XF-source-0 text/plain "Colours" {"anthropic":{"citedText":"The grass is green."}}"#,
            r#"source-document msg_01XF-source-1 application/pdf "Document 2" {"anthropic":{"citedText":"Green."}}"#,
            "text-end 0",
            r#"finish stop {"inputTokens":25,"outputTokens":9,"totalTokens":34,"cachedInputTokens":0}"#,
        ],
    );
}

#[test]
fn a_failed_result_of_the_provider_is_a_failure() {
    let error = json!({ "type": "web_search_tool_result_error", "error_code": "max_uses_exceeded" });
    let search = json!({ "type": "web_search_tool_result", "tool_use_id": "s", "content": error });
    let texts = json!([{ "type": "text", "text": "no such page" }]);
    let mcp = json!({ "type": "mcp_tool_result", "tool_use_id": "m", "is_error": true, "content": texts });
    let stream = events(&[block(search), block(mcp), json!({ "type": "message_stop" })]);

    check(
        &stream,
        &[
            r#"tool-result s web_search failed "max_uses_exceeded" by-provider {"anthropic":{"type":"web_search_tool_result"}}"#,
            r#"tool-result m mcp failed "no such page" by-provider dynamic {"anthropic":{"type":"mcp_tool_result"}}"#,
            "finish other {}",
        ],
    );
}

#[test]
fn what_the_api_adds_is_passed_over_and_what_starts_full_is_kept() {
    let stream = events(&[
        json!({ "type": "new_event" }),
        block(json!({ "type": "new_block" })),
        delta(json!({ "type": "text_delta", "text": "x" })),
        json!({ "type": "content_block_stop", "index": 0 }),
        block(json!({ "type": "text", "text": "Whole" })),
        delta(json!({ "type": "new_delta" })),
        json!({ "type": "content_block_stop", "index": 0 }),
        block(json!({ "type": "thinking", "thinking": "hm", "signature": "s" })),
        json!({ "type": "content_block_stop", "index": 0 }),
        block(json!({ "type": "tool_use", "id": "c", "name": "t", "input": { "a": 1 } })),
        json!({ "type": "content_block_stop", "index": 0 }),
        json!({ "type": "message_delta", "delta": { "stop_reason": "tool_use" } }),
        json!({ "type": "message_stop" }),
    ]);

    check(
        &stream,
        &[
            "text-start 0",
            r#"text-delta 0 "Whole""#,
            "text-end 0",
            "reasoning-start 0",
            r#"reasoning-delta 0 "hm""#,
            r#"reasoning-delta 0 "" {"anthropic":{"signature":"s"}}"#,
            "reasoning-end 0",
            "tool-input-start c t",
            "tool-input-end c",
            r#"tool-call c t {"a":1}"#,
            "finish tool-calls {}",
        ],
    );
}

#[test]
fn a_call_whose_input_is_no_json_is_invalid_a119() {
    let stream = events(&[
        block(json!({ "type": "tool_use", "id": "c", "name": "t", "input": {} })),
        delta(json!({ "type": "input_json_delta", "partial_json": "{x" })),
        json!({ "type": "content_block_stop", "index": 0 }),
    ]);

    let parts = decode(reader(), [stream.as_bytes()]);

    let StreamPart::ToolCall(call) = &parts[4] else { panic!("{parts:?}") };
    assert_eq!(call.input, json!("{x"));
    assert!(call.invalid.as_ref().is_some_and(|why| why.starts_with("the input is not valid JSON")));
}

#[test]
fn finish_reasons_are_read() {
    for (word, want) in [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("pause_turn", "other"),
        ("tool_use", "tool-calls"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("refusal", "content-filter"),
        ("new", "other"),
    ] {
        let ending = json!({ "type": "message_delta", "delta": { "stop_reason": word } });
        check(&events(&[ending, json!({ "type": "message_stop" })]), &[&format!("finish {want} {{}}")]);
    }
}

#[test]
fn a_cut_a_malformed_and_a_failed_answer_end_with_their_error() {
    let begun = ["text-start 0", r#"text-delta 0 "Ra""#];
    let start = events(&[block(json!({ "type": "text", "text": "Ra" }))]);
    let check_end = |last: &str, want: &str| check(&(start.clone() + last), &[&begun[..], &[want]].concat());

    check(OVERLOADED, &[&[BEGUN], &begun[..], &[r#"error Unavailable { message: "Overloaded" }"#]].concat());
    check_end(
        "",
        r#"error Unavailable { message: "the provider's answer broke off: it ended without `message_stop`" }"#,
    );
    check_end(
        "data: {\"type\":\"message_stop\"\n\n",
        r#"error Malformed { message: "an event of the answer is not understood: EOF while parsing an object at line 1 column 22" }"#,
    );
    let foreign = events(&[delta(json!({ "type": "thinking_delta", "thinking": "hm" }))]);
    check_end(
        &foreign,
        r#"error Malformed { message: "block 0 is given what does not belong to it: Thinking { thinking: \"hm\" }" }"#,
    );
}

#[test]
fn an_answer_says_the_same_however_its_bytes_are_cut() {
    for stream in [TEXT, TOOLS, REDACTED, WEB_SEARCH, CITATIONS, OVERLOADED] {
        check_every_cut(reader, stream);
    }
}

#[test]
fn what_the_model_said_goes_back_sealed_and_whole_through_the_history() {
    assert_eq!(
        send_back(&Messages, TOOLS),
        json!([
            { "role": "assistant", "content": [
                { "type": "thinking", "thinking": "Two cities, two calls.", "signature": "EqQBCgIYAhIM" },
                { "type": "text", "text": "Let me look." },
                { "type": "tool_use", "id": "toolu_oslo", "name": "forecast", "input": { "city": "Oslo" } },
                { "type": "tool_use", "id": "toolu_now", "name": "now", "input": {} },
            ] },
            { "role": "user", "content": [
                { "type": "tool_result", "tool_use_id": "toolu_oslo", "content": "fine" },
                { "type": "tool_result", "tool_use_id": "toolu_now", "content": "fine" },
            ] },
        ])
    );
    assert_eq!(
        send_back(&Messages, REDACTED),
        json!([{ "role": "assistant", "content": [
            { "type": "redacted_thinking", "data": "EmwKAhgBEgy3" },
            { "type": "text", "text": "Done." },
        ] }])
    );
    let found = json!({ "type": "web_search_result", "url": "https://example.com/oslo", "title": "Oslo",
        "encrypted_content": "EqgfCioI", "page_age": "1 day ago" });
    assert_eq!(
        send_back(&Messages, WEB_SEARCH),
        json!([{ "role": "assistant", "content": [
            { "type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": { "query": "rain in Oslo" } },
            { "type": "web_search_tool_result", "tool_use_id": "srvtoolu_1", "content": [found] },
            { "type": "text", "text": "It rains." },
        ] }])
    );
}

proptest! {
    #[test]
    fn an_answer_says_the_same_in_any_pieces(lengths in prop::collection::vec(0_usize..200, 0..40)) {
        let mut rest = TOOLS.as_bytes();
        let mut pieces = Vec::new();
        for length in lengths {
            let (piece, after) = rest.split_at(length.min(rest.len()));
            pieces.push(piece);
            rest = after;
        }
        pieces.push(rest);

        prop_assert_eq!(decode(reader(), pieces), decode(reader(), [TOOLS.as_bytes()]));
    }
}

mod requests;

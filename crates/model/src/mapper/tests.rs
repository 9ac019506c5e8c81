//! The mapper, rule by rule: events in, chunks as JSON out.

use serde_json::{Value, json};

use super::*;
use crate::error::ModelError;

fn map_all(options: UiStreamOptions, events: impl IntoIterator<Item = GenerationEvent>) -> Value {
    let mapper = ChunkMapper::new("m1", options);
    let chunks: Vec<UiMessageChunk> = events.into_iter().flat_map(|event| mapper.map(event)).collect();
    serde_json::to_value(chunks).expect("json")
}

#[track_caller]
fn check(options: UiStreamOptions, parts: impl IntoIterator<Item = StreamPart>, want: Value) {
    assert_eq!(map_all(options, parts.into_iter().map(GenerationEvent::Part)), want);
}

fn reasoning() -> [StreamPart; 3] {
    let id = || "r".to_owned();
    [
        StreamPart::ReasoningStart { id: id(), provider_metadata: None },
        StreamPart::ReasoningDelta { id: id(), delta: "hm".to_owned(), provider_metadata: Some(json!({ "p": 1 })) },
        StreamPart::ReasoningEnd { id: id(), provider_metadata: None },
    ]
}

fn sources() -> [StreamPart; 2] {
    [
        StreamPart::SourceUrl { id: "1".into(), url: "u".into(), title: Some("t".into()), provider_metadata: None },
        StreamPart::SourceDocument {
            id: "2".into(),
            media_type: "text/plain".into(),
            title: "d".into(),
            filename: None,
            provider_metadata: None,
        },
    ]
}

fn tool_result(outcome: Result<Value, String>) -> ToolResult {
    ToolResult {
        tool_call_id: "c".into(),
        tool_name: "t".into(),
        outcome,
        provider_executed: false,
        dynamic: false,
        preliminary: false,
        provider_metadata: None,
    }
}

#[test]
fn a_generation_is_start_steps_and_finish_a114() {
    let usage = Usage::new(3, 4);
    let step = |part| {
        [
            GenerationEvent::StartStep,
            GenerationEvent::Part(part),
            GenerationEvent::FinishStep { finish_reason: FinishReason::ToolCalls, usage },
        ]
    };
    let finish = GenerationEvent::Finish { finish_reason: FinishReason::ContentFilter, total_usage: usage };
    let events = [GenerationEvent::Start].into_iter().chain(step(StreamPart::text_start("1"))).chain([finish]);

    let want = json!([
        { "type": "start", "messageId": "m1" },
        { "type": "start-step" },
        { "type": "text-start", "id": "1" },
        { "type": "finish-step" },
        { "type": "finish", "finishReason": "content-filter" },
    ]);
    assert_eq!(map_all(UiStreamOptions::new(), events), want);
}

#[test]
fn an_abort_carries_its_cause_a114() {
    let abort = |reason: Option<&str>| GenerationEvent::Abort { reason: reason.map(str::to_owned) };
    let want = json!([{ "type": "abort", "reason": "stopped" }, { "type": "abort" }]);
    assert_eq!(map_all(UiStreamOptions::new(), [abort(Some("stopped")), abort(None)]), want);
}

#[test]
fn text_is_mapped_and_empty_deltas_are_dropped_a120() {
    check(
        UiStreamOptions::new(),
        [
            StreamPart::text_start("1"),
            StreamPart::text_delta("1", ""),
            StreamPart::text_delta("1", "hi"),
            StreamPart::TextDelta { id: "1".into(), delta: String::new(), provider_metadata: Some(json!({ "p": 1 })) },
            StreamPart::text_end("1"),
        ],
        json!([
            { "type": "text-start", "id": "1" },
            { "type": "text-delta", "id": "1", "delta": "hi" },
            { "type": "text-delta", "id": "1", "delta": "", "providerMetadata": { "p": 1 } },
            { "type": "text-end", "id": "1" },
        ]),
    );
}

#[test]
fn what_is_not_for_clients_never_reaches_them_a120_d25() {
    check(
        UiStreamOptions::new(),
        [
            StreamPart::StreamStart,
            StreamPart::ResponseMetadata { id: None, model_id: None, timestamp_ms: None },
            StreamPart::ToolInputEnd { id: "c".into() },
            StreamPart::Raw(json!({})),
            StreamPart::Ping,
            StreamPart::finish(FinishReason::Stop, Usage::default()),
        ],
        json!([]),
    );
}

#[test]
fn reasoning_is_sent_unless_chosen_otherwise_a121() {
    check(
        UiStreamOptions::new(),
        reasoning(),
        json!([
            { "type": "reasoning-start", "id": "r" },
            { "type": "reasoning-delta", "id": "r", "delta": "hm", "providerMetadata": { "p": 1 } },
            { "type": "reasoning-end", "id": "r" },
        ]),
    );
    check(UiStreamOptions::new().send_reasoning(false), reasoning(), json!([]));
}

#[test]
fn sources_are_sent_only_when_chosen_a121() {
    check(UiStreamOptions::new(), sources(), json!([]));
    check(
        UiStreamOptions::new().send_sources(true),
        sources(),
        json!([
            { "type": "source-url", "sourceId": "1", "url": "u", "title": "t" },
            { "type": "source-document", "sourceId": "2", "mediaType": "text/plain", "title": "d" },
        ]),
    );
}

#[test]
fn files_become_data_urls() {
    check(
        UiStreamOptions::new(),
        [StreamPart::File { media_type: "image/png".into(), base64: "AAEC".into(), provider_metadata: None }],
        json!([{ "type": "file", "mediaType": "image/png", "url": "data:image/png;base64,AAEC" }]),
    );
}

#[test]
fn tool_calls_and_results_are_mapped_with_the_flags_that_are_set() {
    let call =
        ToolCall { tool_call_id: "c".into(), tool_name: "t".into(), input: json!({ "a": 1 }), ..ToolCall::default() };
    check(
        UiStreamOptions::new(),
        [
            StreamPart::ToolInputStart {
                id: "c".into(),
                name: "t".into(),
                provider_executed: true,
                dynamic: true,
                title: Some("T".into()),
                provider_metadata: None,
            },
            StreamPart::ToolInputDelta { id: "c".into(), delta: "{".into() },
            StreamPart::ToolCall(call.clone()),
            StreamPart::ToolCall(ToolCall { invalid: Some("no such tool".into()), dynamic: true, ..call }),
            StreamPart::ToolApprovalRequest { approval_id: "p".into(), tool_call_id: "c".into() },
            StreamPart::ToolDenied { tool_call_id: "c".into() },
            StreamPart::ToolResult(ToolResult { preliminary: true, ..tool_result(Ok(Value::Null)) }),
            StreamPart::ToolResult(tool_result(Err("broken".into()))),
        ],
        json!([
            { "type": "tool-input-start", "toolCallId": "c", "toolName": "t", "providerExecuted": true, "dynamic": true, "title": "T" },
            { "type": "tool-input-delta", "toolCallId": "c", "inputTextDelta": "{" },
            { "type": "tool-input-available", "toolCallId": "c", "toolName": "t", "input": { "a": 1 } },
            { "type": "tool-input-error", "toolCallId": "c", "toolName": "t", "input": { "a": 1 }, "errorText": "no such tool", "dynamic": true },
            { "type": "tool-approval-request", "approvalId": "p", "toolCallId": "c" },
            { "type": "tool-output-denied", "toolCallId": "c" },
            { "type": "tool-output-available", "toolCallId": "c", "output": null, "preliminary": true },
            { "type": "tool-output-error", "toolCallId": "c", "errorText": "broken" },
        ]),
    );
}

#[test]
fn errors_show_their_own_text_unless_masked_and_provider_tools_bypass_the_mask_a122_d14() {
    let parts = || {
        [
            StreamPart::Error(ModelError::unavailable("overloaded")),
            StreamPart::ToolResult(tool_result(Err("secret".into()))),
            StreamPart::ToolResult(ToolResult { provider_executed: true, ..tool_result(Err("theirs".into())) }),
        ]
    };
    let want = |error: &str, tool: &str| {
        json!([
            { "type": "error", "errorText": error },
            { "type": "tool-output-error", "toolCallId": "c", "errorText": tool },
            { "type": "tool-output-error", "toolCallId": "c", "errorText": "theirs", "providerExecuted": true },
        ])
    };

    check(UiStreamOptions::new(), parts(), want("overloaded", "secret"));
    check(UiStreamOptions::new().on_error(|_| "masked".to_owned()), parts(), want("masked", "masked"));
}

#[test]
fn start_and_finish_can_be_left_out_with_their_metadata_a121() {
    let options = UiStreamOptions::new().send_start(false).send_finish(false).message_metadata(|_| Some(json!(1)));
    let finish = GenerationEvent::Finish { finish_reason: FinishReason::Stop, total_usage: Usage::default() };
    assert_eq!(map_all(options, [GenerationEvent::Start, finish]), json!([]));
}

#[test]
fn metadata_rides_on_start_and_finish_and_follows_other_events_a121() {
    let options = UiStreamOptions::new().message_metadata(|event| match event {
        GenerationEvent::Start => Some(json!({ "at": "start" })),
        GenerationEvent::FinishStep { usage, .. } => Some(json!({ "tokens": usage.total_tokens })),
        GenerationEvent::Finish { total_usage, .. } => Some(json!({ "total": total_usage.total_tokens })),
        _ => None,
    });
    let finish_reason = FinishReason::Stop;
    let events = [
        GenerationEvent::Start,
        GenerationEvent::StartStep,
        GenerationEvent::FinishStep { finish_reason, usage: Usage::new(1, 2) },
        GenerationEvent::Finish { finish_reason, total_usage: Usage::new(1, 2) },
    ];

    let want = json!([
        { "type": "start", "messageId": "m1", "messageMetadata": { "at": "start" } },
        { "type": "start-step" },
        { "type": "finish-step" },
        { "type": "message-metadata", "messageMetadata": { "tokens": 3 } },
        { "type": "finish", "finishReason": "stop", "messageMetadata": { "total": 3 } },
    ]);
    assert_eq!(map_all(options, events), want);
}

#[test]
fn the_turns_choices_win_one_by_one_a121() {
    let agent = UiStreamOptions::new().send_reasoning(false).send_sources(true);
    let turn = UiStreamOptions::new().send_reasoning(true);
    let parts: Vec<StreamPart> = reasoning().into_iter().chain(sources()).collect();

    let chunks = map_all(agent.overridden_by(turn), parts.into_iter().map(GenerationEvent::Part));

    assert_eq!(chunks.as_array().map(Vec::len), Some(5));
}

#[test]
fn a_response_continues_the_last_assistant_message_or_gets_a_fresh_id_a123() {
    use turnkeep_protocol::UiMessage;

    let assistant = UiMessage::assistant("a1", vec![]);
    let user = UiMessage::user("u1", "hi");
    let options = UiStreamOptions::new();
    let fresh = || "fresh".to_owned();

    assert_eq!(options.response_id(Some(&assistant), fresh), "a1");
    assert_eq!(options.response_id(Some(&user), fresh), "fresh");
    assert_eq!(options.response_id(None, fresh), "fresh");
    assert_eq!(options.generate_message_id(|| "own".to_owned()).response_id(None, fresh), "own");
}

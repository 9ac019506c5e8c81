//! The conversion, rule by rule: a history as JSON in, model messages as JSON out.

use proptest::prelude::*;
use serde_json::json;
use turnkeep_protocol::ToolResultOutput;

use super::*;

fn convert(messages: Value, tools: &ModelOutputs) -> Result<Value, ConvertError> {
    let messages: Vec<UiMessage> = serde_json::from_value(messages).expect("a history");
    to_model_messages(&messages, tools).map(|converted| serde_json::to_value(converted).expect("json"))
}

#[track_caller]
fn check(messages: Value, want: Value) {
    assert_eq!(convert(messages, &ModelOutputs::new()), Ok(want));
}

#[track_caller]
fn check_assistant(parts: Value, want: Value) {
    check(json!([{ "id": "a1", "role": "assistant", "parts": parts }]), want);
}

#[test]
fn system_is_joined_text_and_user_is_text_and_files_a132() {
    check(
        json!([
            { "id": "s", "role": "system", "parts": [
                { "type": "text", "text": "Be ", "providerMetadata": { "p": 1 } }, { "type": "text", "text": "brief." },
            ] },
            { "id": "u", "role": "user", "parts": [
                { "type": "text", "text": "hi" },
                { "type": "data-a", "data": 1 },
                { "type": "file", "mediaType": "image/png", "url": "data:,", "filename": "a.png", "providerMetadata": { "p": 1 } },
                { "type": "unknown" },
            ] },
            { "id": "e", "role": "user", "parts": [{ "type": "data-a", "data": 1 }] },
        ]),
        json!([
            { "role": "system", "content": "Be brief.", "providerOptions": { "p": 1 } },
            { "role": "user", "content": [
                { "type": "text", "text": "hi" },
                { "type": "file", "data": "data:,", "mediaType": "image/png", "filename": "a.png", "providerOptions": { "p": 1 } },
            ] },
        ]),
    );
}

#[test]
fn an_assistant_message_is_split_at_its_steps_a132() {
    check_assistant(
        json!([
            { "type": "step-start" },
            { "type": "reasoning", "text": "hm", "providerMetadata": { "p": 1 } },
            { "type": "text", "text": "Let me look.", "state": "done" },
            { "type": "tool-t", "toolCallId": "c", "state": "output-available", "input": { "a": 1 }, "output": { "b": 2 }, "callProviderMetadata": { "q": 1 } },
            { "type": "tool-t", "toolCallId": "d", "state": "output-error", "rawInput": "x", "errorText": "broken" },
            { "type": "source-url", "sourceId": "1", "url": "u" },
            { "type": "step-start" },
            { "type": "text", "text": "" },
            { "type": "step-start" },
            { "type": "text", "text": "Done." },
            { "type": "data-a", "data": 1 },
        ]),
        json!([
            { "role": "assistant", "content": [
                { "type": "reasoning", "text": "hm", "providerOptions": { "p": 1 } },
                { "type": "text", "text": "Let me look." },
                { "type": "tool-call", "toolCallId": "c", "toolName": "t", "input": { "a": 1 }, "providerOptions": { "q": 1 } },
                { "type": "tool-call", "toolCallId": "d", "toolName": "t", "input": "x" },
            ] },
            { "role": "tool", "content": [
                { "type": "tool-result", "toolCallId": "c", "toolName": "t", "output": { "type": "json", "value": { "b": 2 } }, "providerOptions": { "q": 1 } },
                { "type": "tool-result", "toolCallId": "d", "toolName": "t", "output": { "type": "error-text", "value": "broken" } },
            ] },
            { "role": "assistant", "content": [{ "type": "text", "text": "Done." }] },
        ]),
    );
}

#[test]
fn calls_without_an_outcome_are_left_out_a131_a206() {
    for state in ["partial-call", "input-streaming", "input-available", "approval-requested"] {
        check_assistant(
            json!([{ "type": "tool-t", "toolCallId": "c", "state": state, "input": {}, "approval": { "id": "p" } }]),
            json!([]),
        );
    }
    check_assistant(
        json!([{ "type": "tool-t", "toolCallId": "c", "state": "output-available", "input": {}, "output": 1, "preliminary": true }]),
        json!([]),
    );
}

#[test]
fn approvals_come_as_request_and_response_a132() {
    let call = |state: &str| {
        json!({ "type": "dynamic-tool", "toolName": "t", "toolCallId": "c", "state": state, "input": {}, "output": "ok",
            "approval": { "id": "p", "approved": true, "reason": "fine" } })
    };
    let said = json!({ "role": "assistant", "content": [
        { "type": "tool-call", "toolCallId": "c", "toolName": "t", "input": {} },
        { "type": "tool-approval-request", "approvalId": "p", "toolCallId": "c" },
    ] });
    let response = json!({ "type": "tool-approval-response", "approvalId": "p", "approved": true, "reason": "fine" });
    let result = json!({ "type": "tool-result", "toolCallId": "c", "toolName": "t", "output": { "type": "text", "value": "ok" } });

    check_assistant(json!([call("approval-responded")]), json!([said, { "role": "tool", "content": [response] }]));
    check_assistant(
        json!([call("output-available")]),
        json!([said, { "role": "tool", "content": [response, result] }]),
    );
}

#[test]
fn an_approved_call_that_never_ran_goes_when_a_user_message_follows_a141() {
    let assistant = json!({ "id": "a", "role": "assistant", "parts": [
        { "type": "tool-t", "toolCallId": "c", "state": "approval-responded", "input": {}, "approval": { "id": "p", "approved": true } },
    ] });
    let user = json!({ "id": "u", "role": "user", "parts": [{ "type": "text", "text": "hi" }] });
    check(json!([assistant, user]), json!([{ "role": "user", "content": [{ "type": "text", "text": "hi" }] }]));
}

#[test]
fn a_denial_is_an_error_with_its_reason_or_the_default_a133() {
    let denied = |approval: Value| json!([{ "type": "tool-t", "toolCallId": "c", "state": "output-denied", "input": {}, "approval": approval }]);
    let text = |parts: Value| {
        let messages = convert(json!([{ "id": "a", "role": "assistant", "parts": parts }]), &ModelOutputs::new())
            .expect("converts");
        messages[1]["content"].as_array().expect("content").last().expect("a result")["output"].clone()
    };

    let reason = denied(json!({ "id": "p", "approved": false, "reason": "too dear" }));
    assert_eq!(text(reason), json!({ "type": "error-text", "value": "too dear" }));
    let silent = denied(json!({ "id": "p", "approved": false }));
    assert_eq!(text(silent), json!({ "type": "error-text", "value": "Tool call execution denied." }));
}

#[test]
fn results_of_the_provider_stay_with_the_call_a132() {
    check_assistant(
        json!([{ "type": "tool-search", "toolCallId": "c", "state": "output-available", "providerExecuted": true, "input": {}, "output": [1],
            "callProviderMetadata": { "p": 1 }, "resultProviderMetadata": { "p": 2 } }]),
        json!([{ "role": "assistant", "content": [
            { "type": "tool-call", "toolCallId": "c", "toolName": "search", "input": {}, "providerExecuted": true, "providerOptions": { "p": 1 } },
            { "type": "tool-result", "toolCallId": "c", "toolName": "search", "output": { "type": "json", "value": [1] }, "providerOptions": { "p": 2 } },
        ] }]),
    );
}

/// An old turn whose tool gave `output`, and the question after it.
fn old_turn(output: Value) -> Value {
    json!([
        { "id": "a", "role": "assistant", "parts": [
            { "type": "tool-t", "toolCallId": "c", "state": "output-available", "input": { "q": 1 }, "output": output },
            { "type": "text", "text": "Done." },
        ] },
        { "id": "u", "role": "user", "parts": [{ "type": "text", "text": "And now?" }] },
    ])
}

#[test]
fn a_tools_own_mapping_is_applied_to_old_turns_a131_aa50() {
    let tools = ModelOutputs::new().with("t", |call| {
        let q = call.input.map_or(Value::Null, |input| input["q"].clone());
        Ok(ToolResultOutput::Text(format!("{} of {q}: small", call.tool_call_id)))
    });
    let broken = ModelOutputs::new().with("t", |_| Err("odd".to_owned()));

    let messages = convert(old_turn(json!({ "big": true })), &tools).expect("converts");
    assert_eq!(messages[1]["content"][0]["output"], json!({ "type": "text", "value": "c of 1: small" }));
    let error = convert(old_turn(json!({ "big": true })), &broken).expect_err("the mapping refuses");
    assert_eq!(error.to_string(), "tool `t` cannot map the output of call `c`: odd");
    assert!(!error.is_retryable());
}

#[test]
fn without_a_mapping_text_stays_text_and_the_rest_json_aa52_a133() {
    let others = ModelOutputs::new().with("another", |_| Err("never asked".to_owned()));
    for (output, kind) in [
        (json!("as it is"), "text"),
        (json!(""), "text"),
        (json!({ "big": [true, null] }), "json"),
        (json!(7), "json"),
        (json!(null), "json"),
    ] {
        let messages = convert(old_turn(output.clone()), &others).expect("converts");
        assert_eq!(messages[1]["content"][0]["output"], json!({ "type": kind, "value": output }));
    }
}

#[test]
fn item_ids_of_the_provider_are_never_sent_back_a102_af14() {
    let parts = |metadata: Value| json!([{ "type": "text", "text": "x", "providerMetadata": metadata }]);
    let want = |options: Value| json!([{ "role": "assistant", "content": [{ "type": "text", "text": "x", "providerOptions": options }] }]);

    check_assistant(parts(json!({ "openai": { "itemId": "i" }, "p": 1 })), want(json!({ "p": 1 })));
    check_assistant(parts(json!({ "openai": { "itemId": "i", "q": 1 } })), want(json!({ "openai": { "q": 1 } })));
    check_assistant(
        parts(json!({ "openai": { "itemId": "i" } })),
        json!([{ "role": "assistant", "content": [{ "type": "text", "text": "x" }] }]),
    );
}

proptest! {
    #[test]
    fn every_kept_call_is_answered_before_the_next_user_message_a141(
        turns in prop::collection::vec((prop::sample::select(turnkeep_protocol::ToolState::ALL.to_vec()), any::<bool>()), 0..6),
    ) {
        let mut messages = Vec::new();
        for (index, (state, is_user)) in turns.into_iter().enumerate() {
            let id = index.to_string();
            messages.push(json!({ "id": format!("a{id}"), "role": "assistant", "parts": [
                { "type": "tool-t", "toolCallId": id, "state": state, "input": {}, "approval": { "id": "p", "approved": true } },
            ] }));
            if is_user {
                messages.push(json!({ "id": format!("u{id}"), "role": "user", "parts": [{ "type": "text", "text": "hi" }] }));
            }
        }

        let converted = convert(json!(messages), &ModelOutputs::new()).expect("converts");

        let mut open = 0;
        for message in converted.as_array().expect("messages") {
            prop_assert!(message["role"] != "user" || open == 0);
            for part in message["content"].as_array().expect("content") {
                match part["type"].as_str() {
                    Some("tool-call") => open += 1,
                    Some("tool-result") => open -= 1,
                    _ => {}
                }
            }
        }
    }
}

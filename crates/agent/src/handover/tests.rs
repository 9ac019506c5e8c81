//! First steps taken apart, as the wire has them and as it may.

use serde_json::json;

use super::*;

fn handed_over(messages: Value, is_final: bool) -> HandedOver {
    let wire =
        json!({ "kind": "handover", "partialAssistantMessage": messages, "messageId": "a-1", "isFinal": is_final });
    let (signal, n_unreadable) = HandoverSignal::read(ChatInputChunk::decode(wire).unwrap()).unwrap();
    assert_eq!(n_unreadable, 0);
    let HandoverSignal::Handover(handover) = signal else { panic!("{signal:?}") };
    HandedOver::new(handover, || "fresh".to_owned())
}

fn call(id: &str) -> Value {
    json!({ "type": "tool-call", "toolCallId": id, "toolName": "forecast", "input": { "city": "Oslo" } })
}

/// What the wire puts beside a call without a result (C-190).
fn asked(n: usize, id: &str) -> Value {
    json!({ "type": "tool-approval-request", "approvalId": format!("handover-approval-{n}"), "toolCallId": id })
}

fn granted(n: usize) -> Value {
    json!({ "type": "tool-approval-response", "approvalId": format!("handover-approval-{n}"), "approved": true })
}

#[test]
fn a_call_without_a_result_is_open_and_nobodys_approval_counts_a223_a135_d40_ar45() {
    let said = json!({ "role": "assistant", "content": [{ "type": "text", "text": "Let me look." }, call("c1"), asked(1, "c1")] });
    let with = handed_over(json!([said, { "role": "tool", "content": [granted(1)] }]), false);
    let bare = json!({ "role": "assistant", "content": [{ "type": "text", "text": "Let me look." }, call("c1")] });

    assert_eq!(with, handed_over(json!([bare]), false), "one without approvals is taken alike");
    assert_eq!((with.pending.as_slice(), with.is_final), (&["c1".to_owned()][..], false));
    let part = with.message.tool_part("c1").unwrap();
    assert_eq!((part.state, part.approval.is_none()), (ToolState::InputAvailable, true));
    assert_eq!((with.message.id.as_str(), with.message.text().as_str()), ("a-1", "Let me look."));
}

#[test]
fn a_call_with_a_result_or_of_the_providers_own_is_not_open_a223() {
    let mut own = call("c2");
    own["providerExecuted"] = json!(true);
    let result = |id: &str, output: Value| json!({ "type": "tool-result", "toolCallId": id, "toolName": "forecast", "output": output });
    let results = [
        result("c1", json!({ "type": "json", "value": { "sky": "clear" } })),
        result("c3", json!({ "type": "error-text", "value": "no" })),
    ];
    let handed_over = handed_over(
        json!([{ "role": "assistant", "content": [call("c1"), own, call("c3"), call("c4")] }, { "role": "tool", "content": results }]),
        false,
    );

    assert_eq!(handed_over.pending, ["c4"]);
    let state = |id: &str| handed_over.message.tool_part(id).unwrap().state;
    assert_eq!(
        (state("c1"), state("c3"), state("c4")),
        (ToolState::OutputAvailable, ToolState::OutputError, ToolState::InputAvailable)
    );
}

#[test]
fn content_that_is_a_plain_string_is_a_text_part_a230() {
    let handed_over = handed_over(json!([{ "role": "assistant", "content": "Clear." }]), true);

    assert_eq!((handed_over.message.text().as_str(), handed_over.is_final), ("Clear.", true));
    assert!(handed_over.pending.is_empty());
}

#[test]
fn nothing_said_leaves_no_part_and_no_id_a_fresh_one_a229() {
    let handover = Handover { is_final: true, ..Handover::default() };

    let handed_over = HandedOver::new(handover, || "fresh".to_owned());

    assert_eq!((handed_over.message.id.as_str(), handed_over.message.parts.len()), ("fresh", 0));
}

#[test]
fn what_cannot_be_read_is_counted_and_other_records_are_no_signal_a223_c199() {
    let wire = json!({ "kind": "handover", "partialAssistantMessage": [7, { "role": "assistant", "content": "Hm" }],
        "messageId": "", "isFinal": true });
    let (signal, n_unreadable) = HandoverSignal::read(ChatInputChunk::decode(wire).unwrap()).unwrap();
    let HandoverSignal::Handover(handover) = signal else { panic!("{signal:?}") };

    assert_eq!((n_unreadable, handover.partial_assistant_message.len(), handover.message_id), (1, 1, None));
    assert_eq!(HandoverSignal::read(ChatInputChunk::HandoverSkip), Some((HandoverSignal::Skip, 0)));
    assert_eq!(HandoverSignal::read(ChatInputChunk::Stop { message: None }), None);
}

#[test]
fn a_history_that_has_the_message_lacks_only_its_open_calls_a230() {
    let step =
        json!({ "role": "assistant", "content": [{ "type": "text", "text": "Let me look." }, call("c1"), call("c2")] });
    let handed_over = handed_over(json!([step]), false);
    let with_one = UiMessage::assistant("a-1", vec![UiPart::Tool(ToolPart::call("c1", "forecast", json!({})))]);

    let missing = handed_over.missing_from(&with_one);

    let ids: Vec<_> = missing.iter().filter_map(UiPart::as_tool).map(|part| part.tool_call_id.as_str()).collect();
    assert_eq!(ids, ["c2"]);
    assert!(handed_over.missing_from(&handed_over.message).is_empty(), "nothing is doubled");
}

use serde_json::{Value, json};

use super::*;

/// A stored message with one call per `(call, approval, approved)`.
fn response(calls: &[(&str, &str, bool)]) -> UiMessage {
    let call = |(call, approval, approved): &(&str, &str, bool)| {
        json!({ "type": "tool-pay", "toolCallId": call, "state": "approval-responded", "input": { "of": call },
            "approval": { "id": approval, "approved": approved } })
    };
    let parts: Vec<Value> = calls.iter().map(call).collect();
    serde_json::from_value(json!({ "id": "a1", "role": "assistant", "parts": parts })).unwrap()
}

/// What a model would read of it.
fn history(response: &UiMessage) -> Vec<ModelMessage> {
    to_model_messages(&[UiMessage::user("u", "pay"), response.clone()], &turnkeep_model::ModelOutputs::new()).unwrap()
}

/// Names the calls that are decided, `!` before a denied one.
fn told(messages: &[ModelMessage], response: &UiMessage) -> Result<String, String> {
    let name = |decision: Decision| {
        assert_eq!(decision.call.input, json!({ "of": decision.call.tool_call_id }));
        format!("{}{}", if decision.is_approved { "" } else { "!" }, decision.call.tool_call_id)
    };
    let decisions = decisions(messages, response).map_err(|unknown| unknown.approval_id)?;
    Ok(decisions.into_iter().map(name).collect::<Vec<_>>().join(" "))
}

fn answer(id: &str, approved: bool) -> ContentPart {
    let approval_id = id.to_owned();
    ContentPart::ApprovalResponse(ApprovalResponseContent { approval_id, approved, ..Default::default() })
}

#[test]
fn the_last_message_decides_in_its_order_a134() {
    let stored = response(&[("c1", "p1", true), ("c2", "p2", false), ("c3", "p3", true)]);

    assert_eq!(told(&history(&stored), &stored), Ok("c1 !c2 c3".to_owned()));
}

#[test]
fn only_a_closing_tool_message_decides_a134() {
    let stored = response(&[("c1", "p1", true)]);
    let mut messages = history(&stored);
    messages.push(ModelMessage::user("note"));

    assert_eq!(told(&messages, &stored), Ok(String::new()));
    assert_eq!(told(&[], &stored), Ok(String::new()));
}

#[test]
fn a_call_with_a_result_is_through_and_the_first_decision_counts_a134() {
    let stored = response(&[("c1", "p1", true), ("c2", "p2", true)]);
    let mut messages = history(&stored);
    let tail = messages.last_mut().unwrap();
    tail.content.push(ContentPart::tool_result("c2", "pay", turnkeep_protocol::ToolResultOutput::Json(json!(1))));
    tail.content.push(answer("p1", false));

    assert_eq!(told(&messages, &stored), Ok("c1".to_owned()));
}

#[test]
fn a_decision_without_a_stored_request_is_an_error_a134_a135() {
    let stored = response(&[("c1", "p1", true)]);
    let forged = |change: &dyn Fn(&mut Vec<ModelMessage>)| {
        let mut messages = history(&stored);
        change(&mut messages);
        told(&messages, &stored)
    };
    let unknown = |id: &str| Err(id.to_owned());

    // Nobody asked for it; the call is gone; the author's code says yes where the person said no; the message is another one.
    assert_eq!(forged(&|messages| messages[2].content.push(answer("px", true))), unknown("px"));
    assert_eq!(forged(&|messages| messages[1].content.retain(|part| part.kind() != "tool-call")), unknown("p1"));
    assert_eq!(forged(&|messages| messages[2].content = vec![answer("p1", false)].into()), unknown("p1"));
    assert_eq!(told(&history(&stored), &UiMessage::assistant("a2", vec![UiPart::text("x")])), unknown("p1"));
    // The stored call waits for another request.
    assert_eq!(told(&history(&stored), &response(&[("c1", "p2", true)])), unknown("p1"));
}

#[test]
fn what_the_provider_runs_is_for_the_provider_a134() {
    let stored = response(&[("c1", "p1", true)]);
    let mut messages = history(&stored);
    if let ContentPart::ApprovalResponse(answer) = &mut messages[2].content[0] {
        answer.provider_executed = Some(true);
    }

    assert_eq!(told(&messages, &stored), Ok(String::new()));
}

//! The overlay: a client's answers to tool calls laid over the stored message (A-201 … A-203).
//!
//! The stored message stays the truth for everything but the state of a call and what that state brings. What a client
//! may not say is refused and reported; the caller warns.

use crate::message::{ToolPart, ToolState, UiMessage, UiPart};

/// Reports what the overlay did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Overlay {
    /// Counts the calls that moved on; 0 means that the stored message is untouched.
    pub n_advanced: usize,
    /// Lists the answers that were not taken over.
    pub refused: Vec<RefusedAnswer>,
}

/// Names an answer that was not taken over, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the answer to call {tool_call_id} was not taken over: {reason}")]
pub struct RefusedAnswer {
    /// Names the call.
    pub tool_call_id: String,
    /// Holds the state that the client claimed.
    pub claimed: ToolState,
    /// Says why not.
    pub reason: RefusalReason,
}

/// Says why an answer was not taken over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RefusalReason {
    /// The agent itself runs this tool: only it knows the result.
    #[error("the tool runs on the agent, not on the client")]
    ServerTool,
    /// The call does not wait for a result.
    #[error("the call does not wait for a result")]
    NotWaitingForResult,
    /// The call does not wait for an approval, or the answer names another request.
    #[error("the call does not wait for this approval")]
    NotWaitingForApproval,
    /// The agent has made no such call.
    #[error("there is no such call")]
    UnknownCall,
}

/// Takes a client's answers over into the stored message.
///
/// `is_server_tool` tells for a tool's name whether the agent has the code to run it: a client answers only for the
/// others. Final states never change, equal states bring no change, and calls that the stored message does not
/// hold are ignored.
pub fn overlay_tool_states(
    stored: &mut UiMessage,
    incoming: &UiMessage,
    is_server_tool: impl Fn(&str) -> bool,
) -> Overlay {
    let mut overlay = Overlay::default();
    for answer in incoming.tool_parts().filter(|part| part.state.is_wire_advanceable()) {
        let mut calls = stored.parts.iter_mut().rev().filter_map(UiPart::as_tool_mut);
        let Some(call) = calls.find(|call| call.tool_call_id == answer.tool_call_id) else {
            continue;
        };
        if call.state.is_final() || call.state == answer.state {
            continue;
        }
        match judge(call, answer, &is_server_tool) {
            Ok(()) => {
                advance(call, answer);
                overlay.n_advanced += 1;
            }
            Err(reason) => overlay.refused.push(RefusedAnswer {
                tool_call_id: answer.tool_call_id.clone(),
                claimed: answer.state,
                reason,
            }),
        }
    }
    overlay
}

fn judge(call: &ToolPart, answer: &ToolPart, is_server_tool: impl Fn(&str) -> bool) -> Result<(), RefusalReason> {
    let is_result = matches!(answer.state, ToolState::OutputAvailable | ToolState::OutputError);
    if !is_result {
        let request =
            call.approval.as_ref().filter(|_| call.state == ToolState::ApprovalRequested).map(|request| &request.id);
        let answered = answer.approval.as_ref().map(|approval| &approval.id);
        let is_asked = request.is_some() && request == answered;
        return if is_asked { Ok(()) } else { Err(RefusalReason::NotWaitingForApproval) };
    }
    if call.provider_executed == Some(true) || is_server_tool(&call.tool_name) {
        return Err(RefusalReason::ServerTool);
    }
    if call.state != ToolState::InputAvailable {
        return Err(RefusalReason::NotWaitingForResult);
    }
    Ok(())
}

/// Takes the state and what it brings; of an approval only the answer, never its id or signature.
fn advance(call: &mut ToolPart, answer: &ToolPart) {
    call.state = answer.state;
    match answer.state {
        ToolState::OutputAvailable => call.output.clone_from(&answer.output),
        ToolState::OutputError => call.error_text.clone_from(&answer.error_text),
        _ => {}
    }
    if let (Some(stored), Some(given)) = (&mut call.approval, &answer.approval) {
        // A denial says no even when the client left the answer out.
        stored.approved = given.approved.or_else(|| (answer.state == ToolState::OutputDenied).then_some(false));
        stored.reason.clone_from(&given.reason);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn assistant(parts: Value) -> UiMessage {
        serde_json::from_value(json!({ "id": "a1", "role": "assistant", "parts": parts })).expect("a message")
    }

    /// Lays one answer over one stored call and gives the stored call and the refusals; `srv` is the agent's own tool.
    fn overlay_one(call: Value, answer: Value) -> (UiMessage, UiMessage, Overlay) {
        let before = assistant(json!([{ "type": "text", "text": "hi" }, call]));
        let mut after = before.clone();
        let overlay = overlay_tool_states(&mut after, &assistant(json!([answer])), |tool| tool == "srv");
        (before, after, overlay)
    }

    #[track_caller]
    fn check_taken(call: Value, answer: Value, want: Value) {
        let (_, after, overlay) = overlay_one(call, answer);
        assert_eq!(after, assistant(json!([{ "type": "text", "text": "hi" }, want])));
        assert_eq!((overlay.n_advanced, overlay.refused), (1, vec![]));
    }

    #[track_caller]
    fn check_refused(call: Value, answer: Value, reason: Option<RefusalReason>) {
        let (before, after, overlay) = overlay_one(call, answer);
        assert_eq!(after, before);
        assert_eq!(overlay.n_advanced, 0);
        assert_eq!(overlay.refused.first().map(|refused| refused.reason), reason);
    }

    #[test]
    fn a_slim_answer_keeps_the_stored_input_a201_ar28_aa18() {
        check_taken(
            json!({ "type": "tool-ask", "toolCallId": "c", "state": "input-available", "input": { "q": 1 }, "callProviderMetadata": { "p": 1 } }),
            json!({ "type": "tool-ask", "toolCallId": "c", "state": "output-available", "output": { "a": 2 } }),
            json!({ "type": "tool-ask", "toolCallId": "c", "state": "output-available", "input": { "q": 1 }, "output": { "a": 2 }, "callProviderMetadata": { "p": 1 } }),
        );
        check_taken(
            json!({ "type": "tool-ask", "toolCallId": "c", "state": "input-available", "input": 1 }),
            json!({ "type": "tool-ask", "toolCallId": "c", "state": "output-error", "input": "forged", "errorText": "no" }),
            json!({ "type": "tool-ask", "toolCallId": "c", "state": "output-error", "input": 1, "errorText": "no" }),
        );
    }

    #[test]
    fn an_approval_takes_only_the_answer_a203_aa19() {
        let call = json!({ "type": "tool-srv", "toolCallId": "c", "state": "approval-requested", "input": 1, "approval": { "id": "p", "signature": "s" } });
        check_taken(
            call.clone(),
            json!({ "type": "tool-srv", "toolCallId": "c", "state": "approval-responded", "approval": { "id": "p", "signature": "forged", "approved": true, "reason": "fine" } }),
            json!({ "type": "tool-srv", "toolCallId": "c", "state": "approval-responded", "input": 1, "approval": { "id": "p", "signature": "s", "approved": true, "reason": "fine" } }),
        );
        check_taken(
            call,
            json!({ "type": "tool-srv", "toolCallId": "c", "state": "output-denied", "approval": { "id": "p" } }),
            json!({ "type": "tool-srv", "toolCallId": "c", "state": "output-denied", "input": 1, "approval": { "id": "p", "signature": "s", "approved": false } }),
        );
    }

    #[test]
    fn final_states_never_change_a202_ar29_aa20() {
        for state in ["output-available", "output-error", "output-denied"] {
            for claim in ["approval-responded", "output-available", "output-error", "output-denied"] {
                check_refused(
                    json!({ "type": "tool-ask", "toolCallId": "c", "state": state, "input": 1, "output": 1, "approval": { "id": "p" } }),
                    json!({ "type": "tool-ask", "toolCallId": "c", "state": claim, "output": 2, "errorText": "x", "approval": { "id": "p", "approved": true } }),
                    None,
                );
            }
        }
    }

    #[test]
    fn pending_claims_and_unknown_calls_change_nothing_a201() {
        let call = json!({ "type": "tool-ask", "toolCallId": "c", "state": "input-available", "input": 1 });
        check_refused(
            call.clone(),
            json!({ "type": "tool-ask", "toolCallId": "c", "state": "input-streaming", "input": 2 }),
            None,
        );
        check_refused(
            call,
            json!({ "type": "tool-ask", "toolCallId": "other", "state": "output-available", "output": 2 }),
            None,
        );
    }

    #[test]
    fn a_client_cannot_forge_results_or_approvals_a203() {
        let output = |tool: &str| json!({ "type": format!("tool-{tool}"), "toolCallId": "c", "state": "output-available", "output": 2 });
        let approved = json!({ "type": "tool-srv", "toolCallId": "c", "state": "approval-responded", "approval": { "id": "p", "approved": true } });
        let call = |tool: &str, state: &str| json!({ "type": format!("tool-{tool}"), "toolCallId": "c", "state": state, "input": 1, "approval": { "id": "q" } });

        check_refused(call("srv", "input-available"), output("srv"), Some(RefusalReason::ServerTool));
        check_refused(call("srv", "input-available"), output("ask"), Some(RefusalReason::ServerTool));
        check_refused(call("ask", "approval-requested"), output("ask"), Some(RefusalReason::NotWaitingForResult));
        check_refused(call("ask", "input-streaming"), output("ask"), Some(RefusalReason::NotWaitingForResult));
        check_refused(call("srv", "approval-requested"), approved.clone(), Some(RefusalReason::NotWaitingForApproval));
        check_refused(call("srv", "input-available"), approved, Some(RefusalReason::NotWaitingForApproval));
    }
}

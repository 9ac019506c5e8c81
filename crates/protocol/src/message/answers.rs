//! What a person's side adds to the calls of a message before it sends the message again.

use serde_json::Value;

use super::{ToolPart, ToolState, UiMessage, UiPart};

impl UiMessage {
    /// Answers the request for approval with this id; tells whether one waits.
    pub fn add_tool_approval_response(&mut self, approval_id: &str, approved: bool, reason: Option<&str>) -> bool {
        let waits = |call: &ToolPart| {
            call.state == ToolState::ApprovalRequested
                && call.approval.as_ref().is_some_and(|request| request.id == approval_id)
        };
        let Some(call) = self.newest_call(waits) else { return false };
        call.state = ToolState::ApprovalResponded;
        if let Some(approval) = &mut call.approval {
            approval.approved = Some(approved);
            approval.reason = reason.map(str::to_owned);
        }
        true
    }

    /// Gives a call that the client runs its result; tells whether the call waits for one.
    pub fn add_tool_output(&mut self, tool_call_id: &str, output: Value) -> bool {
        let Some(call) = self.newest_call(|call| call.tool_call_id == tool_call_id && call.waits_for_output()) else {
            return false;
        };
        call.state = ToolState::OutputAvailable;
        call.output = Some(output);
        true
    }

    /// Lists the requests for approval that nobody has answered, by their ids.
    pub fn pending_approvals(&self) -> Vec<String> {
        let waiting = self.tool_parts().filter(|call| call.state == ToolState::ApprovalRequested);
        waiting.filter_map(|call| call.approval.as_ref()).map(|request| request.id.clone()).collect()
    }

    /// Lists the calls that wait for a result of the client's, by their ids.
    pub fn pending_outputs(&self) -> Vec<String> {
        self.tool_parts().filter(|call| call.waits_for_output()).map(|call| call.tool_call_id.clone()).collect()
    }

    fn newest_call(&mut self, is_it: impl Fn(&ToolPart) -> bool) -> Option<&mut ToolPart> {
        self.parts.iter_mut().rev().filter_map(UiPart::as_tool_mut).find(|call| is_it(call))
    }
}

impl ToolPart {
    /// Tells whether the call waits for a result that its provider does not give.
    fn waits_for_output(&self) -> bool {
        self.state == ToolState::InputAvailable && self.provider_executed != Some(true)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn message(call: &Value) -> UiMessage {
        serde_json::from_value(json!({ "id": "a1", "role": "assistant", "parts": [call] })).unwrap()
    }

    #[test]
    fn a_request_is_answered_once_and_by_its_own_id_a201() {
        let request = json!({ "type": "tool-pay", "toolCallId": "c", "state": "approval-requested", "input": 1, "approval": { "id": "p" } });
        let mut asked = message(&request);

        assert_eq!(asked.pending_approvals(), ["p"]);
        assert!(!asked.add_tool_approval_response("q", true, None));
        assert_eq!(asked, message(&request));
        assert!(asked.add_tool_approval_response("p", false, Some("too much")));
        let answered = json!({ "type": "tool-pay", "toolCallId": "c", "state": "approval-responded", "input": 1, "approval": { "id": "p", "approved": false, "reason": "too much" } });
        assert_eq!(asked, message(&answered));
        assert!(!asked.add_tool_approval_response("p", true, None));
        assert_eq!(asked.pending_approvals(), [""; 0]);
    }

    #[test]
    fn a_result_goes_to_a_call_that_waits_for_one_a201() {
        let call = |state: &str| json!({ "type": "tool-ask", "toolCallId": "c", "state": state, "input": 1 });
        let mut open = message(&call("input-available"));

        assert_eq!(open.pending_outputs(), ["c"]);
        assert!(!open.add_tool_output("d", json!(4)));
        assert!(open.add_tool_output("c", json!(4)));
        let mut done = call("output-available");
        done["output"] = json!(4);
        assert_eq!(open, message(&done));
        assert!(!open.add_tool_output("c", json!(5)));
        assert!(!message(&call("input-streaming")).add_tool_output("c", json!(4)));
        let mut provider = call("input-available");
        provider["providerExecuted"] = json!(true);
        assert!(!message(&provider).add_tool_output("c", json!(4)));
    }
}

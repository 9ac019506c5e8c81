//! What is said to the run when the first step is over: take it over, or let it be (C §5.2, step 7; C-190, A-222, A-223).

use std::collections::BTreeSet;

use serde_json::json;
use turnkeep_model::FinishReason;
use turnkeep_protocol::model_message::{ApprovalRequestContent, ApprovalResponseContent};
use turnkeep_protocol::{ChatInputChunk, ContentPart, ModelMessage, ModelRole};

/// What came of a first step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepResult {
    /// Why the model stopped.
    pub finish_reason: FinishReason,
    /// What it said and asked for, as it would be read back to it.
    pub messages: Vec<ModelMessage>,
}

/// The first step as it is given to the run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Handover {
    /// What the model said and asked for.
    pub partial_assistant_message: Vec<ModelMessage>,
    /// Whether the answer is whole: then the run asks no model.
    pub is_final: bool,
    /// The answer's id; the handler's own when none is given (C-187).
    pub message_id: Option<String>,
}

impl StepResult {
    /// Says how the step is handed over: only one that waits for tools is not the whole answer.
    pub fn into_handover(self) -> Handover {
        let is_final = self.finish_reason != FinishReason::ToolCalls;
        Handover { partial_assistant_message: self.messages, is_final, message_id: None }
    }
}

impl Handover {
    /// Builds the record; a partial that is not final gets the consent that its pending calls need (C-190).
    pub(crate) fn into_input(self, message_id: &str) -> ChatInputChunk {
        let mut messages = self.partial_assistant_message;
        if !self.is_final {
            approve_pending(&mut messages);
        }
        ChatInputChunk::Handover {
            partial_assistant_message: messages.iter().map(|message| json!(message)).collect(),
            message_id: Some(self.message_id.unwrap_or_else(|| message_id.to_owned())),
            is_final: self.is_final,
        }
    }
}

/// Puts an approval request behind each call that has no result, and one message at the end that grants them all.
///
/// An AI SDK reads calls without results only so: granted ones it runs, others a provider refuses.
fn approve_pending(messages: &mut Vec<ModelMessage>) {
    let results = messages.iter().flat_map(|message| &message.content).filter_map(|part| match part {
        ContentPart::ToolResult(result) => Some(result.tool_call_id.clone()),
        _ => None,
    });
    let answered: BTreeSet<String> = results.collect();
    let mut granted = Vec::new();
    for message in messages.iter_mut().filter(|message| message.role == ModelRole::Assistant) {
        let calls = message.content.iter().filter_map(|part| match part {
            ContentPart::ToolCall(call) if call.provider_executed != Some(true) => Some(call.tool_call_id.clone()),
            _ => None,
        });
        let pending: Vec<String> = calls.filter(|id| !answered.contains(id)).collect();
        for tool_call_id in pending {
            let approval_id = format!("handover-approval-{}", granted.len() + 1);
            message.content.push(ContentPart::ApprovalRequest(ApprovalRequestContent {
                approval_id: approval_id.clone(),
                tool_call_id,
                ..ApprovalRequestContent::default()
            }));
            granted.push(ContentPart::ApprovalResponse(ApprovalResponseContent {
                approval_id,
                approved: true,
                ..ApprovalResponseContent::default()
            }));
        }
    }
    if !granted.is_empty() {
        messages.push(ModelMessage::tool(granted));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;
    use turnkeep_protocol::ToolResultOutput;

    use super::*;

    fn input(finish_reason: FinishReason, messages: Vec<ModelMessage>) -> Value {
        json!(StepResult { finish_reason, messages }.into_handover().into_input("m1"))
    }

    #[test]
    fn only_a_step_that_waits_for_tools_is_not_final_a222() {
        for reason in ["stop", "length", "content-filter", "error", "other", "tool-calls"] {
            let sent = input(FinishReason::from_word(reason), Vec::new());

            assert_eq!(sent["isFinal"], json!(reason != "tool-calls"), "{reason}");
            assert_eq!(sent["messageId"], json!("m1"), "c187");
        }
    }

    #[test]
    fn text_is_handed_over_as_it_is_ca82() {
        let said = ModelMessage::assistant(vec![ContentPart::text("Hello.")]);

        let want = json!({ "kind": "handover", "messageId": "m1", "isFinal": true, "partialAssistantMessage": [
            { "role": "assistant", "content": [{ "type": "text", "text": "Hello." }] },
        ] });
        assert_eq!(input(FinishReason::Stop, vec![said]), want);
    }

    #[test]
    fn each_pending_call_is_asked_for_and_granted_at_the_very_end_ca82_c190_a223() {
        let call = |id: &str| ContentPart::tool_call(id, "forecast", json!({}));
        let result = ContentPart::tool_result("t2", "forecast", ToolResultOutput::Json(json!(4)));
        let messages = vec![
            ModelMessage::assistant(vec![call("t1"), call("t2"), call("t3")]),
            ModelMessage::tool(vec![result.clone()]),
        ];

        let sent = input(FinishReason::ToolCalls, messages);

        let request = |n: u32, id: &str| {
            let approval_id = format!("handover-approval-{n}");
            json!({ "type": "tool-approval-request", "approvalId": approval_id, "toolCallId": id })
        };
        let grant = |n: u32| {
            let approval_id = format!("handover-approval-{n}");
            json!({ "type": "tool-approval-response", "approvalId": approval_id, "approved": true })
        };
        let want = json!([
            { "role": "assistant", "content": [call("t1"), call("t2"), call("t3"), request(1, "t1"), request(2, "t3")] },
            { "role": "tool", "content": [result] },
            { "role": "tool", "content": [grant(1), grant(2)] },
        ]);
        assert_eq!(sent["partialAssistantMessage"], want);
    }

    #[test]
    fn calls_with_results_and_a_providers_own_need_nobodys_consent_c190() {
        let mut search = ContentPart::tool_call("s1", "search", json!({}));
        if let ContentPart::ToolCall(call) = &mut search {
            call.provider_executed = Some(true);
        }
        let messages = vec![ModelMessage::assistant(vec![search])];

        let sent = input(FinishReason::ToolCalls, messages.clone());

        assert_eq!(sent["partialAssistantMessage"], json!(messages));
    }

    #[test]
    fn a_final_partial_is_left_alone_even_with_a_call_in_it_a222() {
        let messages = vec![ModelMessage::assistant(vec![ContentPart::tool_call("t1", "forecast", json!({}))])];

        assert_eq!(input(FinishReason::Length, messages.clone())["partialAssistantMessage"], json!(messages));
    }
}

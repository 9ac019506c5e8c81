//! Assistant messages: one block per step, each followed by the results of its calls.

use serde_json::Value;
use turnkeep_protocol::model_message::{
    ApprovalRequestContent, ApprovalResponseContent, ReasoningContent, ToolCallContent, ToolResultContent,
};
use turnkeep_protocol::{ContentPart, ModelMessage, ToolPart, ToolResultOutput, ToolState, UiMessage, UiPart};

use super::{ConvertError, ModelOutputs, ToolOutputInput, Unrun, file, provider_options, text};

/// Speaks for a person who gave no reason.
const DENIED: &str = "Tool call execution denied.";

pub(super) fn convert(
    message: &UiMessage,
    tools: &ModelOutputs,
    unrun: Unrun,
    converted: &mut Vec<ModelMessage>,
) -> Result<(), ConvertError> {
    for block in message.parts.split(|part| matches!(part, UiPart::StepStart(_))) {
        convert_block(block, tools, unrun, converted)?;
    }
    Ok(())
}

fn convert_block(
    block: &[UiPart],
    tools: &ModelOutputs,
    unrun: Unrun,
    converted: &mut Vec<ModelMessage>,
) -> Result<(), ConvertError> {
    let mut said = Vec::new();
    let mut answered = Vec::new();
    for part in block {
        match part {
            // Providers refuse empty text; a stream that was cut may leave some.
            UiPart::Text(part) if part.text.is_empty() && part.provider_metadata.is_none() => {}
            UiPart::Text(part) => said.push(text(part)),
            UiPart::File(part) => said.push(file(part)),
            UiPart::Reasoning(part) => said.push(ContentPart::Reasoning(ReasoningContent {
                text: part.text.clone(),
                provider_options: provider_options(part.provider_metadata.as_ref()),
                ..ReasoningContent::default()
            })),
            UiPart::Tool(part) if survives(part, unrun) => {
                said.extend(call(part));
                let result = result(part, tools)?;
                if part.provider_executed == Some(true) {
                    said.extend(result);
                    answered.extend(approval_response(part));
                } else {
                    answered.extend(approval_response(part));
                    answered.extend(result);
                }
            }
            _ => {}
        }
    }
    if !said.is_empty() {
        converted.push(ModelMessage::assistant(said));
    }
    if !answered.is_empty() {
        converted.push(ModelMessage::tool(answered));
    }
    Ok(())
}

/// Tells whether the model gets to see a call: only one that has an outcome, or is about to.
fn survives(part: &ToolPart, unrun: Unrun) -> bool {
    match part.state {
        ToolState::OutputAvailable => part.preliminary != Some(true),
        ToolState::OutputError | ToolState::OutputDenied => true,
        ToolState::ApprovalResponded => unrun == Unrun::Keep,
        _ => false,
    }
}

fn call(part: &ToolPart) -> impl Iterator<Item = ContentPart> {
    let call = ContentPart::ToolCall(ToolCallContent {
        tool_call_id: part.tool_call_id.clone(),
        tool_name: part.tool_name.clone(),
        input: part.input.clone().or_else(|| part.raw_input.clone()),
        provider_executed: part.provider_executed,
        provider_options: provider_options(part.call_provider_metadata.as_ref()),
        ..ToolCallContent::default()
    });
    let request = part.approval.as_ref().map(|approval| {
        ContentPart::ApprovalRequest(ApprovalRequestContent {
            approval_id: approval.id.clone(),
            tool_call_id: part.tool_call_id.clone(),
            ..ApprovalRequestContent::default()
        })
    });
    [Some(call), request].into_iter().flatten()
}

fn approval_response(part: &ToolPart) -> Option<ContentPart> {
    let approval = part.approval.as_ref()?;
    Some(ContentPart::ApprovalResponse(ApprovalResponseContent {
        approval_id: approval.id.clone(),
        approved: approval.approved?,
        reason: approval.reason.clone(),
        provider_executed: part.provider_executed,
        ..ApprovalResponseContent::default()
    }))
}

fn result(part: &ToolPart, tools: &ModelOutputs) -> Result<Option<ContentPart>, ConvertError> {
    let output = match part.state {
        ToolState::OutputAvailable => {
            let output = part.output.as_ref().unwrap_or(&Value::Null);
            let call = ToolOutputInput { tool_call_id: &part.tool_call_id, input: part.input.as_ref(), output };
            tools.map(&part.tool_name, call)?
        }
        ToolState::OutputError => ToolResultOutput::ErrorText(part.error_text.clone().unwrap_or_default()),
        ToolState::OutputDenied => {
            let reason = part.approval.as_ref().and_then(|approval| approval.reason.clone());
            ToolResultOutput::ErrorText(reason.unwrap_or_else(|| DENIED.to_owned()))
        }
        _ => return Ok(None),
    };
    let by_provider = part.provider_executed == Some(true);
    let metadata =
        part.result_provider_metadata.as_ref().filter(|_| by_provider).or(part.call_provider_metadata.as_ref());
    Ok(Some(ContentPart::ToolResult(ToolResultContent {
        tool_call_id: part.tool_call_id.clone(),
        tool_name: part.tool_name.clone(),
        output,
        provider_options: provider_options(metadata),
        ..ToolResultContent::default()
    })))
}

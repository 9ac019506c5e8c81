//! [`HandedOver`]: a head start's first step, taken apart (A-223, A-229, A-230, D-40).
//!
//! On the wire every call without a result comes with a granted approval, which older readers need to run it. Nobody has been asked for
//! that: what counts here is that the call has no result. It is told to the step loop apart, as a call to take up, and never as an
//! approval (A-135, AR-45).

use serde_json::Value;
use turnkeep_protocol::message::{FilePart, PartState, ReasoningPart, TextPart};
use turnkeep_protocol::model_message::{ToolCallContent, ToolResultContent};
use turnkeep_protocol::{
    ChatInputChunk, ContentPart, ModelMessage, ModelRole, ToolPart, ToolResultOutput, ToolState, UiMessage, UiPart,
};

/// What is told of a call that a person has refused and that gives no reason.
const DENIED: &str = "Tool call execution denied.";

/// What a head start's warm server says to the run that waits for it.
#[derive(Clone, Debug, PartialEq)]
pub enum HandoverSignal {
    /// Take over from here.
    Handover(Handover),
    /// There is nothing to take over.
    Skip,
}

/// A head start's first step, as it is handed over.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Handover {
    /// The step's messages.
    pub partial_assistant_message: Vec<ModelMessage>,
    /// The id of the message that readers have begun.
    pub message_id: Option<String>,
    /// Whether the answer is whole.
    pub is_final: bool,
}

impl HandoverSignal {
    /// Reads a record of `in`; gives what it says, and how many of its messages cannot be read. None for other records.
    pub(crate) fn read(input: ChatInputChunk) -> Option<(Self, usize)> {
        match input {
            ChatInputChunk::HandoverSkip => Some((Self::Skip, 0)),
            ChatInputChunk::Handover { partial_assistant_message, message_id, is_final } => {
                let n_told = partial_assistant_message.len();
                let read = |message| serde_json::from_value::<ModelMessage>(message).ok();
                let partial: Vec<_> = partial_assistant_message.into_iter().filter_map(read).collect();
                let n_unreadable = n_told - partial.len();
                let message_id = message_id.filter(|id| !id.is_empty());
                let handover = Handover { partial_assistant_message: partial, message_id, is_final };
                Some((Self::Handover(handover), n_unreadable))
            }
            _ => None,
        }
    }
}

/// A first step as the conversation has it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct HandedOver {
    /// What readers were shown, under its id; without parts when nothing was said.
    pub(crate) message: UiMessage,
    /// The calls that have no result, in order: those that are ours to answer.
    pub(crate) pending: Vec<String>,
    /// Whether the answer is whole.
    pub(crate) is_final: bool,
}

impl HandedOver {
    /// Takes a first step apart; `fresh_id` names its message where the handover does not.
    ///
    /// Requests for approval and what is said to them is left out, whoever asked: the calls themselves tell what is open.
    pub(crate) fn new(handover: Handover, fresh_id: impl FnOnce() -> String) -> Self {
        let Handover { partial_assistant_message, message_id, is_final } = handover;
        let mut parts = Vec::new();
        for message in &partial_assistant_message {
            match message.role {
                ModelRole::Assistant => {
                    // Readers were told of a step; what stays is what they have (C-187).
                    let said: Vec<UiPart> = message.content.iter().filter_map(said).collect();
                    if !said.is_empty() {
                        parts.push(UiPart::step_start());
                        parts.extend(said);
                    }
                    answer(&mut parts, message);
                }
                ModelRole::Tool => answer(&mut parts, message),
                _ => {}
            }
        }
        let message = UiMessage::assistant(message_id.unwrap_or_else(fresh_id), parts);
        let ours = |part: &&ToolPart| part.state == ToolState::InputAvailable && part.provider_executed != Some(true);
        let pending = message.tool_parts().filter(ours).map(|part| part.tool_call_id.clone()).collect();
        Self { message, pending, is_final }
    }

    /// Gives what a message of the same id lacks of the open calls, as an author's own history may.
    pub(crate) fn missing_from(&self, known: &UiMessage) -> Vec<UiPart> {
        let is_open = |part: &&UiPart| {
            part.as_tool().is_some_and(|call| {
                self.pending.contains(&call.tool_call_id) && known.tool_part(&call.tool_call_id).is_none()
            })
        };
        self.message.parts.iter().filter(is_open).cloned().collect()
    }
}

/// Gives what people see of a part of an assistant message.
fn said(part: &ContentPart) -> Option<UiPart> {
    Some(match part {
        ContentPart::Text(part) if part.text.is_empty() && part.provider_options.is_none() => return None,
        ContentPart::Text(part) => UiPart::Text(TextPart {
            text: part.text.clone(),
            state: Some(PartState::Done),
            provider_metadata: part.provider_options.clone(),
            ..TextPart::default()
        }),
        ContentPart::Reasoning(part) => UiPart::Reasoning(ReasoningPart {
            text: part.text.clone(),
            state: Some(PartState::Done),
            provider_metadata: part.provider_options.clone(),
            ..ReasoningPart::default()
        }),
        ContentPart::File(part) => UiPart::File(FilePart {
            media_type: part.media_type.clone(),
            filename: part.filename.clone(),
            url: part.data.clone(),
            provider_metadata: part.provider_options.clone(),
            ..FilePart::default()
        }),
        ContentPart::ToolCall(call) => UiPart::Tool(called(call)),
        _ => return None,
    })
}

fn called(call: &ToolCallContent) -> ToolPart {
    ToolPart {
        provider_executed: call.provider_executed,
        call_provider_metadata: call.provider_options.clone(),
        ..ToolPart::call(call.tool_call_id.clone(), call.tool_name.clone(), call.input.clone().unwrap_or_default())
    }
}

/// Gives calls the results that a message has for them.
fn answer(parts: &mut [UiPart], message: &ModelMessage) {
    for content in &message.content {
        let ContentPart::ToolResult(result) = content else { continue };
        let is_asked = |part: &&mut ToolPart| part.tool_call_id == result.tool_call_id;
        if let Some(call) = parts.iter_mut().rev().filter_map(UiPart::as_tool_mut).find(is_asked) {
            take_result(call, result);
        }
    }
}

fn take_result(call: &mut ToolPart, result: &ToolResultContent) {
    let failed = |text: String| (ToolState::OutputError, None, Some(text));
    let text = |value: Option<&Value>| value.and_then(Value::as_str).map(str::to_owned);
    (call.state, call.output, call.error_text) = match &result.output {
        ToolResultOutput::Text(output) => (ToolState::OutputAvailable, Some(output.clone().into()), None),
        ToolResultOutput::Json(output) => (ToolState::OutputAvailable, Some(output.clone()), None),
        ToolResultOutput::ErrorText(error) => failed(error.clone()),
        ToolResultOutput::ErrorJson(error) => failed(error.to_string()),
        ToolResultOutput::Other(other) if text(other.get("type")).as_deref() == Some("execution-denied") => {
            failed(text(other.get("reason")).unwrap_or_else(|| DENIED.to_owned()))
        }
        ToolResultOutput::Other(other) => {
            let output = other.get("value").cloned().unwrap_or_else(|| Value::Object(other.clone()));
            (ToolState::OutputAvailable, Some(output), None)
        }
    };
    call.result_provider_metadata = result.provider_options.clone();
}

#[cfg(test)]
mod tests;

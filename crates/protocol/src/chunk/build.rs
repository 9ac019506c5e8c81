//! Short constructors for chunks, so that a stream reads like a script.

use serde_json::Value;

use super::*;
use crate::data_kind::DataKind;

impl UiMessageChunk {
    /// Opens the message with this id.
    pub fn start(message_id: impl Into<String>) -> Self {
        Start { message_id: Some(message_id.into()), ..Start::default() }.into()
    }

    /// Closes the message with a finish reason such as `stop`.
    pub fn finish(reason: impl Into<String>) -> Self {
        Finish { finish_reason: Some(reason.into()), ..Finish::default() }.into()
    }

    /// Closes the message before its end.
    pub fn abort(reason: impl Into<String>) -> Self {
        Abort { reason: Some(reason.into()), ..Abort::default() }.into()
    }

    /// Reports a failure.
    pub fn error(text: impl Into<String>) -> Self {
        ErrorChunk { error_text: text.into(), ..ErrorChunk::default() }.into()
    }

    /// Opens a step.
    pub fn start_step() -> Self {
        StartStep::default().into()
    }

    /// Closes a step.
    pub fn finish_step() -> Self {
        FinishStep::default().into()
    }

    /// Drops what the current step has produced.
    pub fn reset_step() -> Self {
        ResetStep::default().into()
    }

    /// Opens a text part.
    pub fn text_start(id: impl Into<String>) -> Self {
        TextStart { id: id.into(), ..TextStart::default() }.into()
    }

    /// Adds to a text part.
    pub fn text_delta(id: impl Into<String>, delta: impl Into<String>) -> Self {
        TextDelta { id: id.into(), delta: delta.into(), ..TextDelta::default() }.into()
    }

    /// Closes a text part.
    pub fn text_end(id: impl Into<String>) -> Self {
        TextEnd { id: id.into(), ..TextEnd::default() }.into()
    }

    /// Opens a reasoning part.
    pub fn reasoning_start(id: impl Into<String>) -> Self {
        ReasoningStart { id: id.into(), ..ReasoningStart::default() }.into()
    }

    /// Adds to a reasoning part.
    pub fn reasoning_delta(id: impl Into<String>, delta: impl Into<String>) -> Self {
        ReasoningDelta { id: id.into(), delta: delta.into(), ..ReasoningDelta::default() }.into()
    }

    /// Closes a reasoning part.
    pub fn reasoning_end(id: impl Into<String>) -> Self {
        ReasoningEnd { id: id.into(), ..ReasoningEnd::default() }.into()
    }

    /// Opens a tool call whose input streams.
    pub fn tool_input_start(tool_call_id: impl Into<String>, tool_name: impl Into<String>) -> Self {
        ToolInputStart { tool_call_id: tool_call_id.into(), tool_name: tool_name.into(), ..ToolInputStart::default() }
            .into()
    }

    /// Adds to the input of a tool call.
    pub fn tool_input_delta(tool_call_id: impl Into<String>, input_text_delta: impl Into<String>) -> Self {
        ToolInputDelta {
            tool_call_id: tool_call_id.into(),
            input_text_delta: input_text_delta.into(),
            ..ToolInputDelta::default()
        }
        .into()
    }

    /// Gives the whole input of a tool call.
    pub fn tool_input_available(tool_call_id: impl Into<String>, tool_name: impl Into<String>, input: Value) -> Self {
        ToolInputAvailable {
            tool_call_id: tool_call_id.into(),
            tool_name: tool_name.into(),
            input: Some(input),
            ..ToolInputAvailable::default()
        }
        .into()
    }

    /// Asks whether a tool call may run.
    pub fn tool_approval_request(approval_id: impl Into<String>, tool_call_id: impl Into<String>) -> Self {
        ToolApprovalRequest {
            approval_id: approval_id.into(),
            tool_call_id: tool_call_id.into(),
            ..ToolApprovalRequest::default()
        }
        .into()
    }

    /// Gives the result of a tool call.
    pub fn tool_output_available(tool_call_id: impl Into<String>, output: Value) -> Self {
        ToolOutputAvailable {
            tool_call_id: tool_call_id.into(),
            output: Some(output),
            ..ToolOutputAvailable::default()
        }
        .into()
    }

    /// Reports that a tool call failed.
    pub fn tool_output_error(tool_call_id: impl Into<String>, error_text: impl Into<String>) -> Self {
        ToolOutputError {
            tool_call_id: tool_call_id.into(),
            error_text: error_text.into(),
            ..ToolOutputError::default()
        }
        .into()
    }

    /// Reports that a tool call was not allowed.
    pub fn tool_output_denied(tool_call_id: impl Into<String>) -> Self {
        ToolOutputDenied { tool_call_id: tool_call_id.into(), ..ToolOutputDenied::default() }.into()
    }

    /// Cites a page.
    pub fn source_url(source_id: impl Into<String>, url: impl Into<String>) -> Self {
        SourceUrl { source_id: source_id.into(), url: url.into(), ..SourceUrl::default() }.into()
    }

    /// Adds a file.
    pub fn file(media_type: impl Into<String>, url: impl Into<String>) -> Self {
        File { media_type: media_type.into(), url: url.into(), ..File::default() }.into()
    }

    /// Changes the message's metadata.
    pub fn message_metadata(metadata: Value) -> Self {
        MessageMetadata { message_metadata: Some(metadata), ..MessageMetadata::default() }.into()
    }

    /// Carries data: `name` is what follows `data-`, and an id lets a later chunk replace it.
    pub fn data(name: &str, id: Option<&str>, data: Value) -> Self {
        DataChunk { kind: DataKind::new(name), id: id.map(str::to_owned), data, ..DataChunk::default() }.into()
    }

    /// Carries data that no stored message keeps.
    pub fn transient_data(name: &str, data: Value) -> Self {
        DataChunk { kind: DataKind::new(name), data, transient: Some(true), ..DataChunk::default() }.into()
    }
}

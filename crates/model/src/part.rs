//! [`StreamPart`]: what a model yields during a step.

use serde_json::Value;

use crate::error::ModelError;
use crate::usage::{FinishReason, Usage};

/// Holds one piece of a model's answer.
///
/// A step is: [`StreamPart::StreamStart`] (optional), content, then [`StreamPart::Finish`] or [`StreamPart::Error`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StreamPart {
    /// Opens the step.
    StreamStart,
    /// Tells what the provider says about its answer.
    ResponseMetadata {
        /// Names the answer.
        id: Option<String>,
        /// Names the model that really answered.
        model_id: Option<String>,
        /// Tells when, in milliseconds since 1970.
        timestamp_ms: Option<u64>,
    },
    /// Opens a text.
    TextStart {
        /// Ties start, deltas and end together within the step.
        id: String,
        /// Carries what the provider wants back.
        provider_metadata: Option<Value>,
    },
    /// Adds to a text.
    TextDelta {
        /// Names the open text.
        id: String,
        /// Holds the text to append.
        delta: String,
        /// Carries what the provider wants back.
        provider_metadata: Option<Value>,
    },
    /// Closes a text.
    TextEnd {
        /// Names the open text.
        id: String,
        /// Carries what the provider wants back.
        provider_metadata: Option<Value>,
    },
    /// Opens a stretch of reasoning.
    ReasoningStart {
        /// Ties start, deltas and end together within the step.
        id: String,
        /// Carries what the provider wants back.
        provider_metadata: Option<Value>,
    },
    /// Adds to a stretch of reasoning.
    ReasoningDelta {
        /// Names the open reasoning.
        id: String,
        /// Holds the text to append.
        delta: String,
        /// Carries what the provider wants back.
        provider_metadata: Option<Value>,
    },
    /// Closes a stretch of reasoning.
    ReasoningEnd {
        /// Names the open reasoning.
        id: String,
        /// Carries what the provider wants back.
        provider_metadata: Option<Value>,
    },
    /// Opens a tool call whose input streams.
    ToolInputStart {
        /// Names the call.
        id: String,
        /// Names the tool.
        name: String,
        /// Tells that the provider runs the tool.
        provider_executed: bool,
        /// Tells that the tool is not known by name when the code is written.
        dynamic: bool,
        /// Labels the call for people.
        title: Option<String>,
        /// Carries what the provider wants back.
        provider_metadata: Option<Value>,
    },
    /// Adds to the input of a tool call.
    ToolInputDelta {
        /// Names the call.
        id: String,
        /// Holds the JSON text to append.
        delta: String,
    },
    /// Closes the input of a tool call.
    ToolInputEnd {
        /// Names the call.
        id: String,
    },
    /// Gives a complete tool call.
    ToolCall(ToolCall),
    /// Gives the result of a tool that the provider or the agent ran.
    ToolResult(ToolResult),
    /// Asks a person whether a call may run.
    ToolApprovalRequest {
        /// Names the request.
        approval_id: String,
        /// Names the call.
        tool_call_id: String,
    },
    /// Reports that a person did not let a call run.
    ToolDenied {
        /// Names the call.
        tool_call_id: String,
    },
    /// Cites a page.
    SourceUrl {
        /// Names the source.
        id: String,
        /// Gives its address.
        url: String,
        /// Labels it for people.
        title: Option<String>,
        /// Carries what the provider wants back.
        provider_metadata: Option<Value>,
    },
    /// Cites a document.
    SourceDocument {
        /// Names the source.
        id: String,
        /// Gives its media type.
        media_type: String,
        /// Labels it for people.
        title: String,
        /// Names the file.
        filename: Option<String>,
        /// Carries what the provider wants back.
        provider_metadata: Option<Value>,
    },
    /// Gives a file the model made.
    File {
        /// Gives its media type.
        media_type: String,
        /// Holds the content in base64.
        base64: String,
        /// Carries what the provider wants back.
        provider_metadata: Option<Value>,
    },
    /// Ends the step.
    Finish {
        /// Tells why the model stopped.
        finish_reason: FinishReason,
        /// Tells what the step cost.
        usage: Usage,
    },
    /// Reports a failure; the stream ends after it.
    Error(ModelError),
    /// Carries what the provider sent, as it was; for debugging only.
    Raw(Value),
    /// Tells that the provider is alive and has nothing to say yet (D-25).
    Ping,
}

/// Holds a complete tool call.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ToolCall {
    /// Names the call.
    pub tool_call_id: String,
    /// Names the tool.
    pub tool_name: String,
    /// Holds the parsed input, or the text as it came when the call is invalid.
    pub input: Value,
    /// Tells that the provider runs the tool.
    pub provider_executed: bool,
    /// Tells that the tool is not known by name when the code is written.
    pub dynamic: bool,
    /// Labels the call for people.
    pub title: Option<String>,
    /// Says why the call cannot be used: no such tool, or an input against its schema.
    pub invalid: Option<String>,
    /// Carries what the provider wants back.
    pub provider_metadata: Option<Value>,
}

/// Holds what became of a tool call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToolResult {
    /// Names the call.
    pub tool_call_id: String,
    /// Names the tool.
    pub tool_name: String,
    /// Holds the output, or the text of the failure.
    pub outcome: Result<Value, String>,
    /// Tells that the provider ran the tool.
    pub provider_executed: bool,
    /// Tells that the tool is not known by name when the code is written.
    pub dynamic: bool,
    /// Tells that a later result replaces this one.
    pub preliminary: bool,
    /// Carries what the provider wants back.
    pub provider_metadata: Option<Value>,
}

impl StreamPart {
    /// Opens a text.
    pub fn text_start(id: impl Into<String>) -> Self {
        Self::TextStart { id: id.into(), provider_metadata: None }
    }

    /// Adds to a text.
    pub fn text_delta(id: impl Into<String>, delta: impl Into<String>) -> Self {
        Self::TextDelta { id: id.into(), delta: delta.into(), provider_metadata: None }
    }

    /// Closes a text.
    pub fn text_end(id: impl Into<String>) -> Self {
        Self::TextEnd { id: id.into(), provider_metadata: None }
    }

    /// Gives a complete tool call.
    pub fn tool_call(tool_call_id: impl Into<String>, tool_name: impl Into<String>, input: Value) -> Self {
        Self::ToolCall(ToolCall {
            tool_call_id: tool_call_id.into(),
            tool_name: tool_name.into(),
            input,
            ..ToolCall::default()
        })
    }

    /// Ends the step.
    pub fn finish(finish_reason: FinishReason, usage: Usage) -> Self {
        Self::Finish { finish_reason, usage }
    }
}

//! [`ChunkMapper`]: the events of one generation in, chunks for the client out (A-114, A §5.2).
//!
//! It maps and filters, nothing more: the step loop decides what happens and in which order.

#[cfg(test)]
mod tests;

use turnkeep_protocol::UiMessageChunk;
use turnkeep_protocol::chunk::{
    Abort, File, Finish, ReasoningDelta, ReasoningEnd, ReasoningStart, SourceDocument, SourceUrl, Start, TextDelta,
    TextEnd, TextStart, ToolInputAvailable, ToolInputError, ToolInputStart, ToolOutputAvailable, ToolOutputError,
};

use crate::options::UiStreamOptions;
use crate::part::{StreamPart, ToolCall, ToolResult};
use crate::usage::{FinishReason, Usage};

/// Tells what happens in a generation: one response, one or more steps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GenerationEvent {
    /// The response begins.
    Start,
    /// A step begins.
    StartStep,
    /// The model, or a tool, yields something.
    Part(StreamPart),
    /// A step has ended, its tools included.
    FinishStep {
        /// Tells why the model stopped.
        finish_reason: FinishReason,
        /// Tells what the step cost.
        usage: Usage,
    },
    /// The response has ended.
    Finish {
        /// Tells why the last step ended.
        finish_reason: FinishReason,
        /// Tells what all steps cost.
        total_usage: Usage,
    },
    /// The response is cut short; nothing follows.
    Abort {
        /// Tells the cause.
        reason: Option<String>,
    },
}

/// Maps the events of one generation to chunks.
#[derive(Debug, Clone)]
pub struct ChunkMapper {
    message_id: String,
    options: UiStreamOptions,
}

impl ChunkMapper {
    /// Makes the mapper for the response with this id; `start` carries it.
    pub fn new(message_id: impl Into<String>, options: UiStreamOptions) -> Self {
        Self { message_id: message_id.into(), options }
    }

    /// Gives the chunks that tell the client of an event: none, one, or one and its metadata.
    pub fn map(&self, event: GenerationEvent) -> Vec<UiMessageChunk> {
        let metadata = self.options.message_metadata.as_ref().and_then(|metadata| metadata(&event));
        let mut chunks = Vec::new();
        match event {
            GenerationEvent::Start if self.options.send_start.unwrap_or(true) => {
                let message_id = Some(self.message_id.clone());
                chunks.push(Start { message_id, message_metadata: metadata, ..Start::default() }.into());
                return chunks;
            }
            GenerationEvent::Finish { finish_reason, .. } if self.options.send_finish.unwrap_or(true) => {
                let finish_reason = Some(finish_reason.into());
                chunks.push(Finish { finish_reason, message_metadata: metadata, ..Finish::default() }.into());
                return chunks;
            }
            // Metadata of an unsent `start` or `finish` is unsent with it.
            GenerationEvent::Start | GenerationEvent::Finish { .. } => return chunks,
            GenerationEvent::StartStep => chunks.push(UiMessageChunk::start_step()),
            GenerationEvent::FinishStep { .. } => chunks.push(UiMessageChunk::finish_step()),
            GenerationEvent::Abort { reason } => chunks.push(Abort { reason, ..Abort::default() }.into()),
            GenerationEvent::Part(part) => chunks.extend(self.map_part(part)),
        }
        chunks.extend(metadata.map(UiMessageChunk::message_metadata));
        chunks
    }

    /// Gives the chunks for what the model yields; the same as mapping [`GenerationEvent::Part`].
    pub fn map_stream_part(&self, part: StreamPart) -> Vec<UiMessageChunk> {
        self.map(GenerationEvent::Part(part))
    }

    fn map_part(&self, part: StreamPart) -> Option<UiMessageChunk> {
        Some(match part {
            StreamPart::TextStart { id, provider_metadata } => {
                TextStart { id, provider_metadata, ..TextStart::default() }.into()
            }
            //
            StreamPart::TextDelta { delta, provider_metadata: None, .. } if delta.is_empty() => return None,
            StreamPart::TextDelta { id, delta, provider_metadata } => {
                TextDelta { id, delta, provider_metadata, ..TextDelta::default() }.into()
            }
            StreamPart::TextEnd { id, provider_metadata } => {
                TextEnd { id, provider_metadata, ..TextEnd::default() }.into()
            }
            StreamPart::ReasoningStart { .. } | StreamPart::ReasoningDelta { .. } | StreamPart::ReasoningEnd { .. } => {
                return self.map_reasoning(part);
            }
            StreamPart::SourceUrl { .. } | StreamPart::SourceDocument { .. } => return self.map_source(part),
            StreamPart::File { media_type, base64, provider_metadata } => {
                let url = format!("data:{media_type};base64,{base64}");
                File { url, media_type, provider_metadata, ..File::default() }.into()
            }
            StreamPart::ToolInputStart { id, name, provider_executed, dynamic, title, provider_metadata } => {
                ToolInputStart {
                    tool_call_id: id,
                    tool_name: name,
                    provider_executed: flag(provider_executed),
                    provider_metadata,
                    dynamic: flag(dynamic),
                    title,
                    ..ToolInputStart::default()
                }
                .into()
            }
            StreamPart::ToolInputDelta { id, delta } => UiMessageChunk::tool_input_delta(id, delta),
            StreamPart::ToolCall(call) => self.map_call(call),
            StreamPart::ToolResult(result) => self.map_result(result),
            StreamPart::ToolApprovalRequest { approval_id, tool_call_id } => {
                UiMessageChunk::tool_approval_request(approval_id, tool_call_id)
            }
            StreamPart::ToolDenied { tool_call_id } => UiMessageChunk::tool_output_denied(tool_call_id),
            StreamPart::Error(error) => UiMessageChunk::error(self.options.error_text(&error.to_string())),
            // The step loop speaks for the step's ends, and A-120 keeps the rest from the client.
            StreamPart::StreamStart
            | StreamPart::ResponseMetadata { .. }
            | StreamPart::ToolInputEnd { .. }
            | StreamPart::Finish { .. }
            | StreamPart::Raw(_)
            | StreamPart::Ping => return None,
        })
    }

    fn map_reasoning(&self, part: StreamPart) -> Option<UiMessageChunk> {
        if !self.options.sends_reasoning() {
            return None;
        }
        match part {
            StreamPart::ReasoningStart { id, provider_metadata } => {
                Some(ReasoningStart { id, provider_metadata, ..ReasoningStart::default() }.into())
            }
            StreamPart::ReasoningDelta { id, delta, provider_metadata } => {
                Some(ReasoningDelta { id, delta, provider_metadata, ..ReasoningDelta::default() }.into())
            }
            StreamPart::ReasoningEnd { id, provider_metadata } => {
                Some(ReasoningEnd { id, provider_metadata, ..ReasoningEnd::default() }.into())
            }
            _ => None,
        }
    }

    fn map_source(&self, part: StreamPart) -> Option<UiMessageChunk> {
        if !self.options.send_sources.unwrap_or(false) {
            return None;
        }
        match part {
            StreamPart::SourceUrl { id, url, title, provider_metadata } => {
                Some(SourceUrl { source_id: id, url, title, provider_metadata, ..SourceUrl::default() }.into())
            }
            StreamPart::SourceDocument { id, media_type, title, filename, provider_metadata } => Some(
                SourceDocument {
                    source_id: id,
                    media_type,
                    title,
                    filename,
                    provider_metadata,
                    ..SourceDocument::default()
                }
                .into(),
            ),
            _ => None,
        }
    }

    fn map_call(&self, call: ToolCall) -> UiMessageChunk {
        let provider_executed = flag(call.provider_executed);
        let dynamic = flag(call.dynamic);
        match call.invalid {
            None => ToolInputAvailable {
                tool_call_id: call.tool_call_id,
                tool_name: call.tool_name,
                input: Some(call.input),
                provider_executed,
                provider_metadata: call.provider_metadata,
                dynamic,
                title: call.title,
                ..ToolInputAvailable::default()
            }
            .into(),
            Some(reason) => ToolInputError {
                tool_call_id: call.tool_call_id,
                tool_name: call.tool_name,
                input: Some(call.input),
                error_text: self.options.error_text(&reason),
                provider_executed,
                provider_metadata: call.provider_metadata,
                dynamic,
                title: call.title,
                ..ToolInputError::default()
            }
            .into(),
        }
    }

    fn map_result(&self, result: ToolResult) -> UiMessageChunk {
        let provider_executed = flag(result.provider_executed);
        let dynamic = flag(result.dynamic);
        match result.outcome {
            Ok(output) => ToolOutputAvailable {
                tool_call_id: result.tool_call_id,
                output: Some(output),
                provider_executed,
                provider_metadata: result.provider_metadata,
                dynamic,
                preliminary: flag(result.preliminary),
                ..ToolOutputAvailable::default()
            }
            .into(),
            Err(text) => ToolOutputError {
                tool_call_id: result.tool_call_id,
                // The provider wrote the text for its own tool: there is nothing of ours to mask.
                error_text: if result.provider_executed { text } else { self.options.error_text(&text) },
                provider_executed,
                provider_metadata: result.provider_metadata,
                dynamic,
                ..ToolOutputError::default()
            }
            .into(),
        }
    }
}

/// Writes a flag only when it is set, as AI SDK 6 does.
fn flag(set: bool) -> Option<bool> {
    set.then_some(true)
}

//! The tool half of the reducer: one part per call, moved along its states.

use serde_json::Value;

use super::{MessageReducer, ReduceError, replace};
use crate::chunk::{
    ToolApprovalRequest, ToolInputAvailable, ToolInputDelta, ToolInputError, ToolInputStart, UiMessageChunk,
};
use crate::message::{ToolApproval, ToolPart, ToolState, UiPart};
use crate::partial_json::PartialJson;

/// Holds where the input of a call grows.
#[derive(Debug, Clone)]
pub(super) struct StreamingInput {
    pub(super) index: usize,
    reader: PartialJson,
}

impl MessageReducer {
    pub(super) fn apply_tool(&mut self, chunk: &UiMessageChunk) -> Result<(), ReduceError> {
        match chunk {
            UiMessageChunk::ToolInputStart(chunk) => self.input_start(chunk),
            UiMessageChunk::ToolInputDelta(chunk) => self.input_delta(chunk)?,
            UiMessageChunk::ToolInputAvailable(chunk) => self.input_available(chunk),
            UiMessageChunk::ToolInputError(chunk) => self.input_error(chunk),
            UiMessageChunk::ToolApprovalRequest(chunk) => self.approval_request(chunk)?,
            UiMessageChunk::ToolOutputAvailable(chunk) => {
                let part = self.invocation(&chunk.tool_call_id)?;
                enter(part, ToolState::OutputAvailable);
                part.raw_input = None;
                part.output.clone_from(&chunk.output);
                part.preliminary = chunk.preliminary;
                part.provider_executed = chunk.provider_executed.or(part.provider_executed);
                replace(&mut part.result_provider_metadata, chunk.provider_metadata.as_ref());
            }
            UiMessageChunk::ToolOutputError(chunk) => {
                let part = self.invocation(&chunk.tool_call_id)?;
                enter(part, ToolState::OutputError);
                part.error_text = Some(chunk.error_text.clone());
                part.provider_executed = chunk.provider_executed.or(part.provider_executed);
                replace(&mut part.result_provider_metadata, chunk.provider_metadata.as_ref());
            }
            UiMessageChunk::ToolOutputDenied(chunk) => {
                self.invocation(&chunk.tool_call_id)?.state = ToolState::OutputDenied;
            }
            _ => {}
        }
        Ok(())
    }

    fn input_start(&mut self, chunk: &ToolInputStart) {
        let call = Call {
            tool_call_id: &chunk.tool_call_id,
            tool_name: &chunk.tool_name,
            dynamic: chunk.dynamic == Some(true),
            title: chunk.title.as_ref(),
            provider_executed: chunk.provider_executed,
        };
        let index = self.call_in_step(&call);
        let part = self.tool_at(index);
        enter(part, ToolState::InputStreaming);
        part.input = None;
        part.raw_input = None;
        replace(&mut part.call_provider_metadata, chunk.provider_metadata.as_ref());
        self.streaming_inputs
            .insert(chunk.tool_call_id.clone(), StreamingInput { index, reader: PartialJson::default() });
    }

    fn input_delta(&mut self, chunk: &ToolInputDelta) -> Result<(), ReduceError> {
        let not_open = || ReduceError::NotOpen { chunk_type: "tool-input-delta", id: chunk.tool_call_id.clone() };
        let input = self.streaming_inputs.get_mut(&chunk.tool_call_id).ok_or_else(not_open)?;
        let part = self.message.parts.get_mut(input.index).and_then(UiPart::as_tool_mut).ok_or_else(not_open)?;
        input.reader.push(&chunk.input_text_delta, &mut part.input);
        Ok(())
    }

    fn input_available(&mut self, chunk: &ToolInputAvailable) {
        let call = Call {
            tool_call_id: &chunk.tool_call_id,
            tool_name: &chunk.tool_name,
            dynamic: chunk.dynamic == Some(true),
            title: chunk.title.as_ref(),
            provider_executed: chunk.provider_executed,
        };
        let index = self.call_in_step(&call);
        let part = self.tool_at(index);
        enter(part, ToolState::InputAvailable);
        part.input.clone_from(&chunk.input);
        part.raw_input = None;
        replace(&mut part.call_provider_metadata, chunk.provider_metadata.as_ref());
        self.streaming_inputs.remove(&chunk.tool_call_id);
    }

    fn input_error(&mut self, chunk: &ToolInputError) {
        let call = Call {
            tool_call_id: &chunk.tool_call_id,
            tool_name: &chunk.tool_name,
            dynamic: chunk.dynamic == Some(true),
            title: chunk.title.as_ref(),
            provider_executed: chunk.provider_executed,
        };
        let index = self.call_in_step(&call);
        let part = self.tool_at(index);
        enter(part, ToolState::OutputError);
        part.input = None;
        part.raw_input.clone_from(&chunk.input);
        part.error_text = Some(chunk.error_text.clone());
        replace(&mut part.result_provider_metadata, chunk.provider_metadata.as_ref());
        self.streaming_inputs.remove(&chunk.tool_call_id);
    }

    fn approval_request(&mut self, chunk: &ToolApprovalRequest) -> Result<(), ReduceError> {
        let part = self.invocation(&chunk.tool_call_id)?;
        part.state = ToolState::ApprovalRequested;
        part.approval = Some(ToolApproval {
            id: chunk.approval_id.clone(),
            signature: chunk.signature.clone(),
            ..ToolApproval::default()
        });
        Ok(())
    }

    /// Finds the newest part of a call: one of the current step, if there is one, is always the newest.
    fn invocation(&mut self, tool_call_id: &str) -> Result<&mut ToolPart, ReduceError> {
        let index = self.calls.get(tool_call_id).and_then(|indexes| indexes.last());
        match index.and_then(|index| self.message.parts.get_mut(*index)) {
            Some(UiPart::Tool(part)) => Ok(part),
            _ => Err(ReduceError::NoToolInvocation { tool_call_id: tool_call_id.to_owned() }),
        }
    }

    /// Finds the call in the current step, or adds it there, and takes over what the chunk says about it.
    fn call_in_step(&mut self, call: &Call<'_>) -> usize {
        let known = self.calls.get(call.tool_call_id).and_then(|indexes| indexes.last().copied());
        let Some(index) = known.filter(|index| *index >= self.step) else {
            return self.push(UiPart::Tool(ToolPart {
                tool_call_id: call.tool_call_id.to_owned(),
                tool_name: call.tool_name.to_owned(),
                dynamic: call.dynamic,
                title: call.title.cloned(),
                provider_executed: call.provider_executed,
                ..ToolPart::default()
            }));
        };
        let part = self.tool_at(index);
        call.tool_name.clone_into(&mut part.tool_name);
        if call.title.is_some() {
            part.title = call.title.cloned();
        }
        part.provider_executed = call.provider_executed.or(part.provider_executed);
        index
    }

    fn tool_at(&mut self, index: usize) -> &mut ToolPart {
        self.message.parts[index].as_tool_mut().expect("the index of a call is the index of a tool part")
    }
}

/// Holds what every chunk that opens a call says about it.
struct Call<'c> {
    tool_call_id: &'c str,
    tool_name: &'c str,
    dynamic: bool,
    title: Option<&'c String>,
    provider_executed: Option<bool>,
}

/// Moves the part to a state, forgetting the outcome of the state before.
fn enter(part: &mut ToolPart, state: ToolState) {
    part.state = state;
    part.output = None::<Value>;
    part.error_text = None;
    part.preliminary = None;
}

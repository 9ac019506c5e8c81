//! [`MessageReducer`]: chunks in, a message out (A-125 … A-130).
//!
//! The same reducer serves the client that shows a message while it streams and the boot that restores it from records.
//! Each chunk costs as much as itself: texts grow in place and parts are found by index, so a long turn is linear in
//! its chunks.

mod cleanup;
#[cfg(test)]
mod tests;
mod tools;

use std::collections::BTreeMap;

use serde_json::Value;

pub use self::cleanup::cleanup_aborted_parts;
use self::tools::StreamingInput;
use crate::chunk::{DataChunk, UiMessageChunk, tag};
use crate::data_kind::DataKind;
use crate::message::{
    DataPart, FilePart, PartState, ReasoningPart, Role, SourceDocumentPart, SourceUrlPart, TextPart, UiMessage, UiPart,
};
use crate::wire::JsonObject;

/// Says why a chunk does not follow from the chunks before it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReduceError {
    /// A delta or an end came for a text or reasoning part that is not open, or for an input that does not
    /// stream.
    #[error("received {chunk_type} for `{id}`, which is not open")]
    NotOpen {
        /// Names the chunk's type.
        chunk_type: &'static str,
        /// Names the missing part.
        id: String,
    },
    /// An output, approval or denial came for a call that the message does not hold.
    #[error("no tool invocation found for tool call id `{tool_call_id}`")]
    NoToolInvocation {
        /// Names the missing call.
        tool_call_id: String,
    },
}

impl ReduceError {
    /// Tells whether the same chunk may succeed later; it never does.
    pub fn is_retryable(&self) -> bool {
        false
    }
}

/// Grows a message from chunks.
#[derive(Debug, Clone)]
pub struct MessageReducer {
    message: UiMessage,
    finish_reason: Option<String>,
    open_texts: BTreeMap<String, usize>,
    open_reasonings: BTreeMap<String, usize>,
    streaming_inputs: BTreeMap<String, StreamingInput>,
    /// Finds the parts of each call, oldest first.
    calls: BTreeMap<String, Vec<usize>>,
    data: BTreeMap<(DataKind, String), usize>,
    /// Counts the parts before the current step: those up to and with the last `step-start`.
    step: usize,
}

impl Default for MessageReducer {
    fn default() -> Self {
        Self::new()
    }
}

impl MessageReducer {
    /// Begins an assistant message without an id; `start` gives it one.
    pub fn new() -> Self {
        Self::resume(UiMessage::new("", Role::Assistant, Vec::new()))
    }

    /// Goes on with a message that already has parts.
    pub fn resume(message: UiMessage) -> Self {
        let mut reducer = Self {
            message: UiMessage { parts: Vec::with_capacity(message.parts.len()), ..message },
            finish_reason: None,
            open_texts: BTreeMap::new(),
            open_reasonings: BTreeMap::new(),
            streaming_inputs: BTreeMap::new(),
            calls: BTreeMap::new(),
            data: BTreeMap::new(),
            step: 0,
        };
        for part in message.parts {
            reducer.push(part);
        }
        reducer
    }

    /// Takes the next chunk into the message.
    ///
    /// # Errors
    ///
    /// Fails, and leaves the message as it was, when the chunk refers to a part that is not there.
    pub fn apply(&mut self, chunk: &UiMessageChunk) -> Result<(), ReduceError> {
        match chunk {
            UiMessageChunk::Start(chunk) => {
                if let Some(id) = &chunk.message_id {
                    self.message.id.clone_from(id);
                }
                self.merge_metadata(chunk.message_metadata.as_ref());
            }
            UiMessageChunk::Finish(chunk) => {
                if chunk.finish_reason.is_some() {
                    self.finish_reason.clone_from(&chunk.finish_reason);
                }
                self.merge_metadata(chunk.message_metadata.as_ref());
            }
            UiMessageChunk::MessageMetadata(chunk) => self.merge_metadata(chunk.message_metadata.as_ref()),
            UiMessageChunk::StartStep(_) => {
                self.push(UiPart::step_start());
            }
            UiMessageChunk::FinishStep(_) => {
                self.open_texts.clear();
                self.open_reasonings.clear();
            }
            UiMessageChunk::ResetStep(_) => self.reset_step(),
            UiMessageChunk::Data(chunk) => self.data(chunk),
            UiMessageChunk::Abort(_) | UiMessageChunk::Error(_) => {}
            // The chat's store is no part of any message.
            UiMessageChunk::StoreSnapshot(_) | UiMessageChunk::StoreDelta(_) => {}
            UiMessageChunk::Unknown(object) => self.unknown(object),
            _ => return self.apply_content(chunk),
        }
        Ok(())
    }

    /// Shows the message so far.
    pub fn message(&self) -> &UiMessage {
        &self.message
    }

    /// Tells why the model stopped, once `finish` has said so.
    pub fn finish_reason(&self) -> Option<&str> {
        self.finish_reason.as_deref()
    }

    /// Gives the message away.
    pub fn into_message(self) -> UiMessage {
        self.message
    }

    /// Takes a chunk that adds to the content.
    fn apply_content(&mut self, chunk: &UiMessageChunk) -> Result<(), ReduceError> {
        match chunk {
            UiMessageChunk::TextStart(chunk) => {
                let part = TextPart {
                    state: Some(PartState::Streaming),
                    provider_metadata: chunk.provider_metadata.clone(),
                    ..TextPart::default()
                };
                let index = self.push(UiPart::Text(part));
                self.open_texts.insert(chunk.id.clone(), index);
            }
            UiMessageChunk::TextDelta(chunk) => {
                let part = self.open_text("text-delta", &chunk.id)?;
                part.text.push_str(&chunk.delta);
                replace(&mut part.provider_metadata, chunk.provider_metadata.as_ref());
            }
            UiMessageChunk::TextEnd(chunk) => {
                let part = self.open_text("text-end", &chunk.id)?;
                part.state = Some(PartState::Done);
                replace(&mut part.provider_metadata, chunk.provider_metadata.as_ref());
                self.open_texts.remove(&chunk.id);
            }
            UiMessageChunk::ReasoningStart(chunk) => {
                let part = ReasoningPart {
                    state: Some(PartState::Streaming),
                    provider_metadata: chunk.provider_metadata.clone(),
                    ..ReasoningPart::default()
                };
                let index = self.push(UiPart::Reasoning(part));
                self.open_reasonings.insert(chunk.id.clone(), index);
            }
            UiMessageChunk::ReasoningDelta(chunk) => {
                let part = self.open_reasoning("reasoning-delta", &chunk.id)?;
                part.text.push_str(&chunk.delta);
                replace(&mut part.provider_metadata, chunk.provider_metadata.as_ref());
            }
            UiMessageChunk::ReasoningEnd(chunk) => {
                let part = self.open_reasoning("reasoning-end", &chunk.id)?;
                part.state = Some(PartState::Done);
                replace(&mut part.provider_metadata, chunk.provider_metadata.as_ref());
                self.open_reasonings.remove(&chunk.id);
            }
            UiMessageChunk::SourceUrl(_) | UiMessageChunk::SourceDocument(_) | UiMessageChunk::File(_) => {
                self.add_whole(chunk);
            }
            _ => return self.apply_tool(chunk),
        }
        Ok(())
    }

    /// Takes a chunk that is a whole part by itself.
    fn add_whole(&mut self, chunk: &UiMessageChunk) {
        let part = match chunk {
            UiMessageChunk::SourceUrl(chunk) => UiPart::SourceUrl(SourceUrlPart {
                source_id: chunk.source_id.clone(),
                url: chunk.url.clone(),
                title: chunk.title.clone(),
                provider_metadata: chunk.provider_metadata.clone(),
                extra: chunk.extra.clone(),
            }),
            UiMessageChunk::SourceDocument(chunk) => UiPart::SourceDocument(SourceDocumentPart {
                source_id: chunk.source_id.clone(),
                media_type: chunk.media_type.clone(),
                title: chunk.title.clone(),
                filename: chunk.filename.clone(),
                provider_metadata: chunk.provider_metadata.clone(),
                extra: chunk.extra.clone(),
            }),
            UiMessageChunk::File(chunk) => UiPart::File(FilePart {
                media_type: chunk.media_type.clone(),
                filename: None,
                url: chunk.url.clone(),
                provider_metadata: chunk.provider_metadata.clone(),
                extra: chunk.extra.clone(),
            }),
            _ => return,
        };
        self.push(part);
    }

    /// Stores a data part, or replaces the data of the one with the same kind and id.
    fn data(&mut self, chunk: &DataChunk) {
        if chunk.transient == Some(true) {
            return;
        }
        let key = chunk.id.clone().map(|id| (chunk.kind.clone(), id));
        let known = key.and_then(|key| self.data.get(&key).copied());
        if let Some(UiPart::Data(part)) = known.and_then(|index| self.message.parts.get_mut(index)) {
            part.data = chunk.data.clone();
            return;
        }
        let part = DataPart {
            kind: chunk.kind.clone(),
            id: chunk.id.clone(),
            data: chunk.data.clone(),
            extra: chunk.extra.clone(),
        };
        self.push(UiPart::Data(part));
    }

    /// Keeps the two kinds that AI SDK 7 stores as they are, ignores the rest (A-130, D-25).
    fn unknown(&mut self, object: &JsonObject) {
        if matches!(tag(object), "custom" | "reasoning-file") {
            self.push(UiPart::Unknown(object.clone()));
        }
    }

    /// Drops what the current step has produced: everything after the last `step-start`, or all without one (D-25).
    fn reset_step(&mut self) {
        let step = self.step;
        for part in self.message.parts.drain(step..) {
            match part {
                UiPart::Tool(part) => {
                    if let Some(indexes) = self.calls.get_mut(&part.tool_call_id) {
                        indexes.pop();
                    }
                }
                UiPart::Data(DataPart { kind, id: Some(id), .. }) => {
                    self.data.remove(&(kind, id));
                }
                _ => {}
            }
        }
        self.open_texts.retain(|_, index| *index < step);
        self.open_reasonings.retain(|_, index| *index < step);
        self.streaming_inputs.retain(|_, input| input.index < step);
    }

    fn merge_metadata(&mut self, metadata: Option<&Value>) {
        match (metadata, &mut self.message.metadata) {
            (None | Some(Value::Null), _) => {}
            (Some(new), Some(old)) => merge(old, new),
            (Some(new), none) => *none = Some(new.clone()),
        }
    }

    fn open_text(&mut self, chunk_type: &'static str, id: &str) -> Result<&mut TextPart, ReduceError> {
        match self.open_texts.get(id).and_then(|index| self.message.parts.get_mut(*index)) {
            Some(UiPart::Text(part)) => Ok(part),
            _ => Err(ReduceError::NotOpen { chunk_type, id: id.to_owned() }),
        }
    }

    fn open_reasoning(&mut self, chunk_type: &'static str, id: &str) -> Result<&mut ReasoningPart, ReduceError> {
        match self.open_reasonings.get(id).and_then(|index| self.message.parts.get_mut(*index)) {
            Some(UiPart::Reasoning(part)) => Ok(part),
            _ => Err(ReduceError::NotOpen { chunk_type, id: id.to_owned() }),
        }
    }

    /// Adds a part, notes where to find it, and gives its index.
    fn push(&mut self, part: UiPart) -> usize {
        let index = self.message.parts.len();
        match &part {
            UiPart::Tool(part) => self.calls.entry(part.tool_call_id.clone()).or_default().push(index),
            UiPart::Data(DataPart { kind, id: Some(id), .. }) => {
                self.data.insert((kind.clone(), id.clone()), index);
            }
            UiPart::StepStart(_) => self.step = index + 1,
            _ => {}
        }
        self.message.parts.push(part);
        index
    }
}

/// Merges objects key by key, at every depth; anything else replaces what was there.
fn merge(old: &mut Value, new: &Value) {
    let (Value::Object(old), Value::Object(new)) = (&mut *old, new) else {
        *old = new.clone();
        return;
    };
    for (key, new) in new {
        match old.get_mut(key) {
            Some(old) => merge(old, new),
            None => {
                old.insert(key.clone(), new.clone());
            }
        }
    }
}

fn replace(old: &mut Option<Value>, new: Option<&Value>) {
    if let Some(new) = new.filter(|new| !new.is_null()) {
        *old = Some(new.clone());
    }
}

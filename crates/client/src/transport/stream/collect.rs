//! The ways to read a whole reply: its text, its result, its growing message (C §4.2).

use std::fmt;
use std::sync::Arc;

use serde_json::Value;
use turnkeep_protocol::reduce::MessageReducer;
use turnkeep_protocol::{UiMessage, UiMessageChunk};

use super::{ChatStream, Outcome};
use crate::Error;

/// Hears the assistant's whole message (C-170).
pub type OnMessage = Arc<dyn Fn(&UiMessage) + Send + Sync>;

/// A call that a reply made.
#[derive(Clone, Debug, PartialEq)]
pub struct ToolCall {
    /// The tool.
    pub tool_name: String,
    /// The call.
    pub tool_call_id: String,
    /// What it was called with; null when the chunk carried nothing.
    pub input: Value,
}

/// What a call gave.
#[derive(Clone, Debug, PartialEq)]
pub struct ToolResult {
    /// The call.
    pub tool_call_id: String,
    /// Its output; null when the chunk carried nothing. A preliminary output is replaced by the next one of its call.
    pub output: Value,
}

/// A reply as programs want it (C-169).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ChatResult {
    /// All text, in order.
    pub text: String,
    /// A call for each whole input.
    pub tool_calls: Vec<ToolCall>,
    /// A result for each output.
    pub tool_results: Vec<ToolResult>,
}

impl ChatResult {
    fn add(&mut self, chunk: UiMessageChunk) {
        match chunk {
            UiMessageChunk::TextDelta(chunk) => self.text.push_str(&chunk.delta),
            UiMessageChunk::ToolInputAvailable(chunk) => self.tool_calls.push(ToolCall {
                tool_name: chunk.tool_name,
                tool_call_id: chunk.tool_call_id,
                input: chunk.input.unwrap_or_default(),
            }),
            UiMessageChunk::ToolOutputAvailable(chunk) => {
                let result = ToolResult { tool_call_id: chunk.tool_call_id, output: chunk.output.unwrap_or_default() };
                match self.tool_results.iter_mut().find(|known| known.tool_call_id == result.tool_call_id) {
                    Some(known) => *known = result,
                    None => self.tool_results.push(result),
                }
            }
            _ => {}
        }
    }
}

/// How a stream is being consumed: one way only (C-168).
#[derive(Debug, Default)]
pub(super) enum Consumption {
    /// Nothing has been asked yet.
    #[default]
    Fresh,
    /// Chunk by chunk, or as messages.
    Chunks,
    /// As a result, which grows while a call of [`ChatStream::result`] runs or has been dropped.
    Result(Box<ChatResult>),
    /// As a result, whole.
    Whole(Box<ChatResult>),
}

/// Folds the chunks beside whatever the consumer does with them.
pub(super) struct Fold {
    reducer: MessageReducer,
    heard: OnMessage,
}

impl Fold {
    /// A chunk that does not fit the ones before it changes nothing; whoever shows chunks sees it for itself.
    pub(super) fn add(&mut self, chunk: &UiMessageChunk) {
        let _ = self.reducer.apply(chunk);
    }

    pub(super) fn finish(self) {
        let message = self.reducer.into_message();
        if !message.parts.is_empty() {
            crate::reader::quietly(|| (self.heard)(&message));
        }
    }
}

impl ChatStream {
    /// Tells `heard` the assistant's whole message once the stream has ended well, however it is read (C-170).
    #[must_use]
    pub fn on_message(mut self, heard: OnMessage) -> Self {
        self.fold = Some(Fold { reducer: MessageReducer::new(), heard });
        self
    }

    /// Reads the reply to its end and gives what it said and did; asking again costs nothing (C-168, C-169).
    ///
    /// Cancel-safe: a later call goes on where a dropped one was.
    ///
    /// # Errors
    ///
    /// What ended the stream (C-171), or [`Error::StreamConsumed`] when chunks have been read already.
    pub async fn result(&mut self) -> Result<&ChatResult, Error> {
        match &self.consumption {
            Consumption::Fresh => self.consumption = Consumption::Result(Box::default()),
            Consumption::Chunks => return Err(Error::StreamConsumed),
            Consumption::Result(_) | Consumption::Whole(_) => {}
        }
        while matches!(self.consumption, Consumption::Result(_)) {
            let delivered = match self.next_chunk().await.transpose() {
                Ok(delivered) => delivered,
                Err(error) => {
                    // What came before must not be taken for the whole by a second call.
                    self.consumption = Consumption::Chunks;
                    return Err(error);
                }
            };
            if delivered.is_none() && self.outcome() == Some(Outcome::Closed) {
                self.consumption = Consumption::Chunks;
                return Err(Error::SessionClosed { reason: self.closed_reason() });
            }
            let Consumption::Result(result) = &mut self.consumption else {
                unreachable!("nobody else reads meanwhile")
            };
            match delivered {
                Some(delivered) => result.add(delivered.chunk),
                None => self.consumption = Consumption::Whole(std::mem::take(result)),
            }
        }
        match &self.consumption {
            Consumption::Whole(result) => Ok(result),
            _ => unreachable!("the loop ends with a whole result"),
        }
    }

    /// Reads the reply to its end and gives its text (C-169).
    ///
    /// # Errors
    ///
    /// As [`ChatStream::result`].
    pub async fn text(&mut self) -> Result<String, Error> {
        Ok(self.result().await?.text.clone())
    }

    /// Reads the reply as a message that grows.
    pub fn messages(self) -> ChatMessages {
        ChatMessages { stream: self, reducer: MessageReducer::new() }
    }
}

/// A reply as a message that grows with each chunk; made by [`ChatStream::messages`].
pub struct ChatMessages {
    stream: ChatStream,
    reducer: MessageReducer,
}

impl ChatMessages {
    /// Waits for the message's next state; `None` is the end. Cancel-safe.
    ///
    /// # Errors
    ///
    /// What ended the stream, or [`Error::BadResponse`] for a chunk that does not fit those before it.
    pub async fn next(&mut self) -> Option<Result<&UiMessage, Error>> {
        loop {
            let delivered = match self.stream.next().await? {
                Ok(delivered) => delivered,
                Err(error) => return Some(Err(error)),
            };
            if let Err(error) = self.reducer.apply(&delivered.chunk) {
                return Some(Err(Error::BadResponse { what: "chunk", problem: error.to_string() }));
            }
            if !self.reducer.message().parts.is_empty() {
                return Some(Ok(self.reducer.message()));
            }
        }
    }

    /// Gives the stream behind it, for its outcome or an abort.
    pub fn stream(&self) -> &ChatStream {
        &self.stream
    }
}

impl fmt::Debug for ChatMessages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChatMessages").field("stream", &self.stream).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn text_calls_and_results_are_collected_in_order_c169() {
        let mut result = ChatResult::default();
        let chunks = [
            json!({ "type": "start", "messageId": "m" }),
            json!({ "type": "text-delta", "id": "t", "delta": "Let me " }),
            json!({ "type": "reasoning-delta", "id": "r", "delta": "hm" }),
            json!({ "type": "tool-input-available", "toolCallId": "c1", "toolName": "look", "input": { "at": 1 } }),
            json!({ "type": "tool-output-available", "toolCallId": "c1", "output": "half", "preliminary": true }),
            json!({ "type": "tool-output-available", "toolCallId": "c1", "output": "whole" }),
            json!({ "type": "text-delta", "id": "t2", "delta": "look." }),
        ];

        for chunk in chunks {
            result.add(UiMessageChunk::from_value(chunk).unwrap());
        }

        let call = ToolCall { tool_name: "look".into(), tool_call_id: "c1".into(), input: json!({ "at": 1 }) };
        let output = ToolResult { tool_call_id: "c1".into(), output: json!("whole") };
        let want = ChatResult { text: "Let me look.".into(), tool_calls: vec![call], tool_results: vec![output] };
        assert_eq!(result, want);
    }
}

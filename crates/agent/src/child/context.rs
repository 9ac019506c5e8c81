//! What a child run may know of the tool call that it works for.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use turnkeep_protocol::{JsonObject, RunId, TaskId};

use super::{RootWriter, TOOL_CALL_METADATA};
use crate::locals::Locals;
use crate::signal::Signal;

/// The call that a child run works for, as its metadata has it. The conversation itself is not told.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ToolCallOptions {
    /// Names the call; empty when it has no name.
    #[serde(default)]
    pub tool_call_id: String,
    /// What the author gave the answer for its tools.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context: Option<Value>,
    /// The same once more, under the AI SDK's older name.
    #[serde(default, rename = "experimental_context", skip_serializing_if = "Option::is_none")]
    pub experimental_context: Option<Value>,
    /// The chat.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chat_id: Option<String>,
    /// The turn, from 0; only inside a turn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub turn: Option<usize>,
    /// Whether a run before the parent served the session; only inside a turn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub continuation: Option<bool>,
    /// The turn's client data; only inside a turn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_data: Option<Value>,
    /// The parent's `chat.local` slots; [`Locals::from_parent`] takes them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chat_locals: Option<JsonObject>,
}

impl ToolCallOptions {
    /// Reads them from a child's metadata; none for a run that works for no tool call.
    pub fn read(metadata: &JsonObject) -> Option<Self> {
        serde_json::from_value(metadata.get(TOOL_CALL_METADATA)?.clone()).ok()
    }

    pub(super) fn into_metadata(self) -> JsonObject {
        let options = serde_json::to_value(self).expect("options are JSON");
        [(TOOL_CALL_METADATA.to_owned(), options)].into_iter().collect()
    }
}

/// The chat that a child run works for.
#[derive(Clone, Debug, PartialEq)]
pub struct ToolCallChat {
    /// The author's id of the chat.
    pub chat_id: String,
    /// The turn, from 0.
    pub turn: usize,
    /// Whether a run before the parent served the session.
    pub continuation: bool,
    /// The turn's client data; null when there is none.
    pub client_data: Value,
}

/// Says that a run works for no chat.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, thiserror::Error)]
#[error("this run was not started by a tool of a chat")]
pub struct NoChatContext;

/// What the code of a child run gets beside its input.
#[derive(Clone, Debug)]
pub struct ChildContext {
    /// The run.
    pub run_id: RunId,
    /// The task.
    pub task_id: TaskId,
    /// What the parent told of itself.
    pub metadata: JsonObject,
    /// The run's tags.
    pub tags: Vec<String>,
    /// Set when the run is cancelled; it is then dropped at its next await.
    pub cancel_signal: Signal,
    /// The run's slots, filled with the parent's data.
    pub locals: Locals,
    /// Writes to the chat that the run works for; none when it works for no chat, or far from it.
    pub root: Option<RootWriter>,
}

impl ChildContext {
    /// Makes the context of a run that was asked for with `metadata` and `tags`.
    pub fn new(run_id: RunId, task_id: TaskId, metadata: JsonObject, tags: Vec<String>) -> Self {
        let handed_down = ToolCallOptions::read(&metadata).and_then(|options| options.chat_locals);
        let locals = handed_down.map_or_else(Locals::new, Locals::from_parent);
        Self { run_id, task_id, metadata, tags, cancel_signal: Signal::new(), locals, root: None }
    }

    /// Lets the run write to the chat that it works for; for whoever runs the task.
    #[must_use]
    pub fn with_root(self, root: RootWriter) -> Self {
        Self { root: Some(root), ..self }
    }

    /// Sets the cancel signal; for whoever runs the task.
    pub fn cancel(&self, reason: &str) {
        self.cancel_signal.set(reason);
    }

    /// Gives what the parent told of its call; none when no tool has started the run.
    pub fn current_tool_options(&self) -> Option<ToolCallOptions> {
        ToolCallOptions::read(&self.metadata)
    }

    /// Names the call.
    pub fn tool_call_id(&self) -> Option<String> {
        self.current_tool_options().map(|options| options.tool_call_id)
    }

    /// Gives the chat that the run works for; none for a run that no chat has started.
    pub fn chat_context(&self) -> Option<ToolCallChat> {
        let options = self.current_tool_options()?;
        Some(ToolCallChat {
            chat_id: options.chat_id?,
            turn: options.turn.unwrap_or(0),
            continuation: options.continuation.unwrap_or(false),
            client_data: options.client_data.unwrap_or_default(),
        })
    }

    /// Gives the chat that the run works for.
    ///
    /// # Errors
    ///
    /// Fails for a run that no chat has started.
    pub fn chat_context_or_err(&self) -> Result<ToolCallChat, NoChatContext> {
        self.chat_context().ok_or(NoChatContext)
    }
}

//! [`Action`]: what `on_action` is told, and [`ActionAnswer`]: what it may return.

use std::fmt;
use std::sync::Arc;

use serde_json::Value;
use turnkeep_model::{LanguageModel, UiStreamOptions};
use turnkeep_protocol::{Messages, ModelMessage, UiMessage};

use super::RunContext;
use crate::answer::StreamText;
use crate::chat::{Chat, ChunkWriter};
use crate::signal::Signal;
use crate::tool::Tool;

/// `on_action`: the person's app asks for something that is no message, such as an undo.
#[derive(Clone)]
pub struct Action {
    /// The chat; [`Chat::history`] is live, and what the hook changes there is the chat's history when it returns.
    pub chat: Chat,
    /// The run.
    pub ctx: RunContext,
    /// The action, as the agent's action schema left it.
    pub action: Value,
    /// The number that the next turn will have; an action is none.
    pub turn: usize,
    /// The record's client data.
    pub client_data: Value,
    /// The history as it was when the action came.
    pub ui_messages: Messages,
    /// The same in model form.
    pub messages: Vec<ModelMessage>,
    /// Set when a person stops the action.
    pub signal: Signal,
    /// Writes to `out`; data parts join the answer.
    pub writer: ChunkWriter,
    pub(crate) model: Arc<dyn LanguageModel>,
    pub(crate) tools: Vec<Tool>,
    pub(crate) ui_options: UiStreamOptions,
}

impl Action {
    /// Begins an answer by the worker's model to the chat's history as the hook leaves it, with the agent's tools.
    pub fn stream_text(&self) -> StreamText {
        let stream = StreamText::new(self.model.clone(), self.messages.clone(), self.tools.clone());
        stream.ui_options(self.ui_options.clone())
    }
}

impl fmt::Debug for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Action").field("chat", &self.chat).field("action", &self.action).finish_non_exhaustive()
    }
}

/// What `on_action` returns. Whatever is said stays in the history.
#[derive(Clone, Debug)]
pub enum ActionAnswer {
    /// Say nothing.
    Nothing,
    /// Generate this, as a message of its own.
    Stream(Box<StreamText>),
    /// Say this.
    Text(String),
    /// Say this; the message is told as the agent's, under an id that the history does not have yet.
    Message(Box<UiMessage>),
}

impl From<()> for ActionAnswer {
    fn from((): ()) -> Self {
        Self::Nothing
    }
}

impl From<StreamText> for ActionAnswer {
    fn from(stream: StreamText) -> Self {
        Self::Stream(Box::new(stream))
    }
}

impl From<&str> for ActionAnswer {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for ActionAnswer {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<UiMessage> for ActionAnswer {
    fn from(message: UiMessage) -> Self {
        Self::Message(Box::new(message))
    }
}

//! [`TurnInput`]: what an author's `run` gets.

use std::fmt;
use std::sync::Arc;

use serde_json::Value;
use turnkeep_model::{LanguageModel, UiStreamOptions, Usage};
use turnkeep_protocol::{Messages, ModelMessage, Trigger};

use crate::answer::StreamText;
use crate::chat::{Chat, ChunkWriter};
use crate::event::RunContext;
use crate::signal::Signal;
use crate::tool::Tool;

/// What `run` gets: one turn to answer.
#[derive(Clone)]
pub struct TurnInput {
    /// The chat.
    pub chat: Chat,
    /// The run.
    pub ctx: RunContext,
    /// The turn, from 0.
    pub turn: usize,
    /// Why there is a turn.
    pub trigger: Trigger,
    /// The message to regenerate, if one was named.
    pub message_id: Option<String>,
    /// The history in model form, as `prepare_messages` left it.
    pub messages: Vec<ModelMessage>,
    /// The history.
    pub ui_messages: Messages,
    /// The turn's client data.
    pub client_data: Value,
    /// Whether a run before this one served the session.
    pub continuation: bool,
    /// That run.
    pub previous_run_id: Option<String>,
    /// Whether the run was started before the first message.
    pub preloaded: bool,
    /// What the turn before cost.
    pub previous_turn_usage: Option<Usage>,
    /// What the run has cost so far.
    pub total_usage: Usage,
    /// The agent's tools.
    pub tools: Vec<Tool>,
    /// Set when a person stops the answer.
    pub stop_signal: Signal,
    /// Writes to `out`; data parts join the answer.
    pub writer: ChunkWriter,
    pub(crate) model: Arc<dyn LanguageModel>,
    pub(crate) ui_options: UiStreamOptions,
}

impl TurnInput {
    /// Begins an answer by the worker's model to the chat's history, with the agent's tools.
    pub fn stream_text(&self) -> StreamText {
        let stream = StreamText::new(self.model.clone(), self.messages.clone(), self.tools.clone());
        stream.ui_options(self.ui_options.clone())
    }
}

impl fmt::Debug for TurnInput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TurnInput").field("chat", &self.chat).field("turn", &self.turn).finish_non_exhaustive()
    }
}

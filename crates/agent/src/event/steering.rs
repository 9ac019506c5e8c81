//! What the hooks of [`PendingMessages`](crate::PendingMessages) are told.

use serde_json::Value;
use turnkeep_protocol::{ModelMessage, UiMessage};

use crate::answer::StepResult;
use crate::chat::Chat;

/// `on_received`: a message arrived while the answer streams.
#[derive(Clone, Debug)]
pub struct PendingMessageReceived {
    /// The chat.
    pub chat: Chat,
    /// The message.
    pub message: UiMessage,
    /// The turn, from 0.
    pub turn: usize,
}

/// `should_inject` and `prepare`: messages wait, and the next step is about to begin.
#[derive(Clone, Debug)]
pub struct PendingMessagesBatch {
    /// The chat.
    pub chat: Chat,
    /// All messages that wait, oldest first.
    pub messages: Vec<UiMessage>,
    /// What the model would get without them.
    pub model_messages: Vec<ModelMessage>,
    /// What came of the steps before.
    pub steps: Vec<StepResult>,
    /// The step that has just ended, from 0; none before the first.
    pub step_number: Option<usize>,
    /// The turn, from 0.
    pub turn: usize,
    /// The turn's client data.
    pub client_data: Value,
}

/// `on_injected`: messages have joined the answer.
#[derive(Clone, Debug)]
pub struct PendingMessagesInjected {
    /// The chat.
    pub chat: Chat,
    /// The messages.
    pub messages: Vec<UiMessage>,
    /// What the model reads of them.
    pub injected_model_messages: Vec<ModelMessage>,
    /// The turn, from 0.
    pub turn: usize,
    /// The step that has just ended, from 0; none before the first.
    pub step_number: Option<usize>,
}

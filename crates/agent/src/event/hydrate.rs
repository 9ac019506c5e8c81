//! [`HydrateMessages`]: what the hook is told that gives the history from the author's own store.

use serde_json::Value;
use turnkeep_protocol::{Messages, Trigger, UiMessage, upsert_incoming_message};

use crate::chat::Chat;

/// `hydrate_messages`: a turn or an action is about to begin; what the hook returns is the history.
#[derive(Clone, Debug)]
pub struct HydrateMessages {
    /// The chat.
    pub chat: Chat,
    /// The turn, from 0.
    pub turn: usize,
    /// Why there is a turn.
    pub trigger: Trigger,
    /// What came in; empty for a regenerate, whose history the hook itself must cut, and for an action.
    pub incoming_messages: Vec<UiMessage>,
    /// The history as the last turn of this run left it; empty in a fresh run.
    pub previous_messages: Messages,
    /// The turn's client data.
    pub client_data: Value,
    /// Whether a run before this one served the session.
    pub continuation: bool,
    /// That run.
    pub previous_run_id: Option<String>,
}

impl HydrateMessages {
    /// Adds the incoming message to what is stored if it is new there; tells whether it did.
    ///
    /// Answers to tool calls are left to the runtime, which lays them over the message that made the calls.
    pub fn upsert_into(&self, stored: &mut Vec<UiMessage>) -> bool {
        upsert_incoming_message(stored, self.trigger, &self.incoming_messages)
    }
}

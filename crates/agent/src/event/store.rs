//! What the hook of the chat's store is told.

use serde_json::Value;
use turnkeep_protocol::Trigger;

use crate::chat::Chat;

/// `hydrate_store`: a turn or an action begins; what the hook returns becomes the chat's store.
#[derive(Clone, Debug)]
pub struct HydrateStore {
    /// The chat.
    pub chat: Chat,
    /// The turn, from 0.
    pub turn: usize,
    /// Why there is one.
    pub trigger: Trigger,
    /// The store as this run knows it; none when nobody has set it.
    pub previous_store: Option<Value>,
    /// The store as a client has changed it, which wins over what the hook returns.
    pub incoming_store: Option<Value>,
    /// The turn's client data.
    pub client_data: Value,
    /// Whether a run before this one served the session.
    pub continuation: bool,
    /// That run.
    pub previous_run_id: Option<String>,
}

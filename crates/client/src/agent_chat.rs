//! [`AgentChat`]: a program on a server that talks to an agent (C §4.1).
//!
//! It is the page's transport with a secret key: the same turn correlation, resubscription and stop gate (C-161, C-166), so an
//! agent that works longer than one read window never looks finished half-way (CR-26).

mod builder;
mod hooks;

use std::fmt;
use std::sync::Arc;

use serde_json::Value;
use tokio::sync::OnceCell;
use turnkeep_host::{Draws, Host};
use turnkeep_protocol::{JsonObject, Patch, SeqNum, UiMessage};

pub use self::builder::AgentChatBuilder;
pub use self::hooks::{OnTriggered, OnTurnComplete, Triggered, TurnComplete};

use self::hooks::Creator;
use crate::{ChatSessionState, ChatStream, Error, Listening, OnStoreChange, SendMessages, Transport};

/// Digits and small letters.
const BASE_36: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";

/// One chat with an agent, from a server.
pub struct AgentChat {
    host: Host,
    chat_id: String,
    transport: Transport,
    creator: Arc<Creator>,
    /// A restored chat tells the server its configuration once, before its first send (C-157, RC-13).
    refreshed: OnceCell<()>,
    message_ids: Draws,
}

impl AgentChat {
    /// Gives the chat's id.
    pub fn chat_id(&self) -> &str {
        &self.chat_id
    }

    /// Gives what to keep for a later [`AgentChatBuilder::session`]: the cursor of what has been read; none before the start.
    pub fn session(&self) -> Option<ChatSessionState> {
        self.transport.session(&self.chat_id).filter(|state| !state.public_access_token.is_empty())
    }

    /// Replaces the client data of every later send (C-75).
    pub fn set_client_data(&self, client_data: Option<JsonObject>) {
        self.creator.set_client_data(client_data.clone());
        self.transport.set_client_data(client_data);
    }

    /// Starts the session before the first message, so that its run boots early; does nothing when it is started (C-158).
    ///
    /// # Errors
    ///
    /// [`Error::SessionClosed`] for a closed chat; other refusals and failures as [`Error`].
    pub async fn preload(&self, idle_timeout_in_seconds: Option<u64>) -> Result<ChatSessionState, Error> {
        self.creator.set_idle_timeout(idle_timeout_in_seconds);
        self.transport.start(&self.chat_id).await
    }

    /// Sends a text as the user's message; gives the stream of the reply (C-159).
    ///
    /// # Errors
    ///
    /// The send failed and nothing was opened.
    pub async fn send_message(&self, text: impl Into<String>) -> Result<ChatStream, Error> {
        let id = format!("msg-{}-{}", self.host.clock().now().as_millis(), self.random_tail());
        self.send_raw(SendMessages::submit([UiMessage::user(id, text)])).await
    }

    /// Sends messages or asks for an answer again, as a page does; only the last message travels (C-13, C-159).
    ///
    /// # Errors
    ///
    /// As [`AgentChat::send_message`]; [`Error::NothingToSubmit`] for an empty submit.
    pub async fn send_raw(&self, send: SendMessages) -> Result<ChatStream, Error> {
        self.refresh().await?;
        self.transport.send_messages(&self.chat_id, send).await
    }

    /// Posts a text beside the running turn; tells whether it was accepted, false before the start (C-160).
    pub async fn steer(&self, text: impl Into<String>) -> bool {
        let id = format!("steer-{}", self.host.clock().now().as_millis());
        self.is_started() && self.transport.send_pending_message(&self.chat_id, &UiMessage::user(id, text), None).await
    }

    /// Stops the turn; failures are ignored, and nothing happens before the start (C-161).
    pub async fn stop(&self) {
        if self.is_started() {
            self.transport.stop_generation(&self.chat_id).await;
        }
    }

    /// Sends an action (C-162).
    ///
    /// # Errors
    ///
    /// [`Error::Action`] with the original failure as its cause.
    pub async fn send_action(&self, action: Value) -> Result<ChatStream, Error> {
        let sent = async {
            self.refresh().await?;
            self.transport.send_action(&self.chat_id, action, None).await
        };
        sent.await.map_err(|cause| Error::Action { cause: Box::new(cause) })
    }

    /// Asks the agent to end its run, and forgets that the chat was started; a later send starts it again (C-163).
    ///
    /// Tells whether it was accepted: false before the start and on failure.
    pub async fn close(&self) -> bool {
        self.is_started() && self.transport.end_run(&self.chat_id).await
    }

    /// Gives the chat's store; none until the agent has told it or this program has set it (C-173).
    pub fn store(&self) -> Option<Value> {
        self.transport.store(&self.chat_id)
    }

    /// Replaces the chat's store; the next send tells the agent (C-174).
    ///
    /// # Errors
    ///
    /// As [`Transport::set_store`].
    pub fn set_store(&self, value: Value) -> Result<(), Error> {
        self.transport.set_store(&self.chat_id, value)
    }

    /// Patches the chat's store, all or nothing; the next send tells the agent (C-174, C-176).
    ///
    /// # Errors
    ///
    /// As [`Transport::patch_store`].
    pub fn patch_store(&self, patch: Patch) -> Result<(), Error> {
        self.transport.patch_store(&self.chat_id, patch)
    }

    /// Hears of each change of the chat's store (C-173).
    ///
    /// # Errors
    ///
    /// [`Error::TooManyListeners`] beyond 256 listeners.
    pub fn on_store_change(&self, heard: OnStoreChange) -> Result<Listening, Error> {
        self.transport.on_store_change(&self.chat_id, heard)
    }

    /// Reads on where this chat's cursor is, as a viewer whose abort stops nothing (C-164).
    ///
    /// None before the start, and while a stream of this chat is open. The reply of a send comes through that send's own stream.
    pub fn reconnect(&self) -> Option<ChatStream> {
        self.is_started().then(|| self.transport.reconnect_even_if_idle(&self.chat_id)).flatten()
    }

    fn is_started(&self) -> bool {
        self.session().is_some()
    }

    /// Tells the server a restored chat's configuration, once.
    async fn refresh(&self) -> Result<(), Error> {
        self.refreshed.get_or_try_init(|| self.creator.refresh()).await.copied()
    }

    fn random_tail(&self) -> String {
        (0..6).map(|_| char::from(BASE_36[usize::try_from(self.message_ids.below(36)).unwrap_or_default()])).collect()
    }
}

impl fmt::Debug for AgentChat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AgentChat").field("chat_id", &self.chat_id).finish_non_exhaustive()
    }
}

/// Makes a random UUID for a chat without an id of its own, from a stream that the caller keeps open.
pub fn random_chat_id(draws: &Draws) -> String {
    let (high, low) = (draws.next_u64(), draws.next_u64());
    // Version 4, variant 10.
    let high = (high & !0xf000) | 0x4000;
    let low = (low & (u64::MAX >> 2)) | (1 << 63);
    let (a, b, c) = (high >> 32, (high >> 16) & 0xffff, high & 0xffff);
    format!("{a:08x}-{b:04x}-{c:04x}-{:04x}-{:012x}", low >> 48, low & 0xffff_ffff_ffff)
}

/// Where a restored chat goes on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Restored {
    /// It is a new chat.
    #[default]
    No,
    /// It is started already; reading goes on after the cursor, or from the beginning.
    At(Option<SeqNum>),
}

#[cfg(test)]
mod tests {
    use turnkeep_host::Entropy;

    use super::*;

    #[test]
    fn random_chat_ids_are_uuids_of_version_4_and_differ() {
        let draws = Entropy::from_seed(1).draws();

        let ids: Vec<String> = (0..100).map(|_| random_chat_id(&draws)).collect();

        for id in &ids {
            let parts: Vec<&str> = id.split('-').collect();
            assert_eq!(parts.iter().map(|part| part.len()).collect::<Vec<_>>(), [8, 4, 4, 4, 12], "{id}");
            assert!(parts[2].starts_with('4') && "89ab".contains(&parts[3][..1]), "{id}");
        }
        assert!(ids.windows(2).all(|pair| pair[0] != pair[1]));
    }
}

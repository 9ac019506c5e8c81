//! Readers beside the chat's own page: late ones, and such as resume from a cursor.

use turnkeep_client::{ChatSessionState, Transport};
use turnkeep_protocol::session_api::DrainedRecord;
use turnkeep_protocol::{ChannelName, SeqNum};

use super::MockChatAgent;
use super::lifecycle::connect;
use super::tokens::Tokens;

impl MockChatAgent {
    /// Opens the chat on another page, which has seen `out` up to `cursor`; a page that has seen nothing is late.
    ///
    /// Its `reconnect_to_stream` goes on behind the cursor.
    ///
    /// # Panics
    ///
    /// When the server gives it no token.
    pub async fn another_page(&self, cursor: Option<SeqNum>) -> Transport {
        let page = connect(&self.stage, &self.create, &Tokens::default());
        let token = self.stage.sessions.public_token(&self.chat_id).await;
        let token =
            token.unwrap_or_else(|error| panic!("another page of chat {} gets no token: {error}", self.chat_id));
        page.set_session(&self.chat_id, ChatSessionState { last_event_id: cursor, ..ChatSessionState::new(token) });
        page
    }

    /// Reads what `out` holds now behind a cursor, from the channel itself: what was trimmed is gone, and commands are not told.
    ///
    /// # Panics
    ///
    /// When the server refuses.
    pub async fn read_out(&self, after: Option<SeqNum>) -> Vec<DrainedRecord> {
        let records = self.stage.sessions.drain(&self.chat_id, ChannelName::Out, after).await;
        records.unwrap_or_else(|error| panic!("`out` of chat {} cannot be read: {error}", self.chat_id))
    }
}

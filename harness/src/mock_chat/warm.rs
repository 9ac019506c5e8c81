//! The warm server of a head start, as a test plays it: it makes the session, streams the first step, hands over.

use serde_json::json;
use turnkeep_client::ChatSessionState;
use turnkeep_protocol::{ChatInputChunk, ModelMessage, NewRecord, PartId, SeqNum, UiMessage, UiMessageChunk};

use super::MockChatAgent;
use super::sending::Sending;

/// A head start's first step, to be given to the run.
#[derive(Debug, Clone, PartialEq)]
pub struct Handover {
    messages: Vec<ModelMessage>,
    message_id: Option<String>,
    is_final: bool,
}

impl Handover {
    /// Hands over these messages of the first step; the run goes on from there.
    pub fn new(partial_assistant_message: impl IntoIterator<Item = ModelMessage>) -> Self {
        Self { messages: partial_assistant_message.into_iter().collect(), message_id: None, is_final: false }
    }

    /// Says that the answer is whole: the run only keeps it.
    #[must_use]
    pub fn is_final(mut self) -> Self {
        self.is_final = true;
        self
    }

    /// Names the assistant message.
    #[must_use]
    pub fn message_id(mut self, id: impl Into<String>) -> Self {
        self.message_id = Some(id.into());
        self
    }
}

impl MockChatAgent {
    /// Begins a head start with this history, as an author's warm server does: the session is made for it, and its run waits for the
    /// handover.
    ///
    /// # Panics
    ///
    /// When the chat was not started with [`super::MockMode::HandoverPrepare`], or has its head start already.
    pub async fn send_head_start(&mut self, messages: impl IntoIterator<Item = UiMessage>) {
        let payload = &mut self.create.trigger_config.base_payload;
        let is_prepared = payload.get("trigger") == Some(&json!("handover-prepare"));
        assert!(is_prepared, "a head start needs `MockChat::mode(MockMode::HandoverPrepare)`");
        assert!(self.stage.session(&self.chat_id).is_none(), "chat {} has its session already", self.chat_id);
        let messages: Vec<UiMessage> = messages.into_iter().collect();
        payload.insert("headStartMessages".to_owned(), json!(messages));
        self.history().extend(messages);
        let created = self.stage.sessions.create(&self.create).await;
        let created = created.unwrap_or_else(|error| panic!("chat {} cannot be opened: {error}", self.chat_id));
        self.transport.set_session(&self.chat_id, ChatSessionState::new(created.public_access_token));
        self.learn_session().await.unwrap_or_else(|error| panic!("{error}"));
        self.until_booted(0).await;
    }

    /// Gives the head start's first step to the run and waits for its turn.
    pub fn send_handover(&mut self, handover: Handover) -> Sending<'_> {
        let input = ChatInputChunk::Handover {
            partial_assistant_message: handover.messages.iter().map(|message| json!(message)).collect(),
            message_id: handover.message_id,
            is_final: handover.is_final,
        };
        self.signalling(format!("the handover to chat {}", self.chat_id), input)
    }

    /// Says that the head start gave up; the run ends (A §14).
    pub async fn send_handover_skip(&self) -> Option<SeqNum> {
        self.append(ChatInputChunk::HandoverSkip).await
    }

    /// Streams the first step to `out`, as the warm server does before it hands over; gives the place of the last record (C-189).
    ///
    /// # Panics
    ///
    /// When the server refuses.
    pub async fn stream_first_step(&self, chunks: impl IntoIterator<Item = UiMessageChunk>) -> Option<SeqNum> {
        let chunks = chunks.into_iter();
        let records = chunks.map(|chunk| NewRecord::data(&json!(chunk), &PartId::new(self.stage.part_id()))).collect();
        let seqs = self.leave_records(records, &self.stage.wire(), None).await;
        let last = seqs.unwrap_or_else(|error| panic!("{error}")).pop();
        if let Some(last) = last {
            // Its own response has shown the page what it wrote.
            self.transport.adopt_transcript(&self.chat_id, last, None);
        }
        last
    }
}

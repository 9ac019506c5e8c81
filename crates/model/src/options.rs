//! [`UiStreamOptions`]: what of a generation the client gets to see.

use std::fmt;
use std::sync::Arc;

use serde_json::Value;
use turnkeep_protocol::UiMessage;

use crate::mapper::GenerationEvent;

/// Turns the text of an error into what the client reads.
pub type OnError = Arc<dyn Fn(&str) -> String + Send + Sync>;

/// Gives metadata for the message at an event of the generation.
pub type MessageMetadata = Arc<dyn Fn(&GenerationEvent) -> Option<Value> + Send + Sync>;

/// Makes an id for a response.
pub type GenerateMessageId = Arc<dyn Fn() -> String + Send + Sync>;

/// Chooses what of a generation the client gets to see; what is not chosen has its default.
#[derive(Clone, Default)]
pub struct UiStreamOptions {
    pub(crate) send_reasoning: Option<bool>,
    pub(crate) send_sources: Option<bool>,
    pub(crate) send_start: Option<bool>,
    pub(crate) send_finish: Option<bool>,
    pub(crate) on_error: Option<OnError>,
    pub(crate) message_metadata: Option<MessageMetadata>,
    pub(crate) generate_message_id: Option<GenerateMessageId>,
}

impl UiStreamOptions {
    /// Makes options that choose nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Chooses whether reasoning is sent; by default it is.
    ///
    /// What is not sent is in no message. The model gets its own reasoning back within an answer, and with the outcomes of calls that
    /// waited for a person (D-68).
    #[must_use]
    pub fn send_reasoning(mut self, send: bool) -> Self {
        self.send_reasoning = Some(send);
        self
    }

    /// Chooses whether sources are sent; by default they are not.
    #[must_use]
    pub fn send_sources(mut self, send: bool) -> Self {
        self.send_sources = Some(send);
        self
    }

    /// Chooses whether `start` is sent; by default it is.
    #[must_use]
    pub fn send_start(mut self, send: bool) -> Self {
        self.send_start = Some(send);
        self
    }

    /// Chooses whether `finish` is sent; by default it is.
    #[must_use]
    pub fn send_finish(mut self, send: bool) -> Self {
        self.send_finish = Some(send);
        self
    }

    /// Chooses what the client reads of an error; by default the error's own text.
    ///
    /// While the answer lasts, the model reads a failed tool's own text whatever the client is told. The message that stays
    /// has what the client was told, so that is what the model reads of it in later turns.
    #[must_use]
    pub fn on_error(mut self, on_error: impl Fn(&str) -> String + Send + Sync + 'static) -> Self {
        self.on_error = Some(Arc::new(on_error));
        self
    }

    /// Chooses the metadata that the message gets along the way; by default none.
    #[must_use]
    pub fn message_metadata(
        mut self,
        metadata: impl Fn(&GenerationEvent) -> Option<Value> + Send + Sync + 'static,
    ) -> Self {
        self.message_metadata = Some(Arc::new(metadata));
        self
    }

    /// Chooses the ids of fresh responses; by default the runtime does.
    #[must_use]
    pub fn generate_message_id(mut self, generate: impl Fn() -> String + Send + Sync + 'static) -> Self {
        self.generate_message_id = Some(Arc::new(generate));
        self
    }

    /// Lays the choices of one turn over these; the turn's win, one by one.
    #[must_use]
    pub fn overridden_by(self, turn: Self) -> Self {
        Self {
            send_reasoning: turn.send_reasoning.or(self.send_reasoning),
            send_sources: turn.send_sources.or(self.send_sources),
            send_start: turn.send_start.or(self.send_start),
            send_finish: turn.send_finish.or(self.send_finish),
            on_error: turn.on_error.or(self.on_error),
            message_metadata: turn.message_metadata.or(self.message_metadata),
            generate_message_id: turn.generate_message_id.or(self.generate_message_id),
        }
    }

    /// Tells whether the client gets the model's reasoning.
    pub fn sends_reasoning(&self) -> bool {
        self.send_reasoning.unwrap_or(true)
    }

    /// Tells whether the client may read something else of an error than its own text.
    pub fn masks_errors(&self) -> bool {
        self.on_error.is_some()
    }

    /// Gives the text that the client reads of an error.
    pub fn error_text(&self, text: &str) -> String {
        self.on_error.as_ref().map_or_else(|| text.to_owned(), |on_error| on_error(text))
    }

    /// Gives the id of the response to a conversation that ends with `last`: that message's if the agent spoke it, else a fresh one
    ///
    ///
    /// `fallback` makes an id when the author chose no way to.
    pub fn response_id(&self, last: Option<&UiMessage>, fallback: impl FnOnce() -> String) -> String {
        match last {
            Some(last) if last.is_assistant() && !last.id.is_empty() => last.id.clone(),
            _ => self.generate_message_id.as_ref().map_or_else(fallback, |generate| generate()),
        }
    }
}

impl fmt::Debug for UiStreamOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UiStreamOptions")
            .field("send_reasoning", &self.send_reasoning)
            .field("send_sources", &self.send_sources)
            .field("send_start", &self.send_start)
            .field("send_finish", &self.send_finish)
            .finish_non_exhaustive()
    }
}

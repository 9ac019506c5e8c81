//! Pipes: an author's own hand on `out`, for a model's answer or for chunks made elsewhere (A-207, A-208).
//!
//! What is piped by hand is the author's to keep: the runtime pipes nothing more in that turn and captures nothing by itself.

mod forward;
mod outlet;

use std::fmt;

use futures::stream::BoxStream;
use futures::{Stream, StreamExt};
use turnkeep_model::{FinishReason, UiStreamOptions, Usage};
use turnkeep_protocol::{Messages, UiMessage, UiMessageChunk};

use self::forward::forward;
pub(crate) use self::outlet::{Outlet, Pipes};
use crate::answer::StreamText;
use crate::chain::is_empty;
use crate::chat::Chat;
use crate::error::{Error, HookError, OutOfMemory};
use crate::generation::{Ended, Generated, generate};
use crate::model_history::n_steps;
use crate::signal::Signal;

/// What can be piped: an answer to be generated, or a stream of chunks.
#[must_use = "nothing is piped by making a source"]
pub struct PipeSource(Source);

enum Source {
    Stream(Box<StreamText>),
    Chunks(BoxStream<'static, Result<UiMessageChunk, HookError>>),
}

impl PipeSource {
    /// Pipes chunks; the message gets an id of the runtime's, whatever `start` says (A-123, A-208).
    pub fn chunks(chunks: impl Stream<Item = UiMessageChunk> + Send + 'static) -> Self {
        Self::try_chunks(chunks.map(Ok))
    }

    /// Pipes chunks until one of them is an error, which then is the pipe's.
    pub fn try_chunks(chunks: impl Stream<Item = Result<UiMessageChunk, HookError>> + Send + 'static) -> Self {
        Self(Source::Chunks(chunks.boxed()))
    }

    fn ui_options(&self) -> UiStreamOptions {
        match &self.0 {
            Source::Stream(stream) => stream.ui_options.clone(),
            Source::Chunks(_) => UiStreamOptions::new(),
        }
    }
}

impl From<StreamText> for PipeSource {
    fn from(stream: StreamText) -> Self {
        Self(Source::Stream(Box::new(stream)))
    }
}

impl fmt::Debug for PipeSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Source::Stream(_) => "PipeSource(StreamText)",
            Source::Chunks(_) => "PipeSource(chunks)",
        })
    }
}

/// How something is piped.
#[derive(Clone, Debug, Default)]
#[must_use = "options do nothing until something is piped with them"]
pub struct PipeOptions {
    signal: Option<Signal>,
    original_messages: Option<Messages>,
}

impl PipeOptions {
    /// Makes options that choose nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Stops the pipe by this signal; without it, by the one that stops the turn.
    pub fn signal(mut self, signal: Signal) -> Self {
        self.signal = Some(signal);
        self
    }

    /// Says which conversation is answered: when its last message is the agent's, the answer goes on with that one (A-205).
    ///
    /// Without it a model's answer is one to the chat's history, and chunks are a message of their own.
    pub fn original_messages(mut self, messages: impl Into<Messages>) -> Self {
        self.original_messages = Some(messages.into());
        self
    }
}

/// How a captured pipe ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PipeStatus {
    /// By itself.
    Complete,
    /// By its signal, be it set only after the last chunk.
    Aborted,
    /// By an error, be it one inside the stream (A-158).
    Error,
}

/// What came of a captured pipe.
#[derive(Debug)]
pub struct Captured {
    /// The message as readers have it, cut where the pipe was; none when nothing was said.
    pub message: Option<UiMessage>,
    /// How the pipe ended.
    pub status: PipeStatus,
    /// Why the model stopped; none after a stop.
    pub finish_reason: Option<FinishReason>,
    /// What the model told of its cost.
    pub usage: Option<Usage>,
    /// What went wrong. Pass on what is an [`Error`] or an [`OutOfMemory`]: no code can go on after it.
    pub error: Option<HookError>,
}

/// A pipe that has ended.
pub(crate) struct Piped {
    pub(crate) generated: Generated,
    /// What the source or `out` failed with; an error inside a model's stream is told in `generated`.
    pub(crate) failure: Option<HookError>,
    pub(crate) is_stopped: bool,
}

impl Chat {
    /// Pipes an answer or chunks to `out` by hand (A-207). Pipes that run at the same time interleave.
    ///
    /// The turn then has no other answer: what `run` returns is not piped, and of what was piped nothing is kept, parts written to a
    /// [`ChunkWriter`](crate::ChunkWriter) apart. Resolves when the source is through or the turn is stopped. Dropping the future
    /// cuts the pipe where it is.
    ///
    /// Each step of a model's answer is prepared as one of an answer that `run` returns: it is compacted, and joined by what people say
    /// meanwhile (A-167, A-192). What joined it is served with the turn, whatever becomes of the answer.
    ///
    /// # Errors
    ///
    /// The source's own error, or an [`Error`] of the run's. An error inside a model's stream is told to readers and is none.
    pub async fn pipe(&self, source: impl Into<PipeSource> + Send, options: PipeOptions) -> Result<(), HookError> {
        match self.pipe_by_hand(source.into(), options).await?.failure {
            Some(failure) => Err(failure),
            None => Ok(()),
        }
    }

    /// Pipes an answer or chunks to `out` by hand and captures the message, which is then the caller's to keep (A-208).
    ///
    /// Never fails: whatever goes wrong is told to readers and in [`Captured::error`].
    ///
    /// ```
    /// use turnkeep_agent::{Agent, PipeOptions, PipeStatus, TurnInput};
    ///
    /// let agent = Agent::new("keeper", |turn: TurnInput| async move {
    ///     let captured = turn.chat.pipe_and_capture(turn.stream_text(), PipeOptions::new()).await;
    ///     if captured.status == PipeStatus::Complete {
    ///         let mut messages = turn.chat.history().all();
    ///         messages.extend(captured.message);
    ///         turn.chat.history().set(messages);
    ///     }
    ///     Ok(())
    /// });
    /// # let _ = agent;
    /// ```
    pub async fn pipe_and_capture(&self, source: impl Into<PipeSource> + Send, options: PipeOptions) -> Captured {
        match self.pipe_by_hand(source.into(), options).await {
            Ok(piped) => self.capture(piped).await,
            Err(failure) => {
                let (status, error) = (PipeStatus::Error, Some(failure));
                Captured { message: None, status, finish_reason: None, usage: None, error }
            }
        }
    }

    pub(crate) async fn pipe_by_hand(&self, source: PipeSource, options: PipeOptions) -> Result<Piped, HookError> {
        let outlet = self.pipes().begin().ok_or("this chat has no run to pipe into")?;
        Ok(drive(self, outlet, source, options).await)
    }

    /// Judges a pipe that has ended; readers learn of a source's failure here, since nobody else will hear of it.
    pub(crate) async fn capture(&self, piped: Piped) -> Captured {
        let Piped { generated, failure, is_stopped } = piped;
        let Generated { message, ended, finish_reason, usage, .. } = generated;
        let message = message.filter(|message| !is_empty(message));
        let is_fatal = failure.as_ref().is_some_and(is_fatal);
        let (status, error) = match (failure, ended) {
            (Some(error), _) if is_fatal => (PipeStatus::Error, Some(error)),
            _ if is_stopped => (PipeStatus::Aborted, None),
            (Some(error), _) => {
                // Best effort, like the error of a failed turn (A-152).
                let _ = self.writer().stream(&UiMessageChunk::error(error.to_string())).await;
                (PipeStatus::Error, Some(error))
            }
            (None, Ended::Failed(text)) => (PipeStatus::Error, Some(text.to_string().into())),
            (None, Ended::Whole | Ended::Stopped) => (PipeStatus::Complete, None),
        };
        let finish_reason = match status {
            PipeStatus::Complete => finish_reason,
            PipeStatus::Aborted => None,
            PipeStatus::Error => Some(FinishReason::Error),
        };
        Captured { message, status, finish_reason, usage, error }
    }
}

/// Tells whether a failure is one after which nothing can be told to anybody.
fn is_fatal(failure: &HookError) -> bool {
    let is_ours = failure.downcast_ref::<Error>().is_some_and(|error| !matches!(error, Error::ChunkTooLarge(_)));
    is_ours || failure.is::<OutOfMemory>()
}

/// Pipes a source to its end.
async fn drive(chat: &Chat, outlet: Outlet, source: PipeSource, options: PipeOptions) -> Piped {
    let stop = options.signal.unwrap_or_else(|| outlet.stop.clone());
    let is_answer = matches!(source.0, Source::Stream(_));
    let history = || {
        let messages = chat.history().all();
        // Calls that something follows are answered by a message of its own (D-62).
        let continued = outlet.continued.as_ref();
        let is_late = continued.is_some_and(|id| messages.last().is_some_and(|last| last.id != *id));
        if is_late { Messages::new() } else { messages }
    };
    let original = options.original_messages.or_else(|| is_answer.then(history)).unwrap_or_default();
    let response = match original.last() {
        Some(last) if last.is_assistant() && !last.id.is_empty() => last.clone(),
        _ => {
            let fresh = || outlet.message_ids.fresh(|id| chat.history().find_message(id).is_some());
            UiMessage::assistant(source.ui_options().response_id(None, fresh), Vec::new())
        }
    };
    let n_steps = n_steps(&response);
    let (mut generated, failure) = match source.0 {
        Source::Chunks(chunks) => {
            let writer = chat.writer();
            let forwarding = forward(chunks, &writer, &stop, response);
            match &outlet.preparation.hearing {
                Some(hearing) => hearing.beside(chat, forwarding).await,
                None => forwarding.await,
            }
        }
        Source::Stream(stream) => {
            let setting = outlet.setting(chat, &stream, response, stop.clone());
            let (generated, result) = generate(*stream, setting).await;
            (
                generated,
                result.err().map(|error| match error {
                    Error::OutOfMemory => OutOfMemory.into(),
                    error => error.into(),
                }),
            )
        }
    };
    chat.pipes().end(&mut generated, n_steps);
    Piped { generated, failure, is_stopped: stop.is_set() }
}

#[cfg(test)]
mod tests;

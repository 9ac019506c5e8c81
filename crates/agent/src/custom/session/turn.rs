//! [`CustomTurn`]: one turn in the hands of a custom agent's code.

mod close;

use std::fmt;
use std::sync::Arc;

use futures::future::BoxFuture;
use serde_json::Value;
use turnkeep_host::Task;
use turnkeep_model::{ConvertError, FinishReason, Usage};
use turnkeep_protocol::{ChatTaskWirePayload, Messages, ModelMessage, Trigger, UiMessage, cleanup_aborted_parts};

use super::CustomSession;
use crate::answer::{PrepareStep, StepChange, StreamText};
use crate::chat::Chat;
use crate::custom::TurnBoundary;
use crate::error::{Error, HookError};
use crate::pipe::{PipeOptions, PipeSource, PipeStatus, Piped};
use crate::signal::Signal;
use crate::steering::Hearing;

/// One turn of a [`CustomSession`]; close it with [`CustomTurn::complete`] or [`CustomTurn::done`].
pub struct CustomTurn<'s> {
    session: &'s mut CustomSession,
    /// The chat.
    pub chat: Chat,
    /// The turn, from 0; an action has the number of the turn that comes next.
    pub number: usize,
    /// What it is for: a message, an answer given anew, or an action.
    pub trigger: Trigger,
    /// What an action asks for, as it came.
    pub action: Option<Value>,
    /// What the client said of itself, as it came.
    pub client_data: Value,
    /// Whether a run before this one served the session.
    pub continuation: bool,
    /// What the turn before has cost; none when it did not tell.
    pub previous_turn_usage: Option<Usage>,
    /// What the turns before have cost.
    pub total_usage: Usage,
    /// Whether the model has something to answer: not while calls still wait for a person, nor when their answers came too late (D-16,
    /// D-62). [`CustomTurn::complete`] then pipes nothing. What an action asks for is the author's to say.
    pub wants_answer: bool,
    is_apart: bool,
    stop: Signal,
    /// Passes the session's cancellation on; none once the answer is over.
    cancelling: Option<Task>,
    /// None when nobody may steer, and once the answer is over.
    hearing: Option<Hearing>,
    /// The message that parts join which are written behind it.
    response_id: Option<String>,
    is_closed: bool,
}

/// A turn's beginning.
pub(super) struct Opened {
    pub(super) number: usize,
    pub(super) payload: ChatTaskWirePayload,
    pub(super) client_data: Value,
    /// Whether the answer goes on with no message of the conversation.
    pub(super) is_apart: bool,
    pub(super) wants_answer: bool,
    pub(super) stop: Signal,
    pub(super) cancelling: Option<Task>,
    pub(super) hearing: Option<Hearing>,
}

/// A turn that is closed.
#[derive(Clone, Debug)]
pub struct CompletedTurn {
    /// The answer as the conversation has it; none when nothing was said.
    pub response: Option<UiMessage>,
    /// Where the turn ended.
    pub boundary: TurnBoundary,
    /// Why the model stopped; none after a stop.
    pub finish_reason: Option<FinishReason>,
    /// What the answer has cost, if the model told.
    pub usage: Option<Usage>,
    /// What went wrong inside the model's stream; readers were told, and the answer is what came before.
    pub error: Option<Arc<str>>,
}

impl<'s> CustomTurn<'s> {
    pub(super) fn new(session: &'s mut CustomSession, opened: Opened) -> Self {
        let Opened { number, payload, client_data, is_apart, wants_answer, stop, cancelling, hearing } = opened;
        Self {
            chat: session.run.chat.clone(),
            number,
            trigger: payload.trigger.unwrap_or(Trigger::SubmitMessage),
            action: payload.action,
            client_data,
            continuation: session.run.is_continuation(),
            previous_turn_usage: session.previous_turn_usage,
            total_usage: session.total_usage,
            wants_answer,
            is_apart,
            stop,
            cancelling,
            hearing,
            response_id: None,
            is_closed: false,
            session,
        }
    }

    /// Gives the author's own id of the chat.
    pub fn chat_id(&self) -> &str {
        self.chat.id()
    }

    /// Shows the conversation as people see it.
    pub fn ui_messages(&self) -> &Messages {
        self.session.ui_messages()
    }

    /// Gives the conversation as a model reads it.
    ///
    /// # Errors
    ///
    /// Fails when a tool's mapping refuses an output.
    pub fn messages(&mut self) -> Result<Vec<ModelMessage>, ConvertError> {
        self.session.accumulator.model_messages()
    }

    /// Replaces the conversation, this turn's message included.
    pub fn set_messages(&mut self, messages: impl Into<Messages>) {
        self.session.set_messages(messages);
    }

    /// Gives the signal that a person's stop sets, and the session's cancellation.
    pub fn signal(&self) -> Signal {
        self.stop.clone()
    }

    /// Tells whether a person has stopped the turn; a cancelled session is not stopped.
    pub fn stopped(&self) -> bool {
        self.stop.is_set() && !self.session.options.is_cancelled()
    }

    /// Begins an answer to the conversation by the worker's model, with the session's tools.
    ///
    /// Before each step the session's compaction and what people said meanwhile is seen to, as it is for every answer that is piped in
    /// the turn; not for an action's.
    ///
    /// # Errors
    ///
    /// As [`CustomTurn::messages`].
    pub fn stream_text(&mut self) -> Result<StreamText, ConvertError> {
        let messages = self.messages()?;
        let stream = self.session.run.stream_text(messages).tools(self.session.options.tools.clone());
        Ok(stream)
    }

    /// Gives the preparation of a step that is left for the author to install: none, for code that passes one to
    /// [`StreamText::prepare_step`] as it must elsewhere.
    ///
    /// The session's compaction and what people said meanwhile is seen to before each step of whatever is piped in the turn, and an
    /// author's own `prepare_step` finds it done.
    pub fn prepare_step(
        &self,
    ) -> impl Fn(PrepareStep) -> BoxFuture<'static, Result<StepChange, HookError>> + Send + Sync + 'static + use<> {
        |_| Box::pin(async { Ok(StepChange::none()) })
    }

    /// Adds an answer that the author has piped by hand, with the parts that were written beside it.
    ///
    /// # Errors
    ///
    /// Fails as the hooks of the session's compaction do, and when the run cannot go on.
    pub async fn add_response(&mut self, response: UiMessage) -> Result<(), HookError> {
        self.check_open()?;
        self.hush();
        self.keep(Some(response), None).await.map(drop)
    }

    /// Pipes an answer or chunks, keeps it in the conversation and closes the turn.
    ///
    /// A stop cuts the answer, which is kept as far as it came. What people say meanwhile joins it or has turns of its own.
    ///
    /// # Errors
    ///
    /// The source's own error, which readers have been told of: what came before is kept, and the turn is still open, so that the
    /// author may say more; close it with [`CustomTurn::done`] (AA-35). Fails as the hooks of the session's compaction do, when the turn
    /// is closed already, and when the run cannot go on.
    pub async fn complete(&mut self, source: impl Into<PipeSource> + Send) -> Result<CompletedTurn, HookError> {
        self.check_open()?;
        if !self.wants_answer {
            return Ok(CompletedTurn::silent(self.done().await?));
        }
        let piped = self.pipe(source.into()).await?;
        self.hush();
        if self.session.options.is_cancelled() {
            return self.abandon().await;
        }
        // A tool may have rewritten the history.
        self.session.apply_override();
        let opened = piped.generated.message.as_ref().map(|message| message.id.clone());
        let has_failed = piped.failure.is_some();
        let mut captured = self.chat.capture(piped).await;
        let is_cut = captured.status != PipeStatus::Complete;
        let response = captured.message.map(|message| if is_cut { cleanup_aborted_parts(message) } else { message });
        let (response, is_compacted) = self.keep(response, opened).await?;
        if let Some(error) = captured.error.take_if(|_| has_failed) {
            return Err(error);
        }
        self.chat.settle_deferred().await;
        if let Some(usage) = captured.usage {
            let is_due = !is_compacted && captured.status != PipeStatus::Aborted && self.trigger != Trigger::Action;
            if is_due {
                self.compact(usage).await?;
            }
            self.note(usage);
        }
        let boundary = self.close().await?;
        let error = captured.error.map(|error| Arc::from(error.to_string()));
        Ok(CompletedTurn { response, boundary, finish_reason: captured.finish_reason, usage: captured.usage, error })
    }

    /// Closes the turn, whatever was piped in it.
    ///
    /// # Errors
    ///
    /// Fails when the run cannot go on, as the hooks of the session's compaction do, and when the turn is closed already.
    pub async fn done(&mut self) -> Result<TurnBoundary, HookError> {
        self.check_open()?;
        self.hush();
        self.session.apply_override();
        self.keep(None, None).await?;
        self.chat.settle_deferred().await;
        Ok(self.close().await?)
    }

    /// Pipes a source as the answer to the conversation.
    async fn pipe(&mut self, source: PipeSource) -> Result<Piped, HookError> {
        self.session.apply_override();
        let original = if self.is_apart { Messages::new() } else { self.ui_messages().clone() };
        let options = PipeOptions::new().signal(self.stop.clone()).original_messages(original);
        self.chat.pipe_by_hand(source, options).await
    }

    fn check_open(&self) -> Result<(), HookError> {
        if self.is_closed { Err("this turn is closed already".into()) } else { Ok(()) }
    }

    fn note(&mut self, usage: Usage) {
        self.session.total_usage += usage;
        // An action is no turn.
        if self.trigger != Trigger::Action {
            self.session.previous_turn_usage = Some(usage);
        }
    }
}

impl CompletedTurn {
    fn silent(boundary: TurnBoundary) -> Self {
        Self { response: None, boundary, finish_reason: None, usage: None, error: None }
    }
}

impl Drop for CustomTurn<'_> {
    fn drop(&mut self) {
        self.hush();
        if !self.is_closed {
            self.forget_answer();
        }
    }
}

impl fmt::Debug for CustomTurn<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CustomTurn")
            .field("chat", &self.chat)
            .field("number", &self.number)
            .field("trigger", &self.trigger)
            .finish_non_exhaustive()
    }
}

/// Tells whether an error ends the run, whatever the author would make of it.
fn is_fatal(error: &HookError) -> bool {
    !matches!(Error::of_hook("compaction", error), Error::Hook { .. } | Error::ChunkTooLarge(_))
}

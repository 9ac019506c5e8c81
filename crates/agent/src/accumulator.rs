//! [`MessageAccumulator`]: the conversation of a run that its author's own code drives.
//!
//! It keeps what people see and what a model reads of it by the same rules as the turn loop, and takes what people say meanwhile into
//! an answer between its steps.

mod edits;
mod live;

use std::fmt;

use serde_json::Value;
use turnkeep_model::{ConvertError, ModelOutputs, Usage, to_model_messages};
use turnkeep_protocol::{Messages, ModelMessage, Trigger, UiMessage, cleanup_aborted_parts};

use self::live::Live;
use self::live::Shared;
use crate::answer::{PrepareStep, StepChange};
use crate::chain::{Chain, Judged, Merge, NothingToRegenerate};
use crate::chat::Chat;
use crate::compaction::{Compaction, Kept, Procedure};
use crate::error::HookError;
use crate::event::{CompactionCheck, CompactionSource, CompactionSummary};
use crate::generation::Arrived;
use crate::model_history::ModelHistory;
use crate::steering::PendingMessages;
use crate::tool::{ServerTools, Tool, with_mappings};
use crate::views::Views;

/// The messages of a conversation, for people and for a model.
#[derive(Default)]
pub struct MessageAccumulator {
    pub(crate) chain: Chain,
    pub(crate) model_history: ModelHistory,
    pub(crate) outputs: ModelOutputs,
    /// The names of tools that run here.
    pub(crate) server_tools: ServerTools,
    compaction: Option<Compaction>,
    pending_messages: Option<PendingMessages>,
    /// Whether the messages were given by [`MessageAccumulator::set_messages`], which no first turn replaces.
    is_set: bool,
    live: Shared,
}

/// What an answer that is over has taken in.
#[derive(Default)]
pub(crate) struct TakenIn {
    /// People's messages, and which answer each has joined.
    pub(crate) steered: Vec<(String, UiMessage)>,
    /// What came in between the steps of which answer.
    pub(crate) arrivals: Vec<(String, Arrived)>,
    /// The summary that the answer went on from.
    pub(crate) summary: Option<(Kept, CompactionSummary)>,
}

/// What adding messages has done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Accumulated {
    /// Whether the model has something to answer: not when all of it was answered before, or while calls still wait for a person
    /// (D-16, D-42). Close the turn without an answer then.
    pub wants_answer: bool,
    /// What was not taken over, and why.
    pub warnings: Vec<String>,
}

/// In which turn a conversation is compacted.
#[derive(Clone, Debug)]
pub struct CompactionContext {
    /// The chat.
    pub chat: Chat,
    /// The turn, from 0.
    pub turn: usize,
    /// The turn's client data.
    pub client_data: Value,
    /// What the run has cost so far, the turn included.
    pub total_usage: Usage,
}

impl MessageAccumulator {
    /// Makes an accumulator of an empty conversation.
    pub fn new() -> Self {
        Self::default()
    }

    /// Replaces what the model reads by a summary when it has become too long.
    #[must_use]
    pub fn compaction(mut self, options: Compaction) -> Self {
        self.compaction = Some(options);
        self
    }

    /// Lets people's messages join an answer that streams.
    #[must_use]
    pub fn pending_messages(mut self, options: PendingMessages) -> Self {
        self.pending_messages = Some(options);
        self
    }

    /// Reads old calls with the mappings of these tools, and lets no client answer for those that run here.
    #[must_use]
    pub fn tools(mut self, tools: &[Tool]) -> Self {
        self.server_tools
            .extend(tools.iter().filter(|tool| tool.execute().is_some()).map(|tool| tool.name().to_owned()));
        self.outputs = with_mappings(self.outputs, tools);
        self
    }

    /// Shows the conversation as people see it.
    pub fn ui_messages(&self) -> &Messages {
        self.chain.messages()
    }

    /// Gives the conversation as a model reads it.
    ///
    /// # Errors
    ///
    /// Fails when a tool's mapping refuses an output.
    pub fn model_messages(&mut self) -> Result<Vec<ModelMessage>, ConvertError> {
        self.views().model_messages()
    }

    pub(crate) fn views(&mut self) -> Views<'_> {
        Views { chain: &mut self.chain, model_history: &mut self.model_history, outputs: &self.outputs }
    }

    /// Adds what came in with a turn.
    ///
    /// A message whose id is known, or whose calls are, is laid over what is there. In turn 0 unknown messages replace
    /// what earlier calls have added, but never what [`MessageAccumulator::set_messages`] has put there; later they are appended. A
    /// regenerate without messages drops the newest answer, one with messages begins anew with them. Other triggers bring none.
    ///
    /// # Errors
    ///
    /// Fails when there is no answer to regenerate.
    pub fn add_incoming(
        &mut self,
        messages: Vec<UiMessage>,
        trigger: Trigger,
        turn: usize,
    ) -> Result<Accumulated, NothingToRegenerate> {
        match trigger {
            Trigger::RegenerateMessage if messages.is_empty() => self.regenerate(None)?,
            Trigger::RegenerateMessage => {
                self.chain.replace_all(messages.into_iter().map(cleaned).collect::<Messages>())
            }
            Trigger::SubmitMessage => return Ok(self.submit(messages, turn)),
            _ => return Ok(Accumulated::default()),
        }
        Ok(Accumulated { wants_answer: true, warnings: Vec::new() })
    }

    fn submit(&mut self, messages: Vec<UiMessage>, turn: usize) -> Accumulated {
        let is_known =
            |message: &UiMessage| self.chain.contains(&message.id) || self.chain.mapped_id(message).is_some();
        if turn == 0 && !self.is_set && !messages.is_empty() && !messages.iter().any(is_known) {
            self.chain.replace_all(Messages::new());
        }
        let mut accumulated = Accumulated::default();
        for message in messages {
            let judged = self.absorb(message);
            accumulated.wants_answer |= judged.merge == Merge::Answer;
            accumulated.warnings.extend(judged.warnings);
        }
        accumulated
    }

    /// Merges one message and judges what it asks for.
    pub(crate) fn absorb(&mut self, message: UiMessage) -> Judged {
        let message = cleaned(message);
        let absorbed = self.chain.absorb(message.clone(), &self.server_tools);
        self.chain.judge(&message, absorbed, &self.server_tools)
    }

    /// Drops the answer that shall be given anew: from the named one on, else the newest.
    ///
    /// # Errors
    ///
    /// Fails, and drops nothing, when there is no message to answer.
    pub fn regenerate(&mut self, message_id: Option<&str>) -> Result<(), NothingToRegenerate> {
        self.chain.regenerate(message_id)
    }

    /// Adds an answer, over the message of its id if there is one; messages that have joined it stand in front of it.
    ///
    /// # Errors
    ///
    /// Fails as the hooks of [`Compaction`] do that choose what stays of a conversation; the answer is added all the same.
    pub async fn add_response(&mut self, response: UiMessage) -> Result<(), HookError> {
        let taken_in = self.live.end_answer(Some(&response), self.compaction.as_ref());
        self.end_answer(Some(response), taken_in).await
    }

    /// Ends an answer, of which there may be nothing to add.
    pub(crate) async fn end_answer(&mut self, response: Option<UiMessage>, taken_in: TakenIn) -> Result<(), HookError> {
        let TakenIn { steered, mut arrivals, summary } = taken_in;
        let kept = match summary {
            // What the answer went on from stands in front of it from now on.
            Some((kept, event)) => self.views().keep_summary(kept, event).await,
            None => Ok(()),
        };
        for (response_id, message) in steered {
            self.views().take_in(&response_id, message);
        }
        if let Some(response) = response {
            // Added under an id of its author's, it is the answer that things came in during all the same.
            let others = arrivals.iter_mut().filter(|(id, _)| !self.chain.contains(id));
            others.for_each(|(id, _)| id.clone_from(&response.id));
            self.chain.commit(response);
        }
        self.views().tell(arrivals);
        kept
    }

    /// Replaces the conversation; no turn 0 replaces it again.
    pub fn set_messages(&mut self, messages: impl Into<Messages>) {
        self.chain.replace_all(messages);
        self.is_set = true;
    }

    /// Lets a message wait to join the answer that streams; tells whether it does: not when its id is known.
    ///
    /// # Errors
    ///
    /// Fails when the message has no model form.
    pub fn steer(&mut self, message: UiMessage) -> Result<bool, ConvertError> {
        let told = to_model_messages(std::slice::from_ref(&message), &self.outputs)?;
        Ok(self.steer_as(message, told))
    }

    /// Lets a message wait to join the answer, of which the model reads `told`; tells whether it does.
    pub fn steer_as(&mut self, message: UiMessage, told: Vec<ModelMessage>) -> bool {
        !self.chain.contains(&message.id) && self.live.wait(message, told)
    }

    /// Takes the messages that still wait: what joined no answer wants a turn of its own.
    pub fn drain_steering(&mut self) -> Vec<UiMessage> {
        self.live.drain()
    }

    /// Makes the preparation of an answer's steps: compaction, then messages that wait.
    ///
    /// Pass it to [`StreamText::prepare_step`](crate::StreamText::prepare_step). It shares its queue with the accumulator: what is
    /// steered while the answer streams joins it, and what was drained does not.
    pub fn prepare_step(
        &self,
    ) -> impl Fn(PrepareStep) -> futures::future::BoxFuture<'static, Result<StepChange, HookError>>
    + Send
    + Sync
    + 'static
    + use<> {
        let preparation = Live::preparation(&self.live, self.compaction.clone(), self.pending_messages.clone());
        move |step| {
            let preparation = preparation.clone();
            Box::pin(async move { preparation.prepare(step).await })
        }
    }

    /// Compacts a turn that is over if it is time; tells whether it was.
    ///
    /// # Errors
    ///
    /// Fails as the hooks of [`Compaction`] do; the conversation then stays as it is.
    pub async fn compact_if_needed(&mut self, usage: Usage, context: CompactionContext) -> Result<bool, HookError> {
        let Some(options) = self.compaction.clone() else {
            return Ok(false);
        };
        let CompactionContext { chat, turn, client_data, total_usage } = context;
        let procedure = Procedure { options, on_compacted: None, writer: chat.writer(), id: chat.pipes().part_id() };
        let check = CompactionCheck {
            chat,
            messages: self.model_messages().unwrap_or_default(),
            total_tokens: usage.total_tokens,
            input_tokens: usage.input_tokens,
            output_tokens: usage.output_tokens,
            usage,
            total_usage,
            turn,
            client_data,
            source: CompactionSource::Outer,
            step_number: None,
            steps: Vec::new(),
        };
        Ok(self.views().compact(&procedure, &check).await?)
    }
}

/// An assistant message brings answers to calls; calls it left open are not its to bring.
fn cleaned(message: UiMessage) -> UiMessage {
    if message.is_assistant() { cleanup_aborted_parts(message) } else { message }
}

impl fmt::Debug for MessageAccumulator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ids: Vec<&str> = self.ui_messages().iter().map(|message| message.id.as_str()).collect();
        f.debug_tuple("MessageAccumulator").field(&ids).finish()
    }
}

#[cfg(test)]
mod tests;

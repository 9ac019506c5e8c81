//! One message turn, in the order of A §4.2.

mod answer;
mod arrivals;
mod compaction;
mod events;
mod merge;

use std::sync::Arc;

use serde_json::Value;
use turnkeep_model::{ConvertError, FinishReason, Usage};
use turnkeep_protocol::run_api::Mark;
use turnkeep_protocol::{
    ChatTaskWirePayload, ModelMessage, SeqNum, Trigger, UiMessage, UiMessageChunk, Withheld, cleanup_aborted_parts,
};

use super::Run;
use super::hooks::TurnFailure;
use crate::boot::replay::Owed;
use crate::chain::{Merge, join_parts};
use crate::compaction::Kept;
use crate::error::Error;
use crate::event::ValidateMessages;
use crate::generation::Arrived;
use crate::handover::HandedOver;
use crate::signal::Signal;
use crate::steering::{Hearing, Joined};

/// What a turn knows about itself while it runs.
pub(super) struct Turn {
    pub(super) number: usize,
    pub(super) seq_num: Option<SeqNum>,
    pub(super) payload: ChatTaskWirePayload,
    pub(super) client_data: Value,
    pub(super) stop: Signal,
    pub(super) token: Option<String>,
    /// What came in, as validation left it.
    pub(super) incoming: Option<UiMessage>,
    /// What validation put in front of it (D-81).
    pub(super) before_incoming: Vec<UiMessage>,
    /// Whether validation left nothing of it.
    pub(super) is_dropped: bool,
    /// What this turn added to the chain.
    pub(super) new_ui_messages: Vec<UiMessage>,
    /// The stored message whose calls the incoming one answered.
    pub(super) continued: Option<String>,
    pub(super) response: Option<UiMessage>,
    pub(super) raw_response: Option<UiMessage>,
    /// What came in between the steps of which answer.
    pub(super) arrivals: Vec<(String, Arrived)>,
    /// The summary that the answer went on from.
    pub(super) summary: Option<Kept>,
    /// Whether a model has answered, and what people did not get of its answer (D-68).
    pub(super) withheld: Option<Option<Withheld>>,
    /// None when nobody may steer.
    pub(super) hearing: Option<Hearing>,
    /// The people's messages that have joined the answer and are not in the chain yet.
    pub(super) steered: Vec<Joined>,
    /// Whether the response is in the chain; an error after that leaves it there.
    pub(super) is_committed: bool,
    pub(super) stopped: bool,
    pub(super) usage: Option<Usage>,
    pub(super) finish_reason: Option<FinishReason>,
    pub(super) error: Option<Arc<str>>,
    /// What a head start has left to this turn.
    pub(super) handed_over: Option<HandedOver>,
    /// What people had said before it, in a run that began with one.
    pub(super) head_start: Vec<UiMessage>,
    /// Whether the handed-over step is in the chain.
    pub(super) is_spliced: bool,
}

impl Run {
    /// Runs one turn to its one boundary.
    ///
    /// # Errors
    ///
    /// Fails only when the run itself cannot go on.
    pub(super) async fn message_turn(&mut self, owed: Owed) -> Result<(), Error> {
        let stop = Signal::new();
        self.input.enter_turn(stop.clone());
        self.serve_turn(Turn::new(self.n_turns, owed, stop)).await
    }

    /// Runs a turn that hears stops already.
    pub(super) async fn serve_turn(&mut self, mut turn: Turn) -> Result<(), Error> {
        // What nobody took up belongs to no turn (A-182, AR-27).
        self.chat.history().publish(self.chain.messages());
        self.begin_steering(&mut turn);
        let outcome = self.run_turn(&mut turn).await;
        // The turn no longer hears stops, however it ended (A-85, AR-12).
        self.input.leave_turn();
        self.model_history.keep_open(None);
        match outcome {
            Ok(Merge::AlreadyAnswered) => self.close_turn(turn.seq_num, None).await.map(drop),
            Ok(_) => {
                self.n_turns += 1;
                self.end_steering(&mut turn);
                self.complete_turn(turn).await
            }
            Err(TurnFailure::Turn(text)) => {
                self.n_turns += 1;
                self.end_steering(&mut turn);
                // Readers have it: it stays, whatever failed.
                self.splice(&mut turn);
                self.errored_turn(turn, text).await
            }
            Err(TurnFailure::Run(error)) => Err(error),
        }
    }

    /// Steps 1 to 17: everything before the boundary.
    async fn run_turn(&mut self, turn: &mut Turn) -> Result<Merge, TurnFailure> {
        self.set_up(turn).await?;
        self.begin_pipes(turn);
        self.validate(turn).await?;
        if turn.is_dropped {
            return Ok(Merge::AlreadyAnswered);
        }
        let merge = self.merge(turn).await?;
        let merge = if self.splice(turn) { Merge::Answer } else { merge };
        if merge == Merge::AlreadyAnswered {
            return Ok(merge);
        }
        self.chat.history().publish(self.chain.messages());
        self.chat.pipes().go_on_with(turn.continued.clone());
        self.begin_store(turn).await?;
        self.begin_preparing(turn);
        turn.token = self.link.mint_token().await;
        self.on_chat_start(turn).await?;
        self.on_turn_start(turn).await?;
        match merge {
            Merge::Answer if turn.is_answered() => self.keep_handed_over(turn).await?,
            Merge::Answer => self.answer(turn).await?,
            _ => {}
        }
        self.input.leave_turn();
        self.model_history.keep_open(None);
        self.end_answers(turn);
        self.apply_override();
        self.keep_summary(turn).await?;
        self.take_in_steered(turn);
        if self.tell_start_for_parts(turn).await? {
            self.out.chunk(&UiMessageChunk::finish("stop")).await?;
        }
        self.commit(turn);
        self.tell_arrivals(turn);
        self.chat.settle_deferred().await;
        self.compact_turn(turn).await?;
        self.on_before_turn_complete(turn).await?;
        Ok(merge)
    }

    /// Step 2: lets the author check, and change, what came in; what the author drops gets its boundary and no more (D-81).
    async fn validate(&mut self, turn: &mut Turn) -> Result<(), TurnFailure> {
        let is_submit = turn.payload.trigger == Some(Trigger::SubmitMessage);
        let incoming = turn.payload.message.clone().filter(|_| is_submit);
        // An assistant message brings answers to calls; calls it left open are not its to bring.
        turn.incoming =
            incoming.map(|message| if message.is_assistant() { cleanup_aborted_parts(message) } else { message });
        if self.is_hydrated() && turn.handed_over.is_some() {
            // An author's own history is told what people said before the run began.
            turn.before_incoming.clone_from(&turn.head_start);
            turn.incoming = turn.before_incoming.pop();
        }
        let Some(hook) = self.agent.hooks.validate_messages.clone().filter(|_| turn.incoming.is_some()) else {
            return Ok(());
        };
        let event = ValidateMessages {
            chat: self.chat.clone(),
            messages: turn.before_incoming.iter().chain(&turn.incoming).cloned().collect(),
            turn: turn.number,
            trigger: Trigger::SubmitMessage,
        };
        let mut messages = hook(event).await?;
        turn.incoming = messages.pop();
        turn.is_dropped = turn.incoming.is_none();
        turn.before_incoming = messages;
        self.apply_override();
        Ok(())
    }

    /// Step 6: once per chat, until it has succeeded (A-94, A-103, D-45).
    async fn on_chat_start(&mut self, turn: &Turn) -> Result<(), TurnFailure> {
        let Some(hook) = self.agent.hooks.chat_start.clone().filter(|_| !self.lease.chat_started) else {
            return Ok(());
        };
        let writer = self.writer();
        let result = hook(self.chat_start_event(turn, writer.clone())).await;
        // Flushed even when the hook failed: what it wrote is on record before the error is.
        writer.flush().await?;
        result?;
        self.apply_override();
        self.link.mark(Mark::ChatStarted).await?;
        self.lease.chat_started = true;
        Ok(())
    }

    /// Step 7.
    async fn on_turn_start(&mut self, turn: &Turn) -> Result<(), TurnFailure> {
        let Some(hook) = self.agent.hooks.turn_start.clone() else {
            return Ok(());
        };
        let writer = self.writer();
        let result = hook(self.turn_start_event(turn, writer.clone())).await;
        writer.flush().await?;
        result?;
        self.apply_override();
        Ok(())
    }

    /// Step 13: the response, cleaned if it was cut, takes its place in the chain.
    pub(super) fn commit(&mut self, turn: &mut Turn) {
        let cut = turn.stopped || turn.error.is_some();
        let mut response = turn.raw_response.clone().map(|raw| if cut { cleanup_aborted_parts(raw) } else { raw });
        let queued = self.queued.take();
        if !queued.is_empty() {
            let message = response.get_or_insert_with(|| self.message_for_parts(turn));
            join_parts(message, queued);
        }
        let Some(response) = response else {
            return;
        };
        if self.chain.commit(response.clone()) {
            turn.new_ui_messages.push(response.clone());
            turn.response = Some(response);
            turn.is_committed = true;
            self.chat.history().publish(self.chain.messages());
        }
    }

    /// Opens the message of parts that were written without any answer: a message that no `start` names is not on record, and a boot
    /// could not rebuild it. Tells whether there was one to open.
    pub(super) async fn tell_start_for_parts(&mut self, turn: &mut Turn) -> Result<bool, Error> {
        let has_message = turn.is_committed || turn.raw_response.is_some() || self.chat.pipes().are_used();
        if has_message || self.queued.is_empty() {
            return Ok(false);
        }
        let message = self.message_for_parts(turn);
        self.out.chunk(&UiMessageChunk::start(message.id.clone())).await?;
        turn.raw_response = Some(message);
        Ok(true)
    }

    /// Gives the message that parts join which were written without any answer: the one whose calls were answered, which the next
    /// answer goes on with (D-16, A-205), else one of their own.
    pub(super) fn message_for_parts(&self, turn: &Turn) -> UiMessage {
        let continued = turn.continued.as_deref().filter(|id| !self.chain.is_left_behind(id));
        let continued = continued.and_then(|id| self.chain.find(id)).cloned();
        continued.unwrap_or_else(|| UiMessage::assistant(self.fresh_message_id(), Vec::new()))
    }

    /// Step 17: the author's last word while the stream is open; late parts join the response.
    async fn on_before_turn_complete(&mut self, turn: &mut Turn) -> Result<(), TurnFailure> {
        let Some(hook) = self.agent.hooks.before_turn_complete.clone() else {
            return Ok(());
        };
        let writer = self.writer();
        let result = hook(self.before_turn_complete_event(turn, writer.clone())).await;
        writer.flush().await?;
        result?;
        let is_taken_back = self.apply_override() && self.follow_override(turn);
        if self.tell_start_for_parts(turn).await? {
            self.out.chunk(&UiMessageChunk::finish("stop")).await?;
        }
        let late = self.queued.take();
        if late.is_empty() {
            return Ok(());
        }
        let said = || turn.raw_response.clone().filter(|_| !is_taken_back).map(cleanup_aborted_parts);
        let opened = turn.response.clone().or_else(said);
        let mut response = opened.unwrap_or_else(|| self.message_for_parts(turn));
        join_parts(&mut response, late);
        self.chain.commit(response.clone());
        turn.new_ui_messages.retain(|message| message.id != response.id);
        turn.new_ui_messages.push(response.clone());
        turn.response = Some(response);
        turn.is_committed = true;
        Ok(())
    }

    /// Makes the response what the author's override has made of it; tells whether it was taken out of the history.
    fn follow_override(&self, turn: &mut Turn) -> bool {
        let Some(id) = turn.response.as_ref().map(|response| response.id.clone()) else {
            return false;
        };
        turn.response = self.chain.find(&id).cloned();
        match &turn.response {
            Some(response) => {
                let told = turn.new_ui_messages.iter_mut().filter(|message| message.id == id);
                told.for_each(|message| message.clone_from(response));
            }
            None => turn.new_ui_messages.retain(|message| message.id != id),
        }
        turn.response.is_none()
    }

    /// Steps 18 to 20: the boundary, and what follows it. Nothing here can fail the turn any more.
    async fn complete_turn(&mut self, turn: Turn) -> Result<(), Error> {
        if turn.usage.is_some() {
            self.previous_turn_usage = turn.usage;
            self.total_usage += turn.usage.unwrap_or_default();
        }
        let last_event_id = self.close_turn(turn.seq_num, turn.token.clone()).await?;
        self.on_turn_complete(&turn, last_event_id).await?;
        self.store_snapshot().await
    }

    /// Step 19.
    pub(super) async fn on_turn_complete(&mut self, turn: &Turn, last_event_id: SeqNum) -> Result<(), Error> {
        // The turn is over: what the hook pipes is of none (D-64).
        self.out.stand_apart();
        if let Some(hook) = self.agent.hooks.turn_complete.clone() {
            self.chat.history().publish(self.chain.messages());
            if let Err(error) = hook(self.turn_complete_event(turn, Some(last_event_id))).await {
                self.fatal("on_turn_complete", &error)?;
                self.warn(format!("on_turn_complete failed: {error}"));
            }
            self.apply_override();
        }
        // Nothing is attached to an answer that is over.
        if !self.queued.take().is_empty() {
            self.warn("data parts written after the turn was complete are in no message");
        }
        Ok(())
    }

    /// Gives the chain in the form a model reads.
    pub(super) fn model_history(&mut self) -> Result<Vec<ModelMessage>, ConvertError> {
        self.model_history.messages(self.chain.messages(), &self.agent.model_outputs)
    }

    /// Gives hooks the history in model form: empty, with a warning, while it cannot be converted.
    pub(super) fn model_history_or_warn(&mut self) -> Vec<ModelMessage> {
        self.model_history().unwrap_or_else(|error| {
            self.warn(format!("the history has no model form: {error}"));
            Vec::new()
        })
    }
}

impl Turn {
    pub(super) fn new(number: usize, owed: Owed, stop: Signal) -> Self {
        Self {
            number,
            seq_num: owed.seq_num,
            payload: owed.payload,
            client_data: Value::Null,
            stop,
            token: None,
            incoming: None,
            before_incoming: Vec::new(),
            is_dropped: false,
            new_ui_messages: Vec::new(),
            continued: None,
            response: None,
            raw_response: None,
            arrivals: Vec::new(),
            withheld: None,
            hearing: None,
            steered: Vec::new(),
            summary: None,
            is_committed: false,
            stopped: false,
            usage: None,
            finish_reason: None,
            error: None,
            handed_over: None,
            head_start: Vec::new(),
            is_spliced: false,
        }
    }
}

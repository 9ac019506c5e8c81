//! The first turn of a run that was started for a head start: the wait for its signal, and what is made of it (A §14.2).

use turnkeep_model::FinishReason;
use turnkeep_protocol::{ChannelName, ChatTaskWirePayload, SeqNum, Trigger};

use super::Run;
use super::hooks::TurnFailure;
use super::turn::Turn;
use crate::boot::replay::Owed;
use crate::boundary::Boundaries;
use crate::error::Error;
use crate::handover::{HandedOver, Handover, HandoverSignal};
use crate::model_history::OpenCalls;

impl Run {
    /// Waits for the head start's signal and runs its turn; false when the run shall end instead: there was nothing to take over, or
    /// nothing came.
    pub(super) async fn take_over_first_turn(&mut self) -> Result<bool, Error> {
        match self.attempt.wait_for_handover(self.agent.limits.idle_timeout).await? {
            Some((seq_num, HandoverSignal::Handover(handover))) => {
                self.out.serve_record();
                self.handover_turn(seq_num, handover).await?;
                self.out.stand_apart();
                self.reach_turn_end().await;
                return Ok(true);
            }
            Some((seq_num, HandoverSignal::Skip)) => self.input.with(|inbox| inbox.finish(seq_num)),
            None => {}
        }
        self.input.leave_turn();
        self.keep_head_start().await?;
        Ok(false)
    }

    async fn handover_turn(&mut self, seq_num: SeqNum, handover: Handover) -> Result<(), Error> {
        let payload = ChatTaskWirePayload {
            trigger: Some(Trigger::SubmitMessage),
            message: None,
            message_id: None,
            head_start_messages: None,
            ..self.payload.clone()
        };
        let handed_over = HandedOver::new(handover, || self.fresh_message_id());
        let owed = Owed { seq_num: Some(seq_num), payload };
        let mut turn = Turn::new(self.n_turns, owed, self.first_stop.clone());
        turn.handed_over = Some(handed_over);
        turn.head_start = self.payload.head_start_messages.clone().unwrap_or_default();
        self.serve_turn(turn).await
    }

    /// Stores what people said before a head start that came to nothing. What its warm server has left on `out` answers nobody:
    /// the snapshot begins behind it, so that no later boot takes it for the answer to whoever speaks next.
    async fn keep_head_start(&mut self) -> Result<(), Error> {
        if self.is_hydrated() || self.chain.messages().is_empty() {
            return Ok(());
        }
        match self.link.drain(ChannelName::Out, self.boundaries.newest()).await {
            Ok(out) => {
                let tail = out.last().map(|last| last.seq_num);
                self.boundaries = Boundaries::booted(tail.or(self.boundaries.newest()), None);
            }
            Err(Error::LeaseLost) => return Err(Error::LeaseLost),
            Err(error) => self.warn(format!("the end of the head start cannot be found: {error}")),
        }
        self.store_snapshot().await
    }

    /// Puts the handed-over step into the chain, and its open calls into what the model reads; once, and never beside a message of its id
    /// . Tells whether the turn has one to go on from.
    pub(super) fn splice(&mut self, turn: &mut Turn) -> bool {
        let Some(handed_over) = turn.handed_over.clone().filter(|_| !turn.is_dropped) else {
            return false;
        };
        if std::mem::replace(&mut turn.is_spliced, true) {
            return true;
        }
        // In an author's own history it is the incoming message, which the merge reports.
        if let Some(said) = turn.head_start.last().filter(|said| said.is_user() && !self.is_hydrated()) {
            turn.new_ui_messages.extend(self.chain.find(&said.id).cloned());
        }
        let id = handed_over.message.id.clone();
        match self.chain.find(&id).filter(|known| known.is_assistant()) {
            Some(known) => {
                let mut known = known.clone();
                known.parts.extend(handed_over.missing_from(&known));
                self.chain.commit(known);
            }
            None if self.chain.contains(&id) => {
                self.warn(format!("message {id} of the head start is another one's: it is left out"));
                return true;
            }
            None => {
                self.chain.commit(handed_over.message.clone());
            }
        }
        if !turn.open_calls().is_empty() {
            let tool_call_ids = handed_over.pending.clone();
            self.model_history.keep_open(Some(OpenCalls { message_id: id.clone(), tool_call_ids }));
        }
        turn.raw_response = self.chain.find(&id).cloned();
        turn.continued = Some(id);
        true
    }

    /// Keeps an answer that the head start has brought to its end: no model is asked, and nothing is written.
    pub(super) async fn keep_handed_over(&mut self, turn: &mut Turn) -> Result<(), TurnFailure> {
        if turn.stop.is_set() {
            return self.stop_without_answer(turn).await;
        }
        let last = self.chain.messages().last().filter(|last| last.is_assistant());
        turn.raw_response = last.cloned();
        turn.finish_reason = Some(FinishReason::Stop);
        Ok(())
    }
}

impl Turn {
    /// Tells whether the head start has brought the answer to its end.
    pub(super) fn is_answered(&self) -> bool {
        self.handed_over.as_ref().is_some_and(|handed_over| handed_over.is_final)
    }

    /// Lists the calls that the head start has left to this turn.
    pub(super) fn open_calls(&self) -> Vec<String> {
        let handed_over = self.handed_over.as_ref().filter(|handed_over| !handed_over.is_final);
        handed_over.map(|handed_over| handed_over.pending.clone()).unwrap_or_default()
    }
}

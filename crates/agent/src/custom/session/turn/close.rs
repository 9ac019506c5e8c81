//! The end of a turn: its answer takes its place in the conversation, then `turn-complete`.

use turnkeep_model::Usage;
use turnkeep_protocol::{Messages, Trigger, UiMessage, UiMessageChunk};

use super::{CompletedTurn, CustomTurn, is_fatal};
use crate::accumulator::{CompactionContext, TakenIn};
use crate::chain::join_parts;
use crate::custom::TurnBoundary;
use crate::error::{Error, HookError};
use crate::event::{CompactionSource, CompactionSummary};
use crate::generation::Preparation;
use crate::steering::Hearing;

impl CustomTurn<'_> {
    /// Hears neither stops nor messages any more: the answer is over.
    pub(super) fn hush(&mut self) {
        self.session.run.attempt.input.leave_turn_of(&self.stop);
        self.cancelling = None;
        self.chat.pipes().prepare(Preparation::default());
        self.hearing.iter().for_each(Hearing::fall_silent);
    }

    /// Keeps an answer, if there is one, with the parts written beside it and the messages that have joined it; `opened` is the message
    /// that readers have begun. Gives what was kept, and whether it went on from a summary.
    pub(super) async fn keep(
        &mut self,
        response: Option<UiMessage>,
        opened: Option<String>,
    ) -> Result<(Option<UiMessage>, bool), HookError> {
        let response = self.join_queued(response, opened).await?;
        let by_hand = self.chat.pipes().take();
        let accumulator = &mut self.session.accumulator;
        accumulator.server_tools.extend(by_hand.executors);
        let mut steered = Vec::new();
        if let Some(hearing) = self.hearing.take() {
            let joined = hearing.take_joined();
            steered.extend(joined.into_iter().map(|joined| (joined.response_id, joined.message)));
            hearing.end();
        }
        let event = CompactionSummary {
            chat: self.chat.clone(),
            summary: String::new(),
            ui_messages: Messages::new(),
            model_messages: Vec::new(),
            turn: self.number,
            client_data: self.client_data.clone(),
            source: CompactionSource::Inner,
        };
        let is_compacted = by_hand.summary.is_some();
        let summary = by_hand.summary.map(|kept| (kept, event));
        let taken_in = TakenIn { steered, arrivals: by_hand.arrivals, summary };
        let kept = accumulator.end_answer(response.clone(), taken_in).await;
        if let Some(withheld) = by_hand.withheld {
            accumulator.model_history.withhold(accumulator.chain.messages(), withheld);
        }
        if let Some(response) = &response {
            self.response_id = Some(response.id.clone());
        }
        self.session.publish();
        kept?;
        Ok((response, is_compacted))
    }

    /// Puts parts that were written beside an answer behind it. Without one they are a message, which is opened for readers:
    /// one that no `start` names is not on record.
    async fn join_queued(
        &mut self,
        response: Option<UiMessage>,
        opened: Option<String>,
    ) -> Result<Option<UiMessage>, Error> {
        let attempt = &self.session.run.attempt;
        let parts = attempt.queued.take();
        if parts.is_empty() {
            return Ok(response);
        }
        let chain = &self.session.accumulator.chain;
        let kept = || self.response_id.as_ref().and_then(|id| chain.find(id)).cloned();
        let begun = response.or_else(kept).or_else(|| opened.map(|id| UiMessage::assistant(id, Vec::new())));
        let mut message = match begun {
            Some(message) => message,
            None => {
                let id = attempt.message_ids.fresh(|id| chain.contains(id));
                attempt.out.chunk(&UiMessageChunk::start(id.clone())).await?;
                attempt.out.chunk(&UiMessageChunk::finish("stop")).await?;
                UiMessage::assistant(id, Vec::new())
            }
        };
        join_parts(&mut message, parts);
        Ok(Some(message))
    }

    /// Compacts the turn if it is time. Its failure costs nothing but the summary.
    pub(super) async fn compact(&mut self, usage: Usage) -> Result<(), HookError> {
        let context = CompactionContext {
            chat: self.chat.clone(),
            turn: self.number,
            client_data: self.client_data.clone(),
            total_usage: self.session.total_usage + usage,
        };
        match self.session.accumulator.compact_if_needed(usage, context).await {
            Ok(_) => Ok(()),
            Err(error) if is_fatal(&error) => Err(error),
            Err(error) => {
                self.session.run.attempt.warn(format!("the compaction failed: {error}"));
                Ok(())
            }
        }
    }

    /// Closes a turn of a cancelled session: nothing of it is kept, and what has joined its answer is owed.
    pub(super) async fn abandon(&mut self) -> Result<CompletedTurn, HookError> {
        self.forget_answer();
        Ok(CompletedTurn::silent(self.close().await?))
    }

    /// Forgets what the answer would have left in the conversation; messages that have joined it have turns of their own.
    pub(super) fn forget_answer(&mut self) {
        let mut by_hand = self.chat.pipes().take();
        // What the agent itself has told the model stays told.
        by_hand.arrivals.retain(|(_, arrived)| arrived.speaks_for.is_empty());
        let accumulator = &mut self.session.accumulator;
        accumulator.server_tools.extend(by_hand.executors);
        accumulator.views().tell(by_hand.arrivals);
        if let Some(hearing) = self.hearing.take() {
            hearing.end();
        }
    }

    pub(super) async fn close(&mut self) -> Result<TurnBoundary, Error> {
        let token = match self.trigger {
            // No token for an action.
            Trigger::Action => None,
            _ => self.session.run.mint_access_token().await,
        };
        let boundary = self.session.run.write_turn_complete(token).await?;
        self.is_closed = true;
        Ok(boundary)
    }
}

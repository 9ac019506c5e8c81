//! [`CustomSession`]: a custom agent's run as turns, one after the other, with the conversation kept in between (A-213…A-217).
//!
//! It does what the turn loop does around an answer and nothing else: no hook is called, and nothing of the conversation is stored.

mod options;
mod turn;

use std::fmt;

use turnkeep_model::Usage;
use turnkeep_protocol::{Messages, Trigger, UiMessageChunk};

pub use self::options::SessionOptions;
use self::turn::Opened;
pub use self::turn::{CompletedTurn, CustomTurn};
use super::CustomRun;
use crate::accumulator::MessageAccumulator;
use crate::boot::replay::Owed;
use crate::chain::{Judged, Merge};
use crate::chat::TurnContext;
use crate::compaction::Surroundings;
use crate::error::Error;
use crate::generation::Preparation;
use crate::record::Asks;
use crate::signal::Signal;
use crate::steering::{Hearing, HearingParts, SharedSteering};
use crate::store::StoreError;

/// The turns of a custom agent's run; made by [`CustomRun::create_session`].
pub struct CustomSession {
    /// The run; between turns its own members may be used.
    pub run: CustomRun,
    options: SessionOptions,
    accumulator: MessageAccumulator,
    steering: SharedSteering,
    /// Taken and neither given out nor closed yet: a `next` that is dropped while it works on a payload must not lose it.
    opening: Option<Opening>,
    /// Given out so far, actions apart (A-112).
    n_turns: usize,
    previous_turn_usage: Option<Usage>,
    total_usage: Usage,
}

struct Opening {
    owed: Owed,
    asks: Asks,
}

/// What decides whether a session takes anything more up.
#[derive(Clone, Copy, Debug)]
struct Standing {
    n_turns: usize,
    max_turns: usize,
    is_cancelled: bool,
}

impl Standing {
    /// Tells whether another payload may be taken. Whatever ends a session by the author's will belongs here, and nowhere behind: a
    /// payload that is taken is always served (A-217, A-241, AR-34).
    fn takes_more(self) -> bool {
        !self.is_cancelled && self.n_turns < self.max_turns
    }
}

impl CustomRun {
    /// Serves the run as turns (A-213).
    ///
    /// ```
    /// use turnkeep_agent::{Agent, CustomRun, SessionOptions};
    ///
    /// let agent = Agent::custom("talker", |run: CustomRun| async move {
    ///     let mut session = run.create_session(SessionOptions::new());
    ///     while let Some(mut turn) = session.next().await? {
    ///         let answer = turn.stream_text()?;
    ///         turn.complete(answer).await?;
    ///     }
    ///     Ok(())
    /// });
    /// # let _: Agent = agent.into();
    /// ```
    pub fn create_session(self, options: SessionOptions) -> CustomSession {
        let options = options.gated(&self.attempt.gate);
        let mut accumulator = MessageAccumulator::new().tools(&options.tools);
        if let Some(compaction) = options.compaction.clone() {
            accumulator = accumulator.compaction(compaction);
        }
        CustomSession {
            run: self,
            options,
            accumulator,
            steering: SharedSteering::default(),
            opening: None,
            n_turns: 0,
            previous_turn_usage: None,
            total_usage: Usage::default(),
        }
    }
}

impl CustomSession {
    /// Begins with this conversation, as the author has stored it; what comes in is laid over it or appended (A-90).
    pub fn set_messages(&mut self, messages: impl Into<Messages>) {
        self.accumulator.set_messages(messages);
        self.publish();
    }

    /// Shows the conversation as people see it.
    pub fn ui_messages(&self) -> &Messages {
        self.accumulator.ui_messages()
    }

    /// Waits for the next turn; none when the session shall end: nothing came in time, the chat or the session was closed, the worker is
    /// going away, there were as many turns as there may be, it was cancelled, or [`Chat::end_run`](crate::Chat::end_run) was called
    /// and nothing waits.
    ///
    /// A turn that was dropped without [`CustomTurn::complete`] or [`CustomTurn::done`] is closed with the next one. Dropping the
    /// future loses nothing.
    ///
    /// # Errors
    ///
    /// Fails when the run cannot go on; return the error.
    pub async fn next(&mut self) -> Result<Option<CustomTurn<'_>>, Error> {
        loop {
            if self.opening.is_none() && self.standing().takes_more() {
                self.opening = self.take_next().await?;
            }
            if self.opening.is_none() {
                return Ok(None);
            }
            if let Some(opened) = self.open().await? {
                return Ok(Some(CustomTurn::new(self, opened)));
            }
        }
    }

    fn standing(&self) -> Standing {
        let is_cancelled = self.options.is_cancelled();
        Standing { n_turns: self.n_turns, max_turns: self.options.max_turns, is_cancelled }
    }

    async fn take_next(&mut self) -> Result<Option<Opening>, Error> {
        let owed = tokio::select! {
            biased;
            () = self.options.cancelled() => None,
            owed = self.run.next_owed(self.options.wait) => owed?,
        };
        Ok(owed.map(|owed| {
            let message =
                owed.payload.message.as_ref().filter(|_| owed.payload.trigger == Some(Trigger::SubmitMessage));
            let is_sent_again =
                message.is_some_and(|message| self.steering.lock().is_sent_again(owed.seq_num, message));
            Opening { asks: Asks::of(&owed.payload, is_sent_again), owed }
        }))
    }

    /// Makes a turn of the payload in hand; none when it is done with already.
    async fn open(&mut self) -> Result<Option<Opened>, Error> {
        let judged = match self.opening.as_ref().map(|opening| opening.asks) {
            None => return Ok(None),
            Some(Asks::Nothing) => {
                let opening = self.opening.take();
                opening.into_iter().for_each(|opening| self.run.attempt.finish(&opening.owed));
                return Ok(None);
            }
            Some(Asks::Boundary(error)) => return self.close_unserved(error.map(str::to_owned)).await,
            Some(Asks::Turn | Asks::Action) => self.merge(),
        };
        let judged = match judged {
            Ok(judged) if judged.merge == Merge::AlreadyAnswered => return self.close_unserved(None).await,
            Ok(judged) => judged,
            Err(text) => return self.close_unserved(Some(text)).await,
        };
        let incoming_store = self.opening.as_ref().and_then(|opening| opening.owed.payload.incoming_store.clone());
        let store = self.run.chat.store().clone();
        match store.begin_turn(incoming_store).await {
            Ok(()) => {}
            Err(StoreError::Write(error)) => return Err(error),
            Err(refused) => return self.close_unserved(Some(refused.to_string())).await,
        }
        Ok(self.opening.take().map(|opening| self.give_out(opening, judged)))
    }

    /// Brings what came in into the conversation; merged once more, it changes nothing.
    fn merge(&mut self) -> Result<Judged, String> {
        let nothing = Judged { merge: Merge::Answer, continued: None, warnings: Vec::new() };
        let Some(Opening { owed, .. }) = &mut self.opening else {
            return Ok(nothing);
        };
        match (owed.payload.trigger, &mut owed.payload.message) {
            (Some(Trigger::SubmitMessage), Some(message)) => {
                if message.id.is_empty() {
                    message.id = self.run.attempt.message_ids.fresh(|id| self.accumulator.chain.contains(id));
                }
                let judged = self.accumulator.absorb(message.clone());
                judged.warnings.iter().for_each(|warning| self.run.attempt.warn(warning));
                Ok(judged)
            }
            (Some(Trigger::RegenerateMessage), _) => {
                let redo = self.accumulator.regenerate(owed.payload.message_id.as_deref());
                redo.map(|()| nothing).map_err(|nothing| nothing.to_string())
            }
            // An action is the author's to carry out; it is no part of the conversation (A-217).
            _ => Ok(nothing),
        }
    }

    /// Closes a payload that is no turn; its sender waits for a boundary.
    async fn close_unserved(&mut self, error: Option<String>) -> Result<Option<Opened>, Error> {
        let seq_num = self.opening.as_ref().and_then(|opening| opening.owed.seq_num);
        if let Some(text) = error {
            self.run.attempt.out.chunk(&UiMessageChunk::error(text)).await?;
        }
        self.run.attempt.close_turn(seq_num, None).await?;
        self.run.attempt.reach_turn_end().await;
        self.opening = None;
        Ok(None)
    }

    fn give_out(&mut self, opening: Opening, judged: Judged) -> Opened {
        let is_action = opening.asks == Asks::Action;
        let number = self.n_turns;
        self.n_turns += usize::from(!is_action);
        let payload = self.run.take(opening.owed);
        let client_data = payload.metadata.clone().unwrap_or_default();
        let stop = Signal::new();
        let attempt = &self.run.attempt;
        attempt.input.enter_turn(stop.clone());
        attempt.chat.enter_turn(TurnContext {
            number,
            continuation: attempt.is_continuation(),
            client_data: client_data.clone(),
        });
        attempt.open_pipes(number, client_data.clone(), stop.clone(), self.accumulator.outputs.clone());
        attempt.chat.pipes().go_on_with(judged.continued.clone());
        let is_late = judged.continued.is_some_and(|id| self.accumulator.chain.is_left_behind(&id));
        self.publish();
        let preparation = if is_action { Preparation::default() } else { self.preparation(number, &stop) };
        self.run.chat.pipes().prepare(preparation.clone());
        let cancelling = self.options.signal.clone().map(|cancel| {
            let cancelled = stop.clone();
            self.run.attempt.host.spawn(async move { cancelled.set(&cancel.wait().await) })
        });
        Opened {
            number,
            payload,
            client_data,
            // An action's answer is a message of its own (A-160), as one to calls that something follows is (D-62).
            is_apart: is_action || is_late,
            wants_answer: judged.merge == Merge::Answer,
            stop,
            cancelling,
            hearing: preparation.hearing,
        }
    }

    /// Says what every answer of a turn has done before each step, whoever pipes it (A-167). An action's has nothing: it is no turn
    /// (A-159), so nobody steers it, and it leaves no summary.
    fn preparation(&self, turn: usize, stop: &Signal) -> Preparation {
        let parts = |options| HearingParts {
            options,
            steering: self.steering.clone(),
            input: self.run.attempt.input.clone(),
            turn,
            stop: stop.clone(),
        };
        Preparation {
            hearing: self.options.pending_messages.clone().map(|options| Hearing::open(parts(options))),
            compaction: self.options.compaction.clone(),
            surroundings: Surroundings { spent: self.total_usage, ..Surroundings::default() },
            withheld: self.accumulator.model_history.withheld().cloned(),
            open_calls: Vec::new(),
        }
    }

    /// Shows the conversation to whoever reads the chat's history.
    fn publish(&self) {
        self.run.chat.history().publish(self.ui_messages());
    }

    /// Takes up what somebody has made of the chat's history (A-180).
    fn apply_override(&mut self) {
        if let Some(messages) = self.run.chat.history().take_override() {
            self.accumulator.set_messages(messages);
        }
    }
}

impl fmt::Debug for CustomSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CustomSession")
            .field("run", &self.run)
            .field("n_turns", &self.n_turns)
            .field("messages", &self.accumulator)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;

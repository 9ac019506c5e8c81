//! What comes in beside the turn's own message: injected before `run`, or between the steps of the answer.

use turnkeep_model::ConvertError;
use turnkeep_protocol::ModelMessage;

use super::{Run, Turn};
use crate::boot::replay::Owed;
use crate::compaction::Surroundings;
use crate::generation::Preparation;
use crate::inject::ends_with_tool_message;
use crate::steering::{Hearing, HearingParts, Joined};

impl Run {
    /// Lets the author's own pipes be this turn's.
    pub(in crate::run) fn begin_pipes(&mut self, turn: &mut Turn) {
        self.take_piped(turn);
        (turn.summary, turn.withheld) = (None, None);
        self.open_pipes(turn.number, turn.client_data.clone(), turn.stop.clone(), self.agent.model_outputs.clone());
    }

    /// Takes over what the author's own pipes have left behind: tools that ran, and what only the model was told.
    fn take_piped(&mut self, turn: &mut Turn) {
        let by_hand = self.chat.pipes().take();
        self.server_tools.extend(by_hand.executors);
        turn.arrivals.extend(by_hand.arrivals);
        turn.summary = by_hand.summary.or(turn.summary.take());
        turn.withheld = by_hand.withheld.or(turn.withheld.take());
    }

    /// Gives the turn its ear, if the agent may be steered.
    pub(super) fn begin_steering(&self, turn: &mut Turn) {
        let parts = |options| HearingParts {
            options,
            steering: self.steering.clone(),
            input: self.input.clone(),
            turn: turn.number,
            stop: turn.stop.clone(),
        };
        turn.hearing = self.agent.pending_messages.clone().map(|options| Hearing::open(parts(options)));
    }

    /// Lets every answer of the turn be prepared step by step, whoever pipes it. An action's is not: it is no turn
    /// so nobody steers it, and it leaves no summary.
    pub(super) fn begin_preparing(&self, turn: &Turn) {
        self.chat.pipes().prepare(Preparation {
            hearing: turn.hearing.clone(),
            compaction: self.agent.compaction.clone(),
            surroundings: Surroundings {
                on_compacted: self.agent.hooks.compacted.clone().map(|hook| (hook, self.ctx.clone())),
                prepare_messages: self.agent.hooks.prepare_messages.clone(),
                spent: self.total_usage,
            },
            withheld: self.model_history.withheld().cloned(),
            open_calls: turn.open_calls(),
        });
    }

    /// Ends the answers of the turn: what is piped from now on is not prepared, and what the author's own pipes have left is the turn's.
    pub(super) fn end_answers(&mut self, turn: &mut Turn) {
        self.chat.pipes().prepare(Preparation::default());
        turn.hearing.iter().for_each(Hearing::fall_silent);
        self.take_piped(turn);
    }

    /// Gives the history in model form with everything injected so far (A-96, AR-26).
    pub(super) fn drained_history(&mut self) -> Result<Vec<ModelMessage>, ConvertError> {
        let mut messages = self.model_history()?;
        // Nor behind calls that are about to run.
        if !ends_with_tool_message(&messages) && self.model_history.open_calls().is_none() {
            let injected = self.chat.take_injected();
            messages.extend(injected.iter().cloned());
            self.model_history.inject(self.chain.messages(), injected);
        }
        Ok(messages)
    }

    /// Tells whether a message only repeats what the last turns have left over (D-42).
    pub(in crate::run) fn is_sent_again(&mut self, owed: &Owed) -> bool {
        owed.payload.message.as_ref().is_some_and(|message| self.steering.lock().is_sent_again(owed.seq_num, message))
    }

    /// Leaves what nobody took in to turns of its own; what joined an answer is finished with the turn.
    pub(super) fn end_steering(&mut self, turn: &mut Turn) {
        self.chat.pipes().prepare(Preparation::default());
        if let Some(hearing) = &turn.hearing {
            turn.steered.extend(hearing.take_joined());
            hearing.end();
        }
    }

    /// Puts people's messages that joined an answer into the chain, in front of it.
    pub(in crate::run) fn take_in_steered(&mut self, turn: &mut Turn) {
        turn.steered.extend(turn.hearing.iter().flat_map(Hearing::take_joined));
        for Joined { response_id, message, .. } in std::mem::take(&mut turn.steered) {
            self.views().take_in(&response_id, message.clone());
            turn.new_ui_messages.push(message);
        }
    }

    /// Keeps what came in during the answer at its place in what the model reads from now on.
    pub(in crate::run) fn tell_arrivals(&mut self, turn: &mut Turn) {
        self.take_piped(turn);
        self.views().tell(std::mem::take(&mut turn.arrivals));
        if let Some(withheld) = turn.withheld.take() {
            self.model_history.withhold(self.chain.messages(), withheld);
        }
    }
}

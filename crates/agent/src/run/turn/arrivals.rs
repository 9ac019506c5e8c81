//! What comes in beside the turn's own message: injected before `run`, or between the steps of the answer.

use turnkeep_model::ConvertError;
use turnkeep_protocol::ModelMessage;

use super::{Run, Turn};
use crate::boot::replay::Owed;
use crate::inject::ends_with_tool_message;

impl Run {
    /// Lets the author's own pipes be this turn's.
    pub(in crate::run) fn begin_pipes(&mut self, turn: &mut Turn) {
        self.take_piped(turn);
        self.open_pipes(turn.number, turn.client_data.clone(), turn.stop.clone(), self.agent.model_outputs.clone());
    }

    /// Takes over what the author's own pipes have left behind: tools that ran, and what only the model was told.
    fn take_piped(&mut self, turn: &mut Turn) {
        let by_hand = self.chat.pipes().take();
        self.server_tools.extend(by_hand.executors);
        turn.arrivals.extend(by_hand.arrivals);
    }

    /// Gives the history in model form with everything injected so far (A-96, AR-26).
    pub(super) fn drained_history(&mut self) -> Result<Vec<ModelMessage>, ConvertError> {
        let mut messages = self.model_history()?;
        if !ends_with_tool_message(&messages) {
            let injected = self.chat.take_injected();
            messages.extend(injected.iter().cloned());
            self.model_history.inject(self.chain.messages(), injected);
        }
        Ok(messages)
    }

    /// Tells whether a message only repeats what the last turns have left over (D-42).
    pub(in crate::run) fn is_sent_again(&mut self, owed: &Owed) -> bool {
        owed.payload.message.as_ref().is_some_and(|message| self.steering.is_sent_again(owed.seq_num, message))
    }

    /// Leaves what nobody took in to turns of its own.
    pub(super) fn end_steering(&mut self) {
        self.steering.end(self.input.with(|inbox| inbox.received()));
    }

    /// Puts people's messages that joined the answer into the chain, in front of it.
    pub(in crate::run) fn take_in_steered(&mut self, turn: &mut Turn) {
        let response = turn.raw_response.as_ref().map(|response| response.id.as_str()).unwrap_or_default();
        self.views().take_in(response, &turn.steered);
        turn.new_ui_messages.append(&mut turn.steered);
    }

    /// Keeps what came in during the answer at its place in what the model reads from now on.
    pub(in crate::run) fn tell_arrivals(&mut self, turn: &mut Turn) {
        self.take_piped(turn);
        let response = turn.raw_response.as_ref().map(|response| response.id.clone()).unwrap_or_default();
        self.views().tell(&response, std::mem::take(&mut turn.arrivals));
    }
}

//! What comes in beside the turn's own message: injected before `run`, or between the steps of the answer.

use turnkeep_model::ConvertError;
use turnkeep_protocol::ModelMessage;

use super::{Run, Turn};
use crate::inject::ends_with_tool_message;

impl Run {
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

    /// Keeps what came in during the answer at its place in what the model reads from now on.
    pub(in crate::run) fn tell_arrivals(&mut self, turn: &mut Turn) {
        let response = turn.raw_response.as_ref().map(|response| response.id.clone()).unwrap_or_default();
        for arrived in std::mem::take(&mut turn.arrivals) {
            let spot = (response.as_str(), arrived.n_steps);
            self.model_history.steer(self.chain.messages(), spot, arrived.messages, Vec::new());
        }
    }
}

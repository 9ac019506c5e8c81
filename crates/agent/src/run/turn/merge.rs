//! Step 3: the history of the turn, from the author's store or from ours, and the incoming message in it (A-87…A-92).

use turnkeep_protocol::{Trigger, UiMessage};

use super::{Run, Turn, TurnFailure};
use crate::agent::Hook;
use crate::chain::{Absorbed, Merge};
use crate::event::HydrateMessages;

/// What an author's own history lacks when it holds nothing: no model can be asked then.
const NOTHING_HYDRATED: &str = "hydrate_messages gave no messages";

impl Run {
    /// Brings the incoming message into the chain, or the answer to redo out of it.
    pub(super) async fn merge(&mut self, turn: &mut Turn) -> Result<Merge, TurnFailure> {
        if let Some(incoming) = &mut turn.incoming
            && incoming.id.is_empty()
        {
            incoming.id = self.fresh_message_id();
        }
        for message in &mut turn.before_incoming {
            if message.id.is_empty() {
                message.id = self.fresh_message_id();
            }
        }
        if let Some(hook) = self.agent.hooks.hydrate_messages.clone() {
            return self.hydrate(turn, hook).await;
        }
        if turn.payload.trigger == Some(Trigger::RegenerateMessage) {
            let redo = self.chain.regenerate(turn.payload.message_id.as_deref());
            redo.map_err(|nothing| TurnFailure::Turn(nothing.to_string()))?;
            return Ok(Merge::Answer);
        }
        let Some(incoming) = turn.incoming.clone() else {
            return Ok(Merge::Answer);
        };
        for message in std::mem::take(&mut turn.before_incoming) {
            self.absorb_before(turn, message);
        }
        let absorbed = self.chain.absorb(incoming.clone(), &self.server_tools);
        if matches!(absorbed, Absorbed::Appended { .. }) {
            turn.new_ui_messages.extend(self.chain.find(&incoming.id).cloned());
        }
        Ok(self.judge(turn, &incoming, absorbed))
    }

    /// Takes in a message that validation put in front of the incoming one: it is history, and asks for no answer of its own (D-81).
    pub(in crate::run) fn absorb_before(&mut self, turn: &mut Turn, message: UiMessage) {
        let id = message.id.clone();
        let absorbed = self.chain.absorb(message.clone(), &self.server_tools);
        if matches!(absorbed, Absorbed::Appended { .. }) {
            turn.new_ui_messages.extend(self.chain.find(&id).cloned());
        }
        for warning in self.chain.judge(&message, absorbed, &self.server_tools).warnings {
            self.warn(warning);
        }
    }

    /// Makes the author's history the chain and lays the incoming message over it.
    async fn hydrate(
        &mut self,
        turn: &mut Turn,
        hook: Hook<HydrateMessages, Vec<UiMessage>>,
    ) -> Result<Merge, TurnFailure> {
        if let Some(incoming) = &mut turn.incoming
            && let Some(id) = self.chain.mapped_id(incoming)
        {
            incoming.id = id.to_owned();
        }
        // Judged before the hook, which may have stored the message itself by the time it returns (AR-14).
        let is_new = turn.incoming.as_ref().is_some_and(|incoming| !self.chain.contains(&incoming.id));
        let messages = hook(self.hydrate_event(turn)).await?;
        if messages.is_empty() {
            return Err(TurnFailure::Turn(NOTHING_HYDRATED.to_owned()));
        }
        let Some(incoming) = &mut turn.incoming else {
            self.chain.replace_all(messages);
            return Ok(Merge::Answer);
        };
        let absorbed = self.chain.hydrate(messages, incoming, &self.server_tools);
        // What advances a message of the history is reported with the response that goes on with it.
        if is_new && !matches!(absorbed, Some(Absorbed::Merged { .. })) {
            turn.new_ui_messages.push(incoming.clone());
        }
        let incoming = incoming.clone();
        Ok(absorbed.map_or(Merge::Answer, |absorbed| self.judge(turn, &incoming, absorbed)))
    }

    pub(in crate::run) fn hydrate_event(&self, turn: &Turn) -> HydrateMessages {
        HydrateMessages {
            chat: self.chat.clone(),
            turn: turn.number,
            trigger: turn.payload.trigger.unwrap_or(Trigger::SubmitMessage),
            incoming_messages: turn.before_incoming.iter().chain(&turn.incoming).cloned().collect(),
            previous_messages: self.chain.messages().clone(),
            client_data: turn.client_data.clone(),
            continuation: self.is_continuation(),
            previous_run_id: self.payload.previous_run_id.clone(),
        }
    }

    fn judge(&self, turn: &mut Turn, incoming: &UiMessage, absorbed: Absorbed) -> Merge {
        let judged = self.chain.judge(incoming, absorbed, &self.server_tools);
        for warning in judged.warnings {
            self.warn(warning);
        }
        turn.continued = judged.continued;
        judged.merge
    }
}

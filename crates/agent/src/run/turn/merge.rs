//! Step 3: the history of the turn, from the author's store or from ours, and the incoming message in it (A-87…A-92).

use turnkeep_protocol::{ToolState, Trigger, UiMessage};

use super::{Run, Turn, TurnFailure};
use crate::agent::Hook;
use crate::chain::Absorbed;
use crate::event::HydrateMessages;

/// What an author's own history lacks when it holds nothing: no model can be asked then.
const NOTHING_HYDRATED: &str = "hydrate_messages gave no messages";

/// What the merge of the incoming message decided.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Merge {
    /// The turn goes on.
    Answer,
    /// The message is answered already, or its answers were refused: only its boundary is due (D-42).
    AlreadyAnswered,
    /// A person has answered some calls and others still wait: no model call yet (A-204, D-16).
    StillWaiting,
    /// All that came are decisions about calls that the conversation has left behind: the model would read nothing new (D-62).
    TooLate,
}

impl Run {
    /// Brings the incoming message into the chain, or the answer to redo out of it.
    pub(super) async fn merge(&mut self, turn: &mut Turn) -> Result<Merge, TurnFailure> {
        if let Some(incoming) = &mut turn.incoming
            && incoming.id.is_empty()
        {
            incoming.id = self.fresh_message_id();
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
        let absorbed = self.chain.absorb(incoming.clone(), &self.server_tools);
        if absorbed == Absorbed::Appended {
            turn.new_ui_messages.push(incoming);
        }
        Ok(self.judge(turn, absorbed))
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
        Ok(absorbed.map_or(Merge::Answer, |absorbed| self.judge(turn, absorbed)))
    }

    pub(in crate::run) fn hydrate_event(&self, turn: &Turn) -> HydrateMessages {
        HydrateMessages {
            chat: self.chat.clone(),
            turn: turn.number,
            trigger: turn.payload.trigger.unwrap_or(Trigger::SubmitMessage),
            incoming_messages: turn.incoming.iter().cloned().collect(),
            previous_messages: self.chain.messages().to_vec(),
            client_data: turn.client_data.clone(),
            continuation: self.is_continuation(),
            previous_run_id: self.payload.previous_run_id.clone(),
        }
    }

    fn judge(&self, turn: &mut Turn, absorbed: Absorbed) -> Merge {
        match absorbed {
            Absorbed::Appended | Absorbed::AlreadyThere => Merge::Answer,
            Absorbed::AlreadyAnswered => Merge::AlreadyAnswered,
            Absorbed::Merged { id, refused, is_news } => {
                for answer in refused {
                    self.warn(format!(
                        "the answer to call {} was not taken over: {}",
                        answer.tool_call_id, answer.reason
                    ));
                }
                if !is_news {
                    return Merge::AlreadyAnswered;
                }
                let waits = self.chain.find(&id).is_some_and(|message| self.waits_for_person(message));
                let is_too_late = self.is_left_behind(&id) && !self.has_late_news(turn, &id);
                turn.continued = Some(id);
                match (is_too_late, waits) {
                    (true, _) => Merge::TooLate,
                    (false, true) => Merge::StillWaiting,
                    (false, false) => Merge::Answer,
                }
            }
        }
    }

    /// Tells whether something follows a message: no answer goes on with it any more (D-62).
    pub(in crate::run) fn is_left_behind(&self, id: &str) -> bool {
        self.chain.messages().last().is_some_and(|last| last.id != id)
    }

    /// Tells whether an answer to calls of a message that something follows brought outcomes; warns about calls that it only decided,
    /// since they do not run any more (D-62).
    fn has_late_news(&self, turn: &Turn, id: &str) -> bool {
        let answers = turn.incoming.iter().flat_map(UiMessage::tool_parts);
        let answers = answers.filter(|answer| answer.state.is_wire_advanceable());
        let mut has_news = false;
        for answer in answers {
            let stored = self.chain.find(id).and_then(|message| message.tool_part(&answer.tool_call_id));
            match stored.map(|call| call.state) {
                Some(ToolState::ApprovalResponded) => self.warn(format!(
                    "call {} was decided too late: the conversation has gone on, and it does not run",
                    answer.tool_call_id
                )),
                state => has_news |= state.is_some_and(ToolState::is_final),
            }
        }
        has_news
    }
}

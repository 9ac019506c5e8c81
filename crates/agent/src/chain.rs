//! [`Chain`]: the chat's messages as the runtime believes them to be, and how a turn changes them (A-90… …A-141).
//!
//! What a model reads of it, and what only a model reads, is [`crate::model_history`]'s.

mod merge;

use std::collections::BTreeMap;

use turnkeep_protocol::{
    ChatTaskWirePayload, Messages, RefusalReason, RefusedAnswer, ToolPart, Trigger, UiMessage, UiPart,
    overlay_tool_states,
};

use crate::steering::INJECTED;
use crate::tool::ServerTools;

pub(crate) use self::merge::{Judged, Merge};

/// The chain and its index of tool calls.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Chain {
    messages: Messages,
    /// Which assistant message made a call.
    callers: BTreeMap<String, String>,
}

/// What an incoming message did to the chain.
#[derive(Debug, PartialEq)]
pub(crate) enum Absorbed {
    /// It is new and stands at the end, without the calls that the agent never made.
    Appended {
        /// What was not taken over.
        refused: Vec<RefusedAnswer>,
    },
    /// It held nothing but calls that the agent never made.
    Refused(Vec<RefusedAnswer>),
    /// It advanced calls of a message that was there; refused answers are worth a warning.
    Merged {
        /// The message it was laid over.
        id: String,
        /// What was not taken over.
        refused: Vec<RefusedAnswer>,
        /// Whether the model has something to answer: a call advanced, or one that was answered before still has nothing behind it,
        /// as after a turn that failed (D-42).
        is_news: bool,
    },
    /// A user message that is answered already: it must not run again (A-71, D-42).
    AlreadyAnswered,
    /// A user message that is there and has no answer yet.
    AlreadyThere,
}

/// Says that there is no user message to answer again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no message to regenerate an answer for")]
pub struct NothingToRegenerate;

impl Chain {
    /// Starts with what boot restored; calls in it are answerable at once.
    pub(crate) fn seeded(messages: impl Into<Messages>) -> Self {
        let mut chain = Self::default();
        chain.replace_all(messages);
        chain
    }

    /// Shows the messages.
    pub(crate) fn messages(&self) -> &Messages {
        &self.messages
    }

    /// Tells whether a message of this id is there.
    pub(crate) fn contains(&self, id: &str) -> bool {
        self.position(id).is_some()
    }

    /// Finds a message.
    pub(crate) fn find(&self, id: &str) -> Option<&UiMessage> {
        self.position(id).map(|at| &self.messages[at])
    }

    fn position(&self, id: &str) -> Option<usize> {
        if id.is_empty() { None } else { self.messages.iter().position(|message| message.id == id) }
    }

    /// Makes `messages` the chain: a history override, or boot.
    pub(crate) fn replace_all(&mut self, messages: impl Into<Messages>) {
        self.messages = messages.into();
        for at in 0..self.messages.len() {
            self.note_calls(at);
        }
    }

    fn note_calls(&mut self, at: usize) {
        let message = &self.messages[at];
        if message.is_assistant() {
            let calls = message.tool_parts().map(|part| (part.tool_call_id.clone(), message.id.clone()));
            self.callers.extend(calls);
        }
    }

    /// Merges a submitted message: human answers advance the message that made the calls, everything else is appended.
    pub(crate) fn absorb(&mut self, incoming: UiMessage, server_tools: &ServerTools) -> Absorbed {
        let Some(at) = self.position(&incoming.id).or_else(|| self.caller_of(&incoming)) else {
            return self.append(incoming);
        };
        self.merge_into(at, &incoming, server_tools)
    }

    /// Appends what nobody knows yet. An assistant message comes without its calls: the agent has made none of them.
    fn append(&mut self, mut incoming: UiMessage) -> Absorbed {
        let refused = if incoming.is_assistant() { take_calls(&mut incoming) } else { Vec::new() };
        if !refused.is_empty() && incoming.parts.iter().all(says_nothing) {
            return Absorbed::Refused(refused);
        }
        self.messages.push(incoming);
        self.note_calls(self.messages.len() - 1);
        Absorbed::Appended { refused }
    }

    /// Makes an author's own `messages` the chain and lays the incoming one over them; none when they leave it out.
    ///
    /// An answer of unknown id whose calls another message made is laid over that one, and takes its id; a copy that the author has
    /// just added goes away again (A-91, AR-15).
    pub(crate) fn hydrate(
        &mut self,
        mut messages: Vec<UiMessage>,
        incoming: &mut UiMessage,
        server_tools: &ServerTools,
    ) -> Option<Absorbed> {
        let is_copy = |message: &UiMessage| message == &*incoming;
        let caller = messages.iter().find(|message| !is_copy(message) && makes_calls_of(message, incoming));
        let is_elsewhere = !messages.iter().any(|message| message.id == incoming.id && !is_copy(message));
        if let Some(caller) = caller.filter(|_| is_elsewhere).map(|caller| caller.id.clone()) {
            messages.retain(|message| !is_copy(message));
            incoming.id = caller;
        }
        self.replace_all(messages);
        let at = self.position(&incoming.id)?;
        Some(self.merge_into(at, incoming, server_tools))
    }

    fn merge_into(&mut self, at: usize, incoming: &UiMessage, server_tools: &ServerTools) -> Absorbed {
        if incoming.is_assistant() {
            let overlay = overlay_tool_states(&mut self.messages[at], incoming, |name| server_tools.contains(name));
            let is_news = overlay.n_advanced > 0 || (overlay.refused.is_empty() && !self.goes_on_after(at, incoming));
            return Absorbed::Merged { id: self.messages[at].id.clone(), refused: overlay.refused, is_news };
        }
        let answered = self.messages.iter().skip(at + 1).any(UiMessage::is_assistant);
        if answered { Absorbed::AlreadyAnswered } else { Absorbed::AlreadyThere }
    }

    /// Gives the id of the message whose call an incoming one of unknown id answers.
    pub(crate) fn mapped_id(&self, incoming: &UiMessage) -> Option<&str> {
        let at = self.caller_of(incoming).filter(|_| !self.contains(&incoming.id))?;
        Some(&self.messages[at].id)
    }

    /// Tells whether anything is said after the last call that `incoming` answers: the answer has been heard then (D-42).
    fn goes_on_after(&self, at: usize, incoming: &UiMessage) -> bool {
        let message = &self.messages[at];
        let is_answered = |part: &UiPart| {
            let mut answers = incoming.tool_parts().filter(|answer| answer.state.is_wire_advanceable());
            part.as_tool().is_some_and(|call| answers.any(|answer| answer.tool_call_id == call.tool_call_id))
        };
        let Some(last) = message.parts.iter().rposition(is_answered) else {
            return false;
        };
        // Calls of the same step are no reply to the answer.
        let mut rest = message.parts[last + 1..].iter().skip_while(|part| part.as_tool().is_some());
        at + 1 < self.messages.len() || !rest.all(says_nothing)
    }

    /// Puts a message in front of the response of this id, or at the end when that is not there yet. One that is there
    /// stays where it is.
    pub(crate) fn insert_before(&mut self, response_id: &str, message: UiMessage) {
        if !self.contains(&message.id) {
            let at = self.position(response_id).unwrap_or(self.messages.len());
            self.messages.insert(at, message);
        }
    }

    /// Finds the message whose call an assistant message of unknown id answers (A-91, AR-15).
    fn caller_of(&self, incoming: &UiMessage) -> Option<usize> {
        if !incoming.is_assistant() {
            return None;
        }
        let caller = incoming.tool_parts().find_map(|part| self.callers.get(&part.tool_call_id))?;
        self.position(caller)
    }

    /// Drops the answer that shall be given anew: from the named assistant message on, else the trailing ones.
    pub(crate) fn regenerate(&mut self, message_id: Option<&str>) -> Result<(), NothingToRegenerate> {
        let named = message_id.and_then(|id| self.position(id)).filter(|at| self.messages[*at].is_assistant());
        let mut keep = named.unwrap_or(self.messages.len());
        while keep > 0 && !self.messages[keep - 1].is_user() {
            keep -= 1;
        }
        if keep == 0 {
            return Err(NothingToRegenerate);
        }
        self.messages.truncate(keep);
        Ok(())
    }

    /// Puts a response in its place: over the message of its id, else at the end. One without content is not taken.
    pub(crate) fn commit(&mut self, response: UiMessage) -> bool {
        if is_empty(&response) {
            return false;
        }
        let at = match self.position(&response.id) {
            Some(at) => {
                self.messages.set(at, response);
                at
            }
            None => {
                self.messages.push(response);
                self.messages.len() - 1
            }
        };
        self.note_calls(at);
        true
    }

    /// Does what a turn's record asks of the history before any model is called; used when the turn itself is not run again.
    pub(crate) fn apply_history(&mut self, payload: &ChatTaskWirePayload, server_tools: &ServerTools) {
        match (payload.trigger, &payload.message) {
            (Some(Trigger::SubmitMessage), Some(message)) => {
                self.absorb(message.clone(), server_tools);
            }
            (Some(Trigger::RegenerateMessage), _) => {
                // Nothing to redo: that turn failed, and left nothing behind.
                let _ = self.regenerate(payload.message_id.as_deref());
            }
            _ => {}
        }
    }
}

/// Puts parts behind those of a message; one of the same kind and id takes the place of the one that is there.
pub(crate) fn join_parts(message: &mut UiMessage, parts: Vec<UiPart>) {
    for part in parts {
        let is_same = |known: &UiPart| match (known.as_data(), part.as_data()) {
            (Some(known), Some(part)) => part.id.is_some() && known.kind == part.kind && known.id == part.id,
            _ => false,
        };
        match message.parts.iter_mut().find(|known| is_same(known)) {
            Some(known) => *known = part,
            None => message.parts.push(part),
        }
    }
}

/// Takes the calls out of a message.
fn take_calls(message: &mut UiMessage) -> Vec<RefusedAnswer> {
    let refuse = |call: &ToolPart| RefusedAnswer {
        tool_call_id: call.tool_call_id.clone(),
        claimed: call.state,
        reason: RefusalReason::UnknownCall,
    };
    let refused = message.tool_parts().map(refuse).collect();
    message.parts.retain(|part| part.as_tool().is_none());
    refused
}

/// Tells whether an assistant message made a call that `answer` has something for.
fn makes_calls_of(message: &UiMessage, answer: &UiMessage) -> bool {
    let is_answered = |call: &ToolPart| answer.tool_parts().any(|part| part.tool_call_id == call.tool_call_id);
    message.is_assistant() && answer.is_assistant() && message.tool_parts().any(is_answered)
}

/// Tells whether a reader would see nothing of a part.
pub(crate) fn says_nothing(part: &UiPart) -> bool {
    match part {
        UiPart::StepStart(_) => true,
        UiPart::Text(part) => part.text.is_empty(),
        UiPart::Reasoning(part) => part.text.is_empty(),
        // It tells what a person said.
        UiPart::Data(part) => part.kind.name() == INJECTED,
        _ => false,
    }
}

/// Tells whether a message holds nothing: no parts, or nothing but marks of steps.
pub(crate) fn is_empty(message: &UiMessage) -> bool {
    message.parts.iter().all(|part| matches!(part, UiPart::StepStart(_)))
}

#[cfg(test)]
mod tests;

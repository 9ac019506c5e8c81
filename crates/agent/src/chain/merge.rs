//! [`Merge`]: what the incoming message of a turn asks for, once it is in the chain (A-90, A-203, A-204, D-16, D-42, D-62).

use turnkeep_protocol::{RefusedAnswer, ToolState, UiMessage};

use super::{Absorbed, Chain};
use crate::tool::ServerTools;

/// What the merge of the incoming message decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Merge {
    /// The turn goes on.
    Answer,
    /// The message is answered already, or its answers were refused: only its boundary is due (D-42).
    AlreadyAnswered,
    /// A person has answered some calls and others still wait: no model call yet (A-204, D-16).
    StillWaiting,
    /// All that came are decisions about calls that the conversation has left behind: the model would read nothing new (D-62).
    TooLate,
}

/// A decided merge.
#[derive(Debug, PartialEq)]
pub(crate) struct Judged {
    pub(crate) merge: Merge,
    /// The message whose calls the incoming one answered.
    pub(crate) continued: Option<String>,
    /// What was not taken over, and what does not run.
    pub(crate) warnings: Vec<String>,
}

impl Chain {
    /// Judges an incoming message that has just been absorbed; `server_tools` names the tools that run here.
    pub(crate) fn judge(&self, incoming: &UiMessage, absorbed: Absorbed, server_tools: &ServerTools) -> Judged {
        let (id, refused, is_news) = match absorbed {
            Absorbed::Appended { refused } => return Judged::of(Merge::Answer).refusing(&refused),
            Absorbed::Refused(refused) => return Judged::of(Merge::AlreadyAnswered).refusing(&refused),
            Absorbed::AlreadyThere => return Judged::of(Merge::Answer).warning(self.edit_in_place(incoming)),
            Absorbed::AlreadyAnswered => {
                return Judged::of(Merge::AlreadyAnswered).warning(self.edit_in_place(incoming));
            }
            Absorbed::Merged { id, refused, is_news } => (id, refused, is_news),
        };
        let mut warnings: Vec<String> = refused.iter().map(ToString::to_string).collect();
        if !is_news {
            return Judged { warnings, ..Judged::of(Merge::AlreadyAnswered) };
        }
        let waits = self.find(&id).is_some_and(|message| waits_for_person(message, server_tools));
        let is_too_late = self.is_left_behind(&id) && !self.has_late_news(incoming, &id, &mut warnings);
        let merge = match (is_too_late, waits) {
            (true, _) => Merge::TooLate,
            (false, true) => Merge::StillWaiting,
            (false, false) => Merge::Answer,
        };
        Judged { merge, continued: Some(id), warnings }
    }

    /// Warns about a known message that came again and says something else: what stands in the history stays (D-80).
    fn edit_in_place(&self, incoming: &UiMessage) -> Option<String> {
        let stored = self.find(&incoming.id).filter(|stored| stored.parts != incoming.parts)?;
        Some(format!(
            "message {} is known and says something else now: it is not changed, an edit needs an id of its own",
            stored.id
        ))
    }

    /// Tells whether something follows a message: no answer goes on with it any more (D-62).
    pub(crate) fn is_left_behind(&self, id: &str) -> bool {
        self.messages().last().is_some_and(|last| last.id != id)
    }

    /// Tells whether an answer to calls of a message that something follows brought outcomes; warns about calls that it only decided,
    /// since they do not run any more (D-62).
    fn has_late_news(&self, incoming: &UiMessage, id: &str, warnings: &mut Vec<String>) -> bool {
        let answers = incoming.tool_parts().filter(|answer| answer.state.is_wire_advanceable());
        let mut has_news = false;
        for answer in answers {
            let stored = self.find(id).and_then(|message| message.tool_part(&answer.tool_call_id));
            match stored.map(|call| call.state) {
                Some(ToolState::ApprovalResponded) => warnings.push(format!(
                    "call {} was decided too late: the conversation has gone on, and it does not run",
                    answer.tool_call_id
                )),
                state => has_news |= state.is_some_and(ToolState::is_final),
            }
        }
        has_news
    }
}

impl Judged {
    fn of(merge: Merge) -> Self {
        Self { merge, continued: None, warnings: Vec::new() }
    }

    fn warning(self, warning: Option<String>) -> Self {
        Self { warnings: warning.into_iter().collect(), ..self }
    }

    fn refusing(self, refused: &[RefusedAnswer]) -> Self {
        Self { warnings: refused.iter().map(ToString::to_string).collect(), ..self }
    }
}

/// Tells whether a message has calls that only a person can answer.
fn waits_for_person(message: &UiMessage, server_tools: &ServerTools) -> bool {
    message.tool_parts().any(|part| match part.state {
        ToolState::ApprovalRequested => true,
        ToolState::InputAvailable => part.provider_executed != Some(true) && !server_tools.contains(&part.tool_name),
        _ => false,
    })
}

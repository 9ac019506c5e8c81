//! [`StepHistory`]: what the model gets at each step of an answer.

use turnkeep_model::{ConvertError, ModelOutputs};
use turnkeep_protocol::{ContentPart, ModelMessage, ModelRole, UiMessage};

use super::approvals::Unrun;
use crate::model_history::convert_pieces;

/// The chat's history, then what this answer has said and done so far, with what came in between its steps.
#[derive(Debug)]
pub(super) struct StepHistory {
    base: Vec<ModelMessage>,
    /// Parts before this one belong to the message that is continued; the base tells them.
    n_old_parts: usize,
    arrivals: Vec<Arrival>,
}

/// Messages that came in behind the first `n_steps` steps of this answer.
#[derive(Debug)]
struct Arrival {
    n_steps: usize,
    messages: Vec<ModelMessage>,
}

impl StepHistory {
    /// Starts an answer to `base` that goes on with a message of so many parts.
    pub(super) fn new(base: Vec<ModelMessage>, n_old_parts: usize) -> Self {
        Self { base, n_old_parts, arrivals: Vec::new() }
    }

    /// Adds messages behind the steps so far; they stay there for the rest of the answer.
    pub(super) fn arrive(&mut self, n_steps: usize, messages: Vec<ModelMessage>) {
        self.arrivals.push(Arrival { n_steps, messages });
    }

    /// Adds the outcomes of calls that the history ends with. They go where a later look at the chat has them: into the tool
    /// message that holds the person's approvals.
    pub(super) fn answer(&mut self, outcomes: Vec<ContentPart>) {
        if let Some(tail) = self.base.last_mut() {
            tail.content.extend(outcomes);
        }
    }

    /// Adds the outcomes of calls that a head start has left open: behind the message that makes each, wherever the author's code has put
    /// it. A model wants them there, and nothing in between; one whose call the author has taken out is told nothing of it.
    pub(super) fn answer_calls(&mut self, outcomes: Vec<ContentPart>) {
        for outcome in outcomes {
            let ContentPart::ToolResult(result) = &outcome else { continue };
            let makes_it = |part: &ContentPart| matches!(part, ContentPart::ToolCall(call) if call.tool_call_id == result.tool_call_id);
            let Some(at) = self.base.iter().rposition(|message| message.content.iter().any(makes_it)) else {
                continue;
            };
            match self.base.get_mut(at + 1).filter(|next| next.role == ModelRole::Tool) {
                Some(results) => results.content.push(outcome),
                None => self.base.insert(at + 1, ModelMessage::tool(vec![outcome])),
            }
        }
    }

    /// Leaves out calls that a person has decided about and that have not run, with what was asked and said about them: a model wants
    /// every call answered before anything else is said.
    pub(super) fn leave_out(&mut self, unrun: &Unrun) {
        let Unrun { calls, approvals } = unrun;
        if calls.is_empty() {
            return;
        }
        let is_told = |part: &ContentPart| match part {
            ContentPart::ToolCall(call) => !calls.contains(&call.tool_call_id),
            ContentPart::ApprovalRequest(request) => !approvals.contains(&request.approval_id),
            ContentPart::ApprovalResponse(response) => !approvals.contains(&response.approval_id),
            _ => true,
        };
        // Only what changes is copied.
        for message in self.base.iter_mut().filter(|message| !message.content.iter().all(is_told)) {
            message.content.retain(is_told);
        }
        self.base.retain(|message| !message.content.is_empty());
    }

    /// Gives what the model gets, a summary apart, `response` being what the answer has become.
    pub(super) fn messages(
        &self,
        response: &UiMessage,
        outputs: &ModelOutputs,
    ) -> Result<Vec<ModelMessage>, ConvertError> {
        let mut cuts: Vec<usize> = self.arrivals.iter().map(|arrival| arrival.n_steps).collect();
        cuts.dedup();
        let new_parts = response.parts.get(self.n_old_parts..).unwrap_or_default().to_vec();
        let mut messages = self.base.clone();
        for (behind, piece) in convert_pieces(response, new_parts, &cuts, outputs)? {
            let here = self.arrivals.iter().filter(|arrival| Some(arrival.n_steps) == behind);
            messages.extend(here.flat_map(|arrival| arrival.messages.clone()));
            messages.extend(piece);
        }
        Ok(messages)
    }
}

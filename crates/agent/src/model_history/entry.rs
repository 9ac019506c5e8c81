//! [`Entry`]: one message of the chain and its conversion, kept until either would change.

use std::sync::Arc;

use turnkeep_model::{ConvertError, ModelOutputs, to_model_messages};
use turnkeep_protocol::{ContentPart, ModelMessage, ToolApproval, ToolPart, ToolState, UiMessage, UiPart, Withheld};

use super::spot::is_step;
use super::withheld::whole;

/// A message of the chain.
#[derive(Debug)]
pub(super) struct Entry {
    source: Arc<UiMessage>,
    converted: Option<Converted>,
}

/// A piece of a message: how many steps are in front of it, and what it says. The first piece begins with the message.
pub(crate) type Piece = (Option<usize>, Vec<ModelMessage>);

#[derive(Debug)]
struct Converted {
    cuts: Vec<usize>,
    /// Whether approved calls that have not run are left out, and whether open ones are kept.
    shape: (bool, bool),
    pieces: Vec<Piece>,
}

/// How a message is looked at.
pub(super) struct Look<'l> {
    /// Behind how many steps it is cut.
    pub(super) cuts: Vec<usize>,
    /// Whether a person has spoken after it.
    pub(super) is_followed: bool,
    pub(super) withheld: Option<&'l Withheld>,
    /// The calls without a result that are kept.
    pub(super) open_calls: &'l [String],
}

/// What an update has changed.
pub(super) struct News {
    /// Whether a call has an outcome that it did not have.
    pub(super) answers_calls: bool,
}

impl Entry {
    pub(super) fn new(source: Arc<UiMessage>) -> Self {
        Self { source, converted: None }
    }

    pub(super) fn source(&self) -> &Arc<UiMessage> {
        &self.source
    }

    /// Takes over the message as it is now.
    pub(super) fn update(&mut self, message: &Arc<UiMessage>) -> News {
        // One allocation is one message: a long history is not compared word by word.
        if self.source == *message {
            return News { answers_calls: false };
        }
        let answers_calls = n_answered(message) > n_answered(&self.source);
        *self = Self::new(message.clone());
        News { answers_calls }
    }

    /// Forgets what a tool's mapping may have decided.
    pub(super) fn forget_outputs(&mut self) {
        if self.source.tool_parts().next().is_some() {
            self.converted = None;
        }
    }

    /// Gives the message in model form, cut behind so many steps each.
    ///
    /// Before a later message of a person, an approved call that has not run is left out: every call is answered by then.
    pub(super) fn convert(&mut self, look: Look<'_>, outputs: &ModelOutputs) -> Result<&[Piece], ConvertError> {
        let Look { mut cuts, is_followed, withheld, open_calls } = look;
        cuts.sort_unstable();
        cuts.dedup();
        let drops_unrun = is_followed && self.source.tool_parts().any(is_unrun);
        let is_open = !is_followed && !open_calls.is_empty();
        let shape = (drops_unrun, is_open);
        let is_fresh = |known: &Converted| known.cuts == cuts && known.shape == shape;
        if !self.converted.as_ref().is_some_and(is_fresh) {
            let mut parts = whole(&self.source, withheld);
            if drops_unrun {
                parts.retain(|part| !part.as_tool().is_some_and(is_unrun));
            }
            if is_open {
                parts.iter_mut().for_each(|part| open(part, open_calls));
            }
            let mut pieces = convert_pieces(&self.source, parts, &cuts, outputs)?;
            if is_open {
                pieces.iter_mut().for_each(|(_, piece)| strip(piece));
            }
            self.converted = Some(Converted { cuts, shape, pieces });
        }
        Ok(self.converted.as_ref().map_or(&[], |converted| &converted.pieces))
    }
}

/// Marks what stands for a call that is about to run while its message is converted: no provider and no history ever sees it.
const OPEN: &str = "open-call:";

/// Makes a call one that the conversion keeps in its place.
fn open(part: &mut UiPart, open_calls: &[String]) {
    let is_open =
        |call: &&mut ToolPart| call.state == ToolState::InputAvailable && open_calls.contains(&call.tool_call_id);
    if let Some(call) = part.as_tool_mut().filter(is_open) {
        let id = format!("{OPEN}{}", call.tool_call_id);
        call.state = ToolState::ApprovalResponded;
        call.approval = Some(ToolApproval { id, approved: Some(true), ..ToolApproval::default() });
    }
}

/// Takes the marks out again, and messages that held nothing else.
fn strip(messages: &mut Vec<ModelMessage>) {
    let is_mark = |part: &ContentPart| match part {
        ContentPart::ApprovalRequest(request) => request.approval_id.starts_with(OPEN),
        ContentPart::ApprovalResponse(response) => response.approval_id.starts_with(OPEN),
        _ => false,
    };
    for message in messages.iter_mut().filter(|message| message.content.iter().any(is_mark)) {
        message.content.retain(|part| !is_mark(part));
    }
    messages.retain(|message| !message.content.is_empty());
}

/// Converts `parts` of a message, cut behind so many steps each; `cuts` ascend.
pub(crate) fn convert_pieces(
    message: &UiMessage,
    mut parts: Vec<UiPart>,
    cuts: &[usize],
    outputs: &ModelOutputs,
) -> Result<Vec<Piece>, ConvertError> {
    let mut pieces = Vec::with_capacity(cuts.len() + 1);
    // From the back, so that each cut leaves the places in front of it as they are.
    for n_steps in cuts.iter().rev() {
        let piece = parts.split_off(behind(&parts, *n_steps));
        pieces.push((Some(*n_steps), convert_parts(message, piece, outputs)?));
    }
    pieces.push((None, convert_parts(message, parts, outputs)?));
    pieces.reverse();
    Ok(pieces)
}

fn convert_parts(
    message: &UiMessage,
    parts: Vec<UiPart>,
    outputs: &ModelOutputs,
) -> Result<Vec<ModelMessage>, ConvertError> {
    let piece = UiMessage { parts, ..UiMessage::new(message.id.clone(), message.role, Vec::new()) };
    to_model_messages(&[piece], outputs)
}

/// Gives the place of the part behind the first `n_steps` steps: where the next step begins, else the end.
fn behind(parts: &[UiPart], n_steps: usize) -> usize {
    let mut steps = parts.iter().enumerate().filter(|(_, part)| is_step(part));
    steps.nth(n_steps).map_or(parts.len(), |(at, _)| at)
}

fn is_unrun(part: &ToolPart) -> bool {
    part.state == ToolState::ApprovalResponded
}

fn n_answered(message: &UiMessage) -> usize {
    message.tool_parts().filter(|part| part.state.is_final()).count()
}

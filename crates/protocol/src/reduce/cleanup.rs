//! What remains of a message whose stream was cut.

use crate::message::{PartState, UiMessage, UiPart};

/// Makes a message that was cut fit for the history: drops calls nobody can answer any more, closes open texts.
///
/// Doing it twice is doing it once; a message without parts may be left.
pub fn cleanup_aborted_parts(mut message: UiMessage) -> UiMessage {
    message.parts.retain(|part| !part.as_tool().is_some_and(|tool| tool.state.is_incomplete()));
    for part in &mut message.parts {
        let state = match part {
            UiPart::Text(part) => &mut part.state,
            UiPart::Reasoning(part) => &mut part.state,
            _ => continue,
        };
        if *state == Some(PartState::Streaming) {
            *state = Some(PartState::Done);
        }
    }
    message
}

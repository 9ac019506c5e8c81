//! The conversation that `in` and `out` tell together, turn by turn.

use std::collections::BTreeSet;

use turnkeep_protocol::{Trigger, UiMessage, UiMessageChunk, UiPart, cleanup_aborted_parts};

use super::fold::{Turn, fold_segment, segment_id};
use super::story::Stored;

/// The conversation, turn by turn.
#[derive(Default)]
pub(super) struct Chain {
    pub(super) messages: Vec<UiMessage>,
    settled: Option<u64>,
    injected: BTreeSet<String>,
}

impl Chain {
    /// Takes the next turn, with the inputs it may cover. Tells whether it served an action, which may have rewritten the history.
    pub(super) fn take(&mut self, inputs: &[&Stored<'_>], turn: &Turn<'_, '_>) -> bool {
        let settled = turn.settled().max(self.settled);
        let injected = turn.injected();
        let mut acts = false;
        for input in inputs {
            let covered = Some(input.seq()) > self.settled && Some(input.seq()) <= settled;
            let steered = input.message_id().is_some_and(|id| injected.contains(&id));
            if covered || steered {
                acts |= input.payload().is_some_and(|payload| payload.trigger == Some(Trigger::Action));
                self.input(input);
            }
        }
        self.injected.extend(injected.iter().map(|id| (*id).to_owned()));
        self.settled = settled;
        for segment in turn.answers_told() {
            self.answer(&segment, turn.failed());
        }
        acts
    }

    fn input(&mut self, input: &Stored<'_>) {
        let Some(payload) = input.payload() else { return };
        if payload.trigger == Some(Trigger::RegenerateMessage) {
            self.regenerate(payload.message_id.as_deref());
        }
        let Some(message) = &payload.message else { return };
        if self.injected.contains(&message.id) {
            return;
        }
        match self.messages.iter_mut().find(|known| !known.id.is_empty() && known.id == message.id) {
            None => self.messages.push(message.clone()),
            Some(known) => advance(known, message),
        }
    }

    fn regenerate(&mut self, named: Option<&str>) {
        let place = named.and_then(|id| self.messages.iter().position(|message| message.id == id));
        if let Some(place) = place {
            self.messages.truncate(place);
        }
        while self.messages.pop_if(|message| !message.is_user()).is_some() {}
    }

    fn answer(&mut self, segment: &[&UiMessageChunk], failed: bool) {
        let Some(id) = segment_id(segment) else { return };
        let place = self.messages.iter().position(|message| !id.is_empty() && message.id == id);
        let before = place.map(|place| &self.messages[place]);
        let mut message = fold_segment(segment, before);
        let finished = segment.iter().any(|chunk| matches!(chunk, UiMessageChunk::Finish(_)));
        if failed || !finished {
            message = cleanup_aborted_parts(message);
        }
        match place {
            Some(place) => self.messages[place] = message,
            None => self.messages.push(message),
        }
    }
}

/// Lays a person's tool answers over the stored message.
pub(super) fn advance(known: &mut UiMessage, incoming: &UiMessage) {
    for answer in incoming.tool_parts().filter(|part| part.state.is_wire_advanceable()) {
        let parts = known.parts.iter_mut().filter_map(UiPart::as_tool_mut);
        for part in parts.filter(|part| part.tool_call_id == answer.tool_call_id && !part.state.is_final()) {
            part.state = answer.state;
            part.output.clone_from(&answer.output);
            part.error_text.clone_from(&answer.error_text);
            part.approval = answer.approval.clone().or(part.approval.take());
        }
    }
}

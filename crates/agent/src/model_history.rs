//! [`ModelHistory`]: the conversation as a model reads it, kept beside the chain.
//!
//! Its base is the chain, converted message by message; a conversion is kept until its message changes, so a long chat is not
//! converted anew at every look. Over the base lies what the chain does not hold, or holds elsewhere: injected and steered messages
//! at their spots, and a summary in place of everything before one. The overlay follows the chain through every change, so that no
//! rebuild loses it (AF-10).

mod entry;
mod spot;
mod withheld;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use turnkeep_model::{ConvertError, ModelOutputs};
use turnkeep_protocol::{Messages, ModelMessage, UiMessage, Withheld};

pub(crate) use self::entry::convert_pieces;
use self::entry::{Entry, Look};
use self::spot::{Move, is_same};
pub(crate) use self::spot::{Spot, n_steps};
pub(crate) use self::withheld::{whole, withheld};

/// The model's view of the chain. Every method takes the chain as it is now.
#[derive(Debug, Default)]
pub(crate) struct ModelHistory {
    outputs: ModelOutputs,
    entries: Vec<Entry>,
    notes: Vec<Note>,
    summary: Option<Summary>,
    /// What people do not get of the newest answer (D-68).
    withheld: Option<Withheld>,
    /// The calls that a head start has left to this turn, by the message that makes them.
    open_calls: Option<OpenCalls>,
}

/// Calls without a result that the model's view keeps, since they are about to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OpenCalls {
    pub(crate) message_id: String,
    pub(crate) tool_call_ids: Vec<String>,
}

/// Messages that only the model sees here.
#[derive(Debug)]
struct Note {
    spot: Spot,
    messages: Vec<ModelMessage>,
    /// The chain's messages that are told here and not at their own places; without one of them the note is void.
    speaks_for: Vec<String>,
}

/// What stands for everything in front of `until`.
#[derive(Debug)]
struct Summary {
    until: Spot,
    messages: Vec<ModelMessage>,
}

impl ModelHistory {
    /// Gives the history in model form.
    ///
    /// # Errors
    ///
    /// Fails when a tool's mapping refuses an output; the next call tries again.
    pub(crate) fn messages(
        &mut self,
        chain: &Messages,
        outputs: &ModelOutputs,
    ) -> Result<Vec<ModelMessage>, ConvertError> {
        self.follow(chain);
        if !self.outputs.is_same(outputs) {
            self.outputs = outputs.clone();
            self.entries.iter_mut().for_each(Entry::forget_outputs);
        }
        let until = self.until();
        let mut notes: BTreeMap<Spot, Vec<&Note>> = BTreeMap::new();
        for note in self.notes.iter().filter(|note| note.spot >= until) {
            notes.entry(note.spot).or_default().push(note);
        }
        let told_elsewhere: BTreeSet<&str> =
            self.notes.iter().flat_map(|note| &note.speaks_for).map(String::as_str).collect();
        let last_user = chain.iter().rposition(UiMessage::is_user);

        let mut messages: Vec<_> = self.summary.iter().flat_map(|summary| summary.messages.clone()).collect();
        for (index, entry) in self.entries.iter_mut().enumerate().skip(until.index) {
            tell(&mut messages, notes.get(&Spot::before(index)));
            if told_elsewhere.contains(entry.source().id.as_str()) {
                continue;
            }
            let inside = notes.range(Spot::within(index, 0)..Spot::before(index + 1));
            let hidden = until.n_steps.filter(|_| until.index == index);
            let cuts = hidden.into_iter().chain(inside.filter_map(|(spot, _)| spot.n_steps)).collect();
            let is_followed = last_user.is_some_and(|last| index < last);
            let open_calls = self.open_calls.as_ref().filter(|open| open.message_id == entry.source().id);
            let open_calls = open_calls.map_or(&[][..], |open| &open.tool_call_ids);
            let look = Look { cuts, is_followed, withheld: self.withheld.as_ref(), open_calls };
            for (behind, piece) in entry.convert(look, &self.outputs)? {
                tell(&mut messages, behind.and_then(|n_steps| notes.get(&Spot::within(index, n_steps))));
                if hidden.is_none_or(|hidden| *behind >= Some(hidden)) {
                    messages.extend(piece.iter().cloned());
                }
            }
        }
        tell(&mut messages, notes.get(&Spot::before(self.entries.len())));
        Ok(messages)
    }

    /// Tells the model what people do not get of the newest answer, for as long as the message is as it is now.
    pub(crate) fn withhold(&mut self, chain: &Messages, withheld: Option<Withheld>) {
        let withheld = withheld.and_then(|withheld| {
            let message = chain.iter().find(|message| message.id == withheld.message_id)?;
            // Parts that were written beside the answer stand behind it.
            (message.parts.len() >= withheld.n_parts).then(|| Withheld { n_parts: message.parts.len(), ..withheld })
        });
        let changed =
            [&self.withheld, &withheld].map(|withheld| withheld.as_ref().map(|withheld| &withheld.message_id));
        let is_changed = |entry: &&mut Entry| changed.contains(&Some(&entry.source().id));
        self.entries.iter_mut().filter(is_changed).for_each(Entry::forget_outputs);
        self.withheld = withheld;
    }

    /// Keeps calls that are about to run in the model's view, or none any more: others without a result are left out.
    pub(crate) fn keep_open(&mut self, open_calls: Option<OpenCalls>) {
        let changed = [&self.open_calls, &open_calls].map(|open| open.as_ref().map(|open| &open.message_id));
        let is_changed = |entry: &&mut Entry| changed.contains(&Some(&entry.source().id));
        self.entries.iter_mut().filter(is_changed).for_each(Entry::forget_outputs);
        self.open_calls = open_calls;
    }

    /// Tells which calls are kept although they have no result.
    pub(crate) fn open_calls(&self) -> Option<&OpenCalls> {
        self.open_calls.as_ref()
    }

    /// Gives what people do not get of the newest answer.
    pub(crate) fn withheld(&self) -> Option<&Withheld> {
        self.withheld.as_ref()
    }

    /// Adds messages at the end that no person sees.
    pub(crate) fn inject(&mut self, chain: &Messages, messages: Vec<ModelMessage>) {
        self.note(chain, Spot::end(chain), messages, Vec::new());
    }

    /// Adds messages behind the first `n_steps` steps of the response; at the chain's end when there is no such response.
    ///
    /// `speaks_for` names messages of the chain that are told here and not at their own places.
    pub(crate) fn steer(
        &mut self,
        chain: &Messages,
        (response_id, n_steps): (&str, usize),
        messages: Vec<ModelMessage>,
        speaks_for: Vec<String>,
    ) {
        let response = chain.iter().position(|message| message.id == response_id && message.is_assistant());
        let spot = response.map_or_else(|| Spot::end(chain), |index| Spot::within(index, n_steps));
        self.note(chain, spot, messages, speaks_for);
    }

    fn note(&mut self, chain: &Messages, spot: Spot, messages: Vec<ModelMessage>, speaks_for: Vec<String>) {
        self.follow(chain);
        if !messages.is_empty() {
            self.notes.push(Note { spot, messages, speaks_for });
        }
    }

    /// Puts a summary in place of everything in front of `until`, an older summary and the overlay there included.
    pub(crate) fn compact(&mut self, chain: &Messages, until: Spot, summary: Vec<ModelMessage>) {
        self.follow(chain);
        self.notes.retain(|note| note.spot > until);
        self.summary = Some(Summary { until, messages: summary });
    }

    fn until(&self) -> Spot {
        self.summary.as_ref().map_or(Spot::START, |summary| summary.until)
    }

    /// Takes up what happened to the chain since the last look: spots move with their messages, changed messages are converted
    /// anew, and what stood behind a history that was cut off is gone with it.
    fn follow(&mut self, chain: &Messages) {
        let old = self.entries.iter().map(Entry::source);
        let n_same = old.zip(chain.as_shared()).take_while(|(old, new)| is_same(old, new)).count();
        if n_same < self.entries.len() {
            let old: Vec<&Arc<UiMessage>> = self.entries.iter().map(Entry::source).collect();
            let movement = Move::new(&old, chain, n_same);
            self.notes.retain_mut(|note| movement.apply(&mut note.spot));
            self.summary.take_if(|summary| !movement.apply(&mut summary.until));
            self.entries.truncate(n_same);
            let ids: BTreeSet<&str> = chain.iter().map(|message| message.id.as_str()).collect();
            self.notes.retain(|note| note.speaks_for.iter().all(|id| ids.contains(id.as_str())));
        }
        for (index, message) in chain.as_shared()[..n_same].iter().enumerate() {
            let news = self.entries[index].update(message);
            // A call that was answered after it was summed up: the model must see the answer, so the summary ends before it.
            if let Some(summary) = self.summary.as_mut().filter(|_| news.answers_calls) {
                summary.until = summary.until.min(Spot::before(index));
            }
        }
        self.entries.extend(chain.as_shared()[n_same..].iter().cloned().map(Entry::new));
        self.summary.take_if(|summary| summary.until == Spot::START);
    }
}

fn tell(messages: &mut Vec<ModelMessage>, notes: Option<&Vec<&Note>>) {
    messages.extend(notes.into_iter().flatten().flat_map(|note| note.messages.clone()));
}

#[cfg(test)]
mod tests;

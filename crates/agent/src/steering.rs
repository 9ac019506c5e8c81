//! [`Steering`]: what people say while a turn streams, and what becomes of it (A-163…A-166, D-15, D-42).
//!
//! A message that arrives is heard once and waits; between steps all that wait are judged together, and either join the answer or
//! wait on. Whatever is left when the turn ends never left the buffer of `in`, so it has a turn of its own, in order, under its own
//! id; only its text is remembered, for clients that send what was not injected once more as one message.

mod hearing;
mod joining;
mod options;

use std::collections::{BTreeSet, VecDeque};

use serde_json::{Value, json};
use turnkeep_protocol::{ChatInputChunk, SeqNum, Trigger, UiMessage, UiMessageChunk, UiPart};

pub(crate) use self::hearing::{Hearing, HearingParts, Joined, SharedSteering};
pub(crate) use self::joining::{Verdict, tell_injected};
pub use self::options::PendingMessages;

/// The name of the data, in a chunk and in a part, that tells where messages joined an answer.
pub(crate) const INJECTED: &str = "pending-message-injected";

/// How many turns' leftovers are remembered; an older one is forgotten, and its re-send runs as a turn.
const MAX_REMEMBERED: usize = 16;

/// What separates the leftovers in a client's re-send (D-42).
const JOINT: &str = "\n";

/// A message that may still join the answer.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Pending {
    pub(crate) seq_num: SeqNum,
    pub(crate) message: UiMessage,
    /// The chat's store as its client has changed it.
    pub(crate) store: Option<Value>,
}

/// The steering of one run. It must be told of every turn's begin and end.
#[derive(Debug, Default)]
pub(crate) struct Steering {
    /// The newest record that was received when the turn began, or that has been looked at since.
    looked_at: Option<SeqNum>,
    /// Heard and neither injected nor under judgement, oldest first.
    waiting: VecDeque<Pending>,
    /// The ids heard in this turn.
    heard: BTreeSet<String>,
    leftovers: VecDeque<Leftovers>,
}

/// What a turn left, as a client that owns its leftovers would send it again.
#[derive(Debug)]
struct Leftovers {
    text: String,
    /// The newest record received when the turn ended.
    after: Option<SeqNum>,
    /// The last of them.
    last: SeqNum,
    /// Whether the last of them has its own turn by now.
    is_last_served: bool,
    /// The newest record received when that turn ended: a person who says the same later means it.
    until: Option<SeqNum>,
}

impl Steering {
    /// Begins a turn: whatever was received by now waits for a turn of its own.
    pub(crate) fn begin(&mut self, received: Option<SeqNum>) {
        self.looked_at = received;
        self.waiting.clear();
        self.heard.clear();
    }

    /// Looks at the buffer of `in` and gives the messages that are new and may join the answer. Everything else is no business of a
    /// running turn: other triggers, people's answers to calls, duplicates, and re-sends.
    ///
    /// `is_known` tells whether the history has a message of this id.
    pub(crate) fn hear<'b>(
        &mut self,
        buffer: impl Iterator<Item = &'b (SeqNum, ChatInputChunk)>,
        is_known: impl Fn(&str) -> bool,
    ) -> Vec<Pending> {
        let mut new = Vec::new();
        for (seq_num, input) in buffer {
            if Some(*seq_num) <= self.looked_at {
                continue;
            }
            self.looked_at = Some(*seq_num);
            let Some((message, store)) = steerable(input) else {
                continue;
            };
            if is_known(&message.id) || self.repeats_leftovers(*seq_num, message) {
                continue;
            }
            if self.heard.insert(message.id.clone()) {
                new.push(Pending { seq_num: *seq_num, message: message.clone(), store: store.cloned() });
            }
        }
        self.waiting.extend(new.iter().cloned());
        new
    }

    /// Takes all that wait, to be judged as one; what arrives meanwhile is not among them (A-165, AR-25).
    pub(crate) fn take(&mut self) -> Vec<Pending> {
        self.waiting.drain(..).collect()
    }

    /// Puts a batch that did not join the answer back in front of what has arrived since.
    pub(crate) fn put_back(&mut self, batch: Vec<Pending>) {
        for pending in batch.into_iter().rev() {
            self.waiting.push_front(pending);
        }
    }

    /// Ends the turn: what still waits is left over (A-163, AR-37).
    pub(crate) fn end(&mut self, received: Option<SeqNum>) {
        for known in self.leftovers.iter_mut().filter(|known| known.is_last_served && known.until.is_none()) {
            known.until = received;
        }
        let left = self.take();
        if let Some(last) = left.last().map(|last| last.seq_num) {
            let texts: Vec<String> = left.into_iter().map(|left| left.message.text()).collect();
            let text = texts.join(JOINT);
            self.leftovers.push_back(Leftovers { text, after: received, last, is_last_served: false, until: None });
        }
        if self.leftovers.len() > MAX_REMEMBERED {
            self.leftovers.pop_front();
        }
    }

    /// Tells whether a record that is taken up only repeats what the turns before it have left over, which has turns of its own
    /// (D-42). A client that sends leftovers again does so the moment the turn ends: the next message is it, or nobody does, and it
    /// comes before those turns are over.
    pub(crate) fn is_sent_again(&mut self, seq_num: Option<SeqNum>, message: &UiMessage) -> bool {
        let Some(seq_num) = seq_num else {
            return false;
        };
        let is_again = self.repeats_leftovers(seq_num, message);
        for known in self.leftovers.iter_mut().filter(|known| known.last == seq_num) {
            known.is_last_served = true;
        }
        self.leftovers.retain(|known| known.after >= Some(seq_num));
        is_again
    }

    fn repeats_leftovers(&self, seq_num: SeqNum, message: &UiMessage) -> bool {
        let text = message.text();
        let is_again = |known: &Leftovers| {
            known.after < Some(seq_num) && known.until.is_none_or(|until| seq_num <= until) && known.text == text
        };
        message.is_user() && !text.is_empty() && self.leftovers.iter().any(is_again)
    }
}

/// Tells where messages joined an answer, with what `text` gives of each.
fn injected_chunk(id: &str, injected: &[UiMessage], text: fn(&UiMessage) -> String) -> UiMessageChunk {
    let ids: Vec<&str> = injected.iter().map(|message| message.id.as_str()).collect();
    let messages: Vec<_> = injected.iter().map(|message| json!({ "id": message.id, "text": text(message) })).collect();
    UiMessageChunk::data(INJECTED, Some(id), json!({ "messageIds": ids, "messages": messages }))
}

/// Gives the message that a record would bring into an answer: a person's own words, under an id by which it can be named; and the
/// store that comes with it.
fn steerable(input: &ChatInputChunk) -> Option<(&UiMessage, Option<&Value>)> {
    let ChatInputChunk::Message { payload } = input else {
        return None;
    };
    let message = payload.message.as_ref().filter(|_| payload.trigger == Some(Trigger::SubmitMessage))?;
    let is_said = message.parts.iter().any(|part| matches!(part, UiPart::Text(_) | UiPart::File(_)));
    (message.is_user() && is_said && !message.id.is_empty()).then_some((message, payload.incoming_store.as_ref()))
}

#[cfg(test)]
mod tests;

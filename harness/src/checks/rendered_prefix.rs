//! `rendered-prefix`: what a page renders is at every moment a prefix of the durable reply.
//!
//! Exactly: whenever a page is shown a chunk, the text on screen of that assistant message is a prefix of the text that the
//! durable records of `out` tell for its id so far, all its chunks folded in order. When the world has settled, no page shows a
//! message id twice, and every assistant message on a page either is told by `out`, of the backend there is or of one that it
//! replaced, and its text is a prefix of that, or came with
//! the page's history. Whole messages are compared too: what the page shows under a told id at the end, reasoning, calls,
//! sources, files, data and metadata included, is the fold of all records of the id up to some place, as it is or cleaned of half
//! calls, as histories keep what was cut, with what people answered its calls laid over where it came; a message that only the history tells is as the history had it. This is what
//! reports a reply rendered twice (CR-38).

use std::collections::{BTreeMap, BTreeSet};

use turnkeep_protocol::{ChannelName, MessageReducer, UiMessage, UiMessageChunk, UiPart, cleanup_aborted_parts};

use super::chain::advance;
use super::fold::{Messages, Turn, segment_id, turns};
use super::story::{Stored, Story, backend_chat, broken, broken_at, since};
use super::whole::{first_difference, has_content, same};
use crate::outcome::Violation;
use crate::trace::{Entry, Event};

pub(super) const NAME: &str = "rendered-prefix";

/// The most characters of a text that a report quotes.
const QUOTED: usize = 80;

pub(super) fn check(story: &Story<'_>) -> Vec<Violation> {
    let mut chats: BTreeMap<&str, Messages> = BTreeMap::new();
    let mut histories: BTreeMap<&str, &Entry> = BTreeMap::new();
    let mut violations = Vec::new();
    for (entry, stored) in story.walk() {
        if let Some(stored) = stored.filter(|stored| stored.channel == ChannelName::Out) {
            chats.entry(stored.session).or_default().take(stored);
        }
        match &entry.event {
            Event::PageOpened { page, .. } => {
                histories.insert(page, entry);
            }
            Event::Shown { page, chat, seq_num, message_id, text, .. } => {
                let durable = chats.entry(chat).or_default();
                let seq = seq_num.get();
                if let Some(what) = judge_screen(story, durable, chat, seq, message_id, text) {
                    let broken = broken_at(NAME, page, entry, seq, what);
                    violations.push(match histories.get(page.as_str()) {
                        Some(opened) => since(broken, opened),
                        None => broken,
                    });
                }
            }
            Event::PageShows { page, chat, messages } => {
                let history = histories.get(page.as_str()).map_or(&[][..], |opened| history_of(opened));
                // What a backend told that was replaced since is on screen still, and under no other id (C-142).
                let name = backend_chat(chat);
                let gone: Vec<_> =
                    chats.iter().filter(|(other, _)| **other != chat && backend_chat(other) == name).collect();
                let before = |id: &str| gone.iter().find_map(|(_, durable)| durable.text(id));
                let nothing = Messages::default();
                let durable = chats.get(chat.as_str()).unwrap_or(&nothing);
                let mut faults = judge_page(|id| durable.text(id).or_else(|| before(id)), history, messages);
                if faults.is_empty() {
                    faults = judge_whole(story, chat, history, messages);
                }
                violations.extend(faults.into_iter().map(|what| broken(NAME, page, entry, what)));
            }
            _ => {}
        }
    }
    violations
}

fn history_of(opened: &Entry) -> &[UiMessage] {
    match &opened.event {
        Event::PageOpened { messages, .. } => messages,
        _ => &[],
    }
}

fn judge_screen(story: &Story<'_>, durable: &Messages, chat: &str, seq: u64, id: &str, text: &str) -> Option<String> {
    if text.is_empty() {
        return None;
    }
    let Some(told) = durable.text(id) else {
        return Some(format!("shows {} in message {id}, which `out` does not tell", quote(text)));
    };
    // A step that was reset takes text back: a reader may not have come so far.
    let allowed = told.starts_with(text)
        || (durable.shrunk.iter().any(|shrunk| shrunk == id) && {
            let mut then = Messages::default();
            story
                .channel(chat, ChannelName::Out)
                .take_while(|stored| stored.seq() <= seq)
                .for_each(|stored| then.take(stored));
            then.text(id).is_some_and(|told| told.starts_with(text))
        });
    (!allowed).then(|| format!("shows {} in message {id}, where `out` tells {}", quote(text), quote(&told)))
}

fn judge_page(told: impl Fn(&str) -> Option<String>, history: &[UiMessage], messages: &[UiMessage]) -> Vec<String> {
    let mut faults = Vec::new();
    let mut ids = BTreeSet::new();
    for message in messages {
        if !message.id.is_empty() && !ids.insert(message.id.as_str()) {
            faults.push(format!("shows message {} twice at the end", message.id));
        }
        if !message.is_assistant() {
            continue;
        }
        let (id, text) = (&message.id, message.text());
        match told(id) {
            Some(told) if told.starts_with(&text) => {}
            Some(told) => {
                faults.push(format!(
                    "shows {} in message {id} at the end, where `out` tells {}",
                    quote(&text),
                    quote(&told)
                ));
            }
            None if history.iter().any(|known| known.id == *id) || text.is_empty() => {}
            None => {
                faults.push(format!("shows {} in message {id} at the end, which `out` does not tell", quote(&text)))
            }
        }
    }
    faults
}

/// Says which messages on a page no beginning of the records tells.
fn judge_whole(story: &Story<'_>, chat: &str, history: &[UiMessage], messages: &[UiMessage]) -> Vec<String> {
    let mut faults = Vec::new();
    let turns = turns(story.channel(chat, ChannelName::Out));
    for message in messages.iter().filter(|message| message.is_assistant() && has_content(message)) {
        let tellings = tellings_of(story, chat, &turns, &message.id);
        let (told, right) = if tellings.is_empty() {
            let known = history.iter().find(|known| known.id == message.id).cloned();
            let right = known.as_ref().is_none_or(|known| same(known, message));
            (known, right)
        } else {
            let whole = Versions::of(&tellings).last();
            let right =
                is_version(&whole, message) || Versions::of(&tellings).any(|version| is_version(version, message));
            (Some(whole), right)
        };
        if let Some(told) = told.filter(|_| !right) {
            let (id, how) = (&message.id, first_difference(message, &told));
            faults.push(format!("shows message {id} at the end as no record leaves it: {how}"));
        }
    }
    faults
}

/// What tells of a message: a chunk, or what a person answered its calls.
enum Telling<'s> {
    Chunk(&'s UiMessageChunk),
    Answer(&'s UiMessage),
}

/// Lists what the turns of a chat tell of the messages with an id: a turn's answers to calls, then its chunks. Answers that no
/// turn has covered come last.
fn tellings_of<'s>(story: &'s Story<'_>, chat: &'s str, turns: &[Turn<'s, '_>], id: &str) -> Vec<Telling<'s>> {
    let mut inputs = story.channel(chat, ChannelName::In).peekable();
    let mut tellings = Vec::new();
    for turn in turns {
        let settled = turn.settled();
        while let Some(input) = inputs.next_if(|input| Some(input.seq()) <= settled) {
            tellings.extend(answer_to(input, id));
        }
        let told = turn.segments().into_iter().filter(|segment| segment_id(segment) == Some(id)).flatten();
        tellings.extend(told.map(Telling::Chunk));
    }
    let untold = !tellings.iter().any(|telling| matches!(telling, Telling::Chunk(_)));
    tellings.extend(inputs.filter_map(|input| answer_to(input, id)));
    if untold { Vec::new() } else { tellings }
}

fn answer_to<'s>(input: &'s Stored<'_>, id: &str) -> Option<Telling<'s>> {
    let message = input.payload()?.message.as_ref()?;
    (message.is_assistant() && message.id == id).then_some(Telling::Answer(message))
}

/// The message after each telling, one after the other: a long answer has as many versions as chunks, so none is copied.
struct Versions<'t> {
    tellings: std::slice::Iter<'t, Telling<'t>>,
    reducer: MessageReducer,
}

impl<'t> Versions<'t> {
    fn of(tellings: &'t [Telling<'t>]) -> Self {
        Self { tellings: tellings.iter(), reducer: MessageReducer::new() }
    }

    fn next(&mut self) -> Option<&UiMessage> {
        match self.tellings.next()? {
            Telling::Chunk(chunk) => {
                let _ = self.reducer.apply(chunk);
            }
            Telling::Answer(answer) => {
                let mut message = self.reducer.message().clone();
                advance(&mut message, answer);
                self.reducer = MessageReducer::resume(message);
            }
        }
        Some(self.reducer.message())
    }

    fn any(mut self, is_it: impl Fn(&UiMessage) -> bool) -> bool {
        while let Some(version) = self.next() {
            if is_it(version) {
                return true;
            }
        }
        false
    }

    fn last(mut self) -> UiMessage {
        while self.next().is_some() {}
        self.reducer.into_message()
    }
}

/// Tells whether `message` is this version, as it is or cleaned of half calls.
fn is_version(version: &UiMessage, message: &UiMessage) -> bool {
    // Cleaning takes calls away and no text: what differs there is not worth a closer look.
    if n_bytes(version) != n_bytes(message) {
        return false;
    }
    same(version, message) || same(&cleanup_aborted_parts(version.clone()), message)
}

fn n_bytes(message: &UiMessage) -> usize {
    let length = |part: &UiPart| match part {
        UiPart::Text(text) => text.text.len(),
        UiPart::Reasoning(reasoning) => reasoning.text.len(),
        _ => 0,
    };
    message.parts.iter().map(length).sum()
}

/// Quotes a text, its end left out when it is long.
fn quote(text: &str) -> String {
    if text.chars().count() <= QUOTED {
        return format!("{text:?}");
    }
    let start: String = text.chars().take(QUOTED).collect();
    format!("{start:?}…")
}

#[cfg(test)]
mod tests;

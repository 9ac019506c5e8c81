//! `answers-shown`: a settled page shows its person every answer to what she asked.
//!
//! Exactly: when the world has settled, the page that a person then has open, in each of her tabs, shows, for every turn of its chat
//! that covers an input acknowledged to her, each message that the turn tells, whole: the fold of its durable records of `out`, as pages and histories
//! show it. A message may have gone on under its id since; its text then begins with what the turn told. A beginning is enough of
//! turns that failed or were aborted, that she stopped, or that she wrote into (CR-8, open by the spec); `rendered-prefix` sees to
//! it that it is a beginning. The rest of a turn she wrote into may stand in front of the answer after it. Messages that a later
//! regenerate took away, or a later action may have (D-59), and messages without content need not be shown; who has no page open sees
//! nothing.

use std::collections::{BTreeMap, BTreeSet};

use turnkeep_protocol::{ChannelName, UiMessage, UiMessageChunk, cleanup_aborted_parts};

use super::chain::Chain;
use super::excuses::Excuses;
use super::fold::{Turn, segment_id, turns};
use super::story::{Stored, Story, broken_at, device_of, person_of, since};
use super::whole::{first_difference, has_content, same};
use crate::outcome::Violation;
use crate::trace::{Entry, Event};

pub(super) const NAME: &str = "answers-shown";

/// A message that a turn told.
struct Answer<'s, 't> {
    message: UiMessage,
    /// The inputs that the turn covers: above the first, up to and with the second.
    covers: (Option<u64>, Option<u64>),
    boundary: &'s Stored<'t>,
    cut: bool,
}

pub(super) fn check(story: &Story<'_>) -> Vec<Violation> {
    if !story.settled() {
        return Vec::new();
    }
    let stopped = Excuses::stopped(story);
    let written_into = Excuses::written_into(story);
    let mut violations = Vec::new();
    for entry in last_pages(story) {
        let Event::PageShows { page, chat, messages } = &entry.event else { continue };
        let who = device_of(page);
        let asked = asked(story, who, chat);
        let told = told(story, chat);
        let mut after_cr8 = false;
        for (index, answer) in told.iter().enumerate() {
            let place = answer.boundary.seq();
            let beginning = written_into.excuses_device(who, chat, place);
            let after_beginning = std::mem::replace(&mut after_cr8, beginning);
            let hers = asked.iter().any(|seq| Some(*seq) > answer.covers.0 && Some(*seq) <= answer.covers.1);
            if !hers || beginning || answer.cut || stopped.excuses_device(who, chat, place) {
                continue;
            }
            let goes_on = told[index + 1..].iter().any(|later| later.message.id == answer.message.id);
            if let Some(what) = missing(messages, &answer.message, goes_on, after_beginning) {
                violations.push(since(broken_at(NAME, page, entry, place, what), answer.boundary.entry));
            }
        }
    }
    violations
}

/// Gives what each tab's newest page shows at the end.
fn last_pages<'t>(story: &Story<'t>) -> Vec<&'t Entry> {
    let pages = story.last_pages().into_values().filter_map(|entry| match &entry.event {
        Event::PageShows { page, chat, .. } => Some(((person_of(page), chat.as_str()), entry)),
        _ => None,
    });
    let mut newest: BTreeMap<_, &Entry> = BTreeMap::new();
    for (whose, entry) in pages {
        let kept = newest.entry(whose).or_insert(entry);
        if kept.n < entry.n {
            *kept = entry;
        }
    }
    newest.into_values().collect()
}

/// Lists the places on `in` that were acknowledged to a person.
fn asked(story: &Story<'_>, who: &str, chat: &str) -> BTreeSet<u64> {
    let sent = story.entries.iter().filter_map(|entry| match &entry.event {
        Event::Sent { page, chat: of, message, seq_num } if device_of(page) == who && of == chat => {
            let told = seq_num.map(|seq_num| seq_num.get());
            told.or_else(|| {
                let mut inputs = story.channel(chat, ChannelName::In);
                inputs.find(|input| input.message_id() == Some(&message.id)).map(Stored::seq)
            })
        }
        Event::Asked { page, chat: of, seq_num, .. } if device_of(page) == who && of == chat => {
            seq_num.map(|seq_num| seq_num.get())
        }
        _ => None,
    });
    sent.collect()
}

/// Lists what the turns of a chat told, as it stands at the end of each; what was taken away since is left out.
fn told<'s, 't>(story: &'s Story<'t>, chat: &'s str) -> Vec<Answer<'s, 't>> {
    let inputs: Vec<_> = story.channel(chat, ChannelName::In).collect();
    let mut chain = Chain::default();
    let mut settled = None;
    let mut answers = Vec::new();
    for turn in turns(story.channel(chat, ChannelName::Out)) {
        if chain.take(&inputs, &turn) {
            answers.clear();
        }
        let Some(boundary) = turn.boundary else { continue };
        let covers = (settled, turn.settled().max(settled));
        settled = covers.1;
        let ids: BTreeSet<_> = turn.answers_told().iter().filter_map(|segment| segment_id(segment)).collect();
        let cut = turn.failed() || was_aborted(&turn);
        let messages = chain.messages.iter().filter(|message| message.is_assistant() && ids.contains(&*message.id));
        answers.extend(messages.cloned().map(|message| Answer { message, covers, boundary, cut }));
    }
    let kept = |answer: &Answer<'_, '_>| chain.messages.iter().any(|message| message.id == answer.message.id);
    answers.retain(|answer| has_content(&answer.message) && kept(answer));
    answers
}

fn was_aborted(turn: &Turn<'_, '_>) -> bool {
    turn.chunks.iter().any(|stored| matches!(stored.chunk(), Some(UiMessageChunk::Abort(_))))
}

/// Says what is missing of an answer.
fn missing(messages: &[UiMessage], answer: &UiMessage, goes_on: bool, after_beginning: bool) -> Option<String> {
    let (id, text) = (&answer.id, answer.text());
    let Some(shown) = messages.iter().rev().find(|message| message.id == *id) else {
        return Some(format!("does not show message {id} at the end: {text:?}"));
    };
    let whole = same(shown, answer)
        || same(&cleanup_aborted_parts(shown.clone()), answer)
        || (goes_on && shown.text().starts_with(&text))
        || (after_beginning && shown.text().ends_with(&text));
    (!whole).then(|| format!("does not show message {id} whole at the end: {}", first_difference(shown, answer)))
}

#[cfg(test)]
mod tests;

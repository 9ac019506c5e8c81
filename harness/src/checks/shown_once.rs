//! `shown-once`: a page is shown each chunk at most once, in order, and none is left out.
//!
//! Exactly: the seq_nums shown to one page strictly increase, over all its streams; each chunk shown is the chunk of the durable
//! record at its seq_num; between two chunks shown in one stream, between a reloaded page's cursor and the first chunk of its
//! resumed stream, and between the last chunk shown and the boundary that completed the stream, no durable data record of `out`
//! lies unshown, unless it was trimmed away by then (I5) or belongs to a turn that the page's person had stopped (C-105 … C-117).
//! A stream ends with `StreamEnded`, `Stopped` or `Resumed`. When one ends because all is settled, nothing lies unshown between the
//! page's cursor, or the last chunk it was shown, and the tail of `out`, but for what was stored after a moment of the stream at
//! which the session was settled indeed: nothing owed, and the newest record a `turn-complete` (D-33, S-118, S-120).

mod calm;

use std::collections::BTreeMap;

use turnkeep_protocol::{ChannelName, UiMessageChunk};

use super::excuses::Excuses;
use super::story::{Content, Stored, Story, broken_at, person_of, since};
use crate::outcome::Violation;
use crate::trace::{Entry, Event};
use calm::Calm;

pub(super) const NAME: &str = "shown-once";

/// What is known of one page.
#[derive(Default)]
struct Page<'t> {
    /// The newest chunk it was shown.
    newest: Option<(u64, &'t Entry)>,
    /// Where its current stream stands.
    stream: Stream,
    opened_at: Option<u64>,
    /// Everything below was shown, or came with the page.
    next: u64,
    /// The entry at which its current stream was opened.
    stream_since: usize,
}

#[derive(Default)]
enum Stream {
    /// Nothing is known of where the stream began.
    #[default]
    Anywhere,
    /// Every record from here on must be shown.
    From(u64),
}

/// What is durable, as the walk proceeds.
#[derive(Default)]
struct Out<'s, 't> {
    chunks: BTreeMap<u64, &'s Stored<'t>>,
    boundaries: Vec<u64>,
    first_kept: u64,
    calm: Calm,
}

pub(super) fn check(story: &Story<'_>) -> Vec<Violation> {
    let mut walk = Walk {
        stopped: Excuses::stopped(story),
        channels: BTreeMap::new(),
        pages: BTreeMap::new(),
        violations: Vec::new(),
    };
    for (entry, stored) in story.walk() {
        if let Some(stored) = stored {
            walk.channels.entry(stored.session).or_default().store(stored);
        }
        walk.take(entry);
    }
    walk.violations
}

/// Everything known up to one entry.
struct Walk<'s, 't> {
    stopped: Excuses<'t>,
    channels: BTreeMap<&'t str, Out<'s, 't>>,
    /// By page and chat: to a page whose backend was replaced its chat is another one.
    pages: BTreeMap<(&'t str, &'t str), Page<'t>>,
    violations: Vec<Violation>,
}

impl<'t> Walk<'_, 't> {
    fn take(&mut self, entry: &'t Entry) {
        match &entry.event {
            Event::Trimmed { session, channel: ChannelName::Out, first_kept } => {
                self.channels.entry(session).or_default().first_kept = first_kept.get();
            }
            Event::PageOpened { page, chat, cursor, .. } => {
                let next = cursor.map_or(0, |cursor| cursor.next().get());
                self.pages.insert((page, chat), Page { opened_at: Some(next), next, ..Page::default() });
            }
            Event::Resumed { page, chat, streaming } => {
                let page = self.pages.entry((page, chat)).or_default();
                let from = page.opened_at.take().filter(|_| *streaming);
                page.stream = from.map_or(Stream::Anywhere, Stream::From);
                page.stream_since = entry.n;
            }
            Event::Sent { page, chat, .. } | Event::Asked { page, chat, .. } => {
                self.pages.entry((page, chat)).or_default().stream_since = entry.n;
            }
            Event::Stopped { page, chat, .. } => self.pages.entry((page, chat)).or_default().stream = Stream::Anywhere,
            Event::StreamEnded { page, chat, how } => self.ended(entry, page, chat, how),
            Event::Shown { page, chat, seq_num, chunk, .. } => self.shown(entry, page, chat, seq_num.get(), chunk),
            _ => {}
        }
    }

    fn ended(&mut self, entry: &'t Entry, page: &'t str, chat: &'t str, how: &str) {
        let state = self.pages.entry((page, chat)).or_default();
        let out = self.channels.entry(chat).or_default();
        let missed = match (how, &state.stream) {
            ("completed", Stream::From(from)) => {
                let end = out.boundaries.iter().copied().find(|boundary| boundary >= from);
                let missed = end.and_then(|end| out.missed(*from, end, &self.stopped, page));
                missed.map(|missed| (missed, "its stream was completed"))
            }
            ("settled", _) => {
                let missed = out.missed(state.next, u64::MAX, &self.stopped, page);
                let missed = missed.filter(|missed| !out.calm.between(state.stream_since, missed.entry.n));
                missed.map(|missed| (missed, "its stream ended as settled"))
            }
            _ => None,
        };
        self.violations.extend(missed.map(|(missed, then)| left_out(page, entry, missed, then)));
        state.stream = Stream::Anywhere;
    }

    fn shown(&mut self, entry: &'t Entry, page: &'t str, chat: &'t str, seq: u64, chunk: &UiMessageChunk) {
        let state = self.pages.entry((page, chat)).or_default();
        let out = self.channels.entry(chat).or_default();
        let broken = |what| broken_at(NAME, page, entry, seq, what);
        if let Some((newest, earlier)) = state.newest.filter(|(newest, _)| *newest >= seq) {
            self.violations.push(since(broken(format!("was shown seq_num {seq} after seq_num {newest}")), earlier));
        }
        let kind = chunk.kind();
        match out.chunks.get(&seq) {
            Some(stored) if stored.chunk() == Some(chunk) => {}
            Some(stored) => {
                let what = format!("was shown a `{kind}` at seq_num {seq} that is not the chunk stored there");
                self.violations.push(since(broken(what), stored.entry));
            }
            None => {
                let what = format!("was shown a `{kind}` at seq_num {seq}, where no chunk is stored");
                self.violations.push(broken(what));
            }
        }
        if let Stream::From(from) = state.stream
            && let Some(missed) = out.missed(from, seq, &self.stopped, page)
        {
            self.violations.push(left_out(page, entry, missed, &format!("seq_num {seq} was shown")));
        }
        state.newest = Some((seq, entry));
        state.stream = Stream::From(seq + 1);
        state.next = seq + 1;
    }
}

fn left_out(page: &str, entry: &Entry, missed: &Stored<'_>, then: &str) -> Violation {
    let kind = missed.chunk().map_or("record", |chunk| chunk.kind());
    let what = format!("was never shown the `{kind}` at seq_num {}, and then {then}", missed.seq());
    since(broken_at(NAME, page, entry, missed.seq(), what), missed.entry)
}

impl<'s, 't> Out<'s, 't> {
    fn store(&mut self, stored: &'s Stored<'t>) {
        self.calm.take(stored);
        match stored.content {
            Content::Chunk(_) => {
                self.chunks.insert(stored.seq(), stored);
            }
            Content::Boundary(_) => self.boundaries.push(stored.seq()),
            _ => {}
        }
    }

    /// Finds the first chunk in `from..to` that the page should have been shown.
    fn missed(&self, from: u64, to: u64, stopped: &Excuses<'_>, page: &str) -> Option<&'s Stored<'t>> {
        let from = from.max(self.first_kept);
        if from >= to {
            return None;
        }
        let mut between = self.chunks.range(from..to).map(|(_, stored)| *stored);
        between.find(|stored| !stopped.excuses(person_of(page), stored.session, stored.seq()))
    }
}

#[cfg(test)]
mod tests;

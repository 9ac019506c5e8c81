//! `shown-once`: a page is shown each chunk at most once, in order, and none is left out.
//!
//! Exactly: the seq_nums shown to one page strictly increase, over all its streams; each chunk shown is the chunk of the durable
//! record at its seq_num; between two chunks shown in one stream, between a reloaded page's cursor and the first chunk of its
//! resumed stream, and between the last chunk shown and the boundary that completed the stream, no durable data record of `out`
//! lies unshown, unless it was trimmed away by then (I5) or belongs to a turn that the page's person had stopped (C-105 … C-117).
//! A stream ends with `StreamEnded`, `Stopped` or `Resumed`.

use std::collections::BTreeMap;

use turnkeep_protocol::{ChannelName, UiMessageChunk};

use super::story::{Content, Stored, Story, broken_at, person_of, since};
use crate::outcome::Violation;
use crate::trace::{Entry, Event};

pub(super) const NAME: &str = "shown-once";

/// What is known of one page.
#[derive(Default)]
struct Page<'t> {
    /// The newest chunk it was shown.
    newest: Option<(u64, &'t Entry)>,
    /// Where its current stream stands.
    stream: Stream,
    opened_at: Option<u64>,
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
}

pub(super) fn check(story: &Story<'_>) -> Vec<Violation> {
    let mut walk =
        Walk { stopped: Stopped::of(story), channels: BTreeMap::new(), pages: BTreeMap::new(), violations: Vec::new() };
    for (entry, stored) in story.walk() {
        if let Some(stored) = stored.filter(|stored| stored.channel == ChannelName::Out) {
            walk.channels.entry(stored.session).or_default().store(stored);
        }
        walk.take(entry);
    }
    walk.violations
}

/// Everything known up to one entry.
struct Walk<'s, 't> {
    stopped: Stopped<'t>,
    channels: BTreeMap<&'t str, Out<'s, 't>>,
    pages: BTreeMap<&'t str, Page<'t>>,
    violations: Vec<Violation>,
}

impl<'t> Walk<'_, 't> {
    fn take(&mut self, entry: &'t Entry) {
        match &entry.event {
            Event::Trimmed { session, channel: ChannelName::Out, first_kept } => {
                self.channels.entry(session).or_default().first_kept = first_kept.get();
            }
            Event::PageOpened { page, cursor, .. } => {
                let opened_at = Some(cursor.map_or(0, |cursor| cursor.next().get()));
                self.pages.insert(page, Page { opened_at, ..Page::default() });
            }
            Event::Resumed { page, streaming, .. } => {
                let page = self.pages.entry(page).or_default();
                let from = page.opened_at.take().filter(|_| *streaming);
                page.stream = from.map_or(Stream::Anywhere, Stream::From);
            }
            Event::Stopped { page, .. } => self.pages.entry(page).or_default().stream = Stream::Anywhere,
            Event::StreamEnded { page, chat, how } => self.ended(entry, page, chat, how),
            Event::Shown { page, chat, seq_num, chunk, .. } => self.shown(entry, page, chat, seq_num.get(), chunk),
            _ => {}
        }
    }

    fn ended(&mut self, entry: &'t Entry, page: &'t str, chat: &'t str, how: &str) {
        let state = self.pages.entry(page).or_default();
        let out = self.channels.entry(chat).or_default();
        if let (Stream::From(from), Some((newest, _)), "completed") = (&state.stream, state.newest, how) {
            let end = out.boundaries.iter().copied().find(|boundary| *boundary > newest);
            let missed = end.and_then(|end| out.missed(*from, end, &self.stopped, page));
            self.violations.extend(missed.map(|missed| left_out(page, entry, missed, "its stream was completed")));
        }
        state.stream = Stream::Anywhere;
    }

    fn shown(&mut self, entry: &'t Entry, page: &'t str, chat: &'t str, seq: u64, chunk: &UiMessageChunk) {
        let state = self.pages.entry(page).or_default();
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
    }
}

fn left_out(page: &str, entry: &Entry, missed: &Stored<'_>, then: &str) -> Violation {
    let kind = missed.chunk().map_or("record", |chunk| chunk.kind());
    let what = format!("was never shown the `{kind}` at seq_num {}, and then {then}", missed.seq());
    since(broken_at(NAME, page, entry, missed.seq(), what), missed.entry)
}

impl<'s, 't> Out<'s, 't> {
    fn store(&mut self, stored: &'s Stored<'t>) {
        match stored.content {
            Content::Chunk(_) => {
                self.chunks.insert(stored.seq(), stored);
            }
            Content::Boundary(_) => self.boundaries.push(stored.seq()),
            _ => {}
        }
    }

    /// Finds the first chunk in `from..to` that the page should have been shown.
    fn missed(&self, from: u64, to: u64, stopped: &Stopped<'_>, page: &str) -> Option<&'s Stored<'t>> {
        let from = from.max(self.first_kept);
        if from >= to {
            return None;
        }
        let mut between = self.chunks.range(from..to).map(|(_, stored)| *stored);
        between.find(|stored| !stopped.excuses(person_of(page), stored.session, stored.seq()))
    }
}

/// The turns that people stopped: for each person and chat, the places of their records on `out`.
struct Stopped<'t> {
    turns: Vec<(&'t str, &'t str, u64, u64)>,
}

impl<'t> Stopped<'t> {
    fn of(story: &Story<'t>) -> Self {
        let mut asked: BTreeMap<(&str, &str), u64> = BTreeMap::new();
        let mut turns = Vec::new();
        for entry in story.entries {
            match &entry.event {
                Event::Sent { page, chat, seq_num: Some(seq_num), .. } => {
                    asked.insert((person_of(page), chat), seq_num.get());
                }
                Event::Stopped { page, chat, .. } => {
                    let who = person_of(page);
                    let input = asked.get(&(who, chat.as_str())).copied().unwrap_or_default();
                    let (from, to) = turn_of(story, chat, input);
                    turns.push((who, chat.as_str(), from, to));
                }
                _ => {}
            }
        }
        Self { turns }
    }

    fn excuses(&self, who: &str, chat: &str, seq: u64) -> bool {
        self.turns.iter().any(|turn| turn.0 == who && turn.1 == chat && (turn.2..=turn.3).contains(&seq))
    }
}

/// Gives the first and last place on `out` of the turn that answers `in` record `input`; an open turn has no last place.
fn turn_of(story: &Story<'_>, session: &str, input: u64) -> (u64, u64) {
    let mut from = 0;
    for stored in story.channel(session, ChannelName::Out) {
        if let Content::Boundary(settled) = stored.content {
            if settled.is_some_and(|settled| settled.get() >= input) {
                return (from, stored.seq());
            }
            from = stored.seq() + 1;
        }
    }
    (from, u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::tale::{Tale, judge};

    fn answered() -> Tale {
        Tale::new()
            .open("alice#1", &[], None)
            .ask("alice-1", "Hi")
            .sent("alice#1", "alice-1", "Hi", 0)
            .say("a1", &["A", "B"])
    }

    #[test]
    fn a_page_that_watches_to_the_end_has_seen_it_all() {
        let tale = answered().watch("alice#1").boundary(0).ended("alice#1", "completed");

        assert_eq!(judge(check, &tale), [""; 0]);
    }

    #[test]
    fn a_chunk_shown_twice_or_late_is_seen() {
        let twice = answered().shown("alice#1", 0, "a1", "").shown("alice#1", 0, "a1", "");
        let across_streams =
            answered().shown("alice#1", 1, "a1", "").ended("alice#1", "aborted").shown("alice#1", 0, "a1", "");

        assert_eq!(judge(check, &twice), ["was shown seq_num 0 after seq_num 0"]);
        assert_eq!(judge(check, &across_streams), ["was shown seq_num 0 after seq_num 1"]);
    }

    #[test]
    fn a_chunk_that_is_not_the_stored_one_is_seen() {
        let other = answered().shown_as("alice#1", 3, UiMessageChunk::text_delta("t", "Z"), "a1", "Z");
        let nothing = answered().shown_as("alice#1", 99, UiMessageChunk::start_step(), "a1", "");

        assert_eq!(judge(check, &other), ["was shown a `text-delta` at seq_num 3 that is not the chunk stored there"]);
        assert_eq!(judge(check, &nothing), ["was shown a `start-step` at seq_num 99, where no chunk is stored"]);
    }

    #[test]
    fn a_chunk_left_out_within_a_stream_is_seen_but_not_across_streams() {
        let within = answered().shown("alice#1", 0, "a1", "").shown("alice#1", 2, "a1", "");
        let across = answered().shown("alice#1", 0, "a1", "").ended("alice#1", "aborted").shown("alice#1", 2, "a1", "");

        assert_eq!(
            judge(check, &within),
            ["was never shown the `start-step` at seq_num 1, and then seq_num 2 was shown"]
        );
        assert_eq!(judge(check, &across), [""; 0]);
    }

    #[test]
    fn trimmed_records_need_not_be_shown() {
        let tale = answered().shown("alice#1", 0, "a1", "").trimmed(ChannelName::Out, 2).shown("alice#1", 2, "a1", "");

        assert_eq!(judge(check, &tale), [""; 0]);
    }

    #[test]
    fn a_stream_that_completes_too_early_is_seen() {
        let cut = answered().shown("alice#1", 0, "a1", "").boundary(0).ended("alice#1", "completed");
        let failed = answered().shown("alice#1", 0, "a1", "").boundary(0).ended("alice#1", "failed: no network");

        assert_eq!(
            judge(check, &cut),
            ["was never shown the `start-step` at seq_num 1, and then its stream was completed"]
        );
        assert_eq!(judge(check, &failed), [""; 0]);
    }

    #[test]
    fn a_resumed_stream_goes_on_after_the_cursor_i5() {
        let resume =
            |first| answered().open("alice#2", &[], Some(1)).resumed("alice#2", true).shown("alice#2", first, "a1", "");

        assert_eq!(judge(check, &resume(2)), [""; 0]);
        let missed = "was never shown the `text-start` at seq_num 2, and then seq_num 3 was shown";
        assert_eq!(judge(check, &resume(3)), [missed]);
    }

    #[test]
    fn the_tail_of_a_stopped_turn_stays_hidden_after_a_reload_c112() {
        let tale = answered()
            .shown("alice#1", 0, "a1", "")
            .boundary(0)
            .stopped("alice#1")
            .ask("alice-2", "Go on")
            .sent("alice#1", "alice-2", "Go on", 1)
            .say("a2", &["C"])
            .open("alice#2", &[], Some(0))
            .resumed("alice#2", true);
        let first_of_second_turn = 9;

        assert_eq!(judge(check, &tale.clone().shown("alice#2", first_of_second_turn, "a2", "")), [""; 0]);
        assert_eq!(judge(check, &tale.shown("alice#2", first_of_second_turn + 1, "a2", "")).len(), 1);
    }
}

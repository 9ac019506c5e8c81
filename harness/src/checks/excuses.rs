//! What a person's pages may rightly lack: the rest of turns she stopped, and of turns she wrote into.

use std::collections::BTreeMap;

use turnkeep_protocol::ChannelName;

use super::story::{Content, Story, device_of, person_of};
use crate::trace::Event;

/// Turns by person and chat: the places of their records on `out`.
pub(super) struct Excuses<'t> {
    turns: Vec<(&'t str, &'t str, u64, u64)>,
}

/// What a person's pages of one chat have come to.
#[derive(Default)]
struct Reading {
    /// The newest input that was acknowledged.
    asked: u64,
    /// The streams that are open, and how the newest closed one ended.
    streams: usize,
    done: bool,
    /// The newest chunk that the page was shown.
    shown: Option<u64>,
}

impl<'t> Excuses<'t> {
    /// Collects the turns that people stopped: a stop, delivered or not, keeps the rest of the turn that answers the newest
    /// acknowledged input off the screen for good (C-105 … C-117), unless that turn's stream had ended well before.
    pub(super) fn stopped(story: &Story<'t>) -> Self {
        Self::of(story, |story, event, readings| {
            let Event::Stopped { page, chat, .. } = event else { return None };
            let who = person_of(page);
            let reading = readings.get(&(who, chat.as_str()));
            if reading.is_some_and(|reading| reading.streams == 0 && reading.done) {
                return None;
            }
            let (from, to) = turn_of(story, chat, reading.map_or(0, |reading| reading.asked));
            Some((who, chat, from, to))
        })
    }

    /// Collects the turns that people wrote into: a send in the middle of a turn ends the message on screen, and what the turn
    /// still tells has no message to go to (CR-8, open by the spec). Whatever turn comes after is shown whole, for the next
    /// stream reads on where the one before stopped (C-79, C-82).
    pub(super) fn written_into(story: &Story<'t>) -> Self {
        Self::of(story, |story, event, readings| {
            let Event::Step { step, .. } = event else { return None };
            let who = step.get("send")?.get("client")?.as_str()?;
            let ((_, chat), reading) = readings.iter().find(|((person, _), _)| *person == who)?;
            let shown = reading.shown?;
            let (from, to, last) = turn_at(story, chat, shown);
            (shown < last).then_some((who, *chat, from, to))
        })
    }

    fn of(story: &Story<'t>, excuse: impl Fn(&Story<'t>, &'t Event, &Readings<'t>) -> Option<Turn<'t>>) -> Self {
        let mut readings = Readings::new();
        let mut turns = Vec::new();
        for entry in story.entries {
            read(&mut readings, &entry.event);
            turns.extend(excuse(story, &entry.event, &readings));
        }
        Self { turns }
    }

    /// Tells whether a person need not have been shown this place of `out`, whatever tab she made it so in.
    pub(super) fn excuses_device(&self, device: &str, chat: &str, seq: u64) -> bool {
        self.turns.iter().any(|turn| device_of(turn.0) == device && turn.1 == chat && (turn.2..=turn.3).contains(&seq))
    }

    /// Tells whether a person need not have been shown this place of `out`.
    pub(super) fn excuses(&self, who: &str, chat: &str, seq: u64) -> bool {
        self.turns.iter().any(|turn| turn.0 == who && turn.1 == chat && (turn.2..=turn.3).contains(&seq))
    }
}

type Readings<'t> = BTreeMap<(&'t str, &'t str), Reading>;

type Turn<'t> = (&'t str, &'t str, u64, u64);

fn read<'t>(readings: &mut Readings<'t>, event: &'t Event) {
    match event {
        Event::PageOpened { page, chat, .. } => {
            let reading = readings.entry((person_of(page), chat)).or_default();
            (reading.streams, reading.done, reading.shown) = (0, false, None);
        }
        Event::Resumed { page, chat, streaming: true } => {
            readings.entry((person_of(page), chat)).or_default().streams += 1;
        }
        Event::Sent { page, chat, seq_num, .. } | Event::Asked { page, chat, seq_num, .. } => {
            let reading = readings.entry((person_of(page), chat)).or_default();
            reading.streams += 1;
            reading.asked = seq_num.map_or(reading.asked, |seq_num| seq_num.get());
        }
        Event::StreamEnded { page, chat, how } => {
            let reading = readings.entry((person_of(page), chat)).or_default();
            reading.streams = reading.streams.saturating_sub(1);
            reading.done = matches!(how.as_str(), "completed" | "settled");
        }
        Event::Shown { page, chat, seq_num, .. } => {
            readings.entry((person_of(page), chat)).or_default().shown = Some(seq_num.get());
        }
        _ => {}
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

/// Gives the first and last place of the turn that holds place `seq` of `out`, and the place of its last chunk.
fn turn_at(story: &Story<'_>, session: &str, seq: u64) -> (u64, u64, u64) {
    let (mut from, mut last) = (0, 0);
    for stored in story.channel(session, ChannelName::Out) {
        match stored.content {
            Content::Boundary(_) if stored.seq() >= seq => return (from, stored.seq(), last),
            Content::Boundary(_) => from = stored.seq() + 1,
            Content::Chunk(_) => last = stored.seq(),
            _ => {}
        }
    }
    (from, u64::MAX, last)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::checks::tale::{CHAT, Tale, scenario};

    fn asked() -> Tale {
        Tale::new().open("alice#1", &[], None).ask("alice-1", "Hi").sent("alice#1", "alice-1", "Hi", 0)
    }

    fn press() -> Event {
        Event::Step { index: 0, step: json!({ "send": { "client": "alice", "text": "Wait" } }) }
    }

    fn excused(tale: &Tale, of: fn(&Story<'_>) -> Vec<u64>) -> Vec<u64> {
        of(&Story::new(&scenario(), &tale.entries))
    }

    fn places(excuses: &Excuses<'_>) -> Vec<u64> {
        (0..20).filter(|seq| excuses.excuses("alice", CHAT, *seq)).collect()
    }

    #[test]
    fn a_stop_excuses_the_turn_it_was_meant_for() {
        let stopped = |story: &Story<'_>| places(&Excuses::stopped(story));
        let midway = asked().say("a1", &["A"]).shown("alice#1", 0, "a1", "").boundary(0).stopped("alice#1");
        let too_late =
            asked().say("a1", &["A"]).watch("alice#1").boundary(0).ended("alice#1", "completed").stopped("alice#1");

        assert_eq!(excused(&midway, stopped), (0..=7).collect::<Vec<_>>());
        assert_eq!(excused(&too_late, stopped), [0; 0]);
    }

    #[test]
    fn a_send_excuses_the_turn_it_fell_into_and_no_other_cr8() {
        let written_into = |story: &Story<'_>| places(&Excuses::written_into(story));
        let midway = asked().say("a1", &["A"]).shown("alice#1", 3, "a1", "A").log("world", press()).boundary(0);
        let before = asked().log("world", press()).say("a1", &["A"]).watch("alice#1").boundary(0);
        let after = asked().say("a1", &["A"]).watch("alice#1").boundary(0).log("world", press());

        assert_eq!(excused(&midway.say("a2", &["B"]).boundary(1), written_into), (0..=7).collect::<Vec<_>>());
        assert_eq!(excused(&before, written_into), [0; 0]);
        assert_eq!(excused(&after, written_into), [0; 0]);
    }
}

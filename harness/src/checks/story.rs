//! The trace as checks read it: entries beside their decoded records.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use turnkeep_protocol::{
    ChannelName, ChatInputChunk, ChatTaskWirePayload, Envelope, Record, RecordKind, SeqNum, UiMessageChunk,
};

use crate::outcome::{Violation, ViolationKind};
use crate::scenario::Scenario;
use crate::trace::{Entry, Event, OF_BACKEND, Writer};

/// One durable record and what it says.
#[derive(Debug, Clone)]
pub(crate) struct Stored<'t> {
    /// The entry that stored it.
    pub(crate) entry: &'t Entry,
    pub(crate) session: &'t str,
    pub(crate) channel: ChannelName,
    pub(crate) record: &'t Record,
    /// The attempt of a run that wrote it, when it was one.
    pub(crate) writer: Option<&'t Writer>,
    pub(crate) content: Content,
}

/// What a record says.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Content {
    /// A data record of `in`.
    Input(ChatInputChunk),
    /// A data record of `out`.
    Chunk(Box<UiMessageChunk>),
    /// A `turn-complete` and its settled cursor.
    Boundary(Option<SeqNum>),
    /// Any other control record.
    Control(String),
    /// A command such as `trim`.
    Command(String),
    /// Data that no reader surfaces: no envelope, no object, no type, or an old `trigger:` mark (C-33, S-87).
    Opaque,
}

impl Stored<'_> {
    pub(crate) fn seq(&self) -> u64 {
        self.record.seq_num.get()
    }

    pub(crate) fn chunk(&self) -> Option<&UiMessageChunk> {
        match &self.content {
            Content::Chunk(chunk) => Some(chunk),
            _ => None,
        }
    }

    /// Gives the payload of a message record of `in`.
    pub(crate) fn payload(&self) -> Option<&ChatTaskWirePayload> {
        match &self.content {
            Content::Input(ChatInputChunk::Message { payload }) => Some(payload),
            _ => None,
        }
    }

    /// Gives the id of the message that a record of `in` carries.
    pub(crate) fn message_id(&self) -> Option<&str> {
        self.payload()?.message.as_ref().map(|message| message.id.as_str()).filter(|id| !id.is_empty())
    }

    /// Tells whether the record wants a turn (D-33).
    pub(crate) fn wants_turn(&self) -> bool {
        matches!(&self.content, Content::Input(input) if input.wants_turn())
    }
}

/// Decodes the entry's record, if it stored one.
pub(crate) fn decode(entry: &Entry) -> Option<Stored<'_>> {
    let Event::Stored { session, channel, record, writer } = &entry.event else { return None };
    let content = match record.kind() {
        RecordKind::Control(_) if record.is_turn_complete() => Content::Boundary(record.settled_cursor()),
        RecordKind::Control(subtype) => Content::Control(subtype.to_owned()),
        RecordKind::Command(op) => Content::Command(op.to_owned()),
        RecordKind::Data => data(*channel, record.envelope()).unwrap_or(Content::Opaque),
    };
    Some(Stored { entry, session, channel: *channel, record, writer: writer.as_ref(), content })
}

fn data(channel: ChannelName, envelope: Option<Envelope>) -> Option<Content> {
    let value: Value = envelope?.unpacked();
    if channel == ChannelName::In {
        return ChatInputChunk::decode(value).map(Content::Input);
    }
    let chunk = UiMessageChunk::from_value(value)?;
    let kind = chunk.kind();
    (!kind.is_empty() && !kind.starts_with("trigger:")).then(|| Content::Chunk(Box::new(chunk)))
}

/// Gives the person whose page it is: pages are named `person#number`.
pub(crate) fn person_of(page: &str) -> &str {
    page.rsplit_once('#').map_or(page, |(person, _)| person)
}

/// Gives the person in front of a page, whichever tab it is in: tabs are named `person/tab`.
pub(super) fn device_of(page: &str) -> &str {
    let tab = person_of(page);
    tab.split_once('/').map_or(tab, |(person, _)| person)
}

/// A run's trace, decoded once for all checks.
pub(super) struct Story<'t> {
    pub(super) scenario: &'t Scenario,
    pub(super) entries: &'t [Entry],
    /// The records, in the order in which they became durable.
    records: Vec<Stored<'t>>,
    /// For each entry, where its record is in `records`.
    places: Vec<Option<usize>>,
}

impl<'t> Story<'t> {
    pub(super) fn new(scenario: &'t Scenario, entries: &'t [Entry]) -> Self {
        let mut records = Vec::new();
        let places = entries.iter().map(|entry| {
            let stored = decode(entry)?;
            records.push(stored);
            Some(records.len() - 1)
        });
        let places = places.collect();
        Self { scenario, entries, records, places }
    }

    /// Walks every entry, with its record if it stored one.
    pub(super) fn walk(&self) -> impl Iterator<Item = (&'t Entry, Option<&Stored<'t>>)> {
        self.entries.iter().zip(&self.places).map(|(entry, place)| (entry, place.map(|place| &self.records[place])))
    }

    /// Walks all records.
    pub(super) fn records(&self) -> impl Iterator<Item = &Stored<'t>> {
        self.records.iter()
    }

    /// Walks the records of one channel.
    pub(super) fn channel<'s>(
        &'s self,
        session: &'s str,
        channel: ChannelName,
    ) -> impl Iterator<Item = &'s Stored<'t>> {
        self.records.iter().filter(move |stored| stored.session == session && stored.channel == channel)
    }

    /// Names the sessions that have records, in alphabetical order.
    pub(super) fn sessions(&self) -> BTreeSet<&'t str> {
        self.records.iter().map(|stored| stored.session).collect()
    }

    /// Gives what each open page shows at the end, by page.
    pub(super) fn last_pages(&self) -> BTreeMap<&'t str, &'t Entry> {
        let shows = self.entries.iter().filter_map(|entry| match &entry.event {
            Event::PageShows { page, .. } => Some((page.as_str(), entry)),
            _ => None,
        });
        shows.collect()
    }

    /// Tells whether a session was a backend's that another one has replaced since: nobody can keep what it promised.
    pub(super) fn is_gone(&self, session: &str) -> bool {
        let wiped = |entry: &&Entry| matches!(&entry.event, Event::Step { step, .. } if step.get("wipe").is_some());
        let newest = self.entries.iter().filter(wiped).count() + 1;
        backend_of(session) < newest
    }

    /// Tells whether the world had nothing left to do at the end.
    pub(super) fn settled(&self) -> bool {
        self.entries.iter().any(|entry| entry.event == Event::Settled)
    }
}

/// Gives a chat's name without its backend's number.
pub(super) fn backend_chat(session: &str) -> &str {
    session.rsplit_once(OF_BACKEND).map_or(session, |(chat, _)| chat)
}

/// Gives the number of the backend that has a session, from 1.
fn backend_of(session: &str) -> usize {
    session.rsplit_once(OF_BACKEND).and_then(|(_, number)| number.parse().ok()).unwrap_or(1)
}

/// Words a safety violation that shows at `at`.
pub(super) fn broken(check: &str, whom: &str, at: &Entry, what: String) -> Violation {
    Violation {
        check: check.to_owned(),
        kind: ViolationKind::Safety,
        what,
        whom: whom.to_owned(),
        seq_num: None,
        at_ms: at.ms,
        entries: vec![at.n],
    }
}

/// Words a safety violation about a record.
pub(super) fn broken_at(check: &str, whom: &str, at: &Entry, seq_num: u64, what: String) -> Violation {
    Violation { seq_num: Some(seq_num), ..broken(check, whom, at, what) }
}

/// Adds the entry that the violation is also about, in front.
pub(super) fn since(mut violation: Violation, earlier: &Entry) -> Violation {
    violation.entries.insert(0, earlier.n);
    violation
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::tale::Tale;

    #[test]
    fn records_are_decoded_by_kind_and_channel() {
        let tale = Tale::new().ask("alice-1", "Hi").chunk(UiMessageChunk::start("a1")).boundary(0).trim(0).stop();

        let decoded: Vec<_> = tale.entries.iter().filter_map(decode).map(|stored| stored.content).collect();

        assert!(matches!(&decoded[0], Content::Input(ChatInputChunk::Message { .. })));
        assert_eq!(decoded[1], Content::Chunk(Box::new(UiMessageChunk::start("a1"))));
        assert_eq!(decoded[2], Content::Boundary(Some(SeqNum::ZERO)));
        assert_eq!(decoded[3], Content::Command("trim".to_owned()));
        assert_eq!(decoded[4], Content::Input(ChatInputChunk::Stop { message: None }));
    }

    #[test]
    fn data_that_no_reader_surfaces_is_opaque_c33_s87() {
        for body in ["", "{", r#"{"data":"text","id":"p"}"#, r#"{"data":{"type":"trigger:turn-complete"},"id":"p"}"#] {
            let tale = Tale::new().raw_out(body);
            assert_eq!(decode(&tale.entries[0]).unwrap().content, Content::Opaque, "{body}");
        }
    }

    #[test]
    fn a_page_belongs_to_its_person() {
        assert_eq!(person_of("alice#12"), "alice");
        assert_eq!(person_of("bob"), "bob");
        assert_eq!(person_of("alice/b#3"), "alice/b");
        assert_eq!((device_of("alice/b#3"), device_of("alice#1")), ("alice", "alice"));
    }
}

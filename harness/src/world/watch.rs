//! What the driver knows of the world while it runs: a running fold of the trace.

use std::collections::{BTreeMap, BTreeSet};

use turnkeep_protocol::{ChannelName, ChatInputChunk, Envelope, Record, RecordKind, SeqNum, control};

use crate::trace::{Entry, Event, Trace};

/// One session as its durable records show it.
#[derive(Debug, Default)]
struct Ledger {
    in_tail: u64,
    out_tail: u64,
    owed: BTreeSet<SeqNum>,
    turn_open: bool,
}

/// The fold so far.
#[derive(Debug, Default)]
pub(super) struct Watch {
    read: usize,
    sessions: BTreeMap<String, Ledger>,
    app: BTreeMap<String, usize>,
    pub(super) last_news_ms: u64,
}

impl Watch {
    /// Takes in the entries that are new.
    pub(super) fn catch_up(&mut self, trace: &Trace) {
        let from = self.read;
        let mut read = from;
        trace.scan(from, |entries| {
            read += entries.len();
            for entry in entries {
                self.take(entry);
            }
        });
        self.read = read;
    }

    fn take(&mut self, entry: &Entry) {
        if !matches!(entry.event, Event::Net { .. }) {
            self.last_news_ms = entry.ms;
        }
        match &entry.event {
            Event::Stored { session, channel, record, .. } => {
                self.sessions.entry(session.clone()).or_default().take(*channel, record);
            }
            Event::AppWrote { chat, messages, .. } => {
                self.app.insert(chat.clone(), messages.len());
            }
            _ => {}
        }
    }

    /// Forgets every session: the backend that had them is gone.
    pub(super) fn forget(&mut self) {
        self.sessions.clear();
    }

    pub(super) fn in_tail(&self, session: &str) -> u64 {
        self.sessions.get(session).map_or(0, |ledger| ledger.in_tail)
    }

    pub(super) fn out_tail(&self, session: &str) -> u64 {
        self.sessions.get(session).map_or(0, |ledger| ledger.out_tail)
    }

    pub(super) fn app_messages(&self, chat: &str) -> usize {
        self.app.get(chat).copied().unwrap_or(0)
    }

    /// Says what some session still owes, if anything (D-33).
    pub(super) fn owed(&self) -> Option<String> {
        self.sessions.iter().find_map(|(session, ledger)| {
            if let Some(seq_num) = ledger.owed.first() {
                return Some(format!("session {session} owes an answer to `in` {seq_num}"));
            }
            ledger.turn_open.then(|| format!("session {session} has an open turn"))
        })
    }
}

impl Watch {
    /// Names a session that still owes something.
    pub(super) fn debtor(&self) -> Option<String> {
        let owes = |ledger: &Ledger| !ledger.owed.is_empty() || ledger.turn_open;
        self.sessions.iter().find(|(_, ledger)| owes(ledger)).map(|(session, _)| session.clone())
    }
}

impl Ledger {
    fn take(&mut self, channel: ChannelName, record: &Record) {
        match channel {
            ChannelName::In => {
                self.in_tail = record.seq_num.get() + 1;
                let input = record.envelope().map(Envelope::unpacked).and_then(ChatInputChunk::decode);
                if input.is_some_and(|input| input.wants_turn()) {
                    self.owed.insert(record.seq_num);
                }
            }
            ChannelName::Out => {
                self.out_tail = record.seq_num.get() + 1;
                match record.kind() {
                    RecordKind::Data => self.turn_open = true,
                    RecordKind::Control(control::TURN_COMPLETE) => {
                        self.turn_open = false;
                        if let Some(settled) = record.settled_cursor() {
                            self.owed.retain(|seq_num| *seq_num > settled);
                        }
                    }
                    RecordKind::Control(_) | RecordKind::Command(_) => {}
                }
            }
        }
    }
}

//! [`Journal`]: everything that a session has stored, as it becomes durable; trimmed records stay readable here.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use turnkeep_protocol::{ChannelName, Record, RecordKind, RunId, SeqNum, SessionId, UiMessageChunk};
use turnkeep_session::Change;

use crate::overheard::Ears;
use crate::watched::Watched;

/// What all sessions have stored.
pub(super) type Journal = Watched<Sessions>;

/// The sessions of one server.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    sessions: BTreeMap<SessionId, Kept>,
    ids: BTreeMap<String, SessionId>,
    /// Runs that wait durably, with their waitpoints.
    asleep: BTreeSet<RunId>,
    /// Who wants to hear of records on `out`, with the chat.
    listeners: Vec<(String, Listener)>,
}

/// Hears of a record on `out`.
#[derive(Clone)]
pub(super) struct Listener(pub(super) Arc<dyn Fn(&Record) + Send + Sync>);

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Listener")
    }
}

/// What one session has stored.
#[derive(Debug, Default)]
pub(super) struct Kept {
    pub(super) input: Vec<Record>,
    pub(super) out: Vec<Record>,
    /// The boundaries on `out`: up to where on `in` each settles, and its own place; both only ever grow.
    boundaries: Vec<(SeqNum, SeqNum)>,
    /// Everything up to here on `in` is settled (D-32).
    pub(super) settled: Option<SeqNum>,
}

impl Sessions {
    /// Gives the id of a chat's session, once there is one.
    pub(super) fn id(&self, chat: &str) -> Option<&SessionId> {
        self.ids.get(chat)
    }

    /// Remembers the session of a chat on a server that tells nothing by itself.
    pub(super) fn learn(&mut self, chat: &str, session: SessionId) {
        self.kept(&session);
        self.ids.insert(chat.to_owned(), session);
    }

    pub(super) fn chat(&self, chat: &str) -> Option<&Kept> {
        self.sessions.get(self.id(chat)?)
    }

    pub(super) fn is_asleep(&self, run: &RunId) -> bool {
        self.asleep.contains(run)
    }

    fn kept(&mut self, session: &SessionId) -> &mut Kept {
        self.sessions.entry(session.clone()).or_default()
    }

    pub(super) fn listen(&mut self, chat: &str, listener: Listener) {
        self.listeners.push((chat.to_owned(), listener));
    }

    /// Gives who is to hear of a change.
    fn listeners(&self, change: &Change) -> Vec<Listener> {
        let Change::Record { session, channel: ChannelName::Out, .. } = change else {
            return Vec::new();
        };
        let theirs = self.listeners.iter().filter(|(chat, _)| self.id(chat) == Some(session));
        theirs.map(|(_, listener)| listener.clone()).collect()
    }

    fn note(&mut self, change: &Change) {
        match change {
            Change::Session { row } => {
                self.ids.insert(row.key().to_owned(), row.id.clone());
                self.kept(&row.id);
            }
            Change::Cursors { session, settled, .. } => {
                let kept = self.kept(session);
                kept.settled = kept.settled.max(*settled);
            }
            Change::Record { session, channel, record, .. } => self.add(session, *channel, record.clone()),
            Change::Waitpoint { row } if row.outcome.is_none() => drop(self.asleep.insert(row.run.clone())),
            Change::Waitpoint { row } => drop(self.asleep.remove(&row.run)),
            Change::Run { row } if !row.status.is_leased() => drop(self.asleep.remove(&row.id)),
            _ => {}
        }
    }

    pub(super) fn add(&mut self, session: &SessionId, channel: ChannelName, record: Record) {
        let kept = self.kept(session);
        match channel {
            ChannelName::In => kept.input.push(record),
            ChannelName::Out => {
                kept.settled = kept.settled.max(record.settled_cursor());
                let before = kept.boundaries.last().map(|(settled, _)| *settled);
                if let Some(settled) = record.settled_cursor().max(before).filter(|_| record.is_turn_complete()) {
                    kept.boundaries.push((settled, record.seq_num));
                }
                kept.out.push(record);
            }
        }
    }
}

impl Kept {
    /// Gives the place of the boundary that covers an input.
    pub(super) fn boundary_of(&self, input: SeqNum) -> Option<SeqNum> {
        let at = self.boundaries.partition_point(|(settled, _)| *settled < input);
        self.boundaries.get(at).map(|(_, place)| *place)
    }

    /// Gives the inputs that want a turn and have none yet (D-33).
    pub(super) fn owed(&self) -> Vec<SeqNum> {
        let unsettled = self.input.iter().filter(|record| Some(record.seq_num) > self.settled);
        unsettled.filter(|record| wants_turn(record)).map(|record| record.seq_num).collect()
    }
}

fn wants_turn(record: &Record) -> bool {
    let content = record.envelope().map(turnkeep_protocol::Envelope::unpacked);
    content.and_then(turnkeep_protocol::ChatInputChunk::decode).is_some_and(|input| input.wants_turn())
}

/// Gives the chunk that a data record carries.
pub(super) fn chunk(record: &Record) -> Option<UiMessageChunk> {
    if record.kind() != RecordKind::Data {
        return None;
    }
    UiMessageChunk::from_value(record.envelope()?.unpacked())
}

/// Names what a record says: a chunk's type, a control's kind, a command's name.
pub(super) fn name(record: &Record) -> String {
    match record.kind() {
        RecordKind::Control(kind) | RecordKind::Command(kind) => kind.to_owned(),
        RecordKind::Data => chunk(record).map_or_else(|| "data".to_owned(), |chunk| chunk.kind().to_owned()),
    }
}

impl Ears for Arc<Journal> {
    /// A snapshot is as long as its chat, and nothing here looks at it.
    fn wants(&self, change: &Change) -> bool {
        !matches!(change, Change::Snapshot { .. })
    }

    fn stored(&self, changes: &[Change]) {
        self.change(|sessions| changes.iter().for_each(|change| sessions.note(change)));
        for change in changes {
            // Called without the lock: a listener may look at the chat.
            for Listener(hears) in self.look(|sessions| sessions.listeners(change)) {
                if let Change::Record { record, .. } = change {
                    hears(record);
                }
            }
        }
    }
}

//! Watches a session server's storage: every change enters the trace at the moment it has become durable.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures::FutureExt as _;
use turnkeep_protocol::{ChannelName, ChatSnapshot, RunId, SeqNum, SessionId};
use turnkeep_session::{Change, Loaded, ObjectStore, RunRow, RunStatus, SnapshotId, object_place};

use super::shelf::Shelf;
use super::stage::environment;
use crate::overheard::Ears;
use crate::trace::{Event, Trace, Writer};

/// Tells the trace what becomes durable; clones share what was told, over all lives of the server.
#[derive(Clone)]
pub(super) struct Teller {
    trace: Trace,
    objects: Arc<Shelf>,
    seen: Arc<Mutex<Seen>>,
}

/// What is needed to tell changes in the words of the trace.
#[derive(Default)]
struct Seen {
    keys: BTreeMap<SessionId, String>,
    runs: BTreeMap<RunId, Event>,
    /// How far each channel has been told.
    tails: BTreeMap<(SessionId, ChannelName), SeqNum>,
}

impl Teller {
    pub(super) fn new(trace: Trace, objects: Arc<Shelf>) -> Self {
        Self { trace, objects, seen: Arc::default() }
    }

    /// Gives the body of a snapshot that has just become durable. Objects in memory are there at once.
    fn body(&self, session: &SessionId, object: SnapshotId) -> Bytes {
        let place = object_place(&environment(), session, object);
        let got = async { self.objects.objects().get_opts(&place, Default::default()).await?.bytes().await };
        got.now_or_never().expect("objects in memory are there at once").expect("a row names an object that is there")
    }

    fn tell(&self, change: &Change) -> Option<Event> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        match change {
            Change::Session { row } => {
                seen.keys.insert(row.id.clone(), row.key().to_owned());
                None
            }
            Change::Record { session, channel, record, writer, .. } => {
                let writer = writer.as_ref().map(|writer| Writer { run: writer.run.clone(), attempt: writer.attempt });
                seen.tails.insert((session.clone(), *channel), record.seq_num.next());
                let (session, record) = (seen.key(session), record.clone());
                Some(Event::Stored { session, channel: *channel, record, writer })
            }
            Change::Trim { session, first } => {
                Some(Event::Trimmed { session: seen.key(session), channel: ChannelName::Out, first_kept: *first })
            }
            Change::Run { row } => {
                let event = run_event(seen.key(&row.session), row);
                // A row is also written for reasons that are nobody's business; only its life is told.
                let news = seen.runs.insert(row.id.clone(), event.clone()).as_ref() != Some(&event);
                news.then_some(event)
            }
            Change::Snapshot { session, object, .. } => Some(Event::SnapshotStored {
                session: seen.key(session),
                snapshot: ChatSnapshot::parse(&self.body(session, *object)),
            }),
            Change::Cursors { .. } | Change::Lease { .. } | Change::Waitpoint { .. } | Change::WaitpointGone { .. } => {
                None
            }
        }
    }
}

impl Seen {
    fn unheard(&mut self, loaded: &Loaded) -> Vec<Event> {
        let mut events = Vec::new();
        for session in &loaded.sessions {
            for (channel, loaded) in [(ChannelName::In, &session.input), (ChannelName::Out, &session.output)] {
                let tail = self.tails.entry((session.row.id.clone(), channel)).or_default();
                for record in loaded.records.iter().filter(|record| record.seq_num >= *tail) {
                    let (session, record) = (session.row.key().to_owned(), record.clone());
                    events.push(Event::Stored { session, channel, record, writer: None });
                }
                *tail = loaded.records.last().map_or(*tail, |last| (*tail).max(last.seq_num.next()));
            }
        }
        for row in &loaded.runs {
            let event = run_event(self.key(&row.session), row);
            let is_news = self.runs.insert(row.id.clone(), event.clone()).as_ref() != Some(&event);
            events.extend(is_news.then_some(event));
        }
        events
    }

    fn key(&self, session: &SessionId) -> String {
        self.keys.get(session).cloned().unwrap_or_else(|| session.as_str().to_owned())
    }
}

fn run_event(session: String, row: &RunRow) -> Event {
    let (status, worker) = match &row.status {
        RunStatus::Queued => ("queued", None),
        RunStatus::Leased { worker, .. } => ("leased", Some(worker.as_str().to_owned())),
        RunStatus::Completed => ("completed", None),
        RunStatus::Failed { .. } => ("failed", None),
        RunStatus::Crashed { .. } => ("crashed", None),
        RunStatus::Cancelled { .. } => ("cancelled", None),
    };
    Event::Run {
        session,
        run: row.id.clone(),
        attempt: row.attempt,
        status: status.to_owned(),
        terminal: !row.status.is_live(),
        worker,
    }
}

impl Ears for Teller {
    fn loaded(&self, loaded: &Loaded) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        for session in &loaded.sessions {
            seen.keys.insert(session.row.id.clone(), session.row.key().to_owned());
        }
        // Nearly all was told in a former life already. What is news was committed without an answer, since the disk failed, and is
        // durable all the same; who wrote it is not known any more. Runs outside the slots have ended and never change again.
        for event in seen.unheard(loaded) {
            self.trace.log("session", event);
        }
    }

    fn stored(&self, changes: &[Change]) {
        for event in changes.iter().filter_map(|change| self.tell(change)) {
            self.trace.log("session", event);
        }
    }
}

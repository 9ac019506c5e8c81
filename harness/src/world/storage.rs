//! Watches a session server's storage: every change enters the trace at the moment it has become durable.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use turnkeep_protocol::{ChannelName, ChatSnapshot, Record, RunId, SeqNum, SessionId};
use turnkeep_session::{
    Bounds, Change, Loaded, LoadedSession, ObjectStore, RunRow, RunStatus, SnapshotId, Storage, StorageError,
    object_place,
};

use super::backend::Backend;
use super::shelf::Shelf;
use super::stage::environment;
use crate::overheard::Ears;
use crate::trace::{Event, Trace, Writer};

/// Records that are read at once of a channel that was not told whole.
const READ: Bounds = Bounds { records: 256, bytes: 1024 * 1024 };

/// Tells the trace what becomes durable; clones share what was told, over all lives of the server.
#[derive(Clone)]
pub(super) struct Teller {
    trace: Trace,
    objects: Arc<Shelf>,
    backend: Backend,
    seen: Arc<Mutex<Seen>>,
}

/// What is needed to tell changes in the words of the trace.
#[derive(Default)]
struct Seen {
    keys: BTreeMap<SessionId, String>,
    runs: BTreeMap<RunId, Event>,
    /// How far each channel has been told.
    tails: BTreeMap<(SessionId, ChannelName), SeqNum>,
    /// From where on `out` is left, as told.
    firsts: BTreeMap<SessionId, SeqNum>,
    snapshots: BTreeMap<SessionId, SnapshotId>,
}

/// What the store has of a commit that nobody was told of, beside what a life begins with.
#[derive(Default)]
struct Untold {
    records: Vec<(SessionId, ChannelName, Record)>,
    runs: Vec<RunRow>,
}

impl Teller {
    pub(super) fn new(trace: Trace, objects: Arc<Shelf>, backend: Backend) -> Self {
        Self { trace, objects, backend, seen: Arc::default() }
    }

    /// Gives the body of a snapshot that has just become durable. Objects in memory are there at once.
    fn body(&self, session: &SessionId, object: SnapshotId) -> Bytes {
        let place = object_place(&environment(), session, object);
        let got = async { self.objects.objects().get_opts(&place, Default::default()).await?.bytes().await };
        got.now_or_never().expect("objects in memory are there at once").expect("a row names an object that is there")
    }

    fn snapshot_event(&self, key: String, session: &SessionId, object: SnapshotId) -> Event {
        Event::SnapshotStored { session: key, snapshot: ChatSnapshot::parse(&self.body(session, object)) }
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Finds what became durable although its commit failed, and notes it as told. Nearly always there is nothing.
    async fn unheard(&self, loaded: &Loaded, store: &dyn Storage) -> Result<Vec<Event>, StorageError> {
        let (behind, ended) = {
            let mut seen = self.seen();
            seen.keys.extend(loaded.sessions.iter().map(|it| (it.row.id.clone(), self.backend.name(it.row.key()))));
            (seen.behind(loaded), seen.out_of_sight(loaded))
        };
        let mut untold = Untold::default();
        for (session, channel, mut from) in behind {
            loop {
                let records = store.read(session.clone(), channel, from, READ).await?;
                let Some(last) = records.last() else { break };
                from = last.seq_num.next();
                untold.records.extend(records.into_iter().map(|record| (session.clone(), channel, record)));
            }
        }
        for run in ended {
            untold.runs.extend(store.run(run).await?);
        }
        let (mut events, snapshots) = {
            let mut seen = self.seen();
            (seen.hear(loaded, untold), seen.hear_snapshots(loaded))
        };
        let told = snapshots.into_iter().map(|(key, session, object)| self.snapshot_event(key, &session, object));
        events.extend(told);
        Ok(events)
    }

    fn tell(&self, change: &Change) -> Option<Event> {
        let mut seen = self.seen();
        match change {
            Change::Session { row } => {
                seen.keys.insert(row.id.clone(), self.backend.name(row.key()));
                None
            }
            Change::Record { session, channel, record, writer, .. } => {
                let writer = writer.as_ref().map(|writer| Writer { run: writer.run.clone(), attempt: writer.attempt });
                seen.tails.insert((session.clone(), *channel), record.seq_num.next());
                let (session, record) = (seen.key(session), record.clone());
                Some(Event::Stored { session, channel: *channel, record, writer })
            }
            Change::Trim { session, first } => {
                seen.firsts.insert(session.clone(), *first);
                Some(trimmed(seen.key(session), *first))
            }
            Change::Run { row } => {
                let event = run_event(seen.key(&row.session), row);
                // A row is also written for reasons that are nobody's business; only its life is told.
                let news = seen.runs.insert(row.id.clone(), event.clone()).as_ref() != Some(&event);
                news.then_some(event)
            }
            Change::Snapshot { session, object, .. } => {
                seen.snapshots.insert(session.clone(), *object);
                Some(self.snapshot_event(seen.key(session), session, *object))
            }
            Change::Cursors { .. }
            | Change::Lease { .. }
            | Change::Waitpoint { .. }
            | Change::WaitpointGone { .. }
            | Change::Store { .. } => None,
        }
    }
}

impl Seen {
    /// Gives the channels that reach further than was told, and from where on. What is loaded of them may be nothing at all, so the
    /// store must be asked.
    fn behind(&self, loaded: &Loaded) -> Vec<(SessionId, ChannelName, SeqNum)> {
        let channels = loaded.sessions.iter().flat_map(|LoadedSession { row, standing, .. }| {
            [(ChannelName::In, &standing.input), (ChannelName::Out, &standing.output)]
                .map(|(channel, shape)| (row.id.clone(), channel, shape.tail))
        });
        let told =
            |session: &SessionId, channel| self.tails.get(&(session.clone(), channel)).copied().unwrap_or_default();
        let from = channels.map(|(session, channel, tail)| (told(&session, channel), tail, session, channel));
        from.filter(|(told, tail, ..)| told < tail)
            .map(|(told, _, session, channel)| (session, channel, told))
            .collect()
    }

    /// Gives the runs that were live when they were last told of and are in no slot any more: they must have ended.
    fn out_of_sight(&self, loaded: &Loaded) -> Vec<RunId> {
        let is_loaded = |run: &RunId| loaded.runs.iter().any(|row| row.id == *run);
        let was_live = |event: &Event| matches!(event, Event::Run { terminal: false, .. });
        let live = self.runs.iter().filter(|(_, event)| was_live(event)).map(|(run, _)| run);
        live.filter(|run| !is_loaded(run)).cloned().collect()
    }

    fn hear(&mut self, loaded: &Loaded, untold: Untold) -> Vec<Event> {
        let mut events = Vec::new();
        for (session, channel, record) in untold.records {
            self.tails.insert((session.clone(), channel), record.seq_num.next());
            // Who wrote it is not known any more.
            events.push(Event::Stored { session: self.key(&session), channel, record, writer: None });
        }
        for LoadedSession { row, standing, .. } in &loaded.sessions {
            let first = standing.output.first;
            let key = self.key(&row.id);
            let told = self.firsts.entry(row.id.clone()).or_default();
            if *told < first {
                *told = first;
                events.push(trimmed(key, first));
            }
        }
        // One that ended comes before the one that has its slot.
        for row in untold.runs.iter().chain(&loaded.runs) {
            let event = run_event(self.key(&row.session), row);
            let is_news = self.runs.insert(row.id.clone(), event.clone()).as_ref() != Some(&event);
            events.extend(is_news.then_some(event));
        }
        events
    }

    fn hear_snapshots(&mut self, loaded: &Loaded) -> Vec<(String, SessionId, SnapshotId)> {
        let mut news = Vec::new();
        for LoadedSession { row, standing, .. } in &loaded.sessions {
            let Some(object) = standing.summary.snapshot else { continue };
            if self.snapshots.insert(row.id.clone(), object) != Some(object) {
                news.push((self.key(&row.id), row.id.clone(), object));
            }
        }
        news
    }

    fn key(&self, session: &SessionId) -> String {
        self.keys.get(session).cloned().unwrap_or_else(|| session.as_str().to_owned())
    }
}

fn trimmed(session: String, first_kept: SeqNum) -> Event {
    Event::Trimmed { session, channel: ChannelName::Out, first_kept }
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
    fn loaded<'a>(&'a self, loaded: &'a Loaded, store: &'a dyn Storage) -> BoxFuture<'a, Result<(), StorageError>> {
        Box::pin(async move {
            for event in self.unheard(loaded, store).await? {
                self.trace.log("session", event);
            }
            Ok(())
        })
    }

    fn stored(&self, changes: &[Change]) {
        for event in changes.iter().filter_map(|change| self.tell(change)) {
            self.trace.log("session", event);
        }
    }
}

#[cfg(test)]
mod tests;

//! The fold of all changes, and the indexes that make it quick to ask.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use turnkeep_host::Timestamp;
use turnkeep_protocol::{ChannelName, Record, RecordKind, RunId, SeqNum, SessionId, control, is_owed};

use super::list::Direction;
use super::wait_index::Waits;
use crate::change::Millis;
use crate::channel::Channel;
use crate::metrics::RunCounts;
use crate::{Change, RunRow, RunStatus, SessionRow};

/// Everything the server knows.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct State {
    sessions: BTreeMap<SessionId, Session>,
    by_external: BTreeMap<String, SessionId>,
    by_age: BTreeSet<(Millis, SessionId)>,
    runs: BTreeMap<RunId, RunRow>,
    waits: Waits,
    snapshots: BTreeMap<SessionId, String>,
    queue: BTreeMap<u64, RunId>,
    last_queued: u64,
    leases: BTreeSet<(Millis, RunId)>,
}

/// A session with its channels.
#[derive(Debug, PartialEq)]
pub(crate) struct Session {
    /// Its row.
    pub row: SessionRow,
    /// Clients to run.
    pub input: Channel,
    /// Run to clients.
    pub output: Channel,
    /// The settled cursor (D-32).
    pub settled: Option<SeqNum>,
    /// The highest `in` seq_num a run has received (D-41).
    pub consumed: Option<SeqNum>,
    /// Records of `in` above the settled cursor that want a turn: the owed ones (D-33).
    owed: BTreeSet<SeqNum>,
    /// Whether `out` says that the session is closed (D-37).
    pub announced: bool,
}

impl Session {
    fn new(row: SessionRow) -> Self {
        let (input, output) = (Channel::default(), Channel::default());
        Self { row, input, output, settled: None, consumed: None, owed: BTreeSet::new(), announced: false }
    }

    /// Gives one of the two channels.
    pub(crate) fn channel(&self, name: ChannelName) -> &Channel {
        match name {
            ChannelName::In => &self.input,
            ChannelName::Out => &self.output,
        }
    }

    /// Gives the highest owed record, if any is owed (D-33).
    pub(crate) fn last_owed(&self) -> Option<SeqNum> {
        self.owed.last().copied()
    }

    /// Gives what the settled cursor becomes with a report: it never falls, and what was never sent cannot be settled (D-32).
    pub(crate) fn settled_with(&self, reported: Option<SeqNum>) -> Option<SeqNum> {
        reported.min(self.input.last()).max(self.settled)
    }

    /// Tells whether something would still be owed once everything up to `settled` is answered.
    pub(crate) fn owes_beyond(&self, settled: Option<SeqNum>) -> bool {
        self.last_owed() > settled
    }

    /// Tells whether readers may stop: nothing is owed and the last turn is closed (D-33, S-116, S-120).
    pub(crate) fn is_settled(&self) -> bool {
        self.owed.is_empty() && self.newest_output().is_some_and(Record::is_turn_complete)
    }

    /// Tells whether a turn has begun on `out` and not ended.
    pub(crate) fn segment_is_open(&self) -> bool {
        self.newest_output().is_some_and(|record| !record.is_turn_complete())
    }

    /// Gives the newest `out` record that belongs to a turn, skipping commands and notices (D-33).
    fn newest_output(&self) -> Option<&Record> {
        let is_notice = |record: &&Record| {
            let notices = [control::UPGRADE_REQUIRED, control::SESSION_CLOSED];
            matches!(record.kind(), RecordKind::Command(_))
                || matches!(record.kind(), RecordKind::Control(subtype) if notices.contains(&subtype))
        };
        self.output.backwards().find(|record| !is_notice(record))
    }
}

impl State {
    /// Folds one change in. Never fails: whoever made the change has checked it.
    pub(crate) fn apply(&mut self, change: Change) {
        match change {
            Change::Session { row } => self.put_session(*row),
            Change::Cursors { session, settled, consumed } => {
                let session = self.session_mut(&session);
                (session.settled, session.consumed) = (settled, consumed);
                session.owed.retain(|seq| Some(*seq) > settled);
            }
            Change::Record { session, channel, record, part, .. } => {
                let session = self.session_mut(&session);
                match channel {
                    ChannelName::In if wants_turn(&record) => _ = session.owed.insert(record.seq_num),
                    ChannelName::Out if says_closed(&record) => session.announced = true,
                    _ => {}
                }
                match channel {
                    ChannelName::In => session.input.append(record, part),
                    ChannelName::Out => session.output.append(record, part),
                }
            }
            Change::Trim { session, first } => self.session_mut(&session).output.trim(first),
            Change::Run { row } => self.put_run(*row),
            Change::Lease { run, expires_at } => {
                let mut row = self.runs.get(&run).expect("a lease is prolonged on a known run").clone();
                if let RunStatus::Leased { expires_at: until, confirmed, .. } = &mut row.status {
                    (*until, *confirmed) = (expires_at, true);
                }
                self.put_run(row);
            }
            Change::Waitpoint { row } => self.waits.put(*row),
            Change::WaitpointGone { waitpoint } => self.waits.remove(&waitpoint),
            Change::Snapshot { session, body } => _ = self.snapshots.insert(session, body),
        }
    }

    fn put_session(&mut self, row: SessionRow) {
        if let Some(external_id) = &row.external_id {
            self.by_external.insert(external_id.clone(), row.id.clone());
        }
        match self.sessions.get_mut(&row.id) {
            Some(session) => session.row = row,
            None => {
                self.by_age.insert((row.created_at, row.id.clone()));
                self.sessions.insert(row.id.clone(), Session::new(row));
            }
        }
    }

    fn put_run(&mut self, row: RunRow) {
        if let Some(old) = self.runs.get(&row.id) {
            match &old.status {
                RunStatus::Queued => _ = self.queue.remove(&old.queued),
                RunStatus::Leased { expires_at, .. } => _ = self.leases.remove(&(*expires_at, old.id.clone())),
                _ => {}
            }
        }
        self.last_queued = self.last_queued.max(row.queued);
        match &row.status {
            RunStatus::Queued => _ = self.queue.insert(row.queued, row.id.clone()),
            RunStatus::Leased { expires_at, .. } => _ = self.leases.insert((*expires_at, row.id.clone())),
            _ => {}
        }
        self.runs.insert(row.id.clone(), row);
    }

    fn session_mut(&mut self, id: &SessionId) -> &mut Session {
        self.sessions.get_mut(id).expect("a session's row comes before all its other changes")
    }

    /// Gives a session by its public id.
    pub(crate) fn session(&self, id: &SessionId) -> Option<&Session> {
        self.sessions.get(id)
    }

    /// Finds a session by either form of its id (S-3).
    pub(crate) fn find(&self, url_id: &str) -> Option<&Session> {
        if url_id.starts_with("session_") {
            return self.sessions.get(&SessionId::new(url_id));
        }
        self.find_external(url_id)
    }

    /// Finds a session by its external id.
    pub(crate) fn find_external(&self, external_id: &str) -> Option<&Session> {
        self.by_external.get(external_id).and_then(|id| self.sessions.get(id))
    }

    /// Gives the rows of all sessions, oldest first; sessions of one moment by their ids.
    pub(crate) fn rows_by_age(&self) -> impl DoubleEndedIterator<Item = &SessionRow> {
        self.rows_between(Bound::Unbounded, Bound::Unbounded)
    }

    /// Gives the rows that are older than one, or all that are newer, oldest first.
    pub(crate) fn rows_beside(
        &self,
        row: &SessionRow,
        direction: Direction,
    ) -> impl DoubleEndedIterator<Item = &SessionRow> {
        let at = (row.created_at, row.id.clone());
        match direction {
            Direction::Older => self.rows_between(Bound::Unbounded, Bound::Excluded(at)),
            Direction::Newer => self.rows_between(Bound::Excluded(at), Bound::Unbounded),
        }
    }

    fn rows_between(
        &self,
        from: Bound<(Millis, SessionId)>,
        to: Bound<(Millis, SessionId)>,
    ) -> impl DoubleEndedIterator<Item = &SessionRow> {
        self.by_age.range((from, to)).filter_map(|(_, id)| self.sessions.get(id)).map(|session| &session.row)
    }

    /// Gives a run.
    pub(crate) fn run(&self, id: &RunId) -> Option<&RunRow> {
        self.runs.get(id)
    }

    /// Gives the session's live run; only the run in the slot can be live.
    pub(crate) fn live_run(&self, session: &Session) -> Option<&RunRow> {
        let run = self.runs.get(session.row.current_run.as_ref()?)?;
        run.status.is_live().then_some(run)
    }

    /// Gives the queued runs, oldest first.
    pub(crate) fn queued(&self) -> impl Iterator<Item = &RunRow> {
        self.queue.values().filter_map(|id| self.runs.get(id))
    }

    /// Tells how the runs stand, for whoever watches the server.
    pub(crate) fn counts(&self, now: Millis) -> RunCounts {
        let oldest = self.queued().next().map(|run| Timestamp::from(now).since(run.created_at.into()));
        RunCounts {
            queued: self.queue.len(),
            leased: self.leases.len(),
            queue_age: oldest.unwrap_or_default(),
            sessions: self.sessions.len(),
        }
    }

    /// Gives the place behind every run that was ever queued.
    pub(crate) fn next_queued(&self) -> u64 {
        self.last_queued + 1
    }

    /// Gives the waitpoints.
    pub(crate) fn waits(&self) -> &Waits {
        &self.waits
    }

    /// Gives a session's stored snapshot.
    pub(crate) fn snapshot(&self, id: &SessionId) -> Option<&String> {
        self.snapshots.get(id)
    }

    /// Gives the earliest lease end or waitpoint timeout.
    pub(crate) fn next_deadline(&self) -> Option<Millis> {
        let lease = self.leases.first().map(|(at, _)| *at);
        lease.into_iter().chain(self.waits.next_timeout()).min()
    }

    /// Gives a run whose lease has ended by `now`, earliest first.
    pub(crate) fn lapsed(&self, now: Millis) -> Option<RunId> {
        self.leases.first().filter(|(at, _)| *at <= now).map(|(_, id)| id.clone())
    }

    #[cfg(test)]
    pub(crate) fn sessions(&self) -> impl Iterator<Item = &Session> {
        self.sessions.values()
    }

    #[cfg(test)]
    pub(crate) fn runs(&self) -> impl Iterator<Item = &RunRow> {
        self.runs.values()
    }
}

/// Tells whether an `in` record is owed an answer (D-33). The run answers it, or the server does so after two runs (D-34).
fn wants_turn(record: &Record) -> bool {
    record.envelope().is_some_and(|envelope| is_owed(&envelope.data))
}

/// Tells whether an `out` record announces the session's end, alone or on a turn's boundary (D-37).
fn says_closed(record: &Record) -> bool {
    match record.kind() {
        RecordKind::Control(control::SESSION_CLOSED) => true,
        RecordKind::Control(control::TURN_COMPLETE) => record.header(turnkeep_protocol::SESSION_CLOSED) == Some("true"),
        _ => false,
    }
}

//! The fold of all changes, and the indexes that make it quick to ask.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use turnkeep_host::Timestamp;
use turnkeep_protocol::{ChannelName, Record, RunId, SeqNum, SessionId};

use super::list::Direction;
use super::wait_index::Waits;
use crate::change::Millis;
use crate::channel::Channel;
use crate::metrics::RunCounts;
use crate::standing::{NewestOutput, Summary};
use crate::storage::{Loaded, LoadedSession, Windows, session_of};
use crate::{Change, RunRow, RunStatus, SessionRow};

/// Everything the server knows.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct State {
    sessions: BTreeMap<SessionId, Session>,
    by_external: BTreeMap<String, SessionId>,
    by_age: BTreeSet<(Millis, SessionId)>,
    /// Live runs, and the runs in the slots of their sessions; the others have ended and are in the store.
    runs: BTreeMap<RunId, RunRow>,
    waits: Waits,
    queue: BTreeMap<u64, RunId>,
    last_queued: u64,
    leases: BTreeSet<(Millis, RunId)>,
    /// When the next trim of each session that has one takes effect (D-69).
    trims: BTreeSet<(Millis, SessionId)>,
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
    /// Its cursors, and what else its changes say of its turns.
    pub summary: Summary,
}

impl Session {
    fn new(row: SessionRow) -> Self {
        Self { row, input: Channel::default(), output: Channel::default(), summary: Summary::default() }
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
        self.summary.last_owed
    }

    /// Gives what the settled cursor becomes with a report: it never falls, and what was never sent cannot be settled (D-32).
    pub(crate) fn settled_with(&self, reported: Option<SeqNum>) -> Option<SeqNum> {
        reported.min(self.input.last()).max(self.summary.settled)
    }

    /// Tells whether something would still be owed once everything up to `settled` is answered.
    pub(crate) fn owes_beyond(&self, settled: Option<SeqNum>) -> bool {
        self.last_owed() > settled
    }

    /// Tells whether readers may stop: nothing is owed and the last turn is closed (D-33, S-116, S-120).
    pub(crate) fn is_settled(&self) -> bool {
        self.last_owed().is_none() && self.newest_output().is_some_and(|newest| newest.ends_turn)
    }

    /// Tells whether a turn has begun on `out` and not ended.
    pub(crate) fn segment_is_open(&self) -> bool {
        self.newest_output().is_some_and(|newest| !newest.ends_turn)
    }

    /// Gives when the next trim takes effect, as the index has it.
    fn next_trim(&self) -> Option<(Millis, SessionId)> {
        self.output.shape().trims.next.map(|trim| (trim.due, self.row.id.clone()))
    }

    /// Tells whether a message has begun on `out` that readers do not know to be over. A newest record out of sight counts as one that
    /// is not: an `abort` too many tells nobody anything false.
    pub(crate) fn message_is_open(&self) -> bool {
        let newest = self.newest_output().filter(|newest| !newest.ends_turn);
        let record = |newest: NewestOutput| self.output.from(newest.seq_num).next().cloned();
        newest.is_some_and(|newest| !record(newest).is_some_and(|record| ends_message(&record)))
    }

    /// Gives the newest `out` record that belongs to a turn (D-33), unless it was trimmed.
    fn newest_output(&self) -> Option<NewestOutput> {
        self.summary.newest_output.filter(|newest| newest.seq_num >= self.output.shape().first)
    }
}

/// Tells whether a record of `out` is the last chunk of a message.
fn ends_message(record: &Record) -> bool {
    let chunk = record.envelope().map(|envelope| envelope.data);
    let kind = chunk.as_ref().and_then(|chunk| chunk["type"].as_str());
    kind.is_some_and(|kind| ["finish", "abort", "error"].contains(&kind))
}

impl State {
    /// Makes the state from what a store keeps of it.
    pub(crate) fn load(loaded: Loaded) -> Self {
        let mut state = Self::default();
        for LoadedSession { row, standing, input, output } in loaded.sessions {
            let id = row.id.clone();
            state.put_session(&row);
            let session = state.session_mut(&id);
            session.input = Channel::load(standing.input, input);
            session.output = Channel::load(standing.output, output);
            session.summary = standing.summary;
            let trim = session.next_trim();
            state.trims.extend(trim);
        }
        loaded.runs.iter().for_each(|row| state.put_run(row));
        loaded.waitpoints.into_iter().for_each(|row| state.waits.put(row));
        state.waits.remember_number(loaded.last_wait);
        state
    }

    /// Folds one change in. Never fails: whoever made the change has checked it.
    pub(crate) fn apply(&mut self, change: &Change) {
        if let Some(id) = session_of(change) {
            self.session_mut(id).summary.apply(change);
        }
        match change {
            Change::Session { row } => self.put_session(row),
            Change::Record { session, channel, record, part, .. } => {
                let (record, part) = (record.clone(), part.clone());
                match channel {
                    ChannelName::In => self.session_mut(session).input.append(record, part),
                    ChannelName::Out => self.with_output(session, |output| output.append(record, part)),
                }
            }
            Change::Trim { session, first } => self.with_output(session, |output| output.trim(*first)),
            Change::Run { row } => self.put_run(row),
            Change::Lease { run, expires_at } => {
                let mut row = self.runs.get(run).expect("a lease is prolonged on a known run").clone();
                if let RunStatus::Leased { expires_at: until, confirmed, .. } = &mut row.status {
                    (*until, *confirmed) = (*expires_at, true);
                }
                self.put_run(&row);
            }
            Change::Waitpoint { row } => self.waits.put((**row).clone()),
            Change::WaitpointGone { waitpoint } => self.waits.remove(waitpoint),
            Change::Cursors { .. } | Change::Snapshot { .. } | Change::Store { .. } => {}
        }
    }

    /// Changes a session's `out`, and notes when its next trim takes effect from then on.
    fn with_output(&mut self, id: &SessionId, change: impl FnOnce(&mut Channel)) {
        let session = self.session_mut(id);
        let before = session.next_trim();
        change(&mut session.output);
        let after = session.next_trim();
        if before != after {
            before.iter().for_each(|trim| _ = self.trims.remove(trim));
            self.trims.extend(after);
        }
    }

    /// Lets go of what a session's windows have no room for. Call it only when every record of it is in the store.
    pub(crate) fn evict(&mut self, id: &SessionId, windows: &Windows) {
        let session = self.session(id).expect("who has changed is there");
        let window = windows.of(self.live_run(session));
        let session = self.session_mut(id);
        session.input.evict(window);
        session.output.evict(window);
    }

    fn put_session(&mut self, row: &SessionRow) {
        if let Some(external_id) = &row.external_id {
            self.by_external.insert(external_id.clone(), row.id.clone());
        }
        match self.sessions.get_mut(&row.id) {
            Some(session) => {
                let before = std::mem::replace(&mut session.row, row.clone()).current_run;
                if before != row.current_run {
                    before.iter().for_each(|run| self.forget_ended(run));
                }
            }
            None => {
                self.by_age.insert((row.created_at, row.id.clone()));
                self.sessions.insert(row.id.clone(), Session::new(row.clone()));
            }
        }
    }

    /// Forgets a run outside of the slot that has ended: the store has it.
    fn forget_ended(&mut self, run: &RunId) {
        let Some(row) = self.runs.get(run) else { return };
        let has_slot = self.sessions.get(&row.session).is_some_and(|it| it.row.current_run.as_ref() == Some(run));
        if !has_slot && !row.status.is_live() {
            self.runs.remove(run);
        }
    }

    fn put_run(&mut self, row: &RunRow) {
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
        self.runs.insert(row.id.clone(), row.clone());
        self.forget_ended(&row.id);
    }

    fn session_mut(&mut self, id: &SessionId) -> &mut Session {
        self.sessions.get_mut(id).expect("a session's row comes before all its other changes")
    }

    /// Gives a session by its public id.
    pub(crate) fn session(&self, id: &SessionId) -> Option<&Session> {
        self.sessions.get(id)
    }

    /// Gives every session.
    pub(crate) fn sessions(&self) -> impl Iterator<Item = &Session> {
        self.sessions.values()
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

    /// Gives a run that is live or in its session's slot.
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
        let oldest = self.queued().next().map(|run| Timestamp::from(now).since(run.queued_at().into()));
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

    /// Gives the earliest lease end, waitpoint timeout or trim.
    pub(crate) fn next_deadline(&self) -> Option<Millis> {
        let lease = self.leases.first().map(|(at, _)| *at);
        let trim = self.trims.first().map(|(at, _)| *at);
        lease.into_iter().chain(self.waits.next_timeout()).chain(trim).min()
    }

    /// Gives a session with a trim that takes effect by `now`, earliest first, and the first record that stays (D-69).
    pub(crate) fn due_trim(&self, now: Millis) -> Option<(SessionId, SeqNum)> {
        let (_, id) = self.trims.first().filter(|(at, _)| *at <= now)?;
        let trim = self.session(id)?.output.shape().trims.next?;
        Some((id.clone(), trim.first))
    }

    /// Gives a run whose lease has ended by `now`, earliest first.
    pub(crate) fn lapsed(&self, now: Millis) -> Option<RunId> {
        self.leases.first().filter(|(at, _)| *at <= now).map(|(_, id)| id.clone())
    }

    /// Gives the runs whose leases end after `at`.
    pub(crate) fn leased_beyond(&self, at: Millis) -> Vec<RunRow> {
        let beyond = self.leases.iter().rev().take_while(|(until, _)| *until > at);
        beyond.filter_map(|(_, id)| self.runs.get(id)).cloned().collect()
    }

    #[cfg(test)]
    pub(crate) fn runs(&self) -> impl Iterator<Item = &RunRow> {
        self.runs.values()
    }
}

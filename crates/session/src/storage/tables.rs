//! Tables in memory: what a journal adds up to.

use std::collections::BTreeMap;
use std::convert::Infallible;

use turnkeep_host::Timestamp;
use turnkeep_protocol::{ChannelName, PartId, Record, RunId, SeqNum, SessionId, WaitpointId};

use super::{Bounds, Loaded, LoadedChannel, LoadedSession, Window, Windows};
use crate::standing::{Part, Standing};
use crate::{Change, RunRow, RunStatus, SessionRow, StoreId, WaitpointRow};

/// The fold of committed changes, whole.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tables {
    n_changes: u64,
    last_wait: u64,
    store: Option<StoreId>,
    sessions: BTreeMap<SessionId, Kept>,
    runs: BTreeMap<RunId, RunRow>,
    waitpoints: BTreeMap<WaitpointId, WaitpointRow>,
}

/// A session, whole.
#[derive(Clone, Debug)]
struct Kept {
    row: SessionRow,
    standing: Standing,
    input: Log,
    output: Log,
}

/// A channel, whole.
#[derive(Clone, Debug, Default)]
struct Log {
    records: BTreeMap<SeqNum, Record>,
    parts: BTreeMap<PartId, Part>,
    parts_by_place: BTreeMap<SeqNum, PartId>,
}

impl Tables {
    /// Folds committed changes in.
    pub(crate) fn apply(&mut self, changes: impl IntoIterator<Item = Change>) {
        for change in changes {
            self.n_changes += 1;
            self.apply_one(change);
        }
    }

    fn apply_one(&mut self, change: Change) {
        if let Some(session) = session_of(&change) {
            let kept = self.sessions.get_mut(session).expect("a session's row comes before all its other changes");
            kept.standing.apply(&change);
        }
        match change {
            Change::Session { row } => self.put_session(*row),
            // What these say is in the standing.
            Change::Cursors { .. } | Change::Snapshot { .. } => {}
            Change::Record { session, channel, record, part, .. } => self.kept(&session).append(channel, record, part),
            Change::Trim { session, .. } => self.kept(&session).drop_trimmed(),
            Change::Run { row } => _ = self.runs.insert(row.id.clone(), *row),
            Change::Lease { run, expires_at: at } => {
                let row = self.runs.get_mut(&run).expect("a lease is prolonged on a known run");
                if let RunStatus::Leased { expires_at, confirmed, .. } = &mut row.status {
                    (*expires_at, *confirmed) = (at, true);
                }
            }
            Change::Waitpoint { row } => {
                self.last_wait = self.last_wait.max(row.number);
                self.waitpoints.insert(row.id.clone(), *row);
            }
            Change::WaitpointGone { waitpoint } => _ = self.waitpoints.remove(&waitpoint),
            Change::Store { id } => self.store = Some(id),
        }
    }

    fn put_session(&mut self, row: SessionRow) {
        match self.sessions.get_mut(&row.id) {
            Some(kept) => kept.row = row,
            None => {
                let (input, output) = (Log::default(), Log::default());
                let id = row.id.clone();
                let kept = Kept { row, standing: Standing::default(), input, output };
                self.sessions.insert(id, kept);
            }
        }
    }

    fn kept(&mut self, session: &SessionId) -> &mut Kept {
        self.sessions.get_mut(session).expect("a session's row comes before all its other changes")
    }

    /// Gives what a server needs to go on.
    pub(crate) fn load(&self, windows: Windows) -> Loaded {
        let sessions = self.sessions.values();
        let current = |kept: &Kept| self.runs.get(kept.row.current_run.as_ref()?);
        Loaded {
            n_changes: self.n_changes,
            last_wait: self.last_wait,
            store: self.store,
            runs: sessions.clone().filter_map(current).cloned().collect(),
            sessions: sessions.map(|kept| kept.load(windows.of(current(kept)))).collect(),
            waitpoints: self.waitpoints.values().cloned().collect(),
        }
    }

    /// Gives records from the first surviving one at `from` or behind it.
    pub(crate) fn read(&self, session: &SessionId, channel: ChannelName, from: SeqNum, bounds: Bounds) -> Vec<Record> {
        let Some(kept) = self.sessions.get(session) else { return Vec::new() };
        bounds.take(kept.log(channel).records.range(from..).map(|(_, record)| record.clone()))
    }

    /// Finds a part.
    pub(crate) fn part(&self, session: &SessionId, channel: ChannelName, part: &PartId) -> Option<Part> {
        self.sessions.get(session)?.log(channel).parts.get(part).cloned()
    }

    /// Gives a run's row.
    pub(crate) fn run(&self, run: &RunId) -> Option<RunRow> {
        self.runs.get(run).cloned()
    }
}

impl Kept {
    fn log(&self, channel: ChannelName) -> &Log {
        match channel {
            ChannelName::In => &self.input,
            ChannelName::Out => &self.output,
        }
    }

    fn append(&mut self, channel: ChannelName, record: Record, part: Option<PartId>) {
        let shape = *self.standing.shape(channel);
        let log = match channel {
            ChannelName::In => &mut self.input,
            ChannelName::Out => &mut self.output,
        };
        let now = Timestamp::from_millis(record.timestamp);
        let is_forgotten = |part: &Part| !part.is_remembered(&shape, now);
        while let Some((place, id)) = log.parts_by_place.first_key_value()
            && log.parts.get(id).is_some_and(is_forgotten)
        {
            let place = *place;
            log.parts_by_place.remove(&place).and_then(|id| log.parts.remove(&id));
        }
        if let Some(id) = part {
            if let Some(old) = log.parts.get(&id).filter(|part| is_forgotten(part)) {
                log.parts_by_place.remove(&old.first);
                log.parts.remove(&id);
            }
            match log.parts.get_mut(&id) {
                Some(part) => part.push(record.seq_num),
                None => {
                    log.parts_by_place.insert(record.seq_num, id.clone());
                    log.parts.insert(id, Part::new(record.seq_num, now.into()));
                }
            }
        }
        log.records.insert(record.seq_num, record);
    }

    fn drop_trimmed(&mut self) {
        let first = self.standing.output.first;
        self.output.records = self.output.records.split_off(&first);
    }

    fn load(&self, window: &Window) -> LoadedSession {
        let (row, standing) = (self.row.clone(), self.standing.clone());
        LoadedSession { row, standing, input: self.input.load(window), output: self.output.load(window) }
    }
}

impl Log {
    fn load(&self, window: &Window) -> LoadedChannel {
        let records = self.records.values().rev().cloned();
        let parts = self.parts_by_place.values().rev().map(|id| (id.clone(), self.parts[id].clone()));
        let Ok(records) = window.take_newest(records.map(Ok::<_, Infallible>));
        let Ok((parts, parts_from)) = window.take_parts(parts.map(Ok::<_, Infallible>));
        LoadedChannel { records, parts, parts_from }
    }
}

/// Gives the session whose standing a change concerns.
pub(crate) fn session_of(change: &Change) -> Option<&SessionId> {
    match change {
        Change::Cursors { session, .. }
        | Change::Record { session, .. }
        | Change::Trim { session, .. }
        | Change::Snapshot { session, .. } => Some(session),
        Change::Session { .. }
        | Change::Run { .. }
        | Change::Lease { .. }
        | Change::Waitpoint { .. }
        | Change::WaitpointGone { .. }
        | Change::Store { .. } => None,
    }
}

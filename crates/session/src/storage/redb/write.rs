//! Writing: a commit is one transaction, synced before it is answered.

use std::collections::BTreeMap;

use redb::{Database, Durability, ReadableTable as _, Table, WriteTransaction};
use turnkeep_host::Timestamp;
use turnkeep_protocol::{ChannelName, PartId, Record, RunId, SeqNum, SessionId};

use super::{
    LAST_WAIT, META, N_CHANGES, PART_PLACES, PARTS, PartKey, PlaceKey, RECORDS, RUNS, SESSIONS, STANDINGS, STORE,
    WAITPOINTS, decoded, encoded, failed, number,
};
use crate::change::Millis;
use crate::standing::{Part, Shape, Standing};
use crate::storage::session_of;
use crate::{Change, RunRow, RunStatus, StorageError};

/// How many forgotten parts are cleared away with each record: more than one, so that they become fewer.
const CLEARED_PER_RECORD: usize = 8;

/// Makes `changes` durable, all or nothing.
pub(super) fn commit(db: &Database, changes: Vec<Change>) -> Result<(), StorageError> {
    let mut txn = db.begin_write().map_err(failed)?;
    txn.set_durability(Durability::Immediate).map_err(failed)?;
    let mut writer = Writer::open(&txn)?;
    let n_changes = changes.len() as u64;
    changes.into_iter().try_for_each(|change| writer.apply(change))?;
    writer.finish(n_changes)?;
    txn.commit().map_err(failed)
}

/// The tables of one transaction.
struct Writer<'t> {
    meta: Table<'t, &'static str, u64>,
    sessions: Table<'t, &'static str, &'static [u8]>,
    standings: Table<'t, &'static str, &'static [u8]>,
    records: Table<'t, PlaceKey, &'static [u8]>,
    parts: Table<'t, PartKey, &'static [u8]>,
    part_places: Table<'t, PlaceKey, &'static str>,
    runs: Table<'t, &'static str, &'static [u8]>,
    waitpoints: Table<'t, &'static str, &'static [u8]>,
    /// The standings that have changed, written once at the end.
    touched: BTreeMap<SessionId, Standing>,
}

impl<'t> Writer<'t> {
    fn open(txn: &'t WriteTransaction) -> Result<Self, StorageError> {
        Ok(Self {
            meta: txn.open_table(META).map_err(failed)?,
            sessions: txn.open_table(SESSIONS).map_err(failed)?,
            standings: txn.open_table(STANDINGS).map_err(failed)?,
            records: txn.open_table(RECORDS).map_err(failed)?,
            parts: txn.open_table(PARTS).map_err(failed)?,
            part_places: txn.open_table(PART_PLACES).map_err(failed)?,
            runs: txn.open_table(RUNS).map_err(failed)?,
            waitpoints: txn.open_table(WAITPOINTS).map_err(failed)?,
            touched: BTreeMap::new(),
        })
    }

    fn apply(&mut self, change: Change) -> Result<(), StorageError> {
        let before = match session_of(&change) {
            Some(session) => self.fold(&session.clone(), &change)?,
            None => Standing::default(),
        };
        match change {
            Change::Session { row } => put(&mut self.sessions, row.id.as_str(), &encoded(&row)),
            // What these say is in the standing.
            Change::Cursors { .. } | Change::Snapshot { .. } => Ok(()),
            Change::Record { session, channel, record, part, .. } => {
                let shape = *self.touched[&session].shape(channel);
                self.append(&session, channel, &record, part, &shape)
            }
            Change::Trim { session, .. } => {
                let first = self.touched[&session].output.first;
                self.trim(&session, before.output.first, first)
            }
            Change::Run { row } => put(&mut self.runs, row.id.as_str(), &encoded(&row)),
            Change::Lease { run, expires_at } => self.prolong(&run, expires_at),
            Change::Waitpoint { row } => {
                let last = self.meta.get(LAST_WAIT).map_err(failed)?.map_or(0, |last| last.value());
                self.meta.insert(LAST_WAIT, last.max(row.number)).map_err(failed)?;
                put(&mut self.waitpoints, row.id.as_str(), &encoded(&row))
            }
            Change::WaitpointGone { waitpoint } => {
                self.waitpoints.remove(waitpoint.as_str()).map_err(failed)?;
                Ok(())
            }
            Change::Store { id } => {
                self.meta.insert(STORE, id.0).map_err(failed)?;
                Ok(())
            }
        }
    }

    /// Folds a change into its session's standing, and gives the one before.
    fn fold(&mut self, session: &SessionId, change: &Change) -> Result<Standing, StorageError> {
        let before = match self.touched.get(session) {
            Some(standing) => standing.clone(),
            None => match self.standings.get(session.as_str()).map_err(failed)? {
                Some(row) => decoded(row.value())?,
                None => Standing::default(),
            },
        };
        let mut standing = before.clone();
        standing.apply(change);
        self.touched.insert(session.clone(), standing);
        Ok(before)
    }

    fn append(
        &mut self,
        session: &SessionId,
        channel: ChannelName,
        record: &Record,
        part: Option<PartId>,
        shape: &Shape,
    ) -> Result<(), StorageError> {
        let (session, channel, place) = (session.as_str(), number(channel), record.seq_num.get());
        let now = Timestamp::from_millis(record.timestamp);
        for _ in 0..CLEARED_PER_RECORD {
            if !self.clear_oldest_part(session, channel, shape, now)? {
                break;
            }
        }
        if let Some(part) = part {
            let known = self.parts.get((session, channel, part.as_str())).map_err(failed)?;
            let known = known.map(|row| decoded::<Part>(row.value())).transpose()?;
            if let Some(old) = known.as_ref().filter(|part| !part.is_remembered(shape, now)) {
                self.part_places.remove((session, channel, old.first.get())).map_err(failed)?;
            }
            let known = known.filter(|part| part.is_remembered(shape, now));
            let row = match known {
                Some(mut row) => {
                    row.push(record.seq_num);
                    row
                }
                None => {
                    self.part_places.insert((session, channel, place), part.as_str()).map_err(failed)?;
                    Part::new(record.seq_num, now.into())
                }
            };
            self.parts.insert((session, channel, part.as_str()), encoded(&row).as_slice()).map_err(failed)?;
        }
        self.records.insert((session, channel, place), encoded(record).as_slice()).map_err(failed)?;
        Ok(())
    }

    /// Clears the channel's oldest part away when it is forgotten (D-6); tells whether it was.
    fn clear_oldest_part(
        &mut self,
        session: &str,
        channel: u8,
        shape: &Shape,
        now: Timestamp,
    ) -> Result<bool, StorageError> {
        let all = (session, channel, 0)..=(session, channel, u64::MAX);
        let (place, id) = {
            let Some(oldest) = self.part_places.range(all).map_err(failed)?.next() else { return Ok(false) };
            let (key, id) = oldest.map_err(failed)?;
            (key.value().2, id.value().to_owned())
        };
        let row = self.parts.get((session, channel, id.as_str())).map_err(failed)?;
        let part = row.map(|row| decoded::<Part>(row.value())).transpose()?;
        if part.is_some_and(|part| part.is_remembered(shape, now)) {
            return Ok(false);
        }
        self.part_places.remove((session, channel, place)).map_err(failed)?;
        self.parts.remove((session, channel, id.as_str())).map_err(failed)?;
        Ok(true)
    }

    /// Takes records out of the file; redb uses their pages again.
    fn trim(&mut self, session: &SessionId, from: SeqNum, first: SeqNum) -> Result<(), StorageError> {
        let key = |place: SeqNum| (session.as_str(), number(ChannelName::Out), place.get());
        if from < first {
            self.records.retain_in(key(from)..key(first), |_, _| false).map_err(failed)?;
        }
        Ok(())
    }

    fn prolong(&mut self, run: &RunId, until: Millis) -> Result<(), StorageError> {
        let row = self.runs.get(run.as_str()).map_err(failed)?;
        let missing = || StorageError::Damaged { reason: format!("run {run} is missing") };
        let mut row: RunRow = decoded(row.ok_or_else(missing)?.value())?;
        if let RunStatus::Leased { expires_at, confirmed, .. } = &mut row.status {
            (*expires_at, *confirmed) = (until, true);
        }
        put(&mut self.runs, run.as_str(), &encoded(&row))
    }

    fn finish(mut self, n_changes: u64) -> Result<(), StorageError> {
        for (session, standing) in std::mem::take(&mut self.touched) {
            put(&mut self.standings, session.as_str(), &encoded(&standing))?;
        }
        let before = self.meta.get(N_CHANGES).map_err(failed)?.map_or(0, |before| before.value());
        self.meta.insert(N_CHANGES, before + n_changes).map_err(failed)?;
        Ok(())
    }
}

fn put(table: &mut Table<'_, &'static str, &'static [u8]>, id: &str, row: &[u8]) -> Result<(), StorageError> {
    table.insert(id, row).map_err(failed)?;
    Ok(())
}

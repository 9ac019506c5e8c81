//! Reading: each function is one read transaction, so it sees one moment.

use redb::{Database, ReadOnlyTable, ReadTransaction, ReadableDatabase as _, ReadableTable as _};
use serde::de::DeserializeOwned;
use turnkeep_protocol::{ChannelName, PartId, Record, RunId, SeqNum, SessionId};

use super::{
    LAST_WAIT, META, N_CHANGES, PART_PLACES, PARTS, PartKey, PlaceKey, RECORDS, RUNS, SESSIONS, STANDINGS, STORE,
    WAITPOINTS, decoded, failed, number,
};
use crate::standing::{Part, Standing};
use crate::storage::{Bounds, Loaded, LoadedChannel, LoadedSession, Window, Windows};
use crate::{RunRow, SessionRow, StorageError, StoreId};

/// Gives what a server needs to go on.
pub(super) fn load(db: &Database, windows: Windows) -> Result<Loaded, StorageError> {
    let txn = db.begin_read().map_err(failed)?;
    let meta = txn.open_table(META).map_err(failed)?;
    let count = |name: &str| Ok::<_, StorageError>(meta.get(name).map_err(failed)?.map_or(0, |count| count.value()));
    let (n_changes, last_wait) = (count(N_CHANGES)?, count(LAST_WAIT)?);
    let store = meta.get(STORE).map_err(failed)?.map(|id| StoreId(id.value()));
    let standings = txn.open_table(STANDINGS).map_err(failed)?;
    let runs = txn.open_table(RUNS).map_err(failed)?;
    let channels = Channels::open(&txn)?;
    let mut loaded = Loaded { n_changes, last_wait, store, ..Loaded::default() };
    for entry in txn.open_table(SESSIONS).map_err(failed)?.iter().map_err(failed)? {
        let (id, row) = entry.map_err(failed)?;
        let (id, row) = (id.value(), decoded::<SessionRow>(row.value())?);
        let run = match &row.current_run {
            Some(run) => {
                let row = row_of::<RunRow>(&runs, run.as_str())?;
                Some(row.ok_or_else(|| damaged(format!("{id} names {run}, which is not there")))?)
            }
            None => None,
        };
        let window = windows.of(run.as_ref());
        loaded.runs.extend(run);
        let standing = row_of::<Standing>(&standings, id)?.unwrap_or_default();
        let input = channels.load(id, ChannelName::In, window)?;
        let output = channels.load(id, ChannelName::Out, window)?;
        for (channel, shape, loaded) in
            [(ChannelName::In, &standing.input, &input), (ChannelName::Out, &standing.output, &output)]
        {
            let newest = channels.newest(id, channel)?;
            if newest.is_some_and(|newest| newest.next() != shape.tail) || !loaded.fits(shape) {
                return Err(damaged(format!("{id}/{channel}: its newest records are not those before {}", shape.tail)));
            }
        }
        loaded.sessions.push(LoadedSession { row, standing, input, output });
    }
    for entry in txn.open_table(WAITPOINTS).map_err(failed)?.iter().map_err(failed)? {
        loaded.waitpoints.push(decoded(entry.map_err(failed)?.1.value())?);
    }
    Ok(loaded)
}

fn damaged(reason: String) -> StorageError {
    StorageError::Damaged { reason }
}

/// Gives records from the first surviving one at `from` or behind it.
pub(super) fn records(
    db: &Database,
    session: &SessionId,
    channel: ChannelName,
    from: SeqNum,
    bounds: Bounds,
) -> Result<Vec<Record>, StorageError> {
    let txn = db.begin_read().map_err(failed)?;
    let records = txn.open_table(RECORDS).map_err(failed)?;
    let range = (session.as_str(), number(channel), from.get())..=(session.as_str(), number(channel), u64::MAX);
    let mut error = None;
    let stored = records.range(range).map_err(failed)?.map(|entry| decoded(entry.map_err(failed)?.1.value()));
    let until_error =
        stored.map_while(|record: Result<Record, StorageError>| record.map_err(|it| error = Some(it)).ok());
    let taken = bounds.take(until_error);
    error.map_or(Ok(taken), Err)
}

/// Finds a part.
pub(super) fn part(
    db: &Database,
    session: &SessionId,
    channel: ChannelName,
    part: &PartId,
) -> Result<Option<Part>, StorageError> {
    let txn = db.begin_read().map_err(failed)?;
    let parts = txn.open_table(PARTS).map_err(failed)?;
    let found = parts.get((session.as_str(), number(channel), part.as_str())).map_err(failed)?;
    found.map(|row| decoded(row.value())).transpose()
}

/// Gives a run's row.
pub(super) fn run(db: &Database, run: &RunId) -> Result<Option<RunRow>, StorageError> {
    let txn = db.begin_read().map_err(failed)?;
    row_of(&txn.open_table(RUNS).map_err(failed)?, run.as_str())
}

fn row_of<T: DeserializeOwned>(
    table: &ReadOnlyTable<&'static str, &'static [u8]>,
    id: &str,
) -> Result<Option<T>, StorageError> {
    table.get(id).map_err(failed)?.map(|row| decoded(row.value())).transpose()
}

/// The tables that hold channels.
struct Channels {
    records: ReadOnlyTable<PlaceKey, &'static [u8]>,
    parts: ReadOnlyTable<PartKey, &'static [u8]>,
    part_places: ReadOnlyTable<PlaceKey, &'static str>,
}

impl Channels {
    fn open(txn: &ReadTransaction) -> Result<Self, StorageError> {
        Ok(Self {
            records: txn.open_table(RECORDS).map_err(failed)?,
            parts: txn.open_table(PARTS).map_err(failed)?,
            part_places: txn.open_table(PART_PLACES).map_err(failed)?,
        })
    }

    /// Gives the place of the newest record that is there.
    fn newest(&self, session: &str, channel: ChannelName) -> Result<Option<SeqNum>, StorageError> {
        let channel = number(channel);
        let all = (session, channel, 0)..=(session, channel, u64::MAX);
        let newest = self.records.range(all).map_err(failed)?.next_back().transpose().map_err(failed)?;
        Ok(newest.map(|(key, _)| SeqNum::new(key.value().2)))
    }

    fn load(&self, session: &str, channel: ChannelName, window: &Window) -> Result<LoadedChannel, StorageError> {
        let channel = number(channel);
        let all = || (session, channel, 0)..=(session, channel, u64::MAX);
        let records = self.records.range(all()).map_err(failed)?.rev();
        let records =
            window.take_newest::<StorageError>(records.map(|entry| decoded(entry.map_err(failed)?.1.value())))?;
        let part = |id: &str| -> Result<(PartId, Part), StorageError> {
            let row = self.parts.get((session, channel, id)).map_err(failed)?;
            let missing = || StorageError::Damaged { reason: format!("part {id} of {session} is missing") };
            Ok((PartId::new(id), decoded(row.ok_or_else(missing)?.value())?))
        };
        let places = self.part_places.range(all()).map_err(failed)?.rev();
        let (parts, parts_from) =
            window.take_parts::<StorageError>(places.map(|entry| part(entry.map_err(failed)?.1.value())))?;
        Ok(LoadedChannel { records, parts, parts_from })
    }
}

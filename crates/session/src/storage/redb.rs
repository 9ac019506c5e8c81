//! The embedded store: one redb file for everything, one transaction for each commit (D-26).
//!
//! Keys begin with the session, so what belongs together lies together: `(session, channel, seq_num) → record` is one range for each
//! channel. A trim removes its records from the file, and redb uses their pages again, so the file grows with what is kept and not
//! with what was ever written. Rows are JSON; what the columns of a row mean may only change with [`FORMAT`].

mod birth;
mod folder;
mod format;
mod read;
mod write;

use std::io;
use std::sync::Arc;

use futures::future::BoxFuture;
use redb::{Database, StorageBackend, TableDefinition};
use turnkeep_host::Host;
use turnkeep_protocol::{ChannelName, PartId, Record, RunId, SeqNum, SessionId};

use super::{Bounds, Loaded, Storage, Windows};
use crate::standing::Part;
use crate::{Change, RunRow, StorageError};

/// A channel of a session as keys begin with it, and a place in it.
type PlaceKey = (&'static str, u8, u64);
/// A channel of a session, and a part id in it.
type PartKey = (&'static str, u8, &'static str);

const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");
const SESSIONS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("sessions");
const STANDINGS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("standings");
const RECORDS: TableDefinition<'_, PlaceKey, &[u8]> = TableDefinition::new("records");
const PARTS: TableDefinition<'_, PartKey, &[u8]> = TableDefinition::new("parts");
/// The parts of a channel by their first places.
const PART_PLACES: TableDefinition<'_, PlaceKey, &str> = TableDefinition::new("part-places");
const RUNS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("runs");
const WAITPOINTS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("waitpoints");

/// In [`META`]: the version of all of this.
const FORMAT: &str = "format";
/// In [`META`]: how many changes were ever committed.
const N_CHANGES: &str = "changes";
/// In [`META`]: the highest number of a waitpoint.
const LAST_WAIT: &str = "last-wait";
/// In [`META`]: which store this is; absent in one that no server has had.
const STORE: &str = "store";

/// How much of the file the store keeps in memory, in bytes; redb alone would take a gigabyte.
const CACHE_BYTES: usize = 32 * 1024 * 1024;

/// A durable store in one file.
///
/// Its work runs where it blocks nobody ([`Host::blocking`]). A commit that fails may or may not be durable; none succeeds after it
/// until the store is opened again.
pub struct RedbStorage {
    host: Host,
    db: Arc<Database>,
}

impl RedbStorage {
    /// Opens the store that `backend` holds, or makes one where it is empty. `file` names it in errors.
    ///
    /// After a crash this reads the whole file once. A file whose making a crash cut short counts as empty.
    ///
    /// # Errors
    ///
    /// [`StorageError`] when the file cannot be read, is no store, is in use, or has a format that this version does not know.
    pub async fn open(host: &Host, file: &str, backend: impl StorageBackend) -> Result<Self, StorageError> {
        let file = file.to_owned();
        let open = move || -> Result<Database, StorageError> {
            birth::clear_unborn(&backend)?;
            let db = Database::builder().set_cache_size(CACHE_BYTES).create_with_backend(backend).map_err(failed)?;
            format::bring_up(&db, &file, format::STEPS)?;
            Ok(db)
        };
        let db = host.blocking(open).await?;
        Ok(Self { host: host.clone(), db: Arc::new(db) })
    }

    fn work<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Database) -> Result<T, StorageError> + Send + 'static,
    ) -> BoxFuture<'_, Result<T, StorageError>> {
        let db = self.db.clone();
        Box::pin(self.host.blocking(move || work(&db)))
    }
}

impl Storage for RedbStorage {
    fn load(&self, windows: Windows) -> BoxFuture<'_, Result<Loaded, StorageError>> {
        self.work(move |db| read::load(db, windows))
    }

    fn commit(&self, changes: Vec<Change>) -> BoxFuture<'_, Result<(), StorageError>> {
        self.work(move |db| write::commit(db, changes))
    }

    fn read(
        &self,
        session: SessionId,
        channel: ChannelName,
        from: SeqNum,
        bounds: Bounds,
    ) -> BoxFuture<'_, Result<Vec<Record>, StorageError>> {
        self.work(move |db| read::records(db, &session, channel, from, bounds))
    }

    fn part(
        &self,
        session: SessionId,
        channel: ChannelName,
        part: PartId,
    ) -> BoxFuture<'_, Result<Option<Part>, StorageError>> {
        self.work(move |db| read::part(db, &session, channel, &part))
    }

    fn run(&self, run: RunId) -> BoxFuture<'_, Result<Option<RunRow>, StorageError>> {
        self.work(move |db| read::run(db, &run))
    }
}

/// Gives the number that stands for a channel in keys.
fn number(channel: ChannelName) -> u8 {
    match channel {
        ChannelName::In => 0,
        ChannelName::Out => 1,
    }
}

/// Says in our words what redb refused for.
fn failed(error: impl Into<redb::Error>) -> StorageError {
    match error.into() {
        redb::Error::Io(error) if error.kind() == io::ErrorKind::InvalidData => {
            StorageError::Damaged { reason: error.to_string() }
        }
        redb::Error::Io(error) => StorageError::Disk(error),
        redb::Error::DatabaseAlreadyOpen => StorageError::InUse,
        error @ redb::Error::PreviousIo => StorageError::Disk(io::Error::other(error.to_string())),
        error => StorageError::Damaged { reason: error.to_string() },
    }
}

fn encoded(row: &impl serde::Serialize) -> Vec<u8> {
    serde_json::to_vec(row).expect("rows always serialise")
}

fn decoded<T: serde::de::DeserializeOwned>(bytes: &[u8]) -> Result<T, StorageError> {
    serde_json::from_slice(bytes).map_err(|error| StorageError::Damaged { reason: error.to_string() })
}

#[cfg(test)]
mod tests;

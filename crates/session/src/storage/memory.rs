//! A store for tests, the simulated world and servers that keep nothing: the state lives in memory; a journal on a disk, if there is one,
//! rebuilds it (D-12).
//!
//! One commit is one line of JSON. A line without its newline, or a last line that is no JSON, was torn by a crash before its
//! commit was answered: it is cut off. The journal is never compacted; it lives as long as a test.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::future::BoxFuture;
use turnkeep_protocol::{ChannelName, PartId, Record, RunId, SeqNum, SessionId};

use super::{Bounds, Disk, Loaded, Storage, Tables, Windows};
use crate::standing::Part;
use crate::{Change, RunRow, StorageError};

/// What all changes add up to, whole, in memory, and as a rule a journal of them on a [`Disk`].
pub struct MemoryStorage {
    /// Where the journal is kept; none for a store that goes with its process.
    disk: Option<Arc<dyn Disk>>,
    journal: Mutex<Journal>,
}

#[derive(Default)]
struct Journal {
    /// Where the next line belongs, once the journal has been loaded.
    end: Option<u64>,
    tables: Tables,
}

impl MemoryStorage {
    /// Opens the journal on `disk`; an empty disk is an empty journal.
    pub fn open(disk: Arc<dyn Disk>) -> Self {
        Self { disk: Some(disk), journal: Mutex::default() }
    }

    /// Makes a store that keeps no journal: what it has is gone with it, and what is trimmed takes no more memory.
    pub fn without_journal() -> Self {
        Self { disk: None, journal: Mutex::default() }
    }

    fn journal(&self) -> MutexGuard<'_, Journal> {
        self.journal.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives the journal, loaded.
    fn loaded(&self) -> Result<MutexGuard<'_, Journal>, StorageError> {
        let mut journal = self.journal();
        if let Some(disk) = self.disk.as_ref().filter(|_| journal.end.is_none()) {
            let bytes = disk.read()?;
            let (changes, end) = parse(&bytes)?;
            if end < bytes.len() {
                disk.truncate(end as u64)?;
            }
            // A line whose sync failed or never came may be read all the same; whoever goes on from it makes it durable first.
            disk.sync()?;
            let mut tables = Tables::default();
            tables.apply(changes);
            *journal = Journal { end: Some(end as u64), tables };
        }
        Ok(journal)
    }

    fn commit_now(&self, changes: Vec<Change>) -> Result<(), StorageError> {
        let mut journal = self.loaded()?;
        if let Some(disk) = &self.disk {
            let mut line = serde_json::to_vec(&changes).expect("changes always serialise");
            line.push(b'\n');
            let from = journal.end.take().expect("the journal was loaded above");
            // Until the sync has succeeded the end is unknown, and the next call loads and cuts again.
            disk.append(&line)?;
            disk.sync()?;
            journal.end = Some(from + line.len() as u64);
        }
        journal.tables.apply(changes);
        Ok(())
    }

    fn look<'a, T: Send + 'a>(&'a self, read: impl FnOnce(&Tables) -> T) -> BoxFuture<'a, Result<T, StorageError>> {
        let looked = self.loaded().map(|journal| read(&journal.tables));
        Box::pin(std::future::ready(looked))
    }
}

impl Storage for MemoryStorage {
    fn load(&self, windows: Windows) -> BoxFuture<'_, Result<Loaded, StorageError>> {
        self.look(|tables| tables.load(windows))
    }

    fn commit(&self, changes: Vec<Change>) -> BoxFuture<'_, Result<(), StorageError>> {
        Box::pin(async move { self.commit_now(changes) })
    }

    fn read(
        &self,
        session: SessionId,
        channel: ChannelName,
        from: SeqNum,
        bounds: Bounds,
    ) -> BoxFuture<'_, Result<Vec<Record>, StorageError>> {
        self.look(|tables| tables.read(&session, channel, from, bounds))
    }

    fn part(
        &self,
        session: SessionId,
        channel: ChannelName,
        part: PartId,
    ) -> BoxFuture<'_, Result<Option<Part>, StorageError>> {
        self.look(|tables| tables.part(&session, channel, &part))
    }

    fn run(&self, run: RunId) -> BoxFuture<'_, Result<Option<RunRow>, StorageError>> {
        self.look(|tables| tables.run(&run))
    }
}

/// Gives the changes of every whole line, and where the last whole line ends.
fn parse(bytes: &[u8]) -> Result<(Vec<Change>, usize), StorageError> {
    let mut changes = Vec::new();
    let mut end = 0;
    for (index, line) in bytes.split_inclusive(|byte| *byte == b'\n').enumerate() {
        let is_last = end + line.len() == bytes.len();
        match (line.ends_with(b"\n"), serde_json::from_slice::<Vec<Change>>(line)) {
            (true, Ok(commit)) => changes.extend(commit),
            _ if is_last => break,
            (_, Err(error)) => return Err(StorageError::Corrupt { line: index + 1, reason: error.to_string() }),
            (false, Ok(_)) => unreachable!("only the last line can lack its newline"),
        }
        end += line.len();
    }
    Ok((changes, end))
}

#[cfg(test)]
mod tests;

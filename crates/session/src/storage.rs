//! Where changes become durable: the [`Storage`] seam, a store in one file, and one in memory with a journal on a [`Disk`].
//!
//! A store folds the changes it is given into tables of its own and gives them back in two ways: [`Storage::load`] gives what the
//! core needs to go on, small and bounded for each session, and the other reads give what has left the core's memory.

#[cfg(any(test, feature = "conformance"))]
pub mod conformance;
mod disk;
mod loaded;
mod memory;
mod redb;
mod tables;

use futures::future::BoxFuture;
use turnkeep_protocol::{ChannelName, PartId, Record, RunId, SeqNum, SessionId};

pub use disk::{Disk, MemoryDisk};
pub use loaded::{Loaded, LoadedChannel, LoadedSession};
pub use memory::MemoryStorage;
pub use redb::RedbStorage;
pub(crate) use tables::{Tables, session_of};

use crate::standing::Part;
use crate::{Change, RunRow, StorageError};

/// What the server keeps in memory of the channels: most sessions have ended long ago, and none of theirs is there.
pub(crate) const WINDOWS: Windows = Windows {
    live: Window { records: Bounds { records: 256, bytes: 64 * 1024 }, parts: 256 },
    idle: Window { records: Bounds { records: 0, bytes: 0 }, parts: 0 },
};

/// Keeps every change of a server, in order.
///
/// Reads see committed changes only, each read at one moment. A run, once stored, stays for ever.
pub trait Storage: Send + Sync {
    /// Gives what all committed changes add up to: for each channel no more of its records and part ids than its session's window
    /// holds.
    ///
    /// # Errors
    ///
    /// [`StorageError`] when the store cannot be read or holds what no commit wrote.
    fn load(&self, windows: Windows) -> BoxFuture<'_, Result<Loaded, StorageError>>;

    /// Makes `changes` durable, all or nothing: on `Ok` they survive a crash (D-12).
    ///
    /// # Errors
    ///
    /// [`StorageError`] when that cannot be promised; the server then stops and answers nobody.
    fn commit(&self, changes: Vec<Change>) -> BoxFuture<'_, Result<(), StorageError>>;

    /// Reads records from `from` on, or from the first that was not trimmed, without a gap: as many as `bounds` take.
    ///
    /// # Errors
    ///
    /// [`StorageError`] when the store cannot be read.
    fn read(
        &self,
        session: SessionId,
        channel: ChannelName,
        from: SeqNum,
        bounds: Bounds,
    ) -> BoxFuture<'_, Result<Vec<Record>, StorageError>>;

    /// Finds the records that were written under a part id; at least as long as [`Part::is_remembered`] says.
    ///
    /// # Errors
    ///
    /// [`StorageError`] when the store cannot be read.
    fn part(
        &self,
        session: SessionId,
        channel: ChannelName,
        part: PartId,
    ) -> BoxFuture<'_, Result<Option<Part>, StorageError>>;

    /// Gives a run's row, whether or not the run has ended.
    ///
    /// # Errors
    ///
    /// [`StorageError`] when the store cannot be read.
    fn run(&self, run: RunId) -> BoxFuture<'_, Result<Option<RunRow>, StorageError>>;
}

/// The most that one read gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// So many records.
    pub records: usize,
    /// So many bytes of their bodies; a single larger record still travels alone.
    pub bytes: usize,
}

impl Bounds {
    /// Takes records from the front until a bound is reached; the first one always.
    pub(crate) fn take(self, records: impl Iterator<Item = Record>) -> Vec<Record> {
        let mut bytes = 0_usize;
        let fits = |record: &Record| {
            let is_first = bytes == 0;
            bytes += record.body.len() + 1;
            is_first || bytes <= self.bytes
        };
        records.take(self.records).take_while(fits).collect()
    }
}

/// How much of each channel the core keeps in memory; the rest is read from the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Windows {
    /// Of sessions with a live run.
    pub live: Window,
    /// Of the others: nobody writes to them, and who still reads them waits at their tails.
    pub idle: Window,
}

impl Windows {
    /// Gives one window to all sessions.
    #[cfg(any(test, feature = "conformance"))]
    pub(crate) const fn all(window: Window) -> Self {
        Self { live: window, idle: window }
    }

    /// Gives the window of a session by the run in its slot.
    pub(crate) fn of(&self, run: Option<&RunRow>) -> &Window {
        if run.is_some_and(|run| run.status.is_live()) { &self.live } else { &self.idle }
    }
}

/// How much of a channel the core keeps in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// The newest records: the longest run of them up to the tail that stays within both bounds, which may be none.
    pub records: Bounds,
    /// The part ids that were written last.
    pub parts: usize,
}

impl Window {
    /// Takes the newest records from `newest_first` and gives them oldest first.
    pub(crate) fn take_newest<E>(
        &self,
        newest_first: impl Iterator<Item = Result<Record, E>>,
    ) -> Result<Vec<Record>, E> {
        let (mut taken, mut bytes) = (Vec::new(), 0);
        for record in newest_first.take(self.records.records) {
            let record = record?;
            bytes += record.body.len();
            if bytes > self.records.bytes {
                break;
            }
            taken.push(record);
        }
        taken.reverse();
        Ok(taken)
    }

    /// Takes the parts that were written last from `newest_first`, and says from where on they are all there are.
    pub(crate) fn take_parts<E>(
        &self,
        newest_first: impl Iterator<Item = Result<(PartId, Part), E>>,
    ) -> Result<(Vec<(PartId, Part)>, SeqNum), E> {
        let mut taken = Vec::new();
        for part in newest_first {
            let (id, part) = part?;
            if taken.len() == self.parts {
                return Ok((taken, part.last.next()));
            }
            taken.push((id, part));
        }
        Ok((taken, SeqNum::ZERO))
    }
}

//! A store for tests and the simulated world: the state lives in memory, a journal on the disk rebuilds it (D-12).
//!
//! One commit is one line of JSON. A line without its newline, or a last line that is no JSON, was torn by a crash before its
//! commit was answered: it is cut off. The journal is never compacted; it lives as long as a test.

use std::sync::{Arc, Mutex, PoisonError};

use futures::future::BoxFuture;

use super::{Disk, Storage};
use crate::{Change, StorageError};

/// A journal of changes on a [`Disk`].
pub struct MemoryStorage {
    disk: Arc<dyn Disk>,
    /// Where the next line belongs, once the journal has been loaded.
    end: Mutex<Option<u64>>,
}

impl MemoryStorage {
    /// Opens the journal on `disk`; an empty disk is an empty journal.
    pub fn open(disk: Arc<dyn Disk>) -> Self {
        Self { disk, end: Mutex::new(None) }
    }

    fn load_now(&self) -> Result<Vec<Change>, StorageError> {
        let bytes = self.disk.read()?;
        let (changes, end) = parse(&bytes)?;
        if end < bytes.len() {
            self.disk.truncate(end as u64)?;
            self.disk.sync()?;
        }
        *self.end.lock().unwrap_or_else(PoisonError::into_inner) = Some(end as u64);
        Ok(changes)
    }

    fn commit_now(&self, changes: &[Change]) -> Result<(), StorageError> {
        let loaded = self.end.lock().unwrap_or_else(PoisonError::into_inner).is_some();
        if !loaded {
            self.load_now()?;
        }
        let mut line = serde_json::to_vec(changes).expect("changes always serialise");
        line.push(b'\n');
        let mut end = self.end.lock().unwrap_or_else(PoisonError::into_inner);
        let from = end.take().expect("the journal was loaded above");
        // Until the sync has succeeded the end is unknown, and the next call loads and cuts again.
        self.disk.append(&line)?;
        self.disk.sync()?;
        *end = Some(from + line.len() as u64);
        Ok(())
    }
}

impl Storage for MemoryStorage {
    fn load(&self) -> BoxFuture<'_, Result<Vec<Change>, StorageError>> {
        Box::pin(async { self.load_now() })
    }

    fn commit(&self, changes: Vec<Change>) -> BoxFuture<'_, Result<(), StorageError>> {
        Box::pin(async move { self.commit_now(&changes) })
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
mod tests {
    use std::io;

    use turnkeep_protocol::{SeqNum, SessionId};

    use super::*;
    use crate::MemoryDisk;

    fn change(n: u64) -> Change {
        Change::Trim { session: SessionId::new("session_1"), first: SeqNum::new(n) }
    }

    fn journal(commits: &[&[Change]]) -> Vec<u8> {
        let disk = Arc::new(MemoryDisk::new());
        let storage = MemoryStorage::open(disk.clone());
        for commit in commits {
            storage.commit_now(commit).unwrap();
        }
        disk.read().unwrap()
    }

    #[test]
    fn commits_come_back_in_order_and_are_synced_d12() {
        let disk = Arc::new(MemoryDisk::new());
        let storage = MemoryStorage::open(disk.clone());

        storage.commit_now(&[change(1), change(2)]).unwrap();
        storage.commit_now(&[change(3)]).unwrap();

        let after_power_loss = MemoryStorage::open(Arc::new(MemoryDisk::with(disk.synced())));
        assert_eq!(after_power_loss.load_now().unwrap(), [change(1), change(2), change(3)]);
    }

    #[test]
    fn a_commit_cut_at_any_byte_is_gone_as_a_whole_and_the_next_one_takes_its_place_d12() {
        let whole = journal(&[&[change(1)], &[change(2), change(3)]]);
        let first_line = journal(&[&[change(1)]]).len();

        for cut in first_line..whole.len() {
            let disk = Arc::new(MemoryDisk::with(whole[..cut].to_vec()));
            let storage = MemoryStorage::open(disk.clone());
            assert_eq!(storage.load_now().unwrap(), [change(1)], "cut at {cut}");
            storage.commit_now(&[change(9)]).unwrap();
            let again = MemoryStorage::open(disk);
            assert_eq!(again.load_now().unwrap(), [change(1), change(9)], "cut at {cut}");
        }
    }

    #[test]
    fn a_broken_line_before_the_last_is_corruption() {
        let mut bytes = b"[nonsense\n".to_vec();
        bytes.extend(journal(&[&[change(1)]]));

        let loaded = MemoryStorage::open(Arc::new(MemoryDisk::with(bytes))).load_now();

        assert!(matches!(loaded, Err(StorageError::Corrupt { line: 1, .. })), "{loaded:?}");
    }

    /// A disk that takes half of every second line and then fails.
    #[derive(Default)]
    struct Full {
        disk: MemoryDisk,
        appends: Mutex<u32>,
    }

    impl Disk for Full {
        fn append(&self, bytes: &[u8]) -> io::Result<()> {
            let mut appends = self.appends.lock().unwrap();
            *appends += 1;
            if *appends == 2 {
                self.disk.append(&bytes[..bytes.len() / 2])?;
                return Err(io::ErrorKind::StorageFull.into());
            }
            self.disk.append(bytes)
        }

        fn sync(&self) -> io::Result<()> {
            self.disk.sync()
        }

        fn read(&self) -> io::Result<Vec<u8>> {
            self.disk.read()
        }

        fn truncate(&self, len: u64) -> io::Result<()> {
            self.disk.truncate(len)
        }
    }

    #[test]
    fn a_failed_commit_leaves_nothing_behind() {
        let disk = Arc::new(Full::default());
        let storage = MemoryStorage::open(disk.clone());
        storage.commit_now(&[change(1)]).unwrap();

        let failed = storage.commit_now(&[change(2)]);
        assert!(failed.unwrap_err().is_retryable());
        storage.commit_now(&[change(3)]).unwrap();

        assert_eq!(MemoryStorage::open(disk).load_now().unwrap(), [change(1), change(3)]);
    }
}

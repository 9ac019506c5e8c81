//! The journal: torn lines, failed commits, corruption.

use std::io;

use turnkeep_protocol::WaitpointId;

use super::*;
use crate::MemoryDisk;
use crate::storage::{WINDOWS, conformance};

fn change(n: u64) -> Change {
    Change::WaitpointGone { waitpoint: WaitpointId::new(n.to_string()) }
}

/// Loads a disk and gives the changes that are on it then.
fn loaded(disk: Arc<dyn Disk>) -> Result<Vec<Change>, StorageError> {
    let n_changes = MemoryStorage::open(disk.clone()).loaded()?.tables.load(WINDOWS).n_changes;
    let (changes, end) = parse(&disk.read()?)?;
    assert_eq!((changes.len() as u64, end), (n_changes, disk.read()?.len()));
    Ok(changes)
}

fn journal(commits: &[&[Change]]) -> Vec<u8> {
    let disk = Arc::new(MemoryDisk::new());
    let storage = MemoryStorage::open(disk.clone());
    for commit in commits {
        storage.commit_now(commit.to_vec()).unwrap();
    }
    disk.read().unwrap()
}

#[test]
fn commits_come_back_in_order_and_are_synced_d12() {
    let disk = Arc::new(MemoryDisk::new());
    let storage = MemoryStorage::open(disk.clone());

    storage.commit_now(vec![change(1), change(2)]).unwrap();
    storage.commit_now(vec![change(3)]).unwrap();

    let after_power_loss = Arc::new(MemoryDisk::with(disk.synced()));
    assert_eq!(loaded(after_power_loss).unwrap(), [change(1), change(2), change(3)]);
}

#[test]
fn a_commit_cut_at_any_byte_is_gone_as_a_whole_and_the_next_one_takes_its_place_d12() {
    let whole = journal(&[&[change(1)], &[change(2), change(3)]]);
    let first_line = journal(&[&[change(1)]]).len();

    for cut in first_line..whole.len() {
        let disk = Arc::new(MemoryDisk::with(whole[..cut].to_vec()));
        let storage = MemoryStorage::open(disk.clone());
        assert_eq!(loaded(disk.clone()).unwrap(), [change(1)], "cut at {cut}");
        storage.commit_now(vec![change(9)]).unwrap();
        assert_eq!(loaded(disk).unwrap(), [change(1), change(9)], "cut at {cut}");
    }
}

#[test]
fn a_broken_line_before_the_last_is_corruption() {
    let mut bytes = b"[nonsense\n".to_vec();
    bytes.extend(journal(&[&[change(1)]]));

    let loaded = loaded(Arc::new(MemoryDisk::with(bytes)));

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
    storage.commit_now(vec![change(1)]).unwrap();

    let failed = storage.commit_now(vec![change(2)]);
    assert!(failed.unwrap_err().is_retryable());
    storage.commit_now(vec![change(3)]).unwrap();

    assert_eq!(loaded(disk).unwrap(), [change(1), change(3)]);
}

#[tokio::test]
async fn with_a_journal_and_without_one_it_is_what_every_store_is_d12() {
    for seed in 0..20 {
        let disk = Arc::new(MemoryDisk::new());
        let with = || async { Arc::new(MemoryStorage::open(disk.clone())) as Arc<dyn Storage> };
        conformance::check(seed, with).await;
        // It has one life: there is nothing that it could be opened from.
        let without: Arc<dyn Storage> = Arc::new(MemoryStorage::without_journal());
        conformance::check(seed, || async { without.clone() }).await;
    }
}

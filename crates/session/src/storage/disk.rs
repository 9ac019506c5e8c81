//! An append-only file as a journal needs it.

use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// One file that grows at its end. What is not yet synced may be lost in a crash, wholly or in part.
pub trait Disk: Send + Sync {
    /// Writes `bytes` at the end.
    ///
    /// # Errors
    ///
    /// Whatever the disk says; a prefix of `bytes` may have been written.
    fn append(&self, bytes: &[u8]) -> io::Result<()>;

    /// Makes everything appended so far survive a crash.
    ///
    /// # Errors
    ///
    /// Whatever the disk says; nothing is promised then.
    fn sync(&self) -> io::Result<()>;

    /// Reads the whole file.
    ///
    /// # Errors
    ///
    /// Whatever the disk says.
    fn read(&self) -> io::Result<Vec<u8>>;

    /// Cuts the file to its first `len` bytes.
    ///
    /// # Errors
    ///
    /// Whatever the disk says.
    fn truncate(&self, len: u64) -> io::Result<()>;
}

/// A disk in memory, for tests. It keeps all bytes and tells which of them were synced.
#[derive(Debug, Default)]
pub struct MemoryDisk {
    file: Mutex<File>,
}

#[derive(Debug, Default)]
struct File {
    bytes: Vec<u8>,
    synced: usize,
}

impl MemoryDisk {
    /// Makes an empty disk.
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes a disk that holds `bytes`, all synced.
    pub fn with(bytes: Vec<u8>) -> Self {
        Self { file: Mutex::new(File { synced: bytes.len(), bytes }) }
    }

    /// Gives what a power loss would leave: the synced bytes.
    pub fn synced(&self) -> Vec<u8> {
        let file = self.file();
        file.bytes[..file.synced].to_vec()
    }

    fn file(&self) -> MutexGuard<'_, File> {
        self.file.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Disk for MemoryDisk {
    fn append(&self, bytes: &[u8]) -> io::Result<()> {
        self.file().bytes.extend_from_slice(bytes);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut file = self.file();
        file.synced = file.bytes.len();
        Ok(())
    }

    fn read(&self) -> io::Result<Vec<u8>> {
        Ok(self.file().bytes.clone())
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        let mut file = self.file();
        let len = usize::try_from(len).unwrap_or(usize::MAX);
        file.bytes.truncate(len);
        file.synced = file.synced.min(len);
        Ok(())
    }
}

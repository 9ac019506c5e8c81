//! A simulated machine's disk: turmoil's file system behind a fence (D-51).
//!
//! What was not synced is lost in a crash. A crash runs destructors, and code that has died must not write: each boot's handle
//! carries the generation it was born in, and the driver raises the generation before it kills the host.

use std::io;
use std::os::unix::fs::FileExt as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use turmoil::fs::shim::std::fs::{self, File, OpenOptions};
use turnkeep_session::{Disk, StorageBackend};

const FOLDER: &str = "/data";
/// The file of the store that keeps a journal.
pub(super) const JOURNAL: &str = "/data/journal";
/// The file of the embedded store.
pub(super) const STORE: &str = "/data/store";

/// Which life of a host may write; clones share it.
#[derive(Clone, Debug, Default)]
pub(super) struct Fence(Arc<AtomicU64>);

impl Fence {
    /// Ends the present life: its handles fail from now on.
    pub(super) fn raise(&self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }

    fn generation(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }
}

/// One boot's handle on one file of its host.
#[derive(Debug)]
pub(super) struct WorldDisk {
    file: File,
    len: Mutex<u64>,
    fence: Fence,
    born: u64,
}

impl WorldDisk {
    /// Opens a file of the host this runs on, and makes its folder on the first boot.
    pub(super) fn open(fence: &Fence, path: &str) -> io::Result<Self> {
        if !fs::exists(FOLDER) {
            fs::create_dir(FOLDER)?;
            fs::sync_dir("/")?;
        }
        let file = OpenOptions::new().read(true).write(true).create(true).open(path)?;
        file.sync_all()?;
        fs::sync_dir(FOLDER)?;
        let len = Mutex::new(file.metadata()?.len());
        Ok(Self { file, len, fence: fence.clone(), born: fence.generation() })
    }

    fn alive(&self) -> io::Result<()> {
        if self.fence.generation() == self.born {
            return Ok(());
        }
        Err(io::Error::other("this process is dead"))
    }
}

impl Disk for WorldDisk {
    fn append(&self, bytes: &[u8]) -> io::Result<()> {
        self.alive()?;
        let mut len = self.len.lock().unwrap_or_else(PoisonError::into_inner);
        self.file.write_all_at(bytes, *len)?;
        *len += u64::try_from(bytes.len()).expect("a length fits 64 bits");
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        self.alive()?;
        self.file.sync_all()
    }

    fn read(&self) -> io::Result<Vec<u8>> {
        self.alive()?;
        let len = *self.len.lock().unwrap_or_else(PoisonError::into_inner);
        let mut bytes = vec![0; usize::try_from(len).map_err(io::Error::other)?];
        self.file.read_exact_at(&mut bytes, 0)?;
        Ok(bytes)
    }

    fn truncate(&self, new_len: u64) -> io::Result<()> {
        self.alive()?;
        let mut len = self.len.lock().unwrap_or_else(PoisonError::into_inner);
        self.file.set_len(new_len)?;
        *len = new_len.min(*len);
        Ok(())
    }
}

/// The same file as the embedded store wants it: read and written anywhere.
impl StorageBackend for WorldDisk {
    fn len(&self) -> io::Result<u64> {
        self.alive()?;
        Ok(*self.len.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.alive()?;
        self.file.read_exact_at(out, offset)
    }

    fn set_len(&self, new_len: u64) -> io::Result<()> {
        self.alive()?;
        let mut len = self.len.lock().unwrap_or_else(PoisonError::into_inner);
        self.file.set_len(new_len)?;
        *len = new_len;
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        self.alive()?;
        self.file.sync_all()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.alive()?;
        let mut len = self.len.lock().unwrap_or_else(PoisonError::into_inner);
        self.file.write_all_at(data, offset)?;
        *len = (*len).max(offset + u64::try_from(data.len()).expect("a length fits 64 bits"));
        Ok(())
    }
}

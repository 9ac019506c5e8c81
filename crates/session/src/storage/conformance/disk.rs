//! A disk that fails as disks do: a power loss tears what was not synced, and writes, syncs and reads are refused.
//!
//! What it leaves out: a disk that lies. What was synced stays, and what is read is what was written. A sync that fails leaves the
//! writes before it as unsynced as they were, and a later sync may still reach them.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use redb::StorageBackend;
use turnkeep_host::Draws;

use crate::Disk;

/// The most that a disk writes whole or not at all, in bytes.
const SECTOR: usize = 512;

/// What goes wrong with a disk, from then on until it is mended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiskFault {
    /// Nothing more can be written: there is no room.
    Full,
    /// Writes are taken, but cannot be made durable.
    SyncFails,
    /// Nothing can be read.
    ReadFails,
    /// The process is dead: nothing that it does reaches the disk any more.
    Gone,
}

/// One file on a simulated disk; clones are the same file. It outlives the processes that use it.
#[derive(Clone, Debug, Default)]
pub struct FaultyDisk(Arc<Mutex<File>>);

#[derive(Debug, Default)]
struct File {
    /// What no power loss can take.
    durable: Vec<u8>,
    /// What a process sees.
    seen: Vec<u8>,
    /// What the two differ by, oldest first.
    unsynced: Vec<Unsynced>,
    fault: Option<DiskFault>,
    /// The fault that comes after so many operations more.
    planned: Option<(u64, DiskFault)>,
    /// Which process may use the file.
    life: u64,
}

#[derive(Debug)]
enum Unsynced {
    Write { offset: usize, bytes: Vec<u8> },
    Len(usize),
}

impl FaultyDisk {
    /// Makes an empty disk without a fault.
    pub fn new() -> Self {
        Self::default()
    }

    /// Begins a process's use of the file; what an earlier process still does is refused.
    pub fn life(&self) -> DiskLife {
        let mut file = self.file();
        file.life += 1;
        DiskLife { disk: self.clone(), born: file.life }
    }

    /// Lets `fault` begin.
    pub fn fail(&self, fault: DiskFault) {
        self.file().fault = Some(fault);
    }

    /// Lets `fault` begin after so many operations more, however they end.
    pub fn fail_after(&self, n_operations: u64, fault: DiskFault) {
        self.file().planned = Some((n_operations, fault));
    }

    /// Ends every fault, those that were planned as well.
    pub fn mend(&self) {
        let mut file = self.file();
        (file.fault, file.planned) = (None, None);
    }

    /// Ends the present process, and its machine with it: of what it had not synced, `draws` decide what is left.
    pub fn lose_power(&self, draws: &Draws) {
        let mut file = self.file();
        file.life += 1;
        let unsynced = std::mem::take(&mut file.unsynced);
        let tear = Tear::draw(draws, unsynced.len());
        for (index, change) in unsynced.into_iter().enumerate() {
            file.keep(&change, || tear.keeps(draws, index));
        }
        file.seen = file.durable.clone();
    }

    /// Takes everything away that the file holds, and every process's use of it.
    pub fn wipe(&self) {
        let mut file = self.file();
        *file = File { life: file.life + 1, ..File::default() };
    }

    fn file(&self) -> MutexGuard<'_, File> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How a power loss treats what was not synced.
enum Tear {
    /// In order up to a change; of that one some sectors.
    Prefix(usize),
    /// Any sectors of any change.
    Subset,
}

impl Tear {
    fn draw(draws: &Draws, n_changes: usize) -> Self {
        match draws.below(2) {
            0 => Self::Prefix(usize::try_from(draws.below(n_changes as u64 + 1)).expect("as many as there are")),
            _ => Self::Subset,
        }
    }

    fn keeps(&self, draws: &Draws, change: usize) -> bool {
        match self {
            Self::Prefix(torn) if change != *torn => change < *torn,
            _ => draws.below(2) == 0,
        }
    }
}

impl File {
    /// Makes sectors of a change durable; `keeps` is asked for each of them.
    fn keep(&mut self, change: &Unsynced, keeps: impl Fn() -> bool) {
        match change {
            Unsynced::Len(len) if keeps() => self.durable.resize(*len, 0),
            Unsynced::Len(_) => {}
            Unsynced::Write { offset, bytes } => {
                let mut from = 0;
                while from < bytes.len() {
                    // Sectors lie where the disk has them, not where the write begins.
                    let to = bytes.len().min(from + SECTOR - (offset + from) % SECTOR);
                    if keeps() {
                        put(&mut self.durable, offset + from, &bytes[from..to]);
                    }
                    from = to;
                }
            }
        }
    }

    fn write(&mut self, offset: usize, bytes: &[u8]) {
        put(&mut self.seen, offset, bytes);
        self.unsynced.push(Unsynced::Write { offset, bytes: bytes.to_vec() });
    }

    fn set_len(&mut self, len: usize) {
        self.seen.resize(len, 0);
        self.unsynced.push(Unsynced::Len(len));
    }
}

fn put(file: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
    let end = offset + bytes.len();
    if file.len() < end {
        file.resize(end, 0);
    }
    file[offset..end].copy_from_slice(bytes);
}

/// One process's use of a [`FaultyDisk`].
#[derive(Debug)]
pub struct DiskLife {
    disk: FaultyDisk,
    born: u64,
}

impl DiskLife {
    /// Gives the file if this process may use it and no fault forbids that, which `forbids` decides.
    fn operate(&self, forbids: impl Fn(DiskFault) -> Option<io::ErrorKind>) -> io::Result<MutexGuard<'_, File>> {
        let mut file = self.disk.file();
        if file.life != self.born {
            return Err(io::Error::other("this process is dead"));
        }
        match file.planned {
            Some((0, fault)) => (file.planned, file.fault) = (None, Some(fault)),
            Some((n, fault)) => file.planned = Some((n - 1, fault)),
            None => {}
        }
        match file.fault {
            Some(DiskFault::Gone) => Err(io::Error::other("this process is dead")),
            Some(fault) => forbids(fault).map_or(Ok(file), |kind| Err(kind.into())),
            None => Ok(file),
        }
    }

    /// Tries to read: fails as a read of the file would now.
    ///
    /// # Errors
    ///
    /// As [`DiskFault`] says.
    pub fn try_read(&self) -> io::Result<()> {
        self.to_read().map(drop)
    }

    /// Tries to write something and make it durable: fails as either would now.
    ///
    /// # Errors
    ///
    /// As [`DiskFault`] says.
    pub fn try_write(&self) -> io::Result<()> {
        drop(self.to_write()?);
        self.sync_all()
    }

    fn to_read(&self) -> io::Result<MutexGuard<'_, File>> {
        self.operate(|fault| (fault == DiskFault::ReadFails).then_some(io::ErrorKind::Other))
    }

    fn to_write(&self) -> io::Result<MutexGuard<'_, File>> {
        self.operate(|fault| (fault == DiskFault::Full).then_some(io::ErrorKind::StorageFull))
    }

    fn sync_all(&self) -> io::Result<()> {
        let mut file = self.operate(|fault| (fault == DiskFault::SyncFails).then_some(io::ErrorKind::Other))?;
        for change in std::mem::take(&mut file.unsynced) {
            file.keep(&change, || true);
        }
        Ok(())
    }
}

fn place(offset: u64) -> io::Result<usize> {
    usize::try_from(offset).map_err(io::Error::other)
}

impl Disk for DiskLife {
    fn append(&self, bytes: &[u8]) -> io::Result<()> {
        let mut file = self.to_write()?;
        let end = file.seen.len();
        file.write(end, bytes);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_all()
    }

    fn read(&self) -> io::Result<Vec<u8>> {
        Ok(self.to_read()?.seen.clone())
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        let len = place(len)?;
        let mut file = self.to_write()?;
        if len < file.seen.len() {
            file.set_len(len);
        }
        Ok(())
    }
}

/// The same file as the embedded store wants it: read and written anywhere.
impl StorageBackend for DiskLife {
    fn len(&self) -> io::Result<u64> {
        Ok(self.to_read()?.seen.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let (file, from) = (self.to_read()?, place(offset)?);
        let found = from.checked_add(out.len()).and_then(|to| file.seen.get(from..to));
        out.copy_from_slice(found.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let len = place(len)?;
        self.to_write()?.set_len(len);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        self.sync_all()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let offset = place(offset)?;
        self.to_write()?.write(offset, data);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use turnkeep_host::Entropy;

    use super::*;

    /// Writes three sectors without a sync behind one with, and gives what so many power losses leave.
    fn left_behind() -> Vec<Vec<u8>> {
        let left = |seed| {
            let disk = FaultyDisk::new();
            let life = disk.life();
            life.append(&[b'k'; SECTOR]).unwrap();
            life.sync().unwrap();
            for letter in [b'a', b'b', b'c'] {
                life.append(&[letter; SECTOR]).unwrap();
            }
            disk.lose_power(&Entropy::from_seed(seed).draws());
            assert!(life.append(b"from the grave").is_err());
            Disk::read(&disk.life()).unwrap()
        };
        (0..64).map(left).collect()
    }

    #[test]
    fn a_power_loss_keeps_what_was_synced_and_any_part_of_the_rest() {
        let left = left_behind();

        assert!(left.iter().all(|bytes| bytes.starts_with(&[b'k'; SECTOR])));
        let shapes: std::collections::BTreeSet<Vec<u8>> =
            left.iter().map(|bytes| bytes.iter().step_by(SECTOR).copied().collect()).collect();
        // A sector that is lost before one that is kept reads as zeros.
        for shape in [&b"k"[..], b"ka", b"kabc", b"k\0b", b"k\0\0c", b"ka\0c"] {
            assert!(shapes.contains(shape), "{shape:?} is not among {shapes:?}");
        }
    }

    #[test]
    fn each_fault_refuses_what_it_is_about_until_it_is_mended() {
        let disk = FaultyDisk::new();
        let life = disk.life();
        let works = || (life.append(b"x").is_ok(), life.sync().is_ok(), Disk::read(&life).is_ok());

        for (fault, want) in [
            (DiskFault::Full, (false, true, true)),
            (DiskFault::SyncFails, (true, false, true)),
            (DiskFault::ReadFails, (true, true, false)),
            (DiskFault::Gone, (false, false, false)),
        ] {
            disk.fail(fault);
            assert_eq!(works(), want, "{fault:?}");
            disk.mend();
            assert_eq!(works(), (true, true, true), "mended of {fault:?}");
        }
        disk.fail_after(1, DiskFault::Full);
        assert_eq!((life.append(b"x").is_ok(), life.append(b"x").is_ok()), (true, false), "from the second one on");
    }
    #[test]
    fn a_wipe_leaves_an_empty_file_and_nobody_who_uses_it() {
        let disk = FaultyDisk::new();
        let life = disk.life();
        life.append(b"kept").unwrap();
        life.sync().unwrap();

        disk.wipe();

        assert!(life.append(b"from the grave").is_err());
        assert_eq!(Disk::read(&disk.life()).unwrap(), b"");
    }
}

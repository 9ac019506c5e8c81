//! A store in a folder of the real machine.

use std::fs::{self, File, OpenOptions};
use std::path::{Path, PathBuf};

use redb::backends::FileBackend;
use turnkeep_host::Host;

use super::{RedbStorage, failed};
use crate::StorageError;

/// The file in the folder.
const FILE: &str = "turnkeep.redb";

impl RedbStorage {
    /// Opens the store in a folder of this machine, and makes both when they are not there; they survive a power loss from then on.
    ///
    /// # Errors
    ///
    /// As [`RedbStorage::open`]; also when another process has the store open.
    pub async fn in_folder(host: &Host, folder: impl Into<PathBuf>) -> Result<Self, StorageError> {
        let folder = folder.into();
        let name = folder.join(FILE).display().to_string();
        let backend = host.blocking(move || backend(&folder)).await?;
        Self::open(host, &name, backend).await
    }
}

fn backend(folder: &Path) -> Result<FileBackend, StorageError> {
    // The folders that are new hang in one that stands already, and are durable only with it.
    let n_new = folder.ancestors().take_while(|place| !place.as_os_str().is_empty() && !place.exists()).count();
    fs::create_dir_all(folder)?;
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(folder.join(FILE))?;
    file.sync_all()?;
    // A new name is durable only with the folder that holds it.
    let folder = folder.canonicalize()?;
    for place in folder.ancestors().take(n_new.max(1) + 1) {
        File::open(place)?.sync_all()?;
    }
    FileBackend::new(file).map_err(failed)
}

//! Objects in a folder of the real machine.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use object_store::ObjectStore;
use object_store::local::LocalFileSystem;
use turnkeep_host::Host;

use crate::StorageError;

/// Opens an object store in a folder of this machine, and makes the folder when it is not there, in one that is. What is put there
/// survives a power loss. For [`Server::objects`](crate::Server::objects).
///
/// # Errors
///
/// [`StorageError::Disk`] when the folder cannot be made or read.
pub async fn objects_in_folder(host: &Host, folder: impl Into<PathBuf>) -> Result<Arc<dyn ObjectStore>, StorageError> {
    let folder = folder.into();
    Ok(Arc::new(host.blocking(move || open(&folder)).await?))
}

fn open(folder: &Path) -> io::Result<LocalFileSystem> {
    match fs::create_dir(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    // A new name is durable only with the folder that holds it.
    if let Some(parent) = folder.canonicalize()?.parent() {
        File::open(parent)?.sync_all()?;
    }
    Ok(LocalFileSystem::new_with_prefix(folder)?.with_fsync(true))
}

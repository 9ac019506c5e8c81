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
/// survives a power loss; what a crash left half written goes. For [`Server::new`](crate::Server::new).
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
    delete_half_written(folder)?;
    Ok(LocalFileSystem::new_with_prefix(folder)?.with_fsync(true))
}

/// Deletes the files into which bodies were being written when a server died. The object store names them like their object, `#` and a
/// number, and lists none of them; one server has the folder at a time, so nobody writes them now. Links are not followed.
fn delete_half_written(folder: &Path) -> io::Result<()> {
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                folders.push(entry.path());
            } else if entry.file_name().to_str().is_some_and(is_half_written) {
                fs::remove_file(entry.path())?;
            }
        }
    }
    Ok(())
}

fn is_half_written(name: &str) -> bool {
    let number = name.split_once(".json#").map(|(_, number)| number);
    number.is_some_and(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_crash_left_half_written_goes_and_all_else_stays() {
        let folder = tempfile::tempdir().unwrap();
        let session = folder.path().join("packets/p/dev/sessions/session_1");
        fs::create_dir_all(&session).unwrap();
        let names = ["1.json", "1.json#1", "2.json#17", "notes#1", "3.json#", "4.json#a1"];
        names.iter().for_each(|name| fs::write(session.join(name), "{").unwrap());

        open(folder.path()).unwrap();

        let mut left: Vec<String> =
            fs::read_dir(&session).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        left.sort();
        assert_eq!(left, ["1.json", "3.json#", "4.json#a1", "notes#1"]);
    }
}

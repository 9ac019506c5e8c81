//! A file whose making was cut short.
//!
//! redb makes a file long, syncs its first page and writes its magic number last, so that what has the number is whole. What has
//! none it refuses for ever, though: a power loss in the first moments of a store would leave a folder that no server opens.

use std::io;

use redb::StorageBackend;

/// What redb writes first while it makes a file: one page, in bytes, and behind it nothing.
const FIRST_PAGE: u64 = 4096;
/// redb's magic number, in bytes.
const MAGIC: usize = 9;
/// How much is read at once.
const CHUNK: u64 = 64 * 1024;

/// Empties a file that never became a store, so that it is made anew. A file that holds anything is left as it is.
pub(super) fn clear_unborn(backend: &impl StorageBackend) -> io::Result<()> {
    if is_unborn(backend)? {
        backend.set_len(0)?;
    }
    Ok(())
}

fn is_unborn(backend: &impl StorageBackend) -> io::Result<bool> {
    let len = backend.len()?;
    let mut magic = [0; MAGIC];
    if len < MAGIC as u64 {
        return Ok(false);
    }
    backend.read(0, &mut magic)?;
    if magic != [0; MAGIC] {
        return Ok(false);
    }
    let mut from = FIRST_PAGE;
    while from < len {
        let mut chunk = vec![0; usize::try_from(CHUNK.min(len - from)).expect("a chunk fits memory")];
        backend.read(from, &mut chunk)?;
        if chunk.iter().any(|byte| *byte != 0) {
            return Ok(false);
        }
        from += chunk.len() as u64;
    }
    Ok(true)
}

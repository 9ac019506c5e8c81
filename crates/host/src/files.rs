//! Files as a process sees them: only what the runtime reads by itself, such as the folders of skills.
//!
//! What a server keeps goes through its own storage; what an author keeps is the author's business.

use std::io;
use std::path::{Path, PathBuf};

use futures::future::BoxFuture;

/// Reads files. Paths that are not absolute start at the working directory.
pub trait Files: Send + Sync {
    /// Resolves every link, `.` and `..` of a path that exists.
    fn real_path(&self, path: &Path) -> BoxFuture<'static, io::Result<PathBuf>>;

    /// Reads the beginning of a plain file, never more than `max_bytes`; a folder, a pipe or a device is an error.
    fn read(&self, path: &Path, max_bytes: u64) -> BoxFuture<'static, io::Result<FileStart>>;
}

/// The beginning of a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FileStart {
    /// What was read.
    pub bytes: Vec<u8>,
    /// How long the whole file was then, in bytes; at least what was read.
    pub len: u64,
}

//! The real machine's files.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use futures::future::BoxFuture;

use super::off_thread;
use crate::{FileStart, Files};

pub(super) struct Disk;

impl Files for Disk {
    fn real_path(&self, path: &Path) -> BoxFuture<'static, io::Result<PathBuf>> {
        let path = path.to_owned();
        Box::pin(off_thread(move || fs::canonicalize(path)))
    }

    fn read(&self, path: &Path, max_bytes: u64) -> BoxFuture<'static, io::Result<FileStart>> {
        let path = path.to_owned();
        Box::pin(off_thread(move || read(&path, max_bytes)))
    }
}

fn read(path: &Path, max_bytes: u64) -> io::Result<FileStart> {
    // Asked before it is opened: opening a pipe waits for somebody to write into it.
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a plain file"));
    }
    let file = File::open(path)?;
    let len = file.metadata()?.len();
    let mut bytes = Vec::new();
    file.take(max_bytes).read_to_end(&mut bytes)?;
    let n_read = bytes.len() as u64;
    Ok(FileStart { bytes, len: len.max(n_read) })
}

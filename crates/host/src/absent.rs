//! What a host answers that has no such thing.

use std::io;
use std::path::{Path, PathBuf};

use futures::future::BoxFuture;

use crate::{Command, FileStart, Files, Finished, Processes};

/// The files and the processes of a host that has none: every call is an error that says so.
#[derive(Clone, Copy, Debug, Default)]
pub struct Absent;

impl Files for Absent {
    fn real_path(&self, _: &Path) -> BoxFuture<'static, io::Result<PathBuf>> {
        Box::pin(async { Err(absent("files")) })
    }

    fn read(&self, _: &Path, _: u64) -> BoxFuture<'static, io::Result<FileStart>> {
        Box::pin(async { Err(absent("files")) })
    }
}

impl Processes for Absent {
    fn run(&self, _: Command) -> BoxFuture<'static, io::Result<Finished>> {
        Box::pin(async { Err(absent("processes")) })
    }
}

fn absent(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::Unsupported, format!("there are no {what} here"))
}

//! [`MemoryFiles`]: the files of a host without a disk.

use std::collections::BTreeMap;
use std::io;
use std::path::{Component, Path, PathBuf};

use futures::future::BoxFuture;
use turnkeep_host::{FileStart, Files};

/// Files in memory, without links; the working directory is `/`.
///
/// ```
/// use turnkeep_harness::{MemoryFiles, offline_host};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let host = offline_host(7).with_files(MemoryFiles::new().file("skills/pdf/SKILL.md", "---\nname: pdf\n---\n"));
/// assert_eq!(host.files().read("/skills/pdf/SKILL.md".as_ref(), 3).await.unwrap().bytes, b"---");
/// # }
/// ```
#[derive(Clone, Debug, Default)]
pub struct MemoryFiles {
    files: BTreeMap<PathBuf, Vec<u8>>,
}

impl MemoryFiles {
    /// Makes an empty disk.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a file, and the folders on the way to it.
    #[must_use]
    pub fn file(mut self, path: impl AsRef<Path>, bytes: impl Into<Vec<u8>>) -> Self {
        self.files.insert(plain(path.as_ref()), bytes.into());
        self
    }
}

impl Files for MemoryFiles {
    fn real_path(&self, path: &Path) -> BoxFuture<'static, io::Result<PathBuf>> {
        let path = plain(path);
        let exists = self.files.keys().any(|file| file.starts_with(&path));
        let found = if exists { Ok(path) } else { Err(io::ErrorKind::NotFound.into()) };
        Box::pin(async { found })
    }

    fn read(&self, path: &Path, max_bytes: u64) -> BoxFuture<'static, io::Result<FileStart>> {
        let start = self.files.get(&plain(path)).map(|bytes| {
            let n_kept = usize::try_from(max_bytes).unwrap_or(usize::MAX).min(bytes.len());
            FileStart { bytes: bytes[..n_kept].to_vec(), len: bytes.len() as u64 }
        });
        Box::pin(async { start.ok_or_else(|| io::ErrorKind::NotFound.into()) })
    }
}

/// Gives a path from `/`, without `.` and `..`.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::from("/");
    for component in path.components() {
        match component {
            Component::Normal(name) => plain.push(name),
            Component::ParentDir => {
                plain.pop();
            }
            Component::Prefix(_) | Component::RootDir | Component::CurDir => {}
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn files_are_found_under_any_spelling_and_read_up_to_a_cap() {
        let files = MemoryFiles::new().file("a/b.txt", "hello");

        assert_eq!(files.real_path("/a/./x/..".as_ref()).await.unwrap(), Path::new("/a"));
        assert_eq!(files.real_path("a/c".as_ref()).await.unwrap_err().kind(), io::ErrorKind::NotFound);
        let start = files.read("/a/b.txt".as_ref(), 2).await.unwrap();
        assert_eq!(start, FileStart { bytes: b"he".to_vec(), len: 5 });
        assert_eq!(files.read("/a".as_ref(), 2).await.unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}

//! Other programs as a process sees them.

use std::io;
use std::path::PathBuf;

use futures::future::BoxFuture;

/// A program to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// The program's name or path.
    pub program: String,
    /// Its arguments, without the name.
    pub args: Vec<String>,
    /// The folder it starts in.
    pub folder: PathBuf,
    /// How many bytes are kept of each of its two outputs; the rest is read, so that the program goes on, and only counted.
    pub max_kept_bytes: usize,
}

/// Runs programs.
pub trait Processes: Send + Sync {
    /// Runs a program to its end, with an empty input. Dropping the future kills it and every process that it has started.
    ///
    /// What it has started and left behind is killed soon after its own end, once it holds an output open.
    fn run(&self, command: Command) -> BoxFuture<'static, io::Result<Finished>>;
}

/// A program that has ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Finished {
    /// The exit code; 128 and the signal's number for a program that a signal ended, as shells have it.
    pub exit_code: i32,
    /// What it wrote to its standard output.
    pub stdout: Kept,
    /// What it wrote to its standard error.
    pub stderr: Kept,
}

/// The beginning of an output.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    /// What was kept.
    pub bytes: Vec<u8>,
    /// How many bytes there were.
    pub n_bytes: u64,
}

impl Kept {
    /// Takes in `bytes`, keeping at most `max_kept_bytes` of all that came.
    pub fn take(&mut self, bytes: &[u8], max_kept_bytes: usize) {
        let room = max_kept_bytes.saturating_sub(self.bytes.len());
        self.bytes.extend_from_slice(&bytes[..bytes.len().min(room)]);
        self.n_bytes = self.n_bytes.saturating_add(bytes.len() as u64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_only_counted_a255() {
        let mut kept = Kept::default();

        kept.take(b"abc", 5);
        kept.take(b"defg", 5);
        kept.take(b"h", 5);

        assert_eq!(kept, Kept { bytes: b"abcde".to_vec(), n_bytes: 8 });
    }
}

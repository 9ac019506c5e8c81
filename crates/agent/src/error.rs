//! What can go wrong between a run and the session server, and what an author's code may throw.

use std::fmt;

/// What hooks, `run` and tools may fail with; `?` works on any error.
pub type HookError = Box<dyn std::error::Error + Send + Sync>;

/// A failure that ends a run or a worker's request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Another attempt holds the run now; nothing may be written any more (D-36).
    #[error("the lease of this run is lost")]
    LeaseLost,
    /// The run was cancelled from outside; nothing may be written any more.
    #[error("the run was cancelled")]
    RunCancelled,
    /// The session server gave no answer within the retry bound.
    #[error("{what} got no answer: {detail}")]
    Unreachable {
        /// The request.
        what: &'static str,
        /// The last failure seen.
        detail: String,
    },
    /// The session server refused for good.
    #[error("{what} was refused with {status}: {body}")]
    Refused {
        /// The request.
        what: &'static str,
        /// The HTTP status.
        status: u16,
        /// The answer's body, cut at 200 characters.
        body: String,
    },
    /// A chunk is larger than a record may be (A-17, S-175).
    #[error(transparent)]
    ChunkTooLarge(#[from] ChunkTooLarge),
    /// A hook failed where that fails the run.
    #[error("{hook} failed: {detail}")]
    Hook {
        /// The hook.
        hook: &'static str,
        /// What it threw.
        detail: String,
    },
    /// The run's payload cannot be used.
    #[error("bad run payload: {0}")]
    BadPayload(String),
    /// The worker's options cannot be used.
    #[error("{0}")]
    BadOptions(String),
    /// The author's code reported that memory ran out.
    #[error("out of memory")]
    OutOfMemory,
}

impl Error {
    /// Makes what a hook threw the failure of the run.
    pub(crate) fn of_hook(hook: &'static str, error: &HookError) -> Self {
        if error.is::<OutOfMemory>() {
            return Self::OutOfMemory;
        }
        match error.downcast_ref::<Self>() {
            Some(own) => own.clone(),
            None => Self::Hook { hook, detail: error.to_string() },
        }
    }

    /// Tells whether the same request may succeed later.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Unreachable { .. })
    }
}

/// Says that a chunk does not fit a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChunkTooLarge {
    /// The chunk's `type`, else its `kind`, else nothing.
    pub chunk_type: Option<String>,
    /// The size of the whole envelope in bytes.
    pub chunk_size: usize,
    /// The largest size that is taken.
    pub max_size: usize,
}

impl fmt::Display for ChunkTooLarge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = self.chunk_type.as_deref().unwrap_or("untyped");
        write!(f, "{kind} chunk of {} bytes exceeds the cap of {} bytes", self.chunk_size, self.max_size)
    }
}

impl std::error::Error for ChunkTooLarge {}

/// Throw this from a hook, `run` or a tool to say that memory ran out: the attempt ends at once and without a word. The next
/// one, if any is left (D-35), serves the message again unless its answer had begun; then what was said stays, closed as interrupted
/// (D-31, A-290).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, thiserror::Error)]
#[error("out of memory")]
pub struct OutOfMemory;

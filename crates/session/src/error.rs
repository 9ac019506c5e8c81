//! What ends a server, and what a store can fail with.

use std::io;

/// Why a server stopped or never started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The address could not be bound.
    #[error("cannot listen on {addr}: {source}")]
    Listen {
        /// The address as given.
        addr: String,
        /// Why.
        source: io::Error,
    },
    /// The objects are marked as another store's; nothing of either was changed (D-86).
    #[error("the chat snapshots belong to another store of sessions than this one")]
    ForeignObjects,
    /// Sessions name chat snapshots that are not there, and nothing says that the objects are this store's (D-86).
    #[error("{n_missing} chat snapshots are not there, and nothing marks the place as the one where they were kept")]
    MissingObjects {
        /// How many sessions name one that is not there.
        n_missing: usize,
    },
    /// The store failed. Nothing that was not durable has been answered (D-12).
    #[error("storage failed: {0}")]
    Storage(#[from] StorageError),
}

impl Error {
    /// Tells whether starting again may help: an address may become free, a full disk may be cleared.
    pub fn is_retryable(&self) -> bool {
        match self {
            // A folder may be mounted, a bucket named anew.
            Self::Listen { .. } | Self::MissingObjects { .. } => true,
            Self::ForeignObjects => false,
            Self::Storage(error) => error.is_retryable(),
        }
    }
}

/// A failed load or commit.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StorageError {
    /// The disk refused.
    #[error("disk: {0}")]
    Disk(#[from] io::Error),
    /// The journal holds something that no commit wrote.
    #[error("journal line {line} is corrupt: {reason}")]
    Corrupt {
        /// The line, from 1.
        line: usize,
        /// What the parser says.
        reason: String,
    },
    /// Another process has the store open.
    #[error("the store is in use by another process")]
    InUse,
    /// The file is of a version that this server does not know.
    #[error("store {file} has format {found}; this server knows {known} and older ones")]
    Format {
        /// The file.
        file: String,
        /// Its format's version.
        found: u64,
        /// The newest version that is known.
        known: u64,
    },
    /// The store was written before the first release, in a way that is not read any more.
    #[error("the store is older than the first release: {reason}")]
    Outdated {
        /// What it holds.
        reason: String,
    },
    /// The file holds something that no commit wrote.
    #[error("the store is damaged: {reason}")]
    Damaged {
        /// What was found.
        reason: String,
    },
}

impl StorageError {
    /// Tells whether the same call may succeed later.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Disk(_) | Self::InUse)
    }
}

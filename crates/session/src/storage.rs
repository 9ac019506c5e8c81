//! Where changes become durable: the [`Storage`] seam, and a store in memory with a journal on a [`Disk`].

mod disk;
mod memory;

use futures::future::BoxFuture;

pub use disk::{Disk, MemoryDisk};
pub use memory::MemoryStorage;

use crate::{Change, StorageError};

/// Keeps every change of a server, in order.
pub trait Storage: Send + Sync {
    /// Gives all committed changes in the order of their commits.
    ///
    /// # Errors
    ///
    /// [`StorageError`] when the store cannot be read or holds what no commit wrote.
    fn load(&self) -> BoxFuture<'_, Result<Vec<Change>, StorageError>>;

    /// Makes `changes` durable, all or nothing: on `Ok` they survive a crash (D-12).
    ///
    /// # Errors
    ///
    /// [`StorageError`] when that cannot be promised; the server then stops and answers nobody.
    fn commit(&self, changes: Vec<Change>) -> BoxFuture<'_, Result<(), StorageError>>;
}

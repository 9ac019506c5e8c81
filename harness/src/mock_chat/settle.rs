//! Tells when a turn is over for good: its snapshot is the last thing that a turn stores.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures::future::BoxFuture;
use tokio::sync::Notify;
use turnkeep_session::{Change, MemoryStorage, Storage, StorageError};

/// Counts the snapshots that are stored.
#[derive(Debug, Default)]
pub(super) struct Settled {
    turns: AtomicUsize,
    grown: Notify,
}

impl Settled {
    pub(super) fn count(&self) -> usize {
        self.turns.load(Ordering::SeqCst)
    }

    /// Waits until more than `turns` snapshots are stored.
    pub(super) async fn wait_beyond(&self, turns: usize) {
        loop {
            let grown = self.grown.notified();
            if self.count() > turns {
                return;
            }
            grown.await;
        }
    }
}

/// A storage that counts the snapshots it has made durable.
pub(super) struct WatchedStorage {
    inner: MemoryStorage,
    settled: Arc<Settled>,
}

impl WatchedStorage {
    pub(super) fn new(inner: MemoryStorage, settled: Arc<Settled>) -> Self {
        Self { inner, settled }
    }
}

impl Storage for WatchedStorage {
    fn load(&self) -> BoxFuture<'_, Result<Vec<Change>, StorageError>> {
        self.inner.load()
    }

    fn commit(&self, changes: Vec<Change>) -> BoxFuture<'_, Result<(), StorageError>> {
        let stored = changes.iter().filter(|change| matches!(change, Change::Snapshot { .. })).count();
        Box::pin(async move {
            self.inner.commit(changes).await?;
            if stored > 0 {
                self.settled.turns.fetch_add(stored, Ordering::SeqCst);
                self.settled.grown.notify_waiters();
            }
            Ok(())
        })
    }
}

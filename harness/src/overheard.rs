//! [`Overheard`]: a store beside which somebody hears what has become durable.

use std::sync::Arc;

use futures::future::BoxFuture;
use turnkeep_protocol::{ChannelName, PartId, Record, RunId, SeqNum, SessionId};
use turnkeep_session::{Bounds, Change, Loaded, Part, RunRow, Storage, StorageError, Windows};

/// Hears what a store does. What it is told of is durable already.
pub(crate) trait Ears: Send + Sync {
    /// Hears what a new life of the server begins with; `_store` has what that leaves out.
    ///
    /// # Errors
    ///
    /// [`StorageError`] when the store cannot be read; the life does not begin then.
    fn loaded<'a>(&'a self, _loaded: &'a Loaded, _store: &'a dyn Storage) -> BoxFuture<'a, Result<(), StorageError>> {
        Box::pin(async { Ok(()) })
    }

    /// Tells whether a change is worth its copy.
    fn wants(&self, _change: &Change) -> bool {
        true
    }

    /// Hears the wanted changes of one commit.
    fn stored(&self, changes: &[Change]);
}

/// A store, and who hears of it.
pub(crate) struct Overheard<E> {
    inner: Arc<dyn Storage>,
    ears: E,
}

impl<E> Overheard<E> {
    pub(crate) fn new(inner: Arc<dyn Storage>, ears: E) -> Self {
        Self { inner, ears }
    }
}

impl<E: Ears> Storage for Overheard<E> {
    fn load(&self, windows: Windows) -> BoxFuture<'_, Result<Loaded, StorageError>> {
        Box::pin(async move {
            let loaded = self.inner.load(windows).await?;
            self.ears.loaded(&loaded, &*self.inner).await?;
            Ok(loaded)
        })
    }

    fn commit(&self, changes: Vec<Change>) -> BoxFuture<'_, Result<(), StorageError>> {
        Box::pin(async move {
            let told: Vec<Change> = changes.iter().filter(|change| self.ears.wants(change)).cloned().collect();
            self.inner.commit(changes).await?;
            self.ears.stored(&told);
            Ok(())
        })
    }

    fn read(
        &self,
        session: SessionId,
        channel: ChannelName,
        from: SeqNum,
        bounds: Bounds,
    ) -> BoxFuture<'_, Result<Vec<Record>, StorageError>> {
        self.inner.read(session, channel, from, bounds)
    }

    fn part(
        &self,
        session: SessionId,
        channel: ChannelName,
        part: PartId,
    ) -> BoxFuture<'_, Result<Option<Part>, StorageError>> {
        self.inner.part(session, channel, part)
    }

    fn run(&self, run: RunId) -> BoxFuture<'_, Result<Option<RunRow>, StorageError>> {
        self.inner.run(run)
    }
}

//! The bodies of chat snapshots: objects beside the store (S §8, D-26).
//!
//! A body may be megabytes, and every turn replaces it; the store keeps only which object is a session's snapshot. A put goes
//!
//! 1. object: the body becomes durable under a name that was never used,
//! 2. row: the core makes that name the session's snapshot, fenced and in order as every write of a run (D-36, S-91),
//! 3. delete: the object that it replaced goes.
//!
//! So two puts never write over each other; which one counts is the core's decision, whatever the order in which they finish. A crash
//! in between leaves an object that no row names, or two; [`Objects::take`] deletes those before the next life of the server
//! serves. An object store therefore belongs to one store of sessions, and a [`mark`] says to which.

mod folder;
mod mark;

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt as _, PutMode, PutPayload};
use turnkeep_host::Draws;
use turnkeep_protocol::SessionId;

pub use self::folder::objects_in_folder;
use self::mark::{Mark, mark_of, mark_place};
use crate::{Environment, Error, SnapshotId, StorageError, StoreId};

/// How long the object store may take for one object.
const OBJECT_LIMIT: Duration = Duration::from_secs(20);

/// How long a start may look at the objects: the server answers nobody before, and the next start looks again.
const TAKE_LIMIT: Duration = Duration::from_secs(60);

/// Gives the place in its object store of a body that [`Change::Snapshot`](crate::Change::Snapshot) names.
pub fn object_place(environment: &Environment, session: &SessionId, object: SnapshotId) -> Path {
    folder(environment).join(session.as_str()).join(format!("{object}.json"))
}

/// Gives the folder of all sessions, beside the one key that readers see (S-195).
fn folder(environment: &Environment) -> Path {
    let Environment { project_ref, slug, .. } = environment;
    ["packets", project_ref, slug, "sessions"].into_iter().collect()
}

/// The objects of one environment.
pub(crate) struct Objects {
    store: Arc<dyn ObjectStore>,
    environment: Environment,
    names: Draws,
    owner: StoreId,
    /// Whether the mark was there, or was put, when the server started. Otherwise its absence says nothing about where a put goes.
    is_marked: bool,
}

impl Objects {
    /// Takes the objects of the store of sessions `owner`; `names` must not have been drawn from in an earlier life of the server.
    pub(crate) fn new(store: Arc<dyn ObjectStore>, environment: &Environment, names: Draws, owner: StoreId) -> Self {
        Self { store, environment: environment.clone(), names, owner, is_marked: false }
    }

    /// Puts a body under a new name; on `Ok` it survives a crash.
    ///
    /// Where the mark has gone since the start, nothing is put: what is there now is not where the other bodies are (D-86).
    pub(crate) async fn put(&self, session: &SessionId, body: Bytes) -> Result<SnapshotId, StorageError> {
        let object = SnapshotId(self.names.next_u64());
        let place = object_place(&self.environment, session, object);
        // A name that is taken after all must not be written over: another row may name it.
        let put = self.store.put_opts(&place, PutPayload::from_bytes(body), PutMode::Create.into());
        let (put, mark) = tokio::join!(within(put), self.mark());
        put?;
        // A mark that cannot be read now says nothing.
        if self.is_marked && matches!(mark, Ok(Mark::None | Mark::Foreign)) {
            self.delete(session, object).await;
            return Err(not_ours());
        }
        Ok(object)
    }

    /// Gets a body; nothing when there is none of that name.
    pub(crate) async fn get(&self, session: &SessionId, object: SnapshotId) -> Result<Option<Bytes>, StorageError> {
        self.get_at(&object_place(&self.environment, session, object)).await
    }

    /// Looks once more for a body that was not found, and tells how sure it is that there is none (D-86).
    ///
    /// # Errors
    ///
    /// [`StorageError`] when the mark cannot be read or is not this store's, so that nobody can say.
    pub(crate) async fn get_again(
        &self,
        session: &SessionId,
        object: SnapshotId,
    ) -> Result<Option<Bytes>, StorageError> {
        let mark = self.mark().await?;
        // In this order: whatever was away when the body was looked for, and came back before the mark was, has the body now.
        match self.get(session, object).await? {
            None if mark != Mark::Ours => Err(not_ours()),
            found => Ok(found),
        }
    }

    async fn get_at(&self, place: &Path) -> Result<Option<Bytes>, StorageError> {
        match within(async { self.store.get(place).await?.bytes().await }).await {
            Ok(body) => Ok(Some(body)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    async fn mark(&self) -> Result<Mark, StorageError> {
        let found = self.get_at(&mark_place(&self.environment)).await?;
        Ok(Mark::read(found.as_deref(), self.owner))
    }

    /// Deletes an object that no row names any more. What cannot be deleted stays for the next sweep.
    pub(crate) async fn delete(&self, session: &SessionId, object: SnapshotId) {
        let place = object_place(&self.environment, session, object);
        if let Err(error) = within(self.store.delete(&place)).await {
            tracing::warn!(%place, %error, "a replaced snapshot could not be deleted");
        }
    }

    /// Makes sure that these are the objects of this store, marks them if nothing does, and deletes every one that no row names: what
    /// crashes have left. None at all when rows name objects that are not there, or when no row names any: then these may be the only
    /// snapshots of a store that was put back as it was long ago; nor where the mark was not there before. Call it while nobody puts.
    /// `adopt` takes the objects whosesoever they are.
    ///
    /// # Errors
    ///
    /// [`Error::ForeignObjects`], [`Error::MissingObjects`]; [`Error::Storage`] when the objects cannot be looked at: then none is
    /// deleted, and an unmarked place stays unmarked until the next start.
    pub(crate) async fn take(
        &mut self,
        named: impl Iterator<Item = (SessionId, SnapshotId)>,
        adopt: bool,
    ) -> Result<Swept, Error> {
        let limited = tokio::time::timeout(TAKE_LIMIT, self.take_all(named, adopt)).await;
        limited.unwrap_or_else(|_| Err(StorageError::from(io::Error::from(io::ErrorKind::TimedOut)).into()))
    }

    async fn take_all(
        &mut self,
        named: impl Iterator<Item = (SessionId, SnapshotId)>,
        adopt: bool,
    ) -> Result<Swept, Error> {
        let mut missing: BTreeSet<Path> =
            named.map(|(session, object)| object_place(&self.environment, &session, object)).collect();
        let names_any = !missing.is_empty();
        let mark = self.mark().await?;
        let listed = self.store.list(Some(&folder(&self.environment))).map_ok(|meta| meta.location);
        let orphans = listed.try_filter(|place| std::future::ready(!missing.remove(place)));
        // All at once, for a store may not like to be changed while it is listed.
        let orphans: Vec<Path> = orphans.try_collect().await.map_err(broken)?;
        let (n_orphans, n_missing) = (orphans.len(), missing.len());
        if mark.judge(n_missing, adopt)? {
            self.put_mark(if adopt { PutMode::Overwrite } else { PutMode::Create }).await?;
        }
        self.is_marked = true;
        // Rows without their objects, objects without any row, a place that was not marked: what looks like an orphan may be all there is.
        if n_missing > 0 || !names_any || mark != Mark::Ours {
            return Ok(Swept { n_deleted: 0, n_spared: n_orphans, n_missing });
        }
        let mut deleted = self.store.delete_stream(futures::stream::iter(orphans.into_iter().map(Ok)).boxed());
        while let Some(place) = deleted.next().await {
            place.map_err(broken)?;
        }
        Ok(Swept { n_deleted: n_orphans, n_spared: 0, n_missing })
    }

    async fn put_mark(&self, mode: PutMode) -> Result<(), Error> {
        let (place, mark) = (mark_place(&self.environment), PutPayload::from_bytes(mark_of(self.owner)));
        let put = async {
            match self.store.put_opts(&place, mark, mode.into()).await {
                Err(object_store::Error::AlreadyExists { .. }) => Ok(false),
                put => put.map(|_| true),
            }
        };
        // Whoever was quicker has them.
        if within(put).await.map_err(StorageError::from)? { Ok(()) } else { Err(Error::ForeignObjects) }
    }
}

fn broken(error: object_store::Error) -> StorageError {
    io::Error::from(error).into()
}

/// Says that these are not the objects among which this store keeps its own.
fn not_ours() -> StorageError {
    io::Error::other("the chat snapshots that are there are not marked as this store's").into()
}

/// What stood in an object store when its server started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Swept {
    /// Objects that no row named; they are deleted.
    pub n_deleted: usize,
    /// Objects that no row named; they are left alone, for they may be another store's.
    pub n_spared: usize,
    /// Rows whose objects are not there: never the work of a crash.
    pub n_missing: usize,
}

impl Swept {
    /// Tells the operator.
    pub(crate) fn log(self) {
        let Self { n_deleted, n_spared, n_missing } = self;
        if n_deleted > 0 {
            tracing::info!(n_deleted, "deleted the snapshots that crashes have left behind");
        }
        if n_missing > 0 {
            tracing::error!(
                n_missing,
                "chats have lost their snapshots: they go on with what is still on their channels"
            );
        }
        if n_spared > 0 {
            tracing::warn!(n_spared, "snapshots that no chat names are left alone: they may be all there is of a chat");
        }
    }
}

async fn within<T>(work: impl Future<Output = object_store::Result<T>>) -> io::Result<T> {
    match tokio::time::timeout(OBJECT_LIMIT, work).await {
        Ok(result) => result.map_err(io::Error::from),
        Err(_) => Err(io::ErrorKind::TimedOut.into()),
    }
}

#[cfg(test)]
mod tests;

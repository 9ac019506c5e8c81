//! The bodies of chat snapshots: objects beside the store (S §8, D-26).
//!
//! A body may be megabytes, and every turn replaces it; the store keeps only which object is a session's snapshot. A put goes
//!
//! 1. object: the body becomes durable under a name that was never used,
//! 2. row: the core makes that name the session's snapshot, fenced and in order as every write of a run (D-36, S-91),
//! 3. delete: the object that it replaced goes.
//!
//! So two puts never write over each other; which one counts is the core's decision, whatever the order in which they finish. A crash
//! in between leaves an object that no row names, or two; [`Objects::sweep`] deletes those before the next life of the server
//! serves. An object store therefore belongs to one server.

mod folder;

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
use crate::{Environment, SnapshotId, StorageError};

/// How long the object store may take for one object.
const OBJECT_LIMIT: Duration = Duration::from_secs(20);

/// How long a start may look for what crashes have left: the server answers nobody before, and the next start looks again.
const SWEEP_LIMIT: Duration = Duration::from_secs(60);

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
}

impl Objects {
    /// Takes a store; `names` must not have been drawn from in an earlier life of the server.
    pub(crate) fn new(store: Arc<dyn ObjectStore>, environment: &Environment, names: Draws) -> Self {
        Self { store, environment: environment.clone(), names }
    }

    /// Puts a body under a new name; on `Ok` it survives a crash.
    pub(crate) async fn put(&self, session: &SessionId, body: Bytes) -> Result<SnapshotId, StorageError> {
        let object = SnapshotId(self.names.next_u64());
        let place = object_place(&self.environment, session, object);
        // A name that is taken after all must not be written over: another row may name it.
        let put = self.store.put_opts(&place, PutPayload::from_bytes(body), PutMode::Create.into());
        within(put).await?;
        Ok(object)
    }

    /// Gets a body; nothing when there is none.
    pub(crate) async fn get(&self, session: &SessionId, object: SnapshotId) -> Result<Option<Bytes>, StorageError> {
        let place = object_place(&self.environment, session, object);
        match within(async { self.store.get(&place).await?.bytes().await }).await {
            Ok(body) => Ok(Some(body)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Deletes an object that no row names any more. What cannot be deleted stays for the next sweep.
    pub(crate) async fn delete(&self, session: &SessionId, object: SnapshotId) {
        let place = object_place(&self.environment, session, object);
        if let Err(error) = within(self.store.delete(&place)).await {
            tracing::warn!(%place, %error, "a replaced snapshot could not be deleted");
        }
    }

    /// Deletes every object that no row names: what crashes have left. None at all when rows name objects that are not there, or when
    /// no row names any: then these may be the only snapshots of another store. Call it while nobody puts.
    pub(crate) async fn sweep(
        &self,
        named: impl Iterator<Item = (SessionId, SnapshotId)>,
    ) -> Result<Swept, StorageError> {
        let limited = tokio::time::timeout(SWEEP_LIMIT, self.sweep_all(named)).await;
        limited.unwrap_or_else(|_| Err(io::Error::from(io::ErrorKind::TimedOut).into()))
    }

    async fn sweep_all(&self, named: impl Iterator<Item = (SessionId, SnapshotId)>) -> Result<Swept, StorageError> {
        let mut missing: BTreeSet<Path> =
            named.map(|(session, object)| object_place(&self.environment, &session, object)).collect();
        let names_any = !missing.is_empty();
        let listed = self.store.list(Some(&folder(&self.environment))).map_ok(|meta| meta.location);
        let orphans = listed.try_filter(|place| std::future::ready(!missing.remove(place)));
        // All at once, for a store may not like to be changed while it is listed.
        let orphans: Vec<Path> = orphans.try_collect().await.map_err(io::Error::from)?;
        let (n_orphans, n_missing) = (orphans.len(), missing.len());
        // Rows without their objects, objects without any row: these are not the objects of this store as it is, and what looks like an
        // orphan may be all there is.
        if n_missing > 0 || !names_any {
            return Ok(Swept { n_deleted: 0, n_spared: n_orphans, n_missing });
        }
        let mut deleted = self.store.delete_stream(futures::stream::iter(orphans.into_iter().map(Ok)).boxed());
        while let Some(place) = deleted.next().await {
            place.map_err(io::Error::from)?;
        }
        Ok(Swept { n_deleted: n_orphans, n_spared: 0, n_missing })
    }
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

async fn within<T>(work: impl Future<Output = object_store::Result<T>>) -> io::Result<T> {
    match tokio::time::timeout(OBJECT_LIMIT, work).await {
        Ok(result) => result.map_err(io::Error::from),
        Err(_) => Err(io::ErrorKind::TimedOut.into()),
    }
}

#[cfg(test)]
mod tests {
    use object_store::memory::InMemory;
    use object_store::throttle::{ThrottleConfig, ThrottledStore};
    use turnkeep_host::Entropy;

    use super::*;

    #[tokio::test]
    async fn a_sweep_takes_what_no_row_names_and_counts_what_rows_name_in_vain_d26() {
        let objects =
            Objects::new(Arc::new(InMemory::new()), &Environment::new("env_1", "k"), Entropy::from_seed(1).draws());
        let sessions = ["session_1", "session_2", "session_3"].map(SessionId::new);
        let mut rows = Vec::new();
        for session in &sessions {
            rows.push((session.clone(), objects.put(session, Bytes::from_static(b"{}")).await.unwrap()));
        }
        let orphan = rows.pop().unwrap();
        objects.delete(&rows[0].0, rows[0].1).await;

        let another_stores = objects.sweep(std::iter::empty()).await.unwrap();
        let mixed_up = objects.sweep(rows.iter().cloned()).await.unwrap();
        let untouched = objects.get(&orphan.0, orphan.1).await.unwrap().is_some();
        let swept = objects.sweep(rows[1..].iter().cloned()).await.unwrap();

        assert_eq!(another_stores, Swept { n_deleted: 0, n_spared: 2, n_missing: 0 });
        assert_eq!((mixed_up, untouched), (Swept { n_deleted: 0, n_spared: 1, n_missing: 1 }, true));
        assert_eq!(swept, Swept { n_deleted: 1, n_spared: 0, n_missing: 0 });
        assert_eq!(objects.get(&orphan.0, orphan.1).await.unwrap(), None);
        assert!(objects.get(&rows[1].0, rows[1].1).await.unwrap().is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn a_store_that_does_not_answer_holds_a_start_up_for_a_minute_and_no_longer_d26() {
        let slow = ThrottleConfig { wait_list_per_call: 100 * SWEEP_LIMIT, ..ThrottleConfig::default() };
        let store = Arc::new(ThrottledStore::new(InMemory::new(), slow));
        let objects = Objects::new(store, &Environment::new("env_1", "k"), Entropy::from_seed(1).draws());
        let began = tokio::time::Instant::now();

        let swept = objects.sweep(std::iter::empty()).await;

        assert!(swept.is_err(), "{swept:?}");
        assert_eq!(began.elapsed(), SWEEP_LIMIT);
    }
}

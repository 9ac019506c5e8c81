//! [`Deferred`]: work that a chat's turns leave under way.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::FutureExt;
use tokio::sync::{Notify, Semaphore};
use turnkeep_host::{Host, Tasks};

use crate::error::HookError;

/// How long a turn, a suspend and an exit wait for deferred work.
const DEFERRED_LIMIT: Duration = Duration::from_secs(5);

/// How many pieces of deferred work may be under way; more wait for their places.
const MAX_DEFERRED: usize = 1024;

/// Everything that was deferred in a run. Dropping it drops what still runs.
///
/// It belongs to the task around the run, so that what cares for work elsewhere can still end that when the run itself is gone,
/// and the chat only refers to it: deferred work may hold the chat.
pub(crate) struct Deferred {
    tasks: Tasks,
    places: Arc<Semaphore>,
    left: Arc<Left>,
}

/// What is not done yet, whether it has its place or not.
#[derive(Default)]
struct Left {
    count: AtomicUsize,
    none: Notify,
}

/// One piece that is not done; it is once this is dropped.
struct Piece(Arc<Left>);

impl Piece {
    fn new(left: &Arc<Left>) -> Self {
        left.count.fetch_add(1, Ordering::SeqCst);
        Self(left.clone())
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        if self.0.count.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.0.none.notify_waiters();
        }
    }
}

impl Deferred {
    pub(crate) fn new() -> Self {
        Self { tasks: Tasks::new(), places: Arc::new(Semaphore::new(MAX_DEFERRED)), left: Arc::default() }
    }

    /// Starts a piece.
    pub(crate) fn add(&self, host: &Host, work: impl Future<Output = Result<(), HookError>> + Send + 'static) {
        // Counted before the task starts, so that a wait right after sees it.
        let (piece, places) = (Piece::new(&self.left), self.places.clone());
        self.tasks.add(host.spawn(async move {
            let place = places.acquire_owned().await.expect("the semaphore is never closed");
            // A panic is the work's own affair, like its error.
            let _ = AssertUnwindSafe(work).catch_unwind().await;
            drop((place, piece));
        }));
    }

    /// Waits until all is done, what comes in meanwhile too, at most [`DEFERRED_LIMIT`]; work that takes longer goes on.
    pub(crate) async fn settle(&self) {
        let _ = tokio::time::timeout(DEFERRED_LIMIT, self.left.wait()).await;
    }
}

impl Left {
    async fn wait(&self) {
        loop {
            let none = self.none.notified();
            tokio::pin!(none);
            // Registered before the look: an end in between is not missed.
            none.as_mut().enable();
            if self.count.load(Ordering::SeqCst) == 0 {
                return;
            }
            none.await;
        }
    }
}

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

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use tokio::time::{Instant, sleep};

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn what_is_deferred_while_one_waits_is_waited_for_too_a177() {
        let (host, deferred, done) = (Host::os(), Arc::new(Deferred::new()), Arc::new(Mutex::new(Vec::new())));
        let (inner, note) = (deferred.clone(), done.clone());
        deferred.add(&host, async move {
            sleep(SECOND).await;
            let within = note.clone();
            inner.add(&Host::os(), async move {
                sleep(SECOND).await;
                within.lock().unwrap().push("inner");
                Ok(())
            });
            note.lock().unwrap().push("outer");
            Err("is nobody's affair".into())
        });
        let began = Instant::now();

        deferred.settle().await;

        assert_eq!((done.lock().unwrap().join(" "), began.elapsed()), ("outer inner".to_owned(), SECOND * 2));
    }

    #[tokio::test(start_paused = true)]
    async fn the_wait_is_bounded_and_late_work_goes_on_until_the_run_is_gone_a177() {
        let (host, deferred, done) = (Host::os(), Deferred::new(), Arc::new(Mutex::new(0)));
        for _ in 0..2 {
            let done = done.clone();
            deferred.add(&host, async move {
                for _ in 0..60 {
                    sleep(SECOND).await;
                    *done.lock().unwrap() += 1;
                }
                panic!("is nobody's affair either");
            });
        }
        let began = Instant::now();

        deferred.settle().await;
        assert_eq!(began.elapsed(), DEFERRED_LIMIT);
        sleep(SECOND * 4 + SECOND / 2).await;
        assert_eq!(*done.lock().unwrap(), 18, "it goes on");
        drop(deferred);
        sleep(SECOND * 100).await;

        assert_eq!(*done.lock().unwrap(), 18);
    }

    #[tokio::test(start_paused = true)]
    async fn more_than_may_be_under_way_wait_for_their_places_and_are_waited_for_a177() {
        let (host, deferred, running) = (Host::os(), Deferred::new(), Arc::new(Mutex::new((0, 0))));
        for _ in 0..MAX_DEFERRED + 10 {
            let running = running.clone();
            deferred.add(&host, async move {
                {
                    let mut running = running.lock().unwrap();
                    running.0 += 1;
                    running.1 = running.0.max(running.1);
                }
                sleep(SECOND).await;
                running.lock().unwrap().0 -= 1;
                Ok(())
            });
        }
        let began = Instant::now();

        deferred.settle().await;

        assert_eq!((*running.lock().unwrap(), began.elapsed()), ((0, MAX_DEFERRED), SECOND * 2));
    }
}

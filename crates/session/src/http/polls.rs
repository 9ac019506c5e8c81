//! Lease requests that are being held: a worker has one at a time (D-35).
//!
//! A worker that lost its power or was cut off leaves a request behind with nobody at its other end, and a run given to it would
//! lie there until the lease lapses. So the newest request of a worker ends the ones before it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;
use turnkeep_protocol::WorkerId;

/// The newest held request of every worker that has one.
#[derive(Debug, Default)]
pub(super) struct Polls {
    newest: Mutex<BTreeMap<WorkerId, Arc<Place>>>,
}

/// One request's place; once it is lost it is lost for good.
#[derive(Debug, Default)]
pub(super) struct Place {
    lost: AtomicBool,
    bell: Notify,
}

impl Place {
    /// Tells whether a newer request has come.
    pub(super) fn is_lost(&self) -> bool {
        self.lost.load(Ordering::SeqCst)
    }
}

/// A held request; dropping it frees its place.
#[derive(Debug)]
pub(super) struct Poll<'a> {
    polls: &'a Polls,
    worker: WorkerId,
    place: Arc<Place>,
}

impl Polls {
    /// Takes the worker's place, from an older request if there is one.
    pub(super) fn hold(&self, worker: &WorkerId) -> Poll<'_> {
        let place = Arc::new(Place::default());
        let mut newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(older) = newest.insert(worker.clone(), place.clone()) {
            older.lost.store(true, Ordering::SeqCst);
            older.bell.notify_one();
        }
        Poll { polls: self, worker: worker.clone(), place }
    }
}

impl Poll<'_> {
    /// Gives the place, for whoever decides about a run.
    pub(super) fn place(&self) -> Arc<Place> {
        self.place.clone()
    }

    /// Waits until a newer request of the worker takes the place.
    pub(super) async fn lost(&self) {
        if !self.place.is_lost() {
            // Rung once, after the place was lost; a ring before this wait is kept for it.
            self.place.bell.notified().await;
        }
    }
}

impl Drop for Poll<'_> {
    fn drop(&mut self) {
        let mut newest = self.polls.newest.lock().unwrap_or_else(PoisonError::into_inner);
        if newest.get(&self.worker).is_some_and(|place| Arc::ptr_eq(place, &self.place)) {
            newest.remove(&self.worker);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    #[test]
    fn the_newest_request_of_a_worker_ends_the_one_before_it_and_nobody_elses_d35() {
        let polls = Polls::default();
        let (old, other) = (polls.hold(&WorkerId::new("w1")), polls.hold(&WorkerId::new("w2")));
        assert!(old.lost().now_or_never().is_none());

        let new = polls.hold(&WorkerId::new("w1"));

        assert_eq!([&old, &new, &other].map(|poll| poll.place().is_lost()), [true, false, false]);
        assert_eq!([&old, &new, &other].map(|poll| poll.lost().now_or_never().is_some()), [true, false, false]);
        assert!(old.lost().now_or_never().is_some(), "lost for good");
    }

    #[test]
    fn a_request_that_is_over_leaves_nothing_behind_and_an_older_one_takes_nothing_along() {
        let polls = Polls::default();
        let worker = WorkerId::new("w1");
        let old = polls.hold(&worker);
        let new = polls.hold(&worker);

        drop(old);
        assert!(polls.newest.lock().unwrap().contains_key(&worker), "the newer one is still held");
        drop(new);

        assert!(polls.newest.lock().unwrap().is_empty());
    }
}

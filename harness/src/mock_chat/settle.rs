//! Tells when a turn is over for good: boundary, hooks, and the snapshot where the agent has one.

use std::sync::atomic::{AtomicUsize, Ordering};

use futures::FutureExt as _;
use futures::future::BoxFuture;
use tokio::sync::Notify;
use turnkeep_agent::{Checkpoint, Checkpoints, Place};

/// Counts the turns that are over.
#[derive(Debug, Default)]
pub(super) struct Settled {
    turns: AtomicUsize,
    grown: Notify,
}

impl Settled {
    pub(super) fn count(&self) -> usize {
        self.turns.load(Ordering::SeqCst)
    }

    /// Waits until more than `turns` turns are over.
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

impl Checkpoints for Settled {
    fn reach(&self, checkpoint: &Checkpoint) -> BoxFuture<'static, ()> {
        if matches!(checkpoint.place, Place::TurnEnd { .. }) {
            self.turns.fetch_add(1, Ordering::SeqCst);
            self.grown.notify_waiters();
        }
        futures::future::ready(()).boxed()
    }
}

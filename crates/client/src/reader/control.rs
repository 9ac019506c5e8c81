//! Signals from outside into a running reader: hurry, drop the connection, stop.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

#[derive(Debug, Default)]
struct Signals {
    cancelled: bool,
    force: bool,
    hurry: bool,
    /// A backoff is running; only then does a hurry mean anything (C-47).
    waiting: bool,
}

/// What a reader and its handles share.
#[derive(Debug, Default)]
pub(crate) struct Control {
    signals: Mutex<Signals>,
    changed: Notify,
}

impl Control {
    fn signals(&self) -> MutexGuard<'_, Signals> {
        self.signals.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn is_cancelled(&self) -> bool {
        self.signals().cancelled
    }

    /// Takes a forced drop, so that several calls act once (C-48).
    pub(crate) fn take_force(&self) -> bool {
        std::mem::take(&mut self.signals().force)
    }

    pub(crate) fn set_waiting(&self, waiting: bool) {
        let mut signals = self.signals();
        signals.waiting = waiting;
        signals.hurry &= waiting;
    }

    /// Waits until the subscription is cancelled.
    pub(crate) async fn cancelled(&self) {
        self.until(|signals| signals.cancelled).await;
    }

    /// Waits until the attempt in progress must be dropped.
    pub(crate) async fn interrupted(&self) {
        self.until(|signals| signals.cancelled || signals.force).await;
    }

    /// Waits until a backoff must end early (C-47, C-48, C-50).
    pub(crate) async fn hurried(&self) {
        self.until(|signals| signals.cancelled || signals.force || signals.hurry).await;
    }

    async fn until(&self, holds: impl Fn(&Signals) -> bool) {
        loop {
            if holds(&self.signals()) {
                return;
            }
            // A signal between the check and the wait leaves a permit, so none is missed.
            self.changed.notified().await;
        }
    }

    fn change(&self, change: impl FnOnce(&mut Signals)) {
        change(&mut self.signals());
        self.changed.notify_one();
    }
}

/// Reaches into a [`Reader`](crate::Reader) that is busy elsewhere; cheap to clone.
#[derive(Clone, Debug)]
pub struct ReaderHandle {
    control: Arc<Control>,
}

impl ReaderHandle {
    pub(crate) fn new(control: Arc<Control>) -> Self {
        Self { control }
    }

    /// Ends a running backoff at once; at any other time does nothing (C-47).
    pub fn retry_now(&self) {
        self.control.change(|signals| signals.hurry |= signals.waiting);
    }

    /// Drops the attempt in progress, or ends the backoff, and takes the normal retry path (C-48, C-49).
    pub fn force_reconnect(&self) {
        self.control.change(|signals| signals.force = true);
    }

    /// Ends the subscription: the output closes normally and no attempt follows (C-39, C-50).
    pub fn cancel(&self) {
        self.control.change(|signals| signals.cancelled = true);
    }
}

//! [`Signal`]: a stop that anybody may hear and nobody can take back.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

/// Tells whether, and why, the turn was stopped; cheap to clone.
#[derive(Clone, Default)]
pub struct Signal {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    reason: Mutex<Option<String>>,
    set: Notify,
}

impl Signal {
    /// Makes a signal that nobody has set.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the signal; the first reason stays.
    pub fn set(&self, reason: &str) {
        let mut slot = self.shared.reason.lock().unwrap_or_else(PoisonError::into_inner);
        slot.get_or_insert_with(|| reason.to_owned());
        drop(slot);
        self.shared.set.notify_waiters();
    }

    /// Tells whether the signal is set.
    pub fn is_set(&self) -> bool {
        self.reason().is_some()
    }

    /// Tells whether setting one sets the other.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.shared, &other.shared)
    }

    /// Gives the reason, once the signal is set.
    pub fn reason(&self) -> Option<String> {
        self.shared.reason.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until the signal is set and gives the reason. Cancel-safe.
    pub async fn wait(&self) -> String {
        loop {
            let notified = self.shared.set.notified();
            tokio::pin!(notified);
            // Registered before the look: a signal set in between is not missed.
            notified.as_mut().enable();
            if let Some(reason) = self.reason() {
                return reason;
            }
            notified.await;
        }
    }
}

impl fmt::Debug for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Signal").field(&self.reason()).finish()
    }
}

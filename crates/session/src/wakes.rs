//! Bells that ring after a commit. A bell says "look again", never what is new.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;
use turnkeep_protocol::{ChannelName, WaitpointId};

/// What a sleeper waits for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Wake {
    /// A channel has grown, or its session or run has changed; by addressing key, so that a reader may come before the row (S-57).
    Channel(String, ChannelName),
    /// A waitpoint has completed or is gone.
    Waitpoint(WaitpointId),
    /// A run was queued.
    Queue,
}

impl Wake {
    /// Gives the bells of both channels.
    pub(crate) fn both(key: &str) -> [Self; 2] {
        [ChannelName::In, ChannelName::Out].map(|channel| Self::Channel(key.to_owned(), channel))
    }
}

/// All bells that somebody may be listening to.
#[derive(Debug, Default)]
pub(crate) struct Wakes {
    bells: Mutex<BTreeMap<Wake, Arc<Notify>>>,
}

impl Wakes {
    /// Gives the bell of `wake`. Enable its `Notified` before reading, or the ring in between is missed.
    pub(crate) fn bell(&self, wake: Wake) -> Arc<Notify> {
        self.bells.lock().unwrap_or_else(PoisonError::into_inner).entry(wake).or_default().clone()
    }

    /// Rings every bell once and forgets those that nobody holds.
    pub(crate) fn ring(&self, wakes: impl IntoIterator<Item = Wake>) {
        let mut bells = self.bells.lock().unwrap_or_else(PoisonError::into_inner);
        for wake in wakes.into_iter().collect::<BTreeSet<_>>() {
            if let Some(bell) = bells.get(&wake) {
                bell.notify_waiters();
                if Arc::strong_count(bell) == 1 {
                    bells.remove(&wake);
                }
            }
        }
    }
}

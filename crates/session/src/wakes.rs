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
    bells: Mutex<Bells>,
}

#[derive(Debug, Default)]
struct Bells {
    by_wake: BTreeMap<Wake, Arc<Notify>>,
    /// At this size the bells that nobody holds are forgotten.
    sweep_at: usize,
}

/// Fewer bells than this are never swept.
const FEW: usize = 64;

impl Wakes {
    /// Gives the bell of `wake`. Enable its `Notified` before reading, or the ring in between is missed.
    pub(crate) fn bell(&self, wake: Wake) -> Arc<Notify> {
        let mut bells = self.bells.lock().unwrap_or_else(PoisonError::into_inner);
        if bells.by_wake.len() >= bells.sweep_at.max(FEW) {
            bells.by_wake.retain(|_, bell| Arc::strong_count(bell) > 1);
            bells.sweep_at = bells.by_wake.len() * 2;
        }
        bells.by_wake.entry(wake).or_default().clone()
    }

    /// Rings every bell once and forgets those that nobody holds.
    pub(crate) fn ring(&self, wakes: impl IntoIterator<Item = Wake>) {
        let mut bells = self.bells.lock().unwrap_or_else(PoisonError::into_inner);
        for wake in wakes.into_iter().collect::<BTreeSet<_>>() {
            if let Some(bell) = bells.by_wake.get(&wake) {
                bell.notify_waiters();
                if Arc::strong_count(bell) == 1 {
                    bells.by_wake.remove(&wake);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    fn waitpoint(n: usize) -> Wake {
        Wake::Waitpoint(WaitpointId::new(n.to_string()))
    }

    #[test]
    fn a_ring_between_enabling_and_waiting_is_heard() {
        let wakes = Wakes::default();
        let bell = wakes.bell(Wake::Queue);
        let mut heard = std::pin::pin!(bell.notified());
        heard.as_mut().enable();

        wakes.ring([Wake::Queue, waitpoint(1)]);

        assert!(heard.now_or_never().is_some());
    }

    #[test]
    fn bells_that_nobody_holds_are_forgotten() {
        let wakes = Wakes::default();
        let held = wakes.bell(Wake::Queue);

        for n in 0..10_000 {
            wakes.bell(waitpoint(n));
        }

        let bells = wakes.bells.lock().unwrap();
        assert!(bells.by_wake.len() <= FEW, "{}", bells.by_wake.len());
        assert!(Arc::ptr_eq(&held, &bells.by_wake[&Wake::Queue]));
    }
}

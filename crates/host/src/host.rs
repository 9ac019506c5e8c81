//! [`Host`]: the one seam between our code and its machine.

use std::fmt;
use std::future::Future;
use std::sync::Arc;

use crate::{Clock, Entropy, Net, Spawn, Task};

/// The parts a host is built from. `Host::os()`, the world and the offline harness each bring their own (D-48).
pub struct HostParts {
    /// Wall time.
    pub clock: Arc<dyn Clock>,
    /// Connections and listeners.
    pub net: Arc<dyn Net>,
    /// The root of this host's random streams.
    pub entropy: Entropy,
    /// Where tasks run.
    pub spawner: Arc<dyn Spawn>,
}

/// One machine as a process sees it; cheap to clone.
#[derive(Clone)]
pub struct Host {
    parts: Arc<HostParts>,
}

impl Host {
    /// Builds the host of a production process: the system clock, TCP, the system's entropy, tokio's scheduler.
    pub fn os() -> Self {
        Self::from_parts(crate::os::parts())
    }

    /// Builds a host from parts, for worlds other than the real one.
    pub fn from_parts(parts: HostParts) -> Self {
        Self { parts: Arc::new(parts) }
    }

    /// Gives the wall clock.
    pub fn clock(&self) -> &dyn Clock {
        &*self.parts.clock
    }

    /// Gives the network.
    pub fn net(&self) -> &dyn Net {
        &*self.parts.net
    }

    /// Gives the root of this host's random streams; take a [`Entropy::child`] per purpose.
    pub fn entropy(&self) -> &Entropy {
        &self.parts.entropy
    }

    /// Runs `future` in the background until it ends or the [`Task`] is dropped.
    pub fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) -> Task {
        Task::start(&self.parts.spawner, future)
    }
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Host")
    }
}

//! [`Host`]: the one seam between our code and its machine.

use std::fmt;
use std::future::Future;
use std::sync::Arc;

use tokio::sync::oneshot;

use crate::{Blocking, Clock, Entropy, Files, Net, Processes, Spawn, Task};

/// The parts a host is built from. `Host::os()`, the world and the offline harness each bring their own (D-48).
#[derive(Clone)]
pub struct HostParts {
    /// Wall time.
    pub clock: Arc<dyn Clock>,
    /// Connections and listeners.
    pub net: Arc<dyn Net>,
    /// The root of this host's random streams.
    pub entropy: Entropy,
    /// Where tasks run.
    pub spawner: Arc<dyn Spawn>,
    /// Where work may block its thread.
    pub blocking: Arc<dyn Blocking>,
    /// Files.
    pub files: Arc<dyn Files>,
    /// Other programs.
    pub processes: Arc<dyn Processes>,
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

    /// Gives the files of this machine.
    pub fn files(&self) -> &dyn Files {
        &*self.parts.files
    }

    /// Gives what runs other programs on this machine.
    pub fn process(&self) -> &dyn Processes {
        &*self.parts.processes
    }

    /// Gives the same host with another network, for tests.
    #[must_use]
    pub fn with_net(&self, net: impl Net + 'static) -> Self {
        Self::from_parts(HostParts { net: Arc::new(net), ..(*self.parts).clone() })
    }

    /// Gives the same host with another wall clock, for tests.
    #[must_use]
    pub fn with_clock(&self, clock: impl Clock + 'static) -> Self {
        Self::from_parts(HostParts { clock: Arc::new(clock), ..(*self.parts).clone() })
    }

    /// Gives the same host with other files, for tests.
    #[must_use]
    pub fn with_files(&self, files: impl Files + 'static) -> Self {
        Self::from_parts(HostParts { files: Arc::new(files), ..(*self.parts).clone() })
    }

    /// Gives the same host with other programs, for tests.
    #[must_use]
    pub fn with_processes(&self, processes: impl Processes + 'static) -> Self {
        Self::from_parts(HostParts { processes: Arc::new(processes), ..(*self.parts).clone() })
    }

    /// Runs `work`, which may block its thread: on a thread of its own in production, in place elsewhere (D-50).
    ///
    /// Dropping the future does not end the work.
    ///
    /// # Panics
    ///
    /// When `work` does.
    pub async fn blocking<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        let (done, result) = oneshot::channel();
        let work = Box::new(move || {
            // Whoever no longer waits has been told by its own cancellation.
            let _ = done.send(work());
        });
        self.parts.blocking.run(work).await;
        result.await.expect("the work has ended, or its panic would be ours")
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

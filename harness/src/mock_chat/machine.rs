//! The worker's machine: an offline host that counts its tasks and remembers whom it could not reach.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use futures::future::BoxFuture;
use tokio::task::AbortHandle;
use turnkeep_host::{Connection, Host, HostParts, Listener, Net, Spawn};

use crate::watched::Watched;

/// What a worker's machine was seen to do.
#[derive(Debug, Clone, Default)]
pub(super) struct Watch {
    n_tasks: Arc<Watched<usize>>,
    refused: Arc<Mutex<Vec<String>>>,
}

impl Watch {
    /// Makes the watched machine from the parts of another.
    pub(super) fn host(&self, parts: HostParts) -> Host {
        let net = Arc::new(WatchedNet { inner: parts.net, refused: self.refused.clone() });
        let spawner = Arc::new(CountingSpawn { inner: parts.spawner, n_tasks: self.n_tasks.clone() });
        Host::from_parts(HostParts { net, spawner, ..parts })
    }

    /// Counts the tasks that still run.
    pub(super) fn n_tasks(&self) -> usize {
        self.n_tasks.look(|n_tasks| *n_tasks)
    }

    /// Waits until no task runs.
    pub(super) async fn until_idle(&self) {
        self.n_tasks.until(|n_tasks| (*n_tasks == 0).then_some(())).await;
    }

    /// Gives the addresses that somebody dialled and nobody listens on: a real model, a real service.
    pub(super) fn refused(&self) -> Vec<String> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

struct CountingSpawn {
    inner: Arc<dyn Spawn>,
    n_tasks: Arc<Watched<usize>>,
}

/// Counts a task for as long as it lives.
struct Counted(Arc<Watched<usize>>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.change(|n_tasks| *n_tasks -= 1);
    }
}

impl Spawn for CountingSpawn {
    fn spawn(&self, future: BoxFuture<'static, ()>) -> AbortHandle {
        self.n_tasks.change(|n_tasks| *n_tasks += 1);
        let counted = Counted(self.n_tasks.clone());
        self.inner.spawn(Box::pin(async move {
            future.await;
            drop(counted);
        }))
    }
}

struct WatchedNet {
    inner: Arc<dyn Net>,
    refused: Arc<Mutex<Vec<String>>>,
}

impl Net for WatchedNet {
    fn dial<'a>(&'a self, authority: &'a str) -> BoxFuture<'a, io::Result<Connection>> {
        Box::pin(async move {
            let dialled = self.inner.dial(authority).await;
            if let Err(error) = &dialled
                && error.kind() == io::ErrorKind::ConnectionRefused
            {
                let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
                if !refused.iter().any(|known| known == authority) {
                    refused.push(authority.to_owned());
                }
            }
            dialled
        })
    }

    fn listen<'a>(&'a self, addr: &'a str) -> BoxFuture<'a, io::Result<Box<dyn Listener>>> {
        self.inner.listen(addr)
    }
}

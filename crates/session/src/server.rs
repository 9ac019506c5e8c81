//! [`Server`]: what an operator builds and serves.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use turnkeep_host::http::{Shutdown, serve_until};
use turnkeep_host::{Host, Listener};

use crate::actor::Driver;
use crate::core::Core;
use crate::http::{App, router};
use crate::objects::Objects;
use crate::storage::WINDOWS;
use crate::{Change, Environment, Error, ObjectStore, Storage, StoreId};

/// A session server before it listens.
pub struct Server {
    host: Host,
    storage: Arc<dyn Storage>,
    objects: Arc<dyn ObjectStore>,
    environment: Environment,
    lease: Duration,
    drain_limit: Duration,
    adopts: bool,
}

impl Server {
    /// Makes a server of one environment over a store, with the objects that hold the bodies of its chat snapshots.
    ///
    /// A store that lasts wants objects that last ([`objects_in_folder`](crate::objects_in_folder)), one in memory those of
    /// [`InMemoryObjects`](crate::InMemoryObjects): a chat whose snapshot is lost goes on with what is still on its channels (D-86).
    /// Objects belong to one store, and are marked as its own: what it does not name is deleted when the server starts, and a server
    /// does not start on another store's ([`Server::adopt_objects`]).
    pub fn new(host: Host, storage: Arc<dyn Storage>, objects: Arc<dyn ObjectStore>, environment: Environment) -> Self {
        let (lease, drain_limit) = (Duration::from_secs(10), Duration::from_secs(20));
        Self { host, storage, objects, environment, lease, drain_limit, adopts: false }
    }

    /// Says whether to take the objects though they are marked as another store's, or lack what sessions name and are not marked at
    /// all: for once, when they are known to be all that is left (D-86). Chats whose snapshots are not there go on with what is still
    /// on their channels; what no session names goes at the start after this one. No by default.
    #[must_use]
    pub fn adopt_objects(mut self, adopts: bool) -> Self {
        self.adopts = adopts;
        self
    }

    /// Sets how long a worker may be silent before its run's next attempt starts (D-35); 10 s by default.
    #[must_use]
    pub fn lease(mut self, lease: Duration) -> Self {
        self.lease = lease;
        self
    }

    /// Sets how long a server that is told to stop lets the requests under way finish; 20 s by default.
    #[must_use]
    pub fn drain_limit(mut self, limit: Duration) -> Self {
        self.drain_limit = limit;
        self
    }

    /// Serves on `addr` (`ip:port`) until the future is dropped.
    ///
    /// # Errors
    ///
    /// [`Error`] when the address is taken or the store fails; what was answered before stays durable.
    pub async fn serve(self, addr: &str) -> Result<Infallible, Error> {
        self.bind(addr).await?.run().await
    }

    /// Loads the store and listens on `addr`; connections wait until [`BoundServer::run`].
    ///
    /// # Errors
    ///
    /// [`Error`] when the store cannot be loaded, the address is taken, or the objects are not this store's.
    pub async fn bind(self, addr: &str) -> Result<BoundServer, Error> {
        let loaded = self.storage.load(WINDOWS).await?;
        let listened = self.host.net().listen(addr).await;
        let listener = listened.map_err(|source| Error::Listen { addr: addr.to_owned(), source })?;
        // Every life of a store draws ids of its own: a part id drawn twice would make readers drop a record (RC-5).
        let ids = self.host.entropy().child("ids").child(&loaded.n_changes.to_string()).draws();
        let names = self.host.entropy().child("objects").child(&loaded.n_changes.to_string()).draws();
        let owner = match loaded.store {
            Some(id) => id,
            None => {
                let id = StoreId(self.host.entropy().child("store").draws().next_u64());
                self.storage.commit(vec![Change::Store { id }]).await?;
                id
            }
        };
        let core = Core::load(loaded, ids, self.lease);
        let mut objects = Objects::new(self.objects, &self.environment, names, owner);
        match objects.take(core.snapshots(), self.adopts).await {
            Ok(swept) => swept.log(),
            Err(Error::Storage(error)) => {
                // They do no harm; the next start tries again.
                tracing::warn!(%error, "the chat snapshots could not be looked at: what crashes may have left behind stays");
            }
            Err(error) => return Err(error),
        }
        let Self { host, storage, environment, drain_limit, .. } = self;
        Ok(BoundServer { host, storage, objects, environment, core, listener, drain_limit })
    }
}

/// A session server that has its address.
pub struct BoundServer {
    host: Host,
    storage: Arc<dyn Storage>,
    objects: Objects,
    environment: Environment,
    core: Core,
    listener: Box<dyn Listener>,
    drain_limit: Duration,
}

/// How a server ended that was told to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stopped {
    /// Connections that were still busy when the drain limit was over, and were cut.
    pub cut: usize,
}

impl BoundServer {
    /// Gives the address that was bound, as `ip:port`.
    pub fn local_addr(&self) -> String {
        self.listener.local_addr()
    }

    /// Serves until the future is dropped.
    ///
    /// # Errors
    ///
    /// [`Error::Storage`] when a commit fails.
    pub async fn run(self) -> Result<Infallible, Error> {
        self.run_until(std::future::pending()).await?;
        unreachable!("nobody tells it to stop")
    }

    /// Serves until `stop` comes, then drains: nothing new is accepted, readers get what there is and then `[DONE]`, held polls are
    /// answered, requests under way are finished within the [`Server::drain_limit`]. Dropping the future stops everything at once; what
    /// was answered is durable either way (D-12).
    ///
    /// # Errors
    ///
    /// [`Error::Storage`] when a commit fails.
    pub async fn run_until(self, stop: impl Future<Output = ()>) -> Result<Stopped, Error> {
        let (driver, actor) = Driver::new(self.core, self.storage.clone(), self.host.clone());
        let token = CancellationToken::new();
        let shutdown = Shutdown { stop: token.clone(), patience: self.drain_limit };
        let Self { host, storage, objects, environment, listener, .. } = self;
        let service = router(App::new(host.clone(), actor, storage, objects, environment, token.clone()));
        let serving = serve_until(&host, listener, service, &shutdown);
        let until_stopped = async {
            stop.await;
            tracing::info!("stopping: readers and requests under way are let finish");
            token.cancel();
        };
        let serving = async {
            let ((), cut) = tokio::join!(until_stopped, serving);
            Ok(cut)
        };
        // The driver ends by an error, or when the last connection is gone: what that one still asked for is durable then.
        let ((), cut) = tokio::try_join!(biased; driver.run(), serving)?;
        Ok(Stopped { cut })
    }
}

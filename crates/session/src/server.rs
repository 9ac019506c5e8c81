//! [`Server`]: what an operator builds and serves.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use turnkeep_host::{Host, Listener};

use crate::actor::Driver;
use crate::core::Core;
use crate::http::{App, router};
use crate::{Environment, Error, Storage};

/// A session server before it listens.
pub struct Server {
    host: Host,
    storage: Arc<dyn Storage>,
    environment: Environment,
    lease: Duration,
}

impl Server {
    /// Makes a server of one environment over a store.
    pub fn new(host: Host, storage: Arc<dyn Storage>, environment: Environment) -> Self {
        Self { host, storage, environment, lease: Duration::from_secs(10) }
    }

    /// Sets how long a worker may be silent before its run's next attempt starts (D-35); 10 s by default.
    #[must_use]
    pub fn lease(mut self, lease: Duration) -> Self {
        self.lease = lease;
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
    /// [`Error`] when the store cannot be loaded or the address is taken.
    pub async fn bind(self, addr: &str) -> Result<BoundServer, Error> {
        let changes = self.storage.load().await?;
        let listened = self.host.net().listen(addr).await;
        let listener = listened.map_err(|source| Error::Listen { addr: addr.to_owned(), source })?;
        // Every life of a store draws ids of its own: a part id drawn twice would make readers drop a record (RC-5).
        let ids = self.host.entropy().child("ids").child(&changes.len().to_string()).draws();
        let core = Core::load(changes, ids, self.lease);
        Ok(BoundServer { host: self.host, storage: self.storage, environment: self.environment, core, listener })
    }
}

/// A session server that has its address.
pub struct BoundServer {
    host: Host,
    storage: Arc<dyn Storage>,
    environment: Environment,
    core: Core,
    listener: Box<dyn Listener>,
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
        let (driver, actor) = Driver::new(self.core, self.storage, self.host.clone());
        let service = router(App::new(self.host.clone(), actor, self.environment));
        tokio::select! {
            biased;
            stopped = driver.run() => {
                stopped?;
                unreachable!("the router below keeps an actor, so the driver ends only by an error")
            }
            never = turnkeep_host::http::serve(&self.host, self.listener, service) => match never {},
        }
    }
}

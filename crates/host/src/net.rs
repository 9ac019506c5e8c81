//! The network as a process sees it: dial an authority, listen on an address.

use std::io;

use futures::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncWrite};

/// A byte stream that can cross tasks.
pub trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// An open connection; dropping it closes it.
pub type Connection = Box<dyn Io>;

/// Opens connections and listeners.
pub trait Net: Send + Sync {
    /// Connects to `authority` (`name:port`). The caller sets the deadline.
    fn dial<'a>(&'a self, authority: &'a str) -> BoxFuture<'a, io::Result<Connection>>;

    /// Listens on `addr` (`ip:port`, or `name:port` on networks that have names).
    fn listen<'a>(&'a self, addr: &'a str) -> BoxFuture<'a, io::Result<Box<dyn Listener>>>;
}

/// Accepts connections; dropping it stops listening.
pub trait Listener: Send + Sync {
    /// Waits for the next connection. Cancel-safe: a connection is never lost between two calls.
    fn accept(&mut self) -> BoxFuture<'_, io::Result<Connection>>;

    /// Gives the address that was bound, as `ip:port`.
    fn local_addr(&self) -> String;
}

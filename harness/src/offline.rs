//! A host without a machine: an in-memory network, the test's own clock, entropy from a seed (D-48).
//!
//! Everything that would cross a socket crosses a pipe in memory instead, so the real server, the real worker and the real
//! transport run in one test, and with `#[tokio::test(start_paused = true)]` every wait is virtual.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::future::BoxFuture;
use tokio::io::DuplexStream;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio::time::Instant;
use turnkeep_host::{Absent, Clock, Connection, Entropy, Host, HostParts, Inline, Listener, Net, Spawn, Timestamp};

use crate::MemoryFiles;

/// When every offline and simulated clock starts: 2023-11-14T22:13:20Z.
pub const EPOCH: Timestamp = Timestamp::from_millis(1_700_000_000_000);

/// Bytes in flight one way on a connection before a writer waits.
const PIPE_BYTES: usize = 256 * 1024;

/// Connections that wait to be accepted on one address; a further one is refused.
const BACKLOG: usize = 1024;

/// Makes a host with a network of its own, for everything that one test runs.
///
/// # Panics
///
/// Outside a tokio runtime, whose clock it reads.
pub fn offline_host(seed: u64) -> Host {
    Host::from_parts(offline_parts(seed))
}

/// Gives the parts of an offline host, for one that differs in some of them.
pub(crate) fn offline_parts(seed: u64) -> HostParts {
    HostParts {
        clock: Arc::new(TestClock { started: Instant::now() }),
        net: Arc::new(MemoryNet::default()),
        entropy: Entropy::from_seed(seed),
        spawner: Arc::new(TestRuntime),
        blocking: Arc::new(Inline),
        files: Arc::new(MemoryFiles::new()),
        processes: Arc::new(Absent),
    }
}

struct TestClock {
    started: Instant,
}

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        EPOCH.plus(self.started.elapsed())
    }
}

struct TestRuntime;

impl Spawn for TestRuntime {
    #[expect(clippy::disallowed_methods, reason = "this is what host.spawn is made of in an offline test")]
    fn spawn(&self, future: BoxFuture<'static, ()>) -> AbortHandle {
        tokio::task::spawn(future).abort_handle()
    }
}

type Ports = Arc<Mutex<BTreeMap<String, mpsc::Sender<DuplexStream>>>>;

#[derive(Default)]
struct MemoryNet {
    ports: Ports,
}

impl Net for MemoryNet {
    fn dial<'a>(&'a self, authority: &'a str) -> BoxFuture<'a, io::Result<Connection>> {
        Box::pin(async move {
            let port = self.ports.lock().unwrap_or_else(PoisonError::into_inner).get(authority).cloned();
            let refused = || io::Error::new(io::ErrorKind::ConnectionRefused, format!("nobody listens on {authority}"));
            let (near, far) = tokio::io::duplex(PIPE_BYTES);
            port.ok_or_else(refused)?.try_send(far).map_err(|_| refused())?;
            Ok(Box::new(near) as Connection)
        })
    }

    fn listen<'a>(&'a self, addr: &'a str) -> BoxFuture<'a, io::Result<Box<dyn Listener>>> {
        Box::pin(async move {
            let mut ports = self.ports.lock().unwrap_or_else(PoisonError::into_inner);
            if ports.get(addr).is_some_and(|port| !port.is_closed()) {
                return Err(io::Error::new(io::ErrorKind::AddrInUse, format!("{addr} is taken")));
            }
            let (port, arrivals) = mpsc::channel(BACKLOG);
            ports.insert(addr.to_owned(), port);
            Ok(Box::new(MemoryPort { addr: addr.to_owned(), arrivals }) as Box<dyn Listener>)
        })
    }
}

struct MemoryPort {
    addr: String,
    arrivals: mpsc::Receiver<DuplexStream>,
}

impl Listener for MemoryPort {
    fn accept(&mut self) -> BoxFuture<'_, io::Result<Connection>> {
        Box::pin(async move {
            let stream = self.arrivals.recv().await.expect("the network keeps a sender while the port is open");
            Ok(Box::new(stream) as Connection)
        })
    }

    fn local_addr(&self) -> String {
        self.addr.clone()
    }
}

/// Gives the time since [`EPOCH`] on a host whose clock started there.
pub fn since_epoch(host: &Host) -> Duration {
    host.clock().now().since(EPOCH)
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn bytes_cross_and_time_is_virtual() {
        let host = offline_host(1);
        let mut listener = host.net().listen("session:80").await.unwrap();
        let mut near = host.net().dial("session:80").await.unwrap();
        let mut far = listener.accept().await.unwrap();

        near.write_all(b"hello").await.unwrap();
        tokio::time::sleep(Duration::from_secs(3600)).await;
        let mut bytes = [0; 5];
        far.read_exact(&mut bytes).await.unwrap();

        assert_eq!(&bytes, b"hello");
        assert_eq!(since_epoch(&host), Duration::from_secs(3600));
    }

    #[tokio::test(start_paused = true)]
    async fn an_address_nobody_listens_on_refuses() {
        let host = offline_host(1);

        let refused = host.net().dial("session:80").await.err().unwrap();
        drop(host.net().listen("session:80").await.unwrap());
        let closed = host.net().dial("session:80").await.err().unwrap();

        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
        assert_eq!(closed.kind(), io::ErrorKind::ConnectionRefused);
    }
}

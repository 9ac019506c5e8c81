//! A host whose network is memory and whose clock is tokio's, so that paused time is exact.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::future::BoxFuture;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio::time::Instant;
use turnkeep_host::{Absent, Clock, Connection, Entropy, Host, HostParts, Inline, Listener, Net, Spawn, Timestamp};

/// How many connections may wait to be accepted.
const BACKLOG: usize = 64;

/// A network of named ports in memory.
#[derive(Default)]
pub struct MemoryNet {
    ports: Mutex<BTreeMap<String, mpsc::Sender<Connection>>>,
}

impl Net for MemoryNet {
    fn dial<'a>(&'a self, authority: &'a str) -> BoxFuture<'a, io::Result<Connection>> {
        Box::pin(async move {
            let port = self.ports.lock().unwrap().get(authority).cloned();
            let (ours, theirs) = tokio::io::duplex(64 * 1024);
            let accepted = match port {
                Some(port) => port.send(Box::new(theirs)).await.is_ok(),
                None => false,
            };
            if accepted { Ok(Box::new(ours) as Connection) } else { Err(io::ErrorKind::ConnectionRefused.into()) }
        })
    }

    fn listen<'a>(&'a self, addr: &'a str) -> BoxFuture<'a, io::Result<Box<dyn Listener>>> {
        Box::pin(async move {
            let (sender, connections) = mpsc::channel(BACKLOG);
            self.ports.lock().unwrap().insert(addr.to_owned(), sender);
            Ok(Box::new(MemoryPort { connections, addr: addr.to_owned() }) as Box<dyn Listener>)
        })
    }
}

struct MemoryPort {
    connections: mpsc::Receiver<Connection>,
    addr: String,
}

impl Listener for MemoryPort {
    fn accept(&mut self) -> BoxFuture<'_, io::Result<Connection>> {
        Box::pin(async move { self.connections.recv().await.ok_or_else(|| io::ErrorKind::BrokenPipe.into()) })
    }

    fn local_addr(&self) -> String {
        self.addr.clone()
    }
}

struct TokioClock {
    started: Instant,
}

impl Clock for TokioClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(1_700_000_000_000).plus(self.started.elapsed())
    }
}

struct Tokio;

impl Spawn for Tokio {
    #[expect(clippy::disallowed_methods, reason = "this is the place behind host.spawn")]
    fn spawn(&self, future: BoxFuture<'static, ()>) -> AbortHandle {
        tokio::task::spawn(future).abort_handle()
    }
}

/// Makes a host on an empty network.
pub fn host() -> Host {
    Host::from_parts(HostParts {
        clock: Arc::new(TokioClock { started: Instant::now() }),
        net: Arc::new(MemoryNet::default()),
        entropy: Entropy::from_seed(7),
        spawner: Arc::new(Tokio),
        blocking: Arc::new(Inline),
        files: Arc::new(Absent),
        processes: Arc::new(Absent),
    })
}

/// Lets everything that is ready run, without moving time far.
pub async fn settle() {
    tokio::time::sleep(Duration::from_millis(1)).await;
}

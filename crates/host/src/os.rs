//! The parts of a real machine. The only place that reads the system's clock, entropy, sockets and files, and starts programs.

mod files;
mod process;

use std::io;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use futures::future::BoxFuture;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;

use self::files::Disk;
use self::process::Programs;
use crate::{Blocking, Clock, Connection, Entropy, HostParts, Listener, Net, Spawn, Timestamp};

pub(crate) fn parts() -> HostParts {
    let mut key = [0; 32];
    getrandom::fill(&mut key).expect("the operating system gives entropy");
    HostParts {
        clock: Arc::new(SystemClock),
        net: Arc::new(Tcp),
        entropy: Entropy::from_key(key),
        spawner: Arc::new(Tokio),
        blocking: Arc::new(Threads),
        files: Arc::new(Disk),
        processes: Arc::new(Programs),
    }
}

struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place where wall time enters")]
    fn now(&self) -> Timestamp {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp::default().plus(since_epoch)
    }
}

struct Tokio;

impl Spawn for Tokio {
    #[expect(clippy::disallowed_methods, reason = "the one place where production tasks start")]
    fn spawn(&self, future: BoxFuture<'static, ()>) -> AbortHandle {
        tokio::task::spawn(future).abort_handle()
    }
}

struct Threads;

impl Blocking for Threads {
    fn run(&self, work: Box<dyn FnOnce() + Send>) -> BoxFuture<'static, ()> {
        Box::pin(off_thread(work))
    }
}

/// Runs `work` on a thread that may block, and panics as it does.
#[expect(clippy::disallowed_methods, reason = "the one place where production work may block (D-50)")]
async fn off_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(failure) if failure.is_panic() => std::panic::resume_unwind(failure.into_panic()),
        // The runtime is going down, and with it whoever waits here.
        Err(_) => std::future::pending().await,
    }
}

struct Tcp;

impl Net for Tcp {
    fn dial<'a>(&'a self, authority: &'a str) -> BoxFuture<'a, io::Result<Connection>> {
        Box::pin(async move {
            let stream = TcpStream::connect(authority).await?;
            // Chunks are small and each is awaited by a person: never wait to fill a packet.
            stream.set_nodelay(true)?;
            Ok(Box::new(stream) as Connection)
        })
    }

    fn listen<'a>(&'a self, addr: &'a str) -> BoxFuture<'a, io::Result<Box<dyn Listener>>> {
        Box::pin(async move {
            let listener = TcpListener::bind(addr).await?;
            let local_addr = listener.local_addr()?.to_string();
            Ok(Box::new(TcpPort { listener, local_addr }) as Box<dyn Listener>)
        })
    }
}

struct TcpPort {
    listener: TcpListener,
    local_addr: String,
}

impl Listener for TcpPort {
    fn accept(&mut self) -> BoxFuture<'_, io::Result<Connection>> {
        Box::pin(async move {
            let (stream, _) = self.listener.accept().await?;
            stream.set_nodelay(true)?;
            Ok(Box::new(stream) as Connection)
        })
    }

    fn local_addr(&self) -> String {
        self.local_addr.clone()
    }
}

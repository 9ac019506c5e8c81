//! How the system tells a process to end.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// Hears Ctrl-C, and a supervisor's SIGTERM.
pub struct Signals {
    interrupt: Signal,
    terminate: Signal,
    heard: tokio::sync::Semaphore,
}

impl Signals {
    /// Begins to listen; from now on the process does not end by itself.
    ///
    /// # Errors
    ///
    /// Fails when the system gives no way to hear.
    pub fn listen() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            heard: tokio::sync::Semaphore::new(0),
        })
    }

    /// Gives two waits: for the first word to end, and for the second, which asks for haste. The second one does the listening: await
    /// both.
    pub fn split(&mut self) -> (impl Future<Output = ()> + Send, impl Future<Output = ()> + Send) {
        let Self { interrupt, terminate, heard } = self;
        let heard = &*heard;
        let first = async move {
            heard.acquire().await.expect("the semaphore is never closed").forget();
        };
        let second = async move {
            hear(interrupt, terminate).await;
            heard.add_permits(1);
            hear(interrupt, terminate).await;
        };
        (first, second)
    }
}

async fn hear(interrupt: &mut Signal, terminate: &mut Signal) {
    tokio::select! {
        biased;
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}

//! The accept loop: hand-driven hyper, so that tasks start through the host and no `Date` header is sent (D-29).

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use hyper::body::{Body, Incoming};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::sync::Semaphore;
use tower::Service;

use crate::{Host, Listener, Tasks};

/// How many connections one listener serves at once; a further one waits to be accepted.
pub const MAX_CONNECTIONS: usize = 16_384;

/// How long a peer may take to send its request head.
const HEADER_DEADLINE: Duration = Duration::from_secs(30);

/// How long the loop rests after a failed accept, so that a lack of descriptors is not a busy loop.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves HTTP/1.1 on `listener` until the future is dropped; dropping it closes every connection.
pub async fn serve<S, B>(host: &Host, mut listener: Box<dyn Listener>, service: S) -> Infallible
where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let connections = Tasks::new();
    let permits = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let permit = permits.clone().acquire_owned().await.expect("the semaphore is never closed");
        let stream = match listener.accept().await {
            Ok(stream) => stream,
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => continue,
            Err(_) => {
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let service = TowerToHyperService::new(service.clone());
        connections.add(host.spawn(async move {
            // A broken connection is the peer's news, not ours: its own reads and writes have failed already.
            let _ = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEADER_DEADLINE)
                .auto_date_header(false)
                .serve_connection(TokioIo::new(stream), service)
                .await;
            drop(permit);
        }));
    }
}

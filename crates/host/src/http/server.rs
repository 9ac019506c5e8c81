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
use tokio_io_timeout::TimeoutStream;
use tokio_util::sync::CancellationToken;
use tower::Service;

use crate::{Connection, Host, Listener, Tasks};

/// How many connections one listener serves at once; a further one waits to be accepted.
pub const MAX_CONNECTIONS: usize = 16_384;

/// How long a peer may take to send its request head.
const HEADER_DEADLINE: Duration = Duration::from_secs(30);

/// How long a peer may take nothing of what it is sent: then its connection is closed, and what was buffered for it is free.
pub const WRITE_DEADLINE: Duration = Duration::from_secs(60);

/// How long the loop rests after a failed accept, so that a lack of descriptors is not a busy loop.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// When a server stops, and how long it lets its connections finish.
#[derive(Clone, Debug)]
pub struct Shutdown {
    /// Stops the server once it is cancelled.
    pub stop: CancellationToken,
    /// How long answers under way may take from then on; what is still open after that is cut.
    pub patience: Duration,
}

/// What can be served: a service of HTTP requests that never fails, with answers that can cross tasks. Whatever fits is one.
pub trait HttpService:
    Service<Request<Incoming>, Response = Response<Self::Body>, Error = Infallible, Future: Send> + Clone + Send + 'static
{
    /// The body of its answers.
    type Body: Body<Data: Send, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + Send + 'static;
}

impl<S, B> HttpService for S
where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible, Future: Send> + Clone + Send + 'static,
    B: Body<Data: Send, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + Send + 'static,
{
    type Body = B;
}

/// Serves HTTP/1.1 on `listener` until the future is dropped; dropping it closes every connection.
///
/// A peer that takes nothing for [`WRITE_DEADLINE`] loses its connection.
pub async fn serve<S: HttpService>(host: &Host, listener: Box<dyn Listener>, service: S) -> Infallible {
    let never = Shutdown { stop: CancellationToken::new(), patience: Duration::ZERO };
    serve_until(host, listener, service, &never).await;
    unreachable!("nobody else holds the token")
}

/// Serves HTTP/1.1 on `listener` until it is told to stop, then lets the answers under way finish; gives how many connections had to
/// be cut because they did not.
///
/// From the stop on nothing is accepted, and a connection closes with the answer that it is giving. Dropping the future closes every
/// connection at once.
pub async fn serve_until<S: HttpService>(
    host: &Host,
    listener: Box<dyn Listener>,
    service: S,
    shutdown: &Shutdown,
) -> usize {
    let connections = Tasks::new();
    let permits = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    tokio::select! {
        biased;
        () = shutdown.stop.cancelled() => {}
        () = accept(host, listener, service, shutdown, &connections, &permits) => {}
    }
    let all = u32::try_from(MAX_CONNECTIONS).expect("a small number");
    let finished = tokio::time::timeout(shutdown.patience, permits.acquire_many(all)).await;
    if finished.is_ok() { 0 } else { MAX_CONNECTIONS - permits.available_permits() }
}

async fn accept<S: HttpService>(
    host: &Host,
    mut listener: Box<dyn Listener>,
    service: S,
    shutdown: &Shutdown,
    connections: &Tasks,
    permits: &Arc<Semaphore>,
) {
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
        let (service, stop) = (service.clone(), shutdown.stop.clone());
        connections.add(host.spawn(async move {
            converse(stream, service, stop).await;
            drop(permit);
        }));
    }
}

/// Serves one connection to its end.
async fn converse<S: HttpService>(stream: Connection, service: S, stop: CancellationToken) {
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(WRITE_DEADLINE));
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_DEADLINE)
        .auto_date_header(false)
        .serve_connection(TokioIo::new(Box::pin(stream)), TowerToHyperService::new(service));
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        biased;
        ended = connection.as_mut() => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    // A connection that breaks is the peer's news, not ours: its own reads and writes have failed already. One that we broke is.
    if ended.is_err_and(|error| is_slow(&error)) {
        tracing::warn!("a peer took nothing for {} s; its connection is closed", WRITE_DEADLINE.as_secs());
    }
}

/// Tells whether a write has waited for too long.
fn is_slow(error: &hyper::Error) -> bool {
    let source = std::error::Error::source(error).and_then(|source| source.downcast_ref::<io::Error>());
    source.is_some_and(|source| source.kind() == io::ErrorKind::TimedOut)
}

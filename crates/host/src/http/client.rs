//! One server, one idle connection: requests with bounded answers reuse it, streams own theirs.

use std::io;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderValue, Request, Response, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;

use super::{BaseUrl, Error};
#[cfg(feature = "tls")]
use crate::Tls;
use crate::{Connection, Host, Task};

/// The longest waits of one request.
#[derive(Clone, Copy, Debug)]
pub struct Deadlines {
    /// Until the connection stands, TLS included.
    pub connect: Duration,
    /// From the request's first byte to the response's headers.
    pub headers: Duration,
    /// Until a bounded body is complete; streaming bodies have no limit here.
    pub body: Duration,
}

impl Default for Deadlines {
    /// Gives 10 s to connect and 30 s each for headers and a bounded body.
    fn default() -> Self {
        Self { connect: Duration::from_secs(10), headers: Duration::from_secs(30), body: Duration::from_secs(30) }
    }
}

/// The largest bounded body that [`HttpClient::fetch`] takes: 64 MiB, room for a long chat's snapshot.
const MAX_FETCH_BYTES: usize = 64 * 1024 * 1024;

/// An HTTP client of one server.
#[derive(Debug)]
pub struct HttpClient {
    host: Host,
    base: BaseUrl,
    deadlines: Deadlines,
    idle: Mutex<Option<Wire>>,
    #[cfg(feature = "tls")]
    tls: Option<Tls>,
}

/// A connection with nothing in flight, and the task that drives it.
#[derive(Debug)]
struct Wire {
    sender: SendRequest<Full<Bytes>>,
    _driver: Task,
}

impl HttpClient {
    /// Makes a client; nothing is dialled before the first request.
    pub fn new(host: Host, base: BaseUrl, deadlines: Deadlines) -> Self {
        Self {
            #[cfg(feature = "tls")]
            tls: base.is_secure().then(|| Tls::new(&host)),
            host,
            base,
            deadlines,
            idle: Mutex::new(None),
        }
    }

    /// Chooses whom to trust at an `https://` base; by default whom browsers trust.
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn tls(mut self, tls: Tls) -> Self {
        self.tls = self.base.is_secure().then_some(tls);
        self
    }

    /// Gives the server's address.
    pub fn base(&self) -> &BaseUrl {
        &self.base
    }

    /// Sends `request` and reads the whole answer; the connection is kept for the next call.
    ///
    /// The request's URI is a path (and query) below the base. Cancelling closes the connection.
    ///
    /// # Errors
    ///
    /// [`Error`] when no complete answer came; any HTTP status is an answer.
    pub async fn fetch(&self, request: Request<Bytes>) -> Result<Response<Bytes>, Error> {
        let (response, wire) = self.send(request).await?;
        let (head, body) = response.into_parts();
        let limit = self.deadlines.body;
        let body = within("response body", limit, read_all(body)).await??;
        if !wire.sender.is_closed() {
            *self.idle.lock().unwrap_or_else(PoisonError::into_inner) = Some(wire);
        }
        Ok(Response::from_parts(head, body))
    }

    /// Sends `request` on a connection of its own and gives the answer's body as a stream.
    ///
    /// # Errors
    ///
    /// [`Error`] when no response headers came in time.
    pub async fn open(&self, request: Request<Bytes>) -> Result<Response<BodyStream>, Error> {
        let (response, wire) = self.send(request).await?;
        Ok(response.map(|body| BodyStream { body, _wire: wire }))
    }

    async fn send(&self, request: Request<Bytes>) -> Result<(Response<Incoming>, Wire), Error> {
        let mut request = self.address(request)?;
        let kept = self.idle.lock().unwrap_or_else(PoisonError::into_inner).take();
        let limit = self.deadlines.headers;
        if let Some(mut wire) = kept.filter(|wire| !wire.sender.is_closed()) {
            match within("response headers", limit, wire.sender.try_send_request(request)).await? {
                Ok(response) => return Ok((response, wire)),
                // The kept connection had died unseen. Dial again only if the request was never written.
                Err(mut failed) => match failed.take_message() {
                    Some(unsent) => request = unsent,
                    None => return Err(failed.into_error().into()),
                },
            }
        }
        let mut wire = self.dial().await?;
        let response = within("response headers", limit, wire.sender.send_request(request)).await??;
        Ok((response, wire))
    }

    fn address(&self, request: Request<Bytes>) -> Result<Request<Full<Bytes>>, Error> {
        let (mut head, body) = request.into_parts();
        head.uri = self.base.path(&head.uri.to_string()).parse().map_err(http::Error::from)?;
        let authority = HeaderValue::from_str(self.base.host_header()).map_err(http::Error::from)?;
        head.headers.insert(header::HOST, authority);
        Ok(Request::from_parts(head, Full::new(body)))
    }

    async fn dial(&self) -> Result<Wire, Error> {
        let authority = self.base.authority();
        let dialled = within("connection", self.deadlines.connect, self.connect(authority)).await?;
        let stream = dialled.map_err(|source| Error::Connect { authority: authority.to_owned(), source })?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        let driver = self.host.spawn(async move {
            // Its failure reaches whoever waits for the response or the body.
            let _ = connection.await;
        });
        Ok(Wire { sender, _driver: driver })
    }

    async fn connect(&self, authority: &str) -> io::Result<Connection> {
        let stream = self.host.net().dial(authority).await?;
        #[cfg(feature = "tls")]
        if let Some(tls) = &self.tls {
            return tls.wrap(stream, authority).await;
        }
        Ok(stream)
    }
}

/// A response body as it arrives; dropping it closes the connection.
#[derive(Debug)]
pub struct BodyStream {
    body: Incoming,
    _wire: Wire,
}

impl BodyStream {
    /// Waits for the next bytes; `None` is the body's clean end. Cancel-safe.
    ///
    /// # Errors
    ///
    /// [`Error::Broken`] when the connection fails before the body's end.
    pub async fn next_chunk(&mut self) -> Option<Result<Bytes, Error>> {
        loop {
            match self.body.frame().await? {
                Ok(frame) => {
                    if let Ok(bytes) = frame.into_data() {
                        return Some(Ok(bytes));
                    }
                }
                Err(error) => return Some(Err(error.into())),
            }
        }
    }
}

async fn within<T>(awaited: &'static str, limit: Duration, future: impl Future<Output = T>) -> Result<T, Error> {
    tokio::time::timeout(limit, future).await.map_err(|_| Error::TimedOut { awaited, limit })
}

async fn read_all(mut body: Incoming) -> Result<Bytes, Error> {
    let mut whole = BytesMut::new();
    while let Some(frame) = body.frame().await {
        if let Ok(bytes) = frame?.into_data() {
            if whole.len() + bytes.len() > MAX_FETCH_BYTES {
                return Err(Error::BodyTooLarge { limit: MAX_FETCH_BYTES });
            }
            whole.extend_from_slice(&bytes);
        }
    }
    Ok(whole.freeze())
}

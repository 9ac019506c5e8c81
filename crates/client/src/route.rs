//! Where a request goes, and who may see and change it on the way (C §3.1: `baseURL`, `headers`, `fetch`).
//!
//! Everything here is asked for each request anew, so that a page that swaps an answer is obeyed by streams that are already
//! open (C-60).

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http::{HeaderMap, Request, Response, Uri};
use turnkeep_host::Host;
use turnkeep_host::http::{BaseUrl, BodyStream, Deadlines, HttpClient};
use turnkeep_protocol::ChannelName;

use crate::Error;
use crate::api::Call;

/// How many servers one client keeps a connection to; naming ever new ones lets go of the oldest.
const MAX_SERVERS: usize = 16;

/// Which route a request is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// Appends to a session's input.
    In,
    /// Reads a session's output.
    Out,
    /// Creates, looks up and closes sessions.
    Sessions,
    /// Mints tokens.
    Auth,
    /// The author's warm server, for a chat's first turn (C-203).
    HeadStart,
}

impl Endpoint {
    /// Gives the name in the field's words.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::In => "in",
            Self::Out => "out",
            Self::Sessions => "sessions",
            Self::Auth => "auth",
            Self::HeadStart => "head-start",
        }
    }
}

impl From<ChannelName> for Endpoint {
    fn from(channel: ChannelName) -> Self {
        match channel {
            ChannelName::In => Self::In,
            ChannelName::Out => Self::Out,
        }
    }
}

/// What a request is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchContext {
    /// Which route.
    pub endpoint: Endpoint,
    /// The chat id, or the `session_…` id that the caller used; empty for a session without an external id.
    pub chat_id: String,
}

/// Gives the server of each request (`baseURL` as a function).
pub type BaseUrlFor = Arc<dyn Fn(&FetchContext) -> BaseUrl + Send + Sync>;

/// Gives the extra headers of each request; the fixed ones win (C-59).
pub type HeadersFor = Arc<dyn Fn(&FetchContext) -> HeaderMap + Send + Sync>;

/// Sees each request before it leaves and may change all of it, also its address (`fetch`).
///
/// The URI is absolute. It is called for every attempt of an append and for every connection of a stream.
pub type Fetch = Arc<dyn Fn(Request<Bytes>, &FetchContext) -> Request<Bytes> + Send + Sync>;

/// One [`HttpClient`] a server, each with its one idle connection.
pub(crate) struct Servers {
    host: Host,
    clients: Mutex<VecDeque<Arc<HttpClient>>>,
}

impl Servers {
    pub(crate) fn new(host: Host) -> Self {
        Self { host, clients: Mutex::default() }
    }

    fn client(&self, uri: &Uri) -> Result<Arc<HttpClient>, Error> {
        let authority = uri.authority().map_or("", |authority| authority.as_str());
        let base: BaseUrl = format!("{}://{authority}", uri.scheme_str().unwrap_or("http")).parse()?;
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = clients.iter().find(|client| *client.base() == base) {
            return Ok(client.clone());
        }
        let client = Arc::new(HttpClient::new(self.host.clone(), base, Deadlines::default()));
        clients.push_back(client.clone());
        if clients.len() > MAX_SERVERS {
            clients.pop_front();
        }
        Ok(client)
    }
}

/// The way from a call to a server; cheap to clone, clones share what may be replaced.
#[derive(Clone)]
pub(crate) struct Route {
    servers: Arc<Servers>,
    base: BaseUrlFor,
    fetch: Arc<Mutex<Option<Fetch>>>,
}

impl Route {
    pub(crate) fn new(host: Host, base: BaseUrlFor) -> Self {
        Self { servers: Arc::new(Servers::new(host)), base, fetch: Arc::default() }
    }

    pub(crate) fn to(host: Host, base: BaseUrl) -> Self {
        Self::new(host, Arc::new(move |_| base.clone()))
    }

    pub(crate) fn set_base(&mut self, base: BaseUrlFor) {
        self.base = base;
    }

    pub(crate) fn set_fetch(&self, fetch: Option<Fetch>) {
        *self.fetch.lock().unwrap_or_else(PoisonError::into_inner) = fetch;
    }

    /// Sends `call` and reads the whole answer.
    pub(crate) async fn fetch(&self, call: &Call) -> Result<Response<Bytes>, Error> {
        let (client, request) = self.address(call)?;
        Ok(client.fetch(request).await?)
    }

    /// Sends `call` and gives the answer's body as it arrives. The request is made before the future is polled.
    pub(crate) fn open(
        &self,
        call: &Call,
    ) -> Result<impl Future<Output = Result<Response<BodyStream>, Error>> + Send + use<>, Error> {
        let (client, request) = self.address(call)?;
        Ok(async move { Ok(client.open(request).await?) })
    }

    fn address(&self, call: &Call) -> Result<(Arc<HttpClient>, Request<Bytes>), Error> {
        let mut request = call.request(&(self.base)(&call.context))?;
        let fetch = self.fetch.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(fetch) = fetch {
            request = fetch(request, &call.context);
        }
        let client = self.servers.client(request.uri())?;
        let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
        *request.uri_mut() = path.parse::<Uri>().map_err(|error| Error::Network(http::Error::from(error).into()))?;
        Ok((client, request))
    }
}

impl fmt::Debug for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Route")
    }
}

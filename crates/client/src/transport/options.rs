//! How a transport is made: what it must know, and what the application may bring (C §3.1).

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use futures::future::BoxFuture;
use http::HeaderMap;
use turnkeep_host::Host;
use turnkeep_host::http::BaseUrl;
use turnkeep_protocol::{JsonObject, TaskId};

use super::tabs::TabChannel;
use super::turn::Span;
use super::{ChatEvent, Transport};
use crate::route::{BaseUrlFor, Endpoint, Fetch, HeadersFor};
use crate::{CallbackError, ChatSessionState};

/// What `accessToken` is asked for: a fresh token of an existing session, never a new session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenRequest {
    /// Which chat.
    pub chat_id: String,
}

/// What `startSession` is asked for: create or find the session and start its first run.
#[derive(Clone, Debug, PartialEq)]
pub struct StartRequest {
    /// The agent's id.
    pub task_id: TaskId,
    /// Which chat; the session's external id.
    pub chat_id: String,
    /// The current client data, or an empty object (C-73).
    pub client_data: JsonObject,
}

/// Renews a session-scoped token.
pub type AccessToken = Arc<dyn Fn(TokenRequest) -> BoxFuture<'static, Result<String, CallbackError>> + Send + Sync>;

/// Starts a session and gives its session-scoped token.
pub type StartSession = Arc<dyn Fn(StartRequest) -> BoxFuture<'static, Result<String, CallbackError>> + Send + Sync>;

/// Hears of every change worth persisting (C-64).
pub type OnSessionChange = Arc<dyn Fn(&str, &ChatSessionState) + Send + Sync>;

/// Hears of every event (C-144).
pub type OnEvent = Arc<dyn Fn(&ChatEvent) + Send + Sync>;

/// Callbacks and values that may be replaced on a live transport (C-60, C-66, C-75).
#[derive(Clone)]
pub(crate) struct Callbacks {
    pub(crate) access_token: AccessToken,
    pub(crate) start_session: Option<StartSession>,
    pub(crate) on_session_change: Option<OnSessionChange>,
    pub(crate) on_event: Option<OnEvent>,
    pub(crate) client_data: Option<JsonObject>,
}

/// Builds a [`Transport`]; made by [`Transport::builder`].
pub struct TransportBuilder {
    pub(crate) host: Host,
    pub(crate) base: BaseUrlFor,
    pub(crate) stream_base: Option<BaseUrl>,
    pub(crate) head_start: Option<BaseUrl>,
    pub(crate) fetch: Option<Fetch>,
    pub(crate) task: TaskId,
    pub(crate) name: String,
    pub(crate) headers: HeadersFor,
    pub(crate) stream_timeout_seconds: u32,
    pub(crate) span: Span,
    pub(crate) multi_tab: Option<Arc<dyn TabChannel>>,
    pub(crate) sessions: BTreeMap<String, ChatSessionState>,
    pub(crate) callbacks: Callbacks,
}

impl TransportBuilder {
    pub(crate) fn new(host: Host, base: BaseUrl, task: TaskId, access_token: AccessToken) -> Self {
        Self {
            host,
            base: Arc::new(move |_| base.clone()),
            stream_base: None,
            head_start: None,
            fetch: None,
            task,
            name: "transport".to_owned(),
            headers: Arc::new(|_| HeaderMap::new()),
            stream_timeout_seconds: 120,
            span: Span::Turn,
            multi_tab: None,
            sessions: BTreeMap::new(),
            callbacks: Callbacks {
                access_token,
                start_session: None,
                on_session_change: None,
                on_event: None,
                client_data: None,
            },
        }
    }

    /// Names the transport among those of its host: part ids and jitter are drawn under this name.
    ///
    /// Two transports of one host that live at the same time need two names.
    #[must_use]
    pub fn name(self, name: impl Into<String>) -> Self {
        Self { name: name.into(), ..self }
    }

    /// Sets how sessions are created or found; without it only existing sessions can be used (C-71, C-72).
    #[must_use]
    pub fn start_session(mut self, start_session: StartSession) -> Self {
        self.callbacks.start_session = Some(start_session);
        self
    }

    /// Asks for the server of each request (`baseURL` as a function).
    #[must_use]
    pub fn base_url_for(self, base: BaseUrlFor) -> Self {
        Self { base, ..self }
    }

    /// Sets another server for reading; it wins over the base there (`streamBaseURL`, which the field calls deprecated).
    #[must_use]
    pub fn stream_base_url(self, base: BaseUrl) -> Self {
        Self { stream_base: Some(base), ..self }
    }

    /// Posts the very first turn of a chat to the author's warm server, at this address (`headStart`, C-184, C-203).
    ///
    /// The response is the whole turn; later ones go the usual way.
    #[must_use]
    pub fn head_start(self, url: BaseUrl) -> Self {
        Self { head_start: Some(url), ..self }
    }

    /// Shows every append and every read to `fetch`, which may change it.
    #[must_use]
    pub fn fetch(self, fetch: Fetch) -> Self {
        Self { fetch: Some(fetch), ..self }
    }

    /// Adds headers to every request; the fixed ones win (C-59).
    #[must_use]
    pub fn headers(self, headers: HeaderMap) -> Self {
        self.headers_for(Arc::new(move |_| headers.clone()))
    }

    /// Asks for extra headers at every request; the fixed ones win (C-59).
    #[must_use]
    pub fn headers_for(self, headers: HeadersFor) -> Self {
        Self { headers, ..self }
    }

    /// Sets the read window in seconds, 1 to 600 (C-24); 120 if not called.
    #[must_use]
    pub fn stream_timeout_seconds(self, seconds: u32) -> Self {
        Self { stream_timeout_seconds: seconds, ..self }
    }

    /// Keeps every stream open over its boundaries, whoever's turns come (`watch`, C-121).
    #[must_use]
    pub fn watch(self) -> Self {
        Self { span: Span::Watch, ..self }
    }

    /// Lets one tab at a time send in a chat, over this channel (`multiTab`, C-123); a watcher has no use for it.
    #[must_use]
    pub fn multi_tab(self, channel: Arc<dyn TabChannel>) -> Self {
        Self { multi_tab: Some(channel), ..self }
    }

    /// Sets the default metadata of every send (C-74).
    #[must_use]
    pub fn client_data(mut self, client_data: JsonObject) -> Self {
        self.callbacks.client_data = Some(client_data);
        self
    }

    /// Takes over persisted states as they are (C-58).
    #[must_use]
    pub fn sessions(self, sessions: impl IntoIterator<Item = (String, ChatSessionState)>) -> Self {
        Self { sessions: sessions.into_iter().collect(), ..self }
    }

    /// Hears of every change worth persisting.
    #[must_use]
    pub fn on_session_change(mut self, heard: OnSessionChange) -> Self {
        self.callbacks.on_session_change = Some(heard);
        self
    }

    /// Hears of every event.
    #[must_use]
    pub fn on_event(mut self, heard: OnEvent) -> Self {
        self.callbacks.on_event = Some(heard);
        self
    }

    /// Says where requests go: the base, unless reading has one of its own.
    pub(crate) fn base_for(&self) -> BaseUrlFor {
        let (base, stream_base, head_start) = (self.base.clone(), self.stream_base.clone(), self.head_start.clone());
        Arc::new(move |context| match (context.endpoint, &stream_base, &head_start) {
            (Endpoint::Out, Some(own), _) | (Endpoint::HeadStart, _, Some(own)) => own.clone(),
            _ => base(context),
        })
    }

    /// Makes the transport. Nothing is requested and no callback runs (C-58).
    pub fn build(self) -> Transport {
        Transport::new(self)
    }
}

impl fmt::Debug for TransportBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TransportBuilder").field("task", &self.task).finish_non_exhaustive()
    }
}

//! [`HeadStart`]: the author's handler, as a tower service and by hand (C-180).

use std::convert::Infallible;
use std::fmt;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::future::BoxFuture;
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt, Limited};
use tokio::sync::oneshot;
use turnkeep_client::{Fetch, SessionsApi};
use turnkeep_host::http::BaseUrl;
use turnkeep_host::{Host, Tasks};
use turnkeep_model::{ModelOutputs, to_model_messages};
use turnkeep_protocol::session_api::TriggerConfig;
use turnkeep_protocol::{ChannelName, SeqNum, TaskId};

use crate::body::{self, HeadStartBody};
use crate::create::{create_session, idle_timeout_s};
use crate::detached::{self, DetachedHeadStart, StartHeadStart};
use crate::error::{Error, RunError};
use crate::existing::ExistingChat;
use crate::request::HeadStartRequest;
use crate::session::HeadStartSession;
use crate::stream_text::{FirstStep, StreamText};

/// The largest request: room for a long first history.
pub const MAX_REQUEST_BYTES: usize = 10 * 1024 * 1024;

/// Says how the first step is made.
pub type Run = Arc<dyn Fn(FirstStep) -> BoxFuture<'static, Result<StreamText, RunError>> + Send + Sync>;

/// Hears of what goes wrong where nobody waits for it (C-192).
pub type OnError = Arc<dyn Fn(&str, &Error) + Send + Sync>;

/// A handler of first turns: mount it on the route that the page's `head_start` option names.
///
/// Cheap to clone. Dropping the last clone ends the head starts under way.
#[derive(Clone)]
pub struct HeadStart {
    setup: Arc<Setup>,
    tasks: Arc<Tasks>,
}

/// What all clones and all their sessions share.
#[derive(Clone)]
pub(crate) struct Setup {
    pub(crate) host: Host,
    pub(crate) base: BaseUrl,
    pub(crate) secret_key: String,
    pub(crate) agent: TaskId,
    pub(crate) headers: HeaderMap,
    pub(crate) fetch: Option<Fetch>,
    pub(crate) sessions: Arc<SessionsApi>,
    pub(crate) outlives_browser: bool,
    run: Run,
    config: TriggerConfig,
    idle_timeout_s: Option<u64>,
    outputs: ModelOutputs,
    on_error: Option<OnError>,
    tasks: Weak<Tasks>,
}

/// A session that was opened by hand.
#[derive(Debug)]
pub enum OpenedSession {
    /// A new chat's: its run waits for the handover.
    New(HeadStartSession),
    /// One that was there before: no run of it waits (C-198).
    Existing(Box<ExistingChat>),
}

impl HeadStart {
    /// Makes the handler for `agent`'s chats on the session server at `base`; nothing is requested yet.
    pub fn new<F, Fut>(host: Host, base: BaseUrl, secret_key: impl Into<String>, agent: TaskId, run: F) -> Self
    where
        F: Fn(FirstStep) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<StreamText, RunError>> + Send + 'static,
    {
        let (secret_key, tasks) = (secret_key.into(), Arc::new(Tasks::new()));
        let setup = Setup {
            sessions: Arc::new(SessionsApi::new(host.clone(), base.clone(), &*secret_key)),
            host,
            base,
            secret_key,
            agent,
            headers: HeaderMap::new(),
            fetch: None,
            outlives_browser: false,
            run: Arc::new(move |step| Box::pin(run(step))),
            config: TriggerConfig::default(),
            idle_timeout_s: None,
            outputs: ModelOutputs::default(),
            on_error: None,
            tasks: Arc::downgrade(&tasks),
        };
        Self { setup: Arc::new(setup), tasks }
    }

    fn change(mut self, change: impl FnOnce(&mut Setup)) -> Self {
        change(Arc::make_mut(&mut self.setup));
        self
    }

    /// Sets how long the run waits for its handover, and so how long the first step may take; 60 s if not called (C-180).
    #[must_use]
    pub fn idle_timeout_in_seconds(self, seconds: u64) -> Self {
        self.change(|setup| setup.idle_timeout_s = Some(seconds))
    }

    /// Sets how the session's runs are started; it keeps this for life (C-186).
    #[must_use]
    pub fn trigger_config(self, config: TriggerConfig) -> Self {
        self.change(|setup| setup.config = config)
    }

    /// Lets a first step go on when the browser leaves: it is written to `out` and handed over, so that a reload in the first seconds
    /// finds its turn. Off if not called: the step then ends, which costs no tokens and loses the answer (C-196, D-21).
    #[must_use]
    pub fn outlive_browser(self) -> Self {
        self.change(|setup| setup.outlives_browser = true)
    }

    /// Maps the outputs of tools in the history to what the model reads, as the agent's tools do.
    #[must_use]
    pub fn model_outputs(self, outputs: ModelOutputs) -> Self {
        self.change(|setup| setup.outputs = outputs)
    }

    /// Adds headers to every request to the session server; the fixed ones win.
    #[must_use]
    pub fn headers(self, headers: HeaderMap) -> Self {
        self.change(|setup| setup.headers = headers).reconnected()
    }

    /// Shows every request to the session server to `fetch`, which may change it.
    #[must_use]
    pub fn fetch(self, fetch: Fetch) -> Self {
        self.change(|setup| setup.fetch = Some(fetch)).reconnected()
    }

    /// Hears of failures that nobody waits for: of the model, of the handover, of the reading behind it. They are logged anyway.
    #[must_use]
    pub fn on_error(self, heard: OnError) -> Self {
        self.change(|setup| setup.on_error = Some(heard))
    }

    fn reconnected(self) -> Self {
        self.change(|setup| {
            let sessions = SessionsApi::new(setup.host.clone(), setup.base.clone(), &*setup.secret_key);
            let sessions = sessions.headers(setup.headers.clone());
            let fetched = setup.fetch.clone();
            setup.sessions = Arc::new(match fetched {
                Some(fetch) => sessions.fetch(fetch),
                None => sessions,
            });
        })
    }

    /// Answers a request: the first step, then what the agent makes of it.
    ///
    /// Dropping the response, or the future, tells that the browser is gone (C-195).
    ///
    /// # Errors
    ///
    /// The session could not be created, or the author's `run` failed; a run that waited already is told so (C-193).
    pub async fn respond(&self, request: HeadStartRequest) -> Result<Response<HeadStartBody>, Error> {
        let (answer, answered) = oneshot::channel();
        let setup = self.setup.clone();
        // A task of its own: who asked may leave while the session is being made.
        self.setup.spawn(async move {
            // A response that nobody takes is dropped, and with it the browser's end.
            let _left = answer.send(setup.respond(request).await);
        });
        answered.await.unwrap_or(Err(Error::Ended))
    }

    /// Opens the session of a request for a handler of the author's own (C-182).
    ///
    /// # Errors
    ///
    /// [`Error::Session`] when it could not be created.
    pub async fn open_session(&self, request: HeadStartRequest) -> Result<OpenedSession, Error> {
        Setup::open(&self.setup, request).await
    }

    /// Starts a chat without a page: resolves when its session exists, so that it can be read at once (C-210).
    ///
    /// A page that is sent there needs neither the `head_start` option nor a `startSession` callback; the state it is given must
    /// not say `isStreaming: false` (C-212).
    ///
    /// # Errors
    ///
    /// [`Error::Session`] when it could not be created.
    pub async fn start(&self, start: StartHeadStart) -> Result<DetachedHeadStart, Error> {
        detached::start(&self.setup, start).await
    }

    /// Counts the head starts under way.
    pub fn running(&self) -> usize {
        self.tasks.running()
    }
}

impl Setup {
    /// Runs beside its caller until the last [`HeadStart`] is dropped.
    pub(crate) fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) {
        if let Some(tasks) = self.tasks.upgrade() {
            tasks.add(self.host.spawn(future));
        }
    }

    /// Tells a failure to the log and to whoever asked for it.
    pub(crate) fn tell(&self, chat_id: &str, error: &Error) {
        tracing::warn!("head start of chat {chat_id}: {error}");
        if let Some(heard) = &self.on_error {
            heard(chat_id, error);
        }
    }

    pub(crate) async fn open(setup: &Arc<Self>, request: HeadStartRequest) -> Result<OpenedSession, Error> {
        let idle_timeout_s = idle_timeout_s(setup.idle_timeout_s, &setup.config);
        let body = create_session(&setup.agent, &setup.config, idle_timeout_s, &request);
        let created = setup.sessions.create(&body).await?;
        if created.is_cached {
            let (setup, token) = (setup.clone(), created.public_access_token);
            return Ok(OpenedSession::Existing(Box::new(ExistingChat { setup, request, token })));
        }
        Ok(OpenedSession::New(HeadStartSession::new(setup, request.chat_id(), idle_timeout_s, &created)))
    }

    async fn respond(self: Arc<Self>, request: HeadStartRequest) -> Result<Response<HeadStartBody>, Error> {
        match Self::open(&self, request.clone()).await? {
            OpenedSession::Existing(chat) => chat.respond().await,
            OpenedSession::New(session) => match self.run_author(&session, &request).await {
                Ok(call) => Ok(session.handover_response(call)),
                Err(error) => {
                    // What went wrong first is what is told (C-193).
                    let _ = session.handover_skip().await;
                    Err(error)
                }
            },
        }
    }

    /// Asks the author how the first step is made; the history is converted before (C-181).
    pub(crate) async fn run_author(
        &self,
        session: &HeadStartSession,
        request: &HeadStartRequest,
    ) -> Result<StreamText, Error> {
        let step = FirstStep {
            chat_id: request.chat_id().to_owned(),
            ui_messages: request.messages().to_vec(),
            messages: to_model_messages(request.messages(), &self.outputs)?,
            metadata: request.metadata().cloned(),
            signal: session.signal(),
        };
        (self.run)(step).await.map_err(Error::Run)
    }

    /// Gives the last record that `out` has, without waiting (C-191).
    pub(crate) async fn tail(&self, chat_id: &str) -> Result<Option<SeqNum>, Error> {
        let records = self.sessions.drain(chat_id, ChannelName::Out, None).await?;
        Ok(records.last().map(|record| record.seq_num))
    }
}

impl<B> tower::Service<Request<B>> for HeadStart
where
    B: http_body::Body<Data: Send, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + Send + 'static,
{
    type Response = Response<HeadStartBody>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<HeadStartBody>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let handler = self.clone();
        Box::pin(async move {
            let answered = match read(request.into_body()).await.and_then(|body| HeadStartRequest::parse(&body)) {
                Ok(request) => handler.respond(request).await,
                Err(error) => Err(error),
            };
            Ok(answered.unwrap_or_else(|error| body::failure(&error)))
        })
    }
}

/// Reads the whole body before anything is done (C-213).
async fn read<B>(body: B) -> Result<Bytes, Error>
where
    B: http_body::Body<Error: Into<Box<dyn std::error::Error + Send + Sync>>>,
{
    match Limited::new(body, MAX_REQUEST_BYTES).collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.is::<http_body_util::LengthLimitError>() => {
            Err(Error::TooLarge { limit: MAX_REQUEST_BYTES })
        }
        Err(error) => Err(Error::BadRequest { problem: error.to_string() }),
    }
}

impl fmt::Debug for HeadStart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HeadStart").field("agent", &self.setup.agent).finish_non_exhaustive()
    }
}

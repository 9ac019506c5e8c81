//! A head start without a page: somebody else's request makes the first step, and the page reads it from `out` (C-210…C-212).

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use serde_json::Value;
use tokio::sync::oneshot;
use turnkeep_protocol::{JsonObject, UiMessage};

use crate::answer::make;
use crate::error::Error;
use crate::head_start::{OpenedSession, Setup};
use crate::request::HeadStartRequest;
use crate::session::HeadStartSession;

/// Which chat is to be started, and with what.
#[derive(Clone, Debug, PartialEq)]
pub struct StartHeadStart(HeadStartRequest);

impl StartHeadStart {
    /// Starts the chat with this history, the question last.
    pub fn new(chat_id: impl Into<String>, messages: impl IntoIterator<Item = UiMessage>) -> Self {
        Self(HeadStartRequest::new(chat_id, messages))
    }

    /// Gives the run its metadata, and nobody else (C-211).
    #[must_use]
    pub fn metadata(self, metadata: Value) -> Self {
        Self(self.0.with_metadata(metadata))
    }

    /// Adds fields to the run's payload.
    #[must_use]
    pub fn body(self, body: JsonObject) -> Self {
        Self(self.0.with_body(body))
    }
}

/// A head start under way: its session exists, so the page may read it.
#[derive(Debug)]
pub struct DetachedHeadStart {
    /// The chat.
    pub chat_id: String,
    /// The session's token.
    pub public_access_token: String,
    /// What becomes of the step; nobody needs to wait for it.
    pub completion: Completion,
}

/// Resolves when the first step is on `out` and handed over; ignoring it changes nothing (C-210).
pub struct Completion(oneshot::Receiver<Result<(), Error>>);

impl Future for Completion {
    type Output = Result<(), Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let told = ready!(Pin::new(&mut self.0).poll(context));
        Poll::Ready(told.unwrap_or(Err(Error::Ended)))
    }
}

impl fmt::Debug for Completion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Completion")
    }
}

/// Creates the session, and makes the step in the background.
pub(crate) async fn start(setup: &Arc<Setup>, start: StartHeadStart) -> Result<DetachedHeadStart, Error> {
    let StartHeadStart(request) = start;
    let chat_id = request.chat_id().to_owned();
    let (done, completion) = oneshot::channel();
    let public_access_token = match Setup::open(setup, request.clone()).await? {
        OpenedSession::New(session) => {
            let token = session.public_access_token().to_owned();
            setup.spawn(complete(session, request, done));
            token
        }
        OpenedSession::Existing(chat) => {
            chat.append().await?;
            let _nobody_waits = done.send(Ok(()));
            chat.token
        }
    };
    Ok(DetachedHeadStart { chat_id, public_access_token, completion: Completion(completion) })
}

async fn complete(session: HeadStartSession, request: HeadStartRequest, done: oneshot::Sender<Result<(), Error>>) {
    let shared = session.shared.clone();
    let step = async {
        let call = shared.setup.run_author(&session, &request).await?;
        make(&shared, call, None).await
    };
    let completed = session.handover_when_done(step).await;
    if let Err(error) = &completed {
        shared.setup.tell(&shared.chat_id, error);
    }
    let _nobody_waits = done.send(completed);
}

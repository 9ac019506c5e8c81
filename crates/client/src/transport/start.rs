//! Starting a session once, however many ask (C-69…C-73), and starting it again when the server does not know it (C-142).

use std::sync::Arc;

use futures::FutureExt;
use futures::future::{BoxFuture, Shared};

use super::StartRequest;
use super::inner::{Chat, Inner};
use super::options::Callbacks;
use crate::{CallbackError, ChatSessionState, Error};

/// A start in flight; every clone gives the same answer.
pub(crate) type Starting = Shared<BoxFuture<'static, Result<(), StartFailure>>>;

/// Why a shared start failed.
#[derive(Clone, Debug)]
pub(crate) enum StartFailure {
    /// The session is closed for good; the callback called our own client (D-1).
    Closed { reason: Option<String> },
    /// Anything else.
    Other { callback: &'static str, message: String },
}

impl StartFailure {
    fn new(callback: &'static str, error: &CallbackError) -> Self {
        match error.downcast_ref::<Error>() {
            Some(Error::SessionClosed { reason }) => Self::Closed { reason: reason.clone() },
            _ => Self::Other { callback, message: error.to_string() },
        }
    }
}

impl From<StartFailure> for Error {
    fn from(failure: StartFailure) -> Self {
        match failure {
            StartFailure::Closed { reason } => Self::SessionClosed { reason },
            StartFailure::Other { callback, message } => Self::Callback { callback, message },
        }
    }
}

/// Whose token starts the chat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Via {
    StartSession,
    AccessToken,
}

impl Inner {
    /// Gives the state of a started session, and starts it if there is no token yet.
    pub(crate) async fn ensure_started(self: &Arc<Self>, chat_id: &str) -> Result<ChatSessionState, Error> {
        let callbacks = self.callbacks();
        let starting = self.chat(chat_id, |chat| {
            if has_token(chat) {
                return None;
            }
            Some(chat.starting.get_or_insert_with(|| self.begin_start(chat_id, callbacks)).clone())
        });
        if let Some(starting) = starting {
            starting.await?;
        }
        Ok(self.state(chat_id).expect("a started chat has a state"))
    }

    /// Prepares the call; it runs when the first waiter polls it, outside every lock.
    fn begin_start(self: &Arc<Self>, chat_id: &str, callbacks: Callbacks) -> Starting {
        let inner = Arc::downgrade(self);
        let chat_id = chat_id.to_owned();
        let task_id = self.task.clone();
        let start = async move {
            let (via, got) = match callbacks.start_session {
                Some(start_session) => {
                    let client_data = callbacks.client_data.unwrap_or_default();
                    let request = StartRequest { task_id, chat_id: chat_id.clone(), client_data };
                    (Via::StartSession, start_session(request).await)
                }
                // The session was made elsewhere (C-72).
                None => {
                    let request = super::TokenRequest { chat_id: chat_id.clone() };
                    (Via::AccessToken, (callbacks.access_token)(request).await)
                }
            };
            let callback = if via == Via::StartSession { "startSession" } else { "accessToken" };
            let token = got.map_err(|error| StartFailure::new(callback, &error));
            if let Some(inner) = inner.upgrade() {
                inner.finish_start(&chat_id, via, token.as_ref().ok());
            }
            token.map(drop)
        };
        start.boxed().shared()
    }

    /// Forgets the call, so that a failed one is made again (C-70), and stores what a good one brought.
    fn finish_start(&self, chat_id: &str, via: Via, token: Option<&String>) {
        let _finished = self.chat(chat_id, |chat| {
            if let Some(token) = token {
                let state = chat.state.get_or_insert_default();
                state.public_access_token.clone_from(token);
                if via == Via::StartSession {
                    state.is_streaming = Some(false);
                }
            }
            chat.starting.take()
        });
        if token.is_some() {
            self.notify(chat_id);
        }
    }

    /// Creates the session again that the server does not know, in place (C-142); gives the new token.
    pub(crate) async fn recreate(&self, chat_id: &str) -> Result<String, Error> {
        let Callbacks { start_session, client_data, .. } = self.callbacks();
        let start_session = start_session.ok_or(Error::StaleSession)?;
        let request = StartRequest {
            task_id: self.task.clone(),
            chat_id: chat_id.to_owned(),
            client_data: client_data.unwrap_or_default(),
        };
        let token = start_session(request).await.map_err(|error| StartFailure::new("startSession", &error))?;
        self.chat(chat_id, |chat| {
            chat.state.get_or_insert_default().recreate(token.clone());
            chat.store.forget_remote();
        });
        self.notify(chat_id);
        Ok(token)
    }
}

fn has_token(chat: &Chat) -> bool {
    chat.state.as_ref().is_some_and(|state| !state.public_access_token.is_empty())
}

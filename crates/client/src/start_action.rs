//! [`StartSessionAction`]: what an application's server calls when a page wants its chat started (C §6).

use serde::Serialize;
use turnkeep_protocol::session_api::TriggerConfig;
use turnkeep_protocol::{JsonObject, RunId, SessionId, TaskId};

use crate::create::ChatBody;
use crate::{Error, SessionsApi};

/// Creates or finds the sessions of one agent's chats, and gives their tokens to pages; the secret key stays here (C-222).
///
/// What a page says in its client data is a claim until the application lays its own over it: do that before calling
/// [`StartSessionAction::start`].
#[derive(Debug)]
pub struct StartSessionAction {
    sessions: SessionsApi,
    task: TaskId,
    trigger_config: TriggerConfig,
    token_ttl: Option<String>,
}

/// Which chat is to be started, and as whom.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StartChat {
    chat_id: String,
    client_data: Option<JsonObject>,
    trigger_config: Option<TriggerConfig>,
    metadata: Option<JsonObject>,
}

/// A started session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StartedSession {
    /// For the page: both channels of this one session.
    pub public_access_token: String,
    /// The live run.
    pub run_id: RunId,
    /// The session.
    pub session_id: SessionId,
    /// Whether it was there before (C-4).
    pub is_cached: bool,
}

impl StartChat {
    /// Starts the chat with this id.
    pub fn new(chat_id: impl Into<String>) -> Self {
        Self { chat_id: chat_id.into(), ..Self::default() }
    }

    /// Gives the first run its metadata.
    #[must_use]
    pub fn client_data(self, client_data: JsonObject) -> Self {
        Self { client_data: Some(client_data), ..self }
    }

    /// Gives the first run its metadata, as what the agent demands of its clients.
    ///
    /// # Errors
    ///
    /// Fails when it is not written as a JSON object.
    pub fn typed_client_data(self, client_data: &impl Serialize) -> Result<Self, serde_json::Error> {
        let client_data = serde_json::from_value(serde_json::to_value(client_data)?)?;
        Ok(Self { client_data: Some(client_data), ..self })
    }

    /// Lays this chat's configuration over the action's, field by field (C-218).
    #[must_use]
    pub fn trigger_config(self, config: TriggerConfig) -> Self {
        Self { trigger_config: Some(config), ..self }
    }

    /// Stores metadata on the session's row; the agent's client data is another thing (C-219).
    #[must_use]
    pub fn metadata(self, metadata: JsonObject) -> Self {
        Self { metadata: Some(metadata), ..self }
    }
}

impl StartSessionAction {
    /// Makes the action of one agent.
    pub fn new(sessions: SessionsApi, task: TaskId) -> Self {
        Self { sessions, task, trigger_config: TriggerConfig::default(), token_ttl: None }
    }

    /// Sets how the runs of all its chats are started.
    #[must_use]
    pub fn trigger_config(self, config: TriggerConfig) -> Self {
        Self { trigger_config: config, ..self }
    }

    /// Mints a token that lives so long, for example `2h`, in place of the one that the creation gives (C-220).
    #[must_use]
    pub fn token_ttl(self, ttl: impl Into<String>) -> Self {
        Self { token_ttl: Some(ttl.into()), ..self }
    }

    /// Creates or finds the chat's session and makes sure that a run is alive.
    ///
    /// # Errors
    ///
    /// [`Error::NoChatId`] without a chat id (C-216), [`Error::SessionClosed`] for a closed chat, other refusals and failures as
    /// [`Error`].
    pub async fn start(&self, chat: &StartChat) -> Result<StartedSession, Error> {
        if chat.chat_id.is_empty() {
            return Err(Error::NoChatId);
        }
        let body = ChatBody {
            task: &self.task,
            chat_id: &chat.chat_id,
            options: &self.trigger_config,
            call: chat.trigger_config.as_ref(),
            client_data: chat.client_data.as_ref(),
            metadata: chat.metadata.as_ref(),
        };
        let created = self.sessions.create(&body.build()).await?;
        let public_access_token = match &self.token_ttl {
            Some(ttl) => self.sessions.public_token_for(&chat.chat_id, ttl).await?,
            None => created.public_access_token,
        };
        Ok(StartedSession {
            public_access_token,
            run_id: created.run_id,
            session_id: created.session.listed.id,
            is_cached: created.is_cached,
        })
    }
}

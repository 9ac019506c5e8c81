//! How an [`AgentChat`] is made (C §4.1's options).

use std::fmt;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};

use http::{HeaderMap, HeaderValue};
use tokio::sync::OnceCell;
use turnkeep_host::http::BaseUrl;
use turnkeep_host::{Host, Tasks};
use turnkeep_protocol::session_api::TriggerConfig;
use turnkeep_protocol::{JsonObject, SeqNum, TaskId};

use super::hooks::{Creator, OnTriggered, OnTurnComplete, TurnComplete};
use super::{AgentChat, Restored};
use crate::route::{BaseUrlFor, Fetch};
use crate::{ChatEventKind, ChatSessionState, OnEvent, SessionsApi, Transport};

/// Builds an [`AgentChat`]; made by [`AgentChat::builder`].
pub struct AgentChatBuilder {
    host: Host,
    base: BaseUrl,
    base_for: Option<BaseUrlFor>,
    fetch: Option<Fetch>,
    secret_key: String,
    branch: Option<String>,
    agent: TaskId,
    chat_id: String,
    name: Option<String>,
    client_data: Option<JsonObject>,
    restored: Restored,
    trigger_config: TriggerConfig,
    stream_timeout_seconds: u32,
    on_triggered: Option<OnTriggered>,
    on_turn_complete: Option<OnTurnComplete>,
    on_event: Option<OnEvent>,
}

impl AgentChat {
    /// Begins a chat with `agent` behind the server at `base`; `chat_id` is the author's own or [`super::random_chat_id`]'s.
    pub fn builder(
        host: Host,
        base: BaseUrl,
        secret_key: impl Into<String>,
        agent: TaskId,
        chat_id: impl Into<String>,
    ) -> AgentChatBuilder {
        AgentChatBuilder {
            host,
            base,
            base_for: None,
            fetch: None,
            secret_key: secret_key.into(),
            branch: None,
            agent,
            chat_id: chat_id.into(),
            name: None,
            client_data: None,
            restored: Restored::No,
            trigger_config: TriggerConfig::default(),
            stream_timeout_seconds: 120,
            on_triggered: None,
            on_turn_complete: None,
            on_event: None,
        }
    }
}

impl AgentChatBuilder {
    /// Sets the first run's metadata and that of every send (C-74).
    #[must_use]
    pub fn client_data(self, client_data: JsonObject) -> Self {
        Self { client_data: Some(client_data), ..self }
    }

    /// Goes on with a chat that is started already: nothing is created, and reading begins after the cursor (C-157).
    #[must_use]
    pub fn session(self, last_event_id: Option<SeqNum>) -> Self {
        Self { restored: Restored::At(last_event_id), ..self }
    }

    /// Sets how the chat's runs are started (C-155, C-156).
    #[must_use]
    pub fn trigger_config(self, config: TriggerConfig) -> Self {
        Self { trigger_config: config, ..self }
    }

    /// Names this object among all that talk in the same chat on this host: part ids and message ids are drawn under this name.
    ///
    /// Not needed for one after the other, each restored at its own cursor; two at the same time need two names.
    #[must_use]
    pub fn name(self, name: impl Into<String>) -> Self {
        Self { name: Some(name.into()), ..self }
    }

    /// Names the preview branch that every request is for (C-154).
    #[must_use]
    pub fn branch(self, branch: impl Into<String>) -> Self {
        Self { branch: Some(branch.into()), ..self }
    }

    /// Sets the read window in seconds, 1 to 600; 120 if not called.
    #[must_use]
    pub fn stream_timeout_seconds(self, seconds: u32) -> Self {
        Self { stream_timeout_seconds: seconds, ..self }
    }

    /// Asks for the server of each request (`baseURL` as a function).
    #[must_use]
    pub fn base_url_for(self, base: BaseUrlFor) -> Self {
        Self { base_for: Some(base), ..self }
    }

    /// Shows every request to `fetch`, which may change it.
    #[must_use]
    pub fn fetch(self, fetch: Fetch) -> Self {
        Self { fetch: Some(fetch), ..self }
    }

    /// Hears of the chat's first run; never for a restored chat (C-155, C-157).
    #[must_use]
    pub fn on_triggered(self, heard: OnTriggered) -> Self {
        Self { on_triggered: Some(heard), ..self }
    }

    /// Hears of each turn's end that a stream of this chat has read (C-165).
    #[must_use]
    pub fn on_turn_complete(self, heard: OnTurnComplete) -> Self {
        Self { on_turn_complete: Some(heard), ..self }
    }

    /// Hears of every event, as a page's transport tells them (C-144).
    #[must_use]
    pub fn on_event(self, heard: OnEvent) -> Self {
        Self { on_event: Some(heard), ..self }
    }

    /// Makes the chat. Nothing is requested before its first use.
    pub fn build(self) -> AgentChat {
        let creator = Arc::new(self.creator());
        let transport = self.transport(&creator);
        let draws = self.host.entropy().child("message-ids").child(&self.full_name()).draws();
        AgentChat {
            host: self.host,
            chat_id: self.chat_id,
            transport,
            creator,
            refreshed: OnceCell::new(),
            message_ids: draws,
        }
    }

    /// A chat that is restored in the same process draws other ids than before.
    fn full_name(&self) -> String {
        let place = match self.restored {
            Restored::No => "new".to_owned(),
            Restored::At(cursor) => cursor.map_or_else(|| "start".to_owned(), |cursor| cursor.to_string()),
        };
        format!("agent-chat/{}/{place}/{}", self.chat_id, self.name.as_deref().unwrap_or_default())
    }

    fn creator(&self) -> Creator {
        let mut sessions =
            SessionsApi::new(self.host.clone(), self.base.clone(), &*self.secret_key).headers(self.headers());
        if let Some(base) = &self.base_for {
            sessions = sessions.base_url_for(base.clone());
        }
        if let Some(fetch) = &self.fetch {
            sessions = sessions.fetch(fetch.clone());
        }
        Creator {
            sessions,
            agent: self.agent.clone(),
            chat_id: self.chat_id.clone(),
            trigger_config: self.trigger_config.clone(),
            restored: self.restored,
            on_triggered: self.on_triggered.clone(),
            was_triggered: AtomicBool::new(false),
            client_data: Mutex::new(self.client_data.clone()),
            idle_timeout: Mutex::default(),
        }
    }

    /// Makes the transport, whose token is the secret key (RC-13).
    fn transport(&self, creator: &Arc<Creator>) -> Transport {
        let (key, starter) = (self.secret_key.clone(), (self.secret_key.clone(), creator.clone()));
        let access_token = Arc::new(move |_| {
            let key = key.clone();
            Box::pin(async move { Ok(key) }) as _
        });
        let start_session = Arc::new(move |_| {
            let (key, creator) = starter.clone();
            Box::pin(async move {
                creator.create().await?;
                Ok(key)
            }) as _
        });
        let mut builder = Transport::builder(self.host.clone(), self.base.clone(), self.agent.clone(), access_token)
            .name(self.full_name())
            .start_session(start_session)
            .headers(self.headers())
            .stream_timeout_seconds(self.stream_timeout_seconds)
            .on_event(self.observer());
        if let Some(base) = &self.base_for {
            builder = builder.base_url_for(base.clone());
        }
        if let Some(fetch) = &self.fetch {
            builder = builder.fetch(fetch.clone());
        }
        if let Some(client_data) = &self.client_data {
            builder = builder.client_data(client_data.clone());
        }
        if let Restored::At(last_event_id) = self.restored {
            let state = ChatSessionState { last_event_id, ..ChatSessionState::new(&*self.secret_key) };
            builder = builder.sessions([(self.chat_id.clone(), state)]);
        }
        builder.build()
    }

    fn headers(&self) -> HeaderMap {
        let branch = self.branch.as_ref().and_then(|branch| HeaderValue::from_str(branch).ok());
        branch
            .map(|branch| HeaderMap::from_iter([(http::HeaderName::from_static("x-trigger-branch"), branch)]))
            .unwrap_or_default()
    }

    /// Passes events on, and turns' ends in the background.
    fn observer(&self) -> OnEvent {
        let (heard, on_turn_complete, host) = (self.on_event.clone(), self.on_turn_complete.clone(), self.host.clone());
        let tasks = Tasks::new();
        Arc::new(move |event| {
            if let Some(heard) = &heard {
                heard(event);
            }
            if let (Some(complete), ChatEventKind::TurnCompleted { last_event_id: Some(last_event_id), .. }) =
                (&on_turn_complete, &event.kind)
            {
                let told = complete(TurnComplete { chat_id: event.chat_id.clone(), last_event_id: *last_event_id });
                tasks.add(host.spawn(async move {
                    // Contained: whoever wants to know of a failure tells it inside the callback (C-165).
                    let _ = told.await;
                }));
            }
        })
    }
}

impl fmt::Debug for AgentChatBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AgentChatBuilder")
            .field("agent", &self.agent)
            .field("chat_id", &self.chat_id)
            .finish_non_exhaustive()
    }
}

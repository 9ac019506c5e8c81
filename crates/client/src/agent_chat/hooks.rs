//! What an [`AgentChat`](super::AgentChat) does around its transport: creating the session, telling its author.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use futures::future::BoxFuture;
use turnkeep_protocol::session_api::{CreateSession, TriggerConfig};
use turnkeep_protocol::{JsonObject, RunId, SeqNum, TaskId};

use super::Restored;
use crate::create::ChatBody;
use crate::{CallbackError, Error, SessionsApi};

/// The first run of a chat has been started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Triggered {
    /// That run; decoration only, since a session has many (C-234).
    pub run_id: RunId,
    /// Which chat.
    pub chat_id: String,
}

/// A turn is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TurnComplete {
    /// Which chat.
    pub chat_id: String,
    /// The cursor to keep.
    pub last_event_id: SeqNum,
}

/// Hears of the first run, once a chat (C-155).
pub type OnTriggered = Arc<dyn Fn(Triggered) + Send + Sync>;

/// Hears of each turn's end, in the background; its failure goes nowhere (C-165).
pub type OnTurnComplete = Arc<dyn Fn(TurnComplete) -> BoxFuture<'static, Result<(), CallbackError>> + Send + Sync>;

/// Creates the session of one chat.
pub(super) struct Creator {
    pub(super) sessions: SessionsApi,
    pub(super) agent: TaskId,
    pub(super) chat_id: String,
    pub(super) trigger_config: TriggerConfig,
    pub(super) restored: Restored,
    pub(super) on_triggered: Option<OnTriggered>,
    pub(super) was_triggered: AtomicBool,
    pub(super) client_data: Mutex<Option<JsonObject>>,
    pub(super) idle_timeout: Mutex<Option<u64>>,
}

impl Creator {
    pub(super) fn set_client_data(&self, client_data: Option<JsonObject>) {
        *self.client_data.lock().unwrap_or_else(PoisonError::into_inner) = client_data;
    }

    pub(super) fn set_idle_timeout(&self, seconds: Option<u64>) {
        *self.idle_timeout.lock().unwrap_or_else(PoisonError::into_inner) = seconds;
    }

    /// Creates the session and tells the author of its first run (C-155).
    pub(super) async fn create(&self) -> Result<(), Error> {
        let created = self.sessions.create(&self.body()).await?;
        if !self.was_triggered.swap(true, Ordering::Relaxed)
            && let Some(heard) = &self.on_triggered
        {
            heard(Triggered { run_id: created.run_id, chat_id: self.chat_id.clone() });
        }
        Ok(())
    }

    /// Stores the configuration of a restored chat again, without a word to the author (C-157).
    pub(super) async fn refresh(&self) -> Result<(), Error> {
        if self.restored != Restored::No {
            self.sessions.create(&self.body()).await?;
        }
        Ok(())
    }

    fn body(&self) -> CreateSession {
        let client_data = self.client_data.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let idle_timeout_in_seconds = *self.idle_timeout.lock().unwrap_or_else(PoisonError::into_inner);
        let call = TriggerConfig { idle_timeout_in_seconds, ..TriggerConfig::default() };
        let body = ChatBody {
            task: &self.agent,
            chat_id: &self.chat_id,
            options: &self.trigger_config,
            call: Some(&call),
            client_data: client_data.as_ref(),
            metadata: None,
        };
        body.build()
    }
}

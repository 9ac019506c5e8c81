//! The boot hooks, and what every hook call has in common.

use std::sync::Arc;

use serde_json::Value;
use turnkeep_protocol::run_api::Mark;

use super::Run;
use crate::error::{Error, HookError, OutOfMemory};
use crate::event::{Boot, Preload};

/// Why a turn goes no further.
#[derive(Debug)]
pub(super) enum TurnFailure {
    /// The author's code failed, or a chunk is too large: an errored turn.
    Turn(String),
    /// The run itself cannot go on.
    Run(Error),
}

impl From<Error> for TurnFailure {
    fn from(error: Error) -> Self {
        match error {
            Error::ChunkTooLarge(_) => Self::Turn(error.to_string()),
            fatal => Self::Run(fatal),
        }
    }
}

impl From<HookError> for TurnFailure {
    fn from(error: HookError) -> Self {
        if error.is::<OutOfMemory>() {
            return Self::Run(Error::OutOfMemory);
        }
        match error.downcast::<Error>() {
            // An author's `?` on a writer brings our own errors back.
            Ok(own) => (*own).into(),
            Err(error) => Self::Turn(describe(&error)),
        }
    }
}

/// Gives the text that people see of an error raised outside the model's stream.
fn describe(error: &HookError) -> String {
    let text = error.to_string();
    if text.is_empty() { "An unexpected error occurred".to_owned() } else { text }
}

impl Run {
    /// Fails when a hook's error is one that no default can cure.
    pub(super) fn fatal(&self, hook: &'static str, error: &HookError) -> Result<(), Error> {
        match self.boot_error(hook, error) {
            Error::Hook { .. } | Error::ChunkTooLarge(_) => Ok(()),
            fatal => Err(fatal),
        }
    }

    /// Turns the failure of a boot hook into the failure of the run.
    pub(super) fn boot_error(&self, hook: &'static str, error: &HookError) -> Error {
        Error::of_hook(hook, error)
    }

    /// Parses client data by the author's rules; the identity without any.
    pub(super) fn parse_client_data(&self, metadata: Option<&Value>) -> Result<Value, HookError> {
        let raw = metadata.cloned().unwrap_or_default();
        match self.agent.client_data.as_ref().map(|data| &data.parse) {
            Some(parse) => parse(raw),
            None => Ok(raw),
        }
    }

    /// Gives the boot's client data: on a run that may serve later messages bad data is only worth a warning, and hooks are told
    /// what is wrong with it.
    pub(super) fn boot_client_data(&self, hook: &'static str) -> Result<(Value, Option<Arc<str>>), Error> {
        match self.parse_client_data(self.payload.metadata.as_ref()) {
            Ok(client_data) => Ok((client_data, None)),
            Err(error) if self.could_have_prior_state() => {
                self.warn(format!("the run's client data is invalid: {error}"));
                Ok((self.payload.metadata.clone().unwrap_or_default(), Some(Arc::from(error.to_string()))))
            }
            Err(error) => Err(self.boot_error(hook, &error)),
        }
    }

    /// Runs `on_boot`: once per fresh worker, after recovery, before the first wait.
    pub(super) async fn on_boot(&mut self) -> Result<(), Error> {
        let Some(hook) = self.agent.hooks.boot.clone() else {
            return Ok(());
        };
        let (client_data, client_data_error) = self.boot_client_data("on_boot")?;
        let event = Boot {
            chat: self.chat.clone(),
            ctx: self.ctx.clone(),
            chat_access_token: self.link.mint_token().await.unwrap_or_default(),
            client_data,
            client_data_error,
            continuation: self.is_continuation(),
            previous_run_id: self.payload.previous_run_id.clone(),
            preloaded: self.is_preloaded(),
        };
        hook(event).await.map_err(|error| self.boot_error("on_boot", &error))?;
        self.apply_override();
        Ok(())
    }

    /// Runs `on_preload`, at most once per chat (A-76, A-77, D-45).
    pub(super) async fn on_preload(&mut self) -> Result<(), Error> {
        let Some(hook) = self.agent.hooks.preload.clone().filter(|_| !self.lease.preloaded) else {
            return Ok(());
        };
        let writer = self.writer();
        let (client_data, client_data_error) = self.boot_client_data("on_preload")?;
        let event = Preload {
            chat: self.chat.clone(),
            ctx: self.ctx.clone(),
            chat_access_token: self.link.mint_token().await.unwrap_or_default(),
            client_data,
            client_data_error,
            writer: writer.clone(),
        };
        let result = hook(event).await;
        writer.flush().await?;
        result.map_err(|error| self.boot_error("on_preload", &error))?;
        self.link.mark(Mark::Preloaded).await?;
        self.lease.preloaded = true;
        self.apply_override();
        Ok(())
    }

    /// Makes a history override of the hook that just ended the chain; tells whether there was one.
    pub(super) fn apply_override(&mut self) -> bool {
        let changed = self.chat.history().take_override();
        let is_changed = changed.is_some();
        if let Some(messages) = changed {
            self.chain.replace_all(messages);
        }
        is_changed
    }
}

//! [`AgentBuilder`]: what several agents have in common, written once (A-258).

use std::fmt;

use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde_json::Value;
use turnkeep_model::UiStreamOptions;

use super::client_data::ClientData;
use super::hooks::Hooks;
use super::{Agent, TurnInput};
use crate::answer::Answer;
use crate::error::HookError;

/// Makes agents that have hooks, stream options and client data in common.
///
/// A builder's hook runs before the agent's own, and the agent's does not run when it fails. The agent's stream options win one by one,
/// and its client data wins as a whole. Hooks that give something back (recovery, validation, hydration, actions, tools, prepared
/// messages) are each agent's own.
///
/// ```
/// use turnkeep_agent::{AgentBuilder, Boot, TurnInput, TurnStart};
///
/// #[derive(serde::Deserialize, schemars::JsonSchema)]
/// struct Person {
///     user_id: String,
/// }
///
/// let common = AgentBuilder::new().client_data_as::<Person>().on_boot(|event: Boot| async move {
///     println!("chat {} boots", event.chat.id());
///     Ok(())
/// });
/// let sales = common.agent("sales", |turn: TurnInput| async move { Ok(turn.stream_text()) });
/// let support = common.agent("support", |turn: TurnInput| async move { Ok(turn.stream_text()) })
///     .on_turn_start(|_: TurnStart| async { Ok(()) });
///
/// assert_eq!(sales.payload_schema(), support.payload_schema());
/// ```
#[derive(Clone, Default)]
#[must_use = "a builder does nothing until it makes an agent"]
pub struct AgentBuilder {
    pub(super) hooks: Hooks,
    pub(super) ui_options: UiStreamOptions,
    client_data: Option<ClientData>,
}

impl AgentBuilder {
    /// Makes a builder that says nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Chooses what of every answer the client gets to see; what an agent chooses wins, one by one (A-121, A-258).
    pub fn ui_options(mut self, options: UiStreamOptions) -> Self {
        self.ui_options = options;
        self
    }

    /// Demands client data of this type, and publishes its schema; see [`Agent::client_data_as`] (A-8, A-259).
    pub fn client_data_as<T: DeserializeOwned + JsonSchema>(mut self) -> Self {
        self.client_data = Some(ClientData::of::<T>());
        self
    }

    /// Checks and shapes client data; null when the client sent none (A-8, A-9).
    pub fn client_data(mut self, parse: impl Fn(Value) -> Result<Value, HookError> + Send + Sync + 'static) -> Self {
        self.client_data = Some(ClientData::with(parse));
        self
    }

    /// Makes an agent, as [`Agent::new`] does, with what this builder says.
    pub fn agent<F, Fut, A>(&self, id: impl Into<String>, run: F) -> Agent
    where
        F: Fn(TurnInput) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<A, HookError>> + Send + 'static,
        A: Into<Answer>,
    {
        Agent {
            hooks: self.hooks.clone(),
            ui_options: self.ui_options.clone(),
            client_data: self.client_data.clone(),
            layer: self.clone(),
            ..Agent::new(id, run)
        }
    }
}

impl fmt::Debug for AgentBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AgentBuilder").field("ui_options", &self.ui_options).finish_non_exhaustive()
    }
}

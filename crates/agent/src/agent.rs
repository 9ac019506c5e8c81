//! [`Agent`]: an author's chat agent — its `run`, its hooks, its limits.

mod builder;
mod client_data;
mod hooks;
mod limits;
mod turn;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use serde_json::Value;
use turnkeep_model::{ModelOutputs, UiStreamOptions};
use turnkeep_protocol::TaskId;

pub use self::builder::AgentBuilder;
pub use self::client_data::client_data;
use self::client_data::{ClientData, Parse};
use self::hooks::Hooks;
pub(crate) use self::hooks::{Hook, boxed};
use self::limits::Limits;
pub use self::turn::TurnInput;
use crate::answer::Answer;
use crate::checkpoint::Gate;
use crate::compaction::Compaction;
use crate::custom::CustomRun;
use crate::error::HookError;
use crate::locals::SetUpLocals;
use crate::steering::PendingMessages;
use crate::tool::Tool;

/// A chat agent: build it once, give it to a worker.
#[derive(Clone)]
#[must_use = "an agent does nothing until a worker serves it"]
pub struct Agent {
    pub(crate) id: TaskId,
    pub(crate) run: Hook<TurnInput, Answer>,
    /// The code that drives the run in place of the turn loop.
    pub(crate) custom: Option<Hook<CustomRun>>,
    pub(crate) hooks: Hooks,
    /// What the builder that made the agent says: its hooks run before the agent's own, and its other choices hold where the agent
    /// makes none.
    pub(crate) layer: AgentBuilder,
    pub(crate) tools: Vec<Tool>,
    pub(crate) client_data: Option<ClientData>,
    pub(crate) action_schema: Option<Parse>,
    /// Whether an action without `on_action` has been warned of: once is enough.
    pub(crate) has_warned: Arc<AtomicBool>,
    pub(crate) model_outputs: ModelOutputs,
    pub(crate) pending_messages: Option<PendingMessages>,
    pub(crate) ui_options: UiStreamOptions,
    pub(crate) compaction: Option<Compaction>,
    pub(crate) limits: Limits,
    pub(crate) setup_locals: Vec<SetUpLocals>,
}

impl Agent {
    /// Makes an agent: `id` is the task id that sessions name, `run` answers one turn.
    pub fn new<F, Fut, A>(id: impl Into<String>, run: F) -> Self
    where
        F: Fn(TurnInput) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<A, HookError>> + Send + 'static,
        A: Into<Answer>,
    {
        let run: Hook<TurnInput, Answer> = Arc::new(move |turn| {
            let answer = run(turn);
            Box::pin(async move { answer.await.map(Into::into) })
        });
        let (hooks, limits) = (Hooks::default(), Limits::default());
        let model_outputs = ModelOutputs::new();
        Self {
            id: TaskId::new(id),
            run,
            custom: None,
            hooks,
            layer: AgentBuilder::new(),
            tools: Vec::new(),
            client_data: None,
            action_schema: None,
            setup_locals: Vec::new(),
            has_warned: Arc::default(),
            ui_options: UiStreamOptions::new(),
            model_outputs,
            pending_messages: None,
            compaction: None,
            limits,
        }
    }

    /// Gives the agent's id, the task id that sessions name.
    pub fn id(&self) -> &TaskId {
        &self.id
    }

    /// Puts a checkpoint before and behind each hook.
    pub(crate) fn gated(mut self, gate: &Gate) -> Self {
        if gate.is_watched() {
            self.run = gate.around("run", self.run);
            self.hooks = self.hooks.gated(gate);
            self.pending_messages = self.pending_messages.map(|pending| pending.gated(gate));
            self.compaction = self.compaction.map(|compaction| compaction.gated(gate));
        }
        self
    }

    /// Gives every turn these tools; `run` may pass others to its answer.
    pub fn tools(mut self, tools: impl IntoIterator<Item = Tool>) -> Self {
        self.tools = tools.into_iter().collect();
        self
    }

    /// Maps the outputs of tools to what the model reads, in old turns too.
    pub fn model_outputs(mut self, outputs: ModelOutputs) -> Self {
        self.model_outputs = outputs;
        self
    }

    /// Chooses what of every answer the client gets to see.
    ///
    /// [`StreamText::ui_options`](crate::StreamText::ui_options) chooses for one answer and wins; an [`AgentBuilder`]'s choices hold
    /// where these leave something open.
    pub fn ui_options(mut self, options: UiStreamOptions) -> Self {
        self.ui_options = self.layer.ui_options.clone().overridden_by(options);
        self
    }

    /// Checks and shapes actions before [`Agent::on_action`] sees them; null when the client sent none.
    pub fn action_schema(mut self, parse: impl Fn(Value) -> Result<Value, HookError> + Send + Sync + 'static) -> Self {
        self.action_schema = Some(Arc::new(parse));
        self
    }
}

impl fmt::Debug for Agent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Agent").field(&self.id.as_str()).finish()
    }
}

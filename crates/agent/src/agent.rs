//! [`Agent`]: an author's chat agent — its `run`, its hooks, its limits.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use futures::future::BoxFuture;
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde_json::Value;
use turnkeep_model::{LanguageModel, ModelOutputs, UiStreamOptions, Usage};
use turnkeep_protocol::{ModelMessage, TaskId, Trigger, UiMessage};

use crate::answer::{Answer, StreamText};
use crate::chat::{Chat, ChunkWriter};
use crate::checkpoint::Gate;
use crate::compaction::Compaction;
use crate::custom::CustomRun;
use crate::error::HookError;
use crate::event::{
    Action, ActionAnswer, BeforeTurnComplete, Boot, ChatStart, Compacted, HydrateMessages, HydrateStore, Preload,
    PrepareMessages, Recovery, RecoveryBoot, ResolveTools, RunContext, Suspension, TurnComplete, TurnStart,
    ValidateMessages,
};
use crate::locals::SetUpLocals;
use crate::signal::Signal;
use crate::steering::PendingMessages;
use crate::tool::{Tool, check_schema, parse, schema_of};

/// A hook: takes an event it owns, may do anything that is async, may fail.
pub(crate) type Hook<E, T = ()> = Arc<dyn Fn(E) -> BoxFuture<'static, Result<T, HookError>> + Send + Sync>;

/// Checks and shapes what a client sent.
type Parse = Arc<dyn Fn(Value) -> Result<Value, HookError> + Send + Sync>;

/// What errors call client data.
const CLIENT_DATA: &str = "clientData";

/// A chat agent: build it once, give it to a worker.
#[derive(Clone)]
#[must_use = "an agent does nothing until a worker serves it"]
pub struct Agent {
    pub(crate) id: TaskId,
    pub(crate) run: Hook<TurnInput, Answer>,
    /// The code that drives the run in place of the turn loop.
    pub(crate) custom: Option<Hook<CustomRun>>,
    pub(crate) hooks: Hooks,
    pub(crate) tools: Vec<Tool>,
    pub(crate) client_data: Option<Parse>,
    pub(crate) payload_schema: Option<Value>,
    pub(crate) action_schema: Option<Parse>,
    /// Whether an action without `on_action` has been warned of: once is enough (A-161).
    pub(crate) has_warned: Arc<AtomicBool>,
    pub(crate) model_outputs: ModelOutputs,
    pub(crate) pending_messages: Option<PendingMessages>,
    pub(crate) ui_options: UiStreamOptions,
    pub(crate) compaction: Option<Compaction>,
    pub(crate) limits: Limits,
    pub(crate) setup_locals: Vec<SetUpLocals>,
}

#[derive(Clone, Default)]
pub(crate) struct Hooks {
    pub(crate) recovery_boot: Option<Hook<RecoveryBoot, Recovery>>,
    pub(crate) boot: Option<Hook<Boot>>,
    pub(crate) preload: Option<Hook<Preload>>,
    pub(crate) tools: Option<Hook<ResolveTools, Vec<Tool>>>,
    pub(crate) action: Option<Hook<Action, ActionAnswer>>,
    pub(crate) validate_messages: Option<Hook<ValidateMessages, Vec<UiMessage>>>,
    pub(crate) hydrate_store: Option<Hook<HydrateStore, Value>>,
    pub(crate) hydrate_messages: Option<Hook<HydrateMessages, Vec<UiMessage>>>,
    pub(crate) chat_start: Option<Hook<ChatStart>>,
    pub(crate) turn_start: Option<Hook<TurnStart>>,
    pub(crate) prepare_messages: Option<Hook<PrepareMessages, Vec<ModelMessage>>>,
    pub(crate) compacted: Option<Hook<Compacted>>,
    pub(crate) before_turn_complete: Option<Hook<BeforeTurnComplete>>,
    pub(crate) turn_complete: Option<Hook<TurnComplete>>,
    pub(crate) chat_suspend: Option<Hook<Suspension>>,
    pub(crate) chat_resume: Option<Hook<Suspension>>,
}

impl Hooks {
    /// Names every field, so that a new hook cannot be forgotten here.
    fn gated(self, gate: &Gate) -> Self {
        let Self {
            recovery_boot,
            boot,
            preload,
            tools,
            action,
            validate_messages,
            hydrate_store,
            hydrate_messages,
            chat_start,
            turn_start,
            prepare_messages,
            compacted,
            before_turn_complete,
            turn_complete,
            chat_suspend,
            chat_resume,
        } = self;
        Self {
            recovery_boot: recovery_boot.map(|hook| gate.around("on_recovery_boot", hook)),
            boot: boot.map(|hook| gate.around("on_boot", hook)),
            preload: preload.map(|hook| gate.around("on_preload", hook)),
            tools: tools.map(|hook| gate.around("tools", hook)),
            action: action.map(|hook| gate.around("on_action", hook)),
            validate_messages: validate_messages.map(|hook| gate.around("on_validate_messages", hook)),
            hydrate_store: hydrate_store.map(|hook| gate.around("hydrate_store", hook)),
            hydrate_messages: hydrate_messages.map(|hook| gate.around("hydrate_messages", hook)),
            chat_start: chat_start.map(|hook| gate.around("on_chat_start", hook)),
            turn_start: turn_start.map(|hook| gate.around("on_turn_start", hook)),
            prepare_messages: prepare_messages.map(|hook| gate.around("prepare_messages", hook)),
            compacted: compacted.map(|hook| gate.around("on_compacted", hook)),
            before_turn_complete: before_turn_complete.map(|hook| gate.around("on_before_turn_complete", hook)),
            turn_complete: turn_complete.map(|hook| gate.around("on_turn_complete", hook)),
            chat_suspend: chat_suspend.map(|hook| gate.around("on_chat_suspend", hook)),
            chat_resume: chat_resume.map(|hook| gate.around("on_chat_resume", hook)),
        }
    }
}

/// The agent's limits (A-194); what is none follows another.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) max_turns: usize,
    pub(crate) turn_timeout: Duration,
    pub(crate) idle_timeout: Option<Duration>,
    pub(crate) preload_idle_timeout: Option<Duration>,
    pub(crate) preload_timeout: Option<Duration>,
    pub(crate) exits_after_preload_idle: bool,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_turns: 100,
            turn_timeout: Duration::from_secs(3600),
            idle_timeout: None,
            preload_idle_timeout: None,
            preload_timeout: None,
            exits_after_preload_idle: false,
        }
    }
}

/// Reads client data as the type that the agent demands.
///
/// ```
/// use turnkeep_agent::{Agent, TurnInput, client_data};
///
/// #[derive(serde::Deserialize, schemars::JsonSchema)]
/// struct Person {
///     name: String,
/// }
///
/// let agent = Agent::new("greeter", |turn: TurnInput| async move {
///     let person: Person = client_data(&turn.client_data)?;
///     Ok(turn.stream_text().system(format!("Greet {}.", person.name)))
/// })
/// .client_data_as::<Person>();
/// assert_eq!(agent.payload_schema().unwrap()["required"], serde_json::json!(["name"]));
/// ```
///
/// # Errors
///
/// Fails when it is not of that type, and says where.
pub fn client_data<T: DeserializeOwned>(value: &Value) -> Result<T, HookError> {
    Ok(parse(value.clone(), CLIENT_DATA)?)
}

/// What `run` gets: one turn to answer (A-98).
#[derive(Clone)]
pub struct TurnInput {
    /// The chat.
    pub chat: Chat,
    /// The run.
    pub ctx: RunContext,
    /// The turn, from 0.
    pub turn: usize,
    /// Why there is a turn.
    pub trigger: Trigger,
    /// The message to regenerate, if one was named.
    pub message_id: Option<String>,
    /// The history in model form, as `prepare_messages` left it.
    pub messages: Vec<ModelMessage>,
    /// The history.
    pub ui_messages: Vec<UiMessage>,
    /// The turn's client data.
    pub client_data: Value,
    /// Whether a run before this one served the session.
    pub continuation: bool,
    /// That run.
    pub previous_run_id: Option<String>,
    /// Whether the run was started before the first message.
    pub preloaded: bool,
    /// What the turn before cost.
    pub previous_turn_usage: Option<Usage>,
    /// What the run has cost so far.
    pub total_usage: Usage,
    /// The agent's tools.
    pub tools: Vec<Tool>,
    /// Set when a person stops the answer.
    pub stop_signal: Signal,
    /// Writes to `out`; data parts join the answer.
    pub writer: ChunkWriter,
    pub(crate) model: Arc<dyn LanguageModel>,
    pub(crate) ui_options: UiStreamOptions,
}

impl TurnInput {
    /// Begins an answer by the worker's model to the chat's history, with the agent's tools.
    pub fn stream_text(&self) -> StreamText {
        let stream = StreamText::new(self.model.clone(), self.messages.clone(), self.tools.clone());
        stream.ui_options(self.ui_options.clone())
    }
}

impl fmt::Debug for TurnInput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TurnInput").field("chat", &self.chat).field("turn", &self.turn).finish_non_exhaustive()
    }
}

/// Boxes a hook's future.
pub(crate) fn boxed<E, T, F, Fut>(hook: F) -> Hook<E, T>
where
    F: Fn(E) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<T, HookError>> + Send + 'static,
{
    Arc::new(move |event| Box::pin(hook(event)))
}

/// Declares the builder's method for each hook.
macro_rules! hooks {
    ($( $(#[$doc:meta])* $method:ident = $field:ident($event:ty) -> $result:ty; )*) => { $(
        $(#[$doc])*
        pub fn $method<F, Fut>(mut self, hook: F) -> Self
        where
            F: Fn($event) -> Fut + Send + Sync + 'static,
            Fut: Future<Output = Result<$result, HookError>> + Send + 'static,
        {
            self.hooks.$field = Some(boxed(hook));
            self
        }
    )* };
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
            tools: Vec::new(),
            client_data: None,
            payload_schema: None,
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

    /// Puts a checkpoint before and behind each hook (A-283).
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

    /// Maps the outputs of tools to what the model reads, in old turns too (A-131).
    pub fn model_outputs(mut self, outputs: ModelOutputs) -> Self {
        self.model_outputs = outputs;
        self
    }

    /// Chooses what of every answer the client gets to see; [`StreamText::ui_options`] chooses for one answer and wins (A-121).
    pub fn ui_options(mut self, options: UiStreamOptions) -> Self {
        self.ui_options = options;
        self
    }

    /// Demands client data of this type, and publishes its schema (A-8, A-259). Hooks get it as it was sent, unknown keys included
    /// (A-291); [`client_data`](crate::client_data) gives it as a `T`.
    ///
    /// A client that sends none sends null, which an `Option<T>` takes.
    pub fn client_data_as<T: DeserializeOwned + JsonSchema>(self) -> Self {
        let schema = schema_of::<T>();
        let mut agent = self.client_data({
            let schema = schema.clone();
            move |raw| {
                check_schema(&schema, &raw, CLIENT_DATA)?;
                parse::<T>(raw.clone(), CLIENT_DATA)?;
                Ok(raw)
            }
        });
        agent.payload_schema = Some(schema);
        agent
    }

    /// Gives the JSON schema of the client data that the agent demands, if it demands any (A-259).
    pub fn payload_schema(&self) -> Option<&Value> {
        self.payload_schema.as_ref()
    }

    /// Checks and shapes client data; null when the client sent none (A-8, A-9).
    pub fn client_data(mut self, parse: impl Fn(Value) -> Result<Value, HookError> + Send + Sync + 'static) -> Self {
        self.client_data = Some(Arc::new(parse));
        self.payload_schema = None;
        self
    }

    /// Checks and shapes actions before [`Agent::on_action`] sees them; null when the client sent none (A-160).
    pub fn action_schema(mut self, parse: impl Fn(Value) -> Result<Value, HookError> + Send + Sync + 'static) -> Self {
        self.action_schema = Some(Arc::new(parse));
        self
    }

    /// Runs when the person's app asks for something that is no message; it may change the history, answer, or both (A §8).
    ///
    /// A failure tells readers an error; no turn hook runs for actions.
    pub fn on_action<F, Fut, A>(mut self, hook: F) -> Self
    where
        F: Fn(Action) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<A, HookError>> + Send + 'static,
        A: Into<ActionAnswer>,
    {
        let hook: Hook<Action, ActionAnswer> = Arc::new(move |action| {
            let answer = hook(action);
            Box::pin(async move { answer.await.map(Into::into) })
        });
        self.hooks.action = Some(hook);
        self
    }

    hooks! {
        /// Runs when a run before this one died inside an answer (A-60). A failure is ignored and the default applies.
        on_recovery_boot = recovery_boot(RecoveryBoot) -> Recovery;
        /// Runs once in every fresh worker, before anything else of the run (A-75). A failure fails the run.
        on_boot = boot(Boot) -> ();
        /// Runs once per chat while it waits for its first message (A-76). A failure fails the run.
        on_preload = preload(Preload) -> ();
        /// Gives each turn and action its tools, in place of a fixed list (A-193). A failure fails the turn; at boot the restored
        /// history is then read without tools (A-9).
        resolve_tools = tools(ResolveTools) -> Vec<Tool>;
        /// Runs when a message came in; what it returns takes its place (A-86). A failure fails the turn.
        on_validate_messages = validate_messages(ValidateMessages) -> Vec<UiMessage>;
        /// Gives the history of every turn and action from the author's own store, the incoming message included (A-87). With it the
        /// runtime restores no history and stores no snapshot (A-74, A-108). A failure fails the turn.
        hydrate_messages = hydrate_messages(HydrateMessages) -> Vec<UiMessage>;
        /// Gives the chat's store of every turn and action; what a client has sent wins (A-185). A failure fails the turn (C-175).
        hydrate_store = hydrate_store(HydrateStore) -> Value;
        /// Runs before the first message turn of a chat, until it has succeeded once (A-94, D-45). A failure fails the turn.
        on_chat_start = chat_start(ChatStart) -> ();
        /// Runs before `run` of every turn (A-95). A failure fails the turn.
        on_turn_start = turn_start(TurnStart) -> ();
        /// Runs just before the history is used; what it returns is used instead (A-97). A failure fails the turn.
        prepare_messages = prepare_messages(PrepareMessages) -> Vec<ModelMessage>;
        /// Runs when a summary has been made and before clients are told that it is (A-171). A failure is the compaction's.
        on_compacted = compacted(Compacted) -> ();
        /// Runs when the answer is in the history and the stream is still open (A-104). A failure fails the turn; the answer stays.
        on_before_turn_complete = before_turn_complete(BeforeTurnComplete) -> ();
        /// Runs when the turn's boundary is durable, for failed turns too (A-107, A-152). A failure is ignored (A-110).
        on_turn_complete = turn_complete(TurnComplete) -> ();
        /// Runs when the idle time is over and the run is about to sleep (A-196).
        on_chat_suspend = chat_suspend(Suspension) -> ();
        /// Runs when a record has woken the run (A-196).
        on_chat_resume = chat_resume(Suspension) -> ();
    }

    /// Ends the run after this many message turns, 100 when not set (A-112).
    pub fn max_turns(mut self, max_turns: usize) -> Self {
        self.limits.max_turns = max_turns;
        self
    }

    /// Sets how long the run sleeps for the next message before it ends, 1 h when not set.
    pub fn turn_timeout(mut self, timeout: Duration) -> Self {
        self.limits.turn_timeout = timeout;
        self
    }

    /// Sets how long the run stays warm between turns, 30 s when neither this nor the payload says (A-76).
    pub fn idle_timeout(mut self, timeout: Duration) -> Self {
        self.limits.idle_timeout = Some(timeout);
        self
    }

    /// Sets how long a preloaded run stays warm for its first message; as [`Agent::idle_timeout`] when not set.
    pub fn preload_idle_timeout(mut self, timeout: Duration) -> Self {
        self.limits.preload_idle_timeout = Some(timeout);
        self
    }

    /// Sets how long a preloaded run sleeps for its first message; as [`Agent::turn_timeout`] when not set.
    pub fn preload_timeout(mut self, timeout: Duration) -> Self {
        self.limits.preload_timeout = Some(timeout);
        self
    }

    /// Ends a preloaded run whose idle time is over instead of letting it sleep (A-76).
    pub fn exit_after_preload_idle(mut self) -> Self {
        self.limits.exits_after_preload_idle = true;
        self
    }
}

impl fmt::Debug for Agent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Agent").field(&self.id.as_str()).finish()
    }
}

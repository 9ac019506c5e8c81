//! The hooks of an agent, and how the ones of its builder come before them.

use std::sync::Arc;

use futures::future::BoxFuture;
use serde_json::Value;
use turnkeep_protocol::{ModelMessage, UiMessage};

use super::{Agent, AgentBuilder};
use crate::checkpoint::Gate;
use crate::error::HookError;
use crate::event::{
    Action, ActionAnswer, BeforeTurnComplete, Boot, ChatStart, Compacted, HydrateMessages, HydrateStore, Preload,
    PrepareMessages, Recovery, RecoveryBoot, ResolveTools, Suspension, TaskComplete, TaskEvent, TaskFailure,
    TurnComplete, TurnStart, ValidateMessages,
};
use crate::tool::Tool;

/// A hook: takes an event it owns, may do anything that is async, may fail.
pub(crate) type Hook<E, T = ()> = Arc<dyn Fn(E) -> BoxFuture<'static, Result<T, HookError>> + Send + Sync>;

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
    pub(crate) start: Option<Hook<TaskEvent>>,
    pub(crate) wait: Option<Hook<TaskEvent>>,
    pub(crate) resume: Option<Hook<TaskEvent>>,
    pub(crate) success: Option<Hook<TaskEvent>>,
    pub(crate) failure: Option<Hook<TaskFailure>>,
    pub(crate) complete: Option<Hook<TaskComplete>>,
    pub(crate) cancel: Option<Hook<TaskEvent>>,
}

impl Hooks {
    /// Names every field, so that a new hook cannot be forgotten here.
    pub(super) fn gated(self, gate: &Gate) -> Self {
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
            // The task has gated its own.
            start,
            wait,
            resume,
            success,
            failure,
            complete,
            cancel,
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
            start,
            wait,
            resume,
            success,
            failure,
            complete,
            cancel,
        }
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

/// Runs `first` before `own`; what `first` fails with is the failure of both.
fn behind<E: Clone + Send + 'static>(first: Option<Hook<E>>, own: Hook<E>) -> Hook<E> {
    let Some(first) = first else {
        return own;
    };
    Arc::new(move |event: E| {
        let (first, own) = (first.clone(), own.clone());
        Box::pin(async move {
            first(event.clone()).await?;
            own(event).await
        })
    })
}

/// Declares the agent's method for each hook that a builder has nothing to say about.
macro_rules! hooks {
    ($( $(#[$doc:meta])* $method:ident = $field:ident($event:ty) -> $result:ty; )*) => {
        impl Agent { $(
            $(#[$doc])*
            pub fn $method<F, Fut>(mut self, hook: F) -> Self
            where
                F: Fn($event) -> Fut + Send + Sync + 'static,
                Fut: Future<Output = Result<$result, HookError>> + Send + 'static,
            {
                self.hooks.$field = Some(boxed(hook));
                self
            }
        )* }
    };
}

/// Declares the agent's and the builder's method for each hook that both may have.
macro_rules! layered_hooks {
    ($( $(#[$doc:meta])* $method:ident = $field:ident($event:ty); )*) => {
        impl Agent { $(
            $(#[$doc])*
            pub fn $method<F, Fut>(mut self, hook: F) -> Self
            where
                F: Fn($event) -> Fut + Send + Sync + 'static,
                Fut: Future<Output = Result<(), HookError>> + Send + 'static,
            {
                self.hooks.$field = Some(behind(self.layer.hooks.$field.clone(), boxed(hook)));
                self
            }
        )* }

        impl AgentBuilder { $(
            $(#[$doc])*
            ///
            /// It comes before the hook of the agent itself, which does not run when this one fails.
            pub fn $method<F, Fut>(mut self, hook: F) -> Self
            where
                F: Fn($event) -> Fut + Send + Sync + 'static,
                Fut: Future<Output = Result<(), HookError>> + Send + 'static,
            {
                self.hooks.$field = Some(boxed(hook));
                self
            }
        )* }
    };
}

impl Agent {
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
}

hooks! {
    /// Runs when a run before this one died inside an answer. A failure is ignored and the default applies.
    on_recovery_boot = recovery_boot(RecoveryBoot) -> Recovery;
    /// Gives each turn and action its tools, in place of a fixed list. A failure fails the turn; at boot the restored
    /// history is then read without tools.
    resolve_tools = tools(ResolveTools) -> Vec<Tool>;
    /// Runs when a message came in; what it returns takes its place. A failure fails the turn.
    on_validate_messages = validate_messages(ValidateMessages) -> Vec<UiMessage>;
    /// Gives the history of every turn and action from the author's own store, the incoming message included. With it the
    /// runtime restores no history and stores no snapshot. A failure fails the turn.
    hydrate_messages = hydrate_messages(HydrateMessages) -> Vec<UiMessage>;
    /// Gives the chat's store of every turn and action; what a client has sent wins. A failure fails the turn (C-175).
    hydrate_store = hydrate_store(HydrateStore) -> Value;
    /// Runs just before the history is used; what it returns is used instead. A failure fails the turn.
    prepare_messages = prepare_messages(PrepareMessages) -> Vec<ModelMessage>;
}

layered_hooks! {
    /// Runs once in every fresh worker, before anything else of the run. A failure fails the run.
    on_boot = boot(Boot);
    /// Runs once per chat while it waits for its first message. A failure fails the run.
    on_preload = preload(Preload);
    /// Runs before the first message turn of a chat, until it has succeeded once (A-94, D-45). A failure fails the turn.
    on_chat_start = chat_start(ChatStart);
    /// Runs before `run` of every turn. A failure fails the turn.
    on_turn_start = turn_start(TurnStart);
    /// Runs when a summary has been made and before clients are told that it is. A failure is the compaction's.
    on_compacted = compacted(Compacted);
    /// Runs when the answer is in the history and the stream is still open. A failure fails the turn; the answer stays.
    on_before_turn_complete = before_turn_complete(BeforeTurnComplete);
    /// Runs when the turn's boundary is durable, for failed turns too. A failure is ignored.
    on_turn_complete = turn_complete(TurnComplete);
    /// Runs when the idle time is over and the run is about to sleep.
    on_chat_suspend = chat_suspend(Suspension);
    /// Runs when a record has woken the run.
    on_chat_resume = chat_resume(Suspension);
    /// Runs before anything else of a run, until it has succeeded once in one of its attempts. A failure fails the run.
    on_start = start(TaskEvent);
    /// Runs before every durable wait, of custom agents too. A failure is only warned of.
    on_wait = wait(TaskEvent);
    /// Runs when a durable wait is over, whatever ended it. A failure is only warned of.
    on_resume = resume(TaskEvent);
    /// Runs when the run has ended by its own will. A failure is only warned of.
    on_success = success(TaskEvent);
    /// Runs when the run has failed for good; not when another attempt may follow. A failure is only warned of.
    on_failure = failure(TaskFailure);
    /// Runs behind `on_success` and `on_failure`. A failure is only warned of.
    on_complete = complete(TaskComplete);
    /// Runs when the run was cancelled from outside and is gone: no other hook of it runs any more, and it can write nothing (A-196,
    /// It has 30 s. A failure is only warned of. Whoever is out of the server's reach is not told.
    on_cancel = cancel(TaskEvent);
}

//! What hooks are told: one owned struct per hook, with the fields of Appendix B.

mod action;
mod compaction;
mod hydrate;
mod steering;
mod store;
mod task;

use std::ops::Deref;
use std::sync::Arc;

use futures::future::BoxFuture;
use serde_json::Value;
use turnkeep_model::{FinishReason, Usage};
use turnkeep_protocol::run_api::LeasedRun;
use turnkeep_protocol::{Messages, ModelMessage, RunId, SeqNum, SessionId, TaskId, Trigger, UiMessage};

use crate::chat::{Chat, ChunkWriter};
use crate::error::HookError;

pub use self::action::{Action, ActionAnswer};
pub use self::compaction::{Compacted, CompactionCheck, CompactionSource, CompactionSummary};
pub use self::hydrate::HydrateMessages;
pub use self::steering::{PendingMessageReceived, PendingMessagesBatch, PendingMessagesInjected};
pub use self::store::HydrateStore;
pub use self::task::{TaskComplete, TaskEvent, TaskFailure};

/// Tells a hook which run it is in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunContext {
    /// The run.
    pub run_id: RunId,
    /// Which try this is, from 1.
    pub attempt: u32,
    /// The agent's id.
    pub task_id: TaskId,
    /// The session's public id.
    pub session_id: SessionId,
}

impl RunContext {
    pub(crate) fn of(lease: &LeasedRun) -> Self {
        Self {
            run_id: lease.run_id.clone(),
            attempt: lease.attempt,
            task_id: lease.task_id.clone(),
            session_id: lease.session_id.clone(),
        }
    }
}

/// A call in an answer that was cut, which nobody has answered.
#[derive(Clone, Debug, PartialEq)]
pub struct PendingToolCall {
    /// Names the call.
    pub tool_call_id: String,
    /// Names the tool.
    pub tool_name: String,
    /// Holds the input.
    pub input: Value,
    /// Tells where in the message it stands.
    pub part_index: usize,
}

/// `on_recovery_boot`: the run before this one died inside an answer.
#[derive(Clone, Debug)]
pub struct RecoveryBoot {
    /// The chat.
    pub chat: Chat,
    /// The run.
    pub ctx: RunContext,
    /// The run before, or an empty text.
    pub previous_run_id: String,
    /// Always `unknown`: nobody can tell why a process is gone.
    pub cause: &'static str,
    /// The history up to the last closed turn.
    pub settled_messages: Messages,
    /// The messages that were not answered.
    pub in_flight_users: Vec<UiMessage>,
    /// The answer that was cut, cleaned.
    pub partial_assistant: UiMessage,
    /// Its calls without an answer.
    pub pending_tool_calls: Vec<PendingToolCall>,
    /// Writes to `out` before the first recovered turn.
    pub writer: ChunkWriter,
}

/// What `on_recovery_boot` decides; what is left out is done by default.
#[derive(Default)]
pub struct Recovery {
    /// Replaces the restored history.
    pub chain: Option<Vec<UiMessage>>,
    /// Replaces the list of messages to answer.
    pub recovered_turns: Option<Vec<UiMessage>>,
    /// Runs before the first recovered turn; its failure fails the run.
    pub before_boot: Option<BoxFuture<'static, Result<(), HookError>>>,
}

/// `on_boot`: a fresh worker took the run up.
#[derive(Clone, Debug)]
pub struct Boot {
    /// The chat.
    pub chat: Chat,
    /// The run.
    pub ctx: RunContext,
    /// The chat's access token; empty when none could be minted.
    pub chat_access_token: String,
    /// The run's client data; as it was sent when it is not what the agent demands.
    pub client_data: Value,
    /// Why the client data is not what the agent demands: on a run that may serve later messages that is no failure.
    pub client_data_error: Option<Arc<str>>,
    /// Whether a run before this one served the session.
    pub continuation: bool,
    /// That run.
    pub previous_run_id: Option<String>,
    /// Whether the run was started before the first message.
    pub preloaded: bool,
}

/// `on_preload`: the run waits for its first message.
#[derive(Clone, Debug)]
pub struct Preload {
    /// The chat.
    pub chat: Chat,
    /// The run.
    pub ctx: RunContext,
    /// The chat's access token; empty when none could be minted.
    pub chat_access_token: String,
    /// The run's client data; as it was sent when it is not what the agent demands.
    pub client_data: Value,
    /// Why the client data is not what the agent demands: on a run that may serve later messages that is no failure.
    pub client_data_error: Option<Arc<str>>,
    /// Writes to `out`; data parts belong to the next answer.
    pub writer: ChunkWriter,
}

/// `on_validate_messages`: a message came in; what the hook returns takes its place.
#[derive(Clone, Debug)]
pub struct ValidateMessages {
    /// The chat.
    pub chat: Chat,
    /// What came in.
    pub messages: Vec<UiMessage>,
    /// The turn, from 0.
    pub turn: usize,
    /// Why it came.
    pub trigger: Trigger,
}

/// `on_chat_start`: the first message turn of the chat.
#[derive(Clone, Debug)]
pub struct ChatStart {
    /// The chat.
    pub chat: Chat,
    /// The run.
    pub ctx: RunContext,
    /// The history in model form.
    pub messages: Vec<ModelMessage>,
    /// The turn's client data.
    pub client_data: Value,
    /// The chat's access token; empty when none could be minted.
    pub chat_access_token: String,
    /// Whether a run before this one served the session.
    pub continuation: bool,
    /// That run.
    pub previous_run_id: Option<String>,
    /// Whether the run was started before the first message.
    pub preloaded: bool,
    /// Writes to `out`.
    pub writer: ChunkWriter,
}

/// `on_turn_start`: a message turn is about to run. Store the person's message here, and await it.
#[derive(Clone, Debug)]
pub struct TurnStart {
    /// The chat.
    pub chat: Chat,
    /// The run.
    pub ctx: RunContext,
    /// The history in model form.
    pub messages: Vec<ModelMessage>,
    /// The history.
    pub ui_messages: Messages,
    /// The turn, from 0.
    pub turn: usize,
    /// The chat's access token; empty when none could be minted.
    pub chat_access_token: String,
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
    /// Writes to `out`.
    pub writer: ChunkWriter,
}

/// `resolve_tools`: a turn or an action is about to begin, or a restored history to be read.
#[derive(Clone, Debug)]
pub struct ResolveTools {
    /// The chat.
    pub chat: Chat,
    /// The turn, from 0.
    pub turn: usize,
    /// Whether a run before this one served the session.
    pub continuation: bool,
    /// The turn's client data.
    pub client_data: Value,
}

/// `prepare_messages`: the history in model form, just before it is used.
#[derive(Clone, Debug)]
pub struct PrepareMessages {
    /// The chat.
    pub chat: Chat,
    /// What the model would get.
    pub messages: Vec<ModelMessage>,
    /// Why; `run` is before the author's `run`.
    pub reason: &'static str,
    /// The turn, from 0.
    pub turn: usize,
    /// The turn's client data.
    pub client_data: Value,
}

/// `on_turn_complete`: a turn is over and its boundary is on `out`. Store messages and `last_event_id` in one transaction.
#[derive(Clone, Debug)]
pub struct TurnComplete {
    /// The chat.
    pub chat: Chat,
    /// The run.
    pub ctx: RunContext,
    /// The history in model form.
    pub messages: Vec<ModelMessage>,
    /// The history.
    pub ui_messages: Messages,
    /// What this turn added, in model form.
    pub new_messages: Vec<ModelMessage>,
    /// What this turn added.
    pub new_ui_messages: Vec<UiMessage>,
    /// The answer, if there is one; cleaned when it was stopped.
    pub response_message: Option<UiMessage>,
    /// The answer as it was streamed.
    pub raw_response_message: Option<UiMessage>,
    /// The turn, from 0.
    pub turn: usize,
    /// The chat's access token; empty when none could be minted.
    pub chat_access_token: String,
    /// The place of the turn's boundary on `out`: where a reader that has the answer resumes.
    pub last_event_id: Option<SeqNum>,
    /// The turn's client data; null when the turn failed.
    pub client_data: Value,
    /// Whether a person stopped the answer.
    pub stopped: bool,
    /// Whether a run before this one served the session.
    pub continuation: bool,
    /// That run.
    pub previous_run_id: Option<String>,
    /// Whether the run was started before the first message.
    pub preloaded: bool,
    /// What the turn cost.
    pub usage: Option<Usage>,
    /// What the run has cost so far.
    pub total_usage: Usage,
    /// Why the model stopped; none after a stop.
    pub finish_reason: Option<FinishReason>,
    /// Why the turn failed.
    pub error: Option<Arc<str>>,
}

/// `on_before_turn_complete`: the answer is in the history and the stream is still open.
#[derive(Clone, Debug)]
pub struct BeforeTurnComplete {
    /// The turn as `on_turn_complete` will see it, without `last_event_id`.
    pub complete: TurnComplete,
    /// Writes to `out`; data parts join the answer.
    pub writer: ChunkWriter,
}

impl Deref for BeforeTurnComplete {
    type Target = TurnComplete;

    fn deref(&self) -> &TurnComplete {
        &self.complete
    }
}

/// Where in its life a run suspends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SuspendPhase {
    /// Before the first message of a preloaded run.
    Preload,
    /// Before the first message of a continuation.
    Continuation,
    /// After a turn.
    Turn,
}

/// `on_chat_suspend` and `on_chat_resume`: the idle time is over and the run sleeps; a record woke it.
#[derive(Clone, Debug)]
pub struct Suspension {
    /// The chat.
    pub chat: Chat,
    /// The run.
    pub ctx: RunContext,
    /// Where in the run's life.
    pub phase: SuspendPhase,
    /// The run's client data; as it was sent when it is not what the agent demands.
    pub client_data: Value,
    /// Why the client data is not what the agent demands: on a run that may serve later messages that is no failure.
    pub client_data_error: Option<Arc<str>>,
    /// The number of turns so far; in the turn phase only.
    pub turn: Option<usize>,
    /// The history in model form; in the turn phase only.
    pub messages: Vec<ModelMessage>,
    /// The history; in the turn phase only.
    pub ui_messages: Messages,
}

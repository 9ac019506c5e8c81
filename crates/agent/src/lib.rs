//! The agent runtime: boot, turn loop, hooks, tools, chat snapshots.
//!
//! An author builds an [`Agent`]; a [`Worker`] leases runs from the session server and serves each one: it restores the chat, takes
//! messages off `in` one at a time, answers them on `out`, and stores a snapshot after every turn.
//!
//! ```text
//! lease ──▶ boot (snapshot, `out`, `in`) ──▶ turn ──▶ turn ──▶ wait ──▶ … ──▶ end
//!                                             │ hooks · run · model steps · tools
//!                                             └▶ chunks · turn-complete · trim · snapshot
//! ```
//!
//! ```
//! use std::time::Duration;
//! use serde_json::{Value, json};
//! use turnkeep_agent::{Agent, Tool, ToolContext, TurnInput, TurnStart, step_count_is};
//!
//! fn agent() -> Agent {
//!     let schema = json!({ "type": "object", "properties": { "city": { "type": "string" } }, "required": ["city"] });
//!     let forecast = Tool::new("forecast", "Looks up the forecast", schema, |input: Value, _ctx: ToolContext| async move {
//!         Ok(json!({ "city": input["city"], "sky": "clear" }))
//!     });
//!     Agent::new("weather", move |turn: TurnInput| {
//!         let forecast = forecast.clone();
//!         async move { Ok(turn.stream_text().system("You tell the weather.").tools([forecast]).stop_when(step_count_is(5))) }
//!     })
//!     .on_turn_start(|event: TurnStart| async move {
//!         assert!(!event.ui_messages.is_empty());
//!         Ok(())
//!     })
//!     .idle_timeout(Duration::from_secs(30))
//! }
//! assert_eq!(format!("{:?}", agent()), r#"Agent("weather")"#);
//! ```
//!
//! An author whose chat does not fit into the turn loop writes one: [`Agent::custom`] hands the whole run to the author's code, message
//! by message ([`CustomRun`]) or turn by turn ([`CustomRun::create_session`]).

mod accumulator;
mod agent;
mod answer;
mod approval_tail;
mod ask_agent;
mod attempt;
mod boot;
mod boundary;
mod chain;
mod chat;
mod checkpoint;
mod child;
mod compaction;
mod custom;
mod deferred;
mod error;
mod event;
mod generation;
mod handover;
mod history;
mod http_link;
mod inbox;
mod inject;
mod input;
mod link;
mod locals;
mod metadata;
mod model_history;
mod out;
mod pipe;
mod prompt;
mod record;
mod run;
mod signal;
mod skills;
mod spoken;
mod steering;
mod store;
mod task;
#[cfg(test)]
mod testing;
mod tool;
mod views;
mod worker;

pub use accumulator::{Accumulated, CompactionContext, MessageAccumulator};
pub use agent::{Agent, AgentBuilder, TurnInput, client_data};
pub use answer::{
    Answer, PrepareStep, StepCall, StepChange, StepResult, Steps, StopCondition, StreamText, ToolChoice, has_tool_call,
    step_count_is,
};
pub use ask_agent::{AskAgent, last_text};
pub use chain::NothingToRegenerate;
pub use chat::{Chat, ChunkWriter};
pub use checkpoint::{Checkpoint, Checkpoints, Place};
pub use child::{
    ChildContext, ChildEnd, ChildRun, ChildTask, ChildTasks, NoChatContext, RootWriter, TOOL_CALL_METADATA,
    TaskSchemaError, ToolCallChat, ToolCallOptions, tool_execute,
};
pub use compaction::{Compaction, StepCompaction, is_compaction_safe};
pub use custom::{
    CompletedTurn, CustomAgent, CustomRun, CustomSession, CustomTurn, SessionOptions, StopSignal, TurnBoundary,
    WaitOptions,
};
pub use error::{ChunkTooLarge, Error, HookError, OutOfMemory};
pub use event::{
    Action, ActionAnswer, BeforeTurnComplete, Boot, ChatStart, Compacted, CompactionCheck, CompactionSource,
    CompactionSummary, HydrateMessages, HydrateStore, PendingMessageReceived, PendingMessagesBatch,
    PendingMessagesInjected, PendingToolCall, Preload, PrepareMessages, Recovery, RecoveryBoot, ResolveTools,
    RunContext, SuspendPhase, Suspension, TaskComplete, TaskEvent, TaskFailure, TurnComplete, TurnStart,
    ValidateMessages,
};
pub use handover::{Handover, HandoverSignal};
pub use history::{ChatHistory, PendingCall, ResolvedCall};
pub use inject::{InjectQueueFull, MAX_INJECTED};
pub use locals::{ChatLocal, Local, LocalError, LocalKey, Locals};
pub use pipe::{Captured, PipeOptions, PipeSource, PipeStatus};
pub use prompt::{CacheControl, ChatPrompt, PromptUnset, ResolvedPrompt, StreamTextOptions, ToStreamText};
pub use signal::Signal;
pub use skills::{ChatSkills, FrontMatterError, ResolvedSkill, Skill, SkillError, SkillFrontmatter};
pub use steering::PendingMessages;
pub use store::{ChatStore, StoreError, StoreListener};
pub use tool::{Tool, ToolContext, TypedToolPart, schema_of};
pub use worker::{DEFAULT_CONCURRENCY, Worker, WorkerOptions};

// An author needs one dependency: the crates whose types appear in signatures above come along.
pub use turnkeep_client as client;
pub use turnkeep_host as host;
pub use turnkeep_model as model;
pub use turnkeep_protocol as protocol;
// And those that an author's own types derive from: `#[serde(crate = "turnkeep_agent::serde")]`.
pub use {schemars, serde, serde_json};

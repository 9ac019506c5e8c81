//! What the callbacks of [`Compaction`](crate::Compaction) and `on_compacted` are told.

use serde_json::Value;
use turnkeep_model::Usage;
use turnkeep_protocol::{Messages, ModelMessage};

use super::RunContext;
use crate::answer::StepResult;
use crate::chat::{Chat, ChunkWriter};

/// When a history is compacted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CompactionSource {
    /// Between two steps of an answer.
    Inner,
    /// At the end of a turn.
    Outer,
}

/// `should_compact` and `summarize`: what the model would read, and what reading it has cost.
#[derive(Clone, Debug)]
pub struct CompactionCheck {
    /// The chat.
    pub chat: Chat,
    /// What the model would read.
    pub messages: Vec<ModelMessage>,
    /// All tokens of `usage`, if the provider said.
    pub total_tokens: Option<u64>,
    /// The tokens of `usage` that the model read, if the provider said.
    pub input_tokens: Option<u64>,
    /// The tokens of `usage` that the model wrote, if the provider said.
    pub output_tokens: Option<u64>,
    /// What the newest step cost; the whole turn, at its end.
    pub usage: Usage,
    /// What the run has cost so far.
    pub total_usage: Usage,
    /// The turn, from 0.
    pub turn: usize,
    /// The turn's client data.
    pub client_data: Value,
    /// When.
    pub source: CompactionSource,
    /// The step that has just ended, from 0; none at the end of a turn.
    pub step_number: Option<usize>,
    /// What came of the answer's steps; none at the end of a turn.
    pub steps: Vec<StepResult>,
}

/// `compact_model_messages` and `compact_ui_messages`: a summary is made, and what is kept beside it is the author's choice.
#[derive(Clone, Debug)]
pub struct CompactionSummary {
    /// The chat.
    pub chat: Chat,
    /// The summary.
    pub summary: String,
    /// The history; without the answer that is being given, between its steps.
    pub ui_messages: Messages,
    /// The same in model form.
    pub model_messages: Vec<ModelMessage>,
    /// The turn, from 0.
    pub turn: usize,
    /// The turn's client data.
    pub client_data: Value,
    /// When.
    pub source: CompactionSource,
}

/// `on_compacted`: the model will read a summary from now on.
#[derive(Clone, Debug)]
pub struct Compacted {
    /// The chat.
    pub chat: Chat,
    /// The run.
    pub ctx: RunContext,
    /// The summary.
    pub summary: String,
    /// What it stands for.
    pub messages: Vec<ModelMessage>,
    /// How many messages those are.
    pub message_count: usize,
    /// What the newest step cost; the whole turn, at its end.
    pub usage: Usage,
    /// All tokens of `usage`, if the provider said.
    pub total_tokens: Option<u64>,
    /// The tokens of `usage` that the model read, if the provider said.
    pub input_tokens: Option<u64>,
    /// The tokens of `usage` that the model wrote, if the provider said.
    pub output_tokens: Option<u64>,
    /// The step that has just ended, from 0; none at the end of a turn.
    pub step_number: Option<usize>,
    /// The turn, from 0.
    pub turn: usize,
    /// When.
    pub source: CompactionSource,
    /// Writes to `out`; data parts join the answer.
    pub writer: ChunkWriter,
}

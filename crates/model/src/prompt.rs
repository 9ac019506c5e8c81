//! [`Prompt`]: everything a model gets for one step.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use turnkeep_protocol::model_message::ModelMessage;
use turnkeep_protocol::{JsonObject, RunId};

/// Holds what a model gets for one step.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Prompt {
    /// Instructs the model before the conversation.
    pub system: Option<String>,
    /// Holds the conversation so far.
    pub messages: Vec<ModelMessage>,
    /// Lists the tools the model may call.
    pub tools: Vec<ToolSpec>,
    /// Counts the steps of the turn before this one.
    pub step: usize,
    /// Holds settings such as `temperature`, under the AI SDK's names.
    pub settings: JsonObject,
    /// Holds options for a provider, under the provider's name.
    pub provider_options: JsonObject,
    /// Tells who asks; none outside a run.
    pub origin: Option<Origin>,
}

/// Tells on whose behalf a step is asked for: for logs and tests, never for the provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// Names the chat, by the author's own id.
    pub chat_id: String,
    /// Names the run.
    pub run_id: RunId,
    /// Counts the tries at the run, from 1.
    pub attempt: u32,
    /// Counts the turns of the run, from 0.
    pub turn: usize,
}

/// Describes a tool to a model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ToolSpec {
    /// Names the tool.
    pub name: String,
    /// Tells the model what the tool does and when to call it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Holds the JSON schema of the input.
    pub input_schema: Value,
}

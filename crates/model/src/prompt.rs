//! [`Prompt`]: everything a model gets for one step.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use turnkeep_protocol::JsonObject;
use turnkeep_protocol::model_message::ModelMessage;

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

//! [`PrepareStep`]: an author's last word before each step, and [`StepChange`]: what it may change.

use std::fmt;
use std::sync::Arc;

use serde_json::{Value, json};
use turnkeep_model::LanguageModel;
use turnkeep_protocol::{JsonObject, ModelMessage, UiMessageChunk};

use super::{StepResult, TOOL_CHOICE};
use crate::chat::Chat;
use crate::tool::Tool;

/// `prepare_step`: the model is about to be asked.
#[derive(Clone, Debug)]
pub struct PrepareStep {
    /// The chat.
    pub chat: Chat,
    /// The turn, from 0.
    pub turn: usize,
    /// The turn's client data.
    pub client_data: Value,
    /// The step, from 0.
    pub step_number: usize,
    /// What came of the steps before.
    pub steps: Vec<StepResult>,
    /// What the model would get.
    pub messages: Vec<ModelMessage>,
}

/// What is different about one step; what is not named stays as the answer has it.
#[derive(Clone, Default)]
#[must_use = "nothing changes unless the hook returns it"]
pub struct StepChange {
    pub(crate) model: Option<Arc<dyn LanguageModel>>,
    pub(crate) messages: Option<Vec<ModelMessage>>,
    pub(crate) system: Option<String>,
    pub(crate) tools: Option<Vec<Tool>>,
    pub(crate) settings: JsonObject,
    pub(crate) provider_options: JsonObject,
    /// What the preparation has told readers: parts of the answer that stand in front of the step.
    pub(crate) told: Vec<UiMessageChunk>,
}

impl StepChange {
    /// Changes nothing.
    pub fn none() -> Self {
        Self::default()
    }

    /// Asks this model.
    pub fn model(mut self, model: Arc<dyn LanguageModel>) -> Self {
        self.model = Some(model);
        self
    }

    /// Sends these messages.
    pub fn messages(mut self, messages: Vec<ModelMessage>) -> Self {
        self.messages = Some(messages);
        self
    }

    /// Instructs the model with this text.
    pub fn system(mut self, text: impl Into<String>) -> Self {
        self.system = Some(text.into());
        self
    }

    /// Lets the model call these tools and no others.
    pub fn tools(mut self, tools: impl IntoIterator<Item = Tool>) -> Self {
        self.tools = Some(tools.into_iter().collect());
        self
    }

    /// Says which tools the model may or must call.
    pub fn tool_choice(self, choice: ToolChoice) -> Self {
        self.setting(TOOL_CHOICE, choice.into())
    }

    /// Sets a model setting, under the AI SDK's name; others stay.
    pub fn setting(mut self, name: impl Into<String>, value: Value) -> Self {
        self.settings.insert(name.into(), value);
        self
    }

    /// Sets options for one provider; other providers' stay.
    pub fn provider_options(mut self, provider: impl Into<String>, options: Value) -> Self {
        self.provider_options.insert(provider.into(), options);
        self
    }
}

impl fmt::Debug for StepChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StepChange")
            .field("model", &self.model.as_ref().map(|model| model.model_id()))
            .field("messages", &self.messages)
            .field("system", &self.system)
            .field("tools", &self.tools)
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

/// Which tools a model may or must call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ToolChoice {
    /// The model decides.
    Auto,
    /// None.
    None,
    /// One at least, whichever.
    Required,
    /// This one.
    Tool(String),
}

impl From<ToolChoice> for Value {
    /// Writes the choice as the AI SDK does.
    fn from(choice: ToolChoice) -> Self {
        match choice {
            ToolChoice::Auto => json!("auto"),
            ToolChoice::None => json!("none"),
            ToolChoice::Required => json!("required"),
            ToolChoice::Tool(name) => json!({ "type": "tool", "toolName": name }),
        }
    }
}

//! [`StreamText`]: how an author's `run` asks for an answer, and [`Answer`]: what `run` may return.

use std::fmt;
use std::sync::Arc;

use serde_json::Value;
use turnkeep_model::{LanguageModel, UiStreamOptions};
use turnkeep_protocol::{JsonObject, ModelMessage};

use crate::tool::Tool;

/// An answer to be generated: the model is called when `run` has returned it.
#[derive(Clone)]
#[must_use = "nothing is generated unless `run` returns it"]
pub struct StreamText {
    pub(crate) model: Arc<dyn LanguageModel>,
    pub(crate) messages: Vec<ModelMessage>,
    pub(crate) system: Option<String>,
    pub(crate) tools: Vec<Tool>,
    pub(crate) stop_when: Vec<StopCondition>,
    pub(crate) settings: JsonObject,
    pub(crate) provider_options: JsonObject,
    pub(crate) ui_options: UiStreamOptions,
}

impl StreamText {
    pub(crate) fn new(model: Arc<dyn LanguageModel>, messages: Vec<ModelMessage>, tools: Vec<Tool>) -> Self {
        Self {
            model,
            messages,
            system: None,
            tools,
            stop_when: Vec::new(),
            settings: JsonObject::new(),
            provider_options: JsonObject::new(),
            ui_options: UiStreamOptions::new(),
        }
    }

    /// Calls this model instead of the worker's.
    pub fn model(mut self, model: Arc<dyn LanguageModel>) -> Self {
        self.model = model;
        self
    }

    /// Instructs the model before the conversation.
    pub fn system(mut self, text: impl Into<String>) -> Self {
        self.system = Some(text.into());
        self
    }

    /// Sends these messages instead of the chat's history.
    pub fn messages(mut self, messages: Vec<ModelMessage>) -> Self {
        self.messages = messages;
        self
    }

    /// Lets the model call these tools instead of the agent's.
    pub fn tools(mut self, tools: impl IntoIterator<Item = Tool>) -> Self {
        self.tools = tools.into_iter().collect();
        self
    }

    /// Adds a condition under which no further step starts; any one that holds stops. Without one there is one step.
    pub fn stop_when(mut self, condition: StopCondition) -> Self {
        self.stop_when.push(condition);
        self
    }

    /// Sets a model setting such as `temperature`, under the AI SDK's name.
    pub fn setting(mut self, name: impl Into<String>, value: Value) -> Self {
        self.settings.insert(name.into(), value);
        self
    }

    /// Sets options for one provider.
    pub fn provider_options(mut self, provider: impl Into<String>, options: Value) -> Self {
        self.provider_options.insert(provider.into(), options);
        self
    }

    /// Chooses what of the answer the client gets to see.
    pub fn ui_options(mut self, options: UiStreamOptions) -> Self {
        self.ui_options = self.ui_options.overridden_by(options);
        self
    }

    /// Tells whether no further step may start.
    pub(crate) fn stops(&self, steps: &Steps) -> bool {
        match self.stop_when.as_slice() {
            [] => steps.n_steps >= 1,
            conditions => conditions.iter().any(|condition| (condition.0)(steps)),
        }
    }
}

impl fmt::Debug for StreamText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamText")
            .field("model", &self.model.model_id())
            .field("tools", &self.tools)
            .finish_non_exhaustive()
    }
}

/// The steps of one answer so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Steps {
    /// How many there were.
    pub n_steps: usize,
    /// The tools called in the newest one.
    pub called_tools: Vec<String>,
}

/// Says when to stop after a step.
#[derive(Clone)]
pub struct StopCondition(Arc<dyn Fn(&Steps) -> bool + Send + Sync>);

impl StopCondition {
    /// Makes a condition of the author's own.
    pub fn new(holds: impl Fn(&Steps) -> bool + Send + Sync + 'static) -> Self {
        Self(Arc::new(holds))
    }
}

impl fmt::Debug for StopCondition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StopCondition")
    }
}

/// Stops when `n_steps` steps have been made.
pub fn step_count_is(n_steps: usize) -> StopCondition {
    StopCondition::new(move |steps| steps.n_steps >= n_steps)
}

/// Stops after a step that called the tool.
pub fn has_tool_call(tool_name: impl Into<String>) -> StopCondition {
    let tool_name = tool_name.into();
    StopCondition::new(move |steps| steps.called_tools.contains(&tool_name))
}

/// What `run` returns: an answer to generate, or nothing.
#[derive(Clone, Debug)]
pub enum Answer {
    /// Generate this.
    Stream(Box<StreamText>),
    /// Say nothing, or what the code has written itself.
    Nothing,
}

impl From<StreamText> for Answer {
    fn from(stream: StreamText) -> Self {
        Self::Stream(Box::new(stream))
    }
}

impl From<()> for Answer {
    fn from((): ()) -> Self {
        Self::Nothing
    }
}

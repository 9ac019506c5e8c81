//! [`StreamText`]: how an author's `run` asks for an answer, and [`Answer`]: what `run` may return.

mod prepare;
mod steps;

use std::fmt;
use std::sync::Arc;

use serde_json::Value;
use turnkeep_model::{LanguageModel, UiStreamOptions};
use turnkeep_protocol::{JsonObject, ModelMessage};

pub use self::prepare::{PrepareStep, StepChange, ToolChoice};
pub use self::steps::{StepCall, StepResult, Steps, StopCondition, has_tool_call, step_count_is};
use crate::agent::{Hook, boxed};
use crate::error::HookError;
use crate::prompt::StreamTextOptions;
use crate::tool::Tool;

/// The setting under which a tool choice is told to the model.
const TOOL_CHOICE: &str = "toolChoice";

/// An answer to be generated: the model is called when `run` has returned it.
#[derive(Clone)]
#[must_use = "nothing is generated unless `run` returns it"]
pub struct StreamText {
    pub(crate) model: Arc<dyn LanguageModel>,
    pub(crate) messages: Vec<ModelMessage>,
    pub(crate) system: Option<String>,
    /// Options for providers on the system message; with any, it is sent as a message of its own.
    pub(crate) system_options: JsonObject,
    pub(crate) tools: Vec<Tool>,
    pub(crate) stop_when: Vec<StopCondition>,
    pub(crate) settings: JsonObject,
    pub(crate) provider_options: JsonObject,
    pub(crate) context: Option<Value>,
    pub(crate) ui_options: UiStreamOptions,
    pub(crate) prepare_step: Option<Hook<PrepareStep, StepChange>>,
}

impl StreamText {
    pub(crate) fn new(model: Arc<dyn LanguageModel>, messages: Vec<ModelMessage>, tools: Vec<Tool>) -> Self {
        Self {
            model,
            messages,
            system: None,
            system_options: JsonObject::new(),
            tools,
            stop_when: Vec::new(),
            settings: JsonObject::new(),
            provider_options: JsonObject::new(),
            context: None,
            ui_options: UiStreamOptions::new(),
            prepare_step: None,
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

    /// Sets one provider's options on the system message, for caching it for example.
    pub fn system_provider_options(mut self, provider: impl Into<String>, options: Value) -> Self {
        self.system_options.insert(provider.into(), options);
        self
    }

    /// Takes the chat's prompt, its settings, its skills and their tools; whatever is said after that wins.
    pub fn options(mut self, options: StreamTextOptions) -> Self {
        let StreamTextOptions { system, system_options, model, settings, tools } = options;
        (self.system, self.system_options, self.tools) = (system, system_options, tools);
        self.settings.extend(settings);
        self.model = model.unwrap_or(self.model);
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

    /// Adds a condition under which no further step starts; any one that holds stops. Without one there is one step;
    /// past 1000 steps an answer is ended in any case, with a warning.
    pub fn stop_when(mut self, condition: StopCondition) -> Self {
        self.stop_when.push(condition);
        self
    }

    /// Sets a model setting such as `temperature`, under the AI SDK's name.
    pub fn setting(mut self, name: impl Into<String>, value: Value) -> Self {
        self.settings.insert(name.into(), value);
        self
    }

    /// Says which tools the model may or must call; without it the model chooses.
    pub fn tool_choice(self, choice: ToolChoice) -> Self {
        self.setting(TOOL_CHOICE, choice.into())
    }

    /// Runs `hook` before every step; what it changes holds for that step alone. It sees what the runtime has prepared: the summary
    /// after a compaction, steering messages, injected ones. Its failure fails the answer.
    ///
    /// It is asked for the tools of the first step before an approved call runs that is none of the answer's own tools, and again for
    /// the step itself when the call has run.
    pub fn prepare_step<F, Fut>(mut self, hook: F) -> Self
    where
        F: Fn(PrepareStep) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<StepChange, HookError>> + Send + 'static,
    {
        self.prepare_step = Some(boxed(hook));
        self
    }

    /// Sets options for one provider.
    pub fn provider_options(mut self, provider: impl Into<String>, options: Value) -> Self {
        self.provider_options.insert(provider.into(), options);
        self
    }

    /// Gives the tools something of the author's own (the AI SDK's `experimental_context`); the model never sees it.
    pub fn context(mut self, context: Value) -> Self {
        self.context = Some(context);
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
            conditions => conditions.iter().any(|condition| condition.holds(steps)),
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

//! What the author's `run` gets and gives: the first step's input, and the call that makes it (C-181).

use std::fmt;
use std::sync::Arc;

use serde_json::Value;
use tokio_util::sync::CancellationToken;
use turnkeep_model::{LanguageModel, Prompt, ToolSpec, UiStreamOptions};
use turnkeep_protocol::{JsonObject, ModelMessage, UiMessage};

/// Everything that the author's `run` needs to ask for the first step.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct FirstStep {
    /// The chat.
    pub chat_id: String,
    /// The history as people see it, the question last.
    pub ui_messages: Vec<UiMessage>,
    /// The history as a model reads it.
    pub messages: Vec<ModelMessage>,
    /// The page's client data: a claim, until the author's own overlays it (C-222).
    pub metadata: Option<Value>,
    /// Ends when the browser is gone or the run waits no longer. The call itself is ended without it.
    pub signal: CancellationToken,
}

impl FirstStep {
    /// Asks `model` over the history; the call is one step, and it ends with the signal.
    pub fn stream_text(&self, model: Arc<dyn LanguageModel>) -> StreamText {
        let prompt = Prompt { messages: self.messages.clone(), ..Prompt::default() };
        StreamText { model, prompt, ui_options: UiStreamOptions::new() }
    }
}

/// The call of one step.
#[derive(Clone)]
pub struct StreamText {
    pub(crate) model: Arc<dyn LanguageModel>,
    pub(crate) prompt: Prompt,
    pub(crate) ui_options: UiStreamOptions,
}

impl StreamText {
    /// Sets the author's instructions.
    #[must_use]
    pub fn system(mut self, system: impl Into<String>) -> Self {
        self.prompt.system = Some(system.into());
        self
    }

    /// Sets the tools: what the model is told of them, and no more. The agent's own tools of these names run the calls (C-183).
    #[must_use]
    pub fn tools(mut self, tools: impl IntoIterator<Item = ToolSpec>) -> Self {
        self.prompt.tools = tools.into_iter().collect();
        self
    }

    /// Replaces the messages.
    #[must_use]
    pub fn messages(mut self, messages: Vec<ModelMessage>) -> Self {
        self.prompt.messages = messages;
        self
    }

    /// Sets settings such as `temperature`, under the AI SDK's names.
    #[must_use]
    pub fn settings(mut self, settings: JsonObject) -> Self {
        self.prompt.settings = settings;
        self
    }

    /// Sets options for a provider, under its name.
    #[must_use]
    pub fn provider_options(mut self, options: JsonObject) -> Self {
        self.prompt.provider_options = options;
        self
    }

    /// Chooses what of the step the page gets to see.
    #[must_use]
    pub fn ui_options(self, ui_options: UiStreamOptions) -> Self {
        Self { ui_options, ..self }
    }
}

impl fmt::Debug for StreamText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamText").field("model", &self.model.model_id()).finish_non_exhaustive()
    }
}

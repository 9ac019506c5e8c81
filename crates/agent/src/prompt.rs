//! [`ChatPrompt`]: the chat's own system prompt, and how it, its settings and the skills become an answer's options (A-191, A-192).

#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Value, json};
use turnkeep_model::LanguageModel;
use turnkeep_protocol::JsonObject;

use crate::agent::TurnInput;
use crate::error::HookError;
use crate::skills::{preamble, skill_tools};
use crate::tool::Tool;

/// A system prompt with what belongs to it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResolvedPrompt {
    /// The text.
    pub text: String,
    /// The model that it was written for, by its name in a registry.
    pub model: Option<String>,
    /// Model settings such as `temperature`, under the AI SDK's names.
    pub settings: JsonObject,
    /// Options for providers, by provider, on the system message.
    pub provider_options: JsonObject,
}

impl ResolvedPrompt {
    /// Makes a prompt of a text alone.
    pub fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), ..Self::default() }
    }

    /// Names the model that the prompt was written for.
    #[must_use]
    pub fn model(mut self, name: impl Into<String>) -> Self {
        self.model = Some(name.into());
        self
    }

    /// Sets a model setting.
    #[must_use]
    pub fn setting(mut self, name: impl Into<String>, value: Value) -> Self {
        self.settings.insert(name.into(), value);
        self
    }

    /// Sets one provider's options on the system message.
    #[must_use]
    pub fn provider_options(mut self, provider: impl Into<String>, options: Value) -> Self {
        self.provider_options.insert(provider.into(), options);
        self
    }
}

impl From<&str> for ResolvedPrompt {
    fn from(text: &str) -> Self {
        Self::new(text)
    }
}

impl From<String> for ResolvedPrompt {
    fn from(text: String) -> Self {
        Self::new(text)
    }
}

/// Says that nobody has set the chat's prompt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, thiserror::Error)]
#[error("the chat's prompt is not set: call `chat.prompt().set` first, in `on_boot` for example")]
pub struct PromptUnset;

/// The system prompt of the running chat; cheap to clone. It lasts as long as the run lives.
#[derive(Clone, Default)]
pub struct ChatPrompt(Arc<Mutex<Option<ResolvedPrompt>>>);

impl ChatPrompt {
    /// Replaces the prompt with its settings and options, from the next answer on (A-191).
    pub fn set(&self, prompt: impl Into<ResolvedPrompt>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(prompt.into());
    }

    /// Gives the prompt.
    ///
    /// # Errors
    ///
    /// Fails when it was never set.
    pub fn get(&self) -> Result<ResolvedPrompt, PromptUnset> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone().ok_or(PromptUnset)
    }
}

impl fmt::Debug for ChatPrompt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ChatPrompt").field(&self.get().ok().map(|prompt| prompt.text)).finish()
    }
}

/// How long a provider may keep what it has read of the prompt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CacheControl {
    /// As long as the provider does by itself.
    Ephemeral,
    /// Five minutes.
    FiveMinutes,
    /// One hour.
    OneHour,
}

impl CacheControl {
    fn provider_options(self) -> JsonObject {
        let ttl = match self {
            Self::Ephemeral => None,
            Self::FiveMinutes => Some("5m"),
            Self::OneHour => Some("1h"),
        };
        let mut control = json!({ "type": "ephemeral" });
        if let Some(ttl) = ttl {
            control["ttl"] = ttl.into();
        }
        [("anthropic".to_owned(), json!({ "cacheControl": control }))].into_iter().collect()
    }
}

type Registry = Arc<dyn Fn(&str) -> Result<Arc<dyn LanguageModel>, HookError> + Send + Sync>;

/// How the chat's prompt and skills are to become an answer's options.
#[derive(Clone, Default)]
pub struct ToStreamText {
    registry: Option<Registry>,
    tools: Option<Vec<Tool>>,
    system_provider_options: Option<JsonObject>,
    cache_control: Option<CacheControl>,
}

impl ToStreamText {
    /// Makes options that choose nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Finds models by the names that prompts have for them; without it every answer is the worker's model's.
    #[must_use]
    pub fn registry(
        mut self,
        find: impl Fn(&str) -> Result<Arc<dyn LanguageModel>, HookError> + Send + Sync + 'static,
    ) -> Self {
        self.registry = Some(Arc::new(find));
        self
    }

    /// Takes these tools in place of the turn's; the skills' tools come on top.
    #[must_use]
    pub fn tools(mut self, tools: impl IntoIterator<Item = Tool>) -> Self {
        self.tools = Some(tools.into_iter().collect());
        self
    }

    /// Sets one provider's options on the system message; the prompt's own and the cache control then do not count.
    #[must_use]
    pub fn system_provider_options(mut self, provider: impl Into<String>, options: Value) -> Self {
        self.system_provider_options.get_or_insert_default().insert(provider.into(), options);
        self
    }

    /// Lets the provider keep the system message; the prompt's own options then do not count.
    #[must_use]
    pub fn cache_control(mut self, cache_control: CacheControl) -> Self {
        self.cache_control = Some(cache_control);
        self
    }
}

impl fmt::Debug for ToStreamText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ToStreamText")
            .field("tools", &self.tools)
            .field("system_provider_options", &self.system_provider_options)
            .field("cache_control", &self.cache_control)
            .finish_non_exhaustive()
    }
}

/// An answer's options as the chat has them; [`StreamText::options`](crate::StreamText::options) takes them.
#[derive(Clone)]
#[must_use = "an answer takes them with `options`"]
pub struct StreamTextOptions {
    pub(crate) system: Option<String>,
    /// Empty for a plain system text.
    pub(crate) system_options: JsonObject,
    pub(crate) model: Option<Arc<dyn LanguageModel>>,
    pub(crate) settings: JsonObject,
    pub(crate) tools: Vec<Tool>,
}

impl fmt::Debug for StreamTextOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamTextOptions")
            .field("system", &self.system)
            .field("system_options", &self.system_options)
            .field("settings", &self.settings)
            .field("tools", &self.tools)
            .finish_non_exhaustive()
    }
}

impl TurnInput {
    /// Makes an answer's options of the chat's prompt and skills (A-192).
    ///
    /// The system text is the prompt, an empty line and the list of skills. Of the skills' tools and the turn's, the turn's win.
    ///
    /// ```
    /// use turnkeep_agent::{Agent, CacheControl, ToStreamText, TurnInput};
    ///
    /// let agent = Agent::new("cook", |turn: TurnInput| async move {
    ///     turn.chat.prompt().set("You cook.");
    ///     let options = turn.to_stream_text_options(ToStreamText::new().cache_control(CacheControl::OneHour))?;
    ///     Ok(turn.stream_text().options(options).setting("temperature", 0.2.into()))
    /// });
    /// # let _ = agent;
    /// ```
    ///
    /// # Errors
    ///
    /// Fails when the registry does not know the prompt's model.
    pub fn to_stream_text_options(&self, options: ToStreamText) -> Result<StreamTextOptions, HookError> {
        let prompt = self.chat.prompt().get().ok();
        let skills = self.chat.skills().get();
        let texts: Vec<String> = prompt
            .iter()
            .map(|prompt| prompt.text.clone())
            .chain(preamble(&skills))
            .filter(|text| !text.is_empty())
            .collect();
        let prompt = prompt.unwrap_or_default();

        let wanted = options.registry.zip(prompt.model);
        let model = wanted.map(|(registry, name)| registry(&name)).transpose()?;
        let mut tools = options.tools.unwrap_or_else(|| self.tools.clone());
        let is_new = |tool: &Tool| !tools.iter().any(|known| known.name() == tool.name());
        let of_skills: Vec<Tool> = skill_tools(&skills).into_iter().filter(is_new).collect();
        tools.extend(of_skills);
        let system_options = options
            .system_provider_options
            .or_else(|| options.cache_control.map(CacheControl::provider_options))
            .unwrap_or(prompt.provider_options);
        let system = (!texts.is_empty()).then(|| texts.join("\n\n"));
        Ok(StreamTextOptions { system, system_options, model, settings: prompt.settings, tools })
    }
}

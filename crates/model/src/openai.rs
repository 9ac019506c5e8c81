//! OpenAI's chat completions API, which many others speak too (feature `openai`).

mod event;
mod messages;
mod request;
mod stream;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use http::{HeaderName, header};
use serde_json::Value;
use turnkeep_host::Host;

use crate::error::ModelError;
use crate::prompt::Prompt;
use crate::provider::Provider;
use crate::provider::api::{Api, Reader};

/// Names the provider in options and metadata.
const NAME: &str = "openai";

const BASE_URL: &str = "https://api.openai.com/v1";

impl Provider {
    /// Reaches OpenAI, or with [`Provider::base_url`] anyone who speaks its chat completions API; an empty key is none.
    ///
    /// Settings go under the AI SDK's names; those that the API has no word for (`topK`) are left out, and for reasoning
    /// models those that they refuse (`temperature`, `topP` and the penalties). Options under `openai` are sent as they
    /// are, their names in snake case: `reasoningEffort` as `reasoning_effort`. `imageDetail` is read from a file's own
    /// options. Reasoning is sent back only to a server that said it in a field of its own (`reasoning_content`,
    /// `reasoning`); results of tools that another provider ran are left out, and so are files in answers.
    ///
    /// ```no_run
    /// use turnkeep_host::Host;
    /// use turnkeep_model::{LanguageModel, Prompt, Provider};
    ///
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// let key = std::env::var("OPENAI_API_KEY")?;
    /// let model = Provider::openai(Host::os(), key).language_model("gpt-5");
    /// let local = Provider::openai(Host::os(), "").base_url("http://localhost:11434/v1".parse()?).language_model("qwen3");
    ///
    /// let parts = model.stream(Prompt::default()).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn openai(host: Host, api_key: impl Into<String>) -> Self {
        Self::new(host, Arc::new(ChatCompletions), api_key.into(), BASE_URL)
    }
}

/// The API as [`Provider`] speaks it.
struct ChatCompletions;

impl Api for ChatCompletions {
    fn name(&self) -> &'static str {
        NAME
    }

    fn path(&self) -> &'static str {
        "/chat/completions"
    }

    fn headers(&self, api_key: &str) -> Vec<(HeaderName, String)> {
        if api_key.is_empty() { Vec::new() } else { vec![(header::AUTHORIZATION, format!("Bearer {api_key}"))] }
    }

    fn body(&self, model_id: &str, prompt: &Prompt) -> Result<Value, ModelError> {
        request::body(model_id, prompt)
    }

    fn reader(&self) -> Box<dyn Reader> {
        Box::new(stream::ChatReader::default())
    }
}

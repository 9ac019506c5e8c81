//! Anthropic's messages API (feature `anthropic`).

mod event;
mod messages;
mod request;
mod stream;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use http::HeaderName;
use serde_json::Value;
use turnkeep_host::Host;

use crate::error::ModelError;
use crate::prompt::Prompt;
use crate::provider::Provider;
use crate::provider::api::{Api, Reader};

/// Names the provider in options and metadata.
const NAME: &str = "anthropic";

const BASE_URL: &str = "https://api.anthropic.com/v1";

/// The version of the API that is spoken here.
const VERSION: &str = "2023-06-01";

impl Provider {
    /// Reaches Anthropic, or with [`Provider::base_url`] anyone who speaks its messages API; an empty key is none.
    ///
    /// Settings go under the AI SDK's names; `maxOutputTokens` is 4096 unless set, and those that the API has no word for
    /// (`seed`, the penalties) are left out, as are `temperature`, `topP` and `topK` while the model thinks. Options
    /// under `anthropic`: `thinking` (`{"type": "enabled", "budgetTokens": 2048}`; the budget is added to the limit of
    /// output), `effort`, `disableParallelToolUse`, `sendReasoning` (default true), and `tools` for tools that the
    /// provider runs; any other is sent as it is, its name in snake case. `cacheControl` is read from the options of a
    /// message or part, `citations`, `title` and `context` from those of a document.
    ///
    /// Reasoning goes back with its signature, without one not at all; so do calls and results of tools that the
    /// provider ran.
    ///
    /// ```no_run
    /// use futures::StreamExt;
    /// use turnkeep_host::Host;
    /// use turnkeep_model::{LanguageModel, Prompt, Provider, StreamPart};
    /// use turnkeep_protocol::ModelMessage;
    ///
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// let key = std::env::var("ANTHROPIC_API_KEY")?;
    /// let model = Provider::anthropic(Host::os(), key).language_model("claude-sonnet-4-5");
    ///
    /// let messages = vec![ModelMessage::user("Will it rain in Oslo?")];
    /// let mut parts = model.stream(Prompt { messages, ..Prompt::default() }).await?;
    /// while let Some(part) = parts.next().await {
    ///     if let StreamPart::TextDelta { delta, .. } = part {
    ///         print!("{delta}");
    ///     }
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn anthropic(host: Host, api_key: impl Into<String>) -> Self {
        Self::new(host, Arc::new(Messages), api_key.into(), BASE_URL)
    }
}

/// The API as [`Provider`] speaks it.
struct Messages;

impl Api for Messages {
    fn name(&self) -> &'static str {
        NAME
    }

    fn path(&self) -> &'static str {
        "/messages"
    }

    fn headers(&self, api_key: &str) -> Vec<(HeaderName, String)> {
        let mut headers = vec![(HeaderName::from_static("anthropic-version"), VERSION.to_owned())];
        if !api_key.is_empty() {
            headers.push((HeaderName::from_static("x-api-key"), api_key.to_owned()));
        }
        headers
    }

    fn body(&self, model_id: &str, prompt: &Prompt) -> Result<Value, ModelError> {
        request::body(model_id, prompt)
    }

    fn reader(&self) -> Box<dyn Reader> {
        Box::new(stream::MessageReader::default())
    }
}

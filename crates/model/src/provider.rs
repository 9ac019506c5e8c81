//! [`Provider`]: real models over HTTP, behind the features `openai` and `anthropic`.
//!
//! What a provider's API is stands in a pure pair, a prompt to a body and events to stream parts (`api`, `openai`,
//! `anthropic`). What moves the bytes is here: dial, send, try again before the first part, give up at a deadline,
//! close the connection when the stream is dropped.

pub(crate) mod api;
mod call;
mod decode;
mod failure;
mod file;
mod real_calls;
mod retry;
mod settings;
#[cfg(test)]
pub(crate) mod testing;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};
use turnkeep_host::Host;
use turnkeep_host::http::BaseUrl;

use self::api::Api;
use self::call::Caller;
pub use self::real_calls::{FORBID_MODEL_CALLS, RealCalls};
use crate::language_model::LanguageModel;

pub(crate) use self::failure::reported;
pub(crate) use self::file::{FileData, read_file};
pub(crate) use self::settings::{ToolOutput, object_input, parse_input, part_option, rename, snake_case};

/// Reaches the models of one provider.
///
/// ```
/// # #[cfg(feature = "openai")] {
/// use turnkeep_host::Host;
/// use turnkeep_model::Provider;
///
/// let provider = Provider::openai(Host::os(), "sk-…").max_retries(0);
/// assert_eq!(provider.language_model("gpt-5").model_id(), "gpt-5");
/// # }
/// ```
#[derive(Clone)]
pub struct Provider {
    host: Host,
    api: Arc<dyn Api>,
    api_key: String,
    base: BaseUrl,
    headers: HeaderMap,
    deadlines: CallDeadlines,
    max_retries: u32,
    includes_raw_chunks: bool,
    real_calls: RealCalls,
}

/// Holds the longest waits of one call; reaching one is [`ModelError::Unavailable`](crate::ModelError::Unavailable).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CallDeadlines {
    /// Until the connection stands, TLS included.
    pub connect: Duration,
    /// From the request to the first byte of the answer.
    pub headers: Duration,
    /// From one piece of the answer to the next; a keep-alive of the provider counts as one.
    pub idle: Duration,
}

impl Default for CallDeadlines {
    /// Gives 10 s to connect, 2 min to the answer and 5 min of silence: some models think for minutes unheard.
    fn default() -> Self {
        Self { connect: Duration::from_secs(10), headers: Duration::from_secs(120), idle: Duration::from_secs(300) }
    }
}

impl Provider {
    pub(crate) fn new(host: Host, api: Arc<dyn Api>, api_key: String, base: &str) -> Self {
        Self {
            host,
            api,
            api_key,
            base: base.parse().expect("the provider's own address is well formed"),
            headers: HeaderMap::new(),
            deadlines: CallDeadlines::default(),
            max_retries: retry::DEFAULT_MAX_RETRIES,
            includes_raw_chunks: false,
            real_calls: RealCalls::from_env(),
        }
    }

    /// Chooses who is called, the version in the path included; by default the provider itself.
    #[must_use]
    pub fn base_url(mut self, base: BaseUrl) -> Self {
        self.base = base;
        self
    }

    /// Adds a header to every call; it replaces one of ours with the same name.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }

    /// Chooses how often a call is tried again before the first part of its answer; by default twice.
    ///
    /// Only what may pass is tried again: no connection, no answer in time, 408, 409, 429 and 5xx. The wait doubles from
    /// 2 s, or is what the provider asks for up to 60 s; chance adds up to a quarter. A prompt's own setting
    /// `maxRetries` wins.
    #[must_use]
    pub fn max_retries(mut self, max_retries: u32) -> Self {
        self.max_retries = max_retries;
        self
    }

    /// Chooses the longest waits of a call.
    #[must_use]
    pub fn deadlines(mut self, deadlines: CallDeadlines) -> Self {
        self.deadlines = deadlines;
        self
    }

    /// Adds a [`StreamPart::Raw`](crate::StreamPart::Raw) per event of the provider, for debugging.
    #[must_use]
    pub fn include_raw_chunks(mut self) -> Self {
        self.includes_raw_chunks = true;
        self
    }

    /// Chooses whether calls go out; by default as [`FORBID_MODEL_CALLS`] says.
    #[must_use]
    pub fn real_calls(mut self, real_calls: RealCalls) -> Self {
        self.real_calls = real_calls;
        self
    }

    /// Gives the model that the provider knows as `model_id`. Nothing is dialled before its first call.
    pub fn language_model(&self, model_id: impl Into<String>) -> Arc<dyn LanguageModel> {
        Arc::new(Caller::new(self.clone(), model_id.into()))
    }
}

impl fmt::Debug for Provider {
    /// Leaves out the key and the headers, which may hold one.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Provider").field("api", &self.api.name()).field("base", &self.base).finish_non_exhaustive()
    }
}

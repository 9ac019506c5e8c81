//! The events of a messages stream, as far as they are understood; the API adds kinds without notice.

use serde::Deserialize;
use serde_json::Value;

use crate::usage::Usage;

#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum Event {
    MessageStart {
        message: Begun,
    },
    ContentBlockStart {
        index: u64,
        content_block: Box<Block>,
    },
    ContentBlockDelta {
        index: u64,
        delta: Delta,
    },
    ContentBlockStop {
        index: u64,
    },
    MessageDelta {
        delta: Ending,
        #[serde(default)]
        usage: Counts,
    },
    MessageStop,
    Ping,
    Error {
        error: Value,
    },
    #[serde(other)]
    Unknown,
}

#[derive(Debug, Deserialize)]
pub(super) struct Begun {
    pub(super) id: Option<String>,
    pub(super) model: Option<String>,
    #[serde(default)]
    pub(super) usage: Counts,
}

/// The start of a block. Results of the provider's own tools have one kind each, so kinds are told apart by their reader.
#[derive(Debug, Deserialize)]
pub(super) struct Block {
    #[serde(rename = "type")]
    pub(super) kind: String,
    #[serde(default)]
    pub(super) id: String,
    #[serde(default)]
    pub(super) name: String,
    pub(super) input: Option<Value>,
    pub(super) server_name: Option<String>,
    #[serde(default)]
    pub(super) text: String,
    #[serde(default)]
    pub(super) thinking: String,
    pub(super) signature: Option<String>,
    pub(super) data: Option<String>,
    #[serde(default)]
    pub(super) tool_use_id: String,
    #[serde(default)]
    pub(super) content: Value,
    #[serde(default)]
    pub(super) is_error: bool,
}

#[derive(Debug, Deserialize)]
#[serde(tag = "type")]
pub(super) enum Delta {
    #[serde(rename = "text_delta")]
    Text { text: String },
    #[serde(rename = "input_json_delta")]
    InputJson { partial_json: String },
    #[serde(rename = "thinking_delta")]
    Thinking { thinking: String },
    #[serde(rename = "signature_delta")]
    Signature { signature: String },
    #[serde(rename = "citations_delta")]
    Citations { citation: Citation },
    #[serde(other)]
    Unknown,
}

/// Where a statement comes from: a page on the web, or a place in a document of the prompt.
#[derive(Debug, Deserialize)]
pub(super) struct Citation {
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) cited_text: Option<String>,
    pub(super) url: Option<String>,
    pub(super) title: Option<String>,
    pub(super) document_index: Option<u64>,
    pub(super) document_title: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Ending {
    pub(super) stop_reason: Option<String>,
}

/// Counts, each as far as it is told; a later one replaces an earlier one.
#[derive(Debug, Default, Clone, Copy, Deserialize)]
#[serde(default)]
pub(super) struct Counts {
    input_tokens: Option<u64>,
    output_tokens: Option<u64>,
    cache_creation_input_tokens: Option<u64>,
    cache_read_input_tokens: Option<u64>,
}

impl Counts {
    pub(super) fn update(&mut self, later: Self) {
        self.input_tokens = later.input_tokens.or(self.input_tokens);
        self.output_tokens = later.output_tokens.or(self.output_tokens);
        self.cache_creation_input_tokens = later.cache_creation_input_tokens.or(self.cache_creation_input_tokens);
        self.cache_read_input_tokens = later.cache_read_input_tokens.or(self.cache_read_input_tokens);
    }
}

impl From<Counts> for Usage {
    /// The provider counts what it read from or wrote to its cache apart from the rest of the input.
    fn from(counts: Counts) -> Self {
        let cached = [counts.cache_creation_input_tokens, counts.cache_read_input_tokens];
        let input = counts.input_tokens.map(|input| cached.into_iter().flatten().fold(input, u64::saturating_add));
        Self {
            input_tokens: input,
            output_tokens: counts.output_tokens,
            total_tokens: input.zip(counts.output_tokens).map(|(input, output)| input.saturating_add(output)),
            reasoning_tokens: None,
            cached_input_tokens: counts.cache_read_input_tokens,
        }
    }
}

//! The words of a script: what a step wants of its call, and what it plays.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use turnkeep_model::{FinishReason, ModelError, StreamPart, Usage};

use super::chunking::Chunking;
use super::exact::ExactPart;
use super::when::When;

/// What the model does in answer to one call.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ScriptStep {
    /// Answers only a call that fits; such steps are tried before those that take any call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<When>,
    /// How many calls it answers; one when not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repeat: Option<Repeat>,
    /// Played in order.
    pub parts: Vec<ScriptPart>,
    /// Ends the step early.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub break_at: Option<BreakAt>,
}

impl ScriptStep {
    /// Makes a step that answers any one call.
    pub fn new(parts: impl IntoIterator<Item = ScriptPart>) -> Self {
        Self { parts: parts.into_iter().collect(), ..Self::default() }
    }

    /// Answers only a call that fits; a text stands for one that the newest user message contains.
    #[must_use]
    pub fn when(mut self, when: impl Into<When>) -> Self {
        self.when = Some(when.into());
        self
    }

    /// Answers so many calls.
    #[must_use]
    pub fn times(mut self, times: usize) -> Self {
        self.repeat = Some(Repeat::Times(times));
        self
    }

    /// Answers every call that fits, and may answer none.
    #[must_use]
    pub fn forever(mut self) -> Self {
        self.repeat = Some(Repeat::Forever);
        self
    }

    /// Breaks at a delta or call of the step, counted from 0: it does not come, or not whole.
    #[must_use]
    pub fn break_at(mut self, at: usize, how: Break) -> Self {
        self.break_at = Some(BreakAt { at, how });
        self
    }
}

/// How often a step answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Repeat {
    /// So many calls.
    Times(usize),
    /// Every call that fits; none is no fault.
    Forever,
}

/// Where a step ends early, and how.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BreakAt {
    /// Which delta or call of the step, from 0.
    pub at: usize,
    /// What happens there.
    pub how: Break,
}

/// What happens where a step breaks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Break {
    /// The stream ends without a finish.
    Cut,
    /// Half of the delta still comes, then the stream ends without a finish.
    MidToken,
    /// Nothing comes any more.
    Stall,
    /// The stream fails.
    Fail(Failure),
}

/// One thing a model does during a step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", rename_all_fields = "snake_case", deny_unknown_fields)]
pub enum ScriptPart {
    /// Streams one text delta.
    Say(String),
    /// Streams one delta of reasoning.
    Reason(String),
    /// Streams a text, cut into deltas.
    Speak(Speech),
    /// Streams reasoning, cut into deltas.
    Think(Speech),
    /// Calls a tool.
    Call(ToolUse),
    /// Calls several tools at once; the deltas of their inputs come in turns.
    Parallel(Vec<ToolUse>),
    /// Calls a tool with an input that is no JSON.
    BadCall {
        /// The tool.
        tool: String,
        /// The input as it came.
        text: String,
    },
    /// Calls a tool that the provider runs, and gives its result.
    ProviderCall {
        /// The tool.
        tool: String,
        /// Its input.
        input: Value,
        /// Its result.
        output: Value,
    },
    /// Cites a page.
    Source {
        /// Its address.
        url: String,
        /// Its label.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        title: Option<String>,
    },
    /// Cites a document.
    Document {
        /// Its media type.
        media_type: String,
        /// Its label.
        title: String,
        /// Its file name.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        filename: Option<String>,
    },
    /// Gives a file.
    File {
        /// Its media type.
        media_type: String,
        /// Its content.
        base64: String,
    },
    /// Gives provider metadata to the next part that can carry some.
    ProviderMetadata(Value),
    /// Tells what the provider says about its answer.
    Response {
        /// Names the answer.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        id: Option<String>,
        /// Names the model that really answered.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        model: Option<String>,
    },
    /// Sets what the step costs.
    Usage(Tokens),
    /// Ends the step here, for this reason, with the usage set so far. Without it a step ends by itself; written twice, it ends twice.
    Finish(#[schemars(with = "String")] FinishReason),
    /// Plays a stream part as it is.
    Part(ExactPart),
    /// Is silent for so many milliseconds.
    WaitMs(u64),
    /// Tells that the provider is alive.
    Ping {},
    /// Is silent for ever: only a stop or a crash ends the call.
    Stall {},
    /// Fails with this text; as the first part it refuses the call, later it breaks the stream.
    Fail(String),
    /// Fails in a way that a caller can tell; as the first part it refuses the call, later it breaks the stream.
    FailWith(Failure),
    /// Ends the stream without a finish, as a dropped connection does.
    Cut {},
    /// Streams the first half of a text as one delta and ends without a finish.
    CutMid(String),
}

/// A text to be cut into deltas.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Speech {
    /// The text.
    pub text: String,
    /// How it is cut; as the model cuts when not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<Chunking>,
}

/// A call of a tool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ToolUse {
    /// The tool.
    pub tool: String,
    /// Its input.
    pub input: Value,
    /// Names the call; numbered through the whole script when not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Streams the input first, cut like this; not streamed when not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<Chunking>,
}

impl ToolUse {
    /// Makes a call.
    pub fn new(tool: impl Into<String>, input: Value) -> Self {
        Self { tool: tool.into(), input, id: None, by: None }
    }

    /// Names the call.
    #[must_use]
    pub fn id(mut self, id: impl Into<String>) -> Self {
        self.id = Some(id.into());
        self
    }

    /// Streams the input as deltas first.
    #[must_use]
    pub fn in_deltas(mut self, by: Chunking) -> Self {
        self.by = Some(by);
        self
    }
}

/// How many tokens a step costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Tokens {
    /// What the model read.
    pub input_tokens: u64,
    /// What it wrote.
    pub output_tokens: u64,
    /// Of the input, what came from a cache.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cached_tokens: Option<u64>,
    /// Of the output, what was reasoning.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reasoning_tokens: Option<u64>,
}

impl From<Tokens> for Usage {
    fn from(tokens: Tokens) -> Self {
        Self {
            cached_input_tokens: tokens.cached_tokens,
            reasoning_tokens: tokens.reasoning_tokens,
            ..Self::new(tokens.input_tokens, tokens.output_tokens)
        }
    }
}

/// A failure that a caller can tell from others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", rename_all_fields = "snake_case", deny_unknown_fields)]
pub enum Failure {
    /// 429: the provider asks to slow down.
    RateLimited {
        /// When to try again, if the provider says.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        retry_after_ms: Option<u64>,
    },
    /// A status from 500 on: another try may help.
    ServerError(u16),
    /// 401: the key is wrong.
    Unauthorized {},
    /// The prompt is refused, now and later.
    Refused(String),
    /// The answer cannot be understood.
    Malformed(String),
}

impl From<Failure> for ModelError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::RateLimited { retry_after_ms } => {
                Self::RateLimited { message: "429: too many requests".to_owned(), retry_after_ms }
            }
            Failure::ServerError(status) => Self::unavailable(format!("{status}: the provider is out of order")),
            Failure::Unauthorized {} => Self::Unauthorized { message: "401: the key is not valid".to_owned() },
            Failure::Refused(text) => Self::refused(text),
            Failure::Malformed(message) => Self::Malformed { message },
        }
    }
}

/// Streams one text delta.
pub fn say(text: impl Into<String>) -> ScriptPart {
    ScriptPart::Say(text.into())
}

/// Streams one delta of reasoning.
pub fn reason(text: impl Into<String>) -> ScriptPart {
    ScriptPart::Reason(text.into())
}

/// Streams a text, cut into deltas as the model cuts them.
pub fn speak(text: impl Into<String>) -> ScriptPart {
    ScriptPart::Speak(Speech { text: text.into(), by: None })
}

/// Streams reasoning, cut into deltas as the model cuts them.
pub fn think(text: impl Into<String>) -> ScriptPart {
    ScriptPart::Think(Speech { text: text.into(), by: None })
}

/// Calls a tool.
pub fn call(tool: impl Into<String>, input: Value) -> ScriptPart {
    ScriptPart::Call(ToolUse::new(tool, input))
}

/// Calls several tools at once.
pub fn parallel(calls: impl IntoIterator<Item = ToolUse>) -> ScriptPart {
    ScriptPart::Parallel(calls.into_iter().collect())
}

/// Calls a tool with an input that is no JSON.
pub fn bad_call(tool: impl Into<String>, text: impl Into<String>) -> ScriptPart {
    ScriptPart::BadCall { tool: tool.into(), text: text.into() }
}

/// Cites a page.
pub fn source(url: impl Into<String>, title: impl Into<String>) -> ScriptPart {
    ScriptPart::Source { url: url.into(), title: Some(title.into()) }
}

/// Gives a file, its content in base64.
pub fn file(media_type: impl Into<String>, base64: impl Into<String>) -> ScriptPart {
    ScriptPart::File { media_type: media_type.into(), base64: base64.into() }
}

/// Gives provider metadata to the next part that can carry some.
pub fn provider_metadata(metadata: Value) -> ScriptPart {
    ScriptPart::ProviderMetadata(metadata)
}

/// Sets what the step costs.
pub fn usage(tokens: Tokens) -> ScriptPart {
    ScriptPart::Usage(tokens)
}

/// Ends the step here, for this reason.
pub fn finish(reason: FinishReason) -> ScriptPart {
    ScriptPart::Finish(reason)
}

/// Plays a stream part as it is.
pub fn part(part: StreamPart) -> ScriptPart {
    ScriptPart::Part(ExactPart(part))
}

/// Is silent for a while, in whole milliseconds.
pub fn wait(duration: Duration) -> ScriptPart {
    ScriptPart::WaitMs(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
}

/// Is silent for ever: only a stop or a crash ends the call.
pub fn stall() -> ScriptPart {
    ScriptPart::Stall {}
}

/// Fails with this text.
pub fn fail(text: impl Into<String>) -> ScriptPart {
    ScriptPart::Fail(text.into())
}

/// Fails in a way that a caller can tell.
pub fn fail_with(failure: Failure) -> ScriptPart {
    ScriptPart::FailWith(failure)
}

/// Ends the stream without a finish.
pub fn cut() -> ScriptPart {
    ScriptPart::Cut {}
}

/// Streams the first half of a text as one delta and ends without a finish.
pub fn cut_mid(text: impl Into<String>) -> ScriptPart {
    ScriptPart::CutMid(text.into())
}

//! The words of a script, and how a step becomes timed stream parts.

use std::collections::VecDeque;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use turnkeep_model::{FinishReason, ModelError, StreamPart, Usage};

/// What the model does in answer to one call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "world", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct ScriptStep {
    /// Answers only a call whose newest user message contains this text; such steps are tried first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<String>,
    /// Played in order.
    pub parts: Vec<ScriptPart>,
}

/// One thing a model does during a step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "world", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case", rename_all_fields = "snake_case", deny_unknown_fields)]
pub enum ScriptPart {
    /// Streams one text delta.
    Say(String),
    /// Streams one delta of reasoning.
    Reason(String),
    /// Calls a tool.
    Call {
        /// The tool.
        tool: String,
        /// Its input.
        input: Value,
    },
    /// Is silent for so many milliseconds.
    WaitMs(u64),
    /// Is silent for ever: only a stop or a crash ends the call.
    Stall {},
    /// Fails with this text; as the first part it refuses the call, later it breaks the stream.
    Fail(String),
    /// Ends the stream without a finish, as a dropped connection does.
    Cut {},
}

/// Streams one text delta.
pub fn say(text: impl Into<String>) -> ScriptPart {
    ScriptPart::Say(text.into())
}

/// Streams one delta of reasoning.
pub fn reason(text: impl Into<String>) -> ScriptPart {
    ScriptPart::Reason(text.into())
}

/// Calls a tool.
pub fn call(tool: impl Into<String>, input: Value) -> ScriptPart {
    ScriptPart::Call { tool: tool.into(), input }
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

/// Ends the stream without a finish.
pub fn cut() -> ScriptPart {
    ScriptPart::Cut {}
}

/// One stream part and the silence before it.
pub(super) enum Timed {
    Part { after: Duration, part: Box<StreamPart> },
    Stall,
}

/// What is open while a step plays.
enum Open {
    Nothing,
    Text(String),
    Reasoning(String),
}

/// Turns a step into timed parts; `tool_calls` numbers the calls of the whole script.
pub(super) fn perform(step: ScriptStep, pace: Duration, tool_calls: &mut usize) -> Result<VecDeque<Timed>, ModelError> {
    if let Some(ScriptPart::Fail(text)) = step.parts.first() {
        return Err(ModelError::unavailable(text.clone()));
    }
    let mut play = Play { out: VecDeque::new(), open: Open::Nothing, n_texts: 0, silence: Duration::ZERO, pace };
    play.put(StreamPart::StreamStart);
    let mut usage = Usage { input_tokens: Some(10), output_tokens: Some(0), ..Usage::default() };
    let mut finish_reason = FinishReason::Stop;
    for part in step.parts {
        match part {
            ScriptPart::Say(text) => play.text(text),
            ScriptPart::Reason(text) => play.reasoning(text),
            ScriptPart::Call { tool, input } => {
                play.close();
                *tool_calls += 1;
                play.paced(StreamPart::tool_call(format!("call-{tool_calls}"), tool, input));
                finish_reason = FinishReason::ToolCalls;
            }
            ScriptPart::WaitMs(millis) => play.silence += Duration::from_millis(millis),
            ScriptPart::Stall {} => {
                play.out.push_back(Timed::Stall);
                return Ok(play.out);
            }
            ScriptPart::Fail(text) => {
                play.put(StreamPart::Error(ModelError::unavailable(text)));
                return Ok(play.out);
            }
            ScriptPart::Cut {} => return Ok(play.out),
        }
        usage.output_tokens = usage.output_tokens.map(|tokens| tokens + 1);
    }
    play.close();
    usage.total_tokens = usage.output_tokens.map(|tokens| tokens + 10);
    play.put(StreamPart::finish(finish_reason, usage));
    Ok(play.out)
}

struct Play {
    out: VecDeque<Timed>,
    open: Open,
    n_texts: usize,
    silence: Duration,
    pace: Duration,
}

impl Play {
    fn put(&mut self, part: StreamPart) {
        let after = std::mem::take(&mut self.silence);
        self.out.push_back(Timed::Part { after, part: Box::new(part) });
    }

    fn paced(&mut self, part: StreamPart) {
        self.silence += self.pace;
        self.put(part);
    }

    fn text(&mut self, delta: String) {
        let id = match &self.open {
            Open::Text(id) => id.clone(),
            _ => {
                let id = self.open_next("text");
                self.put(StreamPart::text_start(&id));
                self.open = Open::Text(id.clone());
                id
            }
        };
        self.paced(StreamPart::text_delta(id, delta));
    }

    fn reasoning(&mut self, delta: String) {
        let id = match &self.open {
            Open::Reasoning(id) => id.clone(),
            _ => {
                let id = self.open_next("reasoning");
                self.put(StreamPart::ReasoningStart { id: id.clone(), provider_metadata: None });
                self.open = Open::Reasoning(id.clone());
                id
            }
        };
        self.paced(StreamPart::ReasoningDelta { id, delta, provider_metadata: None });
    }

    fn open_next(&mut self, kind: &str) -> String {
        self.close();
        let id = format!("{kind}-{}", self.n_texts);
        self.n_texts += 1;
        id
    }

    fn close(&mut self) {
        match std::mem::replace(&mut self.open, Open::Nothing) {
            Open::Nothing => {}
            Open::Text(id) => self.put(StreamPart::text_end(id)),
            Open::Reasoning(id) => self.put(StreamPart::ReasoningEnd { id, provider_metadata: None }),
        }
    }
}

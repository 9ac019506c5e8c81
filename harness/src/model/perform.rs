//! How a step becomes timed stream parts.

use std::collections::VecDeque;
use std::time::Duration;

use serde_json::Value;
use turnkeep_host::Draws;
use turnkeep_model::{FinishReason, ModelError, StreamPart, ToolCall, ToolResult, Usage};

use super::chunking::{Chunking, Pace};
use super::exact::read_input;
use super::script::{Break, BreakAt, ScriptPart, ScriptStep, Speech, ToolUse};

/// What a step reads when it does not say.
const INPUT_TOKENS: u64 = 10;

/// One stream part and the silence before it.
#[derive(Debug)]
pub(super) enum Timed {
    Part { after: Duration, part: Box<StreamPart> },
    Stall,
}

/// How the model plays whatever the step is.
pub(super) struct Manner<'a> {
    pub(super) pace: Pace,
    pub(super) chunking: Chunking,
    pub(super) draws: Draws,
    /// Numbers the calls of the whole script.
    pub(super) tool_calls: &'a mut usize,
}

/// Turns a step into timed parts.
///
/// # Errors
///
/// Gives the failure when the step begins with one: the call is refused.
pub(super) fn perform(step: ScriptStep, manner: Manner<'_>) -> Result<VecDeque<Timed>, ModelError> {
    match step.parts.first() {
        Some(ScriptPart::Fail(text)) => return Err(ModelError::unavailable(text.clone())),
        Some(ScriptPart::FailWith(failure)) => return Err(failure.clone().into()),
        _ => {}
    }
    let mut play = Play {
        out: VecDeque::new(),
        open: Open::Nothing,
        n_opened: 0,
        silence: Duration::ZERO,
        metadata: None,
        manner,
        n_paced: 0,
        break_at: step.break_at,
        usage: None,
        finish_reason: FinishReason::Stop,
        is_finished: false,
        is_over: false,
    };
    let is_exact = is_exact(&step.parts);
    if !is_exact {
        play.put(StreamPart::StreamStart);
    }
    for part in step.parts {
        if play.is_over {
            break;
        }
        play.part(part);
    }
    if !play.is_over && !play.is_finished && !is_exact {
        play.finish(play.finish_reason);
    }
    Ok(play.out)
}

/// Tells whether a step is written out part by part: then nothing is added, neither a start nor a finish.
fn is_exact(parts: &[ScriptPart]) -> bool {
    let is_played_as_is = |part: &ScriptPart| {
        matches!(part, ScriptPart::Part(_) | ScriptPart::WaitMs(_) | ScriptPart::Stall {} | ScriptPart::Cut {})
    };
    parts.iter().any(|part| matches!(part, ScriptPart::Part(_))) && parts.iter().all(is_played_as_is)
}

/// What is open while a step plays.
enum Open {
    Nothing,
    Text(String),
    Reasoning(String),
}

struct Play<'a> {
    out: VecDeque<Timed>,
    open: Open,
    n_opened: usize,
    silence: Duration,
    /// For the next part that can carry some.
    metadata: Option<Value>,
    manner: Manner<'a>,
    n_paced: usize,
    break_at: Option<BreakAt>,
    usage: Option<Usage>,
    finish_reason: FinishReason,
    is_finished: bool,
    /// Nothing comes any more.
    is_over: bool,
}

impl Play<'_> {
    fn part(&mut self, part: ScriptPart) {
        match part {
            ScriptPart::Say(text) => self.text(text),
            ScriptPart::Reason(text) => self.reasoning(text),
            ScriptPart::Speak(speech) => self.cut(speech).into_iter().for_each(|delta| self.text(delta)),
            ScriptPart::Think(speech) => self.cut(speech).into_iter().for_each(|delta| self.reasoning(delta)),
            ScriptPart::Call(call) => self.calls(vec![call]),
            ScriptPart::Parallel(calls) => self.calls(calls),
            ScriptPart::BadCall { tool, text } => self.bad_call(tool, text),
            ScriptPart::ProviderCall { tool, input, output } => self.provider_call(tool, input, output),
            ScriptPart::Source { .. } | ScriptPart::Document { .. } | ScriptPart::File { .. } => self.material(part),
            ScriptPart::ProviderMetadata(metadata) => self.metadata = Some(metadata),
            ScriptPart::Response { id, model } => {
                self.put(StreamPart::ResponseMetadata { id, model_id: model, timestamp_ms: None });
            }
            ScriptPart::Usage(tokens) => self.usage = Some(tokens.into()),
            ScriptPart::Finish(reason) => self.finish(reason),
            ScriptPart::Part(exact) => self.exact(exact.0),
            ScriptPart::WaitMs(millis) => self.silence += Duration::from_millis(millis),
            ScriptPart::Ping {} => self.put(StreamPart::Ping),
            ScriptPart::Stall {} => self.end(&Break::Stall),
            ScriptPart::Fail(text) => self.fail(ModelError::unavailable(text)),
            ScriptPart::FailWith(failure) => self.fail(failure.into()),
            ScriptPart::Cut {} => self.end(&Break::Cut),
            ScriptPart::CutMid(text) => {
                self.text(half(&text));
                self.end(&Break::Cut);
            }
        }
    }

    fn exact(&mut self, part: StreamPart) {
        self.close();
        self.is_finished |= matches!(part, StreamPart::Finish { .. } | StreamPart::Error(_));
        let is_call = matches!(part, StreamPart::ToolCall(_));
        if is_call {
            self.finish_reason = FinishReason::ToolCalls;
        }
        if is_call || is_delta(&part) {
            self.paced(part);
        } else {
            self.put(part);
        }
    }

    /// Puts a part on the stream, unless the stream is over.
    fn put(&mut self, mut part: StreamPart) {
        if self.is_over {
            return;
        }
        if let Some(slot) = metadata_of(&mut part)
            && slot.is_none()
        {
            *slot = self.metadata.take();
        }
        let after = std::mem::take(&mut self.silence);
        self.out.push_back(Timed::Part { after, part: Box::new(part) });
    }

    /// Puts a delta or a call on the stream, after its time; the step may break at it.
    fn paced(&mut self, part: StreamPart) {
        if self.is_over {
            return;
        }
        self.silence += self.manner.pace.before(self.n_paced, &self.manner.draws);
        let number = self.n_paced;
        self.n_paced += 1;
        let Some(BreakAt { how, .. }) = self.break_at.take_if(|break_at| break_at.at == number) else {
            return self.put(part);
        };
        if how == Break::MidToken
            && let Some(half) = half_of(part)
        {
            self.put(half);
        }
        self.end(&how);
    }

    fn end(&mut self, how: &Break) {
        if self.is_over {
            return;
        }
        match how {
            Break::Cut | Break::MidToken => {}
            Break::Stall => self.out.push_back(Timed::Stall),
            Break::Fail(failure) => self.put(StreamPart::Error(failure.clone().into())),
        }
        self.is_over = true;
    }

    fn fail(&mut self, error: ModelError) {
        self.put(StreamPart::Error(error));
        self.is_over = true;
    }

    fn finish(&mut self, reason: FinishReason) {
        self.close();
        let told = Usage::new(INPUT_TOKENS, self.n_paced as u64);
        self.put(StreamPart::finish(reason, self.usage.unwrap_or(told)));
        self.is_finished = true;
    }

    fn cut(&self, speech: Speech) -> Vec<String> {
        speech.by.unwrap_or(self.manner.chunking).cut(&speech.text)
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
        let id = format!("{kind}-{}", self.n_opened);
        self.n_opened += 1;
        id
    }

    fn close(&mut self) {
        match std::mem::replace(&mut self.open, Open::Nothing) {
            Open::Nothing => {}
            Open::Text(id) => self.put(StreamPart::text_end(id)),
            Open::Reasoning(id) => self.put(StreamPart::ReasoningEnd { id, provider_metadata: None }),
        }
    }

    /// Streams the inputs in turns, one delta of each call at a time, and gives each call when its input is whole.
    fn calls(&mut self, calls: Vec<ToolUse>) {
        self.close();
        self.finish_reason = FinishReason::ToolCalls;
        let mut streaming: Vec<Streaming> = calls.into_iter().map(|call| self.begin(call)).collect();
        while !streaming.is_empty() {
            streaming.retain_mut(|call| self.go_on(call));
        }
    }

    fn begin(&mut self, call: ToolUse) -> Streaming {
        let id = call.id.unwrap_or_else(|| self.next_call_id());
        let deltas: VecDeque<String> = call.by.map(|by| by.cut(&call.input.to_string())).unwrap_or_default().into();
        let is_streamed = call.by.is_some();
        if is_streamed {
            self.put(StreamPart::ToolInputStart {
                id: id.clone(),
                name: call.tool.clone(),
                provider_executed: false,
                dynamic: false,
                title: None,
                provider_metadata: None,
            });
        }
        Streaming { id, tool: call.tool, input: call.input, deltas, is_streamed }
    }

    /// Gives the call's next delta, or the call; false when it is done.
    fn go_on(&mut self, call: &mut Streaming) -> bool {
        if let Some(delta) = call.deltas.pop_front() {
            self.paced(StreamPart::ToolInputDelta { id: call.id.clone(), delta });
            return true;
        }
        let (id, tool) = (std::mem::take(&mut call.id), std::mem::take(&mut call.tool));
        if call.is_streamed {
            self.put(StreamPart::ToolInputEnd { id: id.clone() });
        }
        self.paced(StreamPart::tool_call(id, tool, call.input.take()));
        false
    }

    fn next_call_id(&mut self) -> String {
        *self.manner.tool_calls += 1;
        format!("call-{}", self.manner.tool_calls)
    }

    fn bad_call(&mut self, tool_name: String, text: String) {
        self.close();
        self.finish_reason = FinishReason::ToolCalls;
        let (input, invalid) = read_input(Value::String(text));
        let tool_call_id = self.next_call_id();
        self.paced(StreamPart::ToolCall(ToolCall { tool_call_id, tool_name, input, invalid, ..ToolCall::default() }));
    }

    fn provider_call(&mut self, tool_name: String, input: Value, output: Value) {
        self.close();
        let tool_call_id = self.next_call_id();
        let call = ToolCall {
            tool_call_id: tool_call_id.clone(),
            tool_name: tool_name.clone(),
            input,
            provider_executed: true,
            ..ToolCall::default()
        };
        self.paced(StreamPart::ToolCall(call));
        self.put(StreamPart::ToolResult(ToolResult {
            tool_call_id,
            tool_name,
            outcome: Ok(output),
            provider_executed: true,
            dynamic: false,
            preliminary: false,
            provider_metadata: None,
        }));
    }

    fn material(&mut self, part: ScriptPart) {
        self.close();
        let id = format!("source-{}", self.n_opened);
        self.n_opened += 1;
        let provider_metadata = None;
        self.put(match part {
            ScriptPart::Source { url, title } => StreamPart::SourceUrl { id, url, title, provider_metadata },
            ScriptPart::Document { media_type, title, filename } => {
                StreamPart::SourceDocument { id, media_type, title, filename, provider_metadata }
            }
            ScriptPart::File { media_type, base64 } => StreamPart::File { media_type, base64, provider_metadata },
            _ => unreachable!("only sources and files are material"),
        });
    }
}

/// A call whose input is under way.
struct Streaming {
    id: String,
    tool: String,
    input: Value,
    deltas: VecDeque<String>,
    is_streamed: bool,
}

fn is_delta(part: &StreamPart) -> bool {
    matches!(part, StreamPart::TextDelta { .. } | StreamPart::ReasoningDelta { .. } | StreamPart::ToolInputDelta { .. })
}

/// Gives the first half of a text, cut between characters.
fn half(text: &str) -> String {
    text.chars().take(text.chars().count().div_ceil(2)).collect()
}

/// Gives half of a delta; nothing of a part that comes whole or not at all.
fn half_of(part: StreamPart) -> Option<StreamPart> {
    Some(match part {
        StreamPart::TextDelta { id, delta, provider_metadata } => {
            StreamPart::TextDelta { id, delta: half(&delta), provider_metadata }
        }
        StreamPart::ReasoningDelta { id, delta, provider_metadata } => {
            StreamPart::ReasoningDelta { id, delta: half(&delta), provider_metadata }
        }
        StreamPart::ToolInputDelta { id, delta } => StreamPart::ToolInputDelta { id, delta: half(&delta) },
        _ => return None,
    })
}

/// Finds where a part carries its provider's metadata.
fn metadata_of(part: &mut StreamPart) -> Option<&mut Option<Value>> {
    match part {
        StreamPart::TextStart { provider_metadata, .. }
        | StreamPart::TextDelta { provider_metadata, .. }
        | StreamPart::TextEnd { provider_metadata, .. }
        | StreamPart::ReasoningStart { provider_metadata, .. }
        | StreamPart::ReasoningDelta { provider_metadata, .. }
        | StreamPart::ReasoningEnd { provider_metadata, .. }
        | StreamPart::ToolInputStart { provider_metadata, .. }
        | StreamPart::SourceUrl { provider_metadata, .. }
        | StreamPart::SourceDocument { provider_metadata, .. }
        | StreamPart::File { provider_metadata, .. } => Some(provider_metadata),
        StreamPart::ToolCall(call) => Some(&mut call.provider_metadata),
        StreamPart::ToolResult(result) => Some(&mut result.provider_metadata),
        _ => None,
    }
}

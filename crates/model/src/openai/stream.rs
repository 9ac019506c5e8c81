//! [`ChatReader`]: the events of one answer in, stream parts out.

use serde_json::json;

use super::NAME;
use super::event::{CallDelta, Choice, Chunk, Delta, UrlCitation};
use super::messages::{REASONING_FIELD, REASONING_FIELDS};
use crate::error::ModelError;
use crate::part::{StreamPart, ToolCall};
use crate::provider::api::{Reader, broke_off};
use crate::provider::{parse_input, reported};
use crate::usage::{FinishReason, Usage};

/// Ends a stream.
const DONE: &str = "[DONE]";

/// Names the one text of an answer; a text that reasoning or a call interrupts goes on under the next number.
const TEXT: &str = "text";
const REASONING: &str = "reasoning";

/// Bounds the calls of one answer; an index past it is a mistake of the server.
const MAX_CALLS: usize = 1024;

/// Reads one answer.
#[derive(Default)]
pub(super) struct ChatReader {
    /// Names the answer, once it has.
    id: Option<String>,
    has_begun: bool,
    open: Option<Open>,
    n_opened: usize,
    n_sources: usize,
    /// In the order in which they began; their pieces may come in turns.
    calls: Vec<Call>,
    finish_reason: Option<FinishReason>,
    usage: Usage,
}

/// The text or reasoning that the next piece may add to.
struct Open {
    kind: &'static str,
    id: String,
}

struct Call {
    /// The provider's number for it, if it gives any; not every provider gives each call its own.
    index: Option<usize>,
    id: String,
    name: String,
    arguments: String,
}

impl Reader for ChatReader {
    fn read(&mut self, data: &str, parts: &mut Vec<StreamPart>) -> Result<(), ModelError> {
        if data.trim() == DONE {
            return self.end(parts);
        }
        let chunk: Chunk = serde_json::from_str(data)
            .map_err(|error| ModelError::malformed(format!("an event of the answer is not understood: {error}")))?;
        if let Some(error) = &chunk.error {
            return Err(reported(error));
        }
        self.begin(&chunk, parts);
        if let Some(counts) = chunk.usage {
            self.usage = counts.into();
        }
        for choice in chunk.choices.into_iter().flatten().filter(|choice| choice.index == 0) {
            self.choice(choice, parts)?;
        }
        Ok(())
    }

    fn end(&mut self, parts: &mut Vec<StreamPart>) -> Result<(), ModelError> {
        // Not everyone who speaks the API sends `[DONE]`, but everyone says why the answer ended.
        let finish_reason = self.finish_reason.ok_or_else(|| broke_off("it ended without a finish reason"))?;
        self.finish(finish_reason, parts);
        Ok(())
    }
}

impl ChatReader {
    fn begin(&mut self, chunk: &Chunk, parts: &mut Vec<StreamPart>) {
        if std::mem::replace(&mut self.has_begun, true) {
            return;
        }
        self.id = chunk.id.clone().filter(|id| !id.is_empty());
        parts.push(StreamPart::ResponseMetadata {
            id: self.id.clone(),
            model_id: chunk.model.clone(),
            timestamp_ms: chunk.created.and_then(|seconds| seconds.checked_mul(1000)),
        });
    }

    fn choice(&mut self, choice: Choice, parts: &mut Vec<StreamPart>) -> Result<(), ModelError> {
        let delta = choice.delta.unwrap_or_default();
        for (field, said) in REASONING_FIELDS.into_iter().zip([&delta.reasoning_content, &delta.reasoning]) {
            if let Some(said) = said.as_deref().filter(|said| !said.is_empty()) {
                self.reason(field, said, parts);
                break;
            }
        }
        self.speak(&delta, parts);
        for call in delta.tool_calls.into_iter().flatten() {
            self.call(call, parts)?;
        }
        for citation in delta.annotations.into_iter().flatten().filter_map(|annotation| annotation.url_citation) {
            parts.push(self.source(citation));
        }
        if let Some(word) = choice.finish_reason {
            self.finish_reason = Some(finish_reason(&word));
        }
        Ok(())
    }

    /// A refusal is what the model says, so people read it as text.
    fn speak(&mut self, delta: &Delta, parts: &mut Vec<StreamPart>) {
        let said = [&delta.content, &delta.refusal].into_iter().flatten().filter(|said| !said.is_empty());
        for said in said {
            let id = match self.resume(TEXT) {
                Some(id) => id,
                None => {
                    let id = self.open(TEXT, parts);
                    parts.push(StreamPart::text_start(id.clone()));
                    id
                }
            };
            parts.push(StreamPart::text_delta(id, said.clone()));
        }
    }

    fn reason(&mut self, field: &str, said: &str, parts: &mut Vec<StreamPart>) {
        let id = match self.resume(REASONING) {
            Some(id) => id,
            None => {
                let id = self.open(REASONING, parts);
                let provider_metadata = Some(json!({ NAME: { REASONING_FIELD: field } }));
                parts.push(StreamPart::ReasoningStart { id: id.clone(), provider_metadata });
                id
            }
        };
        parts.push(StreamPart::ReasoningDelta { id, delta: said.to_owned(), provider_metadata: None });
    }

    /// Gives the id of what is open, if it is of this kind.
    fn resume(&self, kind: &str) -> Option<String> {
        self.open.as_ref().filter(|open| open.kind == kind).map(|open| open.id.clone())
    }

    fn open(&mut self, kind: &'static str, parts: &mut Vec<StreamPart>) -> String {
        self.close(parts);
        let id = format!("{kind}-{}", self.n_opened);
        self.n_opened += 1;
        self.open = Some(Open { kind, id: id.clone() });
        id
    }

    fn close(&mut self, parts: &mut Vec<StreamPart>) {
        match self.open.take() {
            Some(Open { kind: TEXT, id }) => parts.push(StreamPart::text_end(id)),
            Some(Open { id, .. }) => parts.push(StreamPart::ReasoningEnd { id, provider_metadata: None }),
            None => {}
        }
    }

    fn call(&mut self, delta: CallDelta, parts: &mut Vec<StreamPart>) -> Result<(), ModelError> {
        let at = match self.call_of(&delta) {
            Some(at) => at,
            None => self.begin_call(&delta, parts)?,
        };
        let call = &mut self.calls[at];
        let arguments = delta.function.and_then(|function| function.arguments);
        if let Some(delta) = arguments.filter(|arguments| !arguments.is_empty()) {
            call.arguments.push_str(&delta);
            parts.push(StreamPart::ToolInputDelta { id: call.id.clone(), delta });
        }
        Ok(())
    }

    /// Finds the call that a piece goes on with: the one it names, else the newest under its index, or of all when it has none.
    ///
    /// Some providers give all calls one index, and some give every piece an id: another id under a known index begins a call only when
    /// the piece names a tool.
    fn call_of(&self, delta: &CallDelta) -> Option<usize> {
        let is_under = |call: &Call| delta.index.is_none() || call.index == delta.index;
        let newest = |is_it: &dyn Fn(&Call) -> bool| self.calls.iter().rposition(|call| is_under(call) && is_it(call));
        let Some(id) = delta.id() else {
            return newest(&|_| true);
        };
        newest(&|call| call.id == id).or_else(|| {
            let begins = delta.index.is_none() || delta.name().is_some();
            if begins { None } else { newest(&|_| true) }
        })
    }

    /// Begins a call; gives its place.
    fn begin_call(&mut self, delta: &CallDelta, parts: &mut Vec<StreamPart>) -> Result<usize, ModelError> {
        let at = self.calls.len();
        let index = delta.index.unwrap_or(at);
        if index >= MAX_CALLS || at >= MAX_CALLS {
            return Err(ModelError::malformed(format!("a tool call has the index {index}; the most is {MAX_CALLS}")));
        }
        let missing = |what| ModelError::malformed(format!("tool call {index} begins without {what}"));
        let id = delta.id().ok_or_else(|| missing("an id"))?.to_owned();
        let name = delta.name().ok_or_else(|| missing("the tool's name"))?.to_owned();
        self.close(parts);
        parts.push(StreamPart::ToolInputStart {
            id: id.clone(),
            name: name.clone(),
            provider_executed: false,
            dynamic: false,
            title: None,
            provider_metadata: None,
        });
        self.calls.push(Call { index: delta.index, id, name, arguments: String::new() });
        Ok(at)
    }

    fn source(&mut self, citation: UrlCitation) -> StreamPart {
        let id = format!("{}-source-{}", self.id.as_deref().unwrap_or("answer"), self.n_sources);
        self.n_sources += 1;
        StreamPart::SourceUrl { id, url: citation.url, title: citation.title, provider_metadata: None }
    }

    /// Ends what is open. Calls are whole only now: their pieces may come in turns.
    fn finish(&mut self, finish_reason: FinishReason, parts: &mut Vec<StreamPart>) {
        self.close(parts);
        for Call { id, name, arguments, .. } in std::mem::take(&mut self.calls) {
            parts.push(StreamPart::ToolInputEnd { id: id.clone() });
            let (input, invalid) = parse_input(&arguments);
            parts.push(StreamPart::ToolCall(ToolCall {
                tool_call_id: id,
                tool_name: name,
                input,
                invalid,
                ..ToolCall::default()
            }));
        }
        parts.push(StreamPart::finish(finish_reason, self.usage));
    }
}

fn finish_reason(word: &str) -> FinishReason {
    match word {
        "stop" => FinishReason::Stop,
        "length" => FinishReason::Length,
        "content_filter" => FinishReason::ContentFilter,
        "tool_calls" | "function_call" => FinishReason::ToolCalls,
        _ => FinishReason::Other,
    }
}

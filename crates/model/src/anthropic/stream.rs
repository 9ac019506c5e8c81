//! [`MessageReader`]: the events of one answer in, stream parts out.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::NAME;
use super::event::{Block, Citation, Counts, Delta, Event};
use super::messages::{BLOCK_TYPE, SERVER_NAME};
use crate::error::ModelError;
use crate::part::{StreamPart, ToolCall, ToolResult};
use crate::provider::api::{Reader, broke_off};
use crate::provider::{parse_input, reported};
use crate::usage::FinishReason;

/// Reads one answer.
#[derive(Default)]
pub(super) struct MessageReader {
    /// Names the answer, once it has begun.
    id: Option<String>,
    open: BTreeMap<u64, Open>,
    /// The tools of the provider's own calls, by the calls' ids.
    called: BTreeMap<String, String>,
    n_sources: usize,
    stop_reason: Option<String>,
    counts: Counts,
}

/// A block that has begun and not ended.
enum Open {
    Text,
    Reasoning,
    /// The call so far, and the text of its input.
    Call(Box<ToolCall>, String),
}

impl Reader for MessageReader {
    fn read(&mut self, data: &str, parts: &mut Vec<StreamPart>) -> Result<(), ModelError> {
        let event = serde_json::from_str(data)
            .map_err(|error| ModelError::malformed(format!("an event of the answer is not understood: {error}")))?;
        match event {
            Event::MessageStart { message } => {
                self.counts.update(message.usage);
                self.id = message.id.clone();
                parts.push(StreamPart::ResponseMetadata {
                    id: message.id,
                    model_id: message.model,
                    timestamp_ms: None,
                });
            }
            Event::ContentBlockStart { index, content_block } => self.start(index, *content_block, parts),
            Event::ContentBlockDelta { index, delta } => self.delta(index, delta, parts)?,
            Event::ContentBlockStop { index } => self.stop(index, parts),
            Event::MessageDelta { delta, usage } => {
                self.counts.update(usage);
                self.stop_reason = delta.stop_reason.or(self.stop_reason.take());
            }
            Event::MessageStop => {
                let finish_reason = self.stop_reason.as_deref().map_or(FinishReason::Other, finish_reason);
                parts.push(StreamPart::finish(finish_reason, self.counts.into()));
            }
            Event::Ping => parts.push(StreamPart::Ping),
            Event::Error { error } => return Err(reported(&error)),
            Event::Unknown => {}
        }
        Ok(())
    }

    fn end(&mut self, _parts: &mut Vec<StreamPart>) -> Result<(), ModelError> {
        Err(broke_off("it ended without `message_stop`"))
    }
}

impl MessageReader {
    fn start(&mut self, index: u64, block: Block, parts: &mut Vec<StreamPart>) {
        let id = index.to_string();
        match block.kind.as_str() {
            "text" => {
                self.open.insert(index, Open::Text);
                parts.push(StreamPart::text_start(id.clone()));
                if !block.text.is_empty() {
                    parts.push(StreamPart::text_delta(id, block.text));
                }
            }
            "thinking" => {
                self.open.insert(index, Open::Reasoning);
                parts.push(StreamPart::ReasoningStart { id: id.clone(), provider_metadata: None });
                if !block.thinking.is_empty() {
                    parts.push(reasoning(index, block.thinking, None));
                }
                if let Some(signature) = block.signature.filter(|signature| !signature.is_empty()) {
                    parts.push(reasoning(index, String::new(), Some(metadata("signature", json!(signature)))));
                }
            }
            "redacted_thinking" => {
                self.open.insert(index, Open::Reasoning);
                let provider_metadata = Some(metadata("redactedData", json!(block.data)));
                parts.push(StreamPart::ReasoningStart { id, provider_metadata });
            }
            kind if kind.ends_with("tool_use") => self.start_call(index, block, parts),
            kind if kind.ends_with("_tool_result") => self.result(block, parts),
            // A block of a kind that the API has added since: its deltas and its end mean nothing either.
            _ => {}
        }
    }

    fn start_call(&mut self, index: u64, block: Block, parts: &mut Vec<StreamPart>) {
        let by_provider = block.kind != "tool_use";
        let mut said = json!({ BLOCK_TYPE: block.kind });
        if let Some(server) = &block.server_name {
            said[SERVER_NAME] = json!(server);
        }
        let call = Box::new(ToolCall {
            tool_call_id: block.id,
            tool_name: block.name,
            // Usually empty here and streamed after it.
            input: block.input.unwrap_or_else(|| json!({})),
            provider_executed: by_provider,
            // The agent has never heard of the tools on the provider's side.
            dynamic: block.server_name.is_some(),
            provider_metadata: by_provider.then(|| json!({ NAME: said })),
            ..ToolCall::default()
        });
        if by_provider {
            self.called.insert(call.tool_call_id.clone(), call.tool_name.clone());
        }
        parts.push(StreamPart::ToolInputStart {
            id: call.tool_call_id.clone(),
            name: call.tool_name.clone(),
            provider_executed: call.provider_executed,
            dynamic: call.dynamic,
            title: None,
            provider_metadata: call.provider_metadata.clone(),
        });
        self.open.insert(index, Open::Call(call, String::new()));
    }

    fn delta(&mut self, index: u64, delta: Delta, parts: &mut Vec<StreamPart>) -> Result<(), ModelError> {
        let id = || index.to_string();
        match (self.open.get_mut(&index), delta) {
            (Some(Open::Text), Delta::Text { text }) => parts.push(StreamPart::text_delta(id(), text)),
            (Some(Open::Text), Delta::Citations { citation }) => parts.extend(self.citation(citation)),
            (Some(Open::Reasoning), Delta::Thinking { thinking }) => {
                parts.push(reasoning(index, thinking, None));
            }
            (Some(Open::Reasoning), Delta::Signature { signature }) => {
                parts.push(reasoning(index, String::new(), Some(metadata("signature", json!(signature)))));
            }
            (Some(Open::Call(call, text)), Delta::InputJson { partial_json }) => {
                if !partial_json.is_empty() {
                    text.push_str(&partial_json);
                    parts.push(StreamPart::ToolInputDelta { id: call.tool_call_id.clone(), delta: partial_json });
                }
            }
            (None, _) | (_, Delta::Unknown) => {}
            (Some(_), delta) => {
                let what = format!("block {index} is given what does not belong to it: {delta:?}");
                return Err(ModelError::malformed(what));
            }
        }
        Ok(())
    }

    fn stop(&mut self, index: u64, parts: &mut Vec<StreamPart>) {
        let id = index.to_string();
        match self.open.remove(&index) {
            Some(Open::Text) => parts.push(StreamPart::text_end(id)),
            Some(Open::Reasoning) => parts.push(StreamPart::ReasoningEnd { id, provider_metadata: None }),
            Some(Open::Call(mut call, text)) => {
                parts.push(StreamPart::ToolInputEnd { id: call.tool_call_id.clone() });
                if !text.is_empty() {
                    (call.input, call.invalid) = parse_input(&text);
                }
                parts.push(StreamPart::ToolCall(*call));
            }
            None => {}
        }
    }

    /// Gives the result of a tool that the provider ran, and the pages it found.
    fn result(&mut self, block: Block, parts: &mut Vec<StreamPart>) {
        let error = match &block.content {
            content if block.is_error => Some(text_of(content)),
            Value::Object(content) => content.get("error_code").and_then(Value::as_str).map(str::to_owned),
            _ => None,
        };
        let found: Vec<Value> = block.content.as_array().cloned().unwrap_or_default();
        let tool_name = self.called.get(&block.tool_use_id).cloned();
        parts.push(StreamPart::ToolResult(ToolResult {
            tool_name: tool_name.unwrap_or_else(|| block.kind.trim_end_matches("_tool_result").to_owned()),
            tool_call_id: block.tool_use_id,
            outcome: error.map_or(Ok(block.content), Err),
            provider_executed: true,
            dynamic: block.kind == "mcp_tool_result",
            preliminary: false,
            provider_metadata: Some(metadata(BLOCK_TYPE, json!(block.kind))),
        }));
        for page in found.iter().filter(|page| page["type"] == "web_search_result") {
            let text = |key: &str| page[key].as_str().map(str::to_owned);
            let Some(url) = text("url") else { continue };
            let provider_metadata = text("page_age").map(|age| metadata("pageAge", json!(age)));
            let id = self.source_id();
            parts.push(StreamPart::SourceUrl { id, url, title: text("title"), provider_metadata });
        }
    }

    fn citation(&mut self, citation: Citation) -> Option<StreamPart> {
        let provider_metadata = citation.cited_text.map(|text| metadata("citedText", json!(text)));
        if let Some(url) = citation.url {
            let id = self.source_id();
            return Some(StreamPart::SourceUrl { id, url, title: citation.title, provider_metadata });
        }
        let index = citation.document_index?;
        let media_type = if citation.kind == "page_location" { "application/pdf" } else { "text/plain" };
        Some(StreamPart::SourceDocument {
            id: self.source_id(),
            media_type: media_type.to_owned(),
            title: citation.document_title.unwrap_or_else(|| format!("Document {}", index.saturating_add(1))),
            filename: None,
            provider_metadata,
        })
    }

    /// Names a source within the whole conversation: the answer's own name is in it.
    fn source_id(&mut self) -> String {
        let id = format!("{}-source-{}", self.id.as_deref().unwrap_or("answer"), self.n_sources);
        self.n_sources += 1;
        id
    }
}

fn reasoning(index: u64, delta: String, provider_metadata: Option<Value>) -> StreamPart {
    StreamPart::ReasoningDelta { id: index.to_string(), delta, provider_metadata }
}

fn metadata(key: &str, value: Value) -> Value {
    json!({ NAME: { key: value } })
}

/// Joins the texts of a result's content.
fn text_of(content: &Value) -> String {
    match content {
        Value::String(text) => text.clone(),
        Value::Array(parts) => parts.iter().filter_map(|part| part["text"].as_str()).collect(),
        other => other.to_string(),
    }
}

fn finish_reason(word: &str) -> FinishReason {
    match word {
        "end_turn" | "stop_sequence" => FinishReason::Stop,
        "tool_use" => FinishReason::ToolCalls,
        "max_tokens" | "model_context_window_exceeded" => FinishReason::Length,
        "refusal" => FinishReason::ContentFilter,
        // `pause_turn` too: the answer is not whole, and no step asks for the rest of it.
        _ => FinishReason::Other,
    }
}

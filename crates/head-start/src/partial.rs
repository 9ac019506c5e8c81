//! [`Partial`]: the first step in the form a model reads, for the handover (C-190, C-202).
//!
//! The history between turns leaves out calls that have no outcome; here they are the point, so the step is written down as it streams.

use std::collections::BTreeMap;

use serde_json::Value;
use turnkeep_model::{StreamPart, ToolCall, ToolResult};
use turnkeep_protocol::model_message::{
    FileContent, ReasoningContent, TextContent, ToolCallContent, ToolResultContent,
};
use turnkeep_protocol::{ContentPart, ModelMessage, ToolResultOutput};

/// A step as far as it has come.
#[derive(Debug, Default)]
pub(crate) struct Partial {
    said: Vec<ContentPart>,
    /// Outcomes that are not the provider's own: calls that cannot be used.
    answered: Vec<ContentPart>,
    /// Where the open texts and stretches of reasoning are.
    open: BTreeMap<String, usize>,
}

impl Partial {
    /// Adds what the model yielded.
    pub(crate) fn add(&mut self, part: &StreamPart) {
        match part {
            StreamPart::TextStart { id, provider_metadata } => self.open(id, false, provider_metadata.clone()),
            StreamPart::ReasoningStart { id, provider_metadata } => self.open(id, true, provider_metadata.clone()),
            StreamPart::TextDelta { id, delta, provider_metadata }
            | StreamPart::ReasoningDelta { id, delta, provider_metadata } => {
                self.extend(id, delta, provider_metadata.as_ref());
            }
            StreamPart::TextEnd { id, provider_metadata } | StreamPart::ReasoningEnd { id, provider_metadata } => {
                self.extend(id, "", provider_metadata.as_ref());
                self.open.remove(id);
            }
            StreamPart::ToolCall(call) => self.call(call),
            StreamPart::ToolResult(result) if !result.preliminary => self.result(result),
            StreamPart::File { media_type, base64, provider_metadata } => {
                self.said.push(ContentPart::File(FileContent {
                    data: format!("data:{media_type};base64,{base64}"),
                    media_type: media_type.clone(),
                    provider_options: provider_metadata.clone(),
                    ..FileContent::default()
                }));
            }
            _ => {}
        }
    }

    fn open(&mut self, id: &str, is_reasoning: bool, provider_options: Option<Value>) {
        self.open.insert(id.to_owned(), self.said.len());
        self.said.push(if is_reasoning {
            ContentPart::Reasoning(ReasoningContent { provider_options, ..ReasoningContent::default() })
        } else {
            ContentPart::Text(TextContent { provider_options, ..TextContent::default() })
        });
    }

    /// Adds to an open part; the provider's newest word about it counts (C-202). Readers skip what does not follow, and so do we.
    fn extend(&mut self, id: &str, delta: &str, metadata: Option<&Value>) {
        let part = self.open.get(id).and_then(|at| self.said.get_mut(*at));
        let (text, options) = match part {
            Some(ContentPart::Text(part)) => (&mut part.text, &mut part.provider_options),
            Some(ContentPart::Reasoning(part)) => (&mut part.text, &mut part.provider_options),
            _ => return,
        };
        text.push_str(delta);
        if let Some(metadata) = metadata {
            *options = Some(metadata.clone());
        }
    }

    fn call(&mut self, call: &ToolCall) {
        self.said.push(ContentPart::ToolCall(ToolCallContent {
            tool_call_id: call.tool_call_id.clone(),
            tool_name: call.tool_name.clone(),
            input: Some(call.input.clone()),
            provider_executed: call.provider_executed.then_some(true),
            provider_options: call.provider_metadata.clone(),
            ..ToolCallContent::default()
        }));
        if let Some(reason) = &call.invalid {
            let output = ToolResultOutput::ErrorText(reason.clone());
            self.answered.push(ContentPart::tool_result(&*call.tool_call_id, &*call.tool_name, output));
        }
    }

    fn result(&mut self, result: &ToolResult) {
        let output = match &result.outcome {
            Ok(Value::String(text)) => ToolResultOutput::Text(text.clone()),
            Ok(output) => ToolResultOutput::Json(output.clone()),
            Err(text) => ToolResultOutput::ErrorText(text.clone()),
        };
        let part = ContentPart::ToolResult(ToolResultContent {
            tool_call_id: result.tool_call_id.clone(),
            tool_name: result.tool_name.clone(),
            output,
            provider_options: result.provider_metadata.clone(),
            ..ToolResultContent::default()
        });
        if result.provider_executed { self.said.push(part) } else { self.answered.push(part) }
    }

    /// Gives the step's messages.
    pub(crate) fn into_messages(self) -> Vec<ModelMessage> {
        // Providers refuse empty text.
        let is_empty = |part: &ContentPart| matches!(part, ContentPart::Text(part) if part.text.is_empty() && part.provider_options.is_none());
        let said: Vec<ContentPart> = self.said.into_iter().filter(|part| !is_empty(part)).collect();
        let said = (!said.is_empty()).then(|| ModelMessage::assistant(said));
        let answered = (!self.answered.is_empty()).then(|| ModelMessage::tool(self.answered));
        said.into_iter().chain(answered).collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(parts: &[StreamPart], want: Value) {
        let mut partial = Partial::default();
        for part in parts {
            partial.add(part);
        }
        assert_eq!(json!(partial.into_messages()), want);
    }

    fn reasoning(id: &str, delta: &str, signature: &str) -> [StreamPart; 3] {
        let metadata = Some(json!({ "anthropic": { "signature": signature } }));
        [
            StreamPart::ReasoningStart { id: id.to_owned(), provider_metadata: None },
            StreamPart::ReasoningDelta { id: id.to_owned(), delta: delta.to_owned(), provider_metadata: None },
            StreamPart::ReasoningEnd { id: id.to_owned(), provider_metadata: metadata },
        ]
    }

    #[test]
    fn text_and_calls_are_one_assistant_message_in_order() {
        check(
            &[
                StreamPart::text_start("1"),
                StreamPart::text_delta("1", "Let me "),
                StreamPart::text_delta("1", "look."),
                StreamPart::text_end("1"),
                StreamPart::tool_call("t1", "forecast", json!({ "city": "Oslo" })),
            ],
            json!([{ "role": "assistant", "content": [
                { "type": "text", "text": "Let me look." },
                { "type": "tool-call", "toolCallId": "t1", "toolName": "forecast", "input": { "city": "Oslo" } },
            ] }]),
        );
    }

    #[test]
    fn reasoning_keeps_what_the_provider_signed_it_with_c202() {
        let parts = reasoning("r", "Hm.", "sig");
        check(
            &parts,
            json!([{ "role": "assistant", "content": [
                { "type": "reasoning", "text": "Hm.", "providerOptions": { "anthropic": { "signature": "sig" } } },
            ] }]),
        );
    }

    #[test]
    fn what_a_provider_ran_itself_is_answered_beside_its_call() {
        let call = ToolCall { provider_executed: true, ..call("s1") };
        let result = ToolResult {
            tool_call_id: "s1".to_owned(),
            tool_name: "search".to_owned(),
            outcome: Ok(json!(["hit"])),
            provider_executed: true,
            dynamic: false,
            preliminary: false,
            provider_metadata: None,
        };
        check(
            &[StreamPart::ToolCall(call), StreamPart::ToolResult(result)],
            json!([{ "role": "assistant", "content": [
                { "type": "tool-call", "toolCallId": "s1", "toolName": "search", "input": {}, "providerExecuted": true },
                { "type": "tool-result", "toolCallId": "s1", "toolName": "search",
                    "output": { "type": "json", "value": ["hit"] } },
            ] }]),
        );
    }

    #[test]
    fn a_call_that_cannot_be_used_has_its_failure_as_its_result() {
        let call = ToolCall { invalid: Some("no such tool".to_owned()), ..call("s1") };
        check(
            &[StreamPart::ToolCall(call)],
            json!([
                { "role": "assistant", "content": [
                    { "type": "tool-call", "toolCallId": "s1", "toolName": "search", "input": {} },
                ] },
                { "role": "tool", "content": [
                    { "type": "tool-result", "toolCallId": "s1", "toolName": "search",
                        "output": { "type": "error-text", "value": "no such tool" } },
                ] },
            ]),
        );
    }

    #[test]
    fn a_step_that_said_nothing_is_no_message() {
        check(&[StreamPart::text_start("1"), StreamPart::text_end("1"), StreamPart::Ping], json!([]));
    }

    fn call(id: &str) -> ToolCall {
        let (tool_call_id, tool_name, input) = (id.to_owned(), "search".to_owned(), json!({}));
        ToolCall { tool_call_id, tool_name, input, ..ToolCall::default() }
    }
}

use turnkeep_model::{LanguageModel, Origin, Prompt, StreamPart};
use turnkeep_protocol::{ContentPart, ModelMessage, RunId, ToolResultOutput};

use crate::model::MockLanguageModel;

pub(in crate::model) use futures::StreamExt as _;

/// A prompt whose newest user message is `text`.
pub(in crate::model) fn ask(text: &str) -> Prompt {
    Prompt { messages: vec![ModelMessage::user(text)], ..Prompt::default() }
}

/// The same as asked by a run of a chat.
pub(in crate::model) fn ask_from(chat: &str, run: &str, attempt: u32, text: &str) -> Prompt {
    let origin = Origin { chat_id: chat.to_owned(), run_id: RunId::new(run), attempt, turn: 0 };
    Prompt { origin: Some(origin), ..ask(text) }
}

/// A prompt that ends with the result of a call.
pub(in crate::model) fn with_result(text: &str, tool: &str, id: &str, output: &str) -> Prompt {
    let mut prompt = ask(text);
    prompt.step = 1;
    let output = ToolResultOutput::Text(output.to_owned());
    prompt.messages.push(ModelMessage::tool(vec![ContentPart::tool_result(id, tool, output)]));
    prompt
}

/// Everything the model yields, or the text of its refusal.
pub(in crate::model) async fn answer(model: &MockLanguageModel, prompt: Prompt) -> Result<Vec<StreamPart>, String> {
    match model.stream(prompt).await {
        Ok(parts) => Ok(parts.collect().await),
        Err(error) => Err(error.to_string()),
    }
}

/// What an answer says, its text deltas joined; of a refusal, its first line.
pub(in crate::model) async fn text(model: &MockLanguageModel, prompt: Prompt) -> String {
    match answer(model, prompt).await {
        Ok(parts) => parts.iter().filter_map(delta).collect(),
        Err(refused) => format!("refused: {}", refused.lines().next().unwrap_or_default()),
    }
}

fn delta(part: &StreamPart) -> Option<&str> {
    match part {
        StreamPart::TextDelta { delta, .. } => Some(delta),
        _ => None,
    }
}

/// One word per part.
pub(in crate::model) fn words(parts: &[StreamPart]) -> String {
    let word = |part: &StreamPart| match part {
        StreamPart::StreamStart => "begin".to_owned(),
        StreamPart::TextStart { .. } => "text(".to_owned(),
        StreamPart::TextDelta { delta, .. } | StreamPart::ReasoningDelta { delta, .. } => format!("{delta:?}"),
        StreamPart::TextEnd { .. } | StreamPart::ReasoningEnd { .. } => ")".to_owned(),
        StreamPart::ReasoningStart { .. } => "reasoning(".to_owned(),
        StreamPart::ToolInputStart { id, .. } => format!("{id}("),
        StreamPart::ToolInputDelta { id, delta } => format!("{id}+{delta}"),
        StreamPart::ToolInputEnd { id } => format!("){id}"),
        StreamPart::ToolCall(call) if call.invalid.is_some() => format!("bad-call {}", call.tool_name),
        StreamPart::ToolCall(call) => format!("{}={}{}", call.tool_call_id, call.tool_name, call.input),
        StreamPart::ToolResult(result) => format!("{}->{}", result.tool_call_id, result.outcome.clone().unwrap()),
        StreamPart::SourceUrl { url, .. } => format!("source {url}"),
        StreamPart::SourceDocument { title, .. } => format!("document {title}"),
        StreamPart::File { media_type, .. } => format!("file {media_type}"),
        StreamPart::ResponseMetadata { .. } => "response".to_owned(),
        StreamPart::Finish { finish_reason, .. } => format!("finish {finish_reason}"),
        StreamPart::Error(error) => format!("error {error}"),
        StreamPart::Ping => "ping".to_owned(),
        other => format!("{other:?}"),
    };
    parts.iter().map(word).collect::<Vec<_>>().join(" ")
}

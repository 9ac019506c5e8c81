//! The conversation as chat completions messages.

use serde_json::{Value, json};
use turnkeep_protocol::model_message::{FileContent, ToolCallContent};
use turnkeep_protocol::{ContentPart, JsonObject, ModelMessage, ModelRole};

use super::NAME;
use crate::error::ModelError;
use crate::prompt::Prompt;
use crate::provider::{FileData, ToolOutput, object_input, part_option, read_file};

/// The fields in which servers other than OpenAI say their reasoning, and under which it is given back.
pub(super) const REASONING_FIELDS: [&str; 2] = ["reasoning_content", "reasoning"];

/// Names the field that reasoning came in, in the metadata of its parts.
pub(super) const REASONING_FIELD: &str = "reasoningField";

pub(super) fn messages(prompt: &Prompt, system_role: &str) -> Result<Vec<Value>, ModelError> {
    let system = |text: &str| json!({ "role": system_role, "content": text });
    let mut messages: Vec<Value> = prompt.system.iter().map(|text| system(text)).collect();
    for message in &prompt.messages {
        match message.role {
            ModelRole::System => messages.push(system(&message.text())),
            ModelRole::User => messages.extend(user(message)?),
            ModelRole::Assistant => messages.extend(assistant(message)),
            ModelRole::Tool => messages.extend(results(message)),
        }
    }
    Ok(messages)
}

fn user(message: &ModelMessage) -> Result<Option<Value>, ModelError> {
    let mut content = Vec::new();
    for part in &message.content {
        match part {
            ContentPart::Text(part) => content.push(json!({ "type": "text", "text": part.text })),
            ContentPart::File(part) => content.push(file(part, content.len())?),
            _ => {}
        }
    }
    if content.is_empty() {
        return Ok(None);
    }
    // Servers that imitate the API often know text alone.
    let is_text = message.content.iter().all(|part| matches!(part, ContentPart::Text(_)));
    let content = if is_text { json!(message.text()) } else { Value::Array(content) };
    Ok(Some(json!({ "role": "user", "content": content })))
}

fn file(file: &FileContent, index: usize) -> Result<Value, ModelError> {
    let (media_type, data) = read_file(file);
    let data_url = |media_type: &str, base64: &str| format!("data:{media_type};base64,{base64}");
    match (media_type.as_str(), data) {
        (kind, data) if kind.starts_with("image/") => {
            let kind = if kind == "image/*" { "image/jpeg" } else { kind };
            let url = match data {
                FileData::Url(url) => url,
                FileData::Base64(base64) => data_url(kind, &base64),
            };
            let mut image = json!({ "url": url });
            if let Some(detail) = part_option(file.provider_options.as_ref(), NAME, "imageDetail") {
                image["detail"] = detail.clone();
            }
            Ok(json!({ "type": "image_url", "image_url": image }))
        }
        ("audio/wav" | "audio/x-wav", FileData::Base64(data)) => Ok(audio(&data, "wav")),
        ("audio/mp3" | "audio/mpeg", FileData::Base64(data)) => Ok(audio(&data, "mp3")),
        ("application/pdf", FileData::Base64(data)) => {
            let filename = file.filename.clone().unwrap_or_else(|| format!("part-{index}.pdf"));
            Ok(json!({ "type": "file", "file": { "filename": filename, "file_data": data_url(&media_type, &data) } }))
        }
        (kind, FileData::Url(_)) => Err(refuse(kind, " by its address")),
        (kind, FileData::Base64(_)) => Err(refuse(kind, "")),
    }
}

fn audio(data: &str, format: &str) -> Value {
    json!({ "type": "input_audio", "input_audio": { "data": data, "format": format } })
}

fn refuse(media_type: &str, how: &str) -> ModelError {
    ModelError::refused(format!("the chat completions API takes no file of type `{media_type}`{how}"))
}

fn assistant(message: &ModelMessage) -> Option<Value> {
    let mut reasoning = JsonObject::new();
    let mut calls = Vec::new();
    for part in &message.content {
        match part {
            ContentPart::Reasoning(part) => {
                let field = part_option(part.provider_options.as_ref(), NAME, REASONING_FIELD).and_then(Value::as_str);
                if let Some(field) = field.filter(|field| REASONING_FIELDS.contains(field)) {
                    let so_far = reasoning.get(field).and_then(Value::as_str).unwrap_or_default();
                    let text = format!("{so_far}{}", part.text);
                    reasoning.insert(field.to_owned(), Value::String(text));
                }
            }
            // What another provider ran is answered in its own words, which this one does not know.
            ContentPart::ToolCall(part) if part.provider_executed != Some(true) => calls.push(call(part)),
            _ => {}
        }
    }
    let text = message.text();
    if text.is_empty() && calls.is_empty() {
        return None;
    }
    let content = if text.is_empty() { Value::Null } else { Value::String(text) };
    let mut said = json!({ "role": "assistant", "content": content });
    for (field, text) in reasoning {
        said[field] = text;
    }
    if !calls.is_empty() {
        said["tool_calls"] = Value::Array(calls);
    }
    Some(said)
}

fn call(call: &ToolCallContent) -> Value {
    let arguments = object_input(call.input.as_ref()).to_string();
    json!({ "id": call.tool_call_id, "type": "function", "function": { "name": call.tool_name, "arguments": arguments } })
}

fn results(message: &ModelMessage) -> impl Iterator<Item = Value> {
    message.content.iter().filter_map(|part| match part {
        ContentPart::ToolResult(part) => {
            let content = ToolOutput::read(&part.output).text;
            Some(json!({ "role": "tool", "tool_call_id": part.tool_call_id, "content": content }))
        }
        // Approvals are between the person and the agent.
        _ => None,
    })
}

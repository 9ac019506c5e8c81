//! One content block each: text, files, reasoning, calls and results.

use serde_json::{Value, json};
use turnkeep_protocol::ToolResultOutput;
use turnkeep_protocol::model_message::{FileContent, ReasoningContent, ToolCallContent, ToolResultContent};

use super::super::NAME;
use crate::error::ModelError;
use crate::provider::{FileData, ToolOutput, object_input, part_option, read_file};

/// Names the type of the block that a provider's own call or result came in, in its metadata.
pub(in crate::anthropic) const BLOCK_TYPE: &str = "type";

/// Names the server that a call went to, in its metadata.
pub(in crate::anthropic) const SERVER_NAME: &str = "serverName";

/// What a failed tool is made to say when it says nothing: the API refuses an empty error.
const NO_WORDS: &str = "The tool failed without a word.";

/// The API refuses text that is empty or nothing but white space.
pub(super) fn text(text: &str) -> Option<Value> {
    (!text.trim().is_empty()).then(|| json!({ "type": "text", "text": text }))
}

/// Puts the part's own cache mark on its block.
pub(super) fn marked(block: Option<Value>, options: &Option<Value>) -> Option<Value> {
    let mut block = block?;
    if let Some(mark) = part_option(options.as_ref(), NAME, "cacheControl") {
        block["cache_control"] = mark.clone();
    }
    Some(block)
}

pub(super) fn file(file: &FileContent) -> Result<Value, ModelError> {
    let (media_type, data) = read_file(file);
    if let Some(image) = image(&media_type, &data) {
        return Ok(image);
    }
    let source = match (media_type.as_str(), &data) {
        ("application/pdf" | "text/plain", FileData::Url(url)) => json!({ "type": "url", "url": url }),
        ("application/pdf", FileData::Base64(data)) => {
            json!({ "type": "base64", "media_type": "application/pdf", "data": data })
        }
        ("text/plain", data) => {
            let text = data.text().ok_or_else(|| ModelError::refused("a file of type `text/plain` is not UTF-8"))?;
            json!({ "type": "text", "media_type": "text/plain", "data": text })
        }
        (kind, _) => {
            return Err(ModelError::refused(format!("the messages API takes no file of type `{kind}`")));
        }
    };
    let mut document = json!({ "type": "document", "source": source });
    let options = file.provider_options.as_ref();
    let title = part_option(options, NAME, "title").cloned().or_else(|| file.filename.clone().map(Value::String));
    let said = [
        ("title", title),
        ("context", part_option(options, NAME, "context").cloned()),
        ("citations", part_option(options, NAME, "citations").cloned()),
    ];
    for (name, value) in said {
        if let Some(value) = value {
            document[name] = value;
        }
    }
    Ok(document)
}

fn image(media_type: &str, data: &FileData) -> Option<Value> {
    let kind = media_type.strip_prefix("image/")?;
    let media_type = if kind == "*" { "image/jpeg" } else { media_type };
    let source = match data {
        FileData::Url(url) => json!({ "type": "url", "url": url }),
        FileData::Base64(data) => json!({ "type": "base64", "media_type": media_type, "data": data }),
    };
    Some(json!({ "type": "image", "source": source }))
}

/// Gives reasoning back only with the provider's seal: it refuses what it cannot know as its own.
pub(super) fn reasoning(part: &ReasoningContent) -> Option<Value> {
    let option = |key| part_option(part.provider_options.as_ref(), NAME, key);
    match (option("signature"), option("redactedData")) {
        (Some(signature), _) => Some(json!({ "type": "thinking", "thinking": part.text, "signature": signature })),
        (None, Some(data)) => Some(json!({ "type": "redacted_thinking", "data": data })),
        (None, None) => None,
    }
}

pub(super) fn call(part: &ToolCallContent) -> Option<Value> {
    let option = |key| part_option(part.provider_options.as_ref(), NAME, key);
    let mut block = json!({
        "type": "tool_use",
        "id": part.tool_call_id,
        "name": part.tool_name,
        "input": object_input(part.input.as_ref()),
    });
    if part.provider_executed == Some(true) {
        // Another provider's own call has no place here.
        block["type"] = option(BLOCK_TYPE)?.clone();
        if let Some(server) = option(SERVER_NAME) {
            block["server_name"] = server.clone();
        }
    }
    Some(block)
}

/// Gives the result of a tool that the provider ran as it came.
pub(super) fn provider_result(part: &ToolResultContent) -> Option<Value> {
    let kind = part_option(part.provider_options.as_ref(), NAME, BLOCK_TYPE)?.as_str()?;
    let mut block = json!({ "type": kind, "tool_use_id": part.tool_call_id });
    block["content"] = match &part.output {
        ToolResultOutput::Json(content) => content.clone(),
        ToolResultOutput::ErrorText(text) if kind == "mcp_tool_result" => {
            block["is_error"] = json!(true);
            json!([{ "type": "text", "text": text }])
        }
        ToolResultOutput::ErrorText(code) => json!({ "type": format!("{kind}_error"), "error_code": code }),
        other => json!(ToolOutput::read(other).text),
    };
    Some(block)
}

pub(super) fn result(part: &ToolResultContent) -> Result<Value, ModelError> {
    let mut block = json!({ "type": "tool_result", "tool_use_id": part.tool_call_id });
    if let Some(content) = content_of(&part.output) {
        let parts = content.iter().map(result_part).filter_map(Result::transpose).collect::<Result<Vec<_>, _>>()?;
        if !parts.is_empty() {
            block["content"] = json!(parts);
        }
        return Ok(block);
    }
    let output = ToolOutput::read(&part.output);
    let is_empty = output.text.trim().is_empty();
    // A tool that has nothing to say is no content at all; one that has failed must say something.
    match (output.is_error, is_empty) {
        (false, true) => {}
        (true, true) => block["content"] = json!(NO_WORDS),
        (_, false) => block["content"] = json!(output.text),
    }
    if output.is_error {
        block["is_error"] = json!(true);
    }
    Ok(block)
}

/// Gives the parts of a result that has some.
fn content_of(output: &ToolResultOutput) -> Option<&Vec<Value>> {
    match output {
        ToolResultOutput::Other(object) if object.get("type")? == "content" => object.get("value")?.as_array(),
        _ => None,
    }
}

/// Gives a part of a result; none for a text that says nothing.
fn result_part(part: &Value) -> Result<Option<Value>, ModelError> {
    let text = |key: &str| part.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let as_file = |data: String, media_type: String| {
        file(&FileContent { data, media_type, filename: None, ..FileContent::default() }).map(Some)
    };
    match part.get("type").and_then(Value::as_str) {
        Some("text") => Ok(self::text(&text("text"))),
        Some("image-url") => as_file(text("url"), "image/*".to_owned()),
        Some("file-url") => as_file(text("url"), "application/pdf".to_owned()),
        Some("media" | "image-data" | "file-data") => as_file(text("data"), text("mediaType")),
        _ => Ok(Some(json!({ "type": "text", "text": part.to_string() }))),
    }
}

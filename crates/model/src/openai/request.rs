//! A prompt as the body of a chat completions request.

use serde_json::{Value, json};
use turnkeep_protocol::JsonObject;

use super::{NAME, messages};
use crate::error::ModelError;
use crate::prompt::{Prompt, ToolSpec};
use crate::provider::{rename, snake_case};

/// The settings that every model takes: the AI SDK's name and the API's.
const SETTINGS: &[(&str, &str)] = &[("stopSequences", "stop"), ("seed", "seed")];

/// The settings that reasoning models refuse.
const SAMPLING: &[(&str, &str)] = &[
    ("temperature", "temperature"),
    ("topP", "top_p"),
    ("frequencyPenalty", "frequency_penalty"),
    ("presencePenalty", "presence_penalty"),
];

/// Options whose name is not the API's in snake case.
const OPTIONS: &[(&str, &str)] = &[("textVerbosity", "verbosity"), ("maxCompletionTokens", "max_completion_tokens")];

pub(super) fn body(model_id: &str, prompt: &Prompt) -> Result<Value, ModelError> {
    let reasons = is_reasoning_model(model_id);
    let system_role = if reasons { "developer" } else { "system" };
    let mut body = JsonObject::new();
    body.insert("model".to_owned(), json!(model_id));
    body.insert("messages".to_owned(), Value::Array(messages::messages(prompt, system_role)?));
    body.insert("stream".to_owned(), json!(true));
    body.insert("stream_options".to_owned(), json!({ "include_usage": true }));
    let limit = if reasons { "max_completion_tokens" } else { "max_tokens" };
    rename(&prompt.settings, &[("maxOutputTokens", limit)], &mut body);
    rename(&prompt.settings, SETTINGS, &mut body);
    if !reasons {
        rename(&prompt.settings, SAMPLING, &mut body);
    }
    if !prompt.tools.is_empty() {
        body.insert("tools".to_owned(), prompt.tools.iter().map(tool).collect());
        if let Some(choice) = prompt.settings.get("toolChoice").and_then(tool_choice) {
            body.insert("tool_choice".to_owned(), choice);
        }
    }
    for (name, value) in prompt.provider_options.get(NAME).and_then(Value::as_object).into_iter().flatten() {
        let named = OPTIONS.iter().find(|(ours, _)| ours == name);
        let name = named.map_or_else(|| snake_case(name), |(_, theirs)| (*theirs).to_owned());
        body.insert(name, value.clone());
    }
    Ok(Value::Object(body))
}

/// Tells whether OpenAI's model of this name thinks first; such models have other words for some settings.
fn is_reasoning_model(model_id: &str) -> bool {
    let mut chars = model_id.chars();
    let is_o_series = chars.next() == Some('o') && chars.next().is_some_and(|c| c.is_ascii_digit());
    is_o_series || model_id.starts_with("gpt-5") && !model_id.starts_with("gpt-5-chat")
}

fn tool(tool: &ToolSpec) -> Value {
    let mut function = json!({ "name": tool.name, "parameters": tool.input_schema });
    if let Some(description) = &tool.description {
        function["description"] = json!(description);
    }
    json!({ "type": "function", "function": function })
}

/// Reads the AI SDK's `toolChoice`: `auto`, `none`, `required` or one tool.
fn tool_choice(choice: &Value) -> Option<Value> {
    match choice {
        Value::String(_) => Some(choice.clone()),
        _ => {
            let name = choice.get("toolName")?.as_str()?;
            Some(json!({ "type": "function", "function": { "name": name } }))
        }
    }
}

//! A prompt as the body of a messages request.

use serde_json::{Value, json};
use turnkeep_protocol::JsonObject;

use super::{NAME, messages};
use crate::error::ModelError;
use crate::prompt::{Prompt, ToolSpec};
use crate::provider::{rename, snake_case};

/// The limit of output unless set: what every model of the provider can write.
const DEFAULT_MAX_TOKENS: u64 = 4096;

const SETTINGS: &[(&str, &str)] = &[("stopSequences", "stop_sequences")];

/// The settings that a model refuses while it thinks.
const SAMPLING: &[(&str, &str)] = &[("temperature", "temperature"), ("topP", "top_p"), ("topK", "top_k")];

/// Options that are read here; the others are sent as they are.
const READ: &[&str] = &["thinking", "effort", "disableParallelToolUse", "sendReasoning", "tools"];

pub(super) fn body(model_id: &str, prompt: &Prompt) -> Result<Value, ModelError> {
    let nothing = JsonObject::new();
    let options = prompt.provider_options.get(NAME).and_then(Value::as_object).unwrap_or(&nothing);
    let thinking = options.get("thinking").filter(|thinking| thinking.is_object()).map(in_snake_case);
    let kind = thinking.as_ref().and_then(|thinking| thinking["type"].as_str());
    let thinks = kind.is_some_and(|kind| kind != "disabled");

    let mut body = JsonObject::new();
    body.insert("model".to_owned(), json!(model_id));
    body.insert("max_tokens".to_owned(), json!(max_tokens(prompt, thinking.as_ref())));
    let sends_reasoning = options.get("sendReasoning") != Some(&Value::Bool(false));
    let (system, said) = messages::messages(prompt, sends_reasoning)?;
    if !system.is_empty() {
        body.insert("system".to_owned(), Value::Array(system));
    }
    body.insert("messages".to_owned(), Value::Array(said));
    body.insert("stream".to_owned(), json!(true));
    rename(&prompt.settings, SETTINGS, &mut body);
    if !thinks {
        rename(&prompt.settings, SAMPLING, &mut body);
    }
    body.extend(thinking.map(|thinking| ("thinking".to_owned(), thinking)));
    if let Some(effort) = options.get("effort") {
        body.insert("output_config".to_owned(), json!({ "effort": effort }));
    }
    tools(prompt, options, &mut body);
    for (name, value) in options.iter().filter(|(name, _)| !READ.contains(&name.as_str())) {
        body.insert(snake_case(name), value.clone());
    }
    Ok(Value::Object(body))
}

/// Gives the limit of output; what the model may think comes on top of what it may say.
fn max_tokens(prompt: &Prompt, thinking: Option<&Value>) -> u64 {
    let said = prompt.settings.get("maxOutputTokens").and_then(Value::as_u64).unwrap_or(DEFAULT_MAX_TOKENS);
    let budget = thinking.and_then(|thinking| thinking["budget_tokens"].as_u64()).unwrap_or(0);
    said.saturating_add(budget)
}

fn in_snake_case(object: &Value) -> Value {
    let fields = object.as_object().into_iter().flatten();
    Value::Object(fields.map(|(name, value)| (snake_case(name), value.clone())).collect())
}

fn tools(prompt: &Prompt, options: &JsonObject, body: &mut JsonObject) {
    let provided = options.get("tools").and_then(Value::as_array).into_iter().flatten().cloned();
    let tools: Vec<Value> = prompt.tools.iter().map(tool).chain(provided).collect();
    if tools.is_empty() {
        return;
    }
    body.insert("tools".to_owned(), Value::Array(tools));
    let alone = options.get("disableParallelToolUse") == Some(&Value::Bool(true));
    let choice = prompt.settings.get("toolChoice").and_then(tool_choice);
    if let Some(mut choice) = choice.or_else(|| alone.then(|| json!({ "type": "auto" }))) {
        if alone && choice["type"] != "none" {
            choice["disable_parallel_tool_use"] = json!(true);
        }
        body.insert("tool_choice".to_owned(), choice);
    }
}

fn tool(tool: &ToolSpec) -> Value {
    let mut spec = json!({ "name": tool.name });
    if let Some(description) = &tool.description {
        spec["description"] = json!(description);
    }
    spec["input_schema"] = tool.input_schema.clone();
    spec
}

/// Reads the AI SDK's `toolChoice`: `auto`, `none`, `required` or one tool.
fn tool_choice(choice: &Value) -> Option<Value> {
    match choice.as_str() {
        Some("required") => Some(json!({ "type": "any" })),
        Some(word) => Some(json!({ "type": word })),
        None => {
            let name = choice.get("toolName")?.as_str()?;
            Some(json!({ "type": "tool", "name": name }))
        }
    }
}

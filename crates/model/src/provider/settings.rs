//! Reading what a prompt carries for providers, the same way for each.

use serde_json::{Value, json};
use turnkeep_protocol::{JsonObject, ToolResultOutput};

/// Speaks for a person who gave no reason (A-133).
const DENIED: &str = "Tool call execution denied.";

/// Moves the settings that the provider knows into `body`, under its names: pairs of the AI SDK's name and its own.
pub(crate) fn rename(settings: &JsonObject, names: &[(&str, &str)], body: &mut JsonObject) {
    for (ours, theirs) in names {
        if let Some(value) = settings.get(*ours).filter(|value| !value.is_null()) {
            body.insert((*theirs).to_owned(), value.clone());
        }
    }
}

/// Gives the option `key` for `provider` of a part or message.
pub(crate) fn part_option<'a>(options: Option<&'a Value>, provider: &str, key: &str) -> Option<&'a Value> {
    options?.get(provider)?.get(key).filter(|value| !value.is_null())
}

/// Writes a name as providers write theirs: `reasoningEffort` becomes `reasoning_effort`.
pub(crate) fn snake_case(name: &str) -> String {
    let mut snake = String::with_capacity(name.len() + 4);
    for c in name.chars() {
        if c.is_ascii_uppercase() {
            snake.push('_');
        }
        snake.push(c.to_ascii_lowercase());
    }
    snake
}

/// Gives a call's input as an object, which is all that providers take back.
///
/// An invalid call's input may be any text (A-119); the error that answers it says what was wrong.
pub(crate) fn object_input(input: Option<&Value>) -> Value {
    input.filter(|input| input.is_object()).cloned().unwrap_or_else(|| json!({}))
}

/// Reads the input of a finished call; text that is no JSON comes back as it is, with what is wrong with it (A-119).
pub(crate) fn parse_input(text: &str) -> (Value, Option<String>) {
    if text.trim().is_empty() {
        return (json!({}), None);
    }
    match serde_json::from_str(text) {
        Ok(input) => (input, None),
        Err(error) => (Value::String(text.to_owned()), Some(format!("the input is not valid JSON: {error}"))),
    }
}

/// Holds a tool's result as text for a model.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ToolOutput {
    pub(crate) text: String,
    pub(crate) is_error: bool,
}

impl ToolOutput {
    /// Reads a result; its parts, where it has some, as JSON.
    pub(crate) fn read(output: &ToolResultOutput) -> Self {
        let (text, is_error) = match output {
            ToolResultOutput::Text(text) => (text.clone(), false),
            ToolResultOutput::Json(value) => (value.to_string(), false),
            ToolResultOutput::ErrorText(text) => (text.clone(), true),
            ToolResultOutput::ErrorJson(value) => (value.to_string(), true),
            ToolResultOutput::Other(object) => match object.get("type").and_then(Value::as_str) {
                Some("execution-denied") => {
                    (object.get("reason").and_then(Value::as_str).unwrap_or(DENIED).to_owned(), true)
                }
                Some("content") => (object.get("value").unwrap_or(&Value::Null).to_string(), false),
                _ => (Value::Object(object.clone()).to_string(), false),
            },
        };
        Self { text, is_error }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_written_as_providers_write_theirs() {
        assert_eq!(snake_case("parallelToolCalls"), "parallel_tool_calls");
        assert_eq!(snake_case("reasoning_effort"), "reasoning_effort");
        assert_eq!(snake_case("user"), "user");
    }

    #[test]
    fn an_input_that_is_no_json_stays_as_it_came_a119() {
        assert_eq!(parse_input(r#"{"a":1}"#), (json!({ "a": 1 }), None));
        assert_eq!(parse_input(""), (json!({}), None));
        let (input, invalid) = parse_input(r#"{"a":"#);
        assert_eq!(input, json!(r#"{"a":"#));
        assert!(invalid.is_some_and(|why| why.starts_with("the input is not valid JSON: EOF")));
    }

    #[test]
    fn what_is_sent_back_as_input_is_an_object_a119() {
        assert_eq!(object_input(Some(&json!({ "a": 1 }))), json!({ "a": 1 }));
        assert_eq!(object_input(Some(&json!("{bad"))), json!({}));
        assert_eq!(object_input(None), json!({}));
    }

    #[test]
    fn every_form_of_a_result_has_a_text_a133() {
        #[track_caller]
        fn check(output: Value, text: &str, is_error: bool) {
            let output: JsonObject = serde_json::from_value(output).expect("an object");
            let read = match (output["type"].as_str(), output.get("value").cloned()) {
                (Some("text"), Some(Value::String(text))) => ToolResultOutput::Text(text),
                (Some("json"), Some(value)) => ToolResultOutput::Json(value),
                (Some("error-text"), Some(Value::String(text))) => ToolResultOutput::ErrorText(text),
                (Some("error-json"), Some(value)) => ToolResultOutput::ErrorJson(value),
                _ => ToolResultOutput::Other(output),
            };
            assert_eq!(ToolOutput::read(&read), ToolOutput { text: text.to_owned(), is_error });
        }
        check(json!({ "type": "text", "value": "a" }), "a", false);
        check(json!({ "type": "json", "value": { "a": [1] } }), r#"{"a":[1]}"#, false);
        check(json!({ "type": "error-text", "value": "broken" }), "broken", true);
        check(json!({ "type": "error-json", "value": { "a": 1 } }), r#"{"a":1}"#, true);
        check(json!({ "type": "execution-denied", "reason": "too dear" }), "too dear", true);
        check(json!({ "type": "execution-denied" }), DENIED, true);
        check(
            json!({ "type": "content", "value": [{ "type": "text", "text": "a" }] }),
            r#"[{"type":"text","text":"a"}]"#,
            false,
        );
        check(json!({ "type": "new", "x": 1 }), r#"{"type":"new","x":1}"#, false);
    }
}

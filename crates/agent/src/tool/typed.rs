//! Rust types at both ends of a tool: the schema that the model gets, and values parsed where the model got it wrong.

use std::sync::Arc;

use futures::stream::BoxStream;
use futures::{FutureExt, Stream, StreamExt};
use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use turnkeep_protocol::{ToolPart, ToolState};

use super::{INPUT, ToolContext};
use crate::error::HookError;

/// Says where and why an input is not of its type.
pub(super) type Check = Arc<dyn Fn(&Value) -> Result<(), String> + Send + Sync>;

/// Derives the JSON schema of a type, draft 7 as the AI SDK sends it, with nothing but recursion behind a `$ref`.
pub fn schema_of<T: JsonSchema>() -> Value {
    let mut settings = SchemaSettings::draft07();
    settings.inline_subschemas = true;
    settings.meta_schema = None;
    let mut schema = settings.into_generator().into_root_schema_for::<T>();
    // The type's own name would tell the model nothing.
    schema.remove("title");
    schema.into()
}

pub(super) fn check<I: DeserializeOwned + 'static>() -> Check {
    Arc::new(|input| parse::<I>(input.clone(), INPUT).map(drop))
}

/// Parses a value, which is called `name`, and says where it is wrong: `input.days[1]: invalid type: …`.
pub(crate) fn parse<T: DeserializeOwned>(value: Value, name: &str) -> Result<T, String> {
    serde_path_to_error::deserialize(value).map_err(|error| {
        let path = error.path().to_string();
        let dot = if path.starts_with(['.', '[']) { "" } else { "." };
        let at = if path == "." { String::new() } else { format!("{dot}{path}") };
        format!("{name}{at}: {}", error.inner())
    })
}

/// Makes a function of values from one of types.
pub(super) fn values<I, O, F, Fut>(
    execute: F,
) -> impl Fn(Value, ToolContext) -> futures::future::BoxFuture<'static, Result<Value, HookError>> + Send + Sync + 'static
where
    I: DeserializeOwned + 'static,
    O: Serialize,
    F: Fn(I, ToolContext) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<O, HookError>> + Send + 'static,
{
    move |input, ctx| match parse::<I>(input, INPUT) {
        Ok(input) => execute(input, ctx).map(|output| Ok(serde_json::to_value(output?)?)).boxed(),
        Err(wrong) => async { Err(wrong.into()) }.boxed(),
    }
}

/// Makes a stream of values from one of types.
pub(super) fn values_of<O: Serialize + 'static>(
    outputs: impl Stream<Item = Result<O, HookError>> + Send + 'static,
) -> BoxStream<'static, Result<Value, HookError>> {
    outputs.map(|output| Ok(serde_json::to_value(output?)?)).boxed()
}

/// A tool's part of a message in the tool's own types.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TypedToolPart<I, O> {
    /// Names the call.
    pub tool_call_id: String,
    /// Tells how far the call is.
    pub state: ToolState,
    /// The input, once it is whole.
    pub input: Option<I>,
    /// The output, once there is one; a preliminary one counts.
    pub output: Option<O>,
}

impl<I: DeserializeOwned, O: DeserializeOwned> TypedToolPart<I, O> {
    /// Reads a part of the tool called `tool_name`; none for the parts of other tools, and for what is not of these types.
    pub fn read(part: &ToolPart, tool_name: &str) -> Option<Self> {
        if part.tool_name != tool_name {
            return None;
        }
        let is_whole = part.state != ToolState::InputStreaming;
        let input = part.input.clone().filter(|_| is_whole).map(|value| parse(value, "part")).transpose().ok()?;
        let output = part.output.clone().map(|value| parse(value, "part")).transpose().ok()?;
        Some(Self { tool_call_id: part.tool_call_id.clone(), state: part.state, input, output })
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;
    use serde_json::json;

    use super::*;

    /// Where and when.
    #[derive(Debug, Deserialize, JsonSchema, PartialEq)]
    #[serde(deny_unknown_fields)]
    struct Trip {
        /// The city's English name.
        city: String,
        days: Vec<u8>,
        mood: Option<Mood>,
    }

    #[derive(Debug, Deserialize, JsonSchema, PartialEq)]
    #[serde(rename_all = "lowercase")]
    enum Mood {
        Calm,
        Bold,
    }

    #[test]
    fn a_type_gives_the_schema_that_the_model_gets_a119() {
        assert_eq!(
            schema_of::<Trip>(),
            json!({
                "description": "Where and when.",
                "type": "object",
                "properties": {
                    "city": { "description": "The city's English name.", "type": "string" },
                    "days": {
                        "type": "array",
                        "items": { "type": "integer", "format": "uint8", "minimum": 0, "maximum": 255 },
                    },
                    "mood": { "type": ["string", "null"], "enum": ["calm", "bold", null] },
                },
                "additionalProperties": false,
                "required": ["city", "days"],
            })
        );
    }

    #[test]
    fn a_value_that_is_not_of_the_type_is_told_its_place_a119() {
        #[track_caller]
        fn refused(input: Value, want: &str) {
            assert_eq!(parse::<Trip>(input, "input").map(drop), Err(want.to_owned()));
        }

        refused(json!({ "city": "Oslo", "days": [1, "x"] }), "input.days[1]: invalid type: string \"x\", expected u8");
        refused(json!({ "days": [] }), "input: missing field `city`");
        refused(json!([]), "input: invalid length 0, expected struct Trip with 3 elements");
        let trip = parse::<Trip>(json!({ "city": "Oslo", "days": [1], "mood": "bold" }), "input").unwrap();
        assert_eq!(trip, Trip { city: "Oslo".to_owned(), days: vec![1], mood: Some(Mood::Bold) });
    }

    #[test]
    fn a_part_is_read_in_the_types_of_its_tool_a250() {
        let part = |state, output: Value| {
            let part = json!({
                "type": "tool-plan", "toolCallId": "c", "state": state,
                "input": { "city": "Oslo", "days": [] }, "output": output,
            });
            serde_json::from_value::<turnkeep_protocol::UiPart>(part).unwrap()
        };
        let turnkeep_protocol::UiPart::Tool(answered) = part("output-available", json!(7)) else {
            panic!("this is a tool part");
        };

        let read = TypedToolPart::<Trip, u8>::read(&answered, "plan").unwrap();

        assert_eq!(
            (read.tool_call_id.as_str(), read.input.unwrap().city.as_str(), read.output),
            ("c", "Oslo", Some(7))
        );
        assert_eq!(TypedToolPart::<Trip, u8>::read(&answered, "other"), None);
        assert_eq!(TypedToolPart::<Trip, String>::read(&answered, "plan"), None);
    }
}

//! [`ExactPart`]: a stream part as a file has it, in the AI SDK's words (`LanguageModelV3StreamPart`).

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;
use turnkeep_model::{FinishReason, ModelError, StreamPart, ToolCall, ToolResult, Usage};

/// A stream part that is played as it is; in JSON it has the AI SDK's form.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ExactPart(#[serde(with = "Words")] pub StreamPart);

impl JsonSchema for ExactPart {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "StreamPart".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        Words::json_schema(generator)
    }
}

/// Every stream part with its words on paper.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(remote = "StreamPart", tag = "type", rename_all = "kebab-case", rename_all_fields = "camelCase")]
enum Words {
    StreamStart,
    ResponseMetadata {
        #[serde(default)]
        id: Option<String>,
        #[serde(default)]
        model_id: Option<String>,
        #[serde(default)]
        timestamp_ms: Option<u64>,
    },
    TextStart {
        id: String,
        #[serde(default)]
        provider_metadata: Option<Value>,
    },
    TextDelta {
        id: String,
        delta: String,
        #[serde(default)]
        provider_metadata: Option<Value>,
    },
    TextEnd {
        id: String,
        #[serde(default)]
        provider_metadata: Option<Value>,
    },
    ReasoningStart {
        id: String,
        #[serde(default)]
        provider_metadata: Option<Value>,
    },
    ReasoningDelta {
        id: String,
        delta: String,
        #[serde(default)]
        provider_metadata: Option<Value>,
    },
    ReasoningEnd {
        id: String,
        #[serde(default)]
        provider_metadata: Option<Value>,
    },
    ToolInputStart {
        id: String,
        #[serde(rename = "toolName")]
        name: String,
        #[serde(default)]
        provider_executed: bool,
        #[serde(default)]
        dynamic: bool,
        #[serde(default)]
        title: Option<String>,
        #[serde(default)]
        provider_metadata: Option<Value>,
    },
    ToolInputDelta {
        id: String,
        delta: String,
    },
    ToolInputEnd {
        id: String,
    },
    ToolCall(
        #[serde(with = "CallWords")]
        #[schemars(with = "CallWords")]
        ToolCall,
    ),
    ToolResult(
        #[serde(with = "ResultWords")]
        #[schemars(with = "ResultWords")]
        ToolResult,
    ),
    ToolApprovalRequest {
        approval_id: String,
        tool_call_id: String,
    },
    ToolDenied {
        tool_call_id: String,
    },
    SourceUrl {
        id: String,
        url: String,
        #[serde(default)]
        title: Option<String>,
        #[serde(default)]
        provider_metadata: Option<Value>,
    },
    SourceDocument {
        id: String,
        media_type: String,
        title: String,
        #[serde(default)]
        filename: Option<String>,
        #[serde(default)]
        provider_metadata: Option<Value>,
    },
    File {
        media_type: String,
        #[serde(rename = "data")]
        base64: String,
        #[serde(default)]
        provider_metadata: Option<Value>,
    },
    Finish {
        #[schemars(with = "String")]
        finish_reason: FinishReason,
        #[serde(default)]
        #[schemars(with = "Value")]
        usage: Usage,
    },
    Error(
        #[serde(with = "ErrorWords")]
        #[schemars(with = "ErrorWords")]
        ModelError,
    ),
    Raw(
        #[serde(with = "RawWords")]
        #[schemars(with = "RawWords")]
        Value,
    ),
    Ping,
}

/// Declares how a type is written: by way of another.
macro_rules! written_as {
    ($words:ident, $real:ty) => {
        impl $words {
            fn serialize<S: Serializer>(real: &$real, serializer: S) -> Result<S::Ok, S::Error> {
                Serialize::serialize(&Self::from(real.clone()), serializer)
            }

            fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<$real, D::Error> {
                <Self as Deserialize>::deserialize(deserializer).map(<$real>::from)
            }
        }
    };
}

/// A complete tool call.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct CallWords {
    tool_call_id: String,
    tool_name: String,
    /// JSON, or a text that holds JSON; a text that does not makes the call invalid.
    input: Value,
    #[serde(default)]
    provider_executed: bool,
    #[serde(default)]
    dynamic: bool,
    #[serde(default)]
    title: Option<String>,
    #[serde(default)]
    provider_metadata: Option<Value>,
}

written_as!(CallWords, ToolCall);

impl From<CallWords> for ToolCall {
    fn from(words: CallWords) -> Self {
        let (input, invalid) = read_input(words.input);
        Self {
            tool_call_id: words.tool_call_id,
            tool_name: words.tool_name,
            input,
            provider_executed: words.provider_executed,
            dynamic: words.dynamic,
            title: words.title,
            invalid,
            provider_metadata: words.provider_metadata,
        }
    }
}

/// Reads a call's input as the AI SDK writes it, JSON in a text; says so when the text holds none.
pub(super) fn read_input(input: Value) -> (Value, Option<String>) {
    let Value::String(text) = &input else {
        return (input, None);
    };
    match serde_json::from_str(text) {
        Ok(json) => (json, None),
        Err(error) => (input, Some(format!("the input is no JSON: {error}"))),
    }
}

impl From<ToolCall> for CallWords {
    fn from(call: ToolCall) -> Self {
        Self {
            tool_call_id: call.tool_call_id,
            tool_name: call.tool_name,
            // A text that is the whole input is written as JSON text, or it would be read as the JSON it holds.
            input: match call.input {
                Value::String(text) if call.invalid.is_none() => Value::String(Value::String(text).to_string()),
                input => input,
            },
            provider_executed: call.provider_executed,
            dynamic: call.dynamic,
            title: call.title,
            provider_metadata: call.provider_metadata,
        }
    }
}

/// What became of a tool call.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct ResultWords {
    tool_call_id: String,
    tool_name: String,
    /// The output; of a failure, its text.
    result: Value,
    #[serde(default)]
    is_error: bool,
    #[serde(default)]
    provider_executed: bool,
    #[serde(default)]
    dynamic: bool,
    #[serde(default)]
    preliminary: bool,
    #[serde(default)]
    provider_metadata: Option<Value>,
}

written_as!(ResultWords, ToolResult);

impl From<ResultWords> for ToolResult {
    fn from(words: ResultWords) -> Self {
        let failure = |result: Value| result.as_str().map_or_else(|| result.to_string(), str::to_owned);
        Self {
            tool_call_id: words.tool_call_id,
            tool_name: words.tool_name,
            outcome: if words.is_error { Err(failure(words.result)) } else { Ok(words.result) },
            provider_executed: words.provider_executed,
            dynamic: words.dynamic,
            preliminary: words.preliminary,
            provider_metadata: words.provider_metadata,
        }
    }
}

impl From<ToolResult> for ResultWords {
    fn from(result: ToolResult) -> Self {
        Self {
            tool_call_id: result.tool_call_id,
            tool_name: result.tool_name,
            is_error: result.outcome.is_err(),
            result: result.outcome.unwrap_or_else(Value::String),
            provider_executed: result.provider_executed,
            dynamic: result.dynamic,
            preliminary: result.preliminary,
            provider_metadata: result.provider_metadata,
        }
    }
}

/// The end of a step that failed: another try may help.
#[derive(Serialize, Deserialize, JsonSchema)]
struct ErrorWords {
    error: String,
}

written_as!(ErrorWords, ModelError);

impl From<ErrorWords> for ModelError {
    fn from(words: ErrorWords) -> Self {
        Self::unavailable(words.error)
    }
}

impl From<ModelError> for ErrorWords {
    fn from(error: ModelError) -> Self {
        Self { error: error.to_string() }
    }
}

/// What the provider sent.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct RawWords {
    raw_value: Value,
}

written_as!(RawWords, Value);

impl From<RawWords> for Value {
    fn from(words: RawWords) -> Self {
        words.raw_value
    }
}

impl From<Value> for RawWords {
    fn from(raw_value: Value) -> Self {
        Self { raw_value }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(json: Value, want: StreamPart) {
        let part: ExactPart = serde_json::from_value(json).unwrap();
        assert_eq!(part.0, want);

        let again = serde_json::to_value(&part).unwrap();

        assert_eq!(serde_json::from_value::<ExactPart>(again.clone()).unwrap(), part, "{again}");
    }

    #[test]
    fn parts_are_read_in_the_words_of_the_ai_sdk_and_survive_a_round_trip() {
        check(json!({ "type": "text-delta", "id": "1", "delta": "hi" }), StreamPart::text_delta("1", "hi"));
        check(json!({ "type": "stream-start" }), StreamPart::StreamStart);
        check(
            json!({ "type": "tool-call", "toolCallId": "c", "toolName": "t", "input": "{\"a\":1}" }),
            StreamPart::tool_call("c", "t", json!({ "a": 1 })),
        );
        check(
            json!({ "type": "tool-call", "toolCallId": "c", "toolName": "t", "input": "\"text\"" }),
            StreamPart::tool_call("c", "t", json!("text")),
        );
        check(
            json!({ "type": "tool-result", "toolCallId": "c", "toolName": "t", "result": "no", "isError": true }),
            StreamPart::ToolResult(ToolResult {
                tool_call_id: "c".to_owned(),
                tool_name: "t".to_owned(),
                outcome: Err("no".to_owned()),
                provider_executed: false,
                dynamic: false,
                preliminary: false,
                provider_metadata: None,
            }),
        );
        check(
            json!({ "type": "file", "mediaType": "image/png", "data": "AAAA", "providerMetadata": { "p": 1 } }),
            StreamPart::File {
                media_type: "image/png".to_owned(),
                base64: "AAAA".to_owned(),
                provider_metadata: Some(json!({ "p": 1 })),
            },
        );
        check(
            json!({ "type": "finish", "finishReason": "length", "usage": { "inputTokens": 3 } }),
            StreamPart::finish(FinishReason::Length, Usage { input_tokens: Some(3), ..Usage::default() }),
        );
        check(json!({ "type": "error", "error": "boom" }), StreamPart::Error(ModelError::unavailable("boom")));
        check(json!({ "type": "raw", "rawValue": [1] }), StreamPart::Raw(json!([1])));
    }

    #[test]
    fn a_call_whose_input_is_no_json_is_invalid_a119() {
        let part = json!({ "type": "tool-call", "toolCallId": "c", "toolName": "t", "input": "{\"a\":" });

        let part: ExactPart = serde_json::from_value(part).unwrap();

        let StreamPart::ToolCall(call) = part.0 else { panic!("{part:?}") };
        assert_eq!(call.input, json!("{\"a\":"));
        insta::assert_snapshot!(call.invalid.unwrap(), @"the input is no JSON: EOF while parsing a value at line 1 column 5");
    }

    #[test]
    fn a_part_of_an_unknown_type_is_refused_with_the_types_there_are() {
        let refused = serde_json::from_value::<ExactPart>(json!({ "type": "wink" })).unwrap_err().to_string();

        assert!(refused.starts_with("unknown variant `wink`, expected one of `stream-start`"), "{refused}");
    }
}

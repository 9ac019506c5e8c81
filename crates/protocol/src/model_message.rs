//! [`ModelMessage`]: the conversation in the form a language model reads, as AI SDK 6 writes it.
//!
//! It travels in `handover` records. The text form of `content` is read as one text part; unknown parts
//! and fields come out as they went in (D-25).

mod content;

use serde::de::Error as _;
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

pub use self::content::Content;
use crate::chunk::{tag, take};
use crate::wire::{JsonObject, JsonValue, WireStruct, wire_struct, wire_word};

wire_word! {
    /// Tells who speaks to, or as, the model.
    ModelRole {
        /// The author's instructions.
        System = "system",
        /// The person.
        User = "user",
        /// The model.
        Assistant = "assistant",
        /// The results of tools, and answers to approval requests.
        Tool = "tool",
    }
}

/// Holds one message of the conversation with a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelMessage {
    /// Tells who speaks.
    pub role: ModelRole,
    /// Holds the content, in order; a system message has text parts only.
    pub content: Content,
    /// Holds options for a provider, under the provider's name.
    pub provider_options: Option<Value>,
    /// Keeps the fields that this version does not know (D-25).
    pub extra: JsonObject,
}

wire_struct! {
    /// Holds text.
    TextContent {
        /// Holds the text.
        text: String = "text",
        /// Holds options for a provider.
        provider_options: Option<Value> = "providerOptions",
    }

    /// Holds the model's reasoning.
    ReasoningContent {
        /// Holds the text.
        text: String = "text",
        /// Holds options for a provider.
        provider_options: Option<Value> = "providerOptions",
    }

    /// Holds a file.
    FileContent {
        /// Holds an address, often a `data:` URL.
        data: String = "data",
        /// Gives its media type.
        media_type: String = "mediaType",
        /// Names the file.
        filename: Option<String> = "filename",
        /// Holds options for a provider.
        provider_options: Option<Value> = "providerOptions",
    }

    /// Holds a call the model made.
    ToolCallContent {
        /// Names the call.
        tool_call_id: String = "toolCallId",
        /// Names the tool.
        tool_name: String = "toolName",
        /// Holds the input.
        input: Option<Value> = "input",
        /// Tells that the provider runs the tool.
        provider_executed: Option<bool> = "providerExecuted",
        /// Holds options for a provider.
        provider_options: Option<Value> = "providerOptions",
    }

    /// Holds what became of a call.
    ToolResultContent {
        /// Names the call.
        tool_call_id: String = "toolCallId",
        /// Names the tool.
        tool_name: String = "toolName",
        /// Holds the result as the model shall see it.
        output: ToolResultOutput = "output",
        /// Holds options for a provider.
        provider_options: Option<Value> = "providerOptions",
    }

    /// Holds a request for a person's approval of a call.
    ApprovalRequestContent {
        /// Names the request.
        approval_id: String = "approvalId",
        /// Names the call.
        tool_call_id: String = "toolCallId",
    }

    /// Holds the answer to a request for approval.
    ApprovalResponseContent {
        /// Names the request.
        approval_id: String = "approvalId",
        /// Holds the answer.
        approved: bool = "approved",
        /// Says why.
        reason: Option<String> = "reason",
        /// Tells that the provider runs the tool.
        provider_executed: Option<bool> = "providerExecuted",
    }
}

/// Holds one part of a model message.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub enum ContentPart {
    /// Holds text.
    Text(TextContent),
    /// Holds reasoning.
    Reasoning(ReasoningContent),
    /// Holds a file.
    File(FileContent),
    /// Holds a call.
    ToolCall(ToolCallContent),
    /// Holds what became of a call.
    ToolResult(ToolResultContent),
    /// Holds a request for approval.
    ApprovalRequest(ApprovalRequestContent),
    /// Holds the answer to a request for approval.
    ApprovalResponse(ApprovalResponseContent),
    /// Keeps an object whose `type` is unknown or does not fit its shape.
    Unknown(#[cfg_attr(feature = "arbitrary", arbitrary(with = crate::arbitrary_json::unknown))] JsonObject),
}

/// Holds a tool's result in the form a model reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ToolResultOutput {
    /// Holds text.
    Text(String),
    /// Holds any JSON.
    Json(Value),
    /// Holds the text of a failure.
    ErrorText(String),
    /// Holds a failure as JSON.
    ErrorJson(Value),
    /// Keeps another form, such as `content` or `execution-denied`, as it is.
    Other(JsonObject),
}

impl ModelMessage {
    /// Makes a message with these parts.
    pub fn new(role: ModelRole, content: impl Into<Content>) -> Self {
        Self { role, content: content.into(), provider_options: None, extra: JsonObject::new() }
    }

    /// Makes the author's instructions.
    pub fn system(text: impl Into<String>) -> Self {
        Self::new(ModelRole::System, vec![ContentPart::text(text)])
    }

    /// Makes what a person says.
    pub fn user(text: impl Into<String>) -> Self {
        Self::new(ModelRole::User, vec![ContentPart::text(text)])
    }

    /// Makes what the model says.
    pub fn assistant(content: Vec<ContentPart>) -> Self {
        Self::new(ModelRole::Assistant, content)
    }

    /// Makes the results of tools.
    pub fn tool(content: Vec<ContentPart>) -> Self {
        Self::new(ModelRole::Tool, content)
    }

    /// Joins the text parts.
    pub fn text(&self) -> String {
        let text = |part: &ContentPart| match part {
            ContentPart::Text(part) => Some(part.text.clone()),
            _ => None,
        };
        self.content.iter().filter_map(text).collect()
    }

    /// Reads a message from its JSON object.
    ///
    /// # Errors
    ///
    /// Says what is wrong when the role is unknown or the content is neither text nor a list of objects.
    pub fn from_object(mut object: JsonObject) -> Result<Self, &'static str> {
        let role = object.shift_remove("role").and_then(|role| ModelRole::parse(role.as_str()?));
        let role = role.ok_or("a model message needs a role: system, user, assistant or tool")?;
        let content = match object.shift_remove("content") {
            Some(Value::String(text)) => vec![ContentPart::text(text)],
            Some(Value::Array(parts)) => read_content(parts)?,
            _ => return Err("the content of a model message must be text or an array"),
        };
        let provider_options = object.shift_remove("providerOptions");
        Ok(Self { role, content: content.into(), provider_options, extra: object })
    }
}

fn read_content(parts: Vec<Value>) -> Result<Vec<ContentPart>, &'static str> {
    let read = |part| match part {
        Value::Object(object) => Ok(ContentPart::from_object(object)),
        _ => Err("a part of a model message must be an object"),
    };
    parts.into_iter().map(read).collect()
}

impl ContentPart {
    /// Makes a text part.
    pub fn text(text: impl Into<String>) -> Self {
        Self::Text(TextContent { text: text.into(), ..TextContent::default() })
    }

    /// Makes a call.
    pub fn tool_call(tool_call_id: impl Into<String>, tool_name: impl Into<String>, input: Value) -> Self {
        Self::ToolCall(ToolCallContent {
            tool_call_id: tool_call_id.into(),
            tool_name: tool_name.into(),
            input: Some(input),
            ..ToolCallContent::default()
        })
    }

    /// Makes what became of a call.
    pub fn tool_result(
        tool_call_id: impl Into<String>,
        tool_name: impl Into<String>,
        output: ToolResultOutput,
    ) -> Self {
        Self::ToolResult(ToolResultContent {
            tool_call_id: tool_call_id.into(),
            tool_name: tool_name.into(),
            output,
            ..ToolResultContent::default()
        })
    }

    /// Gives the `type`; empty when an unknown object has none.
    pub fn kind(&self) -> &str {
        match self {
            Self::Text(_) => "text",
            Self::Reasoning(_) => "reasoning",
            Self::File(_) => "file",
            Self::ToolCall(_) => "tool-call",
            Self::ToolResult(_) => "tool-result",
            Self::ApprovalRequest(_) => "tool-approval-request",
            Self::ApprovalResponse(_) => "tool-approval-response",
            Self::Unknown(object) => tag(object),
        }
    }

    /// Reads a part from its JSON object; never fails.
    pub fn from_object(object: JsonObject) -> Self {
        match tag(&object) {
            "text" => read(object, Self::Text),
            "reasoning" => read(object, Self::Reasoning),
            "file" => read(object, Self::File),
            "tool-call" => read(object, Self::ToolCall),
            "tool-result" => read(object, Self::ToolResult),
            "tool-approval-request" => read(object, Self::ApprovalRequest),
            "tool-approval-response" => read(object, Self::ApprovalResponse),
            _ => Self::Unknown(object),
        }
    }
}

fn read<T: WireStruct>(object: JsonObject, make: fn(T) -> ContentPart) -> ContentPart {
    if !T::fits(&object) {
        return ContentPart::Unknown(object);
    }
    take(object, "type").map_or_else(ContentPart::Unknown, make)
}

impl Default for ToolResultOutput {
    fn default() -> Self {
        Self::Json(Value::Null)
    }
}

impl JsonValue for ToolResultOutput {
    fn fits(value: &Value) -> bool {
        value.is_object()
    }

    fn from_json(value: Value) -> Option<Self> {
        let Value::Object(object) = value else {
            return None;
        };
        let plain = object.len() == 2;
        Some(match (tag(&object), object.get("value")) {
            ("text", Some(Value::String(text))) if plain => Self::Text(text.clone()),
            ("json", Some(value)) if plain => Self::Json(value.clone()),
            ("error-text", Some(Value::String(text))) if plain => Self::ErrorText(text.clone()),
            ("error-json", Some(value)) if plain => Self::ErrorJson(value.clone()),
            _ => Self::Other(object),
        })
    }

    #[cfg(feature = "arbitrary")]
    fn make(u: &mut arbitrary::Unstructured<'_>) -> arbitrary::Result<Self> {
        u.arbitrary()
    }
}

impl Serialize for ToolResultOutput {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        fn tagged<S: Serializer>(serializer: S, kind: &str, value: &impl Serialize) -> Result<S::Ok, S::Error> {
            let mut out = serializer.serialize_map(Some(2))?;
            out.serialize_entry("type", kind)?;
            out.serialize_entry("value", value)?;
            out.end()
        }
        match self {
            Self::Text(text) => tagged(serializer, "text", text),
            Self::Json(value) => tagged(serializer, "json", value),
            Self::ErrorText(text) => tagged(serializer, "error-text", text),
            Self::ErrorJson(value) => tagged(serializer, "error-json", value),
            Self::Other(object) => object.serialize(serializer),
        }
    }
}

impl Serialize for ContentPart {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut out = serializer.serialize_map(None)?;
        if !matches!(self, Self::Unknown(_)) {
            out.serialize_entry("type", self.kind())?;
        }
        match self {
            Self::Text(part) => part.write(&mut out)?,
            Self::Reasoning(part) => part.write(&mut out)?,
            Self::File(part) => part.write(&mut out)?,
            Self::ToolCall(part) => part.write(&mut out)?,
            Self::ToolResult(part) => part.write(&mut out)?,
            Self::ApprovalRequest(part) => part.write(&mut out)?,
            Self::ApprovalResponse(part) => part.write(&mut out)?,
            Self::Unknown(object) => {
                for (key, value) in object {
                    out.serialize_entry(key, value)?;
                }
            }
        }
        out.end()
    }
}

impl<'de> Deserialize<'de> for ContentPart {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        JsonObject::deserialize(deserializer).map(Self::from_object)
    }
}

impl Serialize for ModelMessage {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut out = serializer.serialize_map(None)?;
        out.serialize_entry("role", &self.role)?;
        match self.role {
            ModelRole::System => out.serialize_entry("content", &self.text())?,
            _ => out.serialize_entry("content", &self.content)?,
        }
        if let Some(options) = &self.provider_options {
            out.serialize_entry("providerOptions", options)?;
        }
        for (key, value) in &self.extra {
            out.serialize_entry(key, value)?;
        }
        out.end()
    }
}

impl<'de> Deserialize<'de> for ModelMessage {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let object = JsonObject::deserialize(deserializer)?;
        Self::from_object(object).map_err(D::Error::custom)
    }
}

//! [`UiMessage`]: one entry of a chat's history, made of parts.
//!
//! As with chunks, unknown part types and unknown fields come out as they went in (D-25). How messages grow from chunks
//! is decided in [`crate::reduce`]; how a tool part may advance, in [`crate::overlay_tool_states`].

mod answers;
mod part;
mod tool;

use serde::de::Error as _;
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

pub use self::part::{
    DataPart, FilePart, PartState, ReasoningPart, SourceDocumentPart, SourceUrlPart, StepStartPart, TextPart, UiPart,
};
pub use self::tool::{ToolApproval, ToolPart, ToolState};
use crate::wire::{JsonObject, wire_word};

wire_word! {
    /// Tells who speaks.
    Role {
        /// The person.
        User = "user",
        /// The agent.
        Assistant = "assistant",
        /// The author's instructions.
        System = "system",
    }
}

/// Holds one message of a chat.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UiMessage {
    /// Names the message within its chat; empty when the sender gave none.
    pub id: String,
    /// Tells who speaks.
    pub role: Role,
    /// Holds what the author attached to the message.
    pub metadata: Option<Value>,
    /// Holds the content, in order.
    pub parts: Vec<UiPart>,
    /// Keeps the fields that this version does not know (D-25).
    pub extra: JsonObject,
}

impl UiMessage {
    /// Makes a message with these parts.
    pub fn new(id: impl Into<String>, role: Role, parts: Vec<UiPart>) -> Self {
        Self { id: id.into(), role, metadata: None, parts, extra: JsonObject::new() }
    }

    /// Makes a user message with one text part.
    pub fn user(id: impl Into<String>, text: impl Into<String>) -> Self {
        Self::new(id, Role::User, vec![UiPart::text(text)])
    }

    /// Makes an assistant message with these parts.
    pub fn assistant(id: impl Into<String>, parts: Vec<UiPart>) -> Self {
        Self::new(id, Role::Assistant, parts)
    }

    /// Joins the text parts.
    pub fn text(&self) -> String {
        self.parts.iter().filter_map(UiPart::as_text).map(|part| part.text.as_str()).collect()
    }

    /// Tells whether the agent speaks.
    pub fn is_assistant(&self) -> bool {
        self.role == Role::Assistant
    }

    /// Tells whether the person speaks.
    pub fn is_user(&self) -> bool {
        self.role == Role::User
    }

    /// Walks the tool parts, in order.
    pub fn tool_parts(&self) -> impl Iterator<Item = &ToolPart> {
        self.parts.iter().filter_map(UiPart::as_tool)
    }

    /// Finds the newest tool part of a call.
    pub fn tool_part(&self, tool_call_id: &str) -> Option<&ToolPart> {
        self.parts.iter().rev().filter_map(UiPart::as_tool).find(|part| part.tool_call_id == tool_call_id)
    }

    /// Reads a message from its JSON object.
    ///
    /// A missing `id` reads as an empty one and missing `parts` as none.
    ///
    /// # Errors
    ///
    /// Says what is wrong when the role is unknown or a field is not of its kind.
    pub fn from_object(mut object: JsonObject) -> Result<Self, &'static str> {
        let role = object.shift_remove("role").and_then(|role| Role::parse(role.as_str()?));
        let role = role.ok_or("a message needs a role: user, assistant or system")?;
        let parts = match object.shift_remove("parts") {
            None => Vec::new(),
            Some(Value::Array(parts)) => read_parts(parts)?,
            Some(_) => return Err("the parts of a message must be an array"),
        };
        let id = match object.get("id") {
            None => String::new(),
            // An explicit empty id stays in `extra`, where writing finds it again.
            Some(Value::String(id)) if id.is_empty() => String::new(),
            Some(Value::String(_)) => {
                object.shift_remove("id").as_ref().and_then(Value::as_str).unwrap_or_default().to_owned()
            }
            Some(_) => return Err("the id of a message must be a string"),
        };
        let metadata = object.shift_remove("metadata");
        Ok(Self { id, role, metadata, parts, extra: object })
    }
}

fn read_parts(parts: Vec<Value>) -> Result<Vec<UiPart>, &'static str> {
    let read = |part| match part {
        Value::Object(object) => Ok(UiPart::from_object(object)),
        _ => Err("a part of a message must be an object"),
    };
    parts.into_iter().map(read).collect()
}

impl Serialize for UiMessage {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut out = serializer.serialize_map(None)?;
        if !self.id.is_empty() {
            out.serialize_entry("id", &self.id)?;
        }
        out.serialize_entry("role", &self.role)?;
        if let Some(metadata) = &self.metadata {
            out.serialize_entry("metadata", metadata)?;
        }
        out.serialize_entry("parts", &self.parts)?;
        for (key, value) in &self.extra {
            let shadowed = match key.as_str() {
                "id" => !self.id.is_empty(),
                "metadata" => self.metadata.is_some(),
                "role" | "parts" => true,
                _ => false,
            };
            if !shadowed {
                out.serialize_entry(key, value)?;
            }
        }
        out.end()
    }
}

impl<'de> Deserialize<'de> for UiMessage {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let object = JsonObject::deserialize(deserializer)?;
        Self::from_object(object).map_err(D::Error::custom)
    }
}

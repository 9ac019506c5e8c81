//! [`UiPart`]: a piece of a message in the history.

use std::borrow::Cow;

use serde::de::Error as _;
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

use super::tool::ToolPart;
use crate::chunk::{tag, take};
use crate::data_kind::DataKind;
use crate::wire::{JsonObject, WireStruct, wire_struct, wire_word};

wire_word! {
    /// Tells whether a text or reasoning part still grows.
    PartState {
        /// More may come.
        Streaming = "streaming",
        /// The part is complete.
        Done = "done",
    }
}

wire_struct! {
    /// Holds text.
    TextPart {
        /// Holds the text so far.
        text: String = "text",
        /// Tells whether it still grows.
        state: Option<PartState> = "state",
        /// Carries what the provider wants back.
        provider_metadata: Option<Value> = "providerMetadata",
    }

    /// Holds the model's reasoning.
    ReasoningPart {
        /// Holds the text so far.
        text: String = "text",
        /// Tells whether it still grows.
        state: Option<PartState> = "state",
        /// Carries what the provider wants back.
        provider_metadata: Option<Value> = "providerMetadata",
    }

    /// Cites a page.
    SourceUrlPart {
        /// Names the source.
        source_id: String = "sourceId",
        /// Gives its address.
        url: String = "url",
        /// Labels it for people.
        title: Option<String> = "title",
        /// Carries what the provider wants back.
        provider_metadata: Option<Value> = "providerMetadata",
    }

    /// Cites a document.
    SourceDocumentPart {
        /// Names the source.
        source_id: String = "sourceId",
        /// Gives its media type.
        media_type: String = "mediaType",
        /// Labels it for people.
        title: String = "title",
        /// Names the file.
        filename: Option<String> = "filename",
        /// Carries what the provider wants back.
        provider_metadata: Option<Value> = "providerMetadata",
    }

    /// Holds a file, by address.
    FilePart {
        /// Gives its media type.
        media_type: String = "mediaType",
        /// Names the file.
        filename: Option<String> = "filename",
        /// Gives its address, often a `data:` URL.
        url: String = "url",
        /// Carries what the provider wants back.
        provider_metadata: Option<Value> = "providerMetadata",
    }

    /// Holds data of the author's own kind.
    DataPart {
        /// Holds the whole `type`, prefix included.
        kind: DataKind = "type",
        /// Names the part, so that it can be replaced.
        id: Option<String> = "id",
        /// Holds the data.
        data: Value = "data",
    }

    /// Marks where a step begins.
    StepStartPart {}
}

/// Holds one part of any type.
#[expect(clippy::large_enum_variant, reason = "messages hold few parts, and a box would be in the way of every reader")]
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub enum UiPart {
    /// Holds text.
    Text(TextPart),
    /// Holds the model's reasoning.
    Reasoning(ReasoningPart),
    /// Holds a tool call and what became of it: `tool-*` or `dynamic-tool`.
    Tool(ToolPart),
    /// Cites a page.
    SourceUrl(SourceUrlPart),
    /// Cites a document.
    SourceDocument(SourceDocumentPart),
    /// Holds a file.
    File(FilePart),
    /// Holds data of the author's own kind: `data-*`.
    Data(DataPart),
    /// Marks where a step begins.
    StepStart(StepStartPart),
    /// Keeps an object whose `type` is unknown, missing or does not fit its shape.
    Unknown(#[cfg_attr(feature = "arbitrary", arbitrary(with = crate::arbitrary_json::unknown))] JsonObject),
}

impl UiPart {
    /// Makes a text part that is complete and carries no state, as a user message has it.
    pub fn text(text: impl Into<String>) -> Self {
        Self::Text(TextPart { text: text.into(), ..TextPart::default() })
    }

    /// Makes a reasoning part that carries no state.
    pub fn reasoning(text: impl Into<String>) -> Self {
        Self::Reasoning(ReasoningPart { text: text.into(), ..ReasoningPart::default() })
    }

    /// Makes a file part.
    pub fn file(media_type: impl Into<String>, url: impl Into<String>) -> Self {
        Self::File(FilePart { media_type: media_type.into(), url: url.into(), ..FilePart::default() })
    }

    /// Makes a data part: `name` is what follows `data-`.
    pub fn data(name: &str, id: Option<&str>, data: Value) -> Self {
        Self::Data(DataPart { kind: DataKind::new(name), id: id.map(str::to_owned), data, ..DataPart::default() })
    }

    /// Makes the mark where a step begins.
    pub fn step_start() -> Self {
        Self::StepStart(StepStartPart::default())
    }

    /// Gives the `type`; empty when an unknown object has none.
    pub fn kind(&self) -> Cow<'_, str> {
        match self {
            Self::Text(_) => Cow::Borrowed("text"),
            Self::Reasoning(_) => Cow::Borrowed("reasoning"),
            Self::Tool(part) => part.kind(),
            Self::SourceUrl(_) => Cow::Borrowed("source-url"),
            Self::SourceDocument(_) => Cow::Borrowed("source-document"),
            Self::File(_) => Cow::Borrowed("file"),
            Self::Data(part) => Cow::Borrowed(part.kind.as_str()),
            Self::StepStart(_) => Cow::Borrowed("step-start"),
            Self::Unknown(object) => Cow::Borrowed(tag(object)),
        }
    }

    /// Reads a part from its JSON object; never fails.
    pub fn from_object(object: JsonObject) -> Self {
        match tag(&object) {
            "text" if TextPart::fits(&object) => take(object, "type").map_or_else(Self::Unknown, Self::Text),
            "reasoning" if ReasoningPart::fits(&object) => {
                take(object, "type").map_or_else(Self::Unknown, Self::Reasoning)
            }
            "source-url" if SourceUrlPart::fits(&object) => {
                take(object, "type").map_or_else(Self::Unknown, Self::SourceUrl)
            }
            "source-document" if SourceDocumentPart::fits(&object) => {
                take(object, "type").map_or_else(Self::Unknown, Self::SourceDocument)
            }
            "file" if FilePart::fits(&object) => take(object, "type").map_or_else(Self::Unknown, Self::File),
            "step-start" => take(object, "type").map_or_else(Self::Unknown, Self::StepStart),
            _ if DataPart::fits(&object) => DataPart::from_object(object).map_or_else(Self::Unknown, Self::Data),
            _ => ToolPart::from_tagged(object).map_or_else(Self::Unknown, Self::Tool),
        }
    }

    /// Gives the text part, if this is one.
    pub fn as_text(&self) -> Option<&TextPart> {
        match self {
            Self::Text(part) => Some(part),
            _ => None,
        }
    }

    /// Gives the tool part, if this is one.
    pub fn as_tool(&self) -> Option<&ToolPart> {
        match self {
            Self::Tool(part) => Some(part),
            _ => None,
        }
    }

    /// Gives the tool part to change, if this is one.
    pub fn as_tool_mut(&mut self) -> Option<&mut ToolPart> {
        match self {
            Self::Tool(part) => Some(part),
            _ => None,
        }
    }

    /// Gives the data part, if this is one.
    pub fn as_data(&self) -> Option<&DataPart> {
        match self {
            Self::Data(part) => Some(part),
            _ => None,
        }
    }
}

impl Serialize for UiPart {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut out = serializer.serialize_map(None)?;
        match self {
            // These two name themselves, and an unknown object still has its own name or none.
            Self::Data(_) | Self::Unknown(_) => {}
            _ => out.serialize_entry("type", &self.kind())?,
        }
        match self {
            Self::Text(part) => part.write(&mut out)?,
            Self::Reasoning(part) => part.write(&mut out)?,
            Self::Tool(part) => part.write_tagged(&mut out)?,
            Self::SourceUrl(part) => part.write(&mut out)?,
            Self::SourceDocument(part) => part.write(&mut out)?,
            Self::File(part) => part.write(&mut out)?,
            Self::Data(part) => part.write(&mut out)?,
            Self::StepStart(part) => part.write(&mut out)?,
            Self::Unknown(object) => {
                for (key, value) in object {
                    out.serialize_entry(key, value)?;
                }
            }
        }
        out.end()
    }
}

impl<'de> Deserialize<'de> for UiPart {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Value::deserialize(deserializer)? {
            Value::Object(object) => Ok(Self::from_object(object)),
            _ => Err(D::Error::custom("a part must be an object")),
        }
    }
}

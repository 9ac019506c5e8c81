//! [`UiMessageChunk`]: a piece of a message on the wire, as AI SDK 6 writes it, and whatever a newer peer sends.
//!
//! Nothing is lost on the way through: an unknown `type`, a known `type` that does not fit its shape, and unknown
//! fields come out as they went in (D-25). What chunks mean is decided in [`crate::reduce`].

mod build;
mod kinds;

use serde::de::Error as _;
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

pub use self::kinds::*;
use crate::wire::{JsonObject, WireStruct};

/// Declares the enum and its dispatch on `type` from one table.
macro_rules! chunk_kinds {
    ($( $(#[$doc:meta])* $variant:ident($body:ty) = $kind:literal, )*) => {
        /// Holds one chunk of any kind.
        #[derive(Debug, Clone, PartialEq, Eq)]
        #[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
        pub enum UiMessageChunk {
            $( $(#[$doc])* $variant($body), )*
            /// Carries data of the author's own kind: `data-*`.
            Data(DataChunk),
            /// Keeps an object whose `type` is unknown, missing or does not fit its shape.
            Unknown(#[cfg_attr(feature = "arbitrary", arbitrary(with = crate::arbitrary_json::unknown))] JsonObject),
        }

        impl UiMessageChunk {
            /// Lists every fixed `type` that has a shape of its own.
            pub const KINDS: &'static [&'static str] = &[ $( $kind, )* ];

            /// Gives the `type`; empty when an unknown object has none.
            pub fn kind(&self) -> &str {
                match self {
                    $( Self::$variant(_) => $kind, )*
                    Self::Data(chunk) => chunk.kind.as_str(),
                    Self::Unknown(object) => tag(object),
                }
            }

            /// Reads a chunk from its JSON object; never fails.
            pub fn from_object(object: JsonObject) -> Self {
                match tag(&object) {
                    $( $kind if <$body>::fits(&object) => {
                        take(object, "type").map_or_else(Self::Unknown, Self::$variant)
                    } )*
                    _ if DataChunk::fits(&object) => {
                        DataChunk::from_object(object).map_or_else(Self::Unknown, Self::Data)
                    }
                    _ => Self::Unknown(object),
                }
            }
        }

        impl Serialize for UiMessageChunk {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                let mut out = serializer.serialize_map(None)?;
                match self {
                    $( Self::$variant(body) => {
                        out.serialize_entry("type", $kind)?;
                        body.write(&mut out)?;
                    } )*
                    Self::Data(body) => body.write(&mut out)?,
                    Self::Unknown(object) => {
                        for (key, value) in object {
                            out.serialize_entry(key, value)?;
                        }
                    }
                }
                out.end()
            }
        }

        $( impl From<$body> for UiMessageChunk {
            fn from(body: $body) -> Self {
                Self::$variant(body)
            }
        } )*
    };
}

chunk_kinds! {
    /// Opens a message.
    Start(Start) = "start",
    /// Closes a message that came to its end.
    Finish(Finish) = "finish",
    /// Closes a message that was cut short.
    Abort(Abort) = "abort",
    /// Reports a failure.
    Error(ErrorChunk) = "error",
    /// Opens a step.
    StartStep(StartStep) = "start-step",
    /// Closes a step.
    FinishStep(FinishStep) = "finish-step",
    /// Drops what the current step has produced.
    ResetStep(ResetStep) = "reset-step",
    /// Opens a text part.
    TextStart(TextStart) = "text-start",
    /// Adds to a text part.
    TextDelta(TextDelta) = "text-delta",
    /// Closes a text part.
    TextEnd(TextEnd) = "text-end",
    /// Opens a reasoning part.
    ReasoningStart(ReasoningStart) = "reasoning-start",
    /// Adds to a reasoning part.
    ReasoningDelta(ReasoningDelta) = "reasoning-delta",
    /// Closes a reasoning part.
    ReasoningEnd(ReasoningEnd) = "reasoning-end",
    /// Opens a tool call whose input streams.
    ToolInputStart(ToolInputStart) = "tool-input-start",
    /// Adds to the input of a tool call.
    ToolInputDelta(ToolInputDelta) = "tool-input-delta",
    /// Gives the whole input of a tool call.
    ToolInputAvailable(ToolInputAvailable) = "tool-input-available",
    /// Reports a tool call whose input cannot be used.
    ToolInputError(ToolInputError) = "tool-input-error",
    /// Asks a person whether a tool call may run.
    ToolApprovalRequest(ToolApprovalRequest) = "tool-approval-request",
    /// Gives the result of a tool call.
    ToolOutputAvailable(ToolOutputAvailable) = "tool-output-available",
    /// Reports that a tool call failed.
    ToolOutputError(ToolOutputError) = "tool-output-error",
    /// Reports that a tool call was not allowed.
    ToolOutputDenied(ToolOutputDenied) = "tool-output-denied",
    /// Cites a page.
    SourceUrl(SourceUrl) = "source-url",
    /// Cites a document.
    SourceDocument(SourceDocument) = "source-document",
    /// Adds a file.
    File(File) = "file",
    /// Changes the message's metadata.
    MessageMetadata(MessageMetadata) = "message-metadata",
    /// Gives the chat's store.
    StoreSnapshot(StoreSnapshot) = "store-snapshot",
    /// Changes the chat's store.
    StoreDelta(StoreDelta) = "store-delta",
}

impl From<DataChunk> for UiMessageChunk {
    fn from(body: DataChunk) -> Self {
        Self::Data(body)
    }
}

impl UiMessageChunk {
    /// Reads a chunk from any JSON value; gives nothing for one that is not an object.
    pub fn from_value(value: Value) -> Option<Self> {
        match value {
            Value::Object(object) => Some(Self::from_object(object)),
            _ => None,
        }
    }

    /// Tells whether this is about the chat's store and of no message (A-187, C-172).
    pub fn is_of_store(&self) -> bool {
        matches!(self, Self::StoreSnapshot(_) | Self::StoreDelta(_))
    }

    /// Tells whether this closes a message: `finish` or `abort`.
    pub fn is_terminal(&self) -> bool {
        matches!(self, Self::Finish(_) | Self::Abort(_))
    }
}

impl<'de> Deserialize<'de> for UiMessageChunk {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        Self::from_value(value).ok_or_else(|| D::Error::custom("a chunk must be an object"))
    }
}

/// Gives the `type` of an object, or nothing as an empty word.
pub(crate) fn tag(object: &JsonObject) -> &str {
    object.get("type").and_then(Value::as_str).unwrap_or_default()
}

/// Reads the struct from an object that fits, leaving out the tag that told its kind.
pub(crate) fn take<T: WireStruct>(mut object: JsonObject, tag_key: &str) -> Result<T, JsonObject> {
    object.shift_remove(tag_key);
    T::from_object(object)
}

//! [`ToolPart`]: a tool call in the history and what became of it.

use std::borrow::Cow;

use serde::ser::SerializeMap;
use serde_json::Value;

use crate::chunk::tag;
use crate::wire::{JsonObject, WireStruct, wire_struct, wire_value, wire_word};

const STATIC_PREFIX: &str = "tool-";
const DYNAMIC: &str = "dynamic-tool";

wire_word! {
    /// Tells how far a tool call has come.
    ToolState {
        /// The input still streams.
        InputStreaming = "input-streaming",
        /// The input is complete; nobody has answered.
        InputAvailable = "input-available",
        /// A person is asked whether the call may run.
        ApprovalRequested = "approval-requested",
        /// The person has answered; the call has not run.
        ApprovalResponded = "approval-responded",
        /// The result is here.
        OutputAvailable = "output-available",
        /// The call failed.
        OutputError = "output-error",
        /// The person said no.
        OutputDenied = "output-denied",
        /// An older word for a streaming input, still found in stored chats.
        PartialCall = "partial-call",
    }
}

impl ToolState {
    /// Tells whether nothing can change any more.
    pub fn is_final(self) -> bool {
        matches!(self, Self::OutputAvailable | Self::OutputError | Self::OutputDenied)
    }

    /// Tells whether a client may send this state to the agent.
    pub fn is_wire_advanceable(self) -> bool {
        self.is_final() || self == Self::ApprovalResponded
    }

    /// Tells whether the call was cut before anybody could answer it.
    pub fn is_incomplete(self) -> bool {
        matches!(self, Self::PartialCall | Self::InputStreaming | Self::InputAvailable)
    }
}

wire_struct! {
    /// Holds a request for a person's approval and the answer.
    ToolApproval {
        /// Names the request.
        id: String = "id",
        /// Holds the answer, once there is one.
        approved: Option<bool> = "approved",
        /// Says why.
        reason: Option<String> = "reason",
        /// Proves that the request came from this agent.
        signature: Option<String> = "signature",
    }

    /// Holds a tool call and what became of it.
    ToolPart [
        /// Names the tool.
        tool_name: String,
        /// Tells that the part is a `dynamic-tool`, a tool not known by name when the code is written.
        dynamic: bool,
    ] {
        /// Names the call.
        tool_call_id: String = "toolCallId",
        /// Tells how far the call has come.
        state: ToolState = "state",
        /// Labels the call for people.
        title: Option<String> = "title",
        /// Tells that the provider runs the tool.
        provider_executed: Option<bool> = "providerExecuted",
        /// Holds the input, possibly still growing.
        input: Option<Value> = "input",
        /// Holds an input that could not be used, as the model wrote it.
        raw_input: Option<Value> = "rawInput",
        /// Holds the result.
        output: Option<Value> = "output",
        /// Says what went wrong.
        error_text: Option<String> = "errorText",
        /// Tells that a later result replaces this one.
        preliminary: Option<bool> = "preliminary",
        /// Holds the request for a person's approval and the answer.
        approval: Option<ToolApproval> = "approval",
        /// Carries what the provider wants back with the call.
        call_provider_metadata: Option<Value> = "callProviderMetadata",
        /// Carries what the provider wants back with the result.
        result_provider_metadata: Option<Value> = "resultProviderMetadata",
    }
}

wire_value!(ToolApproval);

impl ToolPart {
    /// Makes a part for a call whose input is complete.
    pub fn call(tool_call_id: impl Into<String>, tool_name: impl Into<String>, input: Value) -> Self {
        Self {
            tool_name: tool_name.into(),
            tool_call_id: tool_call_id.into(),
            state: ToolState::InputAvailable,
            input: Some(input),
            ..Self::default()
        }
    }

    /// Gives the `type`: `tool-` and the name, or `dynamic-tool`.
    pub fn kind(&self) -> Cow<'static, str> {
        if self.dynamic { Cow::Borrowed(DYNAMIC) } else { Cow::Owned(format!("{STATIC_PREFIX}{}", self.tool_name)) }
    }

    /// Reads a tool part from its whole object, giving it back untouched when it is none.
    pub(crate) fn from_tagged(mut object: JsonObject) -> Result<Self, JsonObject> {
        if !Self::fits(&object) {
            return Err(object);
        }
        let kind = tag(&object);
        let dynamic = kind == DYNAMIC;
        let name =
            if dynamic { object.get("toolName").and_then(Value::as_str) } else { kind.strip_prefix(STATIC_PREFIX) };
        let Some(tool_name) = name.map(str::to_owned) else {
            return Err(object);
        };
        object.shift_remove("type");
        if dynamic {
            object.shift_remove("toolName");
        }
        Ok(Self { tool_name, dynamic, ..Self::from_object(object)? })
    }

    /// Writes the part after its `type`.
    pub(crate) fn write_tagged<M: SerializeMap>(&self, out: &mut M) -> Result<(), M::Error> {
        if self.dynamic {
            out.serialize_entry("toolName", &self.tool_name)?;
        }
        self.write(out)
    }
}

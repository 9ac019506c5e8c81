//! The body of every chunk kind, as AI SDK 6 writes it.

use serde_json::Value;

use crate::data_kind::DataKind;
use crate::wire::wire_struct;

wire_struct! {
    /// Opens a message.
    Start {
        /// Names the message; a reader adopts it.
        message_id: Option<String> = "messageId",
        /// Merges into the message's metadata.
        message_metadata: Option<Value> = "messageMetadata",
    }

    /// Closes a message that came to its end.
    Finish {
        /// Tells why the model stopped: `stop`, `length`, `content-filter`, `tool-calls`, `error` or `other`.
        finish_reason: Option<String> = "finishReason",
        /// Merges into the message's metadata.
        message_metadata: Option<Value> = "messageMetadata",
    }

    /// Closes a message that was cut short.
    Abort {
        /// Tells the cause.
        reason: Option<String> = "reason",
    }

    /// Reports a failure to the person who reads.
    ErrorChunk {
        /// Says what went wrong.
        error_text: String = "errorText",
    }

    /// Opens a step, one model call inside the turn.
    StartStep {}

    /// Closes a step.
    FinishStep {}

    /// Drops what the current step has produced, because the step starts anew (D-25).
    ResetStep {}

    /// Opens a text part.
    TextStart {
        /// Ties start, deltas and end together.
        id: String = "id",
        /// Carries what the provider wants back.
        provider_metadata: Option<Value> = "providerMetadata",
    }

    /// Adds to an open text part.
    TextDelta {
        /// Names the open part.
        id: String = "id",
        /// Holds the text to append.
        delta: String = "delta",
        /// Replaces the part's provider metadata.
        provider_metadata: Option<Value> = "providerMetadata",
    }

    /// Closes a text part.
    TextEnd {
        /// Names the open part.
        id: String = "id",
        /// Replaces the part's provider metadata.
        provider_metadata: Option<Value> = "providerMetadata",
    }

    /// Opens a reasoning part.
    ReasoningStart {
        /// Ties start, deltas and end together.
        id: String = "id",
        /// Carries what the provider wants back.
        provider_metadata: Option<Value> = "providerMetadata",
    }

    /// Adds to an open reasoning part.
    ReasoningDelta {
        /// Names the open part.
        id: String = "id",
        /// Holds the text to append.
        delta: String = "delta",
        /// Replaces the part's provider metadata.
        provider_metadata: Option<Value> = "providerMetadata",
    }

    /// Closes a reasoning part.
    ReasoningEnd {
        /// Names the open part.
        id: String = "id",
        /// Replaces the part's provider metadata.
        provider_metadata: Option<Value> = "providerMetadata",
    }

    /// Opens a tool call whose input streams.
    ToolInputStart {
        /// Names the call.
        tool_call_id: String = "toolCallId",
        /// Names the tool.
        tool_name: String = "toolName",
        /// Tells that the provider runs the tool.
        provider_executed: Option<bool> = "providerExecuted",
        /// Carries what the provider wants back.
        provider_metadata: Option<Value> = "providerMetadata",
        /// Tells that the tool is not known by name when the code is written.
        dynamic: Option<bool> = "dynamic",
        /// Labels the call for people.
        title: Option<String> = "title",
    }

    /// Adds to the input of a tool call.
    ToolInputDelta {
        /// Names the call.
        tool_call_id: String = "toolCallId",
        /// Holds the JSON text to append.
        input_text_delta: String = "inputTextDelta",
    }

    /// Gives the whole input of a tool call.
    ToolInputAvailable {
        /// Names the call.
        tool_call_id: String = "toolCallId",
        /// Names the tool.
        tool_name: String = "toolName",
        /// Holds the parsed input.
        input: Option<Value> = "input",
        /// Tells that the provider runs the tool.
        provider_executed: Option<bool> = "providerExecuted",
        /// Carries what the provider wants back.
        provider_metadata: Option<Value> = "providerMetadata",
        /// Tells that the tool is not known by name when the code is written.
        dynamic: Option<bool> = "dynamic",
        /// Labels the call for people.
        title: Option<String> = "title",
    }

    /// Reports a tool call whose input cannot be used.
    ToolInputError {
        /// Names the call.
        tool_call_id: String = "toolCallId",
        /// Names the tool.
        tool_name: String = "toolName",
        /// Holds the input as the model wrote it.
        input: Option<Value> = "input",
        /// Says what is wrong with it.
        error_text: String = "errorText",
        /// Tells that the provider runs the tool.
        provider_executed: Option<bool> = "providerExecuted",
        /// Carries what the provider wants back.
        provider_metadata: Option<Value> = "providerMetadata",
        /// Tells that the tool is not known by name when the code is written.
        dynamic: Option<bool> = "dynamic",
        /// Labels the call for people.
        title: Option<String> = "title",
    }

    /// Asks a person whether a tool call may run.
    ToolApprovalRequest {
        /// Names the request; the answer repeats it.
        approval_id: String = "approvalId",
        /// Names the call.
        tool_call_id: String = "toolCallId",
        /// Proves that the request came from this agent.
        signature: Option<String> = "signature",
    }

    /// Gives the result of a tool call.
    ToolOutputAvailable {
        /// Names the call.
        tool_call_id: String = "toolCallId",
        /// Holds the result.
        output: Option<Value> = "output",
        /// Tells that the provider ran the tool.
        provider_executed: Option<bool> = "providerExecuted",
        /// Carries what the provider wants back.
        provider_metadata: Option<Value> = "providerMetadata",
        /// Tells that the tool is not known by name when the code is written.
        dynamic: Option<bool> = "dynamic",
        /// Tells that a later result replaces this one.
        preliminary: Option<bool> = "preliminary",
    }

    /// Reports that a tool call failed.
    ToolOutputError {
        /// Names the call.
        tool_call_id: String = "toolCallId",
        /// Says what went wrong.
        error_text: String = "errorText",
        /// Tells that the provider ran the tool.
        provider_executed: Option<bool> = "providerExecuted",
        /// Carries what the provider wants back.
        provider_metadata: Option<Value> = "providerMetadata",
        /// Tells that the tool is not known by name when the code is written.
        dynamic: Option<bool> = "dynamic",
    }

    /// Reports that a person did not let a tool call run.
    ToolOutputDenied {
        /// Names the call.
        tool_call_id: String = "toolCallId",
    }

    /// Cites a page.
    SourceUrl {
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
    SourceDocument {
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

    /// Adds a file the model made.
    File {
        /// Gives its address, often a `data:` URL.
        url: String = "url",
        /// Gives its media type.
        media_type: String = "mediaType",
        /// Carries what the provider wants back.
        provider_metadata: Option<Value> = "providerMetadata",
    }

    /// Changes the message's metadata between other chunks.
    MessageMetadata {
        /// Merges into the message's metadata.
        message_metadata: Option<Value> = "messageMetadata",
    }

    /// Gives the whole value that agent and clients share (A-185, C-172).
    StoreSnapshot {
        /// Replaces whatever a reader has.
        value: Value = "value",
    }

    /// Changes the value that agent and clients share (A-185, C-172).
    StoreDelta {
        /// Holds a JSON patch, which [`crate::Patch::parse`] reads.
        operations: Value = "operations",
    }

    /// Carries data of the author's own kind; `type` is `data-` and a name.
    DataChunk {
        /// Holds the whole `type`, prefix included.
        kind: DataKind = "type",
        /// Names the part: a later chunk with the same kind and id replaces its data.
        id: Option<String> = "id",
        /// Holds the data.
        data: Value = "data",
        /// Keeps the data out of the stored message.
        transient: Option<bool> = "transient",
    }
}

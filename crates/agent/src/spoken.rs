//! A message that the author's code has written itself, as the chunks that tell it.

use turnkeep_protocol::chunk::{
    DataChunk, File, ReasoningEnd, ReasoningStart, SourceDocument, SourceUrl, Start, TextEnd, TextStart,
    ToolApprovalRequest, ToolInputAvailable, ToolInputError, ToolOutputAvailable, ToolOutputError,
};
use turnkeep_protocol::message::{FilePart, ReasoningPart, SourceDocumentPart, SourceUrlPart, TextPart};
use turnkeep_protocol::{ToolPart, ToolState, UiMessage, UiMessageChunk, UiPart};

/// Tells a message from its `start` to its `finish`; readers fold it back into the message.
///
/// What no chunk can say is left out: a call's input that was still streaming, the answer to a request for approval, parts of unknown
/// kinds that readers do not keep.
pub(crate) fn spoken(message: &UiMessage) -> Vec<UiMessageChunk> {
    let start =
        Start { message_id: Some(message.id.clone()), message_metadata: message.metadata.clone(), ..Start::default() };
    let mut chunks = vec![start.into()];
    for (at, part) in message.parts.iter().enumerate() {
        speak(&format!("part-{at}"), part, &mut chunks);
    }
    chunks.push(UiMessageChunk::finish("stop"));
    chunks
}

fn speak(id: &str, part: &UiPart, chunks: &mut Vec<UiMessageChunk>) {
    match part {
        UiPart::Text(part) => text(id.to_owned(), part, chunks),
        UiPart::Reasoning(part) => reasoning(id.to_owned(), part, chunks),
        UiPart::Tool(part) => tool(part, chunks),
        UiPart::SourceUrl(part) => chunks.push(source_url(part)),
        UiPart::SourceDocument(part) => chunks.push(source_document(part)),
        UiPart::File(part) => chunks.push(file(part)),
        UiPart::Data(part) => chunks.push(UiMessageChunk::Data(DataChunk {
            kind: part.kind.clone(),
            id: part.id.clone(),
            data: part.data.clone(),
            extra: part.extra.clone(),
            ..DataChunk::default()
        })),
        UiPart::StepStart(_) => chunks.push(UiMessageChunk::start_step()),
        UiPart::Unknown(object) => chunks.push(UiMessageChunk::Unknown(object.clone())),
    }
}

fn text(id: String, part: &TextPart, chunks: &mut Vec<UiMessageChunk>) {
    let provider_metadata = part.provider_metadata.clone();
    chunks.push(TextStart { id: id.clone(), provider_metadata, ..TextStart::default() }.into());
    chunks.push(UiMessageChunk::text_delta(id.clone(), part.text.clone()));
    chunks.push(TextEnd { id, ..TextEnd::default() }.into());
}

fn reasoning(id: String, part: &ReasoningPart, chunks: &mut Vec<UiMessageChunk>) {
    let provider_metadata = part.provider_metadata.clone();
    chunks.push(ReasoningStart { id: id.clone(), provider_metadata, ..ReasoningStart::default() }.into());
    chunks.push(UiMessageChunk::reasoning_delta(id.clone(), part.text.clone()));
    chunks.push(ReasoningEnd { id, ..ReasoningEnd::default() }.into());
}

fn source_url(part: &SourceUrlPart) -> UiMessageChunk {
    SourceUrl {
        source_id: part.source_id.clone(),
        url: part.url.clone(),
        title: part.title.clone(),
        provider_metadata: part.provider_metadata.clone(),
        extra: part.extra.clone(),
    }
    .into()
}

fn source_document(part: &SourceDocumentPart) -> UiMessageChunk {
    SourceDocument {
        source_id: part.source_id.clone(),
        media_type: part.media_type.clone(),
        title: part.title.clone(),
        filename: part.filename.clone(),
        provider_metadata: part.provider_metadata.clone(),
        extra: part.extra.clone(),
    }
    .into()
}

fn file(part: &FilePart) -> UiMessageChunk {
    File {
        url: part.url.clone(),
        media_type: part.media_type.clone(),
        provider_metadata: part.provider_metadata.clone(),
        extra: part.extra.clone(),
    }
    .into()
}

/// Tells a call, then what became of it.
fn tool(part: &ToolPart, chunks: &mut Vec<UiMessageChunk>) {
    let (tool_call_id, dynamic) = (part.tool_call_id.clone(), part.dynamic.then_some(true));
    match (part.state, &part.raw_input) {
        (ToolState::InputStreaming | ToolState::PartialCall, _) => return,
        (ToolState::OutputError, Some(raw_input)) => {
            let call = ToolInputError {
                tool_call_id,
                tool_name: part.tool_name.clone(),
                input: Some(raw_input.clone()),
                error_text: part.error_text.clone().unwrap_or_default(),
                provider_executed: part.provider_executed,
                provider_metadata: part.call_provider_metadata.clone(),
                dynamic,
                title: part.title.clone(),
                ..ToolInputError::default()
            };
            chunks.push(call.into());
            return;
        }
        _ => {}
    }
    let call = ToolInputAvailable {
        tool_call_id,
        tool_name: part.tool_name.clone(),
        input: part.input.clone(),
        provider_executed: part.provider_executed,
        provider_metadata: part.call_provider_metadata.clone(),
        dynamic,
        title: part.title.clone(),
        ..ToolInputAvailable::default()
    };
    chunks.push(call.into());
    if let Some(approval) = &part.approval {
        let tool_call_id = part.tool_call_id.clone();
        let approval_id = approval.id.clone();
        chunks.push(ToolApprovalRequest { approval_id, tool_call_id, ..ToolApprovalRequest::default() }.into());
    }
    chunks.extend(outcome(part, dynamic));
}

fn outcome(part: &ToolPart, dynamic: Option<bool>) -> Option<UiMessageChunk> {
    let tool_call_id = part.tool_call_id.clone();
    let provider_metadata = part.result_provider_metadata.clone();
    Some(match part.state {
        ToolState::OutputAvailable => ToolOutputAvailable {
            tool_call_id,
            output: part.output.clone(),
            provider_executed: part.provider_executed,
            provider_metadata,
            dynamic,
            preliminary: part.preliminary,
            ..ToolOutputAvailable::default()
        }
        .into(),
        ToolState::OutputError => ToolOutputError {
            tool_call_id,
            error_text: part.error_text.clone().unwrap_or_default(),
            provider_executed: part.provider_executed,
            provider_metadata,
            dynamic,
            ..ToolOutputError::default()
        }
        .into(),
        ToolState::OutputDenied => UiMessageChunk::tool_output_denied(tool_call_id),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use turnkeep_protocol::MessageReducer;

    use super::*;

    fn message(parts: &Value) -> UiMessage {
        serde_json::from_value(json!({ "id": "a1", "role": "assistant", "metadata": { "m": 1 }, "parts": parts }))
            .unwrap()
    }

    fn folded(message: &UiMessage) -> UiMessage {
        let mut reducer = MessageReducer::new();
        for chunk in spoken(message) {
            reducer.apply(&chunk).unwrap();
        }
        reducer.into_message()
    }

    #[test]
    fn a_message_told_in_chunks_is_the_message_again_a161() {
        let whole = message(&json!([
            { "type": "step-start" },
            { "type": "text", "text": "hi", "state": "done", "providerMetadata": { "p": 1 } },
            { "type": "reasoning", "text": "hm", "state": "done" },
            { "type": "source-url", "sourceId": "s", "url": "https://example.com", "title": "t" },
            { "type": "source-document", "sourceId": "d", "mediaType": "text/plain", "title": "t", "filename": "f" },
            { "type": "file", "mediaType": "text/plain", "url": "data:," },
            { "type": "data-plan", "id": "1", "data": { "x": 1 } },
            { "type": "tool-a", "toolCallId": "1", "state": "input-available", "input": 1, "title": "t" },
            { "type": "tool-a", "toolCallId": "2", "state": "output-available", "input": 1, "output": 2 },
            { "type": "dynamic-tool", "toolName": "b", "toolCallId": "3", "state": "output-error", "input": 1, "errorText": "no" },
            { "type": "tool-a", "toolCallId": "4", "state": "output-denied", "input": 1, "approval": { "id": "p" } },
            { "type": "tool-a", "toolCallId": "5", "state": "approval-requested", "input": 1, "approval": { "id": "q" } },
            { "type": "tool-a", "toolCallId": "6", "state": "output-error", "rawInput": "{", "errorText": "no" },
            { "type": "custom", "x": 1 },
        ]));

        assert_eq!(folded(&whole), whole);
    }

    #[test]
    fn what_no_chunk_can_say_is_left_out_a161() {
        let parts = message(&json!([{ "type": "tool-a", "toolCallId": "1", "state": "input-streaming", "input": 1 }]));

        assert_eq!(folded(&parts).parts, []);
    }
}

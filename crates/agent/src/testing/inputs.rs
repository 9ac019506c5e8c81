//! What pages send.

use serde_json::{Value, json};
use turnkeep_protocol::{ChatInputChunk, ChatTaskWirePayload, Trigger, UiMessage};

pub(crate) fn submit(message: UiMessage) -> ChatInputChunk {
    ChatInputChunk::message(ChatTaskWirePayload::submit("chat", message))
}

/// A person's word about a call of `message`.
pub(crate) fn decision(message: &UiMessage, call: &str, approved: bool) -> ChatInputChunk {
    let part = message.tool_part(call).unwrap();
    let approval = json!({ "id": part.approval.as_ref().unwrap().id, "approved": approved, "reason": "my choice" });
    let part = json!({ "type": format!("tool-{}", part.tool_name), "toolCallId": call, "state": "approval-responded",
        "approval": approval });
    submit(serde_json::from_value(json!({ "id": message.id, "role": "assistant", "parts": [part] })).unwrap())
}

pub(crate) fn regenerate() -> ChatInputChunk {
    ChatInputChunk::message(ChatTaskWirePayload::new("chat", Trigger::RegenerateMessage))
}

pub(crate) fn trigger(trigger: Trigger) -> ChatInputChunk {
    ChatInputChunk::message(ChatTaskWirePayload::new("chat", trigger))
}

pub(crate) fn action(action: Value) -> ChatInputChunk {
    let payload = ChatTaskWirePayload::new("chat", Trigger::Action);
    ChatInputChunk::message(ChatTaskWirePayload { action: Some(action), ..payload })
}

pub(crate) fn stop() -> ChatInputChunk {
    ChatInputChunk::Stop { message: None }
}

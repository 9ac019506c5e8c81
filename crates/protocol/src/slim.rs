//! Slimming: what of a message a client sends, and where the agent's hooks put it (A-11 … A-13, C-14 … C-17).

use std::borrow::Cow;

use crate::input::Trigger;
use crate::message::{ToolPart, ToolState, UiMessage, UiPart};

/// Reduces an assistant message that answers tool calls to those answers; any other message passes as it is (C-14,
/// C-17).
///
/// The agent lays the answers over its own copy ([`crate::overlay_tool_states`]), so nothing else needs to travel.
pub fn slim_message(message: &UiMessage) -> Cow<'_, UiMessage> {
    if !message.is_assistant() || !message.tool_parts().any(|part| part.state.is_wire_advanceable()) {
        return Cow::Borrowed(message);
    }
    let advanced = message.tool_parts().filter(|part| part.state.is_wire_advanceable());
    let parts = advanced.map(|part| UiPart::Tool(slim_part(part))).collect();
    Cow::Owned(UiMessage::new(message.id.clone(), message.role, parts))
}

/// Keeps what the agent cannot know: the state and what it brings (A-12, C-15).
fn slim_part(part: &ToolPart) -> ToolPart {
    ToolPart {
        tool_name: part.tool_name.clone(),
        dynamic: part.dynamic,
        tool_call_id: part.tool_call_id.clone(),
        state: part.state,
        output: part.output.clone().filter(|_| part.state == ToolState::OutputAvailable),
        error_text: part.error_text.clone().filter(|_| part.state == ToolState::OutputError),
        approval: part.approval.clone(),
        ..ToolPart::default()
    }
}

/// Adds the newest incoming message to a stored history that does not have it yet, and tells whether it did (A-13).
///
/// Only a submitted message is added; one whose id is known is left to the overlay.
pub fn upsert_incoming_message(stored: &mut Vec<UiMessage>, trigger: Trigger, incoming: &[UiMessage]) -> bool {
    let Some(newest) = incoming.last().filter(|_| trigger == Trigger::SubmitMessage) else {
        return false;
    };
    let is_known = !newest.id.is_empty() && stored.iter().any(|message| message.id == newest.id);
    if !is_known {
        stored.push(newest.clone());
    }
    !is_known
}

#[cfg(test)]
mod tests {
    use std::slice::from_ref;

    use serde_json::{Value, json};

    use super::*;

    fn message(value: Value) -> UiMessage {
        serde_json::from_value(value).expect("a message")
    }

    #[track_caller]
    fn check_part(part: Value, want: Value) {
        let whole = message(json!({ "id": "a1", "role": "assistant", "metadata": { "m": 1 }, "parts": [
            { "type": "text", "text": "hi" }, { "type": "tool-ask", "toolCallId": "open", "state": "input-available", "input": {} }, part,
        ] }));

        let slim = slim_message(&whole);

        assert_eq!(
            serde_json::to_value(&*slim).expect("json"),
            json!({ "id": "a1", "role": "assistant", "parts": [want] })
        );
    }

    #[test]
    fn an_advanced_part_is_reduced_to_what_its_state_brings_c14_c15_ca77_a12_aa129_aa130() {
        check_part(
            json!({ "type": "tool-ask", "toolCallId": "c", "state": "output-available", "input": { "q": 1 }, "output": { "a": 2 }, "title": "t", "extra": 1 }),
            json!({ "type": "tool-ask", "toolCallId": "c", "state": "output-available", "output": { "a": 2 } }),
        );
        check_part(
            json!({ "type": "tool-ask", "toolCallId": "c", "state": "output-available", "output": null, "approval": { "id": "p", "approved": true } }),
            json!({ "type": "tool-ask", "toolCallId": "c", "state": "output-available", "output": null, "approval": { "id": "p", "approved": true } }),
        );
        check_part(
            json!({ "type": "tool-ask", "toolCallId": "c", "state": "output-error", "errorText": "no", "rawInput": "x", "output": 1 }),
            json!({ "type": "tool-ask", "toolCallId": "c", "state": "output-error", "errorText": "no" }),
        );
        check_part(
            json!({ "type": "tool-ask", "toolCallId": "c", "state": "approval-responded", "input": 1, "approval": { "id": "p", "approved": false, "reason": "r" } }),
            json!({ "type": "tool-ask", "toolCallId": "c", "state": "approval-responded", "approval": { "id": "p", "approved": false, "reason": "r" } }),
        );
        check_part(
            json!({ "type": "dynamic-tool", "toolName": "ask", "toolCallId": "c", "state": "output-denied", "input": 1, "approval": { "id": "p", "approved": false } }),
            json!({ "type": "dynamic-tool", "toolName": "ask", "toolCallId": "c", "state": "output-denied", "approval": { "id": "p", "approved": false } }),
        );
    }

    #[test]
    fn messages_without_an_answer_pass_as_they_are_c17_ca77_a11_aa128() {
        let user = UiMessage::user("u1", "hi");
        let pending = message(json!({ "id": "a1", "role": "assistant", "parts": [
            { "type": "tool-ask", "toolCallId": "c", "state": "approval-requested", "input": {}, "approval": { "id": "p" } },
        ] }));

        for whole in [&user, &pending] {
            assert!(matches!(slim_message(whole), Cow::Borrowed(same) if same == whole));
        }
    }

    #[test]
    fn a_user_message_is_sent_whole_even_with_a_tool_part_a11() {
        let odd = message(json!({ "id": "u1", "role": "user", "parts": [
            { "type": "tool-ask", "toolCallId": "c", "state": "output-available", "input": {}, "output": 1 },
        ] }));

        assert!(matches!(slim_message(&odd), Cow::Borrowed(_)));
    }

    #[test]
    fn upsert_adds_a_fresh_message_and_nothing_else_c238_ca78_a13_aa126_aa127() {
        let [u1, u2, nameless] =
            [("u1", "one"), ("u2", "two"), ("", "three")].map(|(id, text)| UiMessage::user(id, text));
        let check = |trigger, incoming: &[UiMessage], want: &[&UiMessage]| {
            // A message without an id is nobody's twin.
            let mut stored = vec![u1.clone(), UiMessage::user("", "zero")];
            let added = upsert_incoming_message(&mut stored, trigger, incoming);
            assert_eq!(stored.iter().skip(2).collect::<Vec<_>>(), want);
            assert_eq!(added, !want.is_empty());
        };

        check(Trigger::SubmitMessage, from_ref(&u2), &[&u2]);
        check(Trigger::SubmitMessage, &[u2.clone(), u1.clone()], &[]);
        check(Trigger::SubmitMessage, &[u1.clone(), u2.clone()], &[&u2]);
        check(Trigger::SubmitMessage, from_ref(&nameless), &[&nameless]);
        check(Trigger::SubmitMessage, &[], &[]);
        check(Trigger::RegenerateMessage, from_ref(&u2), &[]);
        check(Trigger::Action, from_ref(&u2), &[]);
    }
}

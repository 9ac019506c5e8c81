use serde_json::json;

use super::*;

fn chat(messages: serde_json::Value) -> ChatHistory {
    let history = ChatHistory::default();
    history.publish(&serde_json::from_value::<Messages>(messages).unwrap());
    history
}

fn calls() -> ChatHistory {
    chat(json!([
        { "id": "u1", "role": "user", "parts": [] },
        { "id": "a1", "role": "assistant", "parts": [
            { "type": "tool-t", "toolCallId": "c1", "state": "output-available", "output": 1 },
            { "type": "tool-t", "toolCallId": "c2", "state": "output-error", "errorText": "no" },
            { "type": "tool-t", "toolCallId": "c3", "state": "approval-requested", "approval": { "id": "p" } },
            { "type": "tool-t", "toolCallId": "c4", "state": "input-available", "input": { "q": 1 } },
        ] },
        { "id": "u2", "role": "user", "parts": [] },
    ]))
}

fn ids(history: &ChatHistory) -> Vec<String> {
    history.all().into_iter().map(|message| message.id).collect()
}

#[test]
fn pending_calls_are_those_of_the_last_assistant_even_behind_a_user_message_a179_aa37_aa45() {
    let pending = calls().pending_tool_calls();

    assert_eq!(pending.len(), 1);
    assert_eq!((pending[0].message_id.as_str(), pending[0].tool_call_id.as_str()), ("a1", "c4"));
    assert_eq!(pending[0].input, json!({ "q": 1 }));
    assert_eq!(chat(json!([])).pending_tool_calls(), []);
}

#[test]
fn a_chat_without_open_calls_has_none_pending_a179_aa38() {
    let answered = json!([{ "type": "tool-ask", "toolCallId": "c", "state": "output-available", "output": 1 }]);
    let asked =
        json!([{ "type": "tool-ask", "toolCallId": "c", "state": "approval-requested", "approval": { "id": "p" } }]);
    for parts in [json!([]), json!([{ "type": "text", "text": "x" }]), answered, asked] {
        assert_eq!(chat(json!([{ "id": "a", "role": "assistant", "parts": parts }])).pending_tool_calls(), []);
    }
    assert_eq!(chat(json!([])).pending_tool_calls(), []);
}

#[test]
fn resolved_calls_are_results_and_failures_of_the_whole_chat_a179_aa39() {
    let resolved = calls().resolved_tool_calls();

    assert_eq!(resolved.iter().map(|call| call.tool_call_id.as_str()).collect::<Vec<_>>(), ["c1", "c2"]);
    assert_eq!((resolved[0].output.clone(), resolved[0].error_text.clone()), (Some(json!(1)), None));
    assert_eq!(resolved[1].error_text.as_deref(), Some("no"));
}

#[test]
fn new_results_are_those_the_chat_does_not_know_the_first_of_each_call_a179_aa40_aa44() {
    let message = json!({ "id": "a1", "role": "assistant", "parts": [
        { "type": "tool-t", "toolCallId": "c1", "state": "output-available", "output": 9 },
        { "type": "tool-t", "toolCallId": "c4", "state": "output-available", "output": 2 },
        { "type": "tool-t", "toolCallId": "c4", "state": "output-error", "errorText": "again" },
    ] });

    let new = calls().extract_new_tool_results(&serde_json::from_value(message).unwrap());

    assert_eq!(new.len(), 1);
    assert_eq!((new[0].tool_call_id.as_str(), new[0].output.clone()), ("c4", Some(json!(2))));
}

#[test]
fn messages_are_found_by_id_and_copied_aa41_aa46() {
    let history = calls();

    assert_eq!(history.find_message("u2").unwrap().id, "u2");
    assert_eq!(history.find_message("nobody"), None);
    history.all().truncate(0);
    assert_eq!(history.all().len(), 3);
}

#[test]
fn mutators_change_what_reads_see_at_once_and_leave_one_override_a180() {
    let history = calls();
    assert_eq!(history.take_override(), None);

    history.remove("u1");
    assert_eq!(ids(&history), ["a1", "u2"]);
    history.replace("u2", UiMessage::user("u3", "x"));
    assert_eq!(ids(&history), ["a1", "u3"]);
    history.rollback_to("nobody");
    history.rollback_to("a1");
    assert_eq!(ids(&history), ["a1"]);

    assert_eq!(history.take_override().map(|messages| messages.len()), Some(1));
    assert_eq!(history.take_override(), None);
}

#[test]
fn slices_are_cut_to_the_history_a180() {
    for (start, end, want) in
        [(1, None, "a1 u2"), (0, Some(2), "u1 a1"), (1, Some(2), "a1"), (9, None, ""), (0, Some(9), "u1 a1 u2")]
    {
        let history = calls();
        history.slice(start, end);
        assert_eq!(ids(&history).join(" "), want, "{start}..{end:?}");
    }
}

#[test]
fn an_override_that_nobody_took_up_is_dropped_with_the_next_chain_a182_ar27() {
    let history = calls();
    history.rollback_to("u1");

    history.publish(&[UiMessage::user("u1", ""), UiMessage::user("u9", "")].into());

    assert_eq!(history.take_override(), None);
    assert_eq!(ids(&history), ["u1", "u9"]);
}

//! When a history may be compacted.

use serde_json::json;
use turnkeep_model::Usage;

use super::*;
use crate::answer::StepCall;

fn step(finish_reason: FinishReason, answered: &[bool]) -> StepResult {
    let call = |is_answered: &bool| StepCall {
        tool_call_id: "c".to_owned(),
        tool_name: "t".to_owned(),
        is_answered: *is_answered,
    };
    StepResult { finish_reason, usage: Usage::new(1, 2), calls: answered.iter().map(call).collect() }
}

#[test]
fn the_author_is_asked_after_a_step_that_is_complete_and_once_an_answer_a170() {
    let safe = step(FinishReason::ToolCalls, &[true, true]);

    assert_eq!(inner(None, false), Inner::Skip);
    assert_eq!(inner(Some(&step(FinishReason::Error, &[])), false), Inner::Skip);
    assert_eq!(inner(Some(&step(FinishReason::ToolCalls, &[true, false])), false), Inner::Skip);
    assert_eq!(inner(Some(&safe), false), Inner::Ask);
    assert_eq!(inner(Some(&step(FinishReason::Stop, &[])), false), Inner::Ask);
    assert_eq!(inner(Some(&safe), true), Inner::Rebuild);
}

#[test]
fn a_history_is_safe_to_compact_when_no_call_is_under_way_a174() {
    let calling = |role: &str, state: &str| -> UiMessage {
        let call = json!({ "type": "tool-t", "toolCallId": "c", "state": state, "input": 1, "output": 2 });
        serde_json::from_value(json!({ "id": "m", "role": role, "parts": [call] })).unwrap()
    };
    for unfinished in ["partial-call", "input-streaming", "input-available", "approval-requested", "approval-responded"]
    {
        assert!(!is_compaction_safe(&[UiMessage::user("u", "hi"), calling("assistant", unfinished)]), "{unfinished}");
        assert!(is_compaction_safe(&[calling("user", unfinished)]), "{unfinished}");
    }
    for finished in ["output-available", "output-error", "output-denied"] {
        assert!(is_compaction_safe(&[calling("assistant", finished)]), "{finished}");
    }
    assert!(is_compaction_safe(&[]));
}

#[test]
fn later_turns_read_the_summary_under_its_title_a172() {
    let message = summary_message("They like tea.");

    assert_eq!(message.role.as_str(), "assistant");
    assert_eq!(message.text(), "[Conversation summary]\n\nThey like tea.");
}

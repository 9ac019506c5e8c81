//! Reasoning that people do not get and the model wants back while calls of its message wait (D-68).

use turnkeep_protocol::{UiMessage, UiPart, Withheld};

/// Lists the reasoning of `full` that `shown` lacks; none when it lacks none, or when no call waits for an outcome: the message is done
/// with then.
pub(crate) fn withheld(shown: &UiMessage, full: &UiMessage) -> Option<Withheld> {
    if shown.tool_parts().all(|call| call.state.is_final()) {
        return None;
    }
    let (mut behind, mut parts) = (0, Vec::new());
    for part in &full.parts {
        if matches!(part, UiPart::Reasoning(_)) && shown.parts.get(behind) != Some(part) {
            parts.push((behind, part.clone()));
        } else {
            behind += 1;
        }
    }
    let (message_id, n_parts) = (shown.id.clone(), shown.parts.len());
    (!parts.is_empty()).then_some(Withheld { message_id, n_parts, parts })
}

/// Gives a message's parts with what was withheld of it.
pub(crate) fn whole(message: &UiMessage, withheld: Option<&Withheld>) -> Vec<UiPart> {
    let mut parts = message.parts.clone();
    let is_of_it = |withheld: &&Withheld| withheld.message_id == message.id && withheld.n_parts == parts.len();
    let Some(withheld) = withheld.filter(is_of_it) else {
        return parts;
    };
    // From the back, so that each part leaves the places in front of it as they are.
    for (behind, part) in withheld.parts.iter().rev() {
        parts.insert((*behind).min(message.parts.len()), part.clone());
    }
    parts
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn message(parts: &Value) -> UiMessage {
        serde_json::from_value(json!({ "id": "a", "role": "assistant", "parts": parts })).unwrap()
    }

    fn call(state: &str) -> Value {
        json!({ "type": "tool-t", "toolCallId": "c", "state": state, "input": 1 })
    }

    #[test]
    fn what_people_lack_of_a_message_whose_call_waits_goes_back_to_its_place_d68() {
        let thought = |text: &str| json!({ "type": "reasoning", "text": text, "state": "done" });
        let (step, said) = (json!({ "type": "step-start" }), json!({ "type": "text", "text": "x" }));
        let full = json!([step, thought("1"), thought("2"), said, call("input-available"), step, thought("3")]);
        let full = message(&full);
        let shown = message(&json!([step, said, call("input-available"), step]));
        let answered = message(&json!([step, said, call("approval-responded"), step]));

        let kept = withheld(&shown, &full).unwrap();

        assert_eq!(whole(&shown, Some(&kept)), full.parts);
        let back = whole(&answered, Some(&kept));
        let back: Vec<_> = back.iter().map(UiPart::kind).collect();
        assert_eq!(back, ["step-start", "reasoning", "reasoning", "text", "tool-t", "step-start", "reasoning"]);
        // What was seen is not withheld, and what an author has changed is not the message that was.
        assert_eq!(withheld(&full, &full), None);
        let rewritten = message(&json!([said]));
        assert_eq!(whole(&rewritten, Some(&kept)), rewritten.parts);
        let over = |state| withheld(&message(&json!([call(state)])), &full).is_none();
        assert!(over("output-available") && over("output-denied") && !over("approval-requested"));
    }
}

//! Whole messages made comparable: everything a reader can see, nothing of how it was stored.
//!
//! Left out are what separates steps, texts without a character, whether a text still grows, and what only the model's provider
//! understands. Everything else counts, in its order: texts, reasoning, calls with input, output and state, sources, files, data
//! and the message's metadata.

use serde_json::Value;
use turnkeep_protocol::{UiMessage, UiPart};

/// Gives what of a message is compared.
pub(super) fn normal(message: &UiMessage) -> Value {
    let parts: Vec<UiPart> = message.parts.iter().filter(|part| !is_empty(part)).cloned().collect();
    let mut value = serde_json::to_value(UiMessage { parts, ..message.clone() }).unwrap_or_default();
    if let Some(parts) = value.get_mut("parts").and_then(Value::as_array_mut) {
        parts.iter_mut().for_each(strip);
    }
    value
}

/// Tells whether two messages are the same to a reader.
pub(super) fn same(one: &UiMessage, other: &UiMessage) -> bool {
    normal(one) == normal(other)
}

/// Tells whether there is anything in a message that a reader could miss.
pub(super) fn has_content(message: &UiMessage) -> bool {
    message.parts.iter().any(|part| !is_empty(part))
}

/// Describes where `one` first differs from `other`, for people.
pub(super) fn first_difference(one: &UiMessage, other: &UiMessage) -> String {
    let (one, other) = (normal(one), normal(other));
    let parts = |value: &Value| value.get("parts").and_then(Value::as_array).cloned().unwrap_or_default();
    let (ones, others) = (parts(&one), parts(&other));
    let place = (0..ones.len().max(others.len())).find(|place| ones.get(*place) != others.get(*place));
    let Some(place) = place else { return format!("{} instead of {}", brief(Some(&one)), brief(Some(&other))) };
    format!("part {place} is {} instead of {}", brief(ones.get(place)), brief(others.get(place)))
}

/// The most characters of a part that a report shows.
const SHOWN: usize = 160;

fn brief(value: Option<&Value>) -> String {
    let Some(value) = value else { return "nothing".to_owned() };
    let text = value.to_string();
    if text.chars().count() <= SHOWN {
        return text;
    }
    let start: String = text.chars().take(SHOWN).collect();
    format!("{start}…")
}

fn is_empty(part: &UiPart) -> bool {
    match part {
        UiPart::StepStart(_) => true,
        UiPart::Text(text) => text.text.is_empty(),
        UiPart::Reasoning(reasoning) => reasoning.text.is_empty(),
        _ => false,
    }
}

fn strip(part: &mut Value) {
    let Some(fields) = part.as_object_mut() else { return };
    let grows = matches!(fields.get("type").and_then(Value::as_str), Some("text" | "reasoning"));
    fields.retain(|field, _| !(field.ends_with("roviderMetadata") || grows && field == "state"));
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use turnkeep_protocol::Role;

    use super::*;

    fn message(parts: &Value) -> UiMessage {
        serde_json::from_value(json!({ "id": "a1", "role": "assistant", "parts": parts })).unwrap()
    }

    #[test]
    fn what_a_reader_cannot_see_is_left_out() {
        let plain = message(&json!([{ "type": "text", "text": "A" }, { "type": "reasoning", "text": "B" }]));
        let stored = message(&json!([
            { "type": "step-start" },
            { "type": "text", "text": "", "state": "done" },
            { "type": "text", "text": "A", "state": "done", "providerMetadata": { "p": { "id": 1 } } },
            { "type": "reasoning", "text": "B", "state": "streaming" },
        ]));

        assert!(same(&plain, &stored));
    }

    #[test]
    fn every_kind_of_part_counts_and_so_does_their_order() {
        let parts = json!([
            { "type": "reasoning", "text": "Hm" },
            { "type": "tool-forecast", "toolCallId": "c", "state": "output-available", "input": { "city": "Oslo" }, "output": 4 },
            { "type": "data-mood", "id": "d", "data": 1 },
            { "type": "file", "mediaType": "image/png", "url": "data:1" },
        ]);
        let whole = message(&parts);
        for (part, field, other) in [
            (0, "text", json!("Hmm")),
            (1, "input", json!({ "city": "Rome" })),
            (1, "output", json!(5)),
            (1, "state", json!("output-denied")),
            (2, "data", json!(2)),
            (3, "url", json!("data:2")),
        ] {
            let mut changed = parts.clone();
            changed[part][field] = other;
            assert!(!same(&message(&changed), &whole), "{part} {field}");
        }
        let mut turned = parts.as_array().unwrap().clone();
        turned.swap(0, 2);
        assert!(!same(&message(&json!(turned)), &whole));
    }

    #[test]
    fn a_difference_is_told_by_its_first_part() {
        let one = UiMessage::new("a1", Role::Assistant, vec![UiPart::step_start(), UiPart::text("A")]);
        let other = UiMessage::new("a1", Role::Assistant, vec![UiPart::text("A"), UiPart::reasoning("B")]);

        let want = r#"part 1 is nothing instead of {"type":"reasoning","text":"B"}"#;
        assert_eq!(first_difference(&one, &other), want);
        assert!(has_content(&one));
        assert!(!has_content(&UiMessage::new("a1", Role::Assistant, vec![UiPart::step_start(), UiPart::text("")])));
    }
}

//! One line a record, one line a message.

use serde_json::{Map, Value};
use turnkeep_protocol::{
    ChatInputChunk, ChatTaskWirePayload, Header, PUBLIC_ACCESS_TOKEN, Record, SESSION_IN_CONSUMED_ID, TRIGGER_CONTROL,
    UiMessage, UiMessageChunk, UiPart,
};

use super::labels::{Kind, Labels};
use crate::checks::{Content, Stored};

/// The longest text that a transcript has whole, in characters; of a longer one it has the beginning and the length.
const MAX_QUOTED: usize = 2_000;

/// The beginning of such a text.
const QUOTED: usize = 40;

/// Fields of a payload that say where and when, not what.
const LEFT_OUT: [&str; 5] = ["chatId", "sessionId", "trigger", "message", "idleTimeoutInSeconds"];

/// Writes the records of one channel, commands left out and adjacent deltas joined.
pub(super) fn of_records(records: &[&Stored<'_>], labels: &mut Labels) -> Vec<String> {
    let mut lines = Vec::new();
    let mut joined: Option<UiMessageChunk> = None;
    for stored in records {
        if let (Some(open), Some(chunk)) = (&mut joined, stored.chunk())
            && join(open, chunk)
        {
            continue;
        }
        lines.extend(joined.take().map(|open| of_chunk(&open, labels)));
        match &stored.content {
            Content::Chunk(chunk) if is_delta(chunk) => joined = Some((**chunk).clone()),
            Content::Chunk(chunk) => lines.push(of_chunk(chunk, labels)),
            Content::Input(input) => lines.push(of_input(input, labels)),
            Content::Boundary(_) | Content::Control(_) => lines.push(of_control(stored.record)),
            Content::Opaque => lines.push(format!("unreadable {}", stored.record.body)),
            Content::Command(_) => {}
        }
    }
    lines.extend(joined.take().map(|open| of_chunk(&open, labels)));
    lines
}

fn is_delta(chunk: &UiMessageChunk) -> bool {
    matches!(chunk.kind(), "text-delta" | "reasoning-delta" | "tool-input-delta")
}

/// Appends `next` to `open` when both are plain deltas of one part.
fn join(open: &mut UiMessageChunk, next: &UiMessageChunk) -> bool {
    match (open, next) {
        (UiMessageChunk::TextDelta(open), UiMessageChunk::TextDelta(next)) if open.id == next.id => {
            open.delta.push_str(&next.delta);
        }
        (UiMessageChunk::ReasoningDelta(open), UiMessageChunk::ReasoningDelta(next)) if open.id == next.id => {
            open.delta.push_str(&next.delta);
        }
        (UiMessageChunk::ToolInputDelta(open), UiMessageChunk::ToolInputDelta(next))
            if open.tool_call_id == next.tool_call_id =>
        {
            open.input_text_delta.push_str(&next.input_text_delta);
        }
        _ => return false,
    }
    true
}

fn of_chunk(chunk: &UiMessageChunk, labels: &mut Labels) -> String {
    let kind = chunk.kind().to_owned();
    let mut fields = match serde_json::to_value(chunk) {
        Ok(Value::Object(fields)) => fields,
        _ => Map::new(),
    };
    fields.shift_remove("type");
    for (key, value) in &mut fields {
        if let (Some(named), Value::String(id)) = (named_by(&kind, key), &*value) {
            *value = Value::String(labels.of(named, id));
        } else {
            labels.replace_known(value);
        }
    }
    with_fields(&kind, fields)
}

/// Tells what the field `key` of a chunk names.
fn named_by(kind: &str, key: &str) -> Option<Kind> {
    match key {
        "messageId" => Some(Kind::Message),
        "toolCallId" => Some(Kind::Call),
        "approvalId" => Some(Kind::Approval),
        "sourceId" => Some(Kind::Source),
        "id" if kind.starts_with("data-") => Some(Kind::Data),
        "id" => Some(Kind::Part),
        _ => None,
    }
}

fn with_fields(word: &str, fields: Map<String, Value>) -> String {
    if fields.is_empty() { word.to_owned() } else { format!("{word} {}", Value::Object(fields)) }
}

fn of_input(input: &ChatInputChunk, labels: &mut Labels) -> String {
    if let ChatInputChunk::Message { payload } = input {
        return of_payload(payload, labels);
    }
    let mut value = serde_json::to_value(input).unwrap_or_default();
    labels.replace_known(&mut value);
    let Value::Object(mut fields) = value else { return String::new() };
    let kind = fields.shift_remove("kind").unwrap_or_default();
    with_fields(kind.as_str().unwrap_or_default(), fields)
}

fn of_payload(payload: &ChatTaskWirePayload, labels: &mut Labels) -> String {
    let mut value = serde_json::to_value(payload).unwrap_or_default();
    let trigger = value.get("trigger").and_then(Value::as_str).unwrap_or("message").to_owned();
    let message = payload.message.as_ref().map(|message| of_message(message, labels));
    labels.replace_known(&mut value);
    let Value::Object(mut fields) = value else { return trigger };
    fields.retain(|key, _| !LEFT_OUT.contains(&key.as_str()));
    let answers = payload.message.as_ref().and_then(|message| of_answers(message, labels));
    let words: Vec<_> = [Some(trigger), message, answers].into_iter().flatten().collect();
    with_fields(&words.join(" "), fields)
}

/// Writes who says what: role, id and text, and the parts that are neither text nor a tool's, as they are.
pub(super) fn of_message(message: &UiMessage, labels: &mut Labels) -> String {
    let id = if message.id.is_empty() { "without id".to_owned() } else { labels.of(Kind::Message, &message.id) };
    let mut line = format!("{} {id} {}", message.role, quoted(&message.text()));
    let is_told = |part: &&UiPart| {
        !matches!(
            part,
            UiPart::Text(_) | UiPart::Reasoning(_) | UiPart::Tool(_) | UiPart::StepStart(_) | UiPart::Data(_)
        )
    };
    for part in message.parts.iter().filter(is_told) {
        line.push_str(&format!(" {}", serde_json::to_value(part).unwrap_or_default()));
    }
    line
}

/// Writes what a message answers calls with: their states, and what a person said to a request.
fn of_answers(message: &UiMessage, labels: &mut Labels) -> Option<String> {
    let answers: Vec<_> = message
        .tool_parts()
        .map(|part| {
            let call = labels.of(Kind::Call, &part.tool_call_id);
            let approval = part.approval.as_ref();
            let approved =
                approval.and_then(|approval| approval.approved).map(|approved| format!(" approved={approved}"));
            let reason =
                approval.and_then(|approval| approval.reason.as_ref()).map(|reason| format!(" reason={reason:?}"));
            format!("{call} {}{}{}", part.state, approved.unwrap_or_default(), reason.unwrap_or_default())
        })
        .collect();
    (!answers.is_empty()).then(|| answers.join(" "))
}

/// Writes a control record with its siblings, those left out that differ from seed to seed.
fn of_control(record: &Record) -> String {
    let told = |header: &&Header| !matches!(header.0.as_str(), PUBLIC_ACCESS_TOKEN | SESSION_IN_CONSUMED_ID);
    let words = record.headers.iter().filter(told).map(|Header(name, value)| match name.as_str() {
        TRIGGER_CONTROL => value.clone(),
        _ => format!("{name}={value}"),
    });
    words.collect::<Vec<_>>().join(" ")
}

fn quoted(text: &str) -> String {
    let n_chars = text.chars().count();
    if n_chars <= MAX_QUOTED {
        return Value::String(text.to_owned()).to_string();
    }
    let beginning: String = text.chars().take(QUOTED).collect();
    format!("{} and so on, {n_chars} characters", Value::String(beginning))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_long_text_a_transcript_has_the_beginning_and_the_length() {
        let long = "né ".repeat(1_000);

        assert_eq!(quoted(&long[..2_001]), format!("\"{}\"", &long[..2_001]));
        assert_eq!(quoted(&long), format!("\"{}\" and so on, 3000 characters", "né ".repeat(13) + "n"));
    }
}

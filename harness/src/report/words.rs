//! Entries in words.

use serde_json::Value;
use turnkeep_protocol::{ChatInputChunk, Header, Record, TRIGGER_CONTROL, UiMessage, UiMessageChunk};

use crate::checks::{Content, Stored, decode};
use crate::trace::{Entry, Event};

/// The most characters of a text that a line quotes.
const QUOTED: usize = 60;

/// Writes one entry as a line: when, where, what.
pub fn line(entry: &Entry) -> String {
    format!("{:>10}  {:<9} {}", moment(entry.ms), entry.host, describe(entry))
}

/// Writes virtual milliseconds in seconds.
pub(super) fn moment(ms: u64) -> String {
    format!("{}.{:03} s", ms / 1000, ms % 1000)
}

/// Says what happened, in words.
pub fn describe(entry: &Entry) -> String {
    match &entry.event {
        Event::Step { index, step } => format!("step {index}: {step}"),
        Event::Fault { what } => format!("fault: {what}"),
        Event::Heal => "the story is over; faults end".to_owned(),
        Event::Boot { boot: 0 } => "boots".to_owned(),
        Event::Boot { boot } => format!("boots again, restart {boot}"),
        Event::ServerFailed { error } => format!("the server cannot go on: {error}"),
        Event::ModelCalled { call, asked, n_messages } => {
            format!("model call {call} with {n_messages} messages, the newest question {}", quote(asked))
        }
        Event::ScriptComplaint { text } => format!("script: {text}"),
        Event::AppWrote { chat, messages, cursor } => {
            let cursor = cursor.map_or_else(|| "no cursor".to_owned(), |cursor| format!("cursor {cursor}"));
            format!("the author's database holds {} and {cursor} of {chat}", list(messages))
        }
        Event::Net { peer, conn, op, bytes, .. } => format!("connection {conn} with {peer}: {op} {bytes} bytes"),
        Event::Settled => "the world has settled".to_owned(),
        Event::Stored { .. } | Event::Trimmed { .. } | Event::Run { .. } | Event::SnapshotStored { .. } => {
            describe_durable(entry)
        }
        _ => describe_page(&entry.event),
    }
}

fn describe_durable(entry: &Entry) -> String {
    match &entry.event {
        Event::Trimmed { session, channel, first_kept } => {
            format!("{session} {channel} now begins at seq_num {first_kept}")
        }
        Event::Run { session, run, attempt, status, worker, .. } => {
            let by = worker.as_ref().map(|worker| format!(" by {worker}")).unwrap_or_default();
            format!("run {run} of {session}, attempt {attempt}, is {status}{by}")
        }
        Event::SnapshotStored { session, snapshot: Some(snapshot) } => {
            let end = snapshot.last_out_event_id.map_or_else(|| "nowhere".to_owned(), |end| format!("seq_num {end}"));
            format!("snapshot of {session} stored, up to {end}: {}", list(&snapshot.messages))
        }
        Event::SnapshotStored { session, snapshot: None } => format!("snapshot of {session} stored, unreadable"),
        _ => decode(entry).map(|stored| describe_record(&stored)).unwrap_or_default(),
    }
}

fn describe_record(stored: &Stored<'_>) -> String {
    let what = match &stored.content {
        Content::Input(ChatInputChunk::Message { payload }) => {
            let trigger = serde_json::to_value(payload.trigger).unwrap_or_default();
            let message = payload.message.as_ref().map(|message| format!(" {}", brief(message))).unwrap_or_default();
            format!("{}{message}", trigger.as_str().unwrap_or("message"))
        }
        Content::Input(input) => {
            let value = serde_json::to_value(input).unwrap_or_default();
            value.get("kind").and_then(Value::as_str).unwrap_or_default().to_owned()
        }
        Content::Chunk(chunk) => brief_chunk(chunk),
        Content::Boundary(_) | Content::Control(_) => control(stored.record),
        Content::Command(op) => format!("{op} to {}", stored.record.body),
        Content::Opaque => format!("unreadable {}", quote(&stored.record.body)),
    };
    format!("stored {} {} {}: {what}", stored.session, stored.channel, stored.seq())
}

/// Writes a control record without its tokens.
fn control(record: &Record) -> String {
    let words = record
        .headers
        .iter()
        .filter(|header| !header.0.contains("token"))
        .map(|Header(name, value)| if name == TRIGGER_CONTROL { value.clone() } else { format!("{name}={value}") });
    words.collect::<Vec<_>>().join(" ")
}

fn describe_page(event: &Event) -> String {
    match event {
        Event::PageOpened { page, chat, messages, cursor } => {
            let cursor = cursor.map_or_else(|| "no cursor".to_owned(), |cursor| format!("cursor {cursor}"));
            format!("{page} opens {chat} with {} and {cursor}", list(messages))
        }
        Event::Sent { page, message, seq_num, .. } => {
            let place = seq_num.map_or_else(|| "somewhere".to_owned(), |seq_num| format!("seq_num {seq_num}"));
            format!("{page} has {} acknowledged at {place}", brief(message))
        }
        Event::Asked { page, gesture, seq_num, .. } => {
            let place = seq_num.map_or_else(|| "somewhere".to_owned(), |seq_num| format!("seq_num {seq_num}"));
            format!("{page} has its {} acknowledged at {place}", gesture.name())
        }
        Event::SendFailed { page, message_id, error, .. } => {
            format!("{page} has message {message_id} refused: {error}")
        }
        Event::Resumed { page, streaming: true, .. } => format!("{page} resumes its stream"),
        Event::Resumed { page, streaming: false, .. } => format!("{page} has nothing to resume"),
        Event::Shown { page, seq_num, chunk, message_id, text, .. } => {
            format!("{page} is shown {seq_num}: {}; on screen {message_id}: {}", brief_chunk(chunk), quote(text))
        }
        Event::StreamEnded { page, how, .. } => format!("{page}'s stream ends: {how}"),
        Event::Steered { page, message, delivered: true, .. } => format!("{page} steers with {}", brief(message)),
        Event::Steered { page, message, delivered: false, .. } => {
            format!("{page} fails to steer with {}", brief(message))
        }
        Event::Stopped { page, delivered: true, .. } => format!("{page} stops the answer"),
        Event::Stopped { page, delivered: false, .. } => format!("{page} fails to stop the answer"),
        Event::PageClosed { page, died: false, .. } => format!("{page} is closed"),
        Event::PageClosed { page, died: true, .. } => format!("{page} dies"),
        Event::ReadOnly { page, read_only: true, .. } => format!("{page} is read-only: another tab has the chat"),
        Event::ReadOnly { page, read_only: false, .. } => format!("{page} may send again"),
        Event::Adopted { page, messages, .. } => format!("{page} shows what the other tab shows: {}", list(messages)),
        Event::PageShows { page, messages, .. } => format!("{page} shows {}", list(messages)),
        Event::Notice { page, notice } => format!("{page}'s transport says {notice}"),
        _ => String::new(),
    }
}

fn brief_chunk(chunk: &UiMessageChunk) -> String {
    let kind = chunk.kind();
    match chunk {
        UiMessageChunk::Start(start) => format!("{kind} {}", start.message_id.as_deref().unwrap_or_default()),
        UiMessageChunk::TextDelta(delta) => format!("{kind} {}", quote(&delta.delta)),
        UiMessageChunk::ReasoningDelta(delta) => format!("{kind} {}", quote(&delta.delta)),
        UiMessageChunk::Error(error) => format!("{kind} {}", quote(&error.error_text)),
        UiMessageChunk::Abort(abort) => format!("{kind} {}", quote(abort.reason.as_deref().unwrap_or_default())),
        UiMessageChunk::ToolInputAvailable(call) => format!("{kind} {}", call.tool_name),
        _ => kind.to_owned(),
    }
}

fn brief(message: &UiMessage) -> String {
    format!("{} {} {}", message.role, message.id, quote(&message.text()))
}

fn list<'m>(messages: impl IntoIterator<Item = &'m UiMessage>) -> String {
    let briefs: Vec<_> = messages.into_iter().map(brief).collect();
    format!("[{}]", briefs.join(", "))
}

fn quote(text: &str) -> String {
    if text.chars().count() <= QUOTED {
        return Value::from(text).to_string();
    }
    let start: String = text.chars().take(QUOTED).collect();
    format!("{}…", Value::from(start))
}

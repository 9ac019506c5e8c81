//! What the tests of both adapters share: streams in, one line a part out.

use std::fmt::Write as _;

use serde_json::{Value, json};
use turnkeep_protocol::{JsonObject, MessageReducer, ModelMessage, UiMessage};

use super::api::{Api, Reader};
use super::decode::AnswerDecoder;
use crate::convert::{ModelOutputs, to_model_messages};
use crate::mapper::ChunkMapper;
use crate::options::UiStreamOptions;
use crate::part::{StreamPart, ToolResult};
use crate::prompt::Prompt;

/// Decodes an answer that comes in these pieces and then ends.
pub(crate) fn decode<'b>(reader: Box<dyn Reader>, pieces: impl IntoIterator<Item = &'b [u8]>) -> Vec<StreamPart> {
    let mut decoder = AnswerDecoder::new(reader, false);
    pieces.into_iter().for_each(|piece| decoder.push(piece));
    decoder.end();
    std::iter::from_fn(|| decoder.next_part()).collect()
}

/// Checks what an answer says, part by part, `stream-start` apart.
#[track_caller]
pub(crate) fn check_stream(reader: Box<dyn Reader>, stream: &str, want: &[&str]) {
    let parts = decode(reader, [stream.as_bytes()]);
    assert_eq!(parts[0], StreamPart::StreamStart);
    let shown: Vec<String> = parts[1..].iter().map(show).collect();
    assert_eq!(shown, want, "{shown:#?}");
}

/// Checks that an answer says the same cut in two anywhere, and byte by byte.
pub(crate) fn check_every_cut(reader: impl Fn() -> Box<dyn Reader>, stream: &str) {
    let bytes = stream.as_bytes();
    let whole = decode(reader(), [bytes]);
    assert!(matches!(whole.last(), Some(StreamPart::Finish { .. } | StreamPart::Error(_))));
    for cut in 0..=bytes.len() {
        let (left, right) = bytes.split_at(cut);
        assert_eq!(decode(reader(), [left, right]), whole, "cut at {cut}");
    }
    assert_eq!(decode(reader(), bytes.chunks(1)), whole, "byte by byte");
}

/// Takes an answer the whole way: parts to chunks, chunks to a message of the history, and that back to the provider.
///
/// Every call of the author's tools is answered with `"fine"`.
pub(crate) fn send_back(api: &dyn Api, stream: &str) -> Value {
    let mapper = ChunkMapper::new("a", UiStreamOptions::new());
    let mut reducer = MessageReducer::resume(UiMessage::assistant("a", Vec::new()));
    let mut parts = decode(api.reader(), [stream.as_bytes()]);
    let calls = parts.iter().filter_map(|part| match part {
        StreamPart::ToolCall(call) if !call.provider_executed => Some(StreamPart::ToolResult(ToolResult {
            tool_call_id: call.tool_call_id.clone(),
            tool_name: call.tool_name.clone(),
            outcome: Ok(json!("fine")),
            provider_executed: false,
            dynamic: false,
            preliminary: false,
            provider_metadata: None,
        })),
        _ => None,
    });
    let results: Vec<StreamPart> = calls.collect();
    parts.extend(results);
    for chunk in parts.into_iter().flat_map(|part| mapper.map_stream_part(part)) {
        reducer.apply(&chunk).expect("the chunks of an answer follow each other");
    }
    let history = [reducer.into_message()];
    let messages = to_model_messages(&history, &ModelOutputs::new()).expect("converts");
    api.body("m", &Prompt { messages, ..Prompt::default() }).expect("a body")["messages"].clone()
}

/// Makes a prompt of messages as the AI SDK writes them.
pub(crate) fn prompt(messages: Value) -> Prompt {
    let messages: Vec<ModelMessage> = serde_json::from_value(messages).expect("messages");
    Prompt { messages, ..Prompt::default() }
}

pub(crate) fn object(value: Value) -> JsonObject {
    serde_json::from_value(value).expect("an object")
}

/// Checks the messages of a request.
#[track_caller]
pub(crate) fn check_messages(api: &dyn Api, messages: Value, want: Value) {
    let body = api.body("m", &prompt(messages)).expect("a body");
    assert_eq!(body["messages"], want);
}

/// Checks what settings and options add to a request: its fields apart from model, messages and what is always there.
#[track_caller]
pub(crate) fn check_fields(api: &dyn Api, model_id: &str, prompt: Prompt, want: Value) {
    let body = api.body(model_id, &prompt).expect("a body");
    let always = ["model", "messages", "stream", "stream_options"];
    let fields = body.as_object().expect("an object").iter().filter(|(name, _)| !always.contains(&name.as_str()));
    let fields: JsonObject = fields.map(|(name, value)| (name.clone(), value.clone())).collect();
    assert_eq!(Value::Object(fields), want);
}

/// Shows a part as one line: its kind, then its fields; flags and metadata only when set.
fn show(part: &StreamPart) -> String {
    let text = |text: &str| json!(text).to_string();
    let meta = |metadata: &Option<Value>| metadata.as_ref().map_or_else(String::new, |value| format!(" {value}"));
    let flags = |provider_executed: bool, dynamic: bool| {
        let mut flags = String::new();
        for (name, _) in [(" by-provider", provider_executed), (" dynamic", dynamic)].iter().filter(|(_, set)| *set) {
            flags.push_str(name);
        }
        flags
    };
    match part {
        StreamPart::ResponseMetadata { id, model_id, timestamp_ms } => {
            let mut line = "response-metadata".to_owned();
            for field in [id.clone(), model_id.clone(), timestamp_ms.map(|ms| ms.to_string())].iter().flatten() {
                write!(line, " {field}").expect("writing to a string does not fail");
            }
            line
        }
        StreamPart::TextStart { id, .. } => format!("text-start {id}"),
        StreamPart::TextDelta { id, delta, .. } => format!("text-delta {id} {}", text(delta)),
        StreamPart::TextEnd { id, .. } => format!("text-end {id}"),
        StreamPart::ReasoningStart { id, provider_metadata } => {
            format!("reasoning-start {id}{}", meta(provider_metadata))
        }
        StreamPart::ReasoningDelta { id, delta, provider_metadata } => {
            format!("reasoning-delta {id} {}{}", text(delta), meta(provider_metadata))
        }
        StreamPart::ReasoningEnd { id, .. } => format!("reasoning-end {id}"),
        StreamPart::ToolInputStart { id, name, provider_executed, dynamic, .. } => {
            format!("tool-input-start {id} {name}{}", flags(*provider_executed, *dynamic))
        }
        StreamPart::ToolInputDelta { id, delta } => format!("tool-input-delta {id} {}", text(delta)),
        StreamPart::ToolInputEnd { id } => format!("tool-input-end {id}"),
        StreamPart::ToolCall(call) => {
            let invalid = call.invalid.as_ref().map_or("", |_| " invalid");
            let flags = flags(call.provider_executed, call.dynamic);
            let meta = meta(&call.provider_metadata);
            format!("tool-call {} {} {}{invalid}{flags}{meta}", call.tool_call_id, call.tool_name, call.input)
        }
        StreamPart::ToolResult(result) => {
            let flags = flags(result.provider_executed, result.dynamic);
            let outcome = match &result.outcome {
                Ok(output) => format!("ok {output}"),
                Err(error) => format!("failed {}", text(error)),
            };
            let meta = meta(&result.provider_metadata);
            format!("tool-result {} {} {outcome}{flags}{meta}", result.tool_call_id, result.tool_name)
        }
        StreamPart::SourceUrl { id, url, title, provider_metadata } => {
            format!("source-url {id} {url} {}{}", text(title.as_deref().unwrap_or_default()), meta(provider_metadata))
        }
        StreamPart::SourceDocument { id, media_type, title, provider_metadata, .. } => {
            format!("source-document {id} {media_type} {}{}", text(title), meta(provider_metadata))
        }
        StreamPart::Finish { finish_reason, usage } => {
            format!("finish {finish_reason} {}", serde_json::to_string(usage).expect("json"))
        }
        StreamPart::Error(error) => format!("error {error:?}"),
        StreamPart::Ping => "ping".to_owned(),
        other => format!("{other:?}"),
    }
}

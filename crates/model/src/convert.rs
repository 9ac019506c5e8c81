//! [`to_model_messages`]: the history of a chat in the form a model reads (A-131 … A-133).
//!
//! Pure and deterministic: the same history and tools give the same messages, so a rebuild after a restart changes
//! nothing.

mod assistant;
mod outputs;

use serde_json::Value;
use turnkeep_protocol::message::{FilePart, TextPart};
use turnkeep_protocol::model_message::{FileContent, TextContent};
use turnkeep_protocol::{ContentPart, JsonObject, ModelMessage, ModelRole, Role, UiMessage, UiPart};

pub use self::outputs::{ModelOutputs, ToModelOutput, ToolOutputInput};

/// Says why a history cannot be put in the form a model reads.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConvertError {
    /// A tool's own mapping refused its output.
    #[error("tool `{tool_name}` cannot map the output of call `{tool_call_id}`: {reason}")]
    ModelOutput {
        /// Names the tool.
        tool_name: String,
        /// Names the call.
        tool_call_id: String,
        /// Says why, in the tool's words.
        reason: String,
    },
}

impl ConvertError {
    /// Tells whether the same history may convert later; it never does.
    pub fn is_retryable(&self) -> bool {
        false
    }
}

/// Converts a history, re-applying each tool's mapping of its outputs to old turns too.
///
/// Left out are calls without an outcome, data, sources and unknown parts, and messages that are empty then. An
/// approved call that has not run is kept only while no user message follows it, since a model wants each call answered
/// before that. Item ids of the provider `openai` are never sent back.
///
/// # Errors
///
/// Fails when a tool's mapping refuses an output.
pub fn to_model_messages<'m>(
    messages: impl IntoIterator<Item = &'m UiMessage, IntoIter: DoubleEndedIterator + ExactSizeIterator + Clone>,
    tools: &ModelOutputs,
) -> Result<Vec<ModelMessage>, ConvertError> {
    let messages = messages.into_iter();
    let last_user = messages.clone().rposition(UiMessage::is_user);
    let mut converted = Vec::new();
    for (index, message) in messages.enumerate() {
        match message.role {
            Role::System => converted.push(system(message)),
            Role::User => converted.extend(user(message)),
            Role::Assistant => {
                let unrun = if last_user.is_some_and(|last| index < last) { Unrun::Drop } else { Unrun::Keep };
                assistant::convert(message, tools, unrun, &mut converted)?;
            }
        }
    }
    Ok(converted)
}

/// Tells what becomes of approved calls that have not run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unrun {
    Keep,
    Drop,
}

fn system(message: &UiMessage) -> ModelMessage {
    let mut options = JsonObject::new();
    for part in message.parts.iter().filter_map(UiPart::as_text) {
        if let Some(Value::Object(metadata)) = &part.provider_metadata {
            options.extend(metadata.clone());
        }
    }
    let provider_options = (!options.is_empty()).then_some(Value::Object(options));
    ModelMessage { provider_options, ..ModelMessage::system(message.text()) }
}

fn user(message: &UiMessage) -> Option<ModelMessage> {
    let content: Vec<ContentPart> = message
        .parts
        .iter()
        .filter_map(|part| match part {
            UiPart::Text(part) => Some(text(part)),
            UiPart::File(part) => Some(file(part)),
            _ => None,
        })
        .collect();
    (!content.is_empty()).then(|| ModelMessage::new(ModelRole::User, content))
}

fn text(part: &TextPart) -> ContentPart {
    ContentPart::Text(TextContent {
        text: part.text.clone(),
        provider_options: provider_options(part.provider_metadata.as_ref()),
        ..TextContent::default()
    })
}

fn file(part: &FilePart) -> ContentPart {
    ContentPart::File(FileContent {
        data: part.url.clone(),
        media_type: part.media_type.clone(),
        filename: part.filename.clone(),
        provider_options: provider_options(part.provider_metadata.as_ref()),
        ..FileContent::default()
    })
}

/// Gives back to the provider what it sent, but no item ids: the provider forgets them and answers 404.
fn provider_options(metadata: Option<&Value>) -> Option<Value> {
    let mut options = metadata.filter(|metadata| !metadata.is_null())?.clone();
    if let Some(providers) = options.as_object_mut() {
        let openai = providers.get_mut("openai").and_then(Value::as_object_mut);
        if let Some(openai) = openai
            && openai.shift_remove("itemId").is_some()
            && openai.is_empty()
        {
            providers.shift_remove("openai");
            if providers.is_empty() {
                return None;
            }
        }
    }
    Some(options)
}

#[cfg(test)]
mod tests;

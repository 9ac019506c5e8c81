//! The conversation as messages of content blocks: the API wants the roles in turns and results before texts.

mod blocks;

use serde_json::{Value, json};
use turnkeep_protocol::{ContentPart, ModelMessage, ModelRole};

pub(super) use self::blocks::{BLOCK_TYPE, SERVER_NAME};
use super::NAME;
use crate::error::ModelError;
use crate::prompt::Prompt;
use crate::provider::part_option;

/// Gives the system blocks and the messages.
///
/// The API has one place for system texts, so they are moved there from wherever they stand.
pub(super) fn messages(prompt: &Prompt, sends_reasoning: bool) -> Result<(Vec<Value>, Vec<Value>), ModelError> {
    let mut system: Vec<Value> = prompt.system.iter().filter_map(|text| blocks::text(text)).collect();
    let mut turns: Vec<Turn> = Vec::new();
    for message in &prompt.messages {
        let (speaker, mut said) = match message.role {
            ModelRole::System => {
                let mut said: Vec<Value> = blocks::text(&message.text()).into_iter().collect();
                cache(message, &mut said);
                system.append(&mut said);
                continue;
            }
            ModelRole::User => ("user", user(message)?),
            ModelRole::Tool => ("user", results(message)?),
            ModelRole::Assistant => ("assistant", assistant(message, sends_reasoning)),
        };
        cache(message, &mut said);
        match turns.last_mut() {
            Some(turn) if turn.speaker == speaker => turn.said.append(&mut said),
            _ if said.is_empty() => {}
            _ => turns.push(Turn { speaker, said }),
        }
    }
    if let Some(turn) = turns.last_mut().filter(|turn| turn.speaker == "assistant") {
        turn.trim_end();
    }
    Ok((system, turns.into_iter().map(Turn::into_json).collect()))
}

/// What one side says until the other does.
struct Turn {
    speaker: &'static str,
    said: Vec<Value>,
}

impl Turn {
    /// The API refuses a last answer that ends in white space; it is what the model shall go on from.
    fn trim_end(&mut self) {
        if let Some(last) = self.said.last_mut().filter(|last| last["type"] == "text") {
            last["text"] = json!(last["text"].as_str().unwrap_or_default().trim_end());
        }
    }

    fn into_json(self) -> Value {
        let mut said = self.said;
        // A stable sort: results first, as the API demands, and else nothing moves.
        said.sort_by_key(|block| block["type"] != "tool_result");
        json!({ "role": self.speaker, "content": said })
    }
}

/// Puts a message's own cache mark on its last block that may have one: reasoning may not.
fn cache(message: &ModelMessage, said: &mut [Value]) {
    let mark = part_option(message.provider_options.as_ref(), NAME, "cacheControl");
    let last =
        said.iter_mut().rfind(|block| !["thinking", "redacted_thinking"].iter().any(|kind| block["type"] == *kind));
    if let (Some(mark), Some(last)) = (mark, last) {
        last["cache_control"] = mark.clone();
    }
}

fn user(message: &ModelMessage) -> Result<Vec<Value>, ModelError> {
    let mut said = Vec::new();
    for part in &message.content {
        match part {
            ContentPart::Text(part) => said.extend(blocks::marked(blocks::text(&part.text), &part.provider_options)),
            ContentPart::File(part) => {
                said.extend(blocks::marked(Some(blocks::file(part)?), &part.provider_options));
            }
            _ => {}
        }
    }
    Ok(said)
}

fn assistant(message: &ModelMessage, sends_reasoning: bool) -> Vec<Value> {
    let mut said = Vec::new();
    for part in &message.content {
        said.extend(match part {
            ContentPart::Text(part) => blocks::marked(blocks::text(&part.text), &part.provider_options),
            ContentPart::Reasoning(part) if sends_reasoning => blocks::reasoning(part),
            ContentPart::ToolCall(part) => blocks::marked(blocks::call(part), &part.provider_options),
            // Only the provider's own results stand in an answer.
            ContentPart::ToolResult(part) => blocks::provider_result(part),
            _ => None,
        });
    }
    said
}

fn results(message: &ModelMessage) -> Result<Vec<Value>, ModelError> {
    let mut said = Vec::new();
    for part in &message.content {
        // Approvals are between the person and the agent.
        if let ContentPart::ToolResult(part) = part {
            said.extend(blocks::marked(Some(blocks::result(part)?), &part.provider_options));
        }
    }
    Ok(said)
}

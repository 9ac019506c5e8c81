//! [`Facts`]: what a script can see of a call.

use turnkeep_model::Prompt;
use turnkeep_protocol::{ContentPart, ModelMessage, ModelRole, ToolResultOutput};

/// What a script can see of a call.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Facts {
    /// The text of the newest user message.
    pub(super) user: String,
    pub(super) system: String,
    /// Of the results in the newest message: their tools, their calls' ids, their texts.
    pub(super) result_tools: Vec<String>,
    pub(super) result_ids: Vec<String>,
    pub(super) results: Vec<String>,
    /// The tools on offer.
    pub(super) tools: Vec<String>,
    pub(super) chat: Option<String>,
    /// Which of the chat's runs asks, counted as the model meets them.
    pub(super) run: Option<usize>,
    pub(super) attempt: Option<u32>,
    /// User messages before the newest.
    pub(super) turn: usize,
    /// Model calls of the turn before this one.
    pub(super) step: usize,
}

impl Facts {
    /// Looks at a prompt; `run` counts the runs of its chat.
    pub(super) fn of(prompt: &Prompt, run: Option<usize>) -> Self {
        let n_users = prompt.messages.iter().filter(|message| message.role == ModelRole::User).count();
        let mut facts = Self {
            user: last_user_text(prompt),
            system: system_text(prompt),
            tools: prompt.tools.iter().map(|tool| tool.name.clone()).collect(),
            chat: prompt.origin.as_ref().map(|origin| origin.chat_id.clone()),
            run,
            attempt: prompt.origin.as_ref().map(|origin| origin.attempt),
            turn: n_users.saturating_sub(1),
            step: prompt.step,
            ..Self::default()
        };
        let newest = prompt.messages.last().filter(|message| message.role == ModelRole::Tool);
        for part in newest.into_iter().flat_map(|message| &message.content) {
            if let ContentPart::ToolResult(result) = part {
                facts.result_tools.push(result.tool_name.clone());
                facts.result_ids.push(result.tool_call_id.clone());
                facts.results.push(output_text(&result.output));
            }
        }
        facts
    }
}

/// Gives the text of the newest user message of a prompt.
pub fn last_user_text(prompt: &Prompt) -> String {
    let newest = prompt.messages.iter().rev().find(|message| message.role == ModelRole::User);
    newest.map(ModelMessage::text).unwrap_or_default()
}

/// Gives all that instructs the model: the prompt's own words, then system messages.
pub(super) fn system_text(prompt: &Prompt) -> String {
    let messages = prompt.messages.iter().filter(|message| message.role == ModelRole::System);
    let texts: Vec<String> = prompt.system.iter().cloned().chain(messages.map(ModelMessage::text)).collect();
    texts.join("\n")
}

pub(super) fn output_text(output: &ToolResultOutput) -> String {
    match output {
        ToolResultOutput::Text(text) | ToolResultOutput::ErrorText(text) => text.clone(),
        ToolResultOutput::Json(value) | ToolResultOutput::ErrorJson(value) => value.to_string(),
        ToolResultOutput::Other(object) => serde_json::Value::Object(object.clone()).to_string(),
    }
}

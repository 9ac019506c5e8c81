//! [`PromptAssert`]: what a test expects of a recorded prompt.

use serde_json::Value;
use turnkeep_model::Prompt;
use turnkeep_protocol::{ContentPart, ModelMessage};

use super::call::ModelCall;
use super::disagreement::{count, word_diff};
use super::facts::{last_user_text, output_text, system_text};

/// Checks a recorded prompt; each check panics with the call, what was wanted and what is there, and gives itself back.
#[derive(Debug, Clone)]
pub struct PromptAssert {
    call: ModelCall,
}

impl PromptAssert {
    pub(super) fn new(call: ModelCall) -> Self {
        Self { call }
    }

    /// Gives the prompt, for checks of one's own.
    #[must_use]
    pub fn prompt(&self) -> &Prompt {
        &self.call.prompt
    }

    /// Wants the newest user message to be this text.
    ///
    /// # Panics
    ///
    /// When it is another.
    #[track_caller]
    pub fn last_user_text(self, want: &str) -> Self {
        let found = last_user_text(&self.call.prompt);
        self.same_text("the newest user message", want, &found)
    }

    /// Wants the system prompt to be this text.
    ///
    /// # Panics
    ///
    /// When it is another.
    #[track_caller]
    pub fn system(self, want: &str) -> Self {
        let found = system_text(&self.call.prompt);
        self.same_text("the system prompt", want, &found)
    }

    /// Wants a tool to be offered.
    ///
    /// # Panics
    ///
    /// When it is not, with the tools that are.
    #[track_caller]
    pub fn has_tool(self, name: &str) -> Self {
        let offered: Vec<&str> = self.call.prompt.tools.iter().map(|tool| tool.name.as_str()).collect();
        assert!(offered.contains(&name), "{}: tool `{name}` is not offered; on offer: {offered:?}", self.call);
        self
    }

    /// Wants just these tools to be offered, in this order.
    ///
    /// # Panics
    ///
    /// When it is not so.
    #[track_caller]
    pub fn tools(self, want: &[&str]) -> Self {
        let offered: Vec<String> = self.call.prompt.tools.iter().map(|tool| tool.name.clone()).collect();
        assert!(want == offered, "{}: the tools on offer differ: wanted {want:?}, there are {offered:?}", self.call);
        self
    }

    /// Wants this text somewhere: in the system prompt, a message, a tool's input or its result.
    ///
    /// # Panics
    ///
    /// When it is nowhere, with the whole conversation.
    #[track_caller]
    pub fn contains(self, text: &str) -> Self {
        let all = transcript(&self.call.prompt);
        assert!(all.contains(text), "{}: {text:?} is nowhere in the prompt:\n{}", self.call, indent(&all));
        self
    }

    /// Wants this text nowhere.
    ///
    /// # Panics
    ///
    /// When it is there, with the line that has it.
    #[track_caller]
    pub fn lacks(self, text: &str) -> Self {
        let all = transcript(&self.call.prompt);
        let found = all.lines().find(|line| line.contains(text));
        assert!(found.is_none(), "{}: {text:?} is in the prompt: {}", self.call, found.unwrap_or_default());
        self
    }

    /// Wants so many messages.
    ///
    /// # Panics
    ///
    /// When there are more or fewer, with the whole conversation.
    #[track_caller]
    pub fn n_messages(self, want: usize) -> Self {
        let found = self.call.prompt.messages.len();
        let all = || indent(&transcript(&self.call.prompt));
        assert!(want == found, "{}: wanted {}, there are {found}:\n{}", self.call, count(want, "message"), all());
        self
    }

    /// Wants just these messages.
    ///
    /// # Panics
    ///
    /// When they are others: shows the first that differs.
    #[track_caller]
    pub fn messages(self, want: &[ModelMessage]) -> Self {
        let found = &self.call.prompt.messages;
        for (at, message) in found.iter().enumerate() {
            let wanted = want.get(at);
            if wanted != Some(message) {
                let (wanted, found) = (wanted.map(line).unwrap_or_default(), line(message));
                panic!("{}: message {at} differs: {}", self.call, word_diff(&wanted, &found));
            }
        }
        let missing = want.get(found.len()).map(line);
        assert!(
            missing.is_none(),
            "{}: message {} is missing: {}",
            self.call,
            found.len(),
            missing.unwrap_or_default()
        );
        self
    }

    /// Wants the conversation to read like this, one line a message: `user: Hi`, `assistant: calls forecast {"city":"Oslo"}`.
    ///
    /// # Panics
    ///
    /// When it reads otherwise: shows the first line that differs.
    #[track_caller]
    pub fn reads(self, want: &[&str]) -> Self {
        let found: Vec<String> = self.call.prompt.messages.iter().map(line).collect();
        let n_lines = want.len().max(found.len());
        for at in 0..n_lines {
            let (wanted, found) = (want.get(at).copied().unwrap_or_default(), found.get(at).map_or("", String::as_str));
            assert!(wanted == found, "{}: message {at} differs: {}", self.call, word_diff(wanted, found));
        }
        self
    }

    /// Wants a setting, such as `temperature`, to have this value.
    ///
    /// # Panics
    ///
    /// When it has not.
    #[track_caller]
    pub fn setting(self, name: &str, want: &Value) -> Self {
        let found = self.call.prompt.settings.get(name).cloned().unwrap_or_default();
        assert!(want == &found, "{}: setting `{name}` differs: wanted {want}, there is {found}", self.call);
        self
    }

    #[track_caller]
    fn same_text(self, what: &str, want: &str, found: &str) -> Self {
        assert!(want == found, "{}: {what} differs: {}", self.call, word_diff(want, found));
        self
    }
}

/// Writes a prompt as people read it, one line a message.
fn transcript(prompt: &Prompt) -> String {
    let system = prompt.system.iter().map(|system| format!("system: {system}"));
    system.chain(prompt.messages.iter().map(line)).collect::<Vec<_>>().join("\n")
}

fn line(message: &ModelMessage) -> String {
    let parts: Vec<String> = message.content.iter().map(said).collect();
    format!("{}: {}", message.role.as_str(), parts.join(" "))
}

fn said(part: &ContentPart) -> String {
    match part {
        ContentPart::Text(text) => text.text.clone(),
        ContentPart::Reasoning(reasoning) => format!("(thinks: {})", reasoning.text),
        ContentPart::File(file) => format!("(file {})", file.media_type),
        ContentPart::ToolCall(call) => {
            format!("calls {} {}", call.tool_name, call.input.clone().unwrap_or_default())
        }
        ContentPart::ToolResult(result) => format!("{} gives {}", result.tool_name, output_text(&result.output)),
        ContentPart::ApprovalRequest(request) => format!("asks for approval of {}", request.tool_call_id),
        ContentPart::ApprovalResponse(response) => {
            format!("{} {}", if response.approved { "approves" } else { "refuses" }, response.approval_id)
        }
        ContentPart::Unknown(object) => Value::Object(object.clone()).to_string(),
    }
}

fn indent(text: &str) -> String {
    text.lines().map(|line| format!("  {line}")).collect::<Vec<_>>().join("\n")
}

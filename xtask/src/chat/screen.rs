//! What a chunk looks like in a terminal: chunks in, text out.

use serde_json::Value;
use turnkeep_protocol::{UiMessage, UiMessageChunk, UiPart};

/// How much of a tool's input or output is shown, in characters.
const MAX_SHOWN: usize = 200;

const DIM: &str = "\x1b[2m";
const RED: &str = "\x1b[31m";
const PLAIN: &str = "\x1b[0m";

/// Writes one answer after the other.
#[derive(Debug, Default)]
pub(super) struct Screen {
    /// Whether colours may be used: on a terminal.
    pub(super) has_colours: bool,
    /// Whether the last thing written did not end its line.
    is_in_line: bool,
}

impl Screen {
    pub(super) fn new(has_colours: bool) -> Self {
        Self { has_colours, is_in_line: false }
    }

    /// Gives what is to be written for a chunk.
    pub(super) fn chunk(&mut self, chunk: &UiMessageChunk) -> String {
        match chunk {
            UiMessageChunk::TextStart(_) | UiMessageChunk::ReasoningStart(_) => self.end_line(),
            UiMessageChunk::TextDelta(delta) => self.goes_on(delta.delta.clone(), &delta.delta),
            UiMessageChunk::ReasoningDelta(delta) => self.goes_on(self.in_colour(DIM, &delta.delta), &delta.delta),
            UiMessageChunk::ToolInputAvailable(call) => {
                self.line(DIM, &format!("[{}] {}", call.tool_name, shown(call.input.as_ref())))
            }
            UiMessageChunk::ToolInputError(call) => {
                self.line(RED, &format!("[{}] was called wrongly: {}", call.tool_name, call.error_text))
            }
            UiMessageChunk::ToolOutputAvailable(call) => {
                self.line(DIM, &format!("  = {}", shown(call.output.as_ref())))
            }
            UiMessageChunk::ToolOutputError(call) => self.line(RED, &format!("  failed: {}", call.error_text)),
            UiMessageChunk::ToolOutputDenied(_) => self.line(RED, "  was not allowed"),
            UiMessageChunk::ToolApprovalRequest(_) => {
                self.line(RED, "  waits for a person's consent, which this program cannot give")
            }
            UiMessageChunk::SourceUrl(source) => self.line(DIM, &format!("  source: {}", source.url)),
            UiMessageChunk::Error(error) => self.line(RED, &format!("error: {}", error.error_text)),
            UiMessageChunk::Abort(abort) => {
                self.line(DIM, &format!("[{}]", abort.reason.as_deref().unwrap_or("stopped")))
            }
            UiMessageChunk::Finish(_) => self.end_line(),
            _ => String::new(),
        }
    }

    /// Gives what is to be written for a message of an earlier life.
    pub(super) fn message(&mut self, message: &UiMessage) -> String {
        let who = if message.is_user() { "> " } else { "" };
        let mut text = self.end_line();
        for part in &message.parts {
            match part {
                UiPart::Text(part) if !part.text.is_empty() => text += &format!("{who}{}\n", part.text),
                _ => {
                    if let Some(call) = part.as_tool() {
                        text += &format!("{}\n", self.in_colour(DIM, &format!("[{}] {}", call.tool_name, call.state)));
                    }
                }
            }
        }
        text
    }

    /// Gives a line of its own about the chat.
    pub(super) fn note(&mut self, text: &str) -> String {
        self.line(DIM, text)
    }

    /// Gives what ends the line that is open, if one is.
    pub(super) fn end_line(&mut self) -> String {
        if std::mem::take(&mut self.is_in_line) { "\n".to_owned() } else { String::new() }
    }

    fn goes_on(&mut self, written: String, text: &str) -> String {
        if !text.is_empty() {
            self.is_in_line = !text.ends_with('\n');
        }
        written
    }

    fn line(&mut self, colour: &str, text: &str) -> String {
        let end = self.end_line();
        format!("{end}{}\n", self.in_colour(colour, text))
    }

    fn in_colour(&self, colour: &str, text: &str) -> String {
        if self.has_colours { format!("{colour}{text}{PLAIN}") } else { text.to_owned() }
    }
}

/// Gives the beginning of a value's JSON.
fn shown(value: Option<&Value>) -> String {
    let text = value.map(Value::to_string).unwrap_or_default();
    match text.char_indices().nth(MAX_SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn written(has_colours: bool, chunks: &[Value]) -> String {
        let mut screen = Screen::new(has_colours);
        chunks.iter().map(|chunk| screen.chunk(&UiMessageChunk::from_value(chunk.clone()).unwrap())).collect()
    }

    fn delta(text: &str) -> Value {
        json!({ "type": "text-delta", "id": "t", "delta": text })
    }

    #[test]
    fn an_answer_is_written_as_it_comes_and_ends_its_line_once() {
        let (start, end) = (json!({ "type": "text-start", "id": "t" }), json!({ "type": "finish" }));

        assert_eq!(written(true, &[start.clone(), delta("Hel"), delta(""), delta("lo"), end.clone()]), "Hello\n");
        assert_eq!(written(true, &[delta("Hello\n"), end.clone()]), "Hello\n");
        assert_eq!(written(true, &[delta("a"), start, delta("b"), end]), "a\nb\n");
        assert_eq!(written(true, &[json!({ "type": "data-x", "data": 1 }), json!({ "type": "later" })]), "");
    }

    #[test]
    fn tools_have_lines_of_their_own_and_long_ones_are_cut() {
        let call = |input: Value| json!({ "type": "tool-input-available", "toolCallId": "c", "toolName": "find", "input": input });
        let output = json!({ "type": "tool-output-available", "toolCallId": "c", "output": { "n": 1 } });

        assert_eq!(
            written(false, &[delta("Let me see"), call(json!({ "q": "é" })), output]),
            "Let me see\n[find] {\"q\":\"é\"}\n  = {\"n\":1}\n"
        );
        let long = written(false, &[call(json!("é".repeat(500)))]);
        assert_eq!(long, format!("[find] \"{}…\n", "é".repeat(MAX_SHOWN - 1)));
        let failed = json!({ "type": "tool-output-error", "toolCallId": "c", "errorText": "no such page" });
        assert_eq!(written(true, &[failed]), "\x1b[31m  failed: no such page\x1b[0m\n");
    }

    #[test]
    fn what_went_wrong_is_said_and_nothing_is_coloured_where_no_person_looks() {
        let error = json!({ "type": "error", "errorText": "boom" });
        let abort = json!({ "type": "abort", "reason": "enough" });
        let reasoning = json!({ "type": "reasoning-delta", "id": "r", "delta": "hm" });

        assert_eq!(
            written(false, &[reasoning.clone(), error, delta("Once"), abort]),
            "hm\nerror: boom\nOnce\n[enough]\n"
        );
        assert_eq!(written(true, &[reasoning]), "\x1b[2mhm\x1b[0m");
    }
}

//! One answer of an agent as text for an assistant: what it said, and which tools it used (C-227).

use turnkeep_protocol::UiMessageChunk;

/// How much of a tool's input or output is shown, in characters (C-227).
const MAX_TOOL_CHARS: usize = 200;

/// How many parts of an answer are shown.
const MAX_SECTIONS: usize = 400;

/// Stands for what was cut.
const ELLIPSIS: char = '…';

/// Collects the chunks of one turn.
#[derive(Debug)]
pub(crate) struct Answer {
    sections: Vec<Section>,
    /// Where the step under way began, for a step that starts anew (D-25).
    step: usize,
    n_chars: usize,
    max_chars: usize,
    is_cut: bool,
    failure: Option<String>,
}

#[derive(Debug)]
enum Section {
    Text { id: String, text: String },
    Tool { call: String, name: String, input: String, output: Option<String> },
}

impl Answer {
    /// Keeps at most `max_chars` characters of text.
    pub(crate) fn new(max_chars: usize) -> Self {
        Self { sections: Vec::new(), step: 0, n_chars: 0, max_chars, is_cut: false, failure: None }
    }

    /// Takes a chunk in; gives what is new to show of it.
    pub(crate) fn add(&mut self, chunk: &UiMessageChunk) -> Option<String> {
        match chunk {
            UiMessageChunk::StartStep(_) => self.step = self.sections.len(),
            UiMessageChunk::ResetStep(_) => self.reset_step(),
            UiMessageChunk::TextStart(start) => self.open_text(&start.id),
            UiMessageChunk::TextDelta(delta) => return self.add_text(&delta.id, &delta.delta),
            UiMessageChunk::ToolInputAvailable(call) => {
                let input = shown(&call.input.clone().unwrap_or_default().to_string());
                let news = format!("[Tool: {}]", call.tool_name);
                self.add_call(call.tool_call_id.clone(), call.tool_name.clone(), input);
                return Some(news);
            }
            UiMessageChunk::ToolOutputAvailable(result) => {
                let output = shown(&result.output.clone().unwrap_or_default().to_string());
                self.add_output(&result.tool_call_id, output);
            }
            UiMessageChunk::ToolOutputError(failed) => {
                self.add_output(&failed.tool_call_id, shown(&format!("error: {}", failed.error_text)));
            }
            UiMessageChunk::ToolOutputDenied(denied) => self.add_output(&denied.tool_call_id, "denied".to_owned()),
            UiMessageChunk::Error(error) => self.failure = Some(error.error_text.clone()),
            _ => {}
        }
        None
    }

    /// Drops everything: it answered an earlier message (C-82).
    pub(crate) fn clear(&mut self) {
        *self = Self::new(self.max_chars);
    }

    /// Gives what the agent said went wrong.
    pub(crate) fn failure(&self) -> Option<&str> {
        self.failure.as_deref()
    }

    /// Writes the sections, joined by blank lines.
    pub(crate) fn render(&self) -> String {
        let sections = self.sections.iter().map(Section::render).filter(|section| !section.is_empty());
        let cut =
            self.is_cut.then(|| format!("[the answer is longer and was cut here: {} characters]", self.max_chars));
        sections.chain(cut).collect::<Vec<_>>().join("\n\n")
    }

    fn reset_step(&mut self) {
        for section in self.sections.drain(self.step..) {
            if let Section::Text { text, .. } = section {
                self.n_chars -= text.chars().count();
            }
        }
    }

    fn open_text(&mut self, id: &str) {
        if self.has_room() {
            self.sections.push(Section::Text { id: id.to_owned(), text: String::new() });
        }
    }

    fn add_text(&mut self, part: &str, delta: &str) -> Option<String> {
        let room = self.max_chars - self.n_chars;
        let kept: String = delta.chars().take(room).collect();
        self.is_cut |= kept.len() < delta.len();
        // A part id may come again in a later step: the newest part of that id is the open one.
        let is_open = |section: &Section| matches!(section, Section::Text { id, .. } if id == part);
        let at = match self.sections.iter().rposition(is_open) {
            Some(at) => at,
            None => {
                if !self.has_room() {
                    return None;
                }
                self.sections.push(Section::Text { id: part.to_owned(), text: String::new() });
                self.sections.len() - 1
            }
        };
        if let Section::Text { text, .. } = &mut self.sections[at] {
            text.push_str(&kept);
        }
        self.n_chars += kept.chars().count();
        (!kept.is_empty()).then_some(kept)
    }

    fn add_call(&mut self, call: String, name: String, input: String) {
        if self.has_room() {
            self.sections.push(Section::Tool { call, name, input, output: None });
        }
    }

    fn add_output(&mut self, of: &str, shown: String) {
        let of_call = self.sections.iter_mut().rev().find_map(|section| match section {
            Section::Tool { call, output, .. } if call == of => Some(output),
            _ => None,
        });
        if let Some(output) = of_call {
            *output = Some(shown);
        }
    }

    fn has_room(&mut self) -> bool {
        self.is_cut |= self.sections.len() >= MAX_SECTIONS;
        self.sections.len() < MAX_SECTIONS
    }
}

impl Section {
    fn render(&self) -> String {
        match self {
            Self::Text { text, .. } => text.clone(),
            Self::Tool { name, input, output, .. } => {
                let output = output.as_ref().map(|output| format!("\nOutput: {output}")).unwrap_or_default();
                format!("[Tool: {name}]\nInput: {input}{output}")
            }
        }
    }
}

/// Cuts what a tool was given or gave (C-227).
fn shown(text: &str) -> String {
    match text.char_indices().nth(MAX_TOOL_CHARS) {
        Some((at, _)) => format!("{}{ELLIPSIS}", &text[..at]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests;

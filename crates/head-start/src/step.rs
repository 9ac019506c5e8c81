//! [`Step`]: the first step, from the model's parts to chunks and to what is handed over. One step, by construction (C-181).

use serde_json::Value;
use turnkeep_model::{ChunkMapper, FinishReason, GenerationEvent, ModelError, StreamPart, UiStreamOptions, Usage};
use turnkeep_protocol::UiMessageChunk;

use crate::error::Error;
use crate::handover::StepResult;
use crate::partial::Partial;

/// The reason of the `abort` chunk that ends a step which was cut.
const CUT: &str = "interrupted";

/// A step under way.
#[derive(Debug)]
pub(crate) struct Step {
    mapper: ChunkMapper,
    partial: Partial,
}

/// How a step ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum StepEnd {
    /// The model said why it stopped.
    Finished(FinishReason),
    /// It failed before it did.
    Failed(String),
    /// The browser is gone or the time is up.
    Cut,
}

impl Step {
    /// Makes the step that speaks as message `message_id` (C-187).
    pub(crate) fn new(message_id: &str, options: UiStreamOptions) -> Self {
        Self { mapper: ChunkMapper::new(message_id, options), partial: Partial::default() }
    }

    /// Gives the chunks before the model's first word.
    pub(crate) fn begin(&self) -> Vec<UiMessageChunk> {
        let mut chunks = self.mapper.map(GenerationEvent::Start);
        chunks.extend(self.mapper.map(GenerationEvent::StartStep));
        chunks
    }

    /// Takes what the model yields, none when its stream ends; gives the chunks for the page, and the step's end.
    pub(crate) fn on_part(&mut self, part: Option<StreamPart>) -> (Vec<UiMessageChunk>, Option<StepEnd>) {
        let part = part.unwrap_or_else(|| StreamPart::Error(ModelError::unavailable("the model's answer broke off")));
        match part {
            StreamPart::Finish { finish_reason, usage } => {
                (self.finish(finish_reason, usage), Some(StepEnd::Finished(finish_reason)))
            }
            StreamPart::Error(error) => {
                let message = error.to_string();
                (self.mapper.map_stream_part(StreamPart::Error(error)), Some(StepEnd::Failed(message)))
            }
            part => {
                self.partial.add(&part);
                (self.mapper.map_stream_part(part), None)
            }
        }
    }

    /// The message goes on after a step that waits for tools: the agent says when it is finished.
    fn finish(&self, finish_reason: FinishReason, usage: Usage) -> Vec<UiMessageChunk> {
        let mut chunks = self.mapper.map(GenerationEvent::FinishStep { finish_reason, usage });
        if finish_reason != FinishReason::ToolCalls {
            chunks.extend(self.mapper.map(GenerationEvent::Finish { finish_reason, total_usage: usage }));
        }
        chunks
    }

    /// Gives the chunks that end a step which is cut.
    pub(crate) fn cut(&self) -> Vec<UiMessageChunk> {
        self.mapper.map(GenerationEvent::Abort { reason: Some(CUT.to_owned()) })
    }

    /// Gives what is handed over.
    ///
    /// # Errors
    ///
    /// A step without a finish reason is not handed over.
    pub(crate) fn into_result(self, end: StepEnd) -> Result<StepResult, Error> {
        match end {
            StepEnd::Finished(finish_reason) => {
                Ok(StepResult { finish_reason, messages: self.partial.into_messages() })
            }
            StepEnd::Failed(message) => Err(Error::Step { message }),
            StepEnd::Cut => Err(Error::Cut),
        }
    }
}

/// Writes a chunk as its frame: one `data:` line and a blank line (C-185).
pub(crate) fn frame(chunk: &Value) -> String {
    format!("data: {chunk}\n\n")
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use turnkeep_protocol::ModelMessage;

    use super::*;

    fn run(parts: Vec<Option<StreamPart>>) -> (Vec<Value>, Result<StepResult, Error>) {
        let mut step = Step::new("m1", UiStreamOptions::new());
        let mut chunks = step.begin();
        for part in parts {
            let (more, end) = step.on_part(part);
            chunks.extend(more);
            if let Some(end) = end {
                return (chunks.iter().map(|chunk| json!(chunk)).collect(), step.into_result(end));
            }
        }
        chunks.extend(step.cut());
        (chunks.iter().map(|chunk| json!(chunk)).collect(), step.into_result(StepEnd::Cut))
    }

    fn kinds(chunks: &[Value]) -> Vec<&str> {
        chunks.iter().map(|chunk| chunk["type"].as_str().unwrap()).collect()
    }

    #[test]
    fn a_step_that_says_all_it_wanted_is_a_whole_message_c187_a222() {
        let said = [StreamPart::text_start("1"), StreamPart::text_delta("1", "Hi"), StreamPart::text_end("1")];
        let parts = said.into_iter().chain([StreamPart::finish(FinishReason::Stop, Usage::default())]);

        let (chunks, result) = run(parts.map(Some).collect());

        let want = ["start", "start-step", "text-start", "text-delta", "text-end", "finish-step", "finish"];
        assert_eq!(kinds(&chunks), want);
        assert_eq!(chunks[0]["messageId"], json!("m1"));
        let message = ModelMessage::assistant(vec![turnkeep_protocol::ContentPart::text("Hi")]);
        assert_eq!(result.unwrap(), StepResult { finish_reason: FinishReason::Stop, messages: vec![message] });
    }

    #[test]
    fn a_step_that_waits_for_tools_leaves_the_message_open() {
        let call = StreamPart::tool_call("t1", "forecast", json!({}));
        let (chunks, result) =
            run(vec![Some(call), Some(StreamPart::finish(FinishReason::ToolCalls, Usage::default()))]);

        assert_eq!(kinds(&chunks), ["start", "start-step", "tool-input-available", "finish-step"]);
        assert_eq!(result.unwrap().messages.len(), 1);
    }

    #[test]
    fn a_model_that_fails_or_breaks_off_says_so_and_hands_nothing_over_a222() {
        for (part, text) in [
            (Some(StreamPart::Error(ModelError::unavailable("out of order"))), "out of order"),
            (None, "the model's answer broke off"),
        ] {
            let (chunks, result) = run(vec![Some(StreamPart::text_start("1")), part]);

            assert_eq!(chunks.last(), Some(&json!({ "type": "error", "errorText": text })));
            assert!(matches!(result, Err(Error::Step { message }) if message == text));
        }
    }

    #[test]
    fn a_step_that_is_cut_ends_with_an_abort_c195() {
        let (chunks, result) = run(vec![Some(StreamPart::text_start("1"))]);

        assert_eq!(chunks.last(), Some(&json!({ "type": "abort", "reason": "interrupted" })));
        assert!(matches!(result, Err(Error::Cut)));
    }

    #[test]
    fn a_frame_is_one_data_line_and_a_blank_line_c185() {
        assert_eq!(frame(&json!({ "type": "finish" })), "data: {\"type\":\"finish\"}\n\n");
    }
}

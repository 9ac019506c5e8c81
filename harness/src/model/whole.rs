//! [`WholeAnswer`]: an answer that does not stream.

use futures::StreamExt as _;
use turnkeep_model::{FinishReason, ModelError, StreamPart, StreamParts, ToolCall, Usage};

/// What a stream of parts came to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct WholeAnswer {
    /// Its text.
    pub text: String,
    /// Its reasoning.
    pub reasoning: String,
    /// Its calls.
    pub tool_calls: Vec<ToolCall>,
    /// Why it ended; none when it was cut.
    pub finish_reason: Option<FinishReason>,
    /// What it cost.
    pub usage: Usage,
    /// Everything as it came.
    pub parts: Vec<StreamPart>,
}

impl WholeAnswer {
    /// Waits for the end of a stream and joins its parts.
    ///
    /// # Errors
    ///
    /// Gives the failure that the stream ended with.
    pub async fn of(mut parts: StreamParts) -> Result<Self, ModelError> {
        let mut whole = Self::default();
        while let Some(part) = parts.next().await {
            match &part {
                StreamPart::TextDelta { delta, .. } => whole.text.push_str(delta),
                StreamPart::ReasoningDelta { delta, .. } => whole.reasoning.push_str(delta),
                StreamPart::ToolCall(call) => whole.tool_calls.push(call.clone()),
                StreamPart::Finish { finish_reason, usage } => {
                    (whole.finish_reason, whole.usage) = (Some(*finish_reason), *usage);
                }
                StreamPart::Error(error) => return Err(error.clone()),
                _ => {}
            }
            whole.parts.push(part);
        }
        Ok(whole)
    }
}

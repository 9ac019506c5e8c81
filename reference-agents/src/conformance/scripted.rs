//! [`Scripted`]: a model whose every step is a function of its prompt, spread in time.

use std::time::Duration;

use futures::StreamExt as _;
use futures::future::BoxFuture;
use futures::stream;
use turnkeep_agent::model::{FinishReason, LanguageModel, ModelError, Prompt, StreamPart, StreamParts, Usage};
use turnkeep_agent::protocol::{ContentPart, ModelRole, ToolResultOutput};

/// Names the one text of a step.
const TEXT_ID: &str = "text-0";

/// Gives the parts of one step, all but its end.
type Script = Box<dyn Fn(&Prompt) -> Vec<StreamPart> + Send + Sync>;

/// A model of our own: it reads the prompt and knows at once what to say, but takes its time to say it.
pub struct Scripted {
    parts: Script,
    silence: Duration,
    pace: Duration,
}

impl Scripted {
    /// Makes a model that streams these parts and then ends its step.
    pub fn new(parts: impl Fn(&Prompt) -> Vec<StreamPart> + Send + Sync + 'static) -> Self {
        Self { parts: Box::new(parts), silence: Duration::ZERO, pace: Duration::ZERO }
    }

    /// Makes a model that says a text, a delta for each word.
    pub fn saying(text: impl Fn(&Prompt) -> String + Send + Sync + 'static) -> Self {
        Self::new(move |prompt| words(&text(prompt)))
    }

    /// Pauses before each delta.
    #[must_use]
    pub fn pace(self, pace: Duration) -> Self {
        Self { pace, ..self }
    }

    /// Keeps silent before it says anything.
    #[must_use]
    pub fn silence(self, silence: Duration) -> Self {
        Self { silence, ..self }
    }
}

impl LanguageModel for Scripted {
    fn model_id(&self) -> &str {
        "scripted"
    }

    fn stream(&self, prompt: Prompt) -> BoxFuture<'static, Result<StreamParts, ModelError>> {
        let mut parts = (self.parts)(&prompt);
        let calls = parts.iter().any(|part| matches!(part, StreamPart::ToolCall(_)));
        let reason = if calls { FinishReason::ToolCalls } else { FinishReason::Stop };
        parts.push(StreamPart::finish(reason, Usage::default()));
        let (silence, pace) = (self.silence, self.pace);
        Box::pin(async move {
            if !silence.is_zero() {
                tokio::time::sleep(silence).await;
            }
            let paced = stream::iter(parts).then(move |part| async move {
                if matches!(part, StreamPart::TextDelta { .. }) {
                    tokio::time::sleep(pace).await;
                }
                part
            });
            Ok(paced.boxed())
        })
    }
}

/// Gives a text as deltas: the first word bare, every later one with the space before it.
pub(crate) fn words(text: &str) -> Vec<StreamPart> {
    let deltas =
        text.split(' ').enumerate().map(|(at, word)| if at == 0 { word.to_owned() } else { format!(" {word}") });
    text_of(deltas)
}

/// Gives a text as these deltas.
pub(crate) fn text_of(deltas: impl IntoIterator<Item = String>) -> Vec<StreamPart> {
    let mut parts = vec![StreamPart::text_start(TEXT_ID)];
    parts.extend(deltas.into_iter().map(|delta| StreamPart::text_delta(TEXT_ID, delta)));
    parts.push(StreamPart::text_end(TEXT_ID));
    parts
}

/// Gives the text of the newest user message.
pub(crate) fn newest_question(prompt: &Prompt) -> String {
    let newest = prompt.messages.iter().rev().find(|message| message.role == ModelRole::User);
    newest.map(|message| message.text()).unwrap_or_default()
}

/// Gives the result of a tool when that is the newest there is to read.
pub(crate) fn newest_result(prompt: &Prompt) -> Option<ToolResultOutput> {
    let newest = prompt.messages.last().filter(|message| message.role == ModelRole::Tool)?;
    newest.content.iter().rev().find_map(|part| match part {
        ContentPart::ToolResult(result) => Some(result.output.clone()),
        _ => None,
    })
}

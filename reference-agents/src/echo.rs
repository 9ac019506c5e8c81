//! Says what it is told, word by word. It brings its own model: the smallest [`LanguageModel`] there is.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use futures::future::BoxFuture;
use futures::stream;
use turnkeep_agent::model::{FinishReason, LanguageModel, ModelError, Prompt, StreamPart, StreamParts, Usage};
use turnkeep_agent::protocol::ModelRole;
use turnkeep_agent::{Agent, TurnInput};

/// The pause before each word.
const PACE: Duration = Duration::from_millis(20);

/// Makes the agent.
pub fn agent() -> Agent {
    Agent::new("echo", |turn: TurnInput| async move { Ok(turn.stream_text().model(Arc::new(Parrot))) })
}

/// A model that repeats the newest user message.
struct Parrot;

impl LanguageModel for Parrot {
    fn model_id(&self) -> &str {
        "parrot"
    }

    fn stream(&self, prompt: Prompt) -> BoxFuture<'static, Result<StreamParts, ModelError>> {
        let newest = prompt.messages.iter().rev().find(|message| message.role == ModelRole::User);
        let text = format!("echo: {}", newest.map(|message| message.text()).unwrap_or_default());
        Box::pin(async move { Ok(speak(&text)) })
    }
}

/// Streams a text word by word; each word after the first brings its space along.
fn speak(text: &str) -> StreamParts {
    let mut parts = vec![StreamPart::text_start("text-0")];
    for (at, word) in text.split(' ').enumerate() {
        let delta = if at == 0 { word.to_owned() } else { format!(" {word}") };
        parts.push(StreamPart::text_delta("text-0", delta));
    }
    parts.push(StreamPart::text_end("text-0"));
    parts.push(StreamPart::finish(FinishReason::Stop, Usage::default()));
    stream::iter(parts)
        .then(|part| async move {
            if matches!(part, StreamPart::TextDelta { .. }) {
                tokio::time::sleep(PACE).await;
            }
            part
        })
        .boxed()
}

#[cfg(test)]
mod tests {
    use turnkeep_harness::MockChatAgent;
    use turnkeep_harness::model::MockLanguageModel;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn repeats_what_it_is_told_word_by_word() {
        let mut chat = MockChatAgent::start(agent(), &MockLanguageModel::new()).await;

        let turn = chat.send("hello there").await;

        assert_eq!(turn.text(), "echo: hello there");
        assert_eq!(turn.deltas(), ["echo:", " hello", " there"]);
        chat.finish().await;
    }
}

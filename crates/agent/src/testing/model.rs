//! A model that says what it is told.

use std::sync::Arc;

use futures::future::BoxFuture;
use futures::stream;
use futures::{FutureExt, StreamExt};
use serde_json::Value;
use turnkeep_model::{FinishReason, LanguageModel, ModelError, Prompt, StreamPart, StreamParts, Usage};

/// A model that answers by a function of the prompt.
pub(crate) struct FakeModel(Box<Script>);

type Script = dyn Fn(&Prompt) -> Vec<Said> + Send + Sync;

/// What a [`FakeModel`] yields.
#[derive(Clone)]
pub(crate) enum Said {
    Part(Box<StreamPart>),
    /// The answer never goes on.
    Silence,
    /// The call does not begin.
    Refusal(ModelError),
}

impl FakeModel {
    pub(crate) fn new(says: impl Fn(&Prompt) -> Vec<Said> + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self(Box::new(says)))
    }

    /// Answers `re TEXT` to the last user message.
    pub(crate) fn echo() -> Arc<Self> {
        Self::new(|prompt| {
            let asked = prompt.messages.iter().rev().find(|message| message.role.as_str() == "user");
            says(&format!("re {}", asked.map(|message| message.text()).unwrap_or_default()))
        })
    }
}

impl LanguageModel for FakeModel {
    fn model_id(&self) -> &str {
        "fake"
    }

    fn stream(&self, prompt: Prompt) -> BoxFuture<'static, Result<StreamParts, ModelError>> {
        let said = (self.0)(&prompt);
        if let Some(Said::Refusal(error)) = said.first() {
            let error = error.clone();
            return async { Err(error) }.boxed();
        }
        let parts = stream::iter(said).then(|said| async {
            match said {
                Said::Part(part) => *part,
                _ => futures::future::pending().await,
            }
        });
        async { Ok(parts.boxed()) }.boxed()
    }
}

/// A stream part.
pub(crate) fn part(part: StreamPart) -> Said {
    Said::Part(Box::new(part))
}

/// One text and the end of the step.
pub(crate) fn says(text: &str) -> Vec<Said> {
    let mut said = begins(text);
    said.extend([part(StreamPart::text_end("t")), ends(FinishReason::Stop)]);
    said
}

/// A text that is not ended.
pub(crate) fn begins(text: &str) -> Vec<Said> {
    vec![part(StreamPart::text_start("t")), part(StreamPart::text_delta("t", text))]
}

/// A tool call and the end of the step.
pub(crate) fn calls(id: &str, tool: &str, input: Value) -> Vec<Said> {
    vec![part(StreamPart::tool_call(id, tool, input)), ends(FinishReason::ToolCalls)]
}

pub(crate) fn ends(reason: FinishReason) -> Said {
    part(StreamPart::finish(reason, Usage::new(1, 2)))
}

//! Agents that say what the newest message makes them say: `slow`, `think`, `slow-boot`, `meta`, `validate`, `parts`, `idle`, `closer`.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use futures::future::BoxFuture;
use serde_json::{Value, json};
use turnkeep_agent::model::{LanguageModel, ModelError, Prompt, StreamPart, StreamParts, UiStreamOptions};
use turnkeep_agent::protocol::session_api::CloseSession;
use turnkeep_agent::protocol::{UiMessage, UiMessageChunk};
use turnkeep_agent::{Agent, Boot, ChunkWriter, TurnInput, TurnStart, ValidateMessages};

use super::SessionServer;
use super::scripted::{Scripted, newest_question, text_of, words};
use crate::echo::parrot;

/// The most words that anybody may ask `slow` for.
const MOST_WORDS: usize = 10_000;

/// Makes an agent that streams what the model says.
pub(super) fn with_model(id: &str, model: Scripted) -> Agent {
    let model: Arc<dyn LanguageModel> = Arc::new(model);
    Agent::new(id, move |turn: TurnInput| {
        let model = model.clone();
        async move { Ok(turn.stream_text().model(model)) }
    })
}

pub(super) fn slow() -> Agent {
    let counting = Scripted::saying(|prompt| {
        let n_words = asked_words(&newest_question(prompt)).unwrap_or(100).min(MOST_WORDS);
        (0..n_words).map(|at| format!("w{at}")).collect::<Vec<_>>().join(" ")
    });
    with_model("slow", counting.pace(Duration::from_millis(50)))
}

/// Reads `words=N`.
fn asked_words(text: &str) -> Option<usize> {
    let (_, after) = text.split_once("words=")?;
    let digits = after.split(|letter: char| !letter.is_ascii_digit()).next()?;
    digits.parse().ok()
}

pub(super) fn think() -> Agent {
    with_model("think", parrot().silence(Duration::from_millis(2500)))
}

pub(super) fn slow_boot() -> Agent {
    with_model("slow-boot", parrot()).on_boot(|_: Boot| async {
        tokio::time::sleep(Duration::from_millis(700)).await;
        Ok(())
    })
}

pub(super) fn meta() -> Agent {
    Agent::new("meta", |turn: TurnInput| async move {
        let text = format!("meta: {}", sorted(turn.client_data.clone()));
        Ok(turn.stream_text().model(Arc::new(Scripted::new(move |_| text_of([text.clone()])))))
    })
}

/// Sorts the keys of every object.
fn sorted(value: Value) -> Value {
    match value {
        Value::Object(object) => {
            let mut pairs: Vec<_> = object.into_iter().map(|(key, value)| (key, sorted(value))).collect();
            pairs.sort_by(|(left, _), (right, _)| left.cmp(right));
            Value::Object(pairs.into_iter().collect())
        }
        Value::Array(values) => values.into_iter().map(sorted).collect(),
        plain => plain,
    }
}

pub(super) fn validate() -> Agent {
    with_model("validate", parrot()).on_validate_messages(|event: ValidateMessages| async move {
        if event.messages.iter().any(|message| message.is_user() && message.text().contains("blocked-word")) {
            return Err("rejected by the content filter".into());
        }
        Ok(event.messages)
    })
}

pub(super) fn idle() -> Agent {
    with_model("idle", parrot()).idle_timeout(Duration::from_secs(1))
}

pub(super) fn closer(server: SessionServer) -> Agent {
    with_model("closer", parrot()).on_turn_start(move |event: TurnStart| {
        let server = server.clone();
        async move {
            if event.ui_messages.last().is_some_and(|message: &UiMessage| message.text().contains("goodbye")) {
                let close = CloseSession { reason: Some("agent said so".to_owned()) };
                server.sessions(event.chat.host()).close(event.chat.id(), &close).await?;
            }
            Ok(())
        }
    })
}

pub(super) fn parts() -> Agent {
    Agent::new("parts", |turn: TurnInput| async move {
        let model = Arc::new(Showing { writer: turn.writer.clone() });
        Ok(turn.stream_text().model(model).ui_options(UiStreamOptions::new().send_sources(true)))
    })
}

/// A model that shows one piece of every kind, with data parts between them.
struct Showing {
    writer: ChunkWriter,
}

/// What is shown: a part of the model's stream, or a data part beside it.
enum Shown {
    Part(Box<StreamPart>),
    Progress(u8),
}

impl Shown {
    fn part(part: StreamPart) -> Self {
        Self::Part(Box::new(part))
    }
}

impl LanguageModel for Showing {
    fn model_id(&self) -> &str {
        "showing"
    }

    fn stream(&self, prompt: Prompt) -> BoxFuture<'static, Result<StreamParts, ModelError>> {
        let script = Scripted::new(|_| words("all parts")).stream(prompt);
        let writer = self.writer.clone();
        Box::pin(async move {
            let text = script.await?.map(Shown::part);
            let shown = futures::stream::iter(opening()).chain(text);
            let told = shown.filter_map(move |shown| {
                let writer = writer.clone();
                async move {
                    match shown {
                        Shown::Part(part) => Some(*part),
                        Shown::Progress(pct) => {
                            let chunk = UiMessageChunk::data("progress", Some("p"), json!({ "pct": pct }));
                            // A run that cannot write any more is ended by its next own write.
                            writer
                                .write(chunk)
                                .await
                                .err()
                                .map(|error| StreamPart::Error(ModelError::refused(error.to_string())))
                        }
                    }
                }
            });
            Ok(told.boxed())
        })
    }
}

fn opening() -> Vec<Shown> {
    let reasoning = |delta: &str| StreamPart::ReasoningDelta {
        id: "reasoning-0".to_owned(),
        delta: delta.to_owned(),
        provider_metadata: None,
    };
    vec![
        // Opens the step, so that what follows is inside it.
        Shown::part(StreamPart::StreamStart),
        Shown::Progress(50),
        Shown::part(StreamPart::ReasoningStart { id: "reasoning-0".to_owned(), provider_metadata: None }),
        Shown::part(reasoning("thinking ")),
        Shown::part(reasoning("hard")),
        Shown::part(StreamPart::ReasoningEnd { id: "reasoning-0".to_owned(), provider_metadata: None }),
        Shown::part(StreamPart::SourceUrl {
            id: "source-0".to_owned(),
            url: "https://example.com/".to_owned(),
            title: Some("Example".to_owned()),
            provider_metadata: None,
        }),
        Shown::Progress(100),
    ]
}

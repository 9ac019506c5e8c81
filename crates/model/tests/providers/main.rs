//! The adapters over real sockets: what they send, how they fail, and what they leave behind.

mod connections;
mod requests;
mod shared;

use std::sync::Arc;

use futures::StreamExt;
use turnkeep_host::Host;
use turnkeep_model::{LanguageModel, ModelError, Prompt, Provider, RealCalls, StreamPart};
use turnkeep_protocol::ModelMessage;

const OPENAI_TEXT: &str = include_str!("../streams/openai/text.sse");
const ANTHROPIC_TEXT: &str = include_str!("../streams/anthropic/text.sse");

/// Makes the provider of each API at `base`; these servers are the test's own, so calls to them are allowed.
fn providers(base: &str) -> [Provider; 2] {
    [Provider::openai(Host::os(), "key"), Provider::anthropic(Host::os(), "key")]
        .map(|provider| provider.base_url(base.parse().expect("a base")).real_calls(RealCalls::Allowed))
}

/// Makes one provider whose model is called `m`.
fn openai(base: &str) -> Arc<dyn LanguageModel> {
    let [provider, _] = providers(base);
    provider.language_model("m")
}

fn question() -> Prompt {
    Prompt { messages: vec![ModelMessage::user("Rain?")], ..Prompt::default() }
}

async fn parts(model: &dyn LanguageModel) -> Vec<StreamPart> {
    model.stream(question()).await.expect("the call begins").collect().await
}

async fn failure(model: &dyn LanguageModel) -> ModelError {
    match model.stream(question()).await {
        Ok(_) => panic!("the call begins"),
        Err(error) => error,
    }
}

fn text(parts: &[StreamPart]) -> String {
    let delta = |part: &StreamPart| match part {
        StreamPart::TextDelta { delta, .. } => Some(delta.clone()),
        _ => None,
    };
    parts.iter().filter_map(delta).collect()
}

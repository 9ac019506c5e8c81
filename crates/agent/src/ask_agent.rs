//! [`AskAgent`]: a tool that asks another agent, and shows its answer while it grows (A-219).
//!
//! ```
//! use std::sync::Arc;
//! use turnkeep_agent::client::AgentChat;
//! use turnkeep_agent::protocol::TaskId;
//! use turnkeep_agent::{AskAgent, Tool, ToolContext, last_text};
//!
//! #[derive(serde::Deserialize, schemars::JsonSchema)]
//! struct Topic {
//!     topic: String,
//! }
//!
//! let research = Tool::streaming("research", "Researches a topic", |input: Topic, ctx: ToolContext| {
//!     let base = "http://localhost:3030".parse().expect("a fixed address parses");
//!     let chat_id = format!("{}/{}", ctx.chat.id(), ctx.tool_call_id);
//!     let chat = AgentChat::builder(ctx.chat.host().clone(), base, "tr_dev_key", TaskId::new("researcher"), chat_id);
//!     AskAgent::new(chat.build(), input.topic).end_run().answer(&ctx)
//! })
//! .to_model_output(last_text);
//! # let _ = research;
//! ```

use std::sync::Arc;

use futures::stream::{self, BoxStream};
use futures::{Stream, StreamExt};
use tokio::sync::oneshot;
use turnkeep_client::{AgentChat, ChatStream, Outcome};
use turnkeep_model::ToolOutputInput;
use turnkeep_protocol::reduce::MessageReducer;
use turnkeep_protocol::{ToolResultOutput, UiMessage, UiMessageChunk};

use crate::error::HookError;
use crate::signal::Signal;
use crate::tool::ToolContext;

/// What the model reads of an answer without text.
const NO_TEXT: &str = "The agent answered without text.";

/// A question for another agent, in a chat of its own.
#[derive(Clone, Debug)]
#[must_use = "nothing is asked before `answer` is read"]
pub struct AskAgent {
    chat: Arc<AgentChat>,
    text: String,
    ends_run: bool,
}

impl AskAgent {
    /// Asks `text` in `chat`, which may have been talked in before; keep an `Arc` of it to go on later.
    pub fn new(chat: impl Into<Arc<AgentChat>>, text: impl Into<String>) -> Self {
        Self { chat: chat.into(), text: text.into(), ends_run: false }
    }

    /// Asks the other agent to end its run when it has answered, rather than to wait for another question.
    pub fn end_run(mut self) -> Self {
        self.ends_run = true;
        self
    }

    /// Sends the question and gives each state of the answer; for [`Tool::streaming`](crate::Tool::streaming), whose output is then the
    /// last one.
    ///
    /// A stop of the answer that the tool works for stops the other agent too, however far the question has come; so does dropping
    /// this before its end. An error is the last item: the question could not be sent, the other agent's turn failed, or its chat is
    /// closed.
    pub fn answer(self, ctx: &ToolContext) -> impl Stream<Item = Result<UiMessage, HookError>> + Send + use<> {
        let Self { chat, text, ends_run } = self;
        if chat.chat_id() == ctx.chat.id() {
            return refused(
                "an agent cannot be asked in the chat that is being answered: give it a chat id of its own",
            );
        }
        let (sent, on_sent) = oneshot::channel();
        let (done, on_done) = oneshot::channel();
        let care = Care { chat, ends_run, stop: ctx.stop_signal.clone() };
        // Beside the call, which a stop drops wherever it stands: a question that is on its way then must still be stopped. The turn's
        // end waits for it.
        ctx.chat.defer(async move {
            care.take(text, sent, on_done).await;
            Ok(())
        });
        let opening = async move {
            match on_sent.await {
                Ok(Ok(stream)) => states(stream, done),
                Ok(Err(error)) => refused(error),
                Err(_) => refused("stopped"),
            }
        };
        stream::once(opening).flatten().boxed()
    }
}

/// Sees to the other agent while it answers.
struct Care {
    chat: Arc<AgentChat>,
    ends_run: bool,
    stop: Signal,
}

impl Care {
    async fn take(
        self,
        text: String,
        sent: oneshot::Sender<Result<ChatStream, turnkeep_client::Error>>,
        done: oneshot::Receiver<()>,
    ) {
        if self.stop.is_set() {
            return;
        }
        let stream = self.chat.send_message(text).await;
        let is_sent = stream.is_ok();
        // Whoever no longer waits for it has been stopped.
        drop(sent.send(stream));
        if !is_sent {
            return;
        }
        let is_read = tokio::select! {
            biased;
            _ = self.stop.wait() => false,
            done = done => done.is_ok(),
        };
        if !is_read {
            self.chat.stop().await;
        }
        if self.ends_run {
            self.chat.close().await;
        }
    }
}

/// The answer, from one state to the next.
struct Answer {
    stream: ChatStream,
    message: MessageReducer,
    shown: Option<UiMessage>,
    /// Told at the end; when it is dropped before, the other agent is stopped.
    done: oneshot::Sender<()>,
}

impl Answer {
    /// Gives the next state that differs from the one before; none at the end.
    async fn next(&mut self) -> Result<Option<UiMessage>, HookError> {
        while let Some(delivered) = self.stream.next().await.transpose()? {
            if let UiMessageChunk::Error(error) = &delivered.chunk {
                return Err(error.error_text.clone().into());
            }
            self.message.apply(&delivered.chunk)?;
            let state = self.message.message();
            if !state.parts.is_empty() && self.shown.as_ref() != Some(state) {
                self.shown = Some(state.clone());
                return Ok(self.shown.clone());
            }
        }
        match self.stream.outcome() {
            Some(Outcome::Closed) => Err("the other agent's chat is closed".into()),
            _ => Ok(None),
        }
    }
}

fn states(stream: ChatStream, done: oneshot::Sender<()>) -> BoxStream<'static, Result<UiMessage, HookError>> {
    let answer = Answer { stream, message: MessageReducer::new(), shown: None, done };
    let states = stream::unfold(Some(answer), |answer| async {
        let mut answer = answer?;
        match answer.next().await {
            Ok(Some(state)) => Some((Ok(state), Some(answer))),
            Ok(None) => {
                // Nobody hears it once the turn has been stopped.
                let _ = answer.done.send(());
                None
            }
            Err(error) => Some((Err(error), None)),
        }
    });
    states.boxed()
}

fn refused(why: impl Into<HookError>) -> BoxStream<'static, Result<UiMessage, HookError>> {
    let why = why.into();
    stream::once(async { Err(why) }).boxed()
}

/// Maps another agent's message to its last text, which is all of it that the model reads; for
/// [`Tool::to_model_output`](crate::Tool::to_model_output) (A-219).
///
/// # Errors
///
/// Never; the signature is that of all mappings.
pub fn last_text(output: ToolOutputInput<'_>) -> Result<ToolResultOutput, String> {
    let parts = output.output["parts"].as_array().map(Vec::as_slice).unwrap_or_default();
    let text = parts.iter().rev().find(|part| part["type"] == "text").and_then(|part| part["text"].as_str());
    Ok(ToolResultOutput::Text(text.filter(|text| !text.is_empty()).unwrap_or(NO_TEXT).to_owned()))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn read(output: &Value) -> ToolResultOutput {
        last_text(ToolOutputInput { tool_call_id: "c", input: None, output }).unwrap()
    }

    #[test]
    fn the_model_reads_the_last_text_of_another_agents_message_a219() {
        let text = |text: &str| json!({ "type": "text", "text": text });
        let reasoning = json!({ "type": "reasoning", "text": "hm" });

        let whole = json!({ "id": "a", "parts": [text("first"), text("last"), reasoning] });

        assert_eq!(read(&whole), ToolResultOutput::Text("last".to_owned()));
        for without in [json!(null), json!({ "parts": [reasoning] }), json!({ "parts": [text("")] })] {
            assert_eq!(read(&without), ToolResultOutput::Text(NO_TEXT.to_owned()));
        }
    }
}

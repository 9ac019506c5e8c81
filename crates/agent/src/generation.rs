//! The step loop: one answer, as many model calls as its tools ask for (A-114…A-119).
//!
//! Every event becomes chunks; every chunk goes to `out` and into the reducer, so what is captured is what readers can see.

mod tools;

use std::sync::Arc;

use futures::StreamExt;
use turnkeep_model::{
    ChunkMapper, FinishReason, GenerationEvent, ModelError, ModelOutputs, Origin, Prompt, StreamPart, StreamParts,
    Usage, to_model_messages,
};
use turnkeep_protocol::{MessageReducer, ModelMessage, UiMessage};

use self::tools::StepCalls;
use crate::answer::{Steps, StreamText};
use crate::chat::{Chat, ChunkWriter};
use crate::error::Error;
use crate::signal::Signal;

/// How many steps one answer may have, whatever its stop conditions say.
const MAX_STEPS: usize = 1000;

/// What a generation needs from its turn.
pub(crate) struct Setting {
    pub(crate) chat: Chat,
    pub(crate) writer: ChunkWriter,
    pub(crate) stop: Signal,
    pub(crate) model_outputs: ModelOutputs,
    /// The message to go on with, or a fresh one with only an id.
    pub(crate) response: UiMessage,
    /// Who asks the model.
    pub(crate) origin: Origin,
}

/// What came of it.
#[derive(Debug, Default)]
pub(crate) struct Generated {
    /// The response as it was streamed.
    pub(crate) message: Option<UiMessage>,
    /// Whether it came to its own end.
    pub(crate) ended: Ended,
    /// Why the model stopped; none after a stop.
    pub(crate) finish_reason: Option<FinishReason>,
    /// What all steps cost; none when no step told.
    pub(crate) usage: Option<Usage>,
}

/// How a generation ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Ended {
    /// By itself.
    #[default]
    Whole,
    /// By a stop.
    Stopped,
    /// By an error inside the model's stream.
    Failed(Arc<str>),
}

/// A generation under way.
struct Generation {
    stream: StreamText,
    setting: Setting,
    mapper: ChunkMapper,
    reducer: MessageReducer,
    /// Parts before this one belong to the message that is continued; the prompt has them already.
    n_old_parts: usize,
    steps: Steps,
    usage: Option<Usage>,
}

/// Why a step, or the whole answer, goes no further.
enum Cut {
    Stopped(String),
    Failed(ModelError),
    Run(Error),
}

impl From<Error> for Cut {
    fn from(error: Error) -> Self {
        Self::Run(error)
    }
}

/// How one model call ended.
struct StepEnd {
    finish_reason: FinishReason,
    usage: Usage,
}

/// Runs `stream` to its end.
///
/// # Errors
///
/// Fails when `out` cannot be written; the captured message then comes with the error.
pub(crate) async fn generate(stream: StreamText, setting: Setting) -> (Generated, Result<(), Error>) {
    let mapper = ChunkMapper::new(setting.response.id.clone(), stream.ui_options.clone());
    let n_old_parts = setting.response.parts.len();
    let reducer = MessageReducer::resume(setting.response.clone());
    let steps = Steps::default();
    let mut generation = Generation { stream, setting, mapper, reducer, n_old_parts, steps, usage: None };

    let outcome = generation.run().await;
    let mut generated = Generated { usage: generation.usage, ..Generated::default() };
    let mut result = Ok(());
    match outcome {
        Ok(finish_reason) => generated.finish_reason = Some(finish_reason),
        Err(Cut::Stopped(reason)) => {
            generated.ended = Ended::Stopped;
            result = generation.emit(GenerationEvent::Abort { reason: Some(reason) }).await;
        }
        Err(Cut::Failed(error)) => {
            generated.ended = Ended::Failed(error.to_string().into());
            generated.finish_reason = Some(FinishReason::Error);
            result = generation.emit(GenerationEvent::Part(StreamPart::Error(error))).await;
        }
        Err(Cut::Run(error)) => result = Err(error),
    }
    generated.message = Some(generation.reducer.into_message());
    (generated, result)
}

impl Generation {
    async fn run(&mut self) -> Result<FinishReason, Cut> {
        self.emit(GenerationEvent::Start).await?;
        loop {
            self.emit(GenerationEvent::StartStep).await?;
            let (end, calls) = self.step().await?;
            let goes_on = calls.wants_another_step();
            self.usage = Some(self.usage.unwrap_or_default() + end.usage).filter(|usage| !usage.is_empty());
            self.emit(GenerationEvent::FinishStep { finish_reason: end.finish_reason, usage: end.usage }).await?;
            self.steps = Steps { n_steps: self.steps.n_steps + 1, called_tools: calls.names() };
            if !goes_on || self.steps.n_steps >= MAX_STEPS || self.stream.stops(&self.steps) {
                let total_usage = self.usage.unwrap_or_default();
                self.emit(GenerationEvent::Finish { finish_reason: end.finish_reason, total_usage }).await?;
                return Ok(end.finish_reason);
            }
        }
    }

    /// Makes one model call and runs the tools it asks for.
    async fn step(&mut self) -> Result<(StepEnd, StepCalls), Cut> {
        let messages = self.messages()?;
        let mut calls = StepCalls::new(&self.stream.tools);
        let mut parts = self.call_model(messages.clone()).await?;
        let end = loop {
            let part = tokio::select! {
                biased;
                reason = self.setting.stop.wait() => return Err(Cut::Stopped(reason)),
                part = parts.next() => part,
            };
            match part {
                Some(StreamPart::Finish { finish_reason, usage }) => break StepEnd { finish_reason, usage },
                Some(StreamPart::Error(error)) => return Err(Cut::Failed(error)),
                Some(part) => {
                    let part = calls.judge(part);
                    self.emit(GenerationEvent::Part(part)).await?;
                }
                None => return Err(Cut::Failed(ModelError::unavailable("the model's answer broke off"))),
            }
        };
        // The connection to the provider is done with before tools take their time.
        drop(parts);
        if end.finish_reason.allows_tools() {
            self.run_tools(&mut calls, messages).await?;
        }
        Ok((end, calls))
    }

    async fn call_model(&self, messages: Vec<ModelMessage>) -> Result<StreamParts, Cut> {
        let prompt = Prompt {
            system: self.stream.system.clone(),
            messages,
            tools: self.stream.tools.iter().map(|tool| tool.spec().clone()).collect(),
            step: self.steps.n_steps,
            settings: self.stream.settings.clone(),
            provider_options: self.stream.provider_options.clone(),
            origin: Some(self.setting.origin.clone()),
        };
        tokio::select! {
            biased;
            reason = self.setting.stop.wait() => Err(Cut::Stopped(reason)),
            begun = self.stream.model.stream(prompt) => begun.map_err(Cut::Failed),
        }
    }

    /// Runs the step's calls side by side; each result is told as it comes.
    async fn run_tools(&mut self, calls: &mut StepCalls, messages: Vec<ModelMessage>) -> Result<(), Cut> {
        let mut running = calls.start(&self.setting, &messages);
        loop {
            let result = tokio::select! {
                biased;
                reason = self.setting.stop.wait() => return Err(Cut::Stopped(reason)),
                result = running.next() => result,
            };
            let Some(result) = result else {
                return Ok(());
            };
            let result = result.map_err(|_| Error::OutOfMemory)?;
            calls.answered(&result);
            self.emit(GenerationEvent::Part(StreamPart::ToolResult(result))).await?;
        }
    }

    /// Gives the prompt's messages: the history, then what this answer has said and done so far.
    fn messages(&self) -> Result<Vec<ModelMessage>, Cut> {
        let mut messages = self.stream.messages.clone();
        let new_parts = self.reducer.message().parts.iter().skip(self.n_old_parts).cloned().collect();
        let so_far = UiMessage::assistant(self.setting.response.id.clone(), new_parts);
        let converted = to_model_messages(&[so_far], &self.setting.model_outputs);
        messages.extend(converted.map_err(|error| Cut::Failed(ModelError::refused(error.to_string())))?);
        Ok(messages)
    }

    async fn emit(&mut self, event: GenerationEvent) -> Result<(), Error> {
        for chunk in self.mapper.map(event) {
            self.setting.writer.stream(&chunk).await?;
            // A chunk that does not follow is on the wire as the model said it; readers skip it as we do.
            let _ = self.reducer.apply(&chunk);
        }
        Ok(())
    }
}

//! The step loop: one answer, as many model calls as its tools ask for (A-114…A-119).
//!
//! Every event becomes chunks; every chunk goes to `out` and into the reducer, so what is captured is what readers can see.

mod approvals;
mod compaction;
mod handed_over;
mod history;
mod prepare;
mod steering;
mod tools;

use std::collections::BTreeSet;
use std::sync::Arc;

use futures::StreamExt;
use serde_json::Value;
use turnkeep_host::Draws;
use turnkeep_model::{
    ChunkMapper, ConvertError, FinishReason, GenerationEvent, ModelError, ModelOutputs, Origin, StreamPart,
    StreamParts, UiStreamOptions, Usage,
};
use turnkeep_protocol::{MessageReducer, ModelMessage, UiMessage, UiMessageChunk, Withheld};

use self::history::StepHistory;
pub(crate) use self::prepare::Preparation;
use self::prepare::StepPlan;
use self::tools::StepCalls;
use crate::answer::{StepResult, Steps, StreamText};
use crate::chat::{Chat, ChunkWriter};
use crate::compaction::{Kept, Summed};
use crate::error::{Error, HookError, OutOfMemory};
use crate::model_history::{whole, withheld};
use crate::signal::Signal;
use crate::store::StoreError;

/// How many steps one answer may have, whatever its stop conditions say; the author is warned of an answer that is cut off there.
const MAX_STEPS: usize = 1000;

/// The length of the ids of parts that the runtime makes.
pub(crate) const PART_ID_CHARACTERS: usize = 16;

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
    pub(crate) turn: usize,
    pub(crate) client_data: Value,
    /// What the author gave the answer for its tools.
    pub(crate) context: Option<Value>,
    /// Where ids of parts come from.
    pub(crate) ids: Arc<Draws>,
    /// What the turn does before each step.
    pub(crate) preparation: Preparation,
}

impl Setting {
    fn fresh_id(&self) -> String {
        self.ids.alphanumeric(PART_ID_CHARACTERS)
    }
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
    /// What came in between the steps, in order.
    pub(crate) arrivals: Vec<Arrived>,
    /// The summary that the answer went on from.
    pub(crate) summary: Option<Kept>,
    /// The tools that ran here, or might have.
    pub(crate) executors: BTreeSet<String>,
    /// What people did not get of an answer whose calls wait (D-68).
    pub(crate) withheld: Option<Withheld>,
}

/// Messages for the model that came in behind the first `n_steps` steps of the response.
#[derive(Debug)]
pub(crate) struct Arrived {
    pub(crate) n_steps: usize,
    pub(crate) messages: Vec<ModelMessage>,
    /// The people's messages that these tell; none for what only the model knows.
    pub(crate) speaks_for: Vec<String>,
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
    setting: Arc<Setting>,
    mapper: ChunkMapper,
    reducer: MessageReducer,
    /// What was said and done in full, where readers get less; none where they get all of it.
    unabridged: Option<Unabridged>,
    history: StepHistory,
    steps: Steps,
    usage: Option<Usage>,
    arrivals: Vec<Arrived>,
    executors: BTreeSet<String>,
    summed: Option<Summed>,
}

/// The answer with what readers do not get: a model that signs its thinking wants it back with the next step, and one whose
/// call has failed must read why, whatever people are told.
struct Unabridged {
    mapper: ChunkMapper,
    reducer: MessageReducer,
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

impl From<StoreError> for Cut {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Write(error) => Self::Run(error),
            refused => Self::Failed(ModelError::refused(refused.to_string())),
        }
    }
}

impl From<ConvertError> for Cut {
    fn from(error: ConvertError) -> Self {
        Self::Failed(ModelError::refused(error.to_string()))
    }
}

impl From<HookError> for Cut {
    /// Makes the failure of a hook between steps an error of the stream (Appendix B).
    fn from(error: HookError) -> Self {
        if error.is::<OutOfMemory>() {
            return Self::Run(Error::OutOfMemory);
        }
        match error.downcast::<Error>() {
            // An author's `?` on a writer brings our own errors back.
            Ok(own) => Self::Run(*own),
            Err(error) => Self::Failed(ModelError::refused(error.to_string())),
        }
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
    let old = whole(&setting.response, setting.preparation.withheld.as_ref());
    let old = UiMessage { parts: old, ..setting.response.clone() };
    let n_old_parts = old.parts.len();
    let is_abridged =
        old.parts != setting.response.parts || !stream.ui_options.sends_reasoning() || stream.ui_options.masks_errors();
    let unabridged = is_abridged.then(|| Unabridged {
        mapper: ChunkMapper::new(setting.response.id.clone(), UiStreamOptions::new()),
        reducer: MessageReducer::resume(old),
    });
    let mut generation = Generation {
        mapper,
        unabridged,
        reducer: MessageReducer::resume(setting.response.clone()),
        history: StepHistory::new(stream.messages.clone(), n_old_parts),
        steps: Steps::default(),
        usage: None,
        arrivals: Vec::new(),
        executors: BTreeSet::new(),
        summed: None,
        stream,
        setting: Arc::new(setting),
    };

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
    generated.summary = generation.kept_summary();
    generated.arrivals = generation.arrivals;
    generated.executors = generation.executors;
    let full = generation.unabridged.as_ref().filter(|_| generated.ended == Ended::Whole);
    generated.withheld = full.and_then(|full| withheld(generation.reducer.message(), full.reducer.message()));
    generated.message = Some(generation.reducer.into_message());
    (generated, result)
}

impl Generation {
    async fn run(&mut self) -> Result<FinishReason, Cut> {
        self.emit(GenerationEvent::Start).await?;
        self.resume_approved().await?;
        if self.take_up_handed_over().await? {
            let finish_reason = FinishReason::ToolCalls;
            self.emit(GenerationEvent::Finish { finish_reason, total_usage: Usage::default() }).await?;
            return Ok(finish_reason);
        }
        loop {
            let plan = self.prepare().await?;
            self.emit(GenerationEvent::StartStep).await?;
            let (end, calls) = self.step(plan).await?;
            let goes_on = calls.wants_another_step();
            self.usage = Some(self.usage.unwrap_or_default() + end.usage).filter(|usage| !usage.is_empty());
            self.emit(GenerationEvent::FinishStep { finish_reason: end.finish_reason, usage: end.usage }).await?;
            self.steps.push(StepResult {
                finish_reason: end.finish_reason,
                usage: end.usage,
                calls: calls.into_results(),
            });
            let goes_on = goes_on && !self.stream.stops(&self.steps);
            let is_cut_off = goes_on && self.steps.n_steps >= MAX_STEPS;
            if is_cut_off {
                let text =
                    format!("the answer was ended after {MAX_STEPS} steps, although its stop conditions let it go on");
                self.setting.chat.warn(text);
            }
            if !goes_on || is_cut_off {
                let total_usage = self.usage.unwrap_or_default();
                self.emit(GenerationEvent::Finish { finish_reason: end.finish_reason, total_usage }).await?;
                return Ok(end.finish_reason);
            }
        }
    }

    /// Makes one model call and runs the tools it asks for.
    async fn step(&mut self, plan: StepPlan) -> Result<(StepEnd, StepCalls), Cut> {
        let mut calls = StepCalls::new(plan.tools);
        let messages = plan.messages;
        let begun = self.unless_stopped(plan.model.stream(plan.prompt)).await?;
        let mut parts: StreamParts = begun.map_err(Cut::Failed)?;
        let end = loop {
            match self.unless_stopped(parts.next()).await? {
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

    /// Asks for consent where it is due, then runs the other calls side by side; each result is told as it comes.
    async fn run_tools(&mut self, calls: &mut StepCalls, messages: Vec<ModelMessage>) -> Result<(), Cut> {
        let setting = self.setting.clone();
        let asked = self.unless_stopped(calls.ask(&setting, &messages)).await?;
        for part in asked.map_err(|_| Error::OutOfMemory)? {
            self.emit(GenerationEvent::Part(part)).await?;
        }
        self.run_started(calls, messages).await
    }

    /// Runs calls that need nobody's consent, or have it.
    async fn run_started(&mut self, calls: &mut StepCalls, messages: Vec<ModelMessage>) -> Result<(), Cut> {
        let mut running = calls.start(&self.setting, &messages);
        loop {
            let Some(result) = self.unless_stopped(running.next()).await? else {
                return Ok(());
            };
            let result = result.map_err(|_| Error::OutOfMemory)?;
            calls.answered(&result);
            self.emit(GenerationEvent::Part(StreamPart::ToolResult(result))).await?;
        }
    }

    /// Gives the answer so far, as the model's next step reads it.
    fn said(&self) -> &UiMessage {
        self.unabridged.as_ref().map_or(&self.reducer, |unabridged| &unabridged.reducer).message()
    }

    async fn emit(&mut self, event: GenerationEvent) -> Result<(), Error> {
        let told_model = self.unabridged.as_ref().map(|unabridged| unabridged.mapper.map(event.clone()));
        for chunk in self.mapper.map(event) {
            self.setting.writer.stream(&chunk).await?;
            // A chunk that does not follow is on the wire as the model said it; readers skip it as we do.
            let _ = self.reducer.apply(&chunk);
        }
        if let (Some(unabridged), Some(chunks)) = (&mut self.unabridged, told_model) {
            for chunk in chunks {
                let _ = unabridged.reducer.apply(&chunk);
            }
        }
        Ok(())
    }

    /// Notes a chunk that readers were told beside the model's answer.
    fn note_told(&mut self, chunk: &UiMessageChunk) {
        let _ = self.reducer.apply(chunk);
        if let Some(unabridged) = &mut self.unabridged {
            let _ = unabridged.reducer.apply(chunk);
        }
    }
}

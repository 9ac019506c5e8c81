//! [`MockLanguageModel`]: a language model that plays a script.
//!
//! A script is a list of steps, one per model call; a step is a list of [`ScriptPart`]s played in order, in virtual time.
//! The position in the script belongs to the model, not to a run: a call that dies with its worker has used up its step, and the
//! next attempt gets the next one.

mod script;

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::future::BoxFuture;
use futures::stream::{self, StreamExt as _};
use turnkeep_model::{LanguageModel, ModelError, Prompt, StreamPart, StreamParts};

pub use script::{ScriptPart, ScriptStep, call, cut, fail, reason, say, stall, wait};
use script::{Timed, perform};

/// A scripted model; clones share one script, so one model can serve several workers.
///
/// ```
/// use turnkeep_harness::model::{MockLanguageModel, call, say};
///
/// let model = MockLanguageModel::new()
///     .step([call("forecast", serde_json::json!({ "city": "Oslo" }))])
///     .step([say("Rain, "), say("4 degrees.")]);
///
/// assert_eq!(model.unused().len(), 2);
/// ```
#[derive(Clone, Default)]
pub struct MockLanguageModel {
    stage: Arc<Mutex<Stage>>,
}

/// Told of every call, with the step it got, before the step plays.
pub type CallObserver = Arc<dyn Fn(&ModelCall) + Send + Sync>;

#[derive(Default)]
struct Stage {
    steps: VecDeque<ScriptStep>,
    pace: Duration,
    prompts: Vec<Prompt>,
    complaints: Vec<String>,
    observer: Option<CallObserver>,
    tool_calls: usize,
}

/// One call of the model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelCall {
    /// Which call of this model it is, from 0.
    pub number: usize,
    /// The text of the newest user message.
    pub asked: String,
    /// How many messages the prompt held.
    pub n_messages: usize,
    /// What the script answers; none when it had no fitting step left.
    pub answer: Option<ScriptStep>,
}

impl MockLanguageModel {
    /// Makes a model with an empty script, which refuses every call.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a step that answers the next call not claimed by a [`MockLanguageModel::step_when`].
    #[must_use]
    pub fn step(self, parts: impl IntoIterator<Item = ScriptPart>) -> Self {
        self.script([ScriptStep { when: None, parts: parts.into_iter().collect() }])
    }

    /// Adds a step that answers the first call whose newest user message contains `text`; such steps are tried first.
    #[must_use]
    pub fn step_when(self, text: impl Into<String>, parts: impl IntoIterator<Item = ScriptPart>) -> Self {
        self.script([ScriptStep { when: Some(text.into()), parts: parts.into_iter().collect() }])
    }

    /// Adds steps as they come from a scenario file.
    #[must_use]
    pub fn script(self, steps: impl IntoIterator<Item = ScriptStep>) -> Self {
        self.stage().steps.extend(steps);
        self
    }

    /// Waits `pace` before each text, reasoning and call part; nothing by default.
    #[must_use]
    pub fn pace(self, pace: Duration) -> Self {
        self.stage().pace = pace;
        self
    }

    /// Tells `observer` of every call.
    #[must_use]
    pub fn observe(self, observer: CallObserver) -> Self {
        self.stage().observer = Some(observer);
        self
    }

    /// Gives every prompt so far, in order.
    pub fn prompts(&self) -> Vec<Prompt> {
        self.stage().prompts.clone()
    }

    /// Gives the steps that no call has used.
    pub fn unused(&self) -> Vec<ScriptStep> {
        self.stage().steps.iter().cloned().collect()
    }

    /// Gives what went against the script: calls without a step.
    pub fn complaints(&self) -> Vec<String> {
        self.stage().complaints.clone()
    }

    fn stage(&self) -> MutexGuard<'_, Stage> {
        self.stage.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Stage {
    fn take_step(&mut self, asked: &str) -> Option<ScriptStep> {
        let fits = |step: &ScriptStep| step.when.as_ref().is_some_and(|text| asked.contains(text));
        let at = self.steps.iter().position(fits).or_else(|| self.steps.iter().position(|step| step.when.is_none()))?;
        self.steps.remove(at)
    }

    fn answer(&mut self, prompt: Prompt) -> Result<VecDeque<Timed>, ModelError> {
        let asked = last_user_text(&prompt);
        let step = self.take_step(&asked);
        let call =
            ModelCall { number: self.prompts.len(), asked, n_messages: prompt.messages.len(), answer: step.clone() };
        self.prompts.push(prompt);
        if let Some(observer) = &self.observer {
            observer(&call);
        }
        let Some(step) = step else {
            let complaint = complain(&call, &self.steps);
            self.complaints.push(complaint.clone());
            return Err(ModelError::refused(complaint));
        };
        perform(step, self.pace, &mut self.tool_calls)
    }
}

fn complain(call: &ModelCall, left: &VecDeque<ScriptStep>) -> String {
    let waiting: Vec<&str> = left.iter().filter_map(|step| step.when.as_deref()).collect();
    let rest = if waiting.is_empty() {
        "the script is used up".to_owned()
    } else {
        format!("the steps left want a message with one of {waiting:?}")
    };
    format!("the script has no step for model call {} (asked {:?}); {rest}", call.number, call.asked)
}

/// Gives the text of the newest user message of a prompt.
pub fn last_user_text(prompt: &Prompt) -> String {
    let newest = prompt.messages.iter().rev().find(|message| message.role == turnkeep_protocol::ModelRole::User);
    newest.map(|message| message.text()).unwrap_or_default()
}

impl LanguageModel for MockLanguageModel {
    fn model_id(&self) -> &str {
        "mock"
    }

    fn stream(&self, prompt: Prompt) -> BoxFuture<'static, Result<StreamParts, ModelError>> {
        let answer = self.stage().answer(prompt);
        Box::pin(async move { answer.map(play) })
    }
}

/// Plays timed parts; dropping the stream ends the play.
fn play(parts: VecDeque<Timed>) -> StreamParts {
    stream::unfold(parts, |mut parts| async move {
        let next: Option<StreamPart> = match parts.pop_front()? {
            Timed::Part { after, part } => {
                if !after.is_zero() {
                    tokio::time::sleep(after).await;
                }
                Some(*part)
            }
            Timed::Stall => std::future::pending().await,
        };
        next.map(|part| (part, parts))
    })
    .boxed()
}

impl fmt::Debug for MockLanguageModel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stage = self.stage();
        f.debug_struct("MockLanguageModel")
            .field("calls", &stage.prompts.len())
            .field("unused", &stage.steps.len())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use turnkeep_model::FinishReason;
    use turnkeep_protocol::ModelMessage;

    use super::*;

    fn ask(text: &str) -> Prompt {
        Prompt { messages: vec![ModelMessage::user(text)], ..Prompt::default() }
    }

    async fn parts(model: &MockLanguageModel, text: &str) -> Vec<StreamPart> {
        model.stream(ask(text)).await.unwrap().collect().await
    }

    #[tokio::test(start_paused = true)]
    async fn says_and_calls_become_stream_parts_with_the_right_finish() {
        let model = MockLanguageModel::new().step([say("a"), say("b"), call("t", json!({ "x": 1 }))]);

        let parts = parts(&model, "hi").await;

        let names: Vec<String> = parts.iter().map(|part| format!("{part:?}").chars().take(9).collect()).collect();
        assert_eq!(names, ["StreamSta", "TextStart", "TextDelta", "TextDelta", "TextEnd {", "ToolCall(", "Finish { "]);
        assert!(matches!(parts.last(), Some(StreamPart::Finish { finish_reason: FinishReason::ToolCalls, .. })));
    }

    #[tokio::test(start_paused = true)]
    async fn content_match_comes_first_and_order_decides_the_rest() {
        let model = MockLanguageModel::new().step([say("first")]).step_when("cat", [say("meow")]);

        let cat = parts(&model, "the cat").await;
        let other = parts(&model, "the dog").await;

        assert!(cat.contains(&StreamPart::text_delta("text-0", "meow")));
        assert!(other.contains(&StreamPart::text_delta("text-0", "first")));
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_without_a_step_fails_and_is_complained_about() {
        let model = MockLanguageModel::new().step_when("cat", [say("meow")]);

        let refused = model.stream(ask("dog")).await.err().unwrap();

        assert_eq!(
            refused.to_string(),
            "the script has no step for model call 0 (asked \"dog\"); the steps left want a message with one of [\"cat\"]"
        );
        assert_eq!(model.complaints().len(), 1);
        assert_eq!(model.unused().len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_cut_stream_has_no_finish_and_a_failed_one_ends_with_its_error() {
        let model = MockLanguageModel::new().step([say("a"), cut()]).step([say("a"), fail("boom")]);

        let cut = parts(&model, "1").await;
        let failed = parts(&model, "2").await;

        assert_eq!(cut.last(), Some(&StreamPart::text_delta("text-0", "a")));
        assert!(matches!(failed.last(), Some(StreamPart::Error(error)) if error.to_string() == "boom"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_fail_that_comes_first_refuses_the_call() {
        let model = MockLanguageModel::new().step([fail("no quota")]);

        assert_eq!(model.stream(ask("1")).await.err().unwrap().to_string(), "no quota");
    }

    #[tokio::test(start_paused = true)]
    async fn waits_and_pace_pass_in_virtual_time() {
        let model = MockLanguageModel::new().pace(Duration::from_millis(20)).step([
            say("a"),
            wait(Duration::from_secs(5)),
            say("b"),
        ]);
        let started = tokio::time::Instant::now();

        parts(&model, "1").await;

        assert_eq!(started.elapsed(), Duration::from_millis(5040));
    }
}

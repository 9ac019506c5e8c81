//! [`MockLanguageModel`]: a language model that plays a script.
//!
//! A script is a list of steps, one per model call; a step is a list of [`ScriptPart`]s played in order, in virtual time. Which step
//! answers a call is decided by content first ([`When`]); what is left is taken in order. When nothing fits the call is refused, and
//! [`MockLanguageModel::assert_used_up`] says what was asked, what the script holds and how near they came.
//!
//! The position in the script belongs to the model, not to a run: clones share it, so it survives the death of a worker. A call that
//! dies with its worker has used up its step, unless [`MockLanguageModel::replay_interrupted`] is chosen. Steps that name a chat, a
//! run or an attempt give each its own answers, whoever asks first.
//!
//! ```
//! use serde_json::json;
//! use turnkeep_harness::model::{MockLanguageModel, ScriptStep, When, call, say, speak};
//!
//! let model = MockLanguageModel::new()
//!     .step([call("forecast", json!({ "city": "Oslo" }))])
//!     .step_when(When::new().tool_result("forecast"), [speak("Rain, 4 degrees.")])
//!     .script([ScriptStep::new([say("Good bye.")]).when("bye").forever()]);
//!
//! assert_eq!(model.unused().len(), 2); // A step that may answer any number of calls is never left over.
//! ```

mod assertions;
mod call;
mod chunking;
mod disagreement;
mod double;
mod exact;
mod facts;
mod improvise;
mod made_up;
mod perform;
mod play;
mod script;
mod script_file;
mod stage;
#[cfg(test)]
mod tests;
mod when;
mod whole;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::future::BoxFuture;
use turnkeep_host::Entropy;
use turnkeep_model::{LanguageModel, ModelError, Prompt, StreamParts};

pub use assertions::PromptAssert;
pub use call::{CallEnd, ModelCall};
pub use chunking::{Chunking, Pace};
pub use double::{MockTool, MockToolCall};
pub use exact::ExactPart;
pub use facts::last_user_text;
pub use improvise::{RandomModel, ToolCaller};
pub use made_up::make_up;
pub use script::{
    Break, BreakAt, Failure, Repeat, ScriptPart, ScriptStep, Speech, Tokens, ToolUse, bad_call, call, cut, cut_mid,
    fail, fail_with, file, finish, parallel, part, provider_metadata, reason, say, source, speak, stall, think, usage,
    wait,
};
pub use script_file::ScriptFile;
pub use stage::{CallObserver, MAX_RECORDED_CALLS, RunsOut};
pub use when::When;
pub use whole::WholeAnswer;

pub(crate) use disagreement::{count, word_diff};
use perform::{Manner, perform};
use play::{Witness, play};
use stage::{Answer, Respond, Stage};

/// A scripted model; clones share one script, so one model can serve several workers.
#[derive(Clone, Default)]
pub struct MockLanguageModel {
    stage: Arc<Mutex<Stage>>,
}

impl MockLanguageModel {
    /// Makes a model with an empty script, which refuses every call.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a step that answers the next call that no step with a [`When`] claims.
    #[must_use]
    pub fn step(self, parts: impl IntoIterator<Item = ScriptPart>) -> Self {
        self.script([ScriptStep::new(parts)])
    }

    /// Adds a step that answers the first call that fits; a text stands for one that the newest user message contains.
    #[must_use]
    pub fn step_when(self, when: impl Into<When>, parts: impl IntoIterator<Item = ScriptPart>) -> Self {
        self.script([ScriptStep::new(parts).when(when)])
    }

    /// Adds steps, such as those of a file.
    #[must_use]
    pub fn script(self, steps: impl IntoIterator<Item = ScriptStep>) -> Self {
        let mut stage = self.stage();
        steps.into_iter().for_each(|step| stage.add(step, None));
        drop(stage);
        self
    }

    /// Adds steps that answer one chat alone.
    #[must_use]
    pub fn script_for_chat(self, chat: &str, steps: impl IntoIterator<Item = ScriptStep>) -> Self {
        self.script(steps.into_iter().map(|mut step| {
            step.when = Some(step.when.unwrap_or_default().chat(chat));
            step
        }))
    }

    /// Adds steps that answer one run of their chat alone, counted from 0 as the model meets them.
    #[must_use]
    pub fn script_for_run(self, run: usize, steps: impl IntoIterator<Item = ScriptStep>) -> Self {
        self.script(steps.into_iter().map(|mut step| {
            step.when = Some(step.when.unwrap_or_default().run(run));
            step
        }))
    }

    /// Adds a step that says what `respond` makes of the call.
    #[must_use]
    pub fn step_with<P>(self, respond: impl Fn(&ModelCall) -> P + Send + Sync + 'static) -> Self
    where
        P: IntoIterator<Item = ScriptPart>,
    {
        self.computed(ScriptStep::default(), sync(respond))
    }

    /// Adds a step that says what `respond` makes of the call, after whatever it awaits.
    #[must_use]
    pub fn step_with_async<P, Fut>(self, respond: impl Fn(ModelCall) -> Fut + Send + Sync + 'static) -> Self
    where
        P: IntoIterator<Item = ScriptPart>,
        Fut: Future<Output = P> + Send + 'static,
    {
        self.computed(ScriptStep::default(), asynchronous(respond))
    }

    /// Adds a step whose parts `respond` makes of the call; `step` lends what it wants and how often it answers.
    #[must_use]
    pub fn script_with<P>(self, step: ScriptStep, respond: impl Fn(&ModelCall) -> P + Send + Sync + 'static) -> Self
    where
        P: IntoIterator<Item = ScriptPart>,
    {
        self.computed(step, sync(respond))
    }

    fn computed(self, step: ScriptStep, respond: Respond) -> Self {
        self.stage().add(step, Some(respond));
        self
    }

    /// Answers every call for which the script has nothing.
    #[must_use]
    pub fn otherwise<P>(self, respond: impl Fn(&ModelCall) -> P + Send + Sync + 'static) -> Self
    where
        P: IntoIterator<Item = ScriptPart>,
    {
        self.stage().otherwise(sync(respond));
        self
    }

    /// Answers every call for which the script has nothing, after whatever `respond` awaits.
    #[must_use]
    pub fn otherwise_async<P, Fut>(self, respond: impl Fn(ModelCall) -> Fut + Send + Sync + 'static) -> Self
    where
        P: IntoIterator<Item = ScriptPart>,
        Fut: Future<Output = P> + Send + 'static,
    {
        self.stage().otherwise(asynchronous(respond));
        self
    }

    /// Calls every tool once a turn, wherever the script has nothing.
    #[must_use]
    pub fn call_every_tool(self, caller: ToolCaller) -> Self {
        self.improvise(move |call| caller.answer(call))
    }

    /// Answers by chance wherever the script has nothing.
    #[must_use]
    pub fn random(self, random: RandomModel) -> Self {
        self.improvise(move |call| random.answer(call))
    }

    fn improvise(self, answer: impl Fn(&ModelCall) -> Result<Vec<ScriptPart>, String> + Send + Sync + 'static) -> Self {
        self.stage().otherwise(Arc::new(move |call| {
            let answer = answer(&call);
            Box::pin(async move { answer })
        }));
        self
    }

    /// Answers a prompt whole, as one that does not stream.
    ///
    /// # Errors
    ///
    /// Gives what refused the call or broke the answer.
    pub async fn generate(&self, prompt: Prompt) -> Result<WholeAnswer, ModelError> {
        WholeAnswer::of(self.stream(prompt).await?).await
    }

    /// Chooses what happens when no step fits; without a choice the call is refused.
    #[must_use]
    pub fn when_it_runs_out(self, runs_out: RunsOut) -> Self {
        self.stage().runs_out = runs_out;
        self
    }

    /// Plays the step of a call that died with its worker again, when a later attempt or run of the chat asks the same.
    #[must_use]
    pub fn replay_interrupted(self) -> Self {
        self.stage().replays_interrupted = true;
        self
    }

    /// Spreads parts in time; a duration is waited before each delta and call. Nothing by default.
    #[must_use]
    pub fn pace(self, pace: impl Into<Pace>) -> Self {
        self.stage().pace = pace.into();
        self
    }

    /// Chooses how [`speak`] and [`think`] cut their texts; word by word by default.
    #[must_use]
    pub fn chunking(self, chunking: Chunking) -> Self {
        self.stage().chunking = chunking;
        self
    }

    /// Chooses where jitter comes from; 1 by default.
    #[must_use]
    pub fn seed(self, seed: u64) -> Self {
        self.stage().entropy = Entropy::from_seed(seed);
        self
    }

    /// Tells `observer` of every call.
    #[must_use]
    pub fn observe(self, observer: CallObserver) -> Self {
        self.stage().observer = Some(observer);
        self
    }

    /// Gives every call so far, in order, at most the newest [`MAX_RECORDED_CALLS`].
    pub fn calls(&self) -> Vec<ModelCall> {
        self.stage().calls.clone()
    }

    /// Counts the calls so far.
    pub fn n_calls(&self) -> usize {
        self.stage().n_calls()
    }

    /// Gives every prompt so far, in order, at most the newest [`MAX_RECORDED_CALLS`].
    pub fn prompts(&self) -> Vec<Prompt> {
        self.stage().calls.iter().map(|call| (*call.prompt).clone()).collect()
    }

    /// Checks the prompt of a call, counted from 0.
    ///
    /// # Panics
    ///
    /// When there was no such call.
    #[track_caller]
    pub fn assert_prompt(&self, number: usize) -> PromptAssert {
        let stage = self.stage();
        let found = stage.calls.iter().find(|call| call.number == number).cloned();
        let n_calls = stage.n_calls();
        drop(stage);
        PromptAssert::new(found.unwrap_or_else(|| panic!("there is no model call {number}; there were {n_calls}")))
    }

    /// Wants so many calls.
    ///
    /// # Panics
    ///
    /// When there were more or fewer, with what each asked.
    #[track_caller]
    pub fn assert_calls(&self, want: usize) {
        let (found, calls) = (self.n_calls(), self.calls());
        let asked: Vec<String> = calls.iter().map(|call| format!("  {call}")).collect();
        let want_calls = count(want, "model call");
        assert!(found == want, "wanted {want_calls}, there were {found}:\n{}", asked.join("\n"));
    }

    /// Wants the script to be used up and every call to have had a step.
    ///
    /// # Panics
    ///
    /// When the agent and the script disagree: says which call or step, what it wanted and how near the other came.
    #[track_caller]
    pub fn assert_used_up(&self) {
        let verdict = self.verdict();
        assert!(verdict.is_none(), "the agent and the script disagree\n{}", verdict.unwrap_or_default());
    }

    /// Says how the agent and the script disagree; nothing when they agree.
    pub fn verdict(&self) -> Option<String> {
        self.stage().verdict()
    }

    /// Gives the steps that must still be used.
    pub fn unused(&self) -> Vec<ScriptStep> {
        self.stage().unused().into_iter().map(|slot| slot.step.clone()).collect()
    }

    /// Gives what went against the script: calls without a step, one line each.
    pub fn complaints(&self) -> Vec<String> {
        let one_line = |text: &String| text.split("\n").map(str::trim).collect::<Vec<_>>().join("; ");
        self.stage().complaints().iter().map(one_line).collect()
    }

    fn stage(&self) -> MutexGuard<'_, Stage> {
        self.stage.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn answer(self, prompt: Prompt) -> Result<StreamParts, ModelError> {
        let (number, answer) = self.stage().take_up(prompt);
        let witness = Witness::new(self.stage.clone(), number);
        let step = match answer {
            Answer::Step(step) => step,
            Answer::Respond(respond, step) => {
                let call = self.stage().call(number);
                match respond(call).await {
                    Ok(parts) => ScriptStep { parts, ..step },
                    Err(complaint) => {
                        self.stage().complain(complaint.clone());
                        return Err(witness.refused(ModelError::refused(complaint)));
                    }
                }
            }
            Answer::Nothing(complaint) => return Err(witness.refused(ModelError::refused(complaint))),
        };
        let parts = self.stage().perform(number, step);
        match parts {
            Ok(parts) => Ok(play(parts, witness)),
            Err(refused) => Err(witness.refused(refused)),
        }
    }
}

impl Stage {
    fn call(&self, number: usize) -> ModelCall {
        let call = self.calls.iter().rfind(|call| call.number == number);
        call.cloned().expect("a call is remembered while it is answered")
    }

    fn perform(
        &mut self,
        number: usize,
        step: ScriptStep,
    ) -> Result<std::collections::VecDeque<perform::Timed>, ModelError> {
        self.note(number, |call| call.answer = Some(step.clone()));
        let draws = self.entropy.child(&format!("call-{number}")).draws();
        let (pace, chunking) = (self.pace, self.chunking);
        perform(step, Manner { pace, chunking, draws, tool_calls: &mut self.tool_calls })
    }
}

fn sync<P: IntoIterator<Item = ScriptPart>>(respond: impl Fn(&ModelCall) -> P + Send + Sync + 'static) -> Respond {
    Arc::new(move |call| {
        let parts = respond(&call).into_iter().collect();
        Box::pin(async move { Ok(parts) })
    })
}

fn asynchronous<P, Fut>(respond: impl Fn(ModelCall) -> Fut + Send + Sync + 'static) -> Respond
where
    P: IntoIterator<Item = ScriptPart>,
    Fut: Future<Output = P> + Send + 'static,
{
    Arc::new(move |call| {
        let said = respond(call);
        Box::pin(async move { Ok(said.await.into_iter().collect()) })
    })
}

impl LanguageModel for MockLanguageModel {
    fn model_id(&self) -> &str {
        "mock"
    }

    fn stream(&self, prompt: Prompt) -> BoxFuture<'static, Result<StreamParts, ModelError>> {
        Box::pin(self.clone().answer(prompt))
    }
}

impl fmt::Debug for MockLanguageModel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stage = self.stage();
        f.debug_struct("MockLanguageModel")
            .field("calls", &stage.n_calls())
            .field("unused", &stage.unused().len())
            .finish()
    }
}

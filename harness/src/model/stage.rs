//! [`Stage`]: the script, where it stands, and what was asked of it. Plain decisions; the model around it only plays.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use futures::future::BoxFuture;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use turnkeep_host::Entropy;
use turnkeep_model::Prompt;

use super::call::{CallEnd, ModelCall};
use super::chunking::{Chunking, Pace};
use super::disagreement::{leftover, unexpected};
use super::facts::Facts;
use super::script::{Repeat, ScriptPart, ScriptStep};
use super::when::When;

/// How many calls are remembered with their prompts; of older ones only the newest are kept.
pub const MAX_RECORDED_CALLS: usize = 10_000;

/// Told of every call, with the step it got, before the step plays.
pub type CallObserver = Arc<dyn Fn(&ModelCall) + Send + Sync>;

/// Answers a call by looking at it, or says why it cannot.
pub(super) type Respond = Arc<dyn Fn(ModelCall) -> BoxFuture<'static, Result<Vec<ScriptPart>, String>> + Send + Sync>;

/// What a model does when no step of its script fits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RunsOut {
    /// It refuses the call, and the test fails.
    #[default]
    Fail,
    /// It plays the step again that the caller's run got last, or the last step of the script.
    RepeatLast,
    /// It begins the script again.
    Loop,
}

/// One step in its place, and how much of it is left.
#[derive(Clone)]
pub(super) struct Slot {
    pub(super) number: usize,
    pub(super) step: ScriptStep,
    /// Says what the step plays, in the place of its parts.
    pub(super) respond: Option<Respond>,
    /// How many calls it may still answer; none means any number.
    pub(super) left: Option<usize>,
}

impl Slot {
    fn new(number: usize, step: ScriptStep, respond: Option<Respond>) -> Self {
        let mut slot = Self { number, step, respond, left: None };
        slot.refill();
        slot
    }

    fn refill(&mut self) {
        self.left = match self.step.repeat {
            None => Some(1),
            Some(Repeat::Times(times)) => Some(times),
            Some(Repeat::Forever) => None,
        };
    }

    fn is_spent(&self) -> bool {
        self.left == Some(0)
    }

    pub(super) fn when(&self) -> When {
        self.step.when.clone().unwrap_or_default()
    }
}

impl fmt::Debug for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Slot").field("number", &self.number).field("left", &self.left).finish_non_exhaustive()
    }
}

/// Which run of a chat asks, as the model knows it.
type Caller = (String, String);

/// The script and its state.
pub(super) struct Stage {
    slots: Vec<Slot>,
    otherwise: Option<Respond>,
    pub(super) runs_out: RunsOut,
    pub(super) replays_interrupted: bool,
    pub(super) pace: Pace,
    pub(super) chunking: Chunking,
    pub(super) entropy: Entropy,
    pub(super) calls: Vec<ModelCall>,
    n_calls: usize,
    /// How often the script was begun again.
    n_rounds: usize,
    complaints: Vec<String>,
    pub(super) observer: Option<CallObserver>,
    pub(super) tool_calls: usize,
    /// The runs of each chat, in the order in which they first asked.
    runs: BTreeMap<String, Vec<String>>,
    n_calls_of: BTreeMap<Caller, usize>,
    last_slot_of: BTreeMap<Caller, usize>,
    /// Interrupted calls whose step was played again.
    replayed: Vec<usize>,
}

/// What answers a call.
pub(super) enum Answer {
    Step(ScriptStep),
    /// A function says it; the step lends its settings.
    Respond(Respond, ScriptStep),
    /// Nothing does, for this reason.
    Nothing(String),
}

impl Default for Stage {
    fn default() -> Self {
        Self {
            slots: Vec::new(),
            otherwise: None,
            runs_out: RunsOut::default(),
            replays_interrupted: false,
            pace: Pace::default(),
            chunking: Chunking::default(),
            entropy: Entropy::from_seed(1),
            calls: Vec::new(),
            n_calls: 0,
            n_rounds: 0,
            complaints: Vec::new(),
            observer: None,
            tool_calls: 0,
            runs: BTreeMap::new(),
            n_calls_of: BTreeMap::new(),
            last_slot_of: BTreeMap::new(),
            replayed: Vec::new(),
        }
    }
}

impl Stage {
    pub(super) fn add(&mut self, step: ScriptStep, respond: Option<Respond>) {
        self.slots.push(Slot::new(self.slots.len(), step, respond));
    }

    pub(super) fn otherwise(&mut self, respond: Respond) {
        self.otherwise = Some(respond);
    }

    /// Decides what answers a call, and notes both.
    pub(super) fn take_up(&mut self, prompt: Prompt) -> (usize, Answer) {
        let caller = self.caller(&prompt);
        let (run, nth_of_run) = self.count(caller.as_ref());
        let facts = Facts::of(&prompt, run);
        let mut call = ModelCall {
            number: self.n_calls,
            nth_of_run,
            run,
            asked: facts.user.clone(),
            n_messages: prompt.messages.len(),
            prompt: Arc::new(prompt),
            step: None,
            answer: None,
            n_parts: 0,
            end: CallEnd::Open,
        };
        self.n_calls += 1;
        let slot = self.choose(&call, &facts, caller.as_ref());
        call.step = slot.as_ref().map(|slot| slot.number);
        let answer = match slot {
            Some(Slot { respond: Some(respond), step, .. }) => Answer::Respond(respond, step),
            Some(Slot { step, .. }) => {
                call.answer = Some(step.clone());
                Answer::Step(step)
            }
            None => match &self.otherwise {
                Some(respond) => Answer::Respond(respond.clone(), ScriptStep::default()),
                None => {
                    let complaint = unexpected(&call, &facts, &self.slots);
                    self.complaints.push(complaint.clone());
                    Answer::Nothing(complaint)
                }
            },
        };
        if let Some(observer) = &self.observer {
            observer(&call);
        }
        let number = call.number;
        if self.calls.len() == MAX_RECORDED_CALLS {
            self.calls.remove(0);
        }
        self.calls.push(call);
        (number, answer)
    }

    fn caller(&self, prompt: &Prompt) -> Option<Caller> {
        prompt.origin.as_ref().map(|origin| (origin.chat_id.clone(), origin.run_id.to_string()))
    }

    /// Counts the caller among the runs of its chat, and the call among those of the run.
    fn count(&mut self, caller: Option<&Caller>) -> (Option<usize>, usize) {
        let run = caller.map(|(chat, run_id)| {
            let runs = self.runs.entry(chat.clone()).or_default();
            runs.iter().position(|known| known == run_id).unwrap_or_else(|| {
                runs.push(run_id.clone());
                runs.len() - 1
            })
        });
        let n_calls = self.n_calls_of.entry(caller.cloned().unwrap_or_default()).or_default();
        *n_calls += 1;
        (run, *n_calls - 1)
    }

    /// Finds the step for a call and takes one call off what it has left.
    fn choose(&mut self, call: &ModelCall, facts: &Facts, caller: Option<&Caller>) -> Option<Slot> {
        if let Some(slot) = self.interrupted(call) {
            return Some(slot);
        }
        let at = self.best(facts).or_else(|| self.when_out(facts, caller))?;
        let slot = &mut self.slots[at];
        slot.left = slot.left.map(|left| left.saturating_sub(1));
        self.last_slot_of.insert(caller.cloned().unwrap_or_default(), at);
        Some(self.slots[at].clone())
    }

    /// Finds the step that fits best: by content, then by the numbers, then by its place.
    fn best(&self, facts: &Facts) -> Option<usize> {
        let open = self.slots.iter().enumerate().filter(|(_, slot)| !slot.is_spent());
        let fitting = open.filter(|(_, slot)| slot.when().misses(facts).is_empty());
        let rating = |(at, slot): &(usize, &Slot)| {
            let when = slot.when();
            (when.n_content(), when.tie(facts), std::cmp::Reverse(*at))
        };
        fitting.max_by_key(rating).map(|(at, _)| at)
    }

    /// Finds the step of a script that has no fitting one left.
    fn when_out(&mut self, facts: &Facts, caller: Option<&Caller>) -> Option<usize> {
        match self.runs_out {
            RunsOut::Fail => None,
            RunsOut::RepeatLast => {
                let last = self.last_slot_of.get(&caller.cloned().unwrap_or_default()).copied();
                last.or_else(|| self.slots.iter().rposition(|slot| slot.when().foreign(facts).is_empty()))
            }
            RunsOut::Loop => {
                let theirs = |slot: &&mut Slot| slot.when().foreign(facts).is_empty();
                self.slots.iter_mut().filter(theirs).for_each(Slot::refill);
                self.n_rounds += 1;
                self.best(facts)
            }
        }
    }

    /// Finds the step of a call that died with its worker and is now asked again by a later attempt or run of the chat.
    fn interrupted(&mut self, call: &ModelCall) -> Option<Slot> {
        let origin = call.prompt.origin.as_ref().filter(|_| self.replays_interrupted)?;
        let is_it = |earlier: &&ModelCall| {
            let Some(theirs) = &earlier.prompt.origin else { return false };
            let is_later = (call.run, origin.attempt) > (earlier.run, theirs.attempt);
            let is_same = theirs.chat_id == origin.chat_id && earlier.asked == call.asked;
            let same_step = earlier.prompt.step == call.prompt.step;
            is_later && is_same && same_step && earlier.is_aborted() && !self.replayed.contains(&earlier.number)
        };
        let earlier = self.calls.iter().rfind(is_it)?;
        let slot = self.slots.get(earlier.step?)?.clone();
        self.replayed.push(earlier.number);
        Some(slot)
    }

    /// Notes how a call goes on; one that is forgotten already is nobody's business any more.
    pub(super) fn note(&mut self, number: usize, note: impl FnOnce(&mut ModelCall)) {
        if let Some(call) = self.calls.iter_mut().rfind(|call| call.number == number) {
            note(call);
        }
    }

    pub(super) fn complain(&mut self, complaint: String) {
        self.complaints.push(complaint);
    }

    pub(super) fn n_calls(&self) -> usize {
        self.n_calls
    }

    pub(super) fn complaints(&self) -> &[String] {
        &self.complaints
    }

    /// Gives the steps that must still be used.
    pub(super) fn unused(&self) -> Vec<&Slot> {
        self.slots.iter().filter(|slot| slot.left.is_some_and(|left| left > 0)).collect()
    }

    /// Says how the agent and the script disagree; nothing when they agree.
    pub(super) fn verdict(&self) -> Option<String> {
        let mut lines: Vec<String> = self.complaints.clone();
        // A script that has been through once is used, wherever its next round stands.
        if self.n_rounds == 0 {
            lines.extend(self.unused().into_iter().map(|slot| leftover(slot, &self.calls, self.slots.len())));
        }
        (!lines.is_empty()).then(|| lines.join("\n"))
    }
}

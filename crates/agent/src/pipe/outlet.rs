//! [`Outlet`]: whose turn a pipe is in, and [`Pipes`]: what was piped by hand in it.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::Value;
use turnkeep_host::Draws;
use turnkeep_model::{ModelOutputs, Origin};
use turnkeep_protocol::{UiMessage, Withheld};

use crate::answer::StreamText;
use crate::attempt::MessageIds;
use crate::chat::Chat;
use crate::compaction::{Kept, Summed};
use crate::generation::{Arrived, Generated, PART_ID_CHARACTERS, Preparation, Setting};
use crate::signal::Signal;
use crate::tool::with_mappings;

/// What a pipe needs to know of its turn.
#[derive(Clone)]
pub(crate) struct Outlet {
    /// Stops the turn.
    pub(crate) stop: Signal,
    pub(crate) model_outputs: ModelOutputs,
    /// Who asks the model.
    pub(crate) origin: Origin,
    pub(crate) client_data: Value,
    pub(crate) part_ids: Arc<Draws>,
    pub(crate) message_ids: MessageIds,
    /// The message whose calls the turn's own message answered; an answer goes on with no other one (D-62).
    pub(crate) continued: Option<String>,
    /// What the turn does before each step of an answer.
    pub(crate) preparation: Preparation,
}

impl Outlet {
    /// Gives an answer what it needs of its turn, which it fills `response` in; `stop` stops it.
    pub(crate) fn setting(self, chat: &Chat, stream: &StreamText, response: UiMessage, stop: Signal) -> Setting {
        Setting {
            chat: chat.clone(),
            writer: chat.writer(),
            stop,
            model_outputs: with_mappings(self.model_outputs, &stream.tools),
            response,
            turn: self.origin.turn,
            origin: self.origin,
            client_data: self.client_data,
            context: stream.context.clone(),
            ids: self.part_ids,
            preparation: self.preparation,
        }
    }
}

/// What pipes leave behind.
#[derive(Debug, Default)]
pub(crate) struct PipedByHand {
    /// The tools that ran here, or might have.
    pub(crate) executors: BTreeSet<String>,
    /// What came in between the steps of which answer.
    pub(crate) arrivals: Vec<(String, Arrived)>,
    /// The summary that the newest answer went on from.
    pub(crate) summary: Option<Kept>,
    /// Whether a model has answered, and what people did not get of the newest answer (D-68).
    pub(crate) withheld: Option<Option<Withheld>>,
}

/// One run's pipes.
#[derive(Default)]
pub(crate) struct Pipes(Mutex<State>);

#[derive(Default)]
struct State {
    outlet: Option<Outlet>,
    /// In this turn.
    n_pipes: usize,
    by_hand: PipedByHand,
    /// The summary that an author's own step preparation has made in this turn.
    summed: Option<Summed>,
}

impl Pipes {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins a turn, in which nothing was piped yet.
    pub(crate) fn open(&self, outlet: Outlet) {
        let mut state = self.state();
        state.outlet = Some(outlet);
        state.n_pipes = 0;
        state.summed = None;
        state.by_hand.summary = None;
    }

    /// Says what the turn does before each step of its answers from now on.
    pub(crate) fn prepare(&self, preparation: Preparation) {
        if let Some(outlet) = &mut self.state().outlet {
            outlet.preparation = preparation;
        }
    }

    /// Takes those of them that `response` makes: nobody else runs them then.
    pub(crate) fn take_open_calls(&self, response: &UiMessage) -> BTreeSet<String> {
        let mut state = self.state();
        let Some(outlet) = &mut state.outlet else {
            return BTreeSet::new();
        };
        let is_made = |id: &mut String| response.tool_part(id).is_some();
        outlet.preparation.open_calls.extract_if(.., is_made).collect()
    }

    /// Tells what an answer needs of the turn; none without a run.
    pub(crate) fn outlet(&self) -> Option<Outlet> {
        self.state().outlet.clone()
    }

    /// Gives the summary that this turn's answer goes on from.
    pub(crate) fn summed(&self) -> Option<Summed> {
        self.state().summed.clone()
    }

    /// Notes the summary that this turn's answer goes on from; `new` is one that the turns after shall read as well.
    pub(crate) fn sum_up(&self, summed: Option<Summed>, new: Option<Kept>) {
        let mut state = self.state();
        state.summed = summed;
        if new.is_some() {
            state.by_hand.summary = new;
        }
    }

    /// Says whose calls the turn's message answered.
    pub(crate) fn go_on_with(&self, continued: Option<String>) {
        if let Some(outlet) = &mut self.state().outlet {
            outlet.continued = continued;
        }
    }

    /// Makes an id for a part; an empty one without a run.
    pub(crate) fn part_id(&self) -> String {
        let state = self.state();
        state.outlet.as_ref().map(|outlet| outlet.part_ids.alphanumeric(PART_ID_CHARACTERS)).unwrap_or_default()
    }

    /// Counts a pipe and tells it where it ends; none without a run.
    pub(super) fn begin(&self) -> Option<Outlet> {
        let mut state = self.state();
        state.n_pipes += 1;
        state.outlet.clone()
    }

    /// Notes what a pipe has left behind; its answer went on with a message of so many steps.
    pub(super) fn end(&self, generated: &mut Generated, n_steps: usize) {
        let by_hand = &mut self.state().by_hand;
        by_hand.executors.append(&mut generated.executors);
        let response_id = generated.message.as_ref().map(|message| message.id.clone()).unwrap_or_default();
        by_hand.withheld = Some(generated.withheld.take());
        if let Some(summary) = generated.summary.take() {
            by_hand.summary = Some(summary);
        }
        // One that the author's step preparation made is of the answer whose step was prepared.
        if let Some(summary) = by_hand.summary.as_mut().filter(|summary| summary.response.is_none()) {
            summary.response = Some((response_id.clone(), n_steps));
        }
        by_hand.arrivals.extend(generated.arrivals.drain(..).map(|arrived| (response_id.clone(), arrived)));
    }

    /// Tells whether something was piped by hand in this turn.
    pub(crate) fn are_used(&self) -> bool {
        self.state().n_pipes > 0
    }

    /// Takes what pipes have left behind since the last look.
    pub(crate) fn take(&self) -> PipedByHand {
        std::mem::take(&mut self.state().by_hand)
    }
}

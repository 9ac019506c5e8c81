//! [`Outlet`]: whose turn a pipe is in, and [`Pipes`]: what was piped by hand in it.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::Value;
use turnkeep_host::Draws;
use turnkeep_model::{ModelOutputs, Origin};

use crate::attempt::MessageIds;
use crate::generation::{Arrived, PART_ID_CHARACTERS};
use crate::signal::Signal;

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
}

/// What pipes leave behind.
#[derive(Debug, Default)]
pub(crate) struct PipedByHand {
    /// The tools that ran here, or might have.
    pub(crate) executors: BTreeSet<String>,
    /// What only the model was told between steps.
    pub(crate) arrivals: Vec<Arrived>,
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

    /// Notes what a pipe has left behind.
    pub(super) fn end(&self, executors: BTreeSet<String>, arrivals: Vec<Arrived>) {
        let mut state = self.state();
        state.by_hand.executors.extend(executors);
        state.by_hand.arrivals.extend(arrivals);
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

//! [`Run`]: one attempt at a run, from boot to its end (A §3, §4, §11).

mod action;
mod boot;
mod boundary;
mod errored;
mod handover;
mod hooks;
mod store;
mod tools;
mod turn;
mod wait;

use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use turnkeep_host::Host;
use turnkeep_model::{LanguageModel, ModelOutputs, Usage};
use turnkeep_protocol::run_api::LeasedRun;
use turnkeep_protocol::{Trigger, UiMessageChunk};

use self::wait::Phase;
use crate::agent::Agent;
use crate::attempt::{AtHand, Attempt, AttemptParts};
use crate::boot::replay::Owed;
use crate::boundary::Boundaries;
use crate::chain::Chain;
use crate::checkpoint::{Gate, Place};
use crate::custom;
use crate::error::Error;
use crate::input::InputChannel;
use crate::link::Link;
use crate::model_history::ModelHistory;
use crate::record::Asks;
use crate::signal::Signal;
use crate::steering::SharedSteering;
use crate::task::Task;
use crate::tool::ServerTools;
use crate::views::Views;
use crate::worker::Warn;

/// What a run is made from.
pub(crate) struct RunParts {
    pub(crate) host: Host,
    pub(crate) agent: Agent,
    pub(crate) model: Arc<dyn LanguageModel>,
    pub(crate) link: Arc<dyn Link>,
    pub(crate) input: InputChannel,
    pub(crate) lease: LeasedRun,
    pub(crate) warn: Warn,
    pub(crate) gate: Gate,
}

impl RunParts {
    /// Makes the task around the run.
    pub(crate) fn task(&self) -> Arc<Task> {
        Arc::new(Task::new(&self.agent, &self.lease, self.link.clone(), self.warn.clone(), &self.gate))
    }

    /// Serves the session with the turn loop, or with the agent's own code.
    ///
    /// # Errors
    ///
    /// Fails when the run cannot go on; what is not settled then is still owed.
    pub(crate) async fn serve(self, task: Arc<Task>) -> Result<(), Error> {
        let ended = match task.start().await {
            Ok(()) => self.serve_in(task.clone()).await,
            failed => failed,
        };
        task.end(ended).await
    }

    async fn serve_in(self, task: Arc<Task>) -> Result<(), Error> {
        match self.agent.custom.clone() {
            Some(code) => custom::serve(code, self, task).await,
            None => Run::new(self, task)?.serve().await,
        }
    }
}

/// One attempt at a run, driven by the turn loop.
struct Run {
    attempt: Attempt,
    agent: Agent,
    model: Arc<dyn LanguageModel>,
    chain: Chain,
    model_history: ModelHistory,
    steering: SharedSteering,
    /// The names of tools that run here.
    server_tools: ServerTools,
    /// The agent's own mappings, without those of the turn's tools.
    own_outputs: ModelOutputs,
    /// Whether the newest snapshot could not be stored.
    lacks_snapshot: bool,
    /// Message turns so far, failed ones included.
    n_turns: usize,
    previous_turn_usage: Option<Usage>,
    total_usage: Usage,
    /// Stops the first turn of a run that waits for a head start.
    first_stop: Signal,
}

impl Run {
    /// Makes the run; nothing happens before [`Run::serve`].
    fn new(parts: RunParts, task: Arc<Task>) -> Result<Self, Error> {
        let RunParts { host, agent, model, link, input, lease, warn, gate } = parts;
        let agent = agent.gated(&gate);
        let is_hydrated = agent.hooks.hydrate_messages.is_some();
        let boundaries = if is_hydrated { Boundaries::kept_by_author(None) } else { Boundaries::default() };
        let locals = agent.fresh_locals();
        let tools = agent.tools.clone();
        let has_resolver = agent.hooks.tools.is_some();
        let mut run = Self {
            attempt: Attempt::new(AttemptParts { host, link, input, lease, warn, gate, locals, boundaries, task })?,
            chain: Chain::default(),
            model_history: ModelHistory::default(),
            steering: SharedSteering::default(),
            server_tools: if has_resolver { ServerTools::unresolved() } else { ServerTools::default() },
            own_outputs: agent.model_outputs.clone(),
            lacks_snapshot: false,
            n_turns: 0,
            previous_turn_usage: None,
            total_usage: Usage::default(),
            first_stop: Signal::new(),
            agent,
            model,
        };
        run.take_tools(tools);
        let (warn, ctx) = (run.attempt.warner(), run.ctx.clone());
        run.chat.has_turns(Box::new(move |text| warn(&ctx, text)));
        Ok(run)
    }

    /// Serves the session until the run ends by its own will.
    ///
    /// # Errors
    ///
    /// Fails when the run cannot go on; what is not settled then is still owed.
    async fn serve(mut self) -> Result<(), Error> {
        self.out.stand_apart();
        self.boot().await?;
        self.gate.reach(Place::Booted).await;
        if self.awaits_handover && !self.take_over_first_turn().await? {
            return self.leaving().leave().await;
        }
        let mut next = self.first().await?;
        while let Some(owed) = next {
            if owed.seq_num.is_some() {
                self.out.serve_record();
            }
            self.take_up(owed).await?;
            self.out.stand_apart();
            self.reach_turn_end().await;
            next = self.next(Phase::Turn).await?;
        }
        self.leaving().leave().await
    }

    /// Finds the first turn by the shape of the boot (A §3.7).
    async fn first(&mut self) -> Result<Option<Owed>, Error> {
        let is_continuation = self.is_continuation();
        match self.payload.trigger {
            // A close boots nothing.
            Some(Trigger::Close) => Ok(None),
            _ if is_continuation => self.next(Phase::Continuation).await,
            // A first run without a trigger was started before its first message (D-38).
            None | Some(Trigger::Preload) => {
                if self.recovered.is_empty() {
                    self.on_preload().await?;
                }
                self.next(Phase::Preload).await
            }
            // The first message of every other boot lies on `in` as well (D-38, A-81).
            Some(_) => self.next(Phase::Preload).await,
        }
    }

    /// Finds the next payload: recovered, then queued, then whatever comes. None ends the run.
    async fn next(&mut self, phase: Phase) -> Result<Option<Owed>, Error> {
        // Looked at before a message is taken: one that is taken and then left would be owed for no reason.
        if self.n_turns >= self.agent.limits.max_turns {
            return Ok(None);
        }
        match self.at_hand() {
            AtHand::Payload(owed) => Ok(Some(*owed)),
            AtHand::End => Ok(None),
            AtHand::Nothing => Ok(self.wait(phase).await?.and_then(|owed| self.unless_close(owed))),
        }
    }

    /// Does what one payload asks for.
    async fn take_up(&mut self, owed: Owed) -> Result<(), Error> {
        let is_sent_again = owed.payload.trigger == Some(Trigger::SubmitMessage) && self.is_sent_again(&owed);
        match Asks::of(&owed.payload, is_sent_again) {
            Asks::Turn => self.message_turn(owed).await,
            Asks::Action => self.action(owed).await,
            Asks::Boundary(error) => {
                if let Some(text) = error {
                    self.out.chunk(&UiMessageChunk::error(text)).await?;
                }
                self.close_turn(owed.seq_num, None).await?;
                // A boot would take the words for said: no answer tells that they were dropped (D-42, A-48).
                if is_sent_again { self.store_snapshot().await } else { Ok(()) }
            }
            Asks::Nothing => {
                self.finish(&owed);
                Ok(())
            }
        }
    }

    /// Tells whether the author keeps the history.
    fn is_hydrated(&self) -> bool {
        self.agent.hooks.hydrate_messages.is_some()
    }

    /// Shows both views of the conversation to what changes both.
    fn views(&mut self) -> Views<'_> {
        Views { chain: &mut self.chain, model_history: &mut self.model_history, outputs: &self.agent.model_outputs }
    }

    /// Makes an id that no message of the chain has.
    fn fresh_message_id(&self) -> String {
        self.attempt.message_ids.fresh(|id| self.chain.contains(id))
    }
}

impl Deref for Run {
    type Target = Attempt;

    fn deref(&self) -> &Attempt {
        &self.attempt
    }
}

impl DerefMut for Run {
    fn deref_mut(&mut self) -> &mut Attempt {
        &mut self.attempt
    }
}

#[cfg(test)]
mod tests;

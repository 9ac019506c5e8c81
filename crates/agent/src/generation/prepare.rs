//! What happens before each step: what came in joins the history, and the author may change what the model is asked.

use std::sync::Arc;

use turnkeep_model::{LanguageModel, Prompt};
use turnkeep_protocol::{ModelMessage, Withheld};

use super::{Arrived, Cut, Generation};
use crate::answer::{PrepareStep, StepChange};
use crate::compaction::{Compaction, Surroundings};
use crate::error::HookError;
use crate::inject::ends_with_open_approval;
use crate::model_history::n_steps;
use crate::steering::Hearing;
use crate::tool::{Tool, check_tools};

/// What a turn does before every step of its answers, whoever pipes them.
#[derive(Clone, Default)]
pub(crate) struct Preparation {
    /// None when nobody may steer.
    pub(crate) hearing: Option<Hearing>,
    /// None when nothing is compacted unasked.
    pub(crate) compaction: Option<Compaction>,
    pub(crate) surroundings: Surroundings,
    /// What people did not get of the message that an answer goes on with (D-68).
    pub(crate) withheld: Option<Withheld>,
    /// The calls that a head start has left to the turn; whoever answers first runs them, once.
    pub(crate) open_calls: Vec<String>,
}

/// One step, ready to be asked for.
pub(super) struct StepPlan {
    pub(super) model: Arc<dyn LanguageModel>,
    pub(super) prompt: Prompt,
    /// The prompt's messages without the system's.
    pub(super) messages: Vec<ModelMessage>,
    pub(super) tools: Vec<Tool>,
}

impl Generation {
    /// Prepares the next step: compaction, steering, what was injected, the author's own change; each feeds the next.
    pub(super) async fn prepare(&mut self) -> Result<StepPlan, Cut> {
        let mut messages = self.compacted().await?;
        self.steer(&mut messages).await?;
        self.take_injected(&mut messages);
        let change = self.ask_author(&messages).await?;
        let plan = self.plan(messages, change);
        check_tools(&plan.tools).map_err(HookError::from)?;
        let executors = plan.tools.iter().filter(|tool| tool.execute().is_some());
        self.executors.extend(executors.map(|tool| tool.name().to_owned()));
        Ok(plan)
    }

    pub(super) fn messages(&self) -> Result<Vec<ModelMessage>, Cut> {
        Ok(self.history.messages(self.said(), &self.setting.model_outputs)?)
    }

    /// Tells the model what was injected since the last look.
    fn take_injected(&mut self, messages: &mut Vec<ModelMessage>) {
        // Whatever looks for approvals looks in the last message only (AR-26).
        if !ends_with_open_approval(messages) {
            let injected = self.setting.chat.take_injected();
            let n_steps = n_steps(self.reducer.message());
            self.arrive(messages, Arrived { n_steps, messages: injected, speaks_for: Vec::new() });
        }
    }

    /// Puts messages behind the steps so far, for this step, for the rest of the answer and for the history after it.
    pub(super) fn arrive(&mut self, messages: &mut Vec<ModelMessage>, arrived: Arrived) {
        if arrived.messages.is_empty() {
            return;
        }
        messages.extend(arrived.messages.iter().cloned());
        self.history.arrive(self.steps.n_steps, arrived.messages.clone());
        self.arrivals.push(arrived);
    }

    pub(super) async fn ask_author(&mut self, messages: &[ModelMessage]) -> Result<StepChange, Cut> {
        let Some(hook) = self.stream.prepare_step.clone() else {
            return Ok(StepChange::none());
        };
        let event = PrepareStep {
            chat: self.setting.chat.clone(),
            turn: self.setting.turn,
            client_data: self.setting.client_data.clone(),
            step_number: self.steps.n_steps,
            steps: self.steps.results.clone(),
            messages: messages.to_vec(),
        };
        let mut change = self.unless_stopped(hook(event)).await?.map_err(Cut::from)?;
        for chunk in std::mem::take(&mut change.told) {
            self.note_told(&chunk);
        }
        Ok(change)
    }

    fn plan(&self, messages: Vec<ModelMessage>, change: StepChange) -> StepPlan {
        let stream = &self.stream;
        let tools = change.tools.unwrap_or_else(|| stream.tools.clone());
        let (mut settings, mut provider_options) = (stream.settings.clone(), stream.provider_options.clone());
        settings.extend(change.settings);
        provider_options.extend(change.provider_options);
        let messages = change.messages.unwrap_or(messages);
        let mut sent = messages.clone();
        let mut system = change.system.or_else(|| stream.system.clone());
        if !stream.system_options.is_empty()
            && let Some(text) = system.take()
        {
            let provider_options = Some(stream.system_options.clone().into());
            sent.insert(0, ModelMessage { provider_options, ..ModelMessage::system(text) });
        }
        let prompt = Prompt {
            system,
            messages: sent,
            tools: tools.iter().map(|tool| tool.spec().clone()).collect(),
            step: self.steps.n_steps,
            settings,
            provider_options,
            origin: Some(self.setting.origin.clone()),
        };
        StepPlan { model: change.model.unwrap_or_else(|| stream.model.clone()), prompt, messages, tools }
    }
}

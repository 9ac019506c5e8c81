//! [`Shared`]: the queue of messages that wait to join an answer, live for the accumulator and for the answer's steps alike.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use turnkeep_protocol::{Messages, ModelMessage, UiMessage, UiMessageChunk};

use super::TakenIn;
use super::edits::Edits;
use crate::answer::{PrepareStep, StepChange};
use crate::compaction::{Between, Compaction, Kept, Summed, Surroundings};
use crate::error::HookError;
use crate::event::{CompactionSource, CompactionSummary, PendingMessagesBatch, PendingMessagesInjected};
use crate::generation::Arrived;
use crate::inject::ends_with_open_approval;
use crate::model_history::n_steps;
use crate::signal::Signal;
use crate::steering::{PendingMessages, Verdict, tell_injected};

/// A message, and what the model reads of it.
#[derive(Clone, Debug)]
struct Waiting {
    message: UiMessage,
    told: Vec<ModelMessage>,
}

/// Messages that joined an answer behind its first `step` steps.
#[derive(Debug)]
struct Injected {
    step: usize,
    batch: Vec<Waiting>,
    told: Vec<ModelMessage>,
}

/// Clones share one queue.
#[derive(Clone, Debug, Default)]
pub(crate) struct Shared(Arc<Mutex<Live>>);

#[derive(Debug, Default)]
pub(crate) struct Live {
    /// Oldest first.
    waiting: VecDeque<Waiting>,
    injected: Vec<Injected>,
    edits: Edits,
    /// The steps of the answer so far.
    n_steps: usize,
    /// What the answer goes on from, and the same as the turns after are told of it.
    summed: Option<Summed>,
    summary: Option<CompactionSummary>,
}

impl Shared {
    fn live(&self) -> MutexGuard<'_, Live> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues a message; one that waits already, or has joined the answer, does not wait twice.
    pub(crate) fn wait(&self, message: UiMessage, told: Vec<ModelMessage>) -> bool {
        let mut live = self.live();
        let mut known = live.waiting.iter().chain(live.injected.iter().flat_map(|injected| &injected.batch));
        if known.any(|known| known.message.id == message.id) {
            return false;
        }
        live.waiting.push_back(Waiting { message, told });
        true
    }

    /// Takes what waits.
    pub(super) fn drain(&self) -> Vec<UiMessage> {
        self.live().waiting.drain(..).map(|waiting| waiting.message).collect()
    }

    /// Begins an answer. What joined one that nobody has added waits again.
    fn begin_answer(&self) {
        let mut live = self.live();
        let (waiting, injected) = (std::mem::take(&mut live.waiting), std::mem::take(&mut live.injected));
        let waiting = injected.into_iter().flat_map(|injected| injected.batch).chain(waiting).collect();
        *live = Live { waiting, ..Live::default() };
    }

    /// Ends the answer that has become `response`, if anything.
    pub(super) fn end_answer(&self, response: Option<&UiMessage>, compaction: Option<&Compaction>) -> TakenIn {
        let mut live = self.live();
        let over = Live { waiting: std::mem::take(&mut live.waiting), ..Live::default() };
        let over = std::mem::replace(&mut *live, over);
        // Steps of the message that the answer goes on with are not its own.
        let n_earlier = response.map_or(0, n_steps).saturating_sub(over.n_steps);
        let response_id = response.map(|response| response.id.clone()).unwrap_or_default();
        let mut taken_in = TakenIn::default();
        if let (Some(event), Some(options)) = (over.summary, compaction) {
            let response = Some((response_id.clone(), n_earlier));
            taken_in.summary = Some((Kept { text: event.summary.clone(), options: options.clone(), response }, event));
        }
        for Injected { step, batch, told } in over.injected {
            let speaks_for = batch.iter().map(|waiting| waiting.message.id.clone()).collect();
            let arrived = Arrived { n_steps: n_earlier + step, messages: told, speaks_for };
            taken_in.arrivals.push((response_id.clone(), arrived));
            taken_in.steered.extend(batch.into_iter().map(|waiting| (response_id.clone(), waiting.message)));
        }
        taken_in
    }
}

/// Prepares the steps of answers.
#[derive(Clone)]
pub(super) struct Preparation {
    shared: Shared,
    compaction: Option<Compaction>,
    pending_messages: Option<PendingMessages>,
}

impl Live {
    pub(super) fn preparation(
        shared: &Shared,
        compaction: Option<Compaction>,
        pending_messages: Option<PendingMessages>,
    ) -> Preparation {
        Preparation { shared: shared.clone(), compaction, pending_messages }
    }
}

impl Preparation {
    pub(super) async fn prepare(&self, step: PrepareStep) -> Result<StepChange, HookError> {
        if step.step_number == 0 {
            self.shared.begin_answer();
        }
        self.shared.live().n_steps = step.step_number + 1;
        let full = self.shared.live().edits.apply(&step.messages);
        let summed = self.compact(&step, &full).await?;
        let mut read = summed.unwrap_or(full);
        let told = self.steer(&step, &mut read).await?.into_iter().collect();
        let change = StepChange { told, ..StepChange::none() };
        Ok(if read == step.messages { change } else { change.messages(read) })
    }

    /// Gives what is read in place of what the answer would, if it is time for a summary or there is one.
    async fn compact(&self, step: &PrepareStep, full: &[ModelMessage]) -> Result<Option<Vec<ModelMessage>>, HookError> {
        let Some(options) = &self.compaction else {
            return Ok(None);
        };
        let look = Between {
            chat: &step.chat,
            options,
            surroundings: &Surroundings::default(),
            messages: full,
            steps: &step.steps,
            turn: step.turn,
            client_data: &step.client_data,
            // Whoever asks for the step stops asking when its answer is stopped.
            stop: &Signal::new(),
        };
        let mut summed = self.shared.live().summed.clone();
        let result = look.compact(&mut summed).await;
        let mut live = self.shared.live();
        if let Some(new) = summed.as_ref().filter(|_| summed != live.summed) {
            live.summary = Some(CompactionSummary {
                chat: step.chat.clone(),
                summary: new.text.clone(),
                ui_messages: Messages::new(),
                model_messages: Vec::new(),
                turn: step.turn,
                client_data: step.client_data.clone(),
                source: CompactionSource::Inner,
            });
        }
        live.summed = summed;
        Ok(result?.into_messages())
    }

    /// Takes in what waits, if the author wants it, and gives what readers were told of it.
    async fn steer(
        &self,
        step: &PrepareStep,
        read: &mut Vec<ModelMessage>,
    ) -> Result<Option<UiMessageChunk>, HookError> {
        // Whatever looks for approvals looks in the last message only (AR-26).
        let (Some(options), false) = (&self.pending_messages, ends_with_open_approval(read)) else {
            return Ok(None);
        };
        let batch: Vec<Waiting> = self.shared.live().waiting.drain(..).collect();
        if batch.is_empty() {
            return Ok(None);
        }
        // Out of the queue before the author is asked: what is steered meanwhile is not among what was judged (AR-25).
        let messages: Vec<UiMessage> = batch.iter().map(|waiting| waiting.message.clone()).collect();
        let told = match options.judge(batch_event(step, messages.clone(), read.clone())).await {
            Ok(Verdict::JoinsAs(told)) => Ok(told),
            Ok(Verdict::Joins) => Ok(batch.iter().flat_map(|waiting| waiting.told.clone()).collect()),
            Ok(Verdict::WaitsOn) => Ok(Vec::new()),
            Err(error) => Err(error),
        };
        let told = match told {
            Ok(told) if !told.is_empty() => told,
            other => {
                let mut live = self.shared.live();
                batch.into_iter().rev().for_each(|waiting| live.waiting.push_front(waiting));
                return other.map(|_| None);
            }
        };
        read.extend(told.iter().cloned());
        {
            let mut live = self.shared.live();
            live.edits.insert(step.messages.len(), told.clone());
            live.injected.push(Injected { step: step.step_number, batch, told: told.clone() });
        }
        let told_readers = tell_injected(&step.chat.writer(), &step.chat.pipes().part_id(), &messages).await?;
        let event = PendingMessagesInjected {
            chat: step.chat.clone(),
            messages,
            injected_model_messages: told,
            turn: step.turn,
            step_number: step.step_number.checked_sub(1),
        };
        options.tell_author(event).await?;
        Ok(Some(told_readers))
    }
}

fn batch_event(
    step: &PrepareStep,
    messages: Vec<UiMessage>,
    model_messages: Vec<ModelMessage>,
) -> PendingMessagesBatch {
    PendingMessagesBatch {
        chat: step.chat.clone(),
        messages,
        model_messages,
        steps: step.steps.clone(),
        step_number: step.step_number.checked_sub(1),
        turn: step.turn,
        client_data: step.client_data.clone(),
    }
}

//! [`Shared`]: the queue of messages that wait to join an answer, live for the accumulator and for the answer's steps alike.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use turnkeep_model::Usage;
use turnkeep_protocol::{ModelMessage, UiMessage, UiMessageChunk};

use super::edits::Edits;
use crate::answer::{PrepareStep, StepChange};
use crate::compaction::{Compaction, Inner, Procedure, Status, inner};
use crate::error::{Error, HookError, OutOfMemory};
use crate::event::{
    CompactionCheck, CompactionSource, CompactionSummary, PendingMessagesBatch, PendingMessagesInjected,
};
use crate::generation::Arrived;
use crate::inject::ends_with_open_approval;
use crate::model_history::n_steps;
use crate::steering::{PendingMessages, injected_chunk};
use crate::views::summary_event;

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

/// What an answer that is over has taken in.
#[derive(Debug, Default)]
pub(super) struct Joined {
    pub(super) steered: Vec<UiMessage>,
    pub(super) arrivals: Vec<Arrived>,
    /// The summary that the answer went on from.
    pub(super) summary: Option<CompactionSummary>,
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
    pub(super) fn end_answer(&self, response: Option<&UiMessage>) -> Joined {
        let mut live = self.live();
        let over = Live { waiting: std::mem::take(&mut live.waiting), ..Live::default() };
        let over = std::mem::replace(&mut *live, over);
        // Steps of the message that the answer goes on with are not its own.
        let n_earlier = response.map_or(0, n_steps).saturating_sub(over.n_steps);
        let mut joined = Joined { summary: over.summary, ..Joined::default() };
        for Injected { step, batch, told } in over.injected {
            let speaks_for = batch.iter().map(|waiting| waiting.message.id.clone()).collect();
            joined.arrivals.push(Arrived { n_steps: n_earlier + step, messages: told, speaks_for });
            joined.steered.extend(batch.into_iter().map(|waiting| waiting.message));
        }
        joined
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
        self.compact(&step).await?;
        let told = self.steer(&step).await?.into_iter().collect();
        let live = self.shared.live();
        let change = StepChange { told, ..StepChange::none() };
        Ok(if live.edits.is_empty() { change } else { change.messages(live.edits.apply(&step.messages)) })
    }

    fn read(&self, step: &PrepareStep) -> Vec<ModelMessage> {
        self.shared.live().edits.apply(&step.messages)
    }

    /// Puts a summary in place of what the answer reads, if it is time.
    async fn compact(&self, step: &PrepareStep) -> Result<(), HookError> {
        let has_summary = self.shared.live().edits.has_summary();
        let (Some(options), Some(newest)) = (self.compaction.clone(), step.steps.last()) else {
            return Ok(());
        };
        if inner(Some(newest), has_summary) != Inner::Ask {
            return Ok(());
        }
        let check = CompactionCheck {
            chat: step.chat.clone(),
            messages: self.read(step),
            total_tokens: newest.usage.total_tokens,
            input_tokens: newest.usage.input_tokens,
            output_tokens: newest.usage.output_tokens,
            usage: newest.usage,
            total_usage: step.steps.iter().fold(Usage::default(), |sum, step| sum + step.usage),
            turn: step.turn,
            client_data: step.client_data.clone(),
            source: CompactionSource::Inner,
            step_number: step.step_number.checked_sub(1),
            steps: step.steps.clone(),
        };
        let (writer, id) = (step.chat.writer(), step.chat.pipes().part_id());
        let procedure = Procedure { options, on_compacted: None, writer, id };
        if !procedure.is_due(&check).await? {
            return Ok(());
        }
        procedure.tell(Status::Compacting, &check).await?;
        let made = procedure.sum_up(&check).await;
        let status = if made.is_ok() { Status::Complete } else { Status::Failed };
        procedure.tell(status, &check).await?;
        let summary = made?;
        let mut live = self.shared.live();
        live.edits.sum_up(step.messages.len(), vec![ModelMessage::user(summary.clone())]);
        live.summary = Some(summary_event(&check, summary));
        Ok(())
    }

    /// Takes in what waits, if the author wants it, and gives what readers were told of it.
    async fn steer(&self, step: &PrepareStep) -> Result<Option<UiMessageChunk>, HookError> {
        let read = self.read(step);
        // Whatever looks for approvals looks in the last message only (AR-26).
        let (Some(options), false) = (&self.pending_messages, ends_with_open_approval(&read)) else {
            return Ok(None);
        };
        let batch: Vec<Waiting> = self.shared.live().waiting.drain(..).collect();
        if batch.is_empty() {
            return Ok(None);
        }
        // Out of the queue before the author is asked: what is steered meanwhile is not among what was judged (AR-25).
        let judged = judge(options, &batch, read, step).await;
        let told = match judged {
            Ok(told) if !told.is_empty() => told,
            other => {
                let mut live = self.shared.live();
                batch.into_iter().rev().for_each(|waiting| live.waiting.push_front(waiting));
                return other.map(|_| None);
            }
        };
        let messages: Vec<UiMessage> = batch.iter().map(|waiting| waiting.message.clone()).collect();
        {
            let mut live = self.shared.live();
            live.edits.insert(step.messages.len(), told.clone());
            live.injected.push(Injected { step: step.step_number, batch, told: told.clone() });
        }
        let told_readers = Some(tell_injected(step, &messages).await?);
        let Some(hook) = &options.on_injected else {
            return Ok(told_readers);
        };
        let event = PendingMessagesInjected {
            chat: step.chat.clone(),
            messages,
            injected_model_messages: told,
            turn: step.turn,
            step_number: step.step_number.checked_sub(1),
        };
        match hook(event).await {
            // What no default can cure is not ignored: memory ran out, or the lease is gone.
            Err(error) if error.is::<OutOfMemory>() || error.is::<Error>() => Err(error),
            _ => Ok(told_readers),
        }
    }
}

/// Asks the author about a batch; gives what the model shall read of it, nothing when it waits on.
async fn judge(
    options: &PendingMessages,
    batch: &[Waiting],
    model_messages: Vec<ModelMessage>,
    step: &PrepareStep,
) -> Result<Vec<ModelMessage>, HookError> {
    let Some(should_inject) = &options.should_inject else {
        return Ok(Vec::new());
    };
    let event = PendingMessagesBatch {
        chat: step.chat.clone(),
        messages: batch.iter().map(|waiting| waiting.message.clone()).collect(),
        model_messages,
        steps: step.steps.clone(),
        step_number: step.step_number.checked_sub(1),
        turn: step.turn,
        client_data: step.client_data.clone(),
    };
    if !should_inject(event.clone()).await? {
        return Ok(Vec::new());
    }
    match &options.prepare {
        Some(prepare) => prepare(event).await,
        None => Ok(batch.iter().flat_map(|waiting| waiting.told.clone()).collect()),
    }
}

/// Tells readers where messages came in.
async fn tell_injected(step: &PrepareStep, injected: &[UiMessage]) -> Result<UiMessageChunk, Error> {
    let (writer, id) = (step.chat.writer(), step.chat.pipes().part_id());
    let whole = injected_chunk(&id, injected, UiMessage::text);
    match writer.stream(&whole).await {
        Err(Error::ChunkTooLarge(_)) => {
            let ids_only = injected_chunk(&id, injected, |_| String::new());
            writer.stream(&ids_only).await.map(|()| ids_only)
        }
        told => told.map(|()| whole),
    }
}

//! [`Between`]: the look between two steps of an answer at what the model reads, the same for answers of the loop, for a custom
//! agent's and for an author's own.

use turnkeep_model::Usage;
use turnkeep_protocol::ModelMessage;

use super::{Compaction, Inner, Procedure, Status, Trouble, inner};
use crate::agent::Hook;
use crate::answer::StepResult;
use crate::approval_tail::keep_approval_tail;
use crate::chat::Chat;
use crate::error::HookError;
use crate::event::{Compacted, CompactionCheck, CompactionSource, PrepareMessages, RunContext};
use crate::signal::Signal;

/// What [`Chat::compact`] has found to do before a step.
#[derive(Clone, Debug, PartialEq)]
pub enum StepCompaction {
    /// Nothing: there was no step yet, the newest one failed or left a call without an outcome, or it is not time.
    Skipped,
    /// It was done before: these are the summary and what was said since.
    Rebuilt(Vec<ModelMessage>),
    /// It is done now: this is the summary.
    Compacted(Vec<ModelMessage>),
}

impl StepCompaction {
    /// Gives what the step shall read in place of what it would; none when that stays.
    pub fn into_messages(self) -> Option<Vec<ModelMessage>> {
        match self {
            Self::Skipped => None,
            Self::Rebuilt(messages) | Self::Compacted(messages) => Some(messages),
        }
    }
}

/// The summary that an answer goes on from.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Summed {
    pub(crate) text: String,
    /// It stands for so many messages.
    until: usize,
    /// The last of them: another answer reads another one there.
    last: Option<ModelMessage>,
}

impl Summed {
    /// Gives what is read in place of `messages`; none when the summary is of another answer.
    fn in_place_of(&self, messages: &[ModelMessage]) -> Option<Vec<ModelMessage>> {
        let (summed, since) = messages.split_at_checked(self.until)?;
        let is_this = summed.last() == self.last.as_ref();
        is_this.then(|| [ModelMessage::user(self.text.clone())].into_iter().chain(since.iter().cloned()).collect())
    }
}

/// What else the agent has to say to a compaction, and what the run has cost before the turn.
#[derive(Clone, Default)]
pub(crate) struct Surroundings {
    /// The hook, and the run that it is told of.
    pub(crate) on_compacted: Option<(Hook<Compacted>, RunContext)>,
    /// The author shapes a summary like any other history.
    pub(crate) prepare_messages: Option<Hook<PrepareMessages, Vec<ModelMessage>>>,
    pub(crate) spent: Usage,
}

/// One look.
pub(crate) struct Between<'a> {
    pub(crate) chat: &'a Chat,
    pub(crate) options: &'a Compaction,
    pub(crate) surroundings: &'a Surroundings,
    /// What the step would read: what the steps before it read, and what was said since.
    pub(crate) messages: &'a [ModelMessage],
    pub(crate) steps: &'a [StepResult],
    pub(crate) turn: usize,
    pub(crate) client_data: &'a serde_json::Value,
    pub(crate) stop: &'a Signal,
}

impl Between<'_> {
    /// Puts a summary in place of everything so far, if it is time, or if it was in this answer, which `summed` tells.
    ///
    /// A stop leaves everything as it is.
    pub(crate) async fn compact(&self, summed: &mut Option<Summed>) -> Result<StepCompaction, Trouble> {
        let known = summed.as_ref().and_then(|summed| summed.in_place_of(self.messages));
        match inner(self.steps.last(), known.is_some()) {
            Inner::Skip => Ok(StepCompaction::Skipped),
            Inner::Rebuild => {
                let rebuilt = self.prepared(known.unwrap_or_default(), "compaction-rebuild").await?;
                Ok(rebuilt.map_or(StepCompaction::Skipped, StepCompaction::Rebuilt))
            }
            Inner::Ask => {
                let Some(text) = self.sum_up().await? else {
                    return Ok(StepCompaction::Skipped);
                };
                let summary = vec![ModelMessage::user(text.clone())];
                *summed = Some(Summed { text, until: self.messages.len(), last: self.messages.last().cloned() });
                let result = self.prepared(summary, "compaction-result").await?;
                Ok(result.map_or(StepCompaction::Skipped, StepCompaction::Compacted))
            }
        }
    }

    async fn sum_up(&self) -> Result<Option<String>, Trouble> {
        let Some(check) = self.check() else {
            return Ok(None);
        };
        let procedure = Procedure {
            options: self.options.clone(),
            on_compacted: self.surroundings.on_compacted.clone(),
            writer: self.chat.writer(),
            id: self.chat.pipes().part_id(),
        };
        if self.unless_stopped(procedure.is_due(&check)).await.transpose()? != Some(true) {
            return Ok(None);
        }
        procedure.tell(Status::Compacting, &check).await?;
        let made = self.unless_stopped(procedure.sum_up(&check)).await;
        // However it ended: no client is left with a compaction under way.
        let status = if matches!(made, Some(Ok(_))) { Status::Complete } else { Status::Failed };
        procedure.tell(status, &check).await?;
        made.transpose()
    }

    fn check(&self) -> Option<CompactionCheck> {
        let newest = self.steps.last()?;
        Some(CompactionCheck {
            chat: self.chat.clone(),
            messages: self.messages.to_vec(),
            total_tokens: newest.usage.total_tokens,
            input_tokens: newest.usage.input_tokens,
            output_tokens: newest.usage.output_tokens,
            usage: newest.usage,
            total_usage: self.steps.iter().fold(self.surroundings.spent, |sum, step| sum + step.usage),
            turn: self.turn,
            client_data: self.client_data.clone(),
            source: CompactionSource::Inner,
            step_number: self.steps.len().checked_sub(1),
            steps: self.steps.to_vec(),
        })
    }

    /// Lets the author shape what is read; none after a stop.
    async fn prepared(
        &self,
        messages: Vec<ModelMessage>,
        reason: &'static str,
    ) -> Result<Option<Vec<ModelMessage>>, HookError> {
        let Some(hook) = &self.surroundings.prepare_messages else {
            return Ok(Some(messages));
        };
        let tail = messages.last().cloned();
        let event = PrepareMessages {
            chat: self.chat.clone(),
            messages,
            reason,
            turn: self.turn,
            client_data: self.client_data.clone(),
        };
        let prepared = self.unless_stopped(hook(event)).await.transpose()?;
        Ok(prepared.map(|prepared| keep_approval_tail(tail, prepared)))
    }

    async fn unless_stopped<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            _ = self.stop.wait() => None,
            done = work => Some(done),
        }
    }
}

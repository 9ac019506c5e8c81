//! Compaction between the steps of an answer.

use turnkeep_model::Usage;
use turnkeep_protocol::ModelMessage;

use super::{Cut, Generation};
use crate::agent::Hook;
use crate::approval_tail::keep_approval_tail;
use crate::compaction::{Inner, Procedure, Status, Trouble, inner};
use crate::event::{CompactionCheck, CompactionSource, PrepareMessages};

/// What a generation needs to compact.
pub(crate) struct Compacting {
    pub(crate) procedure: Procedure,
    /// The author shapes a summary like any other history.
    pub(crate) prepare_messages: Option<Hook<PrepareMessages, Vec<ModelMessage>>>,
    /// What the run has cost before this answer.
    pub(crate) spent: Usage,
}

impl From<Trouble> for Cut {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Hook(error) => error.into(),
            Trouble::Run(error) => Self::Run(error),
        }
    }
}

impl Generation<'_> {
    /// Gives what the model reads next, replaced by a summary if it is time, or if it was in this answer.
    pub(super) async fn compacted(&mut self) -> Result<Vec<ModelMessage>, Cut> {
        let messages = self.messages()?;
        if self.compacting.is_none() {
            return Ok(messages);
        }
        match inner(self.steps.results.last(), self.summary.is_some()) {
            Inner::Skip => Ok(messages),
            Inner::Rebuild => self.prepare_messages(messages, "compaction-rebuild").await,
            Inner::Ask => {
                if !self.compact(&messages).await? {
                    return Ok(messages);
                }
                let summary = self.messages()?;
                self.prepare_messages(summary, "compaction-result").await
            }
        }
    }

    /// Asks the author, and puts the summary in place of everything so far; tells whether it was done.
    async fn compact(&mut self, messages: &[ModelMessage]) -> Result<bool, Cut> {
        let (Some(compacting), Some(newest)) = (&self.compacting, self.steps.results.last()) else {
            return Ok(false);
        };
        let check = CompactionCheck {
            chat: self.setting.chat.clone(),
            messages: messages.to_vec(),
            total_tokens: newest.usage.total_tokens,
            input_tokens: newest.usage.input_tokens,
            output_tokens: newest.usage.output_tokens,
            usage: newest.usage,
            total_usage: compacting.spent + self.usage.unwrap_or_default(),
            turn: self.setting.turn,
            client_data: self.setting.client_data.clone(),
            source: CompactionSource::Inner,
            step_number: self.step_number(),
            steps: self.steps.results.clone(),
        };
        let procedure = Procedure { id: self.setting.fresh_id(), ..compacting.procedure.clone() };
        if !self.unless_stopped(procedure.is_due(&check)).await?? {
            return Ok(false);
        }
        procedure.tell(Status::Compacting, &check).await?;
        let made = match self.unless_stopped(procedure.sum_up(&check)).await {
            Ok(made) => made.map_err(Cut::from),
            Err(stopped) => Err(stopped),
        };
        // However it ended: no client is left with a compaction under way.
        let status = if made.is_ok() { Status::Complete } else { Status::Failed };
        procedure.tell(status, &check).await?;
        let summary = made?;
        self.history.compact(self.steps.n_steps, vec![ModelMessage::user(summary.clone())]);
        self.summary = Some(summary);
        Ok(true)
    }

    async fn prepare_messages(
        &mut self,
        messages: Vec<ModelMessage>,
        reason: &'static str,
    ) -> Result<Vec<ModelMessage>, Cut> {
        let hook = self.compacting.as_ref().and_then(|compacting| compacting.prepare_messages.clone());
        let Some(hook) = hook else {
            return Ok(messages);
        };
        let tail = messages.last().cloned();
        let event = PrepareMessages {
            chat: self.setting.chat.clone(),
            messages,
            reason,
            turn: self.setting.turn,
            client_data: self.setting.client_data.clone(),
        };
        Ok(keep_approval_tail(tail, self.unless_stopped(hook(event)).await??))
    }
}

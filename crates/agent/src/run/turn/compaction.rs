//! What compaction leaves for the turns after: between steps it is carried over here, at a turn's end it happens here (A-172…A-175).

use turnkeep_model::Usage;
use turnkeep_protocol::ModelMessage;

use super::{Run, Turn, TurnFailure};
use crate::compaction::{Compaction, Procedure, Status, Trouble, is_compaction_safe, summary_message};
use crate::error::HookError;
use crate::event::{CompactionCheck, CompactionSource, CompactionSummary};
use crate::generation::Compacting;
use crate::model_history::Spot;

impl Run {
    /// Gives what an answer of this turn needs to compact; none when the agent never does.
    pub(super) fn compacting(&self) -> Option<Compacting> {
        let procedure = self.compaction_procedure()?;
        let prepare_messages = self.agent.hooks.prepare_messages.clone();
        Some(Compacting { procedure, prepare_messages, spent: self.total_usage })
    }

    fn compaction_procedure(&self) -> Option<Procedure> {
        Some(Procedure {
            options: self.agent.compaction.clone()?,
            on_compacted: self.agent.hooks.compacted.clone(),
            ctx: self.ctx.clone(),
            writer: self.writer(),
            id: self.part_ids.alphanumeric(crate::generation::PART_ID_CHARACTERS),
        })
    }

    /// Step 12: the summary that the answer went on from stands in front of it from now on.
    pub(super) async fn keep_summary(&mut self, turn: &Turn) -> Result<(), TurnFailure> {
        if let (Some(summary), Some(options)) = (turn.summary.clone(), self.agent.compaction.clone()) {
            self.put_summary(turn, &options, summary, CompactionSource::Inner).await?;
        }
        Ok(())
    }

    /// Step 16: compacts the finished turn, if it is time. Its failure costs nothing but the summary.
    pub(super) async fn compact_turn(&mut self, turn: &Turn) -> Result<(), TurnFailure> {
        let (Some(procedure), Some(usage)) = (self.compaction_procedure(), turn.usage) else {
            return Ok(());
        };
        if turn.summary.is_some() || turn.stopped || !self.newest_answer_is_complete() {
            return Ok(());
        }
        let check = self.turn_check(turn, usage);
        match self.sum_up_turn(turn, &procedure, &check).await {
            Ok(()) => Ok(()),
            Err(Trouble::Run(error)) => Err(error.into()),
            Err(Trouble::Hook(error)) => {
                self.fatal("compaction", &error)?;
                self.warn(format!("the compaction failed: {error}"));
                Ok(())
            }
        }
    }

    /// A call that still waits must be there when its answer comes. Older ones that nobody answered do not matter: their
    /// answers would be told behind the summary.
    fn newest_answer_is_complete(&self) -> bool {
        let newest = self.chain.messages().iter().rfind(|message| message.is_assistant());
        newest.is_none_or(|newest| is_compaction_safe(std::slice::from_ref(newest)))
    }

    fn turn_check(&mut self, turn: &Turn, usage: Usage) -> CompactionCheck {
        CompactionCheck {
            chat: self.chat.clone(),
            messages: self.model_history_or_warn(),
            total_tokens: usage.total_tokens,
            input_tokens: usage.input_tokens,
            output_tokens: usage.output_tokens,
            usage,
            total_usage: self.total_usage + usage,
            turn: turn.number,
            client_data: turn.client_data.clone(),
            source: CompactionSource::Outer,
            step_number: None,
            steps: Vec::new(),
        }
    }

    async fn sum_up_turn(
        &mut self,
        turn: &Turn,
        procedure: &Procedure,
        check: &CompactionCheck,
    ) -> Result<(), Trouble> {
        if !procedure.is_due(check).await? {
            return Ok(());
        }
        procedure.tell(Status::Compacting, check).await?;
        let done = match procedure.sum_up(check).await {
            Ok(summary) => {
                let put = self.put_summary(turn, &procedure.options, summary, CompactionSource::Outer).await;
                put.map_err(Trouble::from)
            }
            Err(trouble) => Err(trouble),
        };
        let status = if done.is_ok() { Status::Complete } else { Status::Failed };
        procedure.tell(status, check).await?;
        done
    }

    /// Puts a summary in place of the history: for the model always, for people if the author wants it.
    async fn put_summary(
        &mut self,
        turn: &Turn,
        options: &Compaction,
        summary: String,
        source: CompactionSource,
    ) -> Result<(), HookError> {
        let event = CompactionSummary {
            chat: self.chat.clone(),
            summary,
            ui_messages: self.chain.messages().to_vec(),
            model_messages: self.model_history_or_warn(),
            turn: turn.number,
            client_data: turn.client_data.clone(),
            source,
        };
        let model: Vec<ModelMessage> = match &options.compact_model_messages {
            Some(hook) => hook(event.clone()).await?,
            None => vec![summary_message(&event.summary)],
        };
        if let Some(hook) = &options.compact_ui_messages {
            self.chain.replace_all(hook(event).await?);
            self.chat.history().publish(self.chain.messages());
        }
        let chain = self.chain.messages();
        self.model_history.compact(chain, Spot::end(chain), model);
        Ok(())
    }
}

//! What compaction leaves for the turns after: between steps it is carried over here, at a turn's end it happens here (A-172…A-175).

use turnkeep_model::Usage;
use turnkeep_protocol::Messages;

use super::{Run, Turn, TurnFailure};
use crate::compaction::{Procedure, Trouble};
use crate::event::{CompactionCheck, CompactionSource, CompactionSummary};

impl Run {
    fn compaction_procedure(&self) -> Option<Procedure> {
        Some(Procedure {
            options: self.agent.compaction.clone()?,
            on_compacted: self.agent.hooks.compacted.clone().map(|hook| (hook, self.ctx.clone())),
            writer: self.writer(),
            id: self.part_ids.alphanumeric(crate::generation::PART_ID_CHARACTERS),
        })
    }

    /// Step 12: the summary that the answer went on from stands in front of it from now on.
    pub(super) async fn keep_summary(&mut self, turn: &Turn) -> Result<(), TurnFailure> {
        if let Some(kept) = turn.summary.clone() {
            let event = CompactionSummary {
                chat: self.chat.clone(),
                summary: String::new(),
                ui_messages: Messages::new(),
                model_messages: Vec::new(),
                turn: turn.number,
                client_data: turn.client_data.clone(),
                source: CompactionSource::Inner,
            };
            self.views().keep_summary(kept, event).await?;
        }
        Ok(())
    }

    /// Step 16: compacts the finished turn, if it is time. Its failure costs nothing but the summary.
    pub(super) async fn compact_turn(&mut self, turn: &Turn) -> Result<(), TurnFailure> {
        let (Some(procedure), Some(usage)) = (self.compaction_procedure(), turn.usage) else {
            return Ok(());
        };
        if turn.summary.is_some() || turn.stopped {
            return Ok(());
        }
        let check = self.turn_check(turn, usage);
        match self.views().compact(&procedure, &check).await {
            Ok(_) => Ok(()),
            Err(Trouble::Run(error)) => Err(error.into()),
            Err(Trouble::Hook(error)) => {
                self.fatal("compaction", &error)?;
                self.warn(format!("the compaction failed: {error}"));
                Ok(())
            }
        }
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
}

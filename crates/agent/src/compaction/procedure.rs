//! [`Procedure`]: one compaction from the question to the word that it is done, the same between steps and at a turn's end.

use serde_json::json;
use turnkeep_protocol::UiMessageChunk;

use super::Compaction;
use crate::agent::Hook;
use crate::chat::ChunkWriter;
use crate::error::{Error, HookError};
use crate::event::{Compacted, CompactionCheck, RunContext};

/// The name of the data that tells clients how it goes.
const COMPACTION: &str = "compaction";

/// What one compaction needs.
#[derive(Clone)]
pub(crate) struct Procedure {
    pub(crate) options: Compaction,
    /// The hook, and the run that it is told of.
    pub(crate) on_compacted: Option<(Hook<Compacted>, RunContext)>,
    pub(crate) writer: ChunkWriter,
    /// Names the chunks of this compaction.
    pub(crate) id: String,
}

/// Why there is no summary.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// The author's code failed.
    Hook(HookError),
    /// `out` cannot be written.
    Run(Error),
}

impl From<HookError> for Trouble {
    fn from(error: HookError) -> Self {
        Self::Hook(error)
    }
}

impl From<Trouble> for HookError {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Hook(error) => error,
            Trouble::Run(error) => error.into(),
        }
    }
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        Self::Run(error)
    }
}

/// How a compaction goes, as clients read it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    Compacting,
    Complete,
    Failed,
}

impl Procedure {
    /// Asks the author whether it is time.
    pub(crate) async fn is_due(&self, check: &CompactionCheck) -> Result<bool, HookError> {
        (self.options.should_compact)(check.clone()).await
    }

    /// Makes the summary and lets the author know of it.
    pub(crate) async fn sum_up(&self, check: &CompactionCheck) -> Result<String, Trouble> {
        let summary = (self.options.summarize)(check.clone()).await?;
        let Some((hook, ctx)) = &self.on_compacted else {
            return Ok(summary);
        };
        let event = Compacted {
            chat: check.chat.clone(),
            ctx: ctx.clone(),
            summary: summary.clone(),
            message_count: check.messages.len(),
            messages: check.messages.clone(),
            usage: check.usage,
            total_tokens: check.total_tokens,
            input_tokens: check.input_tokens,
            output_tokens: check.output_tokens,
            step_number: check.step_number,
            turn: check.turn,
            source: check.source,
            writer: self.writer.clone(),
        };
        let result = hook(event).await;
        self.writer.flush().await?;
        result?;
        Ok(summary)
    }

    /// Tells clients how it goes; all chunks of one compaction share an id, and no message keeps them.
    pub(crate) async fn tell(&self, status: Status, check: &CompactionCheck) -> Result<(), Error> {
        let status = match status {
            Status::Compacting => "compacting",
            Status::Complete => "complete",
            Status::Failed => "failed",
        };
        let data = json!({ "status": status, "totalTokens": check.total_tokens });
        let mut chunk = UiMessageChunk::transient_data(COMPACTION, data);
        if let UiMessageChunk::Data(chunk) = &mut chunk {
            chunk.id = Some(self.id.clone());
        }
        self.writer.stream(&chunk).await
    }
}

//! Compaction between the steps of an answer.

use turnkeep_protocol::ModelMessage;

use super::{Cut, Generation};
use crate::compaction::{Between, Kept, StepCompaction, Trouble};
use crate::model_history::n_steps;

impl From<Trouble> for Cut {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Hook(error) => error.into(),
            Trouble::Run(error) => Self::Run(error),
        }
    }
}

impl Generation {
    /// Gives what the model reads next, replaced by a summary if it is time, or if it was in this answer.
    pub(super) async fn compacted(&mut self) -> Result<Vec<ModelMessage>, Cut> {
        let messages = self.messages()?;
        let setting = self.setting.clone();
        let Some(options) = &setting.preparation.compaction else {
            return Ok(messages);
        };
        let look = Between {
            chat: &setting.chat,
            options,
            surroundings: &setting.preparation.surroundings,
            messages: &messages,
            steps: &self.steps.results,
            turn: setting.turn,
            client_data: &setting.client_data,
            stop: &setting.stop,
        };
        let compaction = match &setting.preparation.hearing {
            Some(hearing) => hearing.beside(&setting.chat, look.compact(&mut self.summed)).await?,
            None => look.compact(&mut self.summed).await?,
        };
        match setting.stop.reason() {
            Some(reason) => Err(Cut::Stopped(reason)),
            None => Ok(StepCompaction::into_messages(compaction).unwrap_or(messages)),
        }
    }

    /// Gives the summary that the turns after read.
    pub(super) fn kept_summary(&self) -> Option<Kept> {
        let (summed, options) = (self.summed.as_ref()?, self.setting.preparation.compaction.clone()?);
        let response = &self.setting.response;
        Some(Kept { text: summed.text.clone(), options, response: Some((response.id.clone(), n_steps(response))) })
    }
}

//! [`Views`]: what a turn does to the chat's history and to what a model reads of it at once.

use turnkeep_model::{ConvertError, ModelOutputs};
use turnkeep_protocol::{Messages, ModelMessage, UiMessage};

use crate::chain::Chain;
use crate::compaction::{Compaction, Kept, Procedure, Status, Trouble, is_compaction_safe, summary_message};
use crate::error::HookError;
use crate::event::{CompactionCheck, CompactionSummary};
use crate::generation::Arrived;
use crate::model_history::{ModelHistory, Spot};

/// Both views of one conversation.
pub(crate) struct Views<'c> {
    pub(crate) chain: &'c mut Chain,
    pub(crate) model_history: &'c mut ModelHistory,
    pub(crate) outputs: &'c ModelOutputs,
}

impl Views<'_> {
    /// Gives the history in model form.
    pub(crate) fn model_messages(&mut self) -> Result<Vec<ModelMessage>, ConvertError> {
        self.model_history.messages(self.chain.messages(), self.outputs)
    }

    /// Puts a person's message that joined a response into the chain, in front of it.
    pub(crate) fn take_in(&mut self, response_id: &str, steered: UiMessage) {
        self.chain.insert_before(response_id, steered);
    }

    /// Keeps what came in during responses at its place in what the model reads from now on.
    pub(crate) fn tell(&mut self, arrivals: Vec<(String, Arrived)>) {
        for (response_id, Arrived { n_steps, messages, speaks_for }) in arrivals {
            self.model_history.steer(self.chain.messages(), (&response_id, n_steps), messages, speaks_for);
        }
    }

    /// Compacts a turn that is over if the author says that it is time; tells whether it was.
    pub(crate) async fn compact(&mut self, procedure: &Procedure, check: &CompactionCheck) -> Result<bool, Trouble> {
        if !self.newest_answer_is_complete() || !procedure.is_due(check).await? {
            return Ok(false);
        }
        procedure.tell(Status::Compacting, check).await?;
        let done = match procedure.sum_up(check).await {
            Ok(summary) => {
                let put = self.put_summary(&procedure.options, None, summary_event(check, summary)).await;
                put.map_err(Trouble::from)
            }
            Err(trouble) => Err(trouble),
        };
        let status = if done.is_ok() { Status::Complete } else { Status::Failed };
        procedure.tell(status, check).await?;
        done.map(|()| true)
    }

    /// A call that still waits must be there when its answer comes. Older ones that nobody answered do not matter: their
    /// answers would be told behind the summary.
    fn newest_answer_is_complete(&self) -> bool {
        let newest = self.chain.messages().iter().rfind(|message| message.is_assistant());
        newest.is_none_or(|newest| is_compaction_safe(std::slice::from_ref(newest)))
    }

    /// Puts the summary that an answer went on from in front of it.
    pub(crate) async fn keep_summary(&mut self, kept: Kept, event: CompactionSummary) -> Result<(), HookError> {
        let Kept { text, options, response } = kept;
        self.put_summary(&options, response, CompactionSummary { summary: text, ..event }).await
    }

    /// Puts a summary in place of the history, but not of a response from so many of its steps on: for the model always, for people if
    /// the author wants it.
    ///
    /// What the hooks read of the history is filled in here.
    async fn put_summary(
        &mut self,
        options: &Compaction,
        response: Option<(String, usize)>,
        event: CompactionSummary,
    ) -> Result<(), HookError> {
        // Hooks read an empty history while it cannot be converted.
        let (ui_messages, model_messages) = (self.chain.messages().clone(), self.model_messages().unwrap_or_default());
        let event = CompactionSummary { ui_messages, model_messages, ..event };
        let chat = event.chat.clone();
        let model = match &options.compact_model_messages {
            Some(hook) => hook(event.clone()).await?,
            None => vec![summary_message(&event.summary)],
        };
        if let Some(hook) = &options.compact_ui_messages {
            self.chain.replace_all(hook(event).await?);
            chat.history().publish(self.chain.messages());
        }
        let chain = self.chain.messages();
        let until = response.and_then(|(id, n_steps)| Spot::in_response(chain, &id, n_steps));
        self.model_history.compact(chain, until.unwrap_or_else(|| Spot::end(chain)), model);
        Ok(())
    }
}

/// Says what a summary is of, without the history.
pub(crate) fn summary_event(check: &CompactionCheck, summary: String) -> CompactionSummary {
    CompactionSummary {
        chat: check.chat.clone(),
        summary,
        ui_messages: Messages::new(),
        model_messages: Vec::new(),
        turn: check.turn,
        client_data: check.client_data.clone(),
        source: check.source,
    }
}

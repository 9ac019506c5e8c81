//! A turn whose code failed: readers learn of it, the history keeps what there is, the run goes on (A §7.4).

use std::sync::Arc;

use turnkeep_model::FinishReason;
use turnkeep_protocol::{UiMessageChunk, cleanup_aborted_parts};

use super::Run;
use super::turn::Turn;
use crate::chain::{Absorbed, join_parts};
use crate::error::Error;

/// How many characters are left of an error text that no record can hold.
const ERROR_TEXT: usize = 1000;

impl Run {
    /// Closes a failed turn.
    pub(super) async fn errored_turn(&mut self, mut turn: Turn, text: String) -> Result<(), Error> {
        self.tell_start_for_parts(&mut turn).await?;
        self.tell_error(text.clone()).await?;
        let last_event_id = self.close_turn(turn.seq_num, None).await?;
        self.fold_incoming(&mut turn);
        self.take_in_steered(&mut turn);
        self.recover_partial(&mut turn);
        self.tell_arrivals(&mut turn);
        // An override of the failed turn is not its successor's (A-157, AR-27).
        self.chat.history().publish(self.chain.messages());

        turn.error = Some(Arc::from(text));
        turn.finish_reason = Some(FinishReason::Error);
        turn.stopped = false;
        turn.token = None;
        turn.usage = None;
        turn.client_data = serde_json::Value::Null;
        self.on_turn_complete(&turn, last_event_id).await?;
        self.store_snapshot().await
    }

    /// Tells readers of a failure; a text too large for a record is cut, so that the turn never looks like a success.
    pub(super) async fn tell_error(&self, text: String) -> Result<(), Error> {
        match self.out.chunk(&UiMessageChunk::error(text.clone())).await {
            Err(Error::ChunkTooLarge(_)) => {
                let cut: String = text.chars().take(ERROR_TEXT).collect();
                self.out.chunk(&UiMessageChunk::error(cut)).await
            }
            told => told,
        }
    }

    /// Keeps the message of a turn that failed before the merge (A-152, AF-3); human answers by overlay.
    fn fold_incoming(&mut self, turn: &mut Turn) {
        for message in std::mem::take(&mut turn.before_incoming) {
            self.absorb_before(turn, message);
        }
        let Some(mut message) = turn.incoming.clone().or_else(|| turn.payload.message.clone()) else {
            return;
        };
        if message.id.is_empty() {
            message.id = self.fresh_message_id();
        }
        let is_told = turn.new_ui_messages.iter().any(|told| told.id == message.id);
        match self.chain.absorb(message.clone(), &self.server_tools) {
            Absorbed::Appended { refused } => {
                if !is_told {
                    turn.new_ui_messages.extend(self.chain.find(&message.id).cloned());
                }
                refused.iter().for_each(|answer| self.warn(answer.to_string()));
            }
            Absorbed::Merged { refused, .. } | Absorbed::Refused(refused) => {
                refused.iter().for_each(|answer| self.warn(answer.to_string()));
            }
            Absorbed::AlreadyThere | Absorbed::AlreadyAnswered => {}
        }
    }

    /// Keeps what was streamed before the failure, cleaned, with the parts that were written beside it (A-153, AA-33, AA-34).
    pub(super) fn recover_partial(&mut self, turn: &mut Turn) {
        let queued = self.queued.take();
        if turn.is_committed {
            // The response stays as committed; parts of the hook that failed are on the wire only.
            return;
        }
        let mut partial = turn.raw_response.take().map(cleanup_aborted_parts);
        if !queued.is_empty() {
            join_parts(partial.get_or_insert_with(|| self.message_for_parts(turn)), queued);
        }
        if let Some(partial) = partial
            && self.chain.commit(partial.clone())
        {
            turn.new_ui_messages.push(partial.clone());
            turn.response = Some(partial.clone());
            turn.raw_response = Some(partial);
        }
    }
}

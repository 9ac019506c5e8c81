//! The events of a turn's hooks, filled from the run and the turn.

use turnkeep_model::to_model_messages;
use turnkeep_protocol::SeqNum;

use super::{Run, Turn};
use crate::chat::ChunkWriter;
use crate::event::{BeforeTurnComplete, ChatStart, TurnComplete, TurnStart};

impl Run {
    pub(super) fn chat_start_event(&mut self, turn: &Turn, writer: ChunkWriter) -> ChatStart {
        ChatStart {
            chat: self.chat.clone(),
            ctx: self.ctx.clone(),
            messages: self.model_history_or_warn(),
            client_data: turn.client_data.clone(),
            chat_access_token: turn.token.clone().unwrap_or_default(),
            continuation: self.is_continuation(),
            previous_run_id: self.payload.previous_run_id.clone(),
            preloaded: self.is_preloaded(),
            writer,
        }
    }

    pub(super) fn turn_start_event(&mut self, turn: &Turn, writer: ChunkWriter) -> TurnStart {
        TurnStart {
            chat: self.chat.clone(),
            ctx: self.ctx.clone(),
            messages: self.model_history_or_warn(),
            ui_messages: self.chain.messages().clone(),
            turn: turn.number,
            chat_access_token: turn.token.clone().unwrap_or_default(),
            client_data: turn.client_data.clone(),
            continuation: self.is_continuation(),
            previous_run_id: self.payload.previous_run_id.clone(),
            preloaded: self.is_preloaded(),
            previous_turn_usage: self.previous_turn_usage,
            total_usage: self.total_usage,
            writer,
        }
    }

    pub(super) fn before_turn_complete_event(&mut self, turn: &Turn, writer: ChunkWriter) -> BeforeTurnComplete {
        let mut complete = self.turn_complete_event(turn, None);
        complete.total_usage += turn.usage.unwrap_or_default();
        BeforeTurnComplete { complete, writer }
    }

    pub(in crate::run) fn turn_complete_event(&mut self, turn: &Turn, last_event_id: Option<SeqNum>) -> TurnComplete {
        TurnComplete {
            chat: self.chat.clone(),
            ctx: self.ctx.clone(),
            messages: self.model_history_or_warn(),
            ui_messages: self.chain.messages().clone(),
            new_messages: to_model_messages(&turn.new_ui_messages, &self.agent.model_outputs).unwrap_or_default(),
            new_ui_messages: turn.new_ui_messages.clone(),
            response_message: turn.response.clone(),
            raw_response_message: turn.raw_response.clone(),
            turn: turn.number,
            chat_access_token: turn.token.clone().unwrap_or_default(),
            last_event_id,
            client_data: turn.client_data.clone(),
            stopped: turn.stopped,
            continuation: self.is_continuation(),
            previous_run_id: self.payload.previous_run_id.clone(),
            preloaded: self.is_preloaded(),
            usage: turn.usage,
            total_usage: self.total_usage,
            finish_reason: turn.finish_reason,
            error: turn.error.clone(),
        }
    }
}

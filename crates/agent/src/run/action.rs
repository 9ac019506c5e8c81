//! Actions: what a person's app asks for beside the conversation (A §8). They are no turns: no turn hook runs and nothing counts.

use std::sync::atomic::Ordering;

use serde_json::Value;
use turnkeep_model::FinishReason;
use turnkeep_protocol::{MessageReducer, UiMessage, UiMessageChunk, UiPart};

use super::Run;
use super::hooks::TurnFailure;
use super::turn::Turn;
use crate::answer::StreamText;
use crate::boot::replay::Owed;
use crate::error::{Error, HookError};
use crate::event::{Action, ActionAnswer};
use crate::signal::Signal;
use crate::spoken::spoken;

impl Run {
    /// Serves one action to its boundary.
    ///
    /// # Errors
    ///
    /// Fails only when the run itself cannot go on.
    pub(super) async fn action(&mut self, owed: Owed) -> Result<(), Error> {
        let stop = Signal::new();
        self.input.enter_turn(stop.clone());
        let mut turn = Turn::new(self.n_turns, owed, stop);
        // What nobody took up belongs to no action.
        self.chat.history().publish(self.chain.messages());
        let before = self.chain.messages().clone();
        let outcome = self.act(&mut turn).await;
        self.input.leave_turn();
        let failed = match outcome {
            Ok(()) => {
                if self.tell_start_for_parts(&mut turn).await? {
                    self.out.chunk(&UiMessageChunk::finish("stop")).await?;
                }
                turn.error.is_some()
            }
            Err(TurnFailure::Turn(text)) => {
                self.tell_start_for_parts(&mut turn).await?;
                self.tell_error(text).await?;
                true
            }
            Err(TurnFailure::Run(error)) => return Err(error),
        };
        // Whatever readers have seen is in the history, of a failed answer what there is.
        if failed {
            self.recover_partial(&mut turn)
        } else {
            self.commit(&mut turn)
        }
        // An override that nobody took up, a failed hook's or a stopped one's, is of no later hook (A-157, A-182, AR-27).
        self.chat.history().publish(self.chain.messages());
        self.tell_arrivals(&mut turn);
        self.total_usage += turn.usage.unwrap_or_default();
        self.close_turn(turn.seq_num, None).await?;
        // An action that changed nothing leaves nothing to store; a failed one waits for the next turn's snapshot (D-43).
        if !failed && *self.chain.messages() != before {
            self.store_snapshot().await?;
        }
        Ok(())
    }

    /// Everything before the boundary, in the order of A-160.
    async fn act(&mut self, turn: &mut Turn) -> Result<(), TurnFailure> {
        self.set_up(turn).await?;
        self.begin_pipes(turn);
        let action = self.parse_action(turn.payload.action.clone())?;
        if let Some(hook) = self.agent.hooks.hydrate_messages.clone() {
            let messages = hook(self.hydrate_event(turn)).await?;
            self.chain.replace_all(messages);
            self.chat.history().publish(self.chain.messages());
        }
        self.begin_store(turn).await?;
        let Some(hook) = self.agent.hooks.action.clone() else {
            if !self.agent.has_warned.swap(true, Ordering::Relaxed) {
                self.warn("an action came, and the agent has no on_action");
            }
            return Ok(());
        };
        let event = self.action_event(turn, action)?;
        let (writer, messages) = (event.writer.clone(), event.messages.clone());
        let result = hook(event).await;
        writer.flush().await?;
        let answer = match result {
            Ok(answer) => answer,
            Err(error) => match TurnFailure::from(error) {
                // Whatever the hook says about a stop it heard, it was stopped; but not what ends the run.
                TurnFailure::Turn(_) if turn.stop.is_set() => return self.stop_without_answer(turn).await,
                failure => return Err(failure),
            },
        };
        let is_changed = self.apply_override();
        match answer {
            ActionAnswer::Nothing => Ok(()),
            // The author has the pipe in hand.
            ActionAnswer::Stream(_) if self.chat.pipes().are_used() => Ok(()),
            _ if turn.stop.is_set() => self.stop_without_answer(turn).await,
            ActionAnswer::Stream(mut stream) => {
                // The author has chosen no messages: the answer is to the history as the hook has left it.
                if is_changed && stream.messages == messages {
                    stream.messages = self.model_history().map_err(|error| TurnFailure::Turn(error.to_string()))?;
                }
                self.generate_apart(turn, *stream).await
            }
            ActionAnswer::Text(text) if text.is_empty() => Ok(()),
            ActionAnswer::Text(text) => self.speak(turn, UiMessage::assistant("", vec![UiPart::text(text)])).await,
            ActionAnswer::Message(message) if message.parts.is_empty() => Ok(()),
            ActionAnswer::Message(message) => self.speak(turn, *message).await,
        }
    }

    /// Parses an action by the author's rules; the identity without any.
    fn parse_action(&self, action: Option<Value>) -> Result<Value, HookError> {
        let raw = action.unwrap_or_default();
        match &self.agent.action_schema {
            Some(parse) => parse(raw),
            None => Ok(raw),
        }
    }

    fn action_event(&mut self, turn: &Turn, action: Value) -> Result<Action, TurnFailure> {
        Ok(Action {
            chat: self.chat.clone(),
            ctx: self.ctx.clone(),
            action,
            turn: turn.number,
            client_data: turn.client_data.clone(),
            ui_messages: self.chain.messages().clone(),
            messages: self.model_history().map_err(|error| TurnFailure::Turn(error.to_string()))?,
            signal: turn.stop.clone(),
            writer: self.writer(),
            model: self.model.clone(),
            ui_options: self.agent.ui_options.clone(),
            tools: self.agent.tools.clone(),
        })
    }

    /// Pipes a model's answer as a message of its own, whatever the history ends with.
    async fn generate_apart(&mut self, turn: &mut Turn, stream: StreamText) -> Result<(), TurnFailure> {
        let id = stream.ui_options.response_id(None, || self.fresh_message_id());
        self.generate(turn, stream, UiMessage::assistant(id, Vec::new())).await
    }

    /// Tells a message that the author has written, and captures what was told of it.
    async fn speak(&mut self, turn: &mut Turn, mut message: UiMessage) -> Result<(), TurnFailure> {
        if message.id.is_empty() || self.chain.contains(&message.id) {
            message.id = self.fresh_message_id();
        }
        // Data stands behind everything else, where every fold of `out` has it.
        message.parts.sort_by_key(|part| part.as_data().is_some());
        let mut reducer = MessageReducer::new();
        let mut told = Ok(());
        for chunk in spoken(&message) {
            told = self.out.chunk(&chunk).await;
            if told.is_err() {
                break;
            }
            // A chunk that does not follow is on the wire as the author said it; readers skip it as we do.
            let _ = reducer.apply(&chunk);
        }
        turn.raw_response = Some(reducer.into_message());
        turn.finish_reason = Some(FinishReason::Stop);
        told.map_err(TurnFailure::from)
    }
}

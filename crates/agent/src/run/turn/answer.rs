//! Steps 9 to 11: `prepare_messages`, `run`, and the answer it asks for (A-96…A-101).

use turnkeep_protocol::UiMessage;

use super::{Run, Turn, TurnFailure};
use crate::agent::TurnInput;
use crate::answer::{Answer, StreamText};
use crate::approval_tail::{keep_approval_tail, keep_call_tail};
use crate::event::PrepareMessages;
use crate::generation::{Ended, generate};
use turnkeep_protocol::{Trigger, UiMessageChunk};

impl Run {
    /// Lets the author's `run` answer, unless a stop came first.
    pub(super) async fn answer(&mut self, turn: &mut Turn) -> Result<(), TurnFailure> {
        if turn.stop.is_set() {
            return self.stop_without_answer(turn).await;
        }
        let input = self.turn_input(turn).await?;
        let result = (self.agent.run.clone())(input).await;
        let answer = match result {
            Ok(answer) => answer,
            Err(error) => match TurnFailure::from(error) {
                // Whatever `run` says about a stop it heard, the turn is a stopped one; but not what ends the run.
                TurnFailure::Turn(_) if turn.stop.is_set() => Answer::Nothing,
                failure => return Err(failure),
            },
        };
        self.apply_override();
        match answer {
            // The author has the pipe in hand; readers know of a stop by the pipe itself.
            _ if self.chat.pipes().are_used() => {
                turn.stopped = turn.stop.is_set();
                Ok(())
            }
            Answer::Stream(_) | Answer::Nothing if turn.stop.is_set() => self.stop_without_answer(turn).await,
            Answer::Stream(stream) => {
                let response = self.response_to_fill(turn, &stream);
                self.generate(turn, *stream, response).await
            }
            Answer::Nothing => Ok(()),
        }
    }

    /// Tells readers that nothing will come; the model is not asked.
    pub(in crate::run) async fn stop_without_answer(&mut self, turn: &mut Turn) -> Result<(), TurnFailure> {
        turn.stopped = true;
        self.tell_start_for_parts(turn).await?;
        let reason = turn.stop.reason().unwrap_or_default();
        self.out.chunk(&UiMessageChunk::abort(reason)).await?;
        Ok(())
    }

    async fn turn_input(&mut self, turn: &Turn) -> Result<TurnInput, TurnFailure> {
        let mut messages = self.drained_history().map_err(|error| TurnFailure::Turn(error.to_string()))?;
        if let Some(hook) = self.agent.hooks.prepare_messages.clone() {
            let (tail, open_calls) = (messages.last().cloned(), turn.open_calls());
            let before = if open_calls.is_empty() { Vec::new() } else { messages.clone() };
            let event = PrepareMessages {
                chat: self.chat.clone(),
                messages,
                reason: "run",
                turn: turn.number,
                client_data: turn.client_data.clone(),
            };
            messages = keep_call_tail(&before, keep_approval_tail(tail, hook(event).await?), &open_calls);
            self.apply_override();
        }
        Ok(TurnInput {
            chat: self.chat.clone(),
            ctx: self.ctx.clone(),
            turn: turn.number,
            trigger: turn.payload.trigger.unwrap_or(Trigger::SubmitMessage),
            message_id: turn.payload.message_id.clone(),
            messages,
            ui_messages: self.chain.messages().clone(),
            client_data: turn.client_data.clone(),
            continuation: self.is_continuation(),
            previous_run_id: self.payload.previous_run_id.clone(),
            preloaded: self.is_preloaded(),
            previous_turn_usage: self.previous_turn_usage,
            total_usage: self.total_usage,
            tools: self.agent.tools.clone(),
            stop_signal: turn.stop.clone(),
            writer: self.writer(),
            model: self.model.clone(),
            ui_options: self.agent.ui_options.clone(),
        })
    }

    /// Pipes the model's answer, which goes on with `response`, and captures it.
    pub(in crate::run) async fn generate(
        &mut self,
        turn: &mut Turn,
        stream: StreamText,
        response: UiMessage,
    ) -> Result<(), TurnFailure> {
        let outlet = self.chat.pipes().outlet().expect("an attempt opens its pipes when it is made");
        let response_id = response.id.clone();
        let setting = outlet.setting(&self.chat, &stream, response, turn.stop.clone());
        let (generated, result) = generate(stream, setting).await;
        self.server_tools.extend(generated.executors);
        turn.arrivals.extend(generated.arrivals.into_iter().map(|arrived| (response_id.clone(), arrived)));
        turn.summary = generated.summary;
        turn.withheld = Some(generated.withheld);
        turn.raw_response = generated.message;
        turn.usage = generated.usage;
        turn.finish_reason = generated.finish_reason;
        match generated.ended {
            Ended::Whole => {}
            Ended::Stopped => turn.stopped = true,
            Ended::Failed(error) => turn.error = Some(error),
        }
        result?;
        Ok(())
    }

    /// Gives the message that the answer goes on with, or a fresh one: an answer to calls that something follows goes on
    /// with no other message (D-62).
    fn response_to_fill(&self, turn: &Turn, stream: &StreamText) -> UiMessage {
        if let Some(handed_over) = &turn.handed_over {
            // Readers have begun it (A-232, C-187).
            let id = &handed_over.message.id;
            return self.chain.find(id).cloned().unwrap_or_else(|| UiMessage::assistant(id.clone(), Vec::new()));
        }
        let is_late = turn.continued.as_deref().is_some_and(|id| self.chain.is_left_behind(id));
        let last = self.chain.messages().last().filter(|_| !is_late);
        match last {
            Some(last) if last.is_assistant() && !last.id.is_empty() => last.clone(),
            _ => UiMessage::assistant(stream.ui_options.response_id(last, || self.fresh_message_id()), Vec::new()),
        }
    }
}

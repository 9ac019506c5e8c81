//! [`Chat::compact`]: compaction in an author's own hand (A-170).

use turnkeep_protocol::ModelMessage;

use super::{Between, Compaction, Kept, StepCompaction};
use crate::answer::StepResult;
use crate::chat::Chat;
use crate::error::HookError;

impl Chat {
    /// Puts a summary in place of what an answer's next step would read, if it is time, or if it was in this turn (A-170).
    ///
    /// For a [`prepare_step`](crate::StreamText::prepare_step) or a step loop of the author's own; an agent with
    /// [`Agent::compaction`](crate::Agent::compaction) does this by itself before each step. `messages` are what the step would read
    /// without any summary, `steps` what came of the steps before it. The agent's `prepare_messages` shapes the result and its
    /// `on_compacted` is told; the turns after read what `options` choose, the summary otherwise (A-172). A stop leaves everything as it
    /// is.
    ///
    /// ```
    /// use turnkeep_agent::{Agent, Compaction, PrepareStep, StepChange, TurnInput, step_count_is};
    ///
    /// let agent = Agent::new("patient", |turn: TurnInput| async move {
    ///     let brief = Compaction::above(100_000, |check| async move { Ok(format!("{} messages", check.messages.len())) });
    ///     Ok(turn.stream_text().stop_when(step_count_is(20)).prepare_step(move |step: PrepareStep| {
    ///         let brief = brief.clone();
    ///         async move {
    ///             let compaction = step.chat.compact(&step.messages, &step.steps, &brief).await?;
    ///             let change = StepChange::none();
    ///             Ok(match compaction.into_messages() {
    ///                 Some(messages) => change.messages(messages),
    ///                 None => change,
    ///             })
    ///         }
    ///     }))
    /// });
    /// # drop(agent);
    /// ```
    ///
    /// # Errors
    ///
    /// Fails as the hooks do, and when the chat has no run.
    pub async fn compact(
        &self,
        messages: &[ModelMessage],
        steps: &[StepResult],
        options: &Compaction,
    ) -> Result<StepCompaction, HookError> {
        let outlet = self.pipes().outlet().ok_or("this chat has no run to compact in")?;
        let look = Between {
            chat: self,
            options,
            surroundings: &outlet.preparation.surroundings,
            messages,
            steps,
            turn: outlet.origin.turn,
            client_data: &outlet.client_data,
            stop: &outlet.stop,
        };
        let known = self.pipes().summed();
        let mut summed = known.clone();
        let result = look.compact(&mut summed).await;
        // Made is made, whatever became of it since.
        let new = summed.clone().filter(|_| summed != known);
        let new = new.map(|summed| Kept { text: summed.text, options: options.clone(), response: None });
        self.pipes().sum_up(summed, new);
        Ok(result?)
    }
}

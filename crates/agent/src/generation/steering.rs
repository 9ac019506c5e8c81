//! Steering at work: hearing what arrives while the answer streams, and taking it in between steps (A-163…A-168).

use turnkeep_model::to_model_messages;
use turnkeep_protocol::{ModelMessage, UiMessage};

use super::{Arrived, Cut, Generation};
use crate::event::{PendingMessagesBatch, PendingMessagesInjected};
use crate::inject::ends_with_open_approval;
use crate::model_history::n_steps;
use crate::steering::{Hearing, Pending, Verdict, tell_injected};

impl Generation {
    /// Waits for `work`, but not past a stop; meanwhile messages that arrive are heard.
    pub(super) async fn unless_stopped<T>(&mut self, work: impl Future<Output = T>) -> Result<T, Cut> {
        let setting = self.setting.clone();
        let work = async {
            tokio::select! {
                biased;
                reason = setting.stop.wait() => Err(Cut::Stopped(reason)),
                done = work => Ok(done),
            }
        };
        match &setting.preparation.hearing {
            Some(hearing) => hearing.beside(&setting.chat, work).await,
            None => work.await,
        }
    }

    /// Takes in what waits, if the author wants it.
    pub(super) async fn steer(&mut self, messages: &mut Vec<ModelMessage>) -> Result<(), Cut> {
        let Some(hearing) = self.setting.preparation.hearing.clone() else {
            return Ok(());
        };
        hearing.hear(&self.setting.chat);
        // Whatever looks for approvals looks in the last message only (AR-26).
        if ends_with_open_approval(messages) {
            return Ok(());
        }
        let batch = hearing.take();
        if batch.is_empty() {
            return Ok(());
        }
        // Out of the queue before the author is asked: what arrives meanwhile is not among what was judged (AR-25).
        let judged = self.judge(&hearing, &batch, messages).await;
        let is_accepted =
            matches!(&judged, Ok(arriving) if arriving.iter().any(|arrived| !arrived.messages.is_empty()));
        if !is_accepted || !hearing.join(&self.setting.response.id, &batch) {
            hearing.put_back(batch);
            return judged.map(drop);
        }
        self.take_in(&hearing, batch, judged?, messages).await
    }

    /// Asks the author about a batch; gives what the model shall read of it, nothing when it waits on.
    async fn judge(
        &mut self,
        hearing: &Hearing,
        batch: &[Pending],
        messages: &[ModelMessage],
    ) -> Result<Vec<Arrived>, Cut> {
        let event = PendingMessagesBatch {
            chat: self.setting.chat.clone(),
            messages: batch.iter().map(|pending| pending.message.clone()).collect(),
            model_messages: messages.to_vec(),
            steps: self.steps.results.clone(),
            step_number: self.step_number(),
            turn: self.setting.turn,
            client_data: self.setting.client_data.clone(),
        };
        let verdict = self.unless_stopped(hearing.options().judge(event)).await??;
        let n_steps = n_steps(self.reducer.message());
        let ids = |messages: &[Pending]| messages.iter().map(|pending| pending.message.id.clone()).collect();
        match verdict {
            Verdict::WaitsOn => Ok(Vec::new()),
            Verdict::JoinsAs(messages) => Ok(vec![Arrived { n_steps, messages, speaks_for: ids(batch) }]),
            Verdict::Joins => {
                let mut arriving = Vec::new();
                for pending in batch {
                    let one = std::slice::from_ref(pending);
                    let outputs = &self.setting.model_outputs;
                    let messages = to_model_messages(std::slice::from_ref(&pending.message), outputs)?;
                    arriving.push(Arrived { n_steps, messages, speaks_for: ids(one) });
                }
                Ok(arriving)
            }
        }
    }

    /// Makes a batch part of the answer: it is served when the turn ends, and a part of the response tells where it came in.
    async fn take_in(
        &mut self,
        hearing: &Hearing,
        batch: Vec<Pending>,
        arriving: Vec<Arrived>,
        messages: &mut Vec<ModelMessage>,
    ) -> Result<(), Cut> {
        // What a client has made of the store counts from here on, as it would from the beginning of a turn.
        let store = batch.iter().rev().find_map(|pending| pending.store.clone());
        let injected: Vec<UiMessage> = batch.into_iter().map(|pending| pending.message).collect();
        let told = tell_injected(&self.setting.writer, &self.setting.fresh_id(), &injected).await?;
        self.note_told(&told);
        if let Some(store) = store {
            self.setting.chat.store().set(store).await?;
        }
        let injected_model_messages = arriving.iter().flat_map(|arrived| arrived.messages.iter().cloned()).collect();
        for arrived in arriving {
            self.arrive(messages, arrived);
        }
        let event = PendingMessagesInjected {
            chat: self.setting.chat.clone(),
            messages: injected,
            injected_model_messages,
            turn: self.setting.turn,
            step_number: self.step_number(),
        };
        Ok(self.unless_stopped(hearing.options().tell_author(event)).await??)
    }

    /// Gives the step that has just ended, if there was one.
    fn step_number(&self) -> Option<usize> {
        self.steps.n_steps.checked_sub(1)
    }
}

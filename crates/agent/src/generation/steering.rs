//! Steering at work: hearing what arrives while the answer streams, and taking it in between steps (A-163…A-168).

use turnkeep_model::to_model_messages;
use turnkeep_protocol::{ModelMessage, UiMessage};

use super::{Arrived, Cut, Generation};
use crate::chain::Chain;
use crate::error::Error;
use crate::event::{PendingMessageReceived, PendingMessagesBatch, PendingMessagesInjected};
use crate::inject::ends_with_open_approval;
use crate::input::InputChannel;
use crate::model_history::n_steps;
use crate::steering::{Pending, PendingMessages, Steering, injected_chunk};

/// What a generation needs to be steered.
pub(crate) struct Hearing<'r> {
    pub(crate) options: PendingMessages,
    pub(crate) steering: &'r mut Steering,
    pub(crate) chain: &'r Chain,
    pub(crate) input: InputChannel,
}

impl Hearing<'_> {
    fn hear(&mut self) -> Vec<Pending> {
        let (steering, chain) = (&mut *self.steering, self.chain);
        self.input.with(|inbox| steering.hear(inbox.buffered(), |id| chain.contains(id)))
    }
}

impl Generation<'_> {
    /// Waits for `work`, but not past a stop; meanwhile messages that arrive are heard.
    pub(super) async fn unless_stopped<T>(&mut self, work: impl Future<Output = T>) -> Result<T, Cut> {
        tokio::pin!(work);
        let stop = self.setting.stop.clone();
        let input = self.hearing.as_ref().map(|hearing| hearing.input.clone());
        loop {
            let arrived = async {
                match &input {
                    Some(input) => input.arrived().await,
                    None => futures::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                reason = stop.wait() => return Err(Cut::Stopped(reason)),
                () = arrived => self.hear(),
                done = &mut work => return Ok(done),
            }
        }
    }

    /// Looks for messages that arrived, and tells the author of each.
    pub(super) fn hear(&mut self) {
        let Some(hearing) = &mut self.hearing else {
            return;
        };
        let new = hearing.hear();
        let Some(hook) = hearing.options.on_received.clone() else {
            return;
        };
        for Pending { message, .. } in new {
            let event = PendingMessageReceived { chat: self.setting.chat.clone(), message, turn: self.setting.turn };
            // Beside the answer: it neither waits for the hook nor minds its failure.
            self.setting.chat.defer(hook(event));
        }
    }

    /// Takes in what waits, if the author wants it.
    pub(super) async fn steer(&mut self, messages: &mut Vec<ModelMessage>) -> Result<(), Cut> {
        self.hear();
        // Whatever looks for approvals looks in the last message only (AR-26).
        if ends_with_open_approval(messages) {
            return Ok(());
        }
        let Some(hearing) = &mut self.hearing else {
            return Ok(());
        };
        let batch = hearing.steering.take();
        if batch.is_empty() {
            return Ok(());
        }
        // Out of the queue before the author is asked: what arrives meanwhile is not among what was judged (AR-25).
        let judged = self.judge(&batch, messages).await;
        let accepted = matches!(&judged, Ok(arriving) if arriving.iter().any(|arrived| !arrived.messages.is_empty()));
        if !accepted {
            if let Some(hearing) = &mut self.hearing {
                hearing.steering.put_back(batch);
            }
            return judged.map(drop);
        }
        self.take_in(batch, judged?, messages).await
    }

    /// Asks the author about a batch; gives what the model shall read of it, nothing when it waits on.
    async fn judge(&mut self, batch: &[Pending], messages: &[ModelMessage]) -> Result<Vec<Arrived>, Cut> {
        let options = self.hearing.as_ref().map(|hearing| hearing.options.clone()).unwrap_or_default();
        let Some(should_inject) = options.should_inject else {
            return Ok(Vec::new());
        };
        let event = PendingMessagesBatch {
            chat: self.setting.chat.clone(),
            messages: batch.iter().map(|pending| pending.message.clone()).collect(),
            model_messages: messages.to_vec(),
            steps: self.steps.results.clone(),
            step_number: self.step_number(),
            turn: self.setting.turn,
            client_data: self.setting.client_data.clone(),
        };
        if !self.unless_stopped(should_inject(event.clone())).await?? {
            return Ok(Vec::new());
        }
        let n_steps = n_steps(self.reducer.message());
        let ids = |messages: &[Pending]| messages.iter().map(|pending| pending.message.id.clone()).collect();
        if let Some(prepare) = options.prepare {
            let prepared = self.unless_stopped(prepare(event)).await??;
            return Ok(vec![Arrived { n_steps, messages: prepared, speaks_for: ids(batch) }]);
        }
        let mut arriving = Vec::new();
        for pending in batch {
            let one = std::slice::from_ref(pending);
            let messages = to_model_messages(std::slice::from_ref(&pending.message), &self.setting.model_outputs);
            arriving.push(Arrived { n_steps, messages: messages.map_err(Cut::from)?, speaks_for: ids(one) });
        }
        Ok(arriving)
    }

    /// Makes a batch part of the answer: it is served when the turn ends, and a part of the response tells where it came in.
    async fn take_in(
        &mut self,
        batch: Vec<Pending>,
        arriving: Vec<Arrived>,
        messages: &mut Vec<ModelMessage>,
    ) -> Result<(), Cut> {
        if let Some(hearing) = &self.hearing {
            hearing.input.with(|inbox| batch.iter().for_each(|pending| inbox.join_turn(pending.seq_num)));
        }
        // What a client has made of the store counts from here on, as it would from the beginning of a turn.
        let store = batch.iter().rev().find_map(|pending| pending.store.clone());
        let injected: Vec<UiMessage> = batch.into_iter().map(|pending| pending.message).collect();
        self.tell_injected(&injected).await?;
        if let Some(store) = store {
            self.setting.chat.store().set(store).await?;
        }
        let injected_model_messages: Vec<_> =
            arriving.iter().flat_map(|arrived| arrived.messages.iter().cloned()).collect();
        for arrived in arriving {
            self.arrive(messages, arrived);
        }
        self.steered.extend(injected.iter().cloned());
        let hook = self.hearing.as_ref().and_then(|hearing| hearing.options.on_injected.clone());
        let Some(hook) = hook else {
            return Ok(());
        };
        let event = PendingMessagesInjected {
            chat: self.setting.chat.clone(),
            messages: injected,
            injected_model_messages,
            turn: self.setting.turn,
            step_number: self.step_number(),
        };
        match self.unless_stopped(hook(event)).await?.map_err(Cut::from) {
            // What no default can cure is not ignored: memory ran out, or the lease is gone.
            Err(Cut::Run(error)) => Err(Cut::Run(error)),
            _ => Ok(()),
        }
    }

    async fn tell_injected(&mut self, injected: &[UiMessage]) -> Result<(), Error> {
        let id = self.setting.fresh_id();
        match self.emit_chunk(injected_chunk(&id, injected, UiMessage::text)).await {
            // The ids must be on record: a boot that does not find them would answer the messages again.
            Err(Error::ChunkTooLarge(_)) => self.emit_chunk(injected_chunk(&id, injected, |_| String::new())).await,
            told => told,
        }
    }

    /// Gives the step that has just ended, if there was one.
    pub(super) fn step_number(&self) -> Option<usize> {
        self.steps.n_steps.checked_sub(1)
    }
}

//! [`Ear`]: hears what people say while a turn of a custom agent is answered.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use turnkeep_model::{ModelOutputs, to_model_messages};

use crate::accumulator::Shared;
use crate::chat::Chat;
use crate::event::PendingMessageReceived;
use crate::input::InputChannel;
use crate::steering::{Pending, PendingMessages, Steering};

/// One turn's hearing; clones hear, and fall silent, together.
#[derive(Clone)]
pub(super) struct Ear(Arc<Hearing>);

struct Hearing {
    steering: SharedSteering,
    input: InputChannel,
    /// Where what was heard waits to join the answer.
    queue: Shared,
    outputs: ModelOutputs,
    options: PendingMessages,
    chat: Chat,
    turn: usize,
    /// The ids of the conversation.
    known: BTreeSet<String>,
    is_over: AtomicBool,
}

/// What an ear needs of its session and its turn.
pub(super) struct EarParts {
    pub(super) steering: SharedSteering,
    pub(super) input: InputChannel,
    pub(super) queue: Shared,
    pub(super) outputs: ModelOutputs,
    pub(super) options: PendingMessages,
    pub(super) chat: Chat,
    pub(super) turn: usize,
    pub(super) known: BTreeSet<String>,
}

/// The steering of one session.
#[derive(Clone, Default)]
pub(super) struct SharedSteering(Arc<Mutex<Steering>>);

impl SharedSteering {
    pub(super) fn lock(&self) -> MutexGuard<'_, Steering> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ear {
    /// Begins to hear: whatever was received by now has turns of its own.
    pub(super) fn open(parts: EarParts) -> Self {
        let EarParts { steering, input, queue, outputs, options, chat, turn, known } = parts;
        steering.lock().begin(input.with(|inbox| inbox.received()));
        let is_over = AtomicBool::new(false);
        Self(Arc::new(Hearing { steering, input, queue, outputs, options, chat, turn, known, is_over }))
    }

    /// Looks for messages that arrived: each waits to join the answer, and the author is told of it.
    pub(super) fn hear(&self) {
        let hearing = &*self.0;
        if hearing.is_over.load(Ordering::Relaxed) {
            return;
        }
        let is_known = |id: &str| hearing.known.contains(id);
        let new = hearing.input.with(|inbox| hearing.steering.lock().hear(inbox.buffered(), is_known));
        for Pending { message, .. } in new {
            // One without a model form joins nothing, and has a turn of its own.
            if let Ok(told) = to_model_messages(std::slice::from_ref(&message), &hearing.outputs) {
                hearing.queue.wait(message.clone(), told);
            }
            if let Some(hook) = hearing.options.on_received.clone() {
                let event = PendingMessageReceived { chat: hearing.chat.clone(), message, turn: hearing.turn };
                // Beside the answer: it neither waits for the hook nor minds its failure.
                hearing.chat.defer(hook(event));
            }
        }
    }

    /// Waits until something may be to hear. Cancel-safe.
    pub(super) async fn arrived(&self) {
        self.0.input.arrived().await;
    }

    /// Hears nothing more, whoever still holds it.
    pub(super) fn fall_silent(&self) {
        self.0.is_over.store(true, Ordering::Relaxed);
    }

    /// Ends the answer that messages of these ids have joined: they are finished with the turn, and the rest is left to turns of its
    /// own.
    pub(super) fn end(&self, joined: &[String]) {
        self.fall_silent();
        let mut steering = self.0.steering.lock();
        let places = steering.take_joined(joined);
        self.0.input.with(|inbox| {
            places.into_iter().for_each(|seq_num| inbox.join_turn(seq_num));
            steering.end(inbox.received());
        });
    }
}

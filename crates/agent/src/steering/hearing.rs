//! [`Hearing`]: one turn's ear for what people say while it is answered, whoever pipes the answer.

use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use turnkeep_protocol::{SeqNum, UiMessage};

use super::{Pending, PendingMessages, Steering};
use crate::chat::Chat;
use crate::event::PendingMessageReceived;
use crate::input::InputChannel;
use crate::signal::Signal;

/// The steering of one run; clones share it.
#[derive(Clone, Default)]
pub(crate) struct SharedSteering(Arc<Mutex<Steering>>);

impl SharedSteering {
    pub(crate) fn lock(&self) -> MutexGuard<'_, Steering> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a turn needs to hear.
pub(crate) struct HearingParts {
    pub(crate) options: PendingMessages,
    pub(crate) steering: SharedSteering,
    pub(crate) input: InputChannel,
    pub(crate) turn: usize,
    /// Stops the turn: nothing is heard behind it.
    pub(crate) stop: Signal,
}

/// Clones hear, and fall silent, together. The chat is told to each call: it holds its turn's hearing itself.
#[derive(Clone)]
pub(crate) struct Hearing(Arc<Inner>);

struct Inner {
    parts: HearingParts,
    ear: Mutex<Ear>,
}

#[derive(Default)]
struct Ear {
    is_over: bool,
    joined: Vec<Joined>,
}

/// A message that has joined an answer.
#[derive(Debug)]
pub(crate) struct Joined {
    /// The answer.
    pub(crate) response_id: String,
    pub(crate) message: UiMessage,
    seq_num: SeqNum,
}

impl Hearing {
    /// Begins to hear: whatever was received by now waits for a turn of its own.
    pub(crate) fn open(parts: HearingParts) -> Self {
        parts.steering.lock().begin(parts.input.with(|inbox| inbox.received()));
        Self(Arc::new(Inner { parts, ear: Mutex::default() }))
    }

    pub(crate) fn options(&self) -> &PendingMessages {
        &self.0.parts.options
    }

    fn steering(&self) -> MutexGuard<'_, Steering> {
        self.0.parts.steering.lock()
    }

    fn ear(&self) -> MutexGuard<'_, Ear> {
        self.0.ear.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn hears(&self) -> bool {
        !self.ear().is_over && !self.0.parts.stop.is_set()
    }

    /// Looks for messages that arrived, and tells the author of each.
    pub(crate) fn hear(&self, chat: &Chat) {
        if !self.hears() {
            return;
        }
        let history = chat.history();
        let new = self.0.parts.input.with(|inbox| self.steering().hear(inbox.buffered(), |id| history.contains(id)));
        let Some(hook) = &self.options().on_received else {
            return;
        };
        for Pending { message, .. } in new {
            let event = PendingMessageReceived { chat: chat.clone(), message, turn: self.0.parts.turn };
            // Beside the answer: it neither waits for the hook nor minds its failure.
            chat.defer(hook(event));
        }
    }

    /// Waits for `work`; messages that arrive meanwhile are heard.
    pub(crate) async fn beside<T>(&self, chat: &Chat, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        loop {
            tokio::select! {
                biased;
                () = self.0.parts.input.arrived() => self.hear(chat),
                done = &mut work => return done,
            }
        }
    }

    /// Takes all that wait, to be judged as one.
    pub(crate) fn take(&self) -> Vec<Pending> {
        if self.hears() { self.steering().take() } else { Vec::new() }
    }

    /// Puts a batch that did not join the answer back in front of what has arrived since.
    pub(crate) fn put_back(&self, batch: Vec<Pending>) {
        self.steering().put_back(batch);
    }

    /// Notes that a batch is part of an answer: it is served when the turn ends. False, and nothing is noted, when nobody hears
    /// any more.
    #[must_use]
    pub(crate) fn join(&self, response_id: &str, batch: &[Pending]) -> bool {
        let mut ear = self.ear();
        let join = |pending: &Pending| Joined {
            response_id: response_id.to_owned(),
            message: pending.message.clone(),
            seq_num: pending.seq_num,
        };
        if !ear.is_over {
            ear.joined.extend(batch.iter().map(join));
        }
        !ear.is_over
    }

    /// Hears nothing more, whoever still holds it.
    pub(crate) fn fall_silent(&self) {
        self.ear().is_over = true;
    }

    /// Falls silent and gives what has joined the turn's answers, which is finished with the turn.
    pub(crate) fn take_joined(&self) -> Vec<Joined> {
        self.fall_silent();
        let joined = std::mem::take(&mut self.ear().joined);
        self.0.parts.input.with(|inbox| joined.iter().for_each(|joined| inbox.join_turn(joined.seq_num)));
        joined
    }

    /// Ends the turn: what waits, and what joined an answer that nobody has taken, has turns of its own.
    pub(crate) fn end(&self) {
        self.fall_silent();
        self.ear().joined.clear();
        let received = self.0.parts.input.with(|inbox| inbox.received());
        self.steering().end(received);
    }
}

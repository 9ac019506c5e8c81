//! [`InputChannel`]: the async shell of the [`Inbox`]: follows `in`, hands stops to the running turn, wakes the waiting loop.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use futures::StreamExt;
use tokio::sync::Notify;
use turnkeep_host::{Entropy, Host, Task};
use turnkeep_protocol::{ChatInputChunk, InputRecord, SeqNum};

use crate::inbox::{Dispatched, Facade, Inbox};
use crate::link::Link;
use crate::signal::Signal;

/// The pause before the tail is opened again; it doubles up to [`LONGEST_PAUSE`] and a record resets it (A-36, S-160).
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// The longest pause before the tail is opened again, jitter apart.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// The reason of a stop that gives none.
const STOPPED: &str = "stopped";

/// One run's reading of `in`; cheap to clone.
#[derive(Clone)]
pub(crate) struct InputChannel {
    shared: Arc<Shared>,
}

struct Shared {
    host: Host,
    link: Arc<dyn Link>,
    entropy: Entropy,
    state: Mutex<State>,
    /// One loop waits for records.
    arrived: Notify,
    /// One loop sleeps.
    draining: Notify,
    /// One tail waits for room.
    taken: Arc<Notify>,
}

struct State {
    inbox: Inbox,
    /// The running turn's stop controller.
    turn: Option<Signal>,
    session_closed: bool,
    /// The worker ends: the run ends behind its turn or in its wait.
    is_draining: bool,
    /// The settled cursor that a boundary or a wait has told the server (D-32).
    published: Option<SeqNum>,
    tail: Option<Task>,
    /// Which tail counts: a dropped one may still be in the middle of a step, on another thread (S-163, S-164).
    tail_number: u64,
}

impl InputChannel {
    /// Makes the channel's reader; nothing is read before [`InputChannel::connect`].
    pub(crate) fn new(host: Host, link: Arc<dyn Link>, entropy: Entropy) -> Self {
        let state = State {
            inbox: Inbox::default(),
            turn: None,
            session_closed: false,
            is_draining: false,
            published: None,
            tail: None,
            tail_number: 0,
        };
        let state = Mutex::new(state);
        Self {
            shared: Arc::new(Shared {
                host,
                link,
                entropy,
                state,
                arrived: Notify::new(),
                draining: Notify::new(),
                taken: Arc::new(Notify::new()),
            }),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts from `inbox`, whose cursors are seeded, before anything is read (A-56, S-158).
    ///
    /// What boot has finished since `published` stays unpublished until its closing boundary is written (D-31): a process that dies
    /// in between must find it in flight again.
    pub(crate) fn seed(&self, inbox: Inbox, published: Option<SeqNum>) {
        let mut state = self.state();
        state.published = published;
        state.inbox = inbox;
    }

    /// Notes what a boundary or a wait publishes; heartbeats repeat it, and never tell more (D-32).
    pub(crate) fn publish(&self, settled: Option<SeqNum>) {
        let mut state = self.state();
        state.published = state.published.max(settled);
    }

    /// Gives the published settled cursor and the received cursor.
    pub(crate) fn cursors(&self) -> (Option<SeqNum>, Option<SeqNum>) {
        let state = self.state();
        (state.published, state.inbox.received())
    }

    /// Lets the caller look at and change the inbox.
    pub(crate) fn with<T>(&self, look: impl FnOnce(&mut Inbox) -> T) -> T {
        let result = look(&mut self.state().inbox);
        self.shared.taken.notify_one();
        result
    }

    /// Takes the oldest message that waits.
    pub(crate) fn take_message(&self) -> Option<(SeqNum, ChatInputChunk)> {
        self.with(|inbox| inbox.take(Facade::Messages))
    }

    /// Takes the oldest signal of a head start that waits.
    pub(crate) fn take_handover(&self) -> Option<(SeqNum, ChatInputChunk)> {
        self.with(|inbox| inbox.take(Facade::Handovers))
    }

    /// Attaches the stop listener; what it finds buffered has no turn to act on and is dropped.
    pub(crate) fn listen_for_stops(&self) {
        self.with(|inbox| inbox.attach(Facade::Stops));
    }

    /// Drops the signals of head starts from now on: no one waits for them (C-199).
    pub(crate) fn ignore_handovers(&self) {
        self.with(|inbox| inbox.attach(Facade::Handovers));
    }

    /// Gives stops to `turn` from now on.
    pub(crate) fn enter_turn(&self, turn: Signal) {
        self.state().turn = Some(turn);
    }

    /// Stops the running turn, if there is one, in the name of whoever takes the run away.
    pub(crate) fn stop_turn(&self, reason: &str) {
        if let Some(turn) = &self.state().turn {
            turn.set(reason);
        }
    }

    /// Ends the turn's hearing: later stops take no effect.
    pub(crate) fn leave_turn(&self) {
        self.state().turn = None;
    }

    /// Ends the hearing of `turn`, unless another one hears by now.
    pub(crate) fn leave_turn_of(&self, turn: &Signal) {
        self.state().turn.take_if(|hearing| hearing.is_same(turn));
    }

    /// Says that the session is closed: the next wait ends (D-2).
    pub(crate) fn close_session(&self) {
        self.state().session_closed = true;
        self.shared.arrived.notify_one();
    }

    /// Says that the worker ends: the run ends behind its turn or in its wait, and leaves what is owed to a continuation (D-35).
    pub(crate) fn drain(&self) {
        self.state().is_draining = true;
        self.shared.arrived.notify_one();
        self.shared.draining.notify_one();
    }

    /// Tells whether the worker ends.
    pub(crate) fn is_draining(&self) -> bool {
        self.state().is_draining
    }

    /// Waits until the worker ends. Cancel-safe.
    pub(crate) async fn draining(&self) {
        if !self.is_draining() {
            self.shared.draining.notified().await;
        }
    }

    /// Tells whether the session is closed.
    pub(crate) fn is_session_closed(&self) -> bool {
        self.state().session_closed
    }

    /// Takes in one record of a tail; false when records before it are missing, or the tail no longer counts (S-164).
    #[must_use]
    fn receive(&self, tail_number: u64, record: InputRecord) -> bool {
        let mut state = self.state();
        if state.tail_number != tail_number {
            return false;
        }
        let dispatched = state.inbox.receive(record);
        let is_next = dispatched != Dispatched::Gap;
        self.act_on(state, dispatched);
        is_next
    }

    /// Takes in one record of a drain.
    pub(crate) fn receive_drained(&self, record: InputRecord) {
        let mut state = self.state();
        let dispatched = state.inbox.receive_drained(record);
        self.act_on(state, dispatched);
    }

    fn act_on(&self, state: MutexGuard<'_, State>, dispatched: Dispatched) {
        if let Dispatched::Handled(ChatInputChunk::Stop { message }) = dispatched
            && let Some(turn) = &state.turn
        {
            turn.set(message.as_deref().unwrap_or(STOPPED));
        }
        drop(state);
        self.shared.arrived.notify_one();
    }

    /// Waits until something arrived since the last look. Cancel-safe.
    pub(crate) async fn arrived(&self) {
        self.shared.arrived.notified().await;
    }

    /// Follows `in` from the received cursor on, unless a tail is up already (A-36, S-168).
    pub(crate) fn connect(&self) {
        let mut state = self.state();
        if state.tail.as_ref().is_none_or(Task::is_finished) {
            state.tail_number += 1;
            let tail = follow(Arc::downgrade(&self.shared), state.tail_number);
            state.tail = Some(self.shared.host.spawn(tail));
        }
    }

    /// Stops following; what is buffered stays (S-161). Nothing reconnects before the next [`InputChannel::connect`].
    pub(crate) fn disconnect(&self) {
        let mut state = self.state();
        state.tail_number += 1;
        let tail = state.tail.take();
        drop(state);
        drop(tail);
    }

    /// Gives where a tail goes on reading; none when it no longer counts: it must not open again beside its successor (S-163).
    fn place_of_tail(&self, tail_number: u64) -> Option<Option<SeqNum>> {
        let state = self.state();
        (state.tail_number == tail_number).then(|| state.inbox.received())
    }
}

/// Opens the tail again and again until it is dropped. Never holds the state across an await: it would outlive its run.
async fn follow(weak: Weak<Shared>, tail_number: u64) {
    let Some((link, taken, jitter)) = weak
        .upgrade()
        .map(|shared| (shared.link.clone(), shared.taken.clone(), shared.entropy.child("tail-backoff").draws()))
    else {
        return;
    };
    let mut pause = FIRST_PAUSE;
    loop {
        let Some(after) = channel(&weak).and_then(|channel| channel.place_of_tail(tail_number)) else {
            return;
        };
        let mut next_pause = FIRST_PAUSE;
        match link.follow_in(after).await {
            Ok(mut records) => {
                // A quiet end within the budget is no failure (S-160): it reconnects like a first attempt.
                pause = FIRST_PAUSE;
                while let Some(record) = records.next().await {
                    let Some(channel) = channel(&weak) else {
                        return;
                    };
                    if !channel.receive(tail_number, record) {
                        break;
                    }
                    drop(channel);
                    wait_for_room(&weak, &taken).await;
                }
            }
            Err(_) => next_pause = (pause * 2).min(LONGEST_PAUSE),
        }
        tokio::time::sleep(pause.mul_f64(0.5 + jitter.unit() / 2.0)).await;
        pause = next_pause;
    }
}

async fn wait_for_room(weak: &Weak<Shared>, taken: &Notify) {
    while channel(weak).is_some_and(|channel| channel.state().inbox.is_full()) {
        taken.notified().await;
    }
}

fn channel(weak: &Weak<Shared>) -> Option<InputChannel> {
    weak.upgrade().map(|shared| InputChannel { shared })
}

#[cfg(test)]
mod tests;

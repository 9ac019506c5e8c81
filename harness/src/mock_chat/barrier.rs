//! [`At`] and [`Barrier`]: named places of a run where a test holds it, to drive a race step by step.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use turnkeep_agent::{Checkpoint, Place};
use turnkeep_protocol::{RunId, SessionId};

use super::progress::Progress;

/// How long, in virtual time, a test waits for a run to come to a barrier.
const REACH_LIMIT: Duration = Duration::from_secs(2 * 3600);

/// A place in the life of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct At {
    name: String,
    nth: usize,
}

impl At {
    fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), nth: 0 }
    }

    /// Before a hook, by its name on the agent's builder: `on_boot`, `on_turn_complete`, `prepare_messages`, `run`, …
    pub fn before(hook: &str) -> Self {
        Self::new(format!("before {hook}"))
    }

    /// After a hook has returned.
    pub fn after(hook: &str) -> Self {
        Self::new(format!("after {hook}"))
    }

    /// Before a record is written to `out`: a chunk's type, `turn-complete` or `trim`.
    pub fn before_record(record: &str) -> Self {
        Self::new(format!("before record {record}"))
    }

    /// After a record is durable.
    pub fn after_record(record: &str) -> Self {
        Self::new(format!("after record {record}"))
    }

    /// Before the chat snapshot is stored.
    pub fn before_snapshot() -> Self {
        Self::new("before snapshot")
    }

    /// After the chat snapshot is stored, or its storing has failed.
    pub fn after_snapshot() -> Self {
        Self::new("after snapshot")
    }

    /// Before boot reads the `snapshot`, `out` or `in`.
    pub fn before_read(what: &str) -> Self {
        Self::new(format!("before read of {what}"))
    }

    /// When boot is through, before the first turn or wait.
    pub fn booted() -> Self {
        Self::new("booted")
    }

    /// When a turn is done: boundary, hooks and snapshot.
    pub fn turn_end() -> Self {
        Self::new("turn end")
    }

    /// When the idle time is over.
    pub fn idle_end() -> Self {
        Self::new("idle end")
    }

    /// Before the durable wait is registered.
    pub fn before_suspend() -> Self {
        Self::new("before suspend")
    }

    /// Before the end of the run is reported.
    pub fn before_exit() -> Self {
        Self::new("before exit")
    }

    /// The n-th time from now on that a run comes by, counted from 0.
    #[must_use]
    pub fn nth(mut self, nth: usize) -> Self {
        self.nth = nth;
        self
    }

    /// Tells whether the place is that of a single record.
    fn is_record(&self) -> bool {
        self.name.contains(" record ")
    }
}

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        if self.nth > 0 { write!(f, " ({} times before)", self.nth) } else { Ok(()) }
    }
}

/// What the next run that comes to a place does there.
#[derive(Debug)]
pub(super) struct Hold {
    pub(super) at: At,
    /// How often a run still passes by.
    left: usize,
    delay: Option<Duration>,
    pub(super) state: HoldState,
    /// The attempt that stands, or stood, here.
    pub(super) caught: Option<Caught>,
    gate: Arc<Semaphore>,
}

/// An attempt at a run of a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Caught {
    pub(super) session: SessionId,
    pub(super) run: RunId,
    pub(super) attempt: u32,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum HoldState {
    /// No run has come by.
    Waiting,
    /// A run stands here.
    Holding,
    /// The run may go on, or never needed to stop.
    Over,
}

impl Hold {
    pub(super) fn new(at: At, delay: Option<Duration>) -> Self {
        let left = at.nth;
        Self { at, left, delay, state: HoldState::Waiting, caught: None, gate: Arc::new(Semaphore::new(0)) }
    }

    /// Tells whether single records must be told apart for it.
    pub(super) fn watches_records(&self) -> bool {
        self.at.is_record() && self.state != HoldState::Over
    }

    /// Takes hold of a run that comes to its place; gives what the run waits for.
    pub(super) fn catch(&mut self, checkpoint: &Checkpoint) -> Option<Stop> {
        if self.state != HoldState::Waiting || checkpoint.place.to_string() != self.at.name {
            return None;
        }
        if self.left > 0 {
            self.left -= 1;
            return None;
        }
        let ctx = &checkpoint.ctx;
        let (session, run) = (ctx.session_id.clone(), ctx.run_id.clone());
        self.caught = Some(Caught { session, run, attempt: ctx.attempt });
        let stop = match self.delay {
            Some(delay) => {
                self.state = HoldState::Over;
                Stop::Delay(delay)
            }
            None => {
                self.state = HoldState::Holding;
                Stop::Gate(self.gate.clone())
            }
        };
        Some(stop)
    }

    pub(super) fn release(&mut self) {
        self.state = HoldState::Over;
        self.gate.add_permits(1);
    }
}

/// What a run waits for at a place.
pub(super) enum Stop {
    Gate(Arc<Semaphore>),
    Delay(Duration),
}

impl Stop {
    pub(super) async fn wait(self) {
        match self {
            // A gate that is gone holds nobody.
            Self::Gate(gate) => gate.acquire().await.map_or((), |permit| permit.forget()),
            Self::Delay(delay) => tokio::time::sleep(delay).await,
        }
    }
}

/// Holds the next run that comes to a place until it is released or dropped.
#[derive(Debug)]
#[must_use = "dropping a barrier takes it away"]
pub struct Barrier {
    /// Its place among the holds, which are never taken out.
    index: usize,
    at: At,
    progress: Arc<Progress>,
}

impl Barrier {
    pub(super) fn new(index: usize, at: At, progress: Arc<Progress>) -> Self {
        Self { index, at, progress }
    }

    /// Waits until a run stands at the place.
    ///
    /// # Panics
    ///
    /// When none comes there within two virtual hours, with the places that runs came to last.
    pub async fn reached(&self) {
        let holding = self.progress.until(|runs| (runs.holds[self.index].state != HoldState::Waiting).then_some(()));
        if tokio::time::timeout(REACH_LIMIT, holding).await.is_err() {
            let last = self.progress.look(|runs| runs.last_places());
            panic!("no run came to `{}` within {REACH_LIMIT:?}; the last places were {last}", self.at);
        }
    }

    /// Tells whether a run stands at the place now.
    pub fn is_holding(&self) -> bool {
        self.progress.look(|runs| runs.holds[self.index].state == HoldState::Holding)
    }

    /// Lets the run go on.
    pub fn release(self) {
        drop(self);
    }
}

impl Drop for Barrier {
    fn drop(&mut self) {
        self.progress.change(|runs| runs.release(self.index));
    }
}

/// Names the place that ends a run's attempt.
pub(super) fn is_exit(place: &Place) -> bool {
    matches!(place, Place::BeforeExit(_) | Place::Cancelled)
}

//! [`Checkpoints`]: named places of a run where a test may look on, or hold it.
//!
//! A worker without checkpoints pays nothing: no hook is wrapped, and writes go straight to the link.

mod link;

use std::fmt;
use std::sync::Arc;

use futures::future::BoxFuture;
use turnkeep_protocol::SeqNum;
use turnkeep_protocol::run_api::RunOutcome;

use crate::agent::Hook;
use crate::event::RunContext;

pub(crate) use self::link::GatedLink;

/// Is told of every place that a run reaches, and lets it go on.
pub trait Checkpoints: fmt::Debug + Send + Sync {
    /// Resolves when the run may go on; dropping the run drops the future.
    fn reach(&self, checkpoint: &Checkpoint) -> BoxFuture<'static, ()>;

    /// Tells whether single records matter now: then each is written on its own, with its places, else in batches without.
    fn watches_records(&self) -> bool {
        true
    }

    /// Gives what hooks and code are told of their run; a test may tell them something else.
    fn told(&self, ctx: RunContext) -> RunContext {
        ctx
    }
}

/// One place in one run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// The run.
    pub ctx: RunContext,
    /// Where in its life.
    pub place: Place,
}

/// Where a run is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Place {
    /// Boot is through, the first turn or wait comes next.
    Booted,
    /// The hook is about to be called; `run` counts as one.
    BeforeHook(&'static str),
    /// The hook has returned, whatever it said.
    AfterHook(&'static str),
    /// The record is about to be written to `out`: a chunk's `type`, `turn-complete` or `trim`.
    BeforeRecord(String),
    /// The record is durable.
    AfterRecord(String),
    /// The chat snapshot is about to be stored.
    BeforeSnapshot,
    /// The chat snapshot is stored, or its storing has failed.
    AfterSnapshot,
    /// Boot is about to read the `snapshot`, `out` or `in`.
    BeforeRead(&'static str),
    /// A payload is done with: its boundary, its hooks and its snapshot are through.
    TurnEnd {
        /// Everything up to here is settled.
        settled: Option<SeqNum>,
    },
    /// The idle time is over.
    IdleEnd,
    /// The durable wait is about to be registered, behind the suspend hook.
    BeforeSuspend,
    /// The attempt is over and its end is about to be reported.
    BeforeExit(RunOutcome),
    /// The run was cancelled from outside and is gone; what cared for its work elsewhere is through, and so is `on_cancel`.
    Cancelled,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Booted => f.write_str("booted"),
            Self::BeforeHook(hook) => write!(f, "before {hook}"),
            Self::AfterHook(hook) => write!(f, "after {hook}"),
            Self::BeforeRecord(record) => write!(f, "before record {record}"),
            Self::AfterRecord(record) => write!(f, "after record {record}"),
            Self::BeforeSnapshot => f.write_str("before snapshot"),
            Self::AfterSnapshot => f.write_str("after snapshot"),
            Self::BeforeRead(what) => write!(f, "before read of {what}"),
            Self::TurnEnd { .. } => f.write_str("turn end"),
            Self::IdleEnd => f.write_str("idle end"),
            Self::BeforeSuspend => f.write_str("before suspend"),
            Self::BeforeExit(_) => f.write_str("before exit"),
            Self::Cancelled => f.write_str("cancelled"),
        }
    }
}

/// One run's way to the checkpoints, if there are any; cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Gate(Option<Arc<Watched>>);

struct Watched {
    checkpoints: Arc<dyn Checkpoints>,
    ctx: RunContext,
}

impl Gate {
    pub(crate) fn new(checkpoints: Option<Arc<dyn Checkpoints>>, ctx: RunContext) -> Self {
        Self(checkpoints.map(|checkpoints| Arc::new(Watched { checkpoints, ctx })))
    }

    pub(crate) fn is_watched(&self) -> bool {
        self.0.is_some()
    }

    pub(crate) fn watches_records(&self) -> bool {
        self.0.as_ref().is_some_and(|watched| watched.checkpoints.watches_records())
    }

    /// Gives what hooks and code are told of their run.
    pub(crate) fn told(&self, ctx: RunContext) -> RunContext {
        match &self.0 {
            Some(watched) => watched.checkpoints.told(ctx),
            None => ctx,
        }
    }

    /// Tells of a place and waits there for as long as the test wants.
    pub(crate) async fn reach(&self, place: Place) {
        if let Some(watched) = &self.0 {
            watched.checkpoints.reach(&Checkpoint { ctx: watched.ctx.clone(), place }).await;
        }
    }

    /// Puts a checkpoint before and behind a hook.
    pub(crate) fn around<E: Send + 'static, T: Send + 'static>(
        &self,
        name: &'static str,
        hook: Hook<E, T>,
    ) -> Hook<E, T> {
        if !self.is_watched() {
            return hook;
        }
        let gate = self.clone();
        Arc::new(move |event| {
            let (gate, hook) = (gate.clone(), hook.clone());
            Box::pin(async move {
                gate.reach(Place::BeforeHook(name)).await;
                let result = hook(event).await;
                gate.reach(Place::AfterHook(name)).await;
                result
            })
        })
    }
}

#[cfg(test)]
mod tests;

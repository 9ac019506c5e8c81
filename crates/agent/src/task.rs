//! [`Task`]: the task around a run, which has hooks of its own whatever the agent does inside.
//!
//! A run that is taken away, that ran out of memory or whose process died says nothing: it goes on elsewhere. One that is cancelled is
//! over, and only `on_cancel` is told.

#[cfg(test)]
mod tests;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use tokio::time::timeout;
use turnkeep_protocol::JsonObject;
use turnkeep_protocol::run_api::LeasedRun;

use crate::agent::{Agent, Hook};
use crate::checkpoint::Gate;
use crate::deferred::Deferred;
use crate::error::Error;
use crate::event::{RunContext, TaskComplete, TaskEvent, TaskFailure};
use crate::link::Link;
use crate::metadata::Metadata;
use crate::worker::Warn;

/// The hooks of a task.
#[derive(Clone, Default)]
pub(crate) struct TaskHooks {
    start: Option<Hook<TaskEvent>>,
    wait: Option<Hook<TaskEvent>>,
    resume: Option<Hook<TaskEvent>>,
    success: Option<Hook<TaskEvent>>,
    failure: Option<Hook<TaskFailure>>,
    complete: Option<Hook<TaskComplete>>,
    cancel: Option<Hook<TaskEvent>>,
}

/// How long `on_cancel` may take. Nothing keeps a cancelled run, but its worker has one place less until the hook is done.
const CANCEL_LIMIT: Duration = Duration::from_secs(30);

/// The task around one attempt.
pub(crate) struct Task {
    hooks: TaskHooks,
    ctx: RunContext,
    payload: JsonObject,
    warn: Warn,
    /// What the run notes for its later attempts.
    pub(crate) metadata: Arc<Metadata>,
    /// What its turns have left under way.
    pub(crate) deferred: Arc<Deferred>,
}

impl Task {
    pub(crate) fn new(agent: &Agent, lease: &LeasedRun, link: Arc<dyn Link>, warn: Warn, gate: &Gate) -> Self {
        let all = &agent.hooks;
        let around = |name, hook: &Option<Hook<TaskEvent>>| hook.clone().map(|hook| gate.around(name, hook));
        let hooks = TaskHooks {
            start: around("on_start", &all.start),
            wait: around("on_wait", &all.wait),
            resume: around("on_resume", &all.resume),
            success: around("on_success", &all.success),
            failure: all.failure.clone().map(|hook| gate.around("on_failure", hook)),
            complete: all.complete.clone().map(|hook| gate.around("on_complete", hook)),
            cancel: around("on_cancel", &all.cancel),
        };
        let metadata = Arc::new(Metadata::new(link, lease.metadata.clone()));
        let (ctx, payload) = (gate.told(RunContext::of(lease)), lease.payload.clone());
        Self { hooks, ctx, payload, warn, metadata, deferred: Arc::new(Deferred::new()) }
    }

    /// Begins the run, unless an earlier attempt has: `on_start` succeeds once in a run.
    pub(crate) async fn start(&self) -> Result<(), Error> {
        let Some(hook) = self.hooks.start.clone().filter(|_| !self.metadata.is_started()) else {
            return Ok(());
        };
        hook(self.event()).await.map_err(|error| Error::of_hook("on_start", &error))?;
        self.metadata.set_started().await
    }

    /// Tells of a durable wait that begins.
    pub(crate) async fn waits(&self) -> Result<(), Error> {
        self.tell("on_wait", self.hooks.wait.clone(), self.event()).await
    }

    /// Tells of a durable wait that is over.
    pub(crate) async fn resumes(&self) -> Result<(), Error> {
        self.tell("on_resume", self.hooks.resume.clone(), self.event()).await
    }

    /// Tells how the run ended, where that is the end.
    pub(crate) async fn end(&self, ended: Result<(), Error>) -> Result<(), Error> {
        let result = match &ended {
            Ok(()) => Ok(()),
            Err(Error::LeaseLost | Error::RunCancelled | Error::OutOfMemory) => return ended,
            Err(error) if error.is_retryable() => return ended,
            Err(error) => Err(error.to_string()),
        };
        // What these fail with changes nothing any more.
        let _ = match result.clone() {
            Ok(()) => self.tell("on_success", self.hooks.success.clone(), self.event()).await,
            Err(error) => {
                let TaskEvent { ctx, payload } = self.event();
                self.tell("on_failure", self.hooks.failure.clone(), TaskFailure { ctx, payload, error }).await
            }
        };
        let TaskEvent { ctx, payload } = self.event();
        let _ = self.tell("on_complete", self.hooks.complete.clone(), TaskComplete { ctx, payload, result }).await;
        ended
    }

    /// Tells that the run was cancelled and is gone. What its turn had under way elsewhere has heard the stop, and ends first.
    pub(crate) async fn cancelled(&self) {
        self.deferred.settle().await;
        let told = self.tell("on_cancel", self.hooks.cancel.clone(), self.event());
        // A panic in an author's code is its own affair here: there is no run left that it could fail.
        match timeout(CANCEL_LIMIT, AssertUnwindSafe(told).catch_unwind()).await {
            // There is nothing left that could run elsewhere with more memory.
            Ok(Ok(_)) => {}
            Ok(Err(_)) => (self.warn)(&self.ctx, "on_cancel panicked".to_owned()),
            Err(_) => (self.warn)(&self.ctx, format!("on_cancel took more than {CANCEL_LIMIT:?} and was dropped")),
        }
    }

    fn event(&self) -> TaskEvent {
        TaskEvent { ctx: self.ctx.clone(), payload: self.payload.clone() }
    }

    /// Calls a hook whose failure is only worth a warning, unless memory ran out.
    async fn tell<E>(&self, name: &'static str, hook: Option<Hook<E>>, event: E) -> Result<(), Error> {
        let Some(hook) = hook else {
            return Ok(());
        };
        let Err(error) = hook(event).await else {
            return Ok(());
        };
        match Error::of_hook(name, &error) {
            Error::OutOfMemory => Err(Error::OutOfMemory),
            _ => {
                (self.warn)(&self.ctx, format!("{name} failed: {error}"));
                Ok(())
            }
        }
    }
}

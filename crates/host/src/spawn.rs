//! Background tasks, each owned by the value that ends it.

use std::fmt;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};

use futures::future::BoxFuture;
use tokio::task::AbortHandle;

/// Runs a future beside its caller: work-stealing in production, on the host's own thread in the world (D-48).
pub trait Spawn: Send + Sync {
    /// Starts `future` and gives the handle that ends it.
    fn spawn(&self, future: BoxFuture<'static, ()>) -> AbortHandle;
}

/// A running task; dropping it ends the task at its next await point.
#[must_use = "dropping a task ends it"]
pub struct Task {
    abort: AbortHandle,
}

impl Task {
    pub(crate) fn start(spawner: &Arc<dyn Spawn>, future: impl Future<Output = ()> + Send + 'static) -> Self {
        Self { abort: spawner.spawn(Box::pin(future)) }
    }

    /// Tells whether the task has ended, by itself or not.
    pub fn is_finished(&self) -> bool {
        self.abort.is_finished()
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.abort.abort();
    }
}

impl fmt::Debug for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Task")
    }
}

/// A growing set of tasks that end together with it; finished ones are forgotten as new ones come.
#[derive(Debug, Default)]
pub struct Tasks(Mutex<Held>);

#[derive(Debug, Default)]
struct Held {
    tasks: Vec<Task>,
    /// At this size the finished ones are forgotten: twice what was left the last time, so that adding costs the same however many run.
    sweep_at: usize,
}

/// Fewer tasks than this are never swept.
const FEW: usize = 16;

impl Tasks {
    /// Makes an empty set.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds `task`; now and then those that have finished are forgotten.
    pub fn add(&self, task: Task) {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if held.tasks.len() >= held.sweep_at.max(FEW) {
            held.tasks.retain(|task| !task.is_finished());
            held.sweep_at = held.tasks.len() * 2;
        }
        held.tasks.push(task);
    }

    /// Counts the tasks that still run.
    pub fn running(&self) -> usize {
        let held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        held.tasks.iter().filter(|task| !task.is_finished()).count()
    }
}

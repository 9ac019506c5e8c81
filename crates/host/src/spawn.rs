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
pub struct Tasks(Mutex<Vec<Task>>);

impl Tasks {
    /// Makes an empty set.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds `task` and forgets those that have finished.
    pub fn add(&self, task: Task) {
        let mut tasks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        tasks.retain(|task| !task.is_finished());
        tasks.push(task);
    }

    /// Counts the tasks that still run.
    pub fn running(&self) -> usize {
        let tasks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        tasks.iter().filter(|task| !task.is_finished()).count()
    }
}

//! What the hooks of the task are told.

use turnkeep_protocol::JsonObject;

use super::RunContext;

/// `on_start`, `on_wait`, `on_resume`, `on_success`, `on_cancel`: the task that serves the run begins, sleeps, wakes, ends well, is
/// cancelled.
#[derive(Clone, Debug, PartialEq)]
pub struct TaskEvent {
    /// The run.
    pub ctx: RunContext,
    /// What the run was started with, as it came over the wire.
    pub payload: JsonObject,
}

/// `on_failure`: the run has failed and is not tried again.
#[derive(Clone, Debug, PartialEq)]
pub struct TaskFailure {
    /// The run.
    pub ctx: RunContext,
    /// What the run was started with.
    pub payload: JsonObject,
    /// What went wrong.
    pub error: String,
}

/// `on_complete`: the run is over, well or not.
#[derive(Clone, Debug, PartialEq)]
pub struct TaskComplete {
    /// The run.
    pub ctx: RunContext,
    /// What the run was started with.
    pub payload: JsonObject,
    /// How it ended: with what went wrong, if something did.
    pub result: Result<(), String>,
}

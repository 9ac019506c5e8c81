//! [`run_in_mock_child_context`]: the code of a child task in a test of a few lines (A-263).
//!
//! The code is called by the test, with the real [`ChildContext`]; drivers play the streams that it reads and keep what it writes. A task
//! with a session of its own is the work of [`run_in_mock_task_context`](crate::run_in_mock_task_context), a tool that runs a task that of
//! [`InMemoryTasks`](crate::InMemoryTasks).
//!
//! ```
//! use serde_json::json;
//! use turnkeep_agent::protocol::UiMessageChunk;
//! use turnkeep_agent::{ChildContext, HookError};
//! use turnkeep_harness::{MockChild, block_on, run_in_mock_child_context};
//!
//! async fn dig(depth: u32, ctx: ChildContext) -> Result<u32, HookError> {
//!     let root = ctx.root.ok_or("no chat")?;
//!     root.write(UiMessageChunk::data("depth", None, json!(depth))).await?;
//!     Ok(depth * 2)
//! }
//!
//! block_on(run_in_mock_child_context(MockChild::new(), |task| async move {
//!     assert_eq!(dig(3, task.child()).await.unwrap(), 6);
//!     assert_eq!(task.outputs().chunks("root").len(), 1);
//! }));
//! ```

mod inputs;
mod outputs;

use std::sync::Arc;

use turnkeep_agent::{ChildContext, Locals, RunContext};
use turnkeep_protocol::{JsonObject, RunId, SessionId, TaskId};

pub use inputs::{ChildInputs, MAX_QUEUED_INPUTS};
pub use outputs::ChildOutputs;

/// Under which id the outputs keep what a child task writes for its chat.
const ROOT: &str = "root";

/// Chooses what the context is like; what is not chosen is the same in every test.
#[derive(Clone, Debug)]
#[must_use = "nothing runs before `run_in_mock_child_context`"]
pub struct MockChild {
    ctx: RunContext,
    metadata: JsonObject,
    tags: Vec<String>,
    worker: ChildWorker,
    is_warm_start: bool,
}

/// The process that the code runs in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChildWorker {
    /// Its name.
    pub id: String,
    /// The version of its code.
    pub version: String,
}

impl MockChild {
    /// Chooses run `run_test`, the first attempt at task `test-task`, for session `session_test`, in a fresh worker.
    pub fn new() -> Self {
        Self {
            ctx: RunContext {
                run_id: RunId::new("run_test"),
                attempt: 1,
                task_id: TaskId::new("test-task"),
                session_id: SessionId::new("session_test"),
            },
            metadata: JsonObject::new(),
            tags: Vec::new(),
            worker: ChildWorker { id: "mock-worker".to_owned(), version: "1".to_owned() },
            is_warm_start: false,
        }
    }

    /// Changes what the code is told of its run.
    pub fn ctx(mut self, change: impl FnOnce(&mut RunContext)) -> Self {
        change(&mut self.ctx);
        self
    }

    /// Gives the run this metadata, as its parent would.
    pub fn metadata(mut self, metadata: JsonObject) -> Self {
        self.metadata = metadata;
        self
    }

    /// Gives the run these tags.
    pub fn tags(mut self, tags: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.tags = tags.into_iter().map(Into::into).collect();
        self
    }

    /// Runs the task in this process; `mock-worker` with version `1` by default.
    pub fn worker(mut self, worker: ChildWorker) -> Self {
        self.worker = worker;
        self
    }

    /// Says that the process has run tasks before.
    pub fn warm_start(mut self) -> Self {
        self.is_warm_start = true;
        self
    }
}

impl Default for MockChild {
    fn default() -> Self {
        Self::new()
    }
}

/// What a test has in its hands while a task runs; clones share it.
#[derive(Clone, Debug)]
pub struct ChildDrivers {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    ctx: RunContext,
    child: ChildContext,
    worker: ChildWorker,
    is_warm_start: bool,
    inputs: ChildInputs,
    outputs: ChildOutputs,
}

impl ChildDrivers {
    /// Gives what code is told of its run: attempt 1 and ids that are the same in every test, unless the test has chosen others.
    pub fn ctx(&self) -> RunContext {
        self.shared.ctx.clone()
    }

    /// Gives what the code of a child task gets; all clones share one cancel signal and one set of locals. What it writes to `root` is
    /// in the outputs, under `root`.
    pub fn child(&self) -> ChildContext {
        self.shared.child.clone()
    }

    /// Gives the process that the task runs in.
    pub fn worker(&self) -> &ChildWorker {
        &self.shared.worker
    }

    /// Tells whether that process has run tasks before.
    pub fn is_warm_start(&self) -> bool {
        self.shared.is_warm_start
    }

    /// Gives the run's slots: set them before the code runs, look at them afterwards.
    pub fn locals(&self) -> &Locals {
        &self.shared.child.locals
    }

    /// Plays the task's input streams.
    pub fn inputs(&self) -> &ChildInputs {
        &self.shared.inputs
    }

    /// Reads what the task has written.
    pub fn outputs(&self) -> &ChildOutputs {
        &self.shared.outputs
    }
}

/// Runs `run` with what a child task's code needs around it, in memory; gives what it gives (A-263).
///
/// Any number of contexts may live side by side; nothing is left of one when it ends.
pub async fn run_in_mock_child_context<T, F, Fut>(options: MockChild, run: F) -> T
where
    F: FnOnce(ChildDrivers) -> Fut,
    Fut: Future<Output = T>,
{
    let MockChild { ctx, metadata, tags, worker, is_warm_start } = options;
    let (inputs, outputs) = (ChildInputs::default(), ChildOutputs::default());
    let child = ChildContext::new(ctx.run_id.clone(), ctx.task_id.clone(), metadata, tags);
    let child = child.with_root(outputs.writer(ROOT));
    let shared = Shared { ctx, child, worker, is_warm_start, inputs, outputs };
    run(ChildDrivers { shared: Arc::new(shared) }).await
}

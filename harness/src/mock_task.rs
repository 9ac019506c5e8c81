//! [`run_in_mock_child_context`]: any task in a test of a few lines, with the runtime around it in memory (A-263).
//!
//! A task is a closure that gets the real types: a child task's code gets [`ChildContext`], other code [`RunContext`] and [`Locals`],
//! and an agent of any kind is served by the real worker. Around it are a session server in memory, drivers that play its inputs, and
//! a record of what it writes. A chat with an agent, turn by turn, is [`MockChatAgent`](crate::MockChatAgent)'s work.
//!
//! ```
//! use serde_json::json;
//! use turnkeep_agent::protocol::UiMessageChunk;
//! use turnkeep_agent::{ChildContext, HookError};
//! use turnkeep_harness::{MockTask, block_on, run_in_mock_child_context};
//!
//! async fn dig(depth: u32, ctx: ChildContext) -> Result<u32, HookError> {
//!     let root = ctx.root.ok_or("no chat")?;
//!     root.write(UiMessageChunk::data("depth", None, json!(depth))).await?;
//!     Ok(depth * 2)
//! }
//!
//! block_on(run_in_mock_child_context(MockTask::new(), |task| async move {
//!     assert_eq!(dig(3, task.child()).await.unwrap(), 6);
//!     assert_eq!(task.outputs().chunks("root").len(), 1);
//! }));
//! ```

mod inputs;
mod outputs;
mod serve;
mod session;

use std::sync::Arc;

use serde_json::json;
use turnkeep_agent::{ChildContext, Locals, RunContext};
use turnkeep_host::{Host, Task};
use turnkeep_protocol::{JsonObject, RunId, SessionId, TaskId};

pub use inputs::{MAX_QUEUED_INPUTS, TaskInputs};
pub use outputs::TaskOutputs;
pub use session::SessionInputs;

use crate::offline_host;

/// Under which id the outputs keep what a child task writes for its chat.
const ROOT: &str = "root";

/// Chooses what a task's context is like; what is not chosen is the same in every test.
#[derive(Clone, Debug)]
#[must_use = "nothing runs before `run_in_mock_child_context`"]
pub struct MockTask {
    task_id: TaskId,
    run_id: Option<RunId>,
    session_id: Option<SessionId>,
    attempt: u32,
    chat_id: String,
    payload: JsonObject,
    metadata: JsonObject,
    tags: Vec<String>,
    worker: TaskWorker,
    is_warm_start: bool,
}

/// The process that a task runs in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskWorker {
    /// Its name.
    pub id: String,
    /// The version of its code.
    pub version: String,
}

impl MockTask {
    /// Chooses the first attempt at a run of `test-task` for the chat `test-chat`, in a fresh worker.
    pub fn new() -> Self {
        let trigger = JsonObject::from_iter([("trigger".to_owned(), json!("preload"))]);
        Self {
            task_id: TaskId::new("test-task"),
            run_id: None,
            session_id: None,
            attempt: 1,
            chat_id: "test-chat".to_owned(),
            payload: trigger,
            metadata: JsonObject::new(),
            tags: Vec::new(),
            worker: TaskWorker { id: "mock-worker".to_owned(), version: "1".to_owned() },
            is_warm_start: false,
        }
    }

    /// Names the task; an agent that is served must have this id.
    pub fn task_id(mut self, id: impl Into<String>) -> Self {
        self.task_id = TaskId::new(id);
        self
    }

    /// Tells code another run than the one that the session's server knows.
    pub fn run_id(mut self, id: impl Into<String>) -> Self {
        self.run_id = Some(RunId::new(id));
        self
    }

    /// Tells code another session than the one that is there.
    pub fn session_id(mut self, id: impl Into<String>) -> Self {
        self.session_id = Some(SessionId::new(id));
        self
    }

    /// Tells code that this is a later attempt.
    pub fn attempt(mut self, attempt: u32) -> Self {
        self.attempt = attempt;
        self
    }

    /// Names the chat.
    pub fn chat_id(mut self, id: impl Into<String>) -> Self {
        self.chat_id = id.into();
        self
    }

    /// Starts the session's run with these fields over `{"trigger": "preload", "chatId": …}`.
    pub fn payload(mut self, fields: JsonObject) -> Self {
        self.payload.extend(fields);
        self
    }

    /// Gives a child task this metadata, as its parent would.
    pub fn metadata(mut self, metadata: JsonObject) -> Self {
        self.metadata = metadata;
        self
    }

    /// Gives a child task these tags.
    pub fn tags(mut self, tags: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.tags = tags.into_iter().map(Into::into).collect();
        self
    }

    /// Runs the task in this process; `mock-worker` with version `1` by default.
    pub fn worker(mut self, worker: TaskWorker) -> Self {
        self.worker = worker;
        self
    }

    /// Says that the process has run tasks before.
    pub fn warm_start(mut self) -> Self {
        self.is_warm_start = true;
        self
    }
}

impl Default for MockTask {
    fn default() -> Self {
        Self::new()
    }
}

/// What a test has in its hands while a task runs; clones share it.
#[derive(Clone, Debug)]
pub struct TaskDrivers {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    host: Host,
    ctx: RunContext,
    child: ChildContext,
    worker: TaskWorker,
    is_warm_start: bool,
    inputs: TaskInputs,
    outputs: TaskOutputs,
    session: SessionInputs,
    _server: Task,
}

impl TaskDrivers {
    /// Gives what code is told of its run: attempt 1 and ids that are the same in every test, unless the test has chosen others.
    pub fn ctx(&self) -> RunContext {
        self.shared.ctx.clone()
    }

    /// Gives what the code of a child task gets; all clones share one cancel signal and one set of locals. What it writes to `root` is
    /// in the outputs, under `root`.
    pub fn child(&self) -> ChildContext {
        self.shared.child.clone()
    }

    /// Gives the machine, whose session server is at [`SessionInputs::base_url`].
    pub fn host(&self) -> &Host {
        &self.shared.host
    }

    /// Gives the process that the task runs in.
    pub fn worker(&self) -> &TaskWorker {
        &self.shared.worker
    }

    /// Tells whether that process has run tasks before.
    pub fn is_warm_start(&self) -> bool {
        self.shared.is_warm_start
    }

    /// Gives the slots that the child's context has: set them before the task runs, look at them afterwards. An agent that is served has
    /// its own, which `Agent::setup_locals` fills.
    pub fn locals(&self) -> &Locals {
        &self.shared.child.locals
    }

    /// Plays the task's input streams.
    pub fn inputs(&self) -> &TaskInputs {
        &self.shared.inputs
    }

    /// Reads what the task has written.
    pub fn outputs(&self) -> &TaskOutputs {
        &self.shared.outputs
    }

    /// Plays the session's `in`.
    pub fn session(&self) -> &SessionInputs {
        &self.shared.session
    }
}

/// Runs `run` with the runtime of a task around it, in memory; gives what it gives (A-263).
///
/// Everything ends with it. Any number of contexts may live side by side.
///
/// # Panics
///
/// When the session cannot be made, which is a broken invariant of the harness.
pub async fn run_in_mock_child_context<T, F, Fut>(options: MockTask, run: F) -> T
where
    F: FnOnce(TaskDrivers) -> Fut,
    Fut: Future<Output = T>,
{
    let drivers = set_up(options).await;
    run(drivers).await
}

async fn set_up(options: MockTask) -> TaskDrivers {
    let host = offline_host(1);
    let outputs = TaskOutputs::default();
    let server = session::start_server(&host, &outputs).await;
    let (session, created) = SessionInputs::open(&host, &options).await;
    let ctx = RunContext {
        run_id: options.run_id.unwrap_or(created.run_id),
        attempt: options.attempt,
        task_id: options.task_id.clone(),
        session_id: options.session_id.unwrap_or(created.session.listed.id),
    };
    let child = ChildContext::new(ctx.run_id.clone(), options.task_id, options.metadata, options.tags);
    let child = child.with_root(outputs.writer(ROOT));
    let shared = Shared {
        host,
        ctx,
        child,
        worker: options.worker,
        is_warm_start: options.is_warm_start,
        inputs: TaskInputs::default(),
        outputs,
        session,
        _server: server,
    };
    TaskDrivers { shared: Arc::new(shared) }
}

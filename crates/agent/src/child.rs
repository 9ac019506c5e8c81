//! [`ChildTask`]: a tool whose work is a task of its own, run elsewhere as a child of this run (A-246…A-249).
//!
//! Who runs it is the author's choice: [`ChildTasks`] is the seam. The session server only runs agents, so there is no
//! implementation over its wire; one over the author's own queue is a few lines, and the harness has one in memory.
//!
//! ```
//! use turnkeep_agent::{ChildTask, Tool};
//!
//! #[derive(serde::Deserialize, schemars::JsonSchema)]
//! struct Page {
//!     url: String,
//! }
//!
//! let task = ChildTask::new::<Page>("fetch-page");
//! let fetch = Tool::of_task("fetchPage", "Fetches a page", &task)?;
//! assert_eq!(fetch.spec().input_schema["required"], serde_json::json!(["url"]));
//! assert!(Tool::of_task("any", "", &ChildTask::without_schema("any")).is_err());
//! # Ok::<(), turnkeep_agent::TaskSchemaError>(())
//! ```

mod context;
mod execute;
mod root;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use futures::future::BoxFuture;
use schemars::JsonSchema;
use serde_json::Value;
use turnkeep_protocol::{JsonObject, RunId, TaskId};

pub use self::context::{ChildContext, NoChatContext, ToolCallChat, ToolCallOptions};
pub use self::execute::tool_execute;
pub use self::root::RootWriter;
use crate::agent::Agent;
use crate::error::HookError;
use crate::locals::LocalKey;
use crate::tool::{Schema, Tool, ToolContext, schema_of};

/// Under which key of a child's metadata its call is told (A-248).
pub const TOOL_CALL_METADATA: &str = "tool.execute.options";

/// Where a run keeps its way to child tasks.
pub(crate) static CHILD_TASKS: LocalKey<Arc<dyn ChildTasks>> = LocalKey::new("turnkeep.child-tasks");

/// A task by its id and the schema of its input.
#[derive(Clone, Debug, PartialEq)]
pub struct ChildTask {
    id: TaskId,
    input_schema: Option<Value>,
}

/// Says why a task cannot be a tool: without a schema no model knows what to send (A-246).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TaskSchemaError {
    /// It takes anything.
    #[error("task `{0}` has no schema: a tool needs one")]
    Missing(TaskId),
    /// What it takes is not said in JSON schema.
    #[error("task `{task_id}` has a bad schema: {problem}")]
    Bad {
        /// The task.
        task_id: TaskId,
        /// Where and why it is none.
        problem: String,
    },
}

impl ChildTask {
    /// Names a task that takes an `I`.
    pub fn new<I: JsonSchema>(id: impl Into<String>) -> Self {
        Self::with_schema(id, schema_of::<I>())
    }

    /// Names a task whose input has this JSON schema.
    pub fn with_schema(id: impl Into<String>, input_schema: Value) -> Self {
        Self { id: TaskId::new(id), input_schema: Some(input_schema) }
    }

    /// Names a task that takes anything; it can be no tool.
    pub fn without_schema(id: impl Into<String>) -> Self {
        Self { id: TaskId::new(id), input_schema: None }
    }

    /// Gives the task's id.
    pub fn id(&self) -> &TaskId {
        &self.id
    }

    fn schema(&self) -> Result<&Value, TaskSchemaError> {
        self.input_schema.as_ref().ok_or_else(|| TaskSchemaError::Missing(self.id.clone()))
    }

    fn compiled(&self) -> Result<Schema, TaskSchemaError> {
        let schema = Schema::compile(self.schema()?);
        match schema.problem() {
            Some(problem) => Err(TaskSchemaError::Bad { task_id: self.id.clone(), problem: problem.to_owned() }),
            None => Ok(schema),
        }
    }
}

impl Tool {
    /// Makes a tool of a task: each call runs it as a child of this run, and its output is the tool's (A-246, A-247).
    ///
    /// # Errors
    ///
    /// Fails for a task without a schema, or with one that is none.
    pub fn of_task(
        name: impl Into<String>,
        description: impl Into<String>,
        task: &ChildTask,
    ) -> Result<Self, TaskSchemaError> {
        Ok(Self::new(name, description, task.schema()?.clone(), tool_execute(task)?))
    }
}

impl Agent {
    /// Runs the tasks of tools through `tasks`.
    pub fn child_tasks(self, tasks: impl ChildTasks + 'static) -> Self {
        let tasks: Arc<dyn ChildTasks> = Arc::new(tasks);
        self.setup_locals(move |locals| locals.set(&CHILD_TASKS, tasks.clone()))
    }
}

/// Runs tasks as children of runs. Every call may retry by itself; an error from here is final and fails the tool's call.
pub trait ChildTasks: Send + Sync {
    /// Starts a run of a task and gives its id. What the run writes for the chat goes to `root`, wherever it runs (A-220).
    fn trigger(&self, child: ChildRun, root: RootWriter) -> BoxFuture<'_, Result<RunId, HookError>>;

    /// Waits until a run has ended, however long that takes.
    fn ended<'a>(&'a self, run_id: &'a RunId) -> BoxFuture<'a, Result<ChildEnd, HookError>>;

    /// Ends a run; one that has ended already stays as it is.
    fn cancel<'a>(&'a self, run_id: &'a RunId) -> BoxFuture<'a, Result<(), HookError>>;
}

/// A run to be started.
#[derive(Clone, Debug, PartialEq)]
pub struct ChildRun {
    /// The task.
    pub task_id: TaskId,
    /// Its input.
    pub payload: Value,
    /// What the child may know of its call, under [`TOOL_CALL_METADATA`]; [`ToolCallOptions::read`] reads it.
    pub metadata: JsonObject,
    /// `toolCallId:{id}`.
    pub tags: Vec<String>,
}

/// How a child run ended.
#[derive(Clone, Debug, PartialEq)]
pub enum ChildEnd {
    /// With an output.
    Completed(Value),
    /// With an error.
    Failed(String),
    /// Before its end, at somebody's wish.
    Cancelled,
}

/// Says whose call a tool works on, for whoever runs its task.
fn options(ctx: &ToolContext) -> ToolCallOptions {
    let chat = &ctx.chat;
    let turn = chat.turn_context();
    let locals = chat.locals().to_child();
    ToolCallOptions {
        tool_call_id: ctx.tool_call_id.clone(),
        context: ctx.context.clone(),
        experimental_context: ctx.context.clone(),
        chat_id: Some(chat.id().to_owned()),
        turn: turn.as_ref().map(|turn| turn.number),
        continuation: turn.as_ref().map(|turn| turn.continuation),
        client_data: turn.map(|turn| turn.client_data),
        chat_locals: Some(locals).filter(|locals| !locals.is_empty()),
    }
}

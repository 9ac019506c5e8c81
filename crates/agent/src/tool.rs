//! [`Tool`]: what a model may call, and who runs it.

mod schema;

use std::fmt;
use std::sync::Arc;

use futures::future::BoxFuture;
use serde_json::Value;
use turnkeep_model::ToolSpec;
use turnkeep_protocol::ModelMessage;

use crate::chat::{Chat, ChunkWriter};
use crate::error::HookError;
use crate::signal::Signal;

pub(crate) type Execute = Arc<dyn Fn(Value, ToolContext) -> BoxFuture<'static, Result<Value, HookError>> + Send + Sync>;

/// A tool that the model may call; cheap to clone.
#[derive(Clone)]
pub struct Tool {
    spec: Arc<ToolSpec>,
    execute: Option<Execute>,
}

/// What a running tool may know and do.
#[derive(Clone, Debug)]
pub struct ToolContext {
    /// Names the call.
    pub tool_call_id: String,
    /// The history that led to the call, in model form.
    pub messages: Vec<ModelMessage>,
    /// Set when a person stops the answer; the tool is then dropped at its next await.
    pub stop_signal: Signal,
    /// The chat.
    pub chat: Chat,
    /// Writes to `out` while the tool runs; a long silent tool should say something now and then (RC-2).
    pub writer: ChunkWriter,
}

impl Tool {
    /// Makes a tool that the agent runs; `input_schema` is the JSON schema of its input.
    ///
    /// An error from `execute` is told to the model as the call's failure.
    pub fn new<F, Fut>(name: impl Into<String>, description: impl Into<String>, input_schema: Value, execute: F) -> Self
    where
        F: Fn(Value, ToolContext) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Value, HookError>> + Send + 'static,
    {
        let execute: Execute = Arc::new(move |input, ctx| Box::pin(execute(input, ctx)));
        Self { execute: Some(execute), ..Self::answered_by_client(name, description, input_schema) }
    }

    /// Makes a tool that the person or their app answers: the turn ends with the call open.
    pub fn answered_by_client(name: impl Into<String>, description: impl Into<String>, input_schema: Value) -> Self {
        let spec = ToolSpec { name: name.into(), description: Some(description.into()), input_schema };
        Self { spec: Arc::new(spec), execute: None }
    }

    /// Gives the name.
    pub fn name(&self) -> &str {
        &self.spec.name
    }

    pub(crate) fn spec(&self) -> &ToolSpec {
        &self.spec
    }

    pub(crate) fn execute(&self) -> Option<&Execute> {
        self.execute.as_ref()
    }

    /// Says what is wrong with an input.
    pub(crate) fn check(&self, input: &Value) -> Result<(), String> {
        schema::check(&self.spec.input_schema, input)
            .map_err(|wrong| format!("invalid input for tool `{}`: {wrong}", self.spec.name))
    }
}

impl fmt::Debug for Tool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Tool").field(&self.spec.name).finish()
    }
}

//! [`Tool`]: what a model may call, who runs it, and who must agree.

mod approval;
mod execute;
mod schema;
mod server;
mod typed;

use std::fmt;
use std::sync::Arc;

use futures::{Stream, stream};
use schemars::JsonSchema;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use turnkeep_model::{ModelOutputs, ToModelOutput, ToolOutputInput, ToolSpec};
use turnkeep_protocol::{ModelMessage, ToolResultOutput};

use self::approval::Approval;
pub(crate) use self::execute::{Execute, ToolOutput};
pub(crate) use self::schema::Schema;
pub(crate) use self::server::ServerTools;
use self::typed::Check;
pub(crate) use self::typed::parse;
pub use self::typed::{TypedToolPart, schema_of};
use crate::chat::{Chat, ChunkWriter};
use crate::error::HookError;
use crate::signal::Signal;

/// What errors call a tool's input.
pub(crate) const INPUT: &str = "input";

/// A tool that the model may call; cheap to clone.
#[derive(Clone)]
pub struct Tool {
    spec: Arc<ToolSpec>,
    schema: Schema,
    check: Option<Check>,
    execute: Option<Execute>,
    approval: Approval,
    to_model_output: Option<ToModelOutput>,
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
    /// What the author gave the answer for its tools.
    pub context: Option<Value>,
    /// Writes to `out` while the tool runs; a long silent tool should say something now and then (RC-2).
    pub writer: ChunkWriter,
}

impl Tool {
    /// Makes a tool that the agent runs; `input_schema` is the JSON schema of its input, which every input is held against (A-119).
    ///
    /// It is draft 2020-12, or what its `$schema` says, or draft 7; a `$ref` may point only into the schema itself. A worker does not
    /// start with a tool whose schema is bad, and an answer that is given one fails.
    ///
    /// An error from `execute` is told to the model as the call's failure.
    pub fn new<F, Fut>(name: impl Into<String>, description: impl Into<String>, input_schema: Value, execute: F) -> Self
    where
        F: Fn(Value, ToolContext) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Value, HookError>> + Send + 'static,
    {
        Self { execute: Some(execute::once(execute)), ..Self::answered_by_client(name, description, input_schema) }
    }

    /// Makes a tool that the agent runs, with the schema of `I`; an input that is no `I` never reaches `execute` (A-119).
    ///
    /// ```
    /// use turnkeep_agent::{Tool, ToolContext};
    ///
    /// #[derive(serde::Deserialize, schemars::JsonSchema)]
    /// struct Place {
    ///     /// The city's English name.
    ///     city: String,
    /// }
    ///
    /// #[derive(serde::Serialize)]
    /// struct Forecast {
    ///     celsius: i32,
    /// }
    ///
    /// let forecast = Tool::typed("forecast", "Looks up the forecast", |place: Place, _ctx: ToolContext| async move {
    ///     if place.city.is_empty() {
    ///         return Err("which city?".into());
    ///     }
    ///     Ok(Forecast { celsius: 4 })
    /// });
    /// assert_eq!(forecast.spec().input_schema["required"], serde_json::json!(["city"]));
    /// ```
    pub fn typed<I, O, F, Fut>(name: impl Into<String>, description: impl Into<String>, execute: F) -> Self
    where
        I: DeserializeOwned + JsonSchema + Send + 'static,
        O: Serialize,
        F: Fn(I, ToolContext) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<O, HookError>> + Send + 'static,
    {
        let execute = execute::once(typed::values(execute));
        Self { execute: Some(execute), ..Self::typed_answered_by_client::<I>(name, description) }
    }

    /// Makes a tool that tells how far it is: each item replaces the one before on the person's screen, and the last one is the
    /// output (A-116, A-219). An error ends it as the call's failure.
    pub fn streaming<I, O, F, S>(name: impl Into<String>, description: impl Into<String>, execute: F) -> Self
    where
        I: DeserializeOwned + JsonSchema + Send + 'static,
        O: Serialize + 'static,
        F: Fn(I, ToolContext) -> S + Send + Sync + 'static,
        S: Stream<Item = Result<O, HookError>> + Send + 'static,
    {
        let execute = execute::streaming(move |input, ctx| match typed::parse::<I>(input, INPUT) {
            Ok(input) => typed::values_of(execute(input, ctx)),
            Err(wrong) => Box::pin(stream::once(async { Err(wrong.into()) })),
        });
        Self { execute: Some(execute), ..Self::typed_answered_by_client::<I>(name, description) }
    }

    /// Makes a tool that the person or their app answers: the turn ends with the call open (A-117).
    pub fn answered_by_client(name: impl Into<String>, description: impl Into<String>, input_schema: Value) -> Self {
        let schema = Schema::compile(&input_schema);
        let spec = ToolSpec { name: name.into(), description: Some(description.into()), input_schema };
        let (approval, to_model_output) = (Approval::Never, None);
        Self { spec: Arc::new(spec), schema, check: None, execute: None, approval, to_model_output }
    }

    /// Makes a tool that the person or their app answers, with the schema of `I`.
    pub fn typed_answered_by_client<I>(name: impl Into<String>, description: impl Into<String>) -> Self
    where
        I: DeserializeOwned + JsonSchema + Send + 'static,
    {
        Self { check: Some(typed::check::<I>()), ..Self::answered_by_client(name, description, schema_of::<I>()) }
    }

    /// Asks a person before every call: the turn ends, and an approving answer runs the call (A-117, A-203).
    pub fn needs_approval(mut self) -> Self {
        self.approval = Approval::Always;
        self
    }

    /// Asks a person before those calls for which `judge` says so. When it fails, so does the call: nothing runs unasked.
    pub fn needs_approval_when<F, Fut>(mut self, judge: F) -> Self
    where
        F: Fn(Value, ToolContext) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<bool, HookError>> + Send + 'static,
    {
        self.approval = Approval::When(Arc::new(move |input, ctx| Box::pin(judge(input, ctx))));
        self
    }

    /// Maps the tool's outputs to what the model reads, in old turns too (A-131, A-133); an error from `map` fails the turn.
    pub fn to_model_output(
        mut self,
        map: impl Fn(ToolOutputInput<'_>) -> Result<ToolResultOutput, String> + Send + Sync + 'static,
    ) -> Self {
        self.to_model_output = Some(Arc::new(map));
        self
    }

    /// Gives the name.
    pub fn name(&self) -> &str {
        &self.spec.name
    }

    /// Gives what the model is told of the tool.
    pub fn spec(&self) -> &ToolSpec {
        &self.spec
    }

    pub(crate) fn execute(&self) -> Option<&Execute> {
        self.execute.as_ref()
    }

    /// Says what is wrong with an input (A-119).
    pub(crate) fn check(&self, input: &Value) -> Result<(), String> {
        let shape = self.schema.check(input, INPUT);
        let checked = shape.and_then(|()| self.check.as_ref().map_or(Ok(()), |check| check(input)));
        checked.map_err(|wrong| format!("invalid input for tool `{}`: {wrong}", self.spec.name))
    }

    /// Tells whether a person must agree to a call.
    pub(crate) async fn asks_person(&self, input: Value, ctx: ToolContext) -> Result<bool, HookError> {
        self.approval.asks(input, ctx).await
    }
}

/// Says which of the tools cannot be used, and why.
pub(crate) fn check_tools(tools: &[Tool]) -> Result<(), String> {
    let bad = tools.iter().find_map(|tool| Some((tool, tool.schema.problem()?)));
    bad.map_or(Ok(()), |(tool, problem)| Err(format!("tool `{}` has a bad input schema: {problem}", tool.name())))
}

/// Adds the tools' own mappings to `outputs`; where both have one, the tool's wins.
pub(crate) fn with_mappings(outputs: ModelOutputs, tools: &[Tool]) -> ModelOutputs {
    tools.iter().fold(outputs, |outputs, tool| match tool.to_model_output.clone() {
        Some(map) => outputs.with_shared(tool.name(), map),
        None => outputs,
    })
}

impl fmt::Debug for Tool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Tool").field(&self.spec.name).finish()
    }
}

#[cfg(test)]
mod tests;

//! The calls of one step: which are valid, who runs them, and whether the model gets another step (A-116…A-119).

use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use serde_json::Value;
use turnkeep_model::{StreamPart, ToolCall, ToolResult};
use turnkeep_protocol::ModelMessage;

use super::Setting;
use crate::answer::StepCall;
use crate::error::{HookError, OutOfMemory};
use crate::tool::{Tool, ToolContext};

/// The calls of one step.
pub(super) struct StepCalls {
    tools: Vec<Tool>,
    calls: Vec<Called>,
}

struct Called {
    call: ToolCall,
    /// Whether there is an outcome: the tool's, the provider's, or the refusal of an invalid call.
    is_answered: bool,
}

/// One tool at work; an error says that memory ran out.
pub(super) type Running = FuturesUnordered<BoxFuture<'static, Result<ToolResult, OutOfMemory>>>;

impl StepCalls {
    pub(super) fn new(tools: Vec<Tool>) -> Self {
        Self { tools, calls: Vec::new() }
    }

    fn tool(&self, name: &str) -> Option<&Tool> {
        self.tools.iter().find(|tool| tool.name() == name)
    }

    /// Notes calls and the provider's own results; an unknown tool or a bad input makes the call invalid.
    pub(super) fn judge(&mut self, part: StreamPart) -> StreamPart {
        match part {
            StreamPart::ToolCall(mut call) => {
                if call.invalid.is_none() && !call.provider_executed {
                    call.invalid = self.objection(&call);
                }
                let is_answered = call.invalid.is_some();
                self.calls.push(Called { call: call.clone(), is_answered });
                StreamPart::ToolCall(call)
            }
            StreamPart::ToolResult(result) => {
                self.answered(&result);
                StreamPart::ToolResult(result)
            }
            other => other,
        }
    }

    fn objection(&self, call: &ToolCall) -> Option<String> {
        match self.tool(&call.tool_name) {
            Some(tool) => tool.check(&call.input).err(),
            None => {
                let known: Vec<&str> = self.tools.iter().map(Tool::name).collect();
                let known = if known.is_empty() {
                    "there are no tools".to_owned()
                } else {
                    format!("the tools are {}", known.join(", "))
                };
                Some(format!("there is no tool `{}`; {known}", call.tool_name))
            }
        }
    }

    /// Starts every call that has an executor, in the order of the calls.
    pub(super) fn start(&self, setting: &Setting, messages: &[ModelMessage]) -> Running {
        let running = Running::new();
        for called in self.calls.iter().filter(|called| !called.is_answered && !called.call.provider_executed) {
            let Some(execute) = self.tool(&called.call.tool_name).and_then(Tool::execute) else {
                continue;
            };
            let ctx = ToolContext {
                tool_call_id: called.call.tool_call_id.clone(),
                messages: messages.to_vec(),
                stop_signal: setting.stop.clone(),
                chat: setting.chat.clone(),
                writer: setting.writer.clone(),
            };
            let (call, execute) = (called.call.clone(), execute.clone());
            // Called inside the future: a tool that panics before its first await must not take the others' start with it.
            running.push(Box::pin(async move {
                let outcome = execute(call.input.clone(), ctx).await;
                to_result(call, outcome)
            }));
        }
        running
    }

    /// Notes an outcome.
    pub(super) fn answered(&mut self, result: &ToolResult) {
        if result.preliminary {
            return;
        }
        for called in self.calls.iter_mut().filter(|called| called.call.tool_call_id == result.tool_call_id) {
            called.is_answered = true;
        }
    }

    /// Tells whether the model gets to see outcomes: there was a call for us, and each one is answered.
    pub(super) fn wants_another_step(&self) -> bool {
        let mut ours = self.calls.iter().filter(|called| !called.call.provider_executed).peekable();
        ours.peek().is_some() && ours.all(|called| called.is_answered)
    }

    /// Tells what became of each call.
    pub(super) fn into_results(self) -> Vec<StepCall> {
        let result = |called: Called| StepCall {
            tool_call_id: called.call.tool_call_id,
            tool_name: called.call.tool_name,
            is_answered: called.is_answered,
        };
        self.calls.into_iter().map(result).collect()
    }
}

fn to_result(call: ToolCall, outcome: Result<Value, HookError>) -> Result<ToolResult, OutOfMemory> {
    let outcome = match outcome {
        Ok(output) => Ok(output),
        Err(error) if error.is::<OutOfMemory>() => return Err(OutOfMemory),
        Err(error) => Err(error.to_string()),
    };
    Ok(ToolResult {
        tool_call_id: call.tool_call_id,
        tool_name: call.tool_name,
        outcome,
        provider_executed: false,
        dynamic: call.dynamic,
        preliminary: false,
        provider_metadata: None,
    })
}

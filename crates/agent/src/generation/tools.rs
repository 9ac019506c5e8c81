//! The calls of one step: which are valid, who runs them, who must agree, and whether the model gets another step (A-116…A-119).

use futures::StreamExt;
use futures::stream::{BoxStream, SelectAll};
use serde_json::Value;
use turnkeep_model::{StreamPart, ToolCall, ToolResult};
use turnkeep_protocol::ModelMessage;

use super::Setting;
use crate::answer::StepCall;
use crate::error::{HookError, OutOfMemory};
use crate::tool::{Tool, ToolContext, ToolOutput};

/// The calls of one step.
pub(super) struct StepCalls {
    tools: Vec<Tool>,
    calls: Vec<Called>,
}

struct Called {
    call: ToolCall,
    /// Whether there is an outcome: the tool's, the provider's, or the refusal of an invalid call.
    is_answered: bool,
    /// Whether a person must agree before it runs.
    is_asked: bool,
}

/// The tools at work; an error says that memory ran out.
pub(super) type Running = SelectAll<BoxStream<'static, Result<ToolResult, OutOfMemory>>>;

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
                self.calls.push(Called { call: call.clone(), is_answered, is_asked: false });
                StreamPart::ToolCall(call)
            }
            StreamPart::ToolResult(result) => {
                self.answered(&result);
                StreamPart::ToolResult(result)
            }
            other => other,
        }
    }

    /// Takes up a call of an earlier step that a person has approved; its input is checked anew, since tools change between releases
    /// . Gives the refusal of a call that cannot run.
    pub(super) fn resume(&mut self, call: ToolCall) -> Option<ToolResult> {
        let runs_here = self.tool(&call.tool_name).is_some_and(|tool| tool.execute().is_some());
        let objection = self.objection(&call);
        let objection =
            objection.or_else(|| (!runs_here).then(|| format!("tool `{}` does not run here", call.tool_name)));
        match objection {
            Some(objection) => Some(refused(call, objection)),
            None => {
                self.calls.push(Called { call, is_answered: false, is_asked: false });
                None
            }
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

    /// Asks for a person's consent where a tool wants it; gives what the client is told.
    ///
    /// A tool that cannot tell whether it wants it has failed: nothing runs unasked.
    pub(super) async fn ask(
        &mut self,
        setting: &Setting,
        messages: &[ModelMessage],
    ) -> Result<Vec<StreamPart>, OutOfMemory> {
        let mut told = Vec::new();
        for at in 0..self.calls.len() {
            let Called { call, is_answered, .. } = &self.calls[at];
            let tool = self.tool(&call.tool_name).filter(|tool| tool.execute().is_some()).cloned();
            let Some(tool) = tool.filter(|_| !is_answered && !call.provider_executed) else {
                continue;
            };
            let asks = tool.asks_person(call.input.clone(), context(call, setting, messages)).await;
            match asks {
                Ok(false) => {}
                Ok(true) => {
                    // Two calls of one chat may share an id, since providers choose it; two messages never do.
                    let approval_id = format!("{}:{}", setting.response.id, call.tool_call_id);
                    let tool_call_id = call.tool_call_id.clone();
                    told.push(StreamPart::ToolApprovalRequest { approval_id, tool_call_id });
                    self.calls[at].is_asked = true;
                }
                Err(error) => {
                    told.push(StreamPart::ToolResult(to_result(call.clone(), Err(error))?));
                    self.calls[at].is_answered = true;
                }
            }
        }
        Ok(told)
    }

    /// Starts every call that has an executor and needs nobody's consent, in the order of the calls.
    pub(super) fn start(&self, setting: &Setting, messages: &[ModelMessage]) -> Running {
        let mut running = Running::new();
        let ours = |called: &&Called| !called.is_answered && !called.is_asked && !called.call.provider_executed;
        for Called { call, .. } in self.calls.iter().filter(ours) {
            let Some(execute) = self.tool(&call.tool_name).and_then(Tool::execute) else {
                continue;
            };
            let outputs = execute(call.input.clone(), context(call, setting, messages));
            let call = call.clone();
            running.push(outputs.map(move |output| to_result(call.clone(), output)).boxed());
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

fn context(call: &ToolCall, setting: &Setting, messages: &[ModelMessage]) -> ToolContext {
    ToolContext {
        tool_call_id: call.tool_call_id.clone(),
        messages: messages.to_vec(),
        stop_signal: setting.stop.clone(),
        chat: setting.chat.clone(),
        context: setting.context.clone(),
        writer: setting.writer.clone(),
    }
}

fn to_result(call: ToolCall, output: Result<ToolOutput, HookError>) -> Result<ToolResult, OutOfMemory> {
    let preliminary = matches!(output, Ok(ToolOutput::Preliminary(_)));
    let outcome = match output {
        Ok(ToolOutput::Preliminary(output) | ToolOutput::Final(output)) => Ok(output),
        Err(error) if error.is::<OutOfMemory>() => return Err(OutOfMemory),
        Err(error) => Err(error.to_string()),
    };
    Ok(result(call, outcome, preliminary))
}

/// Makes the result of a call that cannot run.
pub(super) fn refused(call: ToolCall, why: String) -> ToolResult {
    result(call, Err(why), false)
}

fn result(call: ToolCall, outcome: Result<Value, String>, preliminary: bool) -> ToolResult {
    ToolResult {
        tool_call_id: call.tool_call_id,
        tool_name: call.tool_name,
        outcome,
        provider_executed: false,
        dynamic: call.dynamic,
        preliminary,
        provider_metadata: None,
    }
}

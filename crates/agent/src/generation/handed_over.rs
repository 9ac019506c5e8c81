//! Calls that a head start's warm server has made and left to the run (A-232, A-135, D-40).

use std::collections::BTreeSet;

use turnkeep_model::{GenerationEvent, StreamPart, ToolCall};
use turnkeep_protocol::{ToolPart, ToolState};

use super::approvals::as_model_call;
use super::tools::{StepCalls, refused};
use super::{Cut, Generation};

impl Generation {
    /// Runs what a head start has left open, as if this answer's own step had asked for it: no approval is looked for, since nobody was
    /// asked (AR-45), and a tool that wants a person's consent asks for it now. Tells whether a call still waits, for consent or
    /// for a client's result: then there is nothing to tell the model yet.
    pub(super) async fn take_up_handed_over(&mut self) -> Result<bool, Cut> {
        let open = self.setting.chat.pipes().take_open_calls(&self.setting.response);
        let handed_over: Vec<ToolCall> =
            self.setting.response.tool_parts().filter_map(|part| call(part, &open)).collect();
        if handed_over.is_empty() {
            return Ok(false);
        }
        let names: Vec<String> = handed_over.iter().map(|call| call.tool_name.clone()).collect();
        let tools = self.tools_for(&names).await?;
        let run_here = tools.iter().filter(|tool| tool.execute().is_some());
        self.executors.extend(run_here.map(|tool| tool.name().to_owned()).filter(|name| names.contains(name)));
        let mut calls = StepCalls::new(tools);
        for call in handed_over {
            // Its input is checked anew: the warm server had nothing but the schema.
            if let StreamPart::ToolCall(mut call) = calls.judge(StreamPart::ToolCall(call))
                && let Some(why) = call.invalid.take()
            {
                self.emit(GenerationEvent::Part(StreamPart::ToolResult(refused(call, why)))).await?;
            }
        }
        let messages = self.stream.messages.clone();
        self.run_tools(&mut calls, messages).await?;
        let outcomes = self.outcomes(&open)?;
        self.history.answer_calls(outcomes);
        Ok(!calls.wants_another_step())
    }
}

/// Gives a call, if it is open, as a model makes it.
fn call(part: &ToolPart, open: &BTreeSet<String>) -> Option<ToolCall> {
    let is_open = part.state == ToolState::InputAvailable && open.contains(&part.tool_call_id);
    is_open.then(|| as_model_call(part))
}

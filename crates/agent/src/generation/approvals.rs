//! What people have said to requests for approval: approved calls run before the first step.

use std::collections::{BTreeMap, BTreeSet};

use turnkeep_model::{GenerationEvent, ModelError, StreamPart, ToolCall, to_model_messages};
use turnkeep_protocol::model_message::ApprovalResponseContent;
use turnkeep_protocol::{ContentPart, ModelMessage, ModelRole, ToolPart, ToolState, UiMessage, UiPart};

use super::tools::StepCalls;
use super::{Cut, Generation};
use crate::tool::Tool;

/// What a person has decided about one call.
#[derive(Clone, Debug, PartialEq)]
struct Decision {
    call: ToolCall,
    is_approved: bool,
}

/// Says that a decision has no request behind it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no stored request has the approval `{approval_id}`")]
struct UnknownApproval {
    approval_id: String,
}

/// Lists what the last message decides, in its order.
///
/// A decision counts when the history holds its request and its call, and when `response`, the stored message that the answer goes on
/// with, says the same: an author's code may have rewritten the history, and only what a person has answered may run. A call
/// that has a result is through; of several decisions about one call the first counts.
fn decisions(messages: &[ModelMessage], response: &UiMessage) -> Result<Vec<Decision>, UnknownApproval> {
    let Some(tail) = messages.last().filter(|last| last.role == ModelRole::Tool) else {
        return Ok(Vec::new());
    };
    let mut settled: BTreeSet<&str> = BTreeSet::new();
    for part in &tail.content {
        if let ContentPart::ToolResult(result) = part {
            settled.insert(&result.tool_call_id);
        }
    }
    let asked = asked(messages);
    let mut decisions = Vec::new();
    for part in &tail.content {
        let ContentPart::ApprovalResponse(answer) = part else { continue };
        // What the provider runs is for the provider to hear.
        if answer.provider_executed == Some(true) {
            continue;
        }
        let unknown = || UnknownApproval { approval_id: answer.approval_id.clone() };
        let tool_call_id = *asked.get(answer.approval_id.as_str()).ok_or_else(unknown)?;
        if settled.insert(tool_call_id) {
            decisions.push(stored(answer, tool_call_id, response).ok_or_else(unknown)?);
        }
    }
    Ok(decisions)
}

/// Maps each request of the history to its call; requests for calls that are not there are none.
fn asked(messages: &[ModelMessage]) -> BTreeMap<&str, &str> {
    let parts = || messages.iter().flat_map(|message| &message.content);
    let calls: BTreeSet<&str> = parts()
        .filter_map(|part| match part {
            ContentPart::ToolCall(call) => Some(call.tool_call_id.as_str()),
            _ => None,
        })
        .collect();
    let requests = parts().filter_map(|part| match part {
        ContentPart::ApprovalRequest(request) => Some((request.approval_id.as_str(), request.tool_call_id.as_str())),
        _ => None,
    });
    requests.filter(|(_, tool_call_id)| calls.contains(tool_call_id)).collect()
}

/// Finds a decision in the stored message, with the call as it is stored.
fn stored(answer: &ApprovalResponseContent, tool_call_id: &str, response: &UiMessage) -> Option<Decision> {
    let part = response.tool_part(tool_call_id).filter(|part| part.state == ToolState::ApprovalResponded)?;
    let approval = part.approval.as_ref().filter(|approval| approval.id == answer.approval_id)?;
    let is_approved = approval.approved.filter(|approved| *approved == answer.approved)?;
    Some(Decision { call: as_model_call(part), is_approved })
}

/// Gives a stored call as a model makes it.
pub(super) fn as_model_call(part: &ToolPart) -> ToolCall {
    ToolCall {
        tool_call_id: part.tool_call_id.clone(),
        tool_name: part.tool_name.clone(),
        input: part.input.clone().unwrap_or_default(),
        dynamic: part.dynamic,
        title: part.title.clone(),
        ..ToolCall::default()
    }
}

/// Calls that a person has decided about and that have not run.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Unrun {
    pub(super) calls: BTreeSet<String>,
    pub(super) approvals: BTreeSet<String>,
}

/// Lists the calls that are not for a fresh response to run, wherever they stand: an action's answer, or one beside the conversation.
fn unrun(messages: &[ModelMessage]) -> Result<Unrun, UnknownApproval> {
    let asked = asked(messages);
    let mut settled: BTreeSet<&str> = BTreeSet::new();
    for part in messages.iter().flat_map(|message| &message.content) {
        if let ContentPart::ToolResult(result) = part {
            settled.insert(&result.tool_call_id);
        }
    }
    let mut unrun = Unrun::default();
    for (at, message) in messages.iter().enumerate().filter(|(_, message)| message.role == ModelRole::Tool) {
        for part in &message.content {
            let ContentPart::ApprovalResponse(answer) = part else { continue };
            if answer.provider_executed == Some(true) {
                continue;
            }
            match asked.get(answer.approval_id.as_str()) {
                Some(call) if !settled.contains(call) => {
                    unrun.calls.insert((*call).to_owned());
                    unrun.approvals.insert(answer.approval_id.clone());
                }
                None if at + 1 == messages.len() => {
                    return Err(UnknownApproval { approval_id: answer.approval_id.clone() });
                }
                _ => {}
            }
        }
    }
    Ok(unrun)
}

impl Generation {
    /// Runs what was approved and tells what was denied; the model then sees both.
    pub(super) async fn resume_approved(&mut self) -> Result<(), Cut> {
        let refuse = |unknown: UnknownApproval| Cut::Failed(ModelError::refused(unknown.to_string()));
        if self.setting.response.parts.is_empty() {
            // A fresh response decides nothing: the calls stay with their message.
            self.history.leave_out(&unrun(&self.stream.messages).map_err(refuse)?);
            return Ok(());
        }
        let decisions = decisions(&self.stream.messages, &self.setting.response).map_err(refuse)?;
        if decisions.is_empty() {
            return Ok(());
        }
        let decided: BTreeSet<String> = decisions.iter().map(|decision| decision.call.tool_call_id.clone()).collect();
        let approved = decisions.iter().filter(|decision| decision.is_approved);
        let names: Vec<String> = approved.map(|decision| decision.call.tool_name.clone()).collect();
        let mut calls = StepCalls::new(self.tools_for(&names).await?);
        for Decision { call, is_approved } in decisions {
            let refusal = if is_approved {
                calls.resume(call).map(StreamPart::ToolResult)
            } else {
                Some(StreamPart::ToolDenied { tool_call_id: call.tool_call_id })
            };
            if let Some(refusal) = refusal {
                self.emit(GenerationEvent::Part(refusal)).await?;
            }
        }
        let messages = self.stream.messages.clone();
        self.run_started(&mut calls, messages).await?;
        self.history.answer(self.outcomes(&decided)?);
        Ok(())
    }

    /// Gives the tools that calls of an earlier step may run: the answer's, and those that only its first step has, which the author is
    /// asked for when one of `names` is none of the answer's.
    pub(super) async fn tools_for(&mut self, names: &[String]) -> Result<Vec<Tool>, Cut> {
        let mut tools = self.stream.tools.clone();
        if names.iter().all(|name| tools.iter().any(|tool| tool.name() == name)) {
            return Ok(tools);
        }
        let messages = self.stream.messages.clone();
        for offered in self.ask_author(&messages).await?.tools.unwrap_or_default() {
            if !tools.iter().any(|tool| tool.name() == offered.name()) {
                self.executors.extend(offered.execute().is_some().then(|| offered.name().to_owned()));
                tools.push(offered);
            }
        }
        Ok(tools)
    }

    /// Gives the outcomes of calls in the form a model reads.
    pub(super) fn outcomes(&self, decided: &BTreeSet<String>) -> Result<Vec<ContentPart>, Cut> {
        let is_decided = |part: &&UiPart| part.as_tool().is_some_and(|call| decided.contains(&call.tool_call_id));
        let parts = self.said().parts.iter().filter(is_decided).cloned().collect();
        let told = to_model_messages(&[UiMessage::assistant("", parts)], &self.setting.model_outputs)
            .map_err(|error| Cut::Failed(ModelError::refused(error.to_string())))?;
        let parts = told.into_iter().flat_map(|message| message.content);
        Ok(parts.filter(|part| matches!(part, ContentPart::ToolResult(_))).collect())
    }
}

#[cfg(test)]
mod tests;

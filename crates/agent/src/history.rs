//! [`ChatHistory`]: what an author's code sees of the chain, and how it rewrites it (A-179…A-182).

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::Value;
use turnkeep_protocol::{Messages, ToolPart, ToolState, UiMessage};

/// The history of the running chat; cheap to clone.
///
/// Reads see changes at once. A change becomes the runtime's own chain at the end of the hook or of `run` that made it.
#[derive(Clone, Default)]
pub struct ChatHistory(Arc<Mutex<Live>>);

#[derive(Default)]
struct Live {
    messages: Messages,
    changed: bool,
}

/// A tool call without an answer.
#[derive(Clone, Debug, PartialEq)]
pub struct PendingCall {
    /// Names the message that holds it.
    pub message_id: String,
    /// Names the call.
    pub tool_call_id: String,
    /// Names the tool.
    pub tool_name: String,
    /// Holds the input.
    pub input: Value,
}

/// A tool call with a result or a failure.
#[derive(Clone, Debug, PartialEq)]
pub struct ResolvedCall {
    /// Names the call.
    pub tool_call_id: String,
    /// Names the tool.
    pub tool_name: String,
    /// Holds the result.
    pub output: Option<Value>,
    /// Says what went wrong.
    pub error_text: Option<String>,
}

impl ChatHistory {
    fn live(&self) -> MutexGuard<'_, Live> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives all messages as they are now; costs nothing, however many they are.
    pub fn all(&self) -> Messages {
        self.live().messages.clone()
    }

    /// Finds a message by its id.
    pub fn find_message(&self, id: &str) -> Option<UiMessage> {
        self.live().messages.iter().find(|message| message.id == id).cloned()
    }

    /// Tells whether there is a message of this id.
    pub(crate) fn contains(&self, id: &str) -> bool {
        self.live().messages.iter().any(|message| message.id == id)
    }

    /// Lists the calls of the newest assistant message that wait for an answer.
    pub fn pending_tool_calls(&self) -> Vec<PendingCall> {
        let live = self.live();
        let Some(message) = live.messages.iter().rev().find(|message| message.is_assistant()) else {
            return Vec::new();
        };
        let pending = message.tool_parts().filter(|part| part.state == ToolState::InputAvailable);
        pending
            .map(|part| PendingCall {
                message_id: message.id.clone(),
                tool_call_id: part.tool_call_id.clone(),
                tool_name: part.tool_name.clone(),
                input: part.input.clone().unwrap_or_default(),
            })
            .collect()
    }

    /// Lists the calls of the whole chat that have a result or failed.
    pub fn resolved_tool_calls(&self) -> Vec<ResolvedCall> {
        self.live().messages.iter().flat_map(resolved).collect()
    }

    /// Lists the results in `message` for calls that the history does not know as resolved, the first of each call.
    pub fn extract_new_tool_results(&self, message: &UiMessage) -> Vec<ResolvedCall> {
        let mut seen: BTreeSet<String> = self.resolved_tool_calls().into_iter().map(|call| call.tool_call_id).collect();
        resolved(message).filter(|call| seen.insert(call.tool_call_id.clone())).collect()
    }

    /// Replaces the whole history.
    pub fn set(&self, messages: impl Into<Messages>) {
        self.change(|live| *live = messages.into());
    }

    /// Removes a message; an unknown id changes nothing.
    pub fn remove(&self, id: &str) {
        self.change(|live| live.retain(|message| message.id != id));
    }

    /// Drops everything after a message, which stays; an unknown id changes nothing.
    pub fn rollback_to(&self, id: &str) {
        self.change(|live| {
            if let Some(at) = live.iter().position(|message| message.id == id) {
                live.truncate(at + 1);
            }
        });
    }

    /// Puts `message` in the place of the one called `id`; an unknown id changes nothing.
    pub fn replace(&self, id: &str, message: UiMessage) {
        self.change(|live| {
            if let Some(at) = live.iter().position(|known| known.id == id) {
                live.set(at, message);
            }
        });
    }

    /// Keeps the messages from `start` up to and without `end`; both are cut to the history's length.
    pub fn slice(&self, start: usize, end: Option<usize>) {
        self.change(|live| {
            live.truncate(end.unwrap_or(usize::MAX));
            live.drop_first(start);
        });
    }

    fn change(&self, change: impl FnOnce(&mut Messages)) {
        let mut live = self.live();
        change(&mut live.messages);
        live.changed = true;
    }

    /// Shows the runtime's chain to reads; a change that nobody took up is dropped (A-182, AR-27).
    pub(crate) fn publish(&self, messages: &Messages) {
        *self.live() = Live { messages: messages.clone(), changed: false };
    }

    /// Takes the override that was made since the last look, if any.
    pub(crate) fn take_override(&self) -> Option<Messages> {
        let mut live = self.live();
        std::mem::take(&mut live.changed).then(|| live.messages.clone())
    }
}

fn resolved(message: &UiMessage) -> impl Iterator<Item = ResolvedCall> {
    let is_resolved = |part: &&ToolPart| matches!(part.state, ToolState::OutputAvailable | ToolState::OutputError);
    message.tool_parts().filter(is_resolved).map(|part| ResolvedCall {
        tool_call_id: part.tool_call_id.clone(),
        tool_name: part.tool_name.clone(),
        output: part.output.clone(),
        error_text: part.error_text.clone().filter(|_| part.state == ToolState::OutputError),
    })
}

impl fmt::Debug for ChatHistory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.live().messages.iter().map(|message| &message.id)).finish()
    }
}

#[cfg(test)]
mod tests;

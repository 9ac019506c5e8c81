//! [`InjectQueue`]: messages for the model alone, waiting for their place in the history.

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use turnkeep_protocol::{ContentPart, ModelMessage, ModelRole};

/// How many injected messages may wait for their place.
pub const MAX_INJECTED: usize = 1024;

/// Says that too many injected messages wait already; none of the new ones was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{waiting} injected messages wait, and {refused} more pass the limit of {MAX_INJECTED}")]
pub struct InjectQueueFull {
    /// How many wait.
    pub waiting: usize,
    /// How many were refused.
    pub refused: usize,
}

/// One run's queue; it survives turns.
#[derive(Default)]
pub(crate) struct InjectQueue(Mutex<Vec<ModelMessage>>);

impl InjectQueue {
    fn queue(&self) -> MutexGuard<'_, Vec<ModelMessage>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds messages, all or none.
    pub(crate) fn add(&self, messages: Vec<ModelMessage>) -> Result<(), InjectQueueFull> {
        let mut queue = self.queue();
        if queue.len() + messages.len() > MAX_INJECTED {
            return Err(InjectQueueFull { waiting: queue.len(), refused: messages.len() });
        }
        queue.extend(messages);
        Ok(())
    }

    /// Takes everything that waits.
    pub(crate) fn take(&self) -> Vec<ModelMessage> {
        std::mem::take(&mut *self.queue())
    }
}

impl fmt::Debug for InjectQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("InjectQueue").field(&self.queue().len()).finish()
    }
}

/// Tells whether the results of tools, or a person's approval, stand at the end. Before `run` nothing may be put behind them: a step
/// loop looks for approvals in the last message only (A-96, AR-26).
pub(crate) fn ends_with_tool_message(messages: &[ModelMessage]) -> bool {
    messages.last().is_some_and(|last| last.role == ModelRole::Tool)
}

/// Tells whether a person's approval stands at the end that nobody has acted on: the agent's own are answered before the first step,
/// the provider looks for its own.
pub(crate) fn ends_with_open_approval(messages: &[ModelMessage]) -> bool {
    let Some(last) = messages.last().filter(|_| ends_with_tool_message(messages)) else {
        return false;
    };
    let has_results = last.content.iter().any(|part| matches!(part, ContentPart::ToolResult(_)));
    last.content.iter().any(|part| match part {
        ContentPart::ApprovalResponse(response) => response.provider_executed == Some(true) || !has_results,
        _ => false,
    })
}

#[cfg(test)]
mod tests {
    use turnkeep_protocol::model_message::ApprovalResponseContent;

    use super::*;

    #[test]
    fn what_is_added_is_taken_once_and_in_order_a176() {
        let queue = InjectQueue::default();
        queue.add(vec![ModelMessage::user("a"), ModelMessage::user("b")]).unwrap();
        queue.add(vec![ModelMessage::system("c")]).unwrap();

        let texts: Vec<_> = queue.take().iter().map(ModelMessage::text).collect();

        assert_eq!(texts, ["a", "b", "c"]);
        assert_eq!(queue.take(), []);
    }

    #[test]
    fn nothing_goes_behind_an_approval_until_it_is_answered_ar26() {
        let response = |provider_executed| {
            ContentPart::ApprovalResponse(ApprovalResponseContent { provider_executed, ..Default::default() })
        };
        let result = || ContentPart::tool_result("c", "t", turnkeep_protocol::ToolResultOutput::Text(String::new()));
        let is_open = |content| ends_with_open_approval(&[ModelMessage::tool(content)]);

        assert!(is_open(vec![response(None)]));
        assert!(!is_open(vec![response(None), result()]));
        assert!(is_open(vec![response(Some(true)), result()]));
        assert!(!is_open(vec![result()]));
        assert!(!ends_with_open_approval(&[ModelMessage::tool(vec![response(None)]), ModelMessage::user("u")]));
    }

    #[test]
    fn a_full_queue_says_so_and_takes_nothing() {
        let queue = InjectQueue::default();
        queue.add(vec![ModelMessage::user("x"); MAX_INJECTED - 1]).unwrap();

        let refused = queue.add(vec![ModelMessage::user("y"); 2]);

        assert_eq!(refused, Err(InjectQueueFull { waiting: MAX_INJECTED - 1, refused: 2 }));
        assert_eq!(queue.take().len(), MAX_INJECTED - 1);
    }
}

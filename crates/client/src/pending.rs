//! [`PendingMessages`]: what a person writes while a reply still streams (C-153).
//!
//! A plain value: it says what to post and never posts itself, so asking twice in one tick cannot send twice (CF-16). What the
//! running turn did not take is sent again by itself, each entry under its own id: the agent knows the ids and drops those that
//! became turns of their own (D-15, D-20, D-42). Post with
//! [`Transport::send_pending_message`](crate::Transport::send_pending_message), send with
//! [`Transport::send_messages`](crate::Transport::send_messages).

use serde_json::Value;
use turnkeep_protocol::{UiMessage, UiMessageChunk};

use crate::Error;

/// How many messages may wait for one turn.
pub const MAX_PENDING_MESSAGES: usize = 256;

/// The data part with which the agent tells which messages have joined the running turn.
const INJECTED: &str = "data-pending-message-injected";

/// How far a pending message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PendingStage {
    /// Kept here until the turn ends.
    Queued,
    /// Posted into the running turn, which may or may not take it.
    Steering,
}

/// One message that waits.
#[derive(Clone, Debug, PartialEq)]
pub struct PendingMessage {
    /// The message, with the id it keeps however often it is sent.
    pub message: UiMessage,
    /// How far it is.
    pub stage: PendingStage,
}

/// The messages that a page shows beside the running turn, in the order of writing.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PendingMessages {
    entries: Vec<PendingMessage>,
}

impl PendingMessages {
    /// Begins with none.
    pub fn new() -> Self {
        Self::default()
    }

    /// Shows what waits.
    pub fn entries(&self) -> &[PendingMessage] {
        &self.entries
    }

    /// Keeps a message until the turn ends; one whose id waits already is not taken again.
    ///
    /// # Errors
    ///
    /// [`Error::TooManyPending`] beyond [`MAX_PENDING_MESSAGES`].
    pub fn queue(&mut self, message: UiMessage) -> Result<(), Error> {
        self.add(message, PendingStage::Queued).map(drop)
    }

    /// Shows a message and gives it for posting at once; none when its id waits already.
    ///
    /// # Errors
    ///
    /// As [`PendingMessages::queue`].
    pub fn steer(&mut self, message: UiMessage) -> Result<Option<UiMessage>, Error> {
        let is_new = self.add(message.clone(), PendingStage::Steering)?;
        Ok(is_new.then_some(message))
    }

    fn add(&mut self, message: UiMessage, stage: PendingStage) -> Result<bool, Error> {
        if self.find(&message.id).is_some() {
            return Ok(false);
        }
        if self.entries.len() >= MAX_PENDING_MESSAGES {
            return Err(Error::TooManyPending { limit: MAX_PENDING_MESSAGES });
        }
        self.entries.push(PendingMessage { message, stage });
        Ok(true)
    }

    /// Turns a queued message into steering and gives it for posting, exactly once.
    pub fn promote_to_steering(&mut self, message_id: &str) -> Option<UiMessage> {
        let entry = self.find(message_id).filter(|entry| entry.stage == PendingStage::Queued)?;
        entry.stage = PendingStage::Steering;
        Some(entry.message.clone())
    }

    /// Takes back a message whose post was not accepted: it waits for the turn's end like a queued one.
    pub fn not_accepted(&mut self, message_id: &str) {
        if let Some(entry) = self.find(message_id) {
            entry.stage = PendingStage::Queued;
        }
    }

    /// Looks at a chunk of the running turn: what the agent took into it no longer waits.
    pub fn on_chunk(&mut self, chunk: &UiMessageChunk) {
        let UiMessageChunk::Data(data) = chunk else { return };
        if data.kind.as_str() != INJECTED {
            return;
        }
        let ids = data.data.get("messageIds").and_then(Value::as_array);
        let is_taken = |id: &str| ids.is_some_and(|ids| ids.iter().any(|taken| taken == id));
        self.entries.retain(|entry| !is_taken(&entry.message.id));
    }

    /// Gives the next message to send by itself, once no turn runs; it no longer waits.
    pub fn next_leftover(&mut self) -> Option<UiMessage> {
        (!self.entries.is_empty()).then(|| self.entries.remove(0).message)
    }

    fn find(&mut self, message_id: &str) -> Option<&mut PendingMessage> {
        self.entries.iter_mut().find(|entry| entry.message.id == message_id)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn message(id: &str) -> UiMessage {
        UiMessage::user(id, format!("text of {id}"))
    }

    fn injected(ids: &[&str]) -> UiMessageChunk {
        let data = json!({ "type": INJECTED, "id": "d", "data": { "messageIds": ids, "messages": [] } });
        UiMessageChunk::from_value(data).unwrap()
    }

    fn stages(pending: &PendingMessages) -> Vec<(&str, PendingStage)> {
        pending.entries().iter().map(|entry| (entry.message.id.as_str(), entry.stage)).collect()
    }

    #[test]
    fn steering_is_given_for_posting_at_once_and_queueing_only_stores_c153() {
        let mut pending = PendingMessages::new();

        pending.queue(message("q")).unwrap();
        assert_eq!(pending.steer(message("s")).unwrap(), Some(message("s")));

        assert_eq!(stages(&pending), [("q", PendingStage::Queued), ("s", PendingStage::Steering)]);
    }

    #[test]
    fn a_queued_message_is_promoted_exactly_once_c153_cf16() {
        let mut pending = PendingMessages::new();
        pending.queue(message("q")).unwrap();

        let posted: Vec<_> = (0..3).filter_map(|_| pending.promote_to_steering("q")).collect();

        assert_eq!(posted, [message("q")]);
        assert_eq!(pending.promote_to_steering("unknown"), None);
        assert_eq!(pending.steer(message("q")).unwrap(), None, "an updater that runs twice sends once");
    }

    #[test]
    fn what_joined_the_turn_leaves_the_overlay_c153() {
        let mut pending = PendingMessages::new();
        for id in ["a", "b", "c"] {
            pending.steer(message(id)).unwrap();
        }

        pending.on_chunk(&injected(&["a", "c", "of somebody else"]));
        let other = json!({ "type": "data-progress", "data": { "messageIds": ["b"] } });
        pending.on_chunk(&UiMessageChunk::from_value(other).unwrap());

        assert_eq!(stages(&pending), [("b", PendingStage::Steering)]);
    }

    #[test]
    fn leftovers_are_sent_alone_in_order_under_their_own_ids_c153_d20_d42() {
        let mut pending = PendingMessages::new();
        pending.steer(message("a")).unwrap();
        pending.queue(message("b")).unwrap();
        pending.steer(message("c")).unwrap();
        pending.not_accepted("c");
        pending.on_chunk(&injected(&["a"]));
        assert_eq!(stages(&pending), [("b", PendingStage::Queued), ("c", PendingStage::Queued)]);

        let sent: Vec<_> = std::iter::from_fn(|| pending.next_leftover()).collect();

        assert_eq!(sent, [message("b"), message("c")]);
        assert!(pending.entries().is_empty());
    }

    #[test]
    fn waiting_messages_have_a_bound() {
        let mut pending = PendingMessages::new();
        for n in 0..MAX_PENDING_MESSAGES {
            pending.queue(message(&n.to_string())).unwrap();
        }

        assert!(matches!(pending.steer(message("one more")), Err(Error::TooManyPending { .. })));
        assert!(pending.queue(message("0")).is_ok(), "one that waits already takes no room");
    }
}

//! What a test says to its chat and reads of it.

use futures::future::BoxFuture;
use serde_json::Value;
use turnkeep_client::{ChatStream, Error, SendMessages};
use turnkeep_protocol::{ChatInputChunk, ChatSnapshot, PartId, Record, SeqNum, UiMessage, UiMessageChunk};

use super::MockChatAgent;
use super::failure::{SendError, SendFailure};
use super::journal::chunk;
use super::sending::{From, Posted, Sending};

impl MockChatAgent {
    /// Sends a text as the person's next message; its id is `user-1`, `user-2`, ….
    ///
    /// Awaited, the turn is over for good: answered, hooks done, snapshot stored.
    pub fn send(&mut self, text: impl Into<String>) -> Sending<'_> {
        let message = UiMessage::user(format!("user-{}", self.n_sent + 1), text);
        self.send_message(message)
    }

    /// Wakes the run that sleeps with a message.
    ///
    /// # Panics
    ///
    /// When the run does not sleep; [`MockChatAgent::suspend`] puts it there.
    pub fn resume(&mut self, text: impl Into<String>) -> Sending<'_> {
        assert!(self.is_suspended(), "the run of chat {} does not sleep", self.chat_id);
        self.send(text)
    }

    /// Sends a message.
    pub fn send_message(&mut self, message: UiMessage) -> Sending<'_> {
        self.n_sent += 1;
        let text: String = message.text().chars().take(40).collect();
        let label = format!("message {} ({text:?}) of chat {}", self.n_sent, self.chat_id);
        {
            let mut history = self.history();
            match history.iter_mut().find(|known| known.id == message.id) {
                Some(known) => *known = message.clone(),
                None => history.push(message.clone()),
            }
        }
        let send = SendMessages::submit([message]);
        self.posting(label, |chat| Box::pin(chat.transport.send_messages(&chat.chat_id, send)))
    }

    /// Says yes or no to every call of the newest answer that waits for a person's approval, as her page does.
    ///
    /// # Panics
    ///
    /// When no call waits.
    pub fn send_tool_approval(&mut self, approved: bool, reason: Option<&str>) -> Sending<'_> {
        let mut message = self.newest_answer();
        let ids = message.pending_approvals();
        assert!(!ids.is_empty(), "no call of chat {} waits for an approval: {:?}", self.chat_id, message.parts);
        for id in ids {
            message.add_tool_approval_response(&id, approved, reason);
        }
        self.send_message(message)
    }

    /// Gives the newest answer's call of a tool its result, as a page does that runs the tool itself.
    ///
    /// # Panics
    ///
    /// When no call of this tool waits.
    pub fn send_tool_output(&mut self, tool_name: &str, output: Value) -> Sending<'_> {
        let mut message = self.newest_answer();
        let waiting = message.pending_outputs();
        let call =
            message.tool_parts().find(|call| call.tool_name == tool_name && waiting.contains(&call.tool_call_id));
        let Some(id) = call.map(|call| call.tool_call_id.clone()) else {
            panic!("no call of {tool_name} in chat {} waits for its result: {:?}", self.chat_id, message.parts)
        };
        message.add_tool_output(&id, output);
        self.send_message(message)
    }

    fn newest_answer(&self) -> UiMessage {
        let newest = self.history().last().filter(|last| last.is_assistant()).cloned();
        newest.unwrap_or_else(|| panic!("chat {} does not end with an answer", self.chat_id))
    }

    /// Asks for the last answer again.
    pub fn send_regenerate(&mut self) -> Sending<'_> {
        {
            let mut history = self.history();
            while history.last().is_some_and(UiMessage::is_assistant) {
                history.pop();
            }
        }
        let label = format!("the request to regenerate in chat {}", self.chat_id);
        self.posting(label, |chat| Box::pin(chat.transport.send_messages(&chat.chat_id, SendMessages::regenerate())))
    }

    /// Sends an action.
    pub fn send_action(&mut self, action: Value) -> Sending<'_> {
        let label = format!("action {action} of chat {}", self.chat_id);
        self.posting(label, |chat| Box::pin(chat.transport.send_action(&chat.chat_id, action, None)))
    }

    /// Stops the answer that streams, as a page does; tells whether the stop was accepted.
    pub async fn send_stop(&self) -> bool {
        self.transport.stop_generation(&self.chat_id).await
    }

    /// Posts a stop with a reason, without touching the page's stream.
    pub async fn send_stop_because(&self, reason: impl Into<String>) -> Option<SeqNum> {
        self.append(ChatInputChunk::Stop { message: Some(reason.into()) }).await
    }

    /// Appends any input, past the page; gives its place.
    ///
    /// # Panics
    ///
    /// When the server refuses.
    pub async fn append(&self, input: ChatInputChunk) -> Option<SeqNum> {
        let part_id = PartId::new(self.stage.part_id());
        let appended = self.stage.sessions.append(&self.chat_id, &input, &part_id).await;
        appended.unwrap_or_else(|error| panic!("chat {} refused {input:?}: {error}", self.chat_id))
    }

    /// Opens another chat with the same agents, model and server.
    ///
    /// The script is one; steps may say which chat they are for. Each chat is finished on its own.
    ///
    /// # Panics
    ///
    /// When the server refuses.
    pub async fn another(&self, chat_id: impl Into<String>) -> MockChatAgent {
        let mut chat = self.neighbour(&chat_id.into());
        chat.open(None).await.unwrap_or_else(|error| panic!("{error}"));
        chat
    }

    fn posting<'a>(
        &'a mut self,
        label: String,
        post: impl FnOnce(&'a Self) -> BoxFuture<'a, Result<ChatStream, Error>> + Send + 'a,
    ) -> Sending<'a> {
        let chat: &'a Self = self;
        Sending::new(Box::pin(async move {
            let from = From::now(&chat.stage, &chat.chat_id, label);
            match post(chat).await {
                Ok(stream) => {
                    let input = stream.input_seq();
                    Ok(Posted::new(chat.stage.clone(), from, Some(stream), input, chat.history.clone()))
                }
                Err(error) => {
                    let cause = SendFailure::Refused(error.to_string());
                    Err(SendError::new(&chat.stage, &from.chat, &from.label, from.n_out, cause))
                }
            }
        }))
    }

    /// Posts a signal, whose turn the page watches like one of its own.
    pub(super) fn signalling(&mut self, label: String, input: ChatInputChunk) -> Sending<'_> {
        let chat: &Self = self;
        Sending::new(Box::pin(async move {
            let from = From::now(&chat.stage, &chat.chat_id, label);
            let place = chat.append(input).await;
            let stream = chat.transport.reconnect_as_owner(&chat.chat_id);
            Ok(Posted::new(chat.stage.clone(), from, stream, place, chat.history.clone()))
        }))
    }

    /// Gives every record that `out` ever had, control records and commands included, trimmed ones too.
    pub fn all_raw_chunks(&self) -> Vec<Record> {
        self.stage
            .journal
            .look(|sessions| sessions.chat(&self.chat_id).map(|kept| kept.out.clone()).unwrap_or_default())
    }

    /// Gives every chunk that `out` ever carried.
    pub fn all_chunks(&self) -> Vec<UiMessageChunk> {
        self.all_raw_chunks().iter().filter_map(chunk).collect()
    }

    /// Gives every record that `in` ever had; none from a server that runs elsewhere.
    pub fn all_inputs(&self) -> Vec<Record> {
        let inputs = |kept: &super::journal::Kept| kept.input.clone();
        self.stage.journal.look(|sessions| sessions.chat(&self.chat_id).map(inputs).unwrap_or_default())
    }

    /// Reads the chat snapshot that was stored last (AA-10).
    ///
    /// # Panics
    ///
    /// When the server cannot be asked.
    pub async fn get_snapshot(&self) -> Option<ChatSnapshot> {
        let body = self.stage.wire().read_snapshot(&self.chat_id).await;
        let body = body.unwrap_or_else(|error| panic!("the snapshot of chat {} cannot be read: {error}", self.chat_id));
        ChatSnapshot::parse(&body?)
    }
}

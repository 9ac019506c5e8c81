//! Which chats are open in this process, and what a call may do with one: decisions without async or clock.
//!
//! It is a cache (C-232): what is lost with it is found again by the chat id. A chat takes one message at a time.

use std::collections::BTreeMap;

use turnkeep_protocol::TaskId;

use crate::error::ToolError;

/// The open chats; `C` is what talks in one.
#[derive(Debug)]
pub(crate) struct Chats<C> {
    by_id: BTreeMap<String, Open<C>>,
    limit: usize,
    n_tickets: u64,
}

#[derive(Debug)]
struct Open<C> {
    agent: TaskId,
    ticket: Ticket,
    phase: Phase<C>,
}

#[derive(Debug)]
enum Phase<C> {
    /// A call is creating it.
    Starting,
    Idle(C),
    /// A call is waiting for its answer.
    Answering(C),
}

/// One opening of a chat; a later one of the same chat id has another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ticket(pub(crate) u64);

/// What a start is to do.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Start {
    /// Create the session, then say [`Chats::started`] or [`Chats::forget`].
    Create(Ticket),
    /// Nothing: it is open (C-225).
    IsOpen,
}

impl<C: Clone> Chats<C> {
    /// Keeps at most `limit` chats.
    pub(crate) fn new(limit: usize) -> Self {
        Self { by_id: BTreeMap::new(), limit, n_tickets: 0 }
    }

    /// Decides what a start of `chat_id` with `agent` does (C-224, C-225).
    pub(crate) fn start(&mut self, chat_id: &str, agent: &TaskId) -> Result<Start, ToolError> {
        if let Some(open) = self.by_id.get(chat_id) {
            if open.agent != *agent {
                let (open, asked) = (open.agent.to_string(), agent.to_string());
                return Err(ToolError::OtherAgent { chat_id: chat_id.to_owned(), open, asked });
            }
            return match open.phase {
                Phase::Starting => Err(ToolError::Starting { chat_id: chat_id.to_owned() }),
                Phase::Idle(_) | Phase::Answering(_) => Ok(Start::IsOpen),
            };
        }
        if self.by_id.len() >= self.limit {
            return Err(ToolError::TooManyChats { limit: self.limit });
        }
        self.n_tickets += 1;
        let ticket = Ticket(self.n_tickets);
        self.by_id.insert(chat_id.to_owned(), Open { agent: agent.clone(), ticket, phase: Phase::Starting });
        Ok(Start::Create(ticket))
    }

    /// Takes in what talks in a chat that is created now.
    pub(crate) fn started(&mut self, chat_id: &str, ticket: Ticket, chat: C) {
        if let Some(open) = self.of(chat_id, ticket) {
            open.phase = Phase::Idle(chat);
        }
    }

    /// Gives what talks in a chat to the one call that may send now (C-226).
    pub(crate) fn send(&mut self, chat_id: &str) -> Result<(Ticket, C), ToolError> {
        let Some(open) = self.by_id.get_mut(chat_id) else {
            return Err(ToolError::UnknownChat { chat_id: chat_id.to_owned() });
        };
        let chat = match &open.phase {
            Phase::Starting => return Err(ToolError::Starting { chat_id: chat_id.to_owned() }),
            Phase::Answering(_) => return Err(ToolError::Answering { chat_id: chat_id.to_owned() }),
            Phase::Idle(chat) => chat.clone(),
        };
        open.phase = Phase::Answering(chat.clone());
        Ok((open.ticket, chat))
    }

    /// Lets the next message in.
    pub(crate) fn answered(&mut self, chat_id: &str, ticket: Ticket) {
        if let Some(open) = self.of(chat_id, ticket)
            && let Phase::Answering(chat) = &open.phase
        {
            open.phase = Phase::Idle(chat.clone());
        }
    }

    /// Forgets a chat that could not be created or is closed for good.
    pub(crate) fn forget(&mut self, chat_id: &str, ticket: Ticket) {
        if self.of(chat_id, ticket).is_some() {
            self.by_id.remove(chat_id);
        }
    }

    /// Forgets a chat and gives what talks in it, for the last word (C-231).
    pub(crate) fn close(&mut self, chat_id: &str) -> Result<C, ToolError> {
        let open = self.by_id.get(chat_id).ok_or_else(|| ToolError::UnknownChat { chat_id: chat_id.to_owned() })?;
        let chat = match &open.phase {
            Phase::Starting => return Err(ToolError::Starting { chat_id: chat_id.to_owned() }),
            Phase::Idle(chat) | Phase::Answering(chat) => chat.clone(),
        };
        self.by_id.remove(chat_id);
        Ok(chat)
    }

    /// Finds a chat while it is still the same opening.
    fn of(&mut self, chat_id: &str, ticket: Ticket) -> Option<&mut Open<C>> {
        self.by_id.get_mut(chat_id).filter(|open| open.ticket == ticket)
    }
}

#[cfg(test)]
mod tests;

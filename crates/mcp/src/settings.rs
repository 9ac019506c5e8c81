//! What the tools are told by whoever runs them.

use std::fmt;
use std::time::Duration;

use turnkeep_host::http::BaseUrl;
use turnkeep_protocol::TaskId;

/// How long `send_agent_message` waits for an answer unless told otherwise (C-228).
const REPLY_LIMIT: Duration = Duration::from_secs(600);

/// How many characters of an agent's text one answer returns; tool sections come on top, each cut by itself (C-227).
const MAX_REPLY_CHARS: usize = 100_000;

/// How many chats one process keeps open.
const MAX_OPEN_CHATS: usize = 64;

/// Where the agents are and how much one call may take.
#[derive(Clone)]
pub struct Settings {
    pub(crate) base_url: BaseUrl,
    pub(crate) secret_key: String,
    pub(crate) agents: Vec<ListedAgent>,
    pub(crate) branch: Option<String>,
    pub(crate) read_only: bool,
    pub(crate) reply_limit: Duration,
    pub(crate) max_reply_chars: usize,
    pub(crate) max_open_chats: usize,
}

/// An agent that `list_agents` names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedAgent {
    /// Its id.
    pub id: TaskId,
    /// What it is for, in a sentence.
    pub description: Option<String>,
}

impl Settings {
    /// Names the session server and the environment's secret key; no agent is listed yet, so any may be asked for.
    pub fn new(base_url: BaseUrl, secret_key: impl Into<String>) -> Self {
        Self {
            base_url,
            secret_key: secret_key.into(),
            agents: Vec::new(),
            branch: None,
            read_only: false,
            reply_limit: REPLY_LIMIT,
            max_reply_chars: MAX_REPLY_CHARS,
            max_open_chats: MAX_OPEN_CHATS,
        }
    }

    /// Lists an agent; once one is listed, no other may be asked for (D-82).
    #[must_use]
    pub fn agent(mut self, agent: ListedAgent) -> Self {
        self.agents.push(agent);
        self
    }

    /// Names the preview branch that every request is for (C-154).
    #[must_use]
    pub fn branch(self, branch: Option<String>) -> Self {
        Self { branch, ..self }
    }

    /// Offers `list_agents` alone (C-233).
    #[must_use]
    pub fn read_only(self, read_only: bool) -> Self {
        Self { read_only, ..self }
    }

    /// Sets how long one answer may take; 10 minutes if not called (C-228).
    #[must_use]
    pub fn reply_limit(self, limit: Duration) -> Self {
        Self { reply_limit: limit, ..self }
    }

    /// Sets how many characters of an agent's text one answer returns; 100,000 if not called.
    #[must_use]
    pub fn max_reply_chars(self, chars: usize) -> Self {
        Self { max_reply_chars: chars, ..self }
    }

    /// Sets how many chats are kept open; 64 if not called.
    #[must_use]
    pub fn max_open_chats(self, chats: usize) -> Self {
        Self { max_open_chats: chats, ..self }
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings").field("base_url", &self.base_url.authority()).finish_non_exhaustive()
    }
}

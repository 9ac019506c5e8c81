//! [`SessionOptions`]: what an author chooses for the turns of a custom agent.

use std::fmt;
use std::time::Duration;

use crate::checkpoint::Gate;
use crate::compaction::Compaction;
use crate::custom::WaitOptions;
use crate::signal::Signal;
use crate::steering::PendingMessages;
use crate::tool::Tool;

/// So many turns a session has when nothing says so.
const DEFAULT_MAX_TURNS: usize = 100;

/// How the turns of a custom agent come and are answered.
#[derive(Clone)]
#[must_use = "options do nothing until a session is made with them"]
pub struct SessionOptions {
    pub(super) signal: Option<Signal>,
    pub(super) wait: WaitOptions,
    pub(super) max_turns: usize,
    pub(super) compaction: Option<Compaction>,
    pub(super) pending_messages: Option<PendingMessages>,
    pub(super) tools: Vec<Tool>,
}

impl SessionOptions {
    /// Waits warm for what the payload says, else 30 s, then asleep for 1 h, and ends after 100 turns.
    pub fn new() -> Self {
        Self {
            signal: None,
            wait: WaitOptions::new(),
            max_turns: DEFAULT_MAX_TURNS,
            compaction: None,
            pending_messages: None,
            tools: Vec::new(),
        }
    }

    /// Cancels the session by this signal: the turn under way is closed without its answer, and no other begins.
    pub fn signal(mut self, signal: Signal) -> Self {
        self.signal = Some(signal);
        self
    }

    /// Sets how long the run stays warm between turns, whatever the payload says.
    pub fn idle_timeout(mut self, timeout: Duration) -> Self {
        self.wait = self.wait.idle_timeout(timeout);
        self
    }

    /// Sets how long the run then sleeps before the session ends, 1 h when not set.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.wait = self.wait.timeout(timeout);
        self
    }

    /// Ends the session after so many turns, 100 when not set; actions do not count. What waits then is left to another run.
    pub fn max_turns(mut self, max_turns: usize) -> Self {
        self.max_turns = max_turns;
        self
    }

    /// Replaces what the model reads by a summary when it has become too long.
    pub fn compaction(mut self, options: Compaction) -> Self {
        self.compaction = Some(options);
        self
    }

    /// Lets people's messages join an answer that streams.
    pub fn pending_messages(mut self, options: PendingMessages) -> Self {
        self.pending_messages = Some(options);
        self
    }

    /// Lets the model call these tools in [`CustomTurn::stream_text`](crate::CustomTurn::stream_text), reads old calls with their
    /// mappings, and lets no client answer for those that run here.
    pub fn tools(mut self, tools: impl IntoIterator<Item = Tool>) -> Self {
        self.tools = tools.into_iter().collect();
        self
    }

    /// Tells whether the session is cancelled.
    pub(super) fn is_cancelled(&self) -> bool {
        self.signal.as_ref().is_some_and(Signal::is_set)
    }

    /// Waits until the session is cancelled. Cancel-safe.
    pub(super) async fn cancelled(&self) {
        match &self.signal {
            Some(signal) => drop(signal.wait().await),
            None => futures::future::pending().await,
        }
    }

    pub(super) fn gated(self, gate: &Gate) -> Self {
        Self {
            compaction: self.compaction.map(|options| options.gated(gate)),
            pending_messages: self.pending_messages.map(|options| options.gated(gate)),
            ..self
        }
    }
}

impl Default for SessionOptions {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for SessionOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionOptions")
            .field("wait", &self.wait)
            .field("max_turns", &self.max_turns)
            .field("compaction", &self.compaction)
            .field("pending_messages", &self.pending_messages)
            .field("tools", &self.tools)
            .finish_non_exhaustive()
    }
}

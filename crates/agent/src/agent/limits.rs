//! The agent's limits: how many turns a run takes, and how long it waits.

use std::time::Duration;

use super::Agent;

/// The agent's limits; what is none follows another.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) max_turns: usize,
    pub(crate) turn_timeout: Duration,
    pub(crate) idle_timeout: Option<Duration>,
    pub(crate) preload_idle_timeout: Option<Duration>,
    pub(crate) preload_timeout: Option<Duration>,
    pub(crate) exits_after_preload_idle: bool,
    pub(crate) chat_access_token_ttl: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_turns: 100,
            turn_timeout: Duration::from_secs(3600),
            idle_timeout: None,
            preload_idle_timeout: None,
            preload_timeout: None,
            exits_after_preload_idle: false,
            chat_access_token_ttl: Duration::from_secs(3600),
        }
    }
}

impl Agent {
    /// Ends the run after this many message turns, 100 when not set.
    pub fn max_turns(mut self, max_turns: usize) -> Self {
        self.limits.max_turns = max_turns;
        self
    }

    /// Sets how long the run sleeps for the next message before it ends, 1 h when not set.
    pub fn turn_timeout(mut self, timeout: Duration) -> Self {
        self.limits.turn_timeout = timeout;
        self
    }

    /// Sets how long the run stays warm between turns, 30 s when neither this nor the payload says.
    pub fn idle_timeout(mut self, timeout: Duration) -> Self {
        self.limits.idle_timeout = Some(timeout);
        self
    }

    /// Sets how long a preloaded run stays warm for its first message; as [`Agent::idle_timeout`] when not set.
    pub fn preload_idle_timeout(mut self, timeout: Duration) -> Self {
        self.limits.preload_idle_timeout = Some(timeout);
        self
    }

    /// Sets how long a preloaded run sleeps for its first message; as [`Agent::turn_timeout`] when not set.
    pub fn preload_timeout(mut self, timeout: Duration) -> Self {
        self.limits.preload_timeout = Some(timeout);
        self
    }

    /// Ends a preloaded run whose idle time is over instead of letting it sleep.
    pub fn exit_after_preload_idle(mut self) -> Self {
        self.limits.exits_after_preload_idle = true;
        self
    }

    /// Sets how long the token lives that each turn mints for the chat's clients, 1 h when not set; in whole seconds, at least one.
    pub fn chat_access_token_ttl(mut self, ttl: Duration) -> Self {
        self.limits.chat_access_token_ttl = ttl;
        self
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Limits;

    #[test]
    fn what_no_author_says_is_as_the_table_has_it_a194() {
        let Limits {
            max_turns,
            turn_timeout,
            idle_timeout,
            preload_idle_timeout,
            preload_timeout,
            exits_after_preload_idle,
            chat_access_token_ttl,
        } = Limits::default();
        let hour = Duration::from_secs(3600);

        assert_eq!(
            (max_turns, turn_timeout, chat_access_token_ttl, exits_after_preload_idle),
            (100, hour, hour, false)
        );
        // None follows another: the payload's idle time, then 30 s; the idle time; the turn's timeout.
        assert_eq!((idle_timeout, preload_idle_timeout, preload_timeout), (None, None, None));
    }
}

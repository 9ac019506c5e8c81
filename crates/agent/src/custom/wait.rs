//! [`WaitOptions`]: how long a custom agent waits for a message.

use std::time::Duration;

/// How long the run sleeps for a message when nothing says so.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(3600);

/// How long to wait: warm first, then asleep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "options do nothing until somebody waits with them"]
pub struct WaitOptions {
    pub(crate) idle_timeout: Option<Duration>,
    pub(crate) timeout: Duration,
}

impl WaitOptions {
    /// Waits warm for what the payload says, else 30 s, then asleep for 1 h.
    pub fn new() -> Self {
        Self { idle_timeout: None, timeout: DEFAULT_TIMEOUT }
    }

    /// Sets how long the run stays warm, whatever the payload says; none of it sends the run to sleep at once.
    pub fn idle_timeout(mut self, timeout: Duration) -> Self {
        self.idle_timeout = Some(timeout);
        self
    }

    /// Sets how long the run then sleeps, 1 h when not set.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }
}

impl Default for WaitOptions {
    fn default() -> Self {
        Self::new()
    }
}

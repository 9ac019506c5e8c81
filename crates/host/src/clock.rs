//! Wall time, for stamps and expiry. Elapsed time is `tokio::time`'s business, never this module's.

use std::fmt;
use std::time::Duration;

/// Wall-clock time as Unix milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(u64);

impl Timestamp {
    /// Makes a timestamp from Unix milliseconds.
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis)
    }

    /// Gives Unix milliseconds.
    pub const fn as_millis(self) -> u64 {
        self.0
    }

    /// Gives whole Unix seconds, rounded down, as tokens count them.
    pub const fn as_secs(self) -> u64 {
        self.0 / 1000
    }

    /// Adds a duration, whole milliseconds of it; saturates at the end of time.
    #[must_use]
    pub fn plus(self, duration: Duration) -> Self {
        let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(millis))
    }

    /// Gives the time from `earlier` to `self`, zero when `earlier` is later.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ms", self.0)
    }
}

/// Tells wall time.
pub trait Clock: Send + Sync {
    /// Gives the time now. Never call it in a destructor: a simulated clock is gone by then.
    fn now(&self) -> Timestamp;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn adding_and_subtracting_saturate() {
        let late = Timestamp::from_millis(u64::MAX);

        assert_eq!(late.plus(Duration::from_secs(1)), late);
        assert_eq!(Timestamp::from_millis(5).since(late), Duration::ZERO);
        assert_eq!(Timestamp::from_millis(1500).since(Timestamp::from_millis(500)), Duration::from_secs(1));
    }
}

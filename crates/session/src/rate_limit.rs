//! A token bucket: so many requests at once, and so many more per interval (S-189). Pure: the caller brings the time.

use std::time::Duration;

use turnkeep_host::Timestamp;

/// How many requests an environment takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimit {
    /// What a full bucket holds: the most requests at once; at least 1.
    pub burst: u32,
    /// What comes back with each interval, up to a full bucket; at least 1.
    pub refill: u32,
    /// How long an interval lasts; at least 1 ms.
    pub every: Duration,
}

impl Default for RateLimit {
    /// Gives 750 requests at once and 250 more every 10 s.
    fn default() -> Self {
        Self { burst: 750, refill: 250, every: Duration::from_secs(10) }
    }
}

/// What a bucket says to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Taken {
    /// Whether the request may go on.
    pub is_allowed: bool,
    /// What a full bucket holds.
    pub limit: u32,
    /// What is left in it.
    pub remaining: u32,
    /// When the next refill comes.
    pub reset: Timestamp,
}

/// A bucket and what is left in it.
#[derive(Debug)]
pub(crate) struct TokenBucket {
    limit: RateLimit,
    left: u32,
    /// When the running interval began.
    since: Timestamp,
}

impl TokenBucket {
    /// Makes a full bucket.
    pub(crate) fn new(limit: RateLimit, now: Timestamp) -> Self {
        let RateLimit { burst, refill, every } = limit;
        let limit =
            RateLimit { burst: burst.max(1), refill: refill.max(1), every: every.max(Duration::from_millis(1)) };
        Self { limit, left: limit.burst, since: now }
    }

    /// Takes one request out, if there is one.
    pub(crate) fn take(&mut self, now: Timestamp) -> Taken {
        self.refill(now);
        let is_allowed = self.left > 0;
        self.left = self.left.saturating_sub(1);
        Taken { is_allowed, limit: self.limit.burst, remaining: self.left, reset: self.since.plus(self.limit.every) }
    }

    fn refill(&mut self, now: Timestamp) {
        if now < self.since {
            // The clock was set back: waiting until it catches up could take for ever.
            self.since = now;
        }
        let every = self.limit.every.as_millis();
        let whole = now.since(self.since).as_millis() / every;
        let gained = u128::from(self.limit.refill).saturating_mul(whole);
        let left = u128::from(self.left).saturating_add(gained).min(u128::from(self.limit.burst));
        self.left = u32::try_from(left).expect("at most a full bucket");
        if self.left == self.limit.burst {
            // Nothing is missing: the next interval begins with the next request.
            self.since = now;
        } else {
            let passed = u64::try_from(whole * every).expect("no more than has passed");
            self.since = self.since.plus(Duration::from_millis(passed));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes at each moment, in ms, and says whether it went on, what was left and when the next refill comes.
    #[track_caller]
    fn check(limit: RateLimit, steps: &[(u64, bool, u32, u64)]) {
        let mut bucket = TokenBucket::new(limit, Timestamp::from_millis(0));
        for (at, is_allowed, remaining, reset) in steps.iter().copied() {
            let want = Taken { is_allowed, limit: limit.burst, remaining, reset: Timestamp::from_millis(reset) };
            assert_eq!(bucket.take(Timestamp::from_millis(at)), want, "at {at} of {steps:?}");
        }
    }

    fn limit(burst: u32, refill: u32, every_ms: u64) -> RateLimit {
        RateLimit { burst, refill, every: Duration::from_millis(every_ms) }
    }

    #[test]
    fn a_full_bucket_lets_its_burst_through_and_no_more_s189() {
        check(limit(2, 1, 100), &[(0, true, 1, 100), (1, true, 0, 100), (2, false, 0, 100), (99, false, 0, 100)]);
    }

    #[test]
    fn each_whole_interval_brings_its_refill_s189() {
        let steps = [
            (0, true, 2, 100),
            (0, true, 1, 100),
            (0, true, 0, 100),
            (100, true, 1, 200),
            (150, true, 0, 200),
            (199, false, 0, 200),
            (200, true, 1, 300),
        ];
        check(limit(3, 2, 100), &steps);
    }

    #[test]
    fn a_long_silence_fills_the_bucket_and_not_more_s189() {
        check(limit(2, 1, 100), &[(0, true, 1, 100), (0, true, 0, 100), (1_000_050, true, 1, 1_000_150)]);
        check(limit(2, 1, 100), &[(0, true, 1, 100), (0, true, 0, 100), (u64::MAX, true, 1, u64::MAX)]);
    }

    #[test]
    fn the_interval_of_an_untouched_bucket_begins_with_its_first_request_s189() {
        check(limit(1, 1, 100), &[(50, true, 0, 150), (149, false, 0, 150), (150, true, 0, 250)]);
    }

    #[test]
    fn a_clock_that_was_set_back_stalls_nobody_for_longer_than_an_interval_s189() {
        check(limit(1, 1, 100), &[(5_000, true, 0, 5_100), (1_000, false, 0, 1_100), (1_100, true, 0, 1_200)]);
    }

    #[test]
    fn a_limit_of_nothing_still_lets_one_through_s189() {
        let mut bucket = TokenBucket::new(limit(0, 0, 0), Timestamp::from_millis(0));

        assert!(bucket.take(Timestamp::from_millis(0)).is_allowed);
        assert!(!bucket.take(Timestamp::from_millis(0)).is_allowed);
        assert!(bucket.take(Timestamp::from_millis(1)).is_allowed);
    }
}

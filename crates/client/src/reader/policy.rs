//! Whether and when a failed attempt is followed by another: the reader's decisions without its clock (C-41…C-46, C-53).

use std::time::Duration;

use crate::Error;

/// Which stalls count against [`RetryPolicy::max_stall_retries`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StallBudget {
    /// Every one (C-53).
    #[default]
    Every,
    /// Those without a byte. A connection with keep-alives belongs to a server that is there and a turn that is merely quiet: it
    /// is renewed every time with the first backoff step (C-136, RC-2, RC-15).
    Dead {
        /// Quiet ones in a row before the end all the same; none means without end.
        max_quiet: Option<u32>,
    },
}

/// What an attempt failed with, as far as the budget cares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// No record, and of late no byte either.
    DeadStall,
    /// No record, only signs of life.
    QuietStall,
    /// Anything else.
    Other,
}

/// How a reader treats failures; the defaults are the studied client's.
#[derive(Clone, Debug, PartialEq)]
pub struct RetryPolicy {
    /// Consecutive failures tolerated; none means without end (C-44, CR-4).
    pub max_retries: Option<u32>,
    /// The first backoff step.
    pub retry_delay: Duration,
    /// The longest backoff step.
    pub max_retry_delay: Duration,
    /// The share of a step that is random, 0 to 1.
    pub retry_jitter: f64,
    /// Time allowed until response headers (C-51).
    pub fetch_timeout: Duration,
    /// Allowed silence after headers; none means unlimited (C-52).
    pub stall_timeout: Option<Duration>,
    /// Consecutive stalls tolerated without a decoded record; none means without end (C-53).
    pub max_stall_retries: Option<u32>,
    /// Which stalls count.
    pub stall_budget: StallBudget,
    /// Statuses that end the subscription after one attempt (C-41); 401 and 403 always do (C-42).
    pub final_statuses: Vec<u16>,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            max_retries: None,
            retry_delay: Duration::from_millis(100),
            max_retry_delay: Duration::from_secs(5),
            retry_jitter: 0.5,
            fetch_timeout: Duration::from_secs(30),
            stall_timeout: None,
            max_stall_retries: None,
            stall_budget: StallBudget::Every,
            final_statuses: vec![400, 404, 409, 410, 422],
        }
    }
}

/// The n-th wait of a backoff: `min(base·2^(n-1), cap)·(1 − jitter·U)`, n from 1 (C-44).
pub(crate) fn backoff(base: Duration, cap: Duration, jitter: f64, n: u32, unit: f64) -> Duration {
    let doublings = n.saturating_sub(1).min(31);
    let step = base.saturating_mul(1 << doublings).min(cap);
    step.mul_f64(1.0 - jitter * unit)
}

/// What follows a failed attempt.
#[derive(Debug)]
pub(crate) enum Next {
    /// Wait, then try again.
    Retry {
        /// How long.
        after: Duration,
    },
    /// The subscription ends with this error.
    GiveUp(Error),
}

/// The counters of one subscription.
#[derive(Debug)]
pub(crate) struct Retries {
    policy: RetryPolicy,
    failures: u32,
    stalls: u32,
    quiet_stalls: u32,
}

impl Retries {
    pub(crate) fn new(policy: RetryPolicy) -> Self {
        Self { policy, failures: 0, stalls: 0, quiet_stalls: 0 }
    }

    pub(crate) fn policy(&self) -> &RetryPolicy {
        &self.policy
    }

    /// A record was decoded: both counts start again (C-45, C-53). A response without one proves nothing.
    pub(crate) fn on_record(&mut self) {
        self.failures = 0;
        self.stalls = 0;
        self.quiet_stalls = 0;
    }

    /// Decides what follows a failed attempt; `unit` is a draw in [0, 1).
    pub(crate) fn on_failure(&mut self, error: Error, failure: Failure, unit: f64) -> Next {
        if self.is_final(&error) {
            return Next::GiveUp(error);
        }
        let RetryPolicy { retry_delay, max_retry_delay, retry_jitter, stall_budget, .. } = self.policy;
        if failure == Failure::QuietStall
            && let StallBudget::Dead { max_quiet } = stall_budget
        {
            self.quiet_stalls += 1;
            if max_quiet.is_some_and(|max| self.quiet_stalls > max) {
                return Next::GiveUp(Error::RetriesExhausted { attempts: self.quiet_stalls, last: Box::new(error) });
            }
            return Next::Retry { after: backoff(retry_delay, max_retry_delay, retry_jitter, 1, unit) };
        }
        let is_stall = failure != Failure::Other;
        self.failures += 1;
        self.stalls += u32::from(is_stall);
        let spent = self.policy.max_retries.is_some_and(|max| self.failures > max)
            || (is_stall && self.policy.max_stall_retries.is_some_and(|max| self.stalls > max));
        if spent {
            return Next::GiveUp(Error::RetriesExhausted { attempts: self.failures, last: Box::new(error) });
        }
        Next::Retry { after: backoff(retry_delay, max_retry_delay, retry_jitter, self.failures, unit) }
    }

    fn is_final(&self, error: &Error) -> bool {
        match error {
            Error::Refused { refused } => {
                matches!(refused.status, 401 | 403) || self.policy.final_statuses.contains(&refused.status)
            }
            Error::Network(error) => !error.is_retryable(),
            Error::SessionClosed { .. } | Error::BadResponse { .. } => true,
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Refused;

    fn refused(status: u16) -> Error {
        Error::Refused { refused: Refused { status, ..Refused::default() } }
    }

    fn stall() -> Error {
        Error::TimedOut { awaited: "record", limit_ms: 60_000 }
    }

    #[track_caller]
    fn wait_of(next: Next) -> u64 {
        match next {
            Next::Retry { after } => u64::try_from(after.as_millis()).unwrap(),
            Next::GiveUp(error) => panic!("gave up: {error}"),
        }
    }

    #[test]
    fn waits_double_from_100_ms_to_5_s_and_never_end_c44_cr4() {
        // S-124, SR-24.
        let mut longest = Retries::new(RetryPolicy::default());
        let mut shortest = Retries::new(RetryPolicy::default());

        let upper: Vec<u64> = (0..9).map(|_| wait_of(longest.on_failure(refused(503), Failure::Other, 0.0))).collect();
        let lower: Vec<u64> = (0..9).map(|_| wait_of(shortest.on_failure(refused(503), Failure::Other, 1.0))).collect();

        assert_eq!(upper, [100, 200, 400, 800, 1600, 3200, 5000, 5000, 5000]);
        assert_eq!(lower, [50, 100, 200, 400, 800, 1600, 2500, 2500, 2500]);
        for _ in 0..10_000 {
            assert_eq!(wait_of(longest.on_failure(refused(503), Failure::Other, 0.0)), 5000);
        }
    }

    #[test]
    fn jitter_takes_away_its_share_and_no_more_ca14() {
        // S-124.
        let policy = RetryPolicy {
            retry_delay: Duration::from_millis(50),
            max_retry_delay: Duration::from_millis(50),
            ..RetryPolicy::default()
        };
        let mut retries = Retries::new(policy);

        let waits = [0.0, 0.5, 0.999].map(|unit| wait_of(retries.on_failure(refused(500), Failure::Other, unit)));

        assert_eq!(waits, [50, 37, 25]);
    }

    #[test]
    fn final_statuses_end_at_once_and_keep_their_status_c41_c42_ca10_ca13() {
        // S-125.
        for status in [400, 401, 403, 404, 409, 410, 422] {
            let mut retries = Retries::new(RetryPolicy::default());
            let Next::GiveUp(error) = retries.on_failure(refused(status), Failure::Other, 0.0) else {
                panic!("{status} was retried");
            };
            assert_eq!(error.status(), Some(status));
        }
        for status in [405, 406, 408, 413, 429, 500, 502, 503] {
            let mut retries = Retries::new(RetryPolicy::default());
            wait_of(retries.on_failure(refused(status), Failure::Other, 0.0));
        }
    }

    #[test]
    fn a_custom_list_of_final_statuses_is_honoured_ca11() {
        let mut retries = Retries::new(RetryPolicy { final_statuses: vec![503], ..RetryPolicy::default() });

        assert!(matches!(retries.on_failure(refused(503), Failure::Other, 0.0), Next::GiveUp(_)));
        wait_of(retries.on_failure(refused(404), Failure::Other, 0.0));
    }

    #[test]
    fn only_a_decoded_record_restores_the_budget_c45_ca17() {
        let mut retries = Retries::new(RetryPolicy { max_retries: Some(2), ..RetryPolicy::default() });

        wait_of(retries.on_failure(refused(500), Failure::Other, 0.0));
        wait_of(retries.on_failure(refused(500), Failure::Other, 0.0));
        retries.on_record();

        assert_eq!(wait_of(retries.on_failure(refused(500), Failure::Other, 0.0)), 100);
        wait_of(retries.on_failure(refused(500), Failure::Other, 0.0));
        let Next::GiveUp(error) = retries.on_failure(refused(500), Failure::Other, 0.0) else { panic!("no end") };
        assert_eq!(error.to_string(), "retries exhausted after 3 attempts: status 500");
    }

    #[test]
    fn an_exhausted_timeout_is_an_ordinary_error_c46_cr5_ca16() {
        let mut retries = Retries::new(RetryPolicy { max_retries: Some(0), ..RetryPolicy::default() });

        let Next::GiveUp(error) = retries.on_failure(stall(), Failure::DeadStall, 0.0) else { panic!("no end") };

        assert!(matches!(error, Error::RetriesExhausted { attempts: 1, .. }), "{error}");
    }

    #[test]
    fn stalls_have_a_bound_of_their_own_c53() {
        let mut retries = Retries::new(RetryPolicy { max_stall_retries: Some(1), ..RetryPolicy::default() });

        wait_of(retries.on_failure(stall(), Failure::DeadStall, 0.0));
        for _ in 0..10 {
            // Other failures are not counted against it.
            wait_of(retries.on_failure(refused(500), Failure::Other, 0.0));
        }

        assert!(matches!(retries.on_failure(stall(), Failure::DeadStall, 0.0), Next::GiveUp(_)));
    }

    #[test]
    fn a_record_clears_the_stalls_c53() {
        let mut retries = Retries::new(RetryPolicy { max_stall_retries: Some(1), ..RetryPolicy::default() });

        for _ in 0..20 {
            wait_of(retries.on_failure(stall(), Failure::DeadStall, 0.0));
            retries.on_record();
        }
    }

    #[test]
    fn a_quiet_stall_costs_nothing_where_only_dead_ones_count_c136_rc2() {
        let stall_budget = StallBudget::Dead { max_quiet: Some(100) };
        let policy = RetryPolicy { max_stall_retries: Some(1), stall_budget, ..RetryPolicy::default() };
        let mut retries = Retries::new(policy);

        for _ in 0..100 {
            assert_eq!(wait_of(retries.on_failure(stall(), Failure::QuietStall, 0.0)), 100, "always the first step");
        }
        let mut dead = Retries { quiet_stalls: 0, ..retries };
        wait_of(dead.on_failure(stall(), Failure::DeadStall, 0.0));
        assert!(matches!(dead.on_failure(stall(), Failure::DeadStall, 0.0), Next::GiveUp(_)));
    }

    #[test]
    fn even_quiet_stalls_have_a_bound_that_a_record_restores_c136() {
        let stall_budget = StallBudget::Dead { max_quiet: Some(2) };
        let mut retries = Retries::new(RetryPolicy { stall_budget, ..RetryPolicy::default() });

        for _ in 0..3 {
            wait_of(retries.on_failure(stall(), Failure::QuietStall, 0.0));
            wait_of(retries.on_failure(stall(), Failure::QuietStall, 0.0));
            retries.on_record();
        }
        wait_of(retries.on_failure(stall(), Failure::QuietStall, 0.0));
        wait_of(retries.on_failure(stall(), Failure::QuietStall, 0.0));

        assert!(matches!(retries.on_failure(stall(), Failure::QuietStall, 0.0), Next::GiveUp(_)));
    }

    #[test]
    fn every_stall_counts_unless_told_otherwise_c53_ca17() {
        let mut retries = Retries::new(RetryPolicy { max_stall_retries: Some(1), ..RetryPolicy::default() });

        wait_of(retries.on_failure(stall(), Failure::QuietStall, 0.0));

        assert!(matches!(retries.on_failure(stall(), Failure::QuietStall, 0.0), Next::GiveUp(_)));
    }
}

//! What was measured: how long each record took.

use std::time::Duration;

/// What a load came to.
#[derive(Debug)]
pub(super) struct Load {
    /// How long each record took.
    pub(super) took: Latencies,
    /// How long all of it took, by the clock.
    pub(super) lasted: Duration,
}

impl Load {
    /// Gives how many records there were in each second.
    pub(super) fn per_second(&self) -> f64 {
        super::rounded(self.took.0.len() as f64 / self.lasted.as_secs_f64().max(f64::MIN_POSITIVE))
    }
}

/// The times of many records.
#[derive(Debug, Default)]
pub(super) struct Latencies(Vec<Duration>);

impl Latencies {
    /// Puts the times of several tasks together.
    pub(super) fn of(parts: impl IntoIterator<Item = Vec<Duration>>) -> Self {
        let mut all: Vec<Duration> = parts.into_iter().flatten().collect();
        all.sort();
        Self(all)
    }

    /// Gives the least time that `percent` of them do not exceed, in milliseconds; zero of none.
    pub(super) fn percentile_ms(&self, percent: usize) -> f64 {
        let rank = (self.0.len() * percent).div_ceil(100);
        let took = self.0.get(rank.saturating_sub(1)).copied().unwrap_or_default();
        super::rounded(took.as_secs_f64() * 1e3)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_all_tasks_are_put_in_order() {
        let ms = |n: u64| Duration::from_millis(n);
        let all = Latencies::of([vec![ms(30), ms(10)], vec![ms(20)], vec![]]);

        assert_eq!([1, 50, 99].map(|percent| all.percentile_ms(percent)), [10.0, 20.0, 30.0]);
        assert_eq!(Latencies::default().percentile_ms(99), 0.0);
    }

    #[test]
    fn a_load_that_took_longer_than_it_should_was_a_smaller_one() {
        let took = || Latencies::of([vec![Duration::from_millis(1); 30]]);

        assert_eq!(
            [2, 3].map(|seconds| Load { took: took(), lasted: Duration::from_secs(seconds) }.per_second()),
            [15.0, 10.0]
        );
    }
}

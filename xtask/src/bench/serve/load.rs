//! What was measured: how long each record took.

use std::time::Duration;

/// The times of many records.
#[derive(Debug, Default)]
pub(crate) struct Latencies(Vec<Duration>);

impl Latencies {
    /// Puts the times of several tasks together.
    pub(crate) fn of(parts: impl IntoIterator<Item = Vec<Duration>>) -> Self {
        let mut all: Vec<Duration> = parts.into_iter().flatten().collect();
        all.sort();
        Self(all)
    }

    /// Gives how many there were in each second of so long a time.
    pub(crate) fn per_second(&self, lasted: Duration) -> f64 {
        self.0.len() as f64 / lasted.as_secs_f64().max(f64::MIN_POSITIVE)
    }

    /// Gives the least time that `percent` of them do not exceed, in milliseconds; zero of none.
    pub(crate) fn percentile_ms(&self, percent: usize) -> f64 {
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
        assert_eq!(all.per_second(Duration::from_secs(2)), 1.5);
        assert_eq!(Latencies::default().percentile_ms(99), 0.0);
    }
}

//! What was measured, and the line that says so.

use std::fs;
use std::time::Duration;

use serde::Serialize;

/// Where Linux tells a process its peak memory; nowhere else is it known.
const STATUS: &str = "/proc/self/status";

/// The turns of one measurement.
#[derive(Debug, Default)]
pub(super) struct Sample {
    turns: Vec<Duration>,
    n_chunks: usize,
}

/// What is printed; every number but the last is of this machine's clock.
#[derive(Debug, Serialize)]
struct Line<'a> {
    name: &'a str,
    turns_per_s: f64,
    chunks_per_s: f64,
    p50_ms: f64,
    p99_ms: f64,
    /// None where the system does not tell.
    peak_rss_mb: Option<f64>,
}

impl Sample {
    pub(super) fn add(&mut self, took: Duration, n_chunks: usize) {
        self.turns.push(took);
        self.n_chunks += n_chunks;
    }

    /// Writes the measurement as one JSON object.
    pub(super) fn json(&self, name: &str) -> String {
        let spent = self.turns.iter().sum::<Duration>().as_secs_f64().max(f64::MIN_POSITIVE);
        let mut sorted = self.turns.clone();
        sorted.sort();
        let line = Line {
            name,
            turns_per_s: rounded(self.turns.len() as f64 / spent),
            chunks_per_s: rounded(self.n_chunks as f64 / spent),
            p50_ms: ms(percentile(&sorted, 50)),
            p99_ms: ms(percentile(&sorted, 99)),
            peak_rss_mb: fs::read_to_string(STATUS).ok().and_then(|status| peak_rss_mb(&status)),
        };
        serde_json::to_string(&line).expect("numbers and texts always serialise")
    }

    /// Says what a turn of the first and of the last tenth took, in the middle.
    pub(super) fn growth(&self) -> String {
        let tenth = self.turns.len().div_ceil(10);
        let median = |turns: &[Duration]| {
            let mut sorted = turns.to_vec();
            sorted.sort();
            ms(percentile(&sorted, 50))
        };
        let (first, last) = (&self.turns[..tenth], &self.turns[self.turns.len() - tenth..]);
        format!("a turn took {} ms in the first tenth, {} ms in the last", median(first), median(last))
    }
}

/// Gives the least value that `percent` of the sorted values do not exceed; zero of none.
fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    let rank = (sorted.len() * percent).div_ceil(100);
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or_default()
}

fn ms(took: Duration) -> f64 {
    rounded(took.as_secs_f64() * 1e3)
}

fn rounded(number: f64) -> f64 {
    (number * 1e3).round() / 1e3
}

/// Reads the peak out of what Linux says of a process.
fn peak_rss_mb(status: &str) -> Option<f64> {
    let kib = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?.trim().strip_suffix(" kB")?;
    Some(rounded(kib.trim().parse::<f64>().ok()? * 1024.0 / 1e6))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(turns_ms: &[u64]) -> Sample {
        let mut sample = Sample::default();
        for ms in turns_ms {
            sample.add(Duration::from_millis(*ms), 24);
        }
        sample
    }

    #[test]
    fn a_measurement_is_one_json_object_with_these_names() {
        let line: serde_json::Value = serde_json::from_str(&sample(&[10, 30]).json("chats")).unwrap();

        let names: Vec<&String> = line.as_object().unwrap().keys().collect();
        assert_eq!(names, ["name", "turns_per_s", "chunks_per_s", "p50_ms", "p99_ms", "peak_rss_mb"]);
        let numbers = ["turns_per_s", "chunks_per_s", "p50_ms", "p99_ms"].map(|name| line[name].as_f64().unwrap());
        assert_eq!(numbers, [50.0, 1200.0, 10.0, 30.0]);
    }

    #[test]
    fn a_percentile_is_one_of_the_values() {
        let values: Vec<Duration> = (1..=200).map(Duration::from_millis).collect();

        assert_eq!(percentile(&values, 50), Duration::from_millis(100));
        assert_eq!(percentile(&values, 99), Duration::from_millis(198));
        assert_eq!(percentile(&values[..1], 99), Duration::from_millis(1));
        assert_eq!(percentile(&[], 50), Duration::ZERO);
    }

    #[test]
    fn growth_compares_the_first_tenth_with_the_last() {
        let turns: Vec<u64> = (1..=20).collect();

        assert_eq!(sample(&turns).growth(), "a turn took 1 ms in the first tenth, 19 ms in the last");
    }

    #[test]
    fn peak_memory_is_read_where_linux_tells_it() {
        assert_eq!(peak_rss_mb("Name:\tx\nVmHWM:\t  250000 kB\nVmRSS:\t 1 kB\n"), Some(256.0));
        assert_eq!(peak_rss_mb("Name:\tx\n"), None);
    }
}

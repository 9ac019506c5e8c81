//! What was measured, and the line that says so.

use std::fs;
use std::time::Duration;

use serde::Serialize;

/// Where Linux tells a process its peak memory; nowhere else is it known.
const STATUS: &str = "/proc/self/status";

/// Where Linux tells a thread how long it has had a processor, in ns, as the first of its numbers.
const SCHEDSTAT: &str = "/proc/thread-self/schedstat";

/// The turns of one measurement.
#[derive(Debug, Default)]
pub(super) struct Sample {
    turns: Vec<Took>,
    n_chunks: usize,
}

/// What one turn took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Took {
    /// By the clock on the wall.
    pub(super) wall: Duration,
    /// Of the processor; the wall's where the system does not tell. It hardly depends on what else the machine does.
    pub(super) work: Duration,
}

/// What is printed; times are of this machine's clock.
#[derive(Debug, Serialize)]
struct Line<'a> {
    name: &'a str,
    turns_per_s: f64,
    chunks_per_s: f64,
    p50_ms: f64,
    p99_ms: f64,
    /// None where the system does not tell.
    peak_rss_mb: Option<f64>,
    /// The mean work of a turn in the first tenth.
    first_ms: f64,
    /// The same in the last tenth.
    last_ms: f64,
    /// How many times the first the last is.
    growth: f64,
}

/// Measures turns: both clocks, read at once.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stopwatch {
    wall: std::time::Instant,
    work: Option<Duration>,
}

impl Stopwatch {
    #[expect(clippy::disallowed_methods, reason = "the time on this machine is what is measured")]
    pub(super) fn start() -> Self {
        Self { wall: std::time::Instant::now(), work: processor_time() }
    }

    pub(super) fn took(&self) -> Took {
        let wall = self.wall.elapsed();
        let work = processor_time().zip(self.work).map(|(now, start)| now.saturating_sub(start));
        Took { wall, work: work.unwrap_or(wall) }
    }
}

impl Sample {
    pub(super) fn add(&mut self, took: Took, n_chunks: usize) {
        self.turns.push(took);
        self.n_chunks += n_chunks;
    }

    /// Writes the measurement as one JSON object.
    pub(super) fn json(&self, name: &str) -> String {
        let spent = self.turns.iter().map(|took| took.wall).sum::<Duration>().as_secs_f64().max(f64::MIN_POSITIVE);
        let wall = sorted(self.turns.iter().map(|took| took.wall));
        let [first, last] = self.ends();
        let line = Line {
            name,
            turns_per_s: rounded(self.turns.len() as f64 / spent),
            chunks_per_s: rounded(self.n_chunks as f64 / spent),
            p50_ms: ms(percentile(&wall, 50)),
            p99_ms: ms(percentile(&wall, 99)),
            peak_rss_mb: fs::read_to_string(STATUS).ok().and_then(|status| peak_rss_mb(&status)),
            first_ms: ms(first),
            last_ms: ms(last),
            growth: rounded(last.as_secs_f64() / first.as_secs_f64().max(f64::MIN_POSITIVE)),
        };
        serde_json::to_string(&line).expect("numbers and texts always serialise")
    }

    /// Gives the mean work of a turn in the first and in the last tenth. The system counts work in ticks, so one turn says little.
    fn ends(&self) -> [Duration; 2] {
        let tenth = self.turns.len().div_ceil(10);
        let count = u32::try_from(tenth).unwrap_or(u32::MAX).max(1);
        let mean = |turns: &[Took]| turns.iter().map(|took| took.work).sum::<Duration>() / count;
        [mean(&self.turns[..tenth]), mean(&self.turns[self.turns.len() - tenth..])]
    }
}

fn sorted(durations: impl Iterator<Item = Duration>) -> Vec<Duration> {
    let mut sorted: Vec<_> = durations.collect();
    sorted.sort();
    sorted
}

/// Tells how long this thread has had a processor, where the system does.
fn processor_time() -> Option<Duration> {
    let numbers = fs::read_to_string(SCHEDSTAT).ok()?;
    numbers.split_whitespace().next()?.parse().ok().map(Duration::from_nanos)
}

/// Gives the least value that `percent` of the sorted values do not exceed; zero of none.
fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    let rank = (sorted.len() * percent).div_ceil(100);
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or_default()
}

fn ms(took: Duration) -> f64 {
    rounded(took.as_secs_f64() * 1e3)
}

pub(super) fn rounded(number: f64) -> f64 {
    (number * 1e3).round() / 1e3
}

/// Tells how much memory this process has now, where the system does.
pub(super) fn rss_mb() -> Option<f64> {
    in_mb(&fs::read_to_string(STATUS).ok()?, "VmRSS:")
}

/// Reads the peak out of what Linux says of a process.
fn peak_rss_mb(status: &str) -> Option<f64> {
    in_mb(status, "VmHWM:")
}

fn in_mb(status: &str, name: &str) -> Option<f64> {
    let kib = status.lines().find_map(|line| line.strip_prefix(name))?.trim().strip_suffix(" kB")?;
    Some(rounded(kib.trim().parse::<f64>().ok()? * 1024.0 / 1e6))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(turns_ms: &[u64]) -> Sample {
        let mut sample = Sample::default();
        for ms in turns_ms {
            let wall = Duration::from_millis(*ms);
            sample.add(Took { wall, work: wall / 2 }, 24);
        }
        sample
    }

    #[test]
    fn a_measurement_is_one_json_object_with_these_names() {
        let line: serde_json::Value = serde_json::from_str(&sample(&[10, 30]).json("chats")).unwrap();

        let names: Vec<&String> = line.as_object().unwrap().keys().collect();
        let want =
            ["name", "turns_per_s", "chunks_per_s", "p50_ms", "p99_ms", "peak_rss_mb", "first_ms", "last_ms", "growth"];
        assert_eq!(names, want);
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
    fn growth_compares_the_work_of_the_first_tenth_with_that_of_the_last() {
        let turns: Vec<u64> = (1..=20).collect();

        let line: serde_json::Value = serde_json::from_str(&sample(&turns).json("long-chat")).unwrap();

        let numbers = ["first_ms", "last_ms", "growth"].map(|name| line[name].as_f64().unwrap());
        assert_eq!(numbers, [0.75, 9.75, 13.0]);
    }

    #[test]
    fn work_is_never_more_than_one_processor_can_do_meanwhile() {
        let watch = Stopwatch::start();
        let sum = (0..1_000_000_u64).fold(0, |sum: u64, n| std::hint::black_box(sum ^ n));

        let took = watch.took();

        assert!(std::hint::black_box(sum) < u64::MAX);
        assert!(took.work <= took.wall + Duration::from_millis(10), "{took:?}");
    }

    #[test]
    fn peak_memory_is_read_where_linux_tells_it() {
        assert_eq!(peak_rss_mb("Name:\tx\nVmHWM:\t  250000 kB\nVmRSS:\t 1 kB\n"), Some(256.0));
        assert_eq!(peak_rss_mb("Name:\tx\n"), None);
    }
}

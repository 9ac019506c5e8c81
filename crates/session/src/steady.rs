//! The time that the core is told (D-84): wall time as it was when the server started, and from then on what has passed since.
//!
//! Leases, waits and trims are measured by it, so nobody loses a run and nobody waits because the wall clock was set. It comes back
//! to the wall clock, by so little at a time that no lease feels it.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use turnkeep_host::{Host, Timestamp};

/// It goes by one part in so many faster or slower than time passes, for as long as it is not what the wall clock says: a lease of 10 s
/// is out by at most 100 ms, and a minute is made good in 100.
const SLEW: u32 = 100;

/// A wall clock that is out by this more than it was when it was last looked at has been set, and the log says so. In milliseconds.
const JUMP_MS: i64 = 1000;

/// Tells the core's time. It never goes back.
pub(crate) struct SteadyClock {
    host: Host,
    started: Instant,
    reading: Mutex<Reading>,
}

impl SteadyClock {
    /// Starts with wall time.
    pub(crate) fn start(host: Host) -> Self {
        let reading = Reading::start(host.clock().now());
        Self { host, started: Instant::now(), reading: Mutex::new(reading) }
    }

    /// Gives the time now.
    pub(crate) fn now(&self) -> Timestamp {
        // Both clocks are read under the lock: a later look must not bring an earlier time.
        let mut reading = self.reading.lock().unwrap_or_else(PoisonError::into_inner);
        let jump_ms = reading.go_on(self.started.elapsed(), self.host.clock().now());
        if let Some(jump_ms) = jump_ms {
            tracing::warn!(
                jump_ms,
                "the wall clock was set; leases and waits go on, and a restart takes the new time at once"
            );
        }
        reading.now()
    }

    /// Gives wall time, for what others have dated.
    pub(crate) fn wall(&self) -> Timestamp {
        self.host.clock().now()
    }
}

/// The decisions of the clock, without the clocks.
#[derive(Debug)]
struct Reading {
    /// The time at the last look, since 1970.
    at: Duration,
    /// How long the server ran then.
    elapsed: Duration,
    /// By how much the wall clock was ahead then.
    ahead_ms: i64,
}

impl Reading {
    fn start(wall: Timestamp) -> Self {
        Self { at: since_1970(wall), elapsed: Duration::ZERO, ahead_ms: 0 }
    }

    fn now(&self) -> Timestamp {
        Timestamp::default().plus(self.at)
    }

    /// Goes on to a later look; gives by how much the wall clock was set in between, if it was.
    fn go_on(&mut self, elapsed: Duration, wall: Timestamp) -> Option<i64> {
        let passed = elapsed.saturating_sub(self.elapsed);
        let (due, wall) = (self.at + passed, since_1970(wall));
        let jump_ms = millis(wall).saturating_sub(millis(due)).saturating_sub(self.ahead_ms);
        let at_most = passed / SLEW;
        self.at = wall.clamp(due.saturating_sub(at_most), due + at_most);
        self.elapsed = elapsed;
        self.ahead_ms = millis(wall) - millis(self.at);
        (jump_ms.abs() >= JUMP_MS).then_some(jump_ms)
    }
}

fn since_1970(at: Timestamp) -> Duration {
    Duration::from_millis(at.as_millis())
}

fn millis(at: Duration) -> i64 {
    i64::try_from(at.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    use turnkeep_host::Clock;

    use super::*;

    const START: i64 = 1_700_000_000_000;

    fn wall(after_start_ms: i64) -> Timestamp {
        Timestamp::from_millis(u64::try_from(START + after_start_ms).unwrap())
    }

    /// Looks at moments (elapsed, wall), in milliseconds since the start, and gives each reading and what was said of a jump.
    #[track_caller]
    fn check(looks: &[(u64, i64)], want: &[(i64, Option<i64>)]) {
        let mut reading = Reading::start(wall(0));

        let seen: Vec<_> = looks
            .iter()
            .map(|(elapsed, at)| {
                let jump = reading.go_on(Duration::from_millis(*elapsed), wall(*at));
                (millis(since_1970(reading.now())) - START, jump)
            })
            .collect();

        assert_eq!(seen, want, "{looks:?}");
    }

    #[test]
    fn time_goes_on_by_what_has_passed_and_a_jump_is_said_once_d84() {
        // Two clocks that agree.
        check(
            &[(5, 5), (700, 700), (700, 700), (10_000, 10_000)],
            &[(5, None), (700, None), (700, None), (10_000, None)],
        );
        // Set forward by 15 s: 1 s later it is 1 s later, and 10 ms of the 15 s.
        check(&[(1000, 16_000), (2000, 17_000)], &[(1010, Some(15_000)), (2020, None)]);
        // Set back by an hour.
        check(&[(1000, -3_599_000), (2000, -3_598_000)], &[(990, Some(-3_600_000)), (1980, None)]);
        // Set, and set right again.
        check(&[(1000, 61_000), (2000, 2000)], &[(1010, Some(60_000)), (2000, Some(-60_000))]);
        // Two clocks that never agreed well: nobody set one.
        check(&[(1000, 1900), (2000, 2800)], &[(1010, None), (2020, None)]);
        // Nothing has passed.
        check(&[(0, 900_000)], &[(0, Some(900_000))]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_wall_clock_that_was_set_is_logged_once_with_its_jump_d84() {
        /// A wall clock that only a test moves.
        struct Hands(Arc<AtomicU64>);
        impl Clock for Hands {
            fn now(&self) -> Timestamp {
                Timestamp::from_millis(self.0.load(Ordering::Relaxed))
            }
        }
        let mut log = tempfile::NamedTempFile::new().unwrap();
        let lines = tracing_subscriber::fmt().with_ansi(false).with_writer(Arc::new(log.reopen().unwrap())).finish();
        let _on_this_thread = tracing::subscriber::set_default(lines);
        let hands = Arc::new(AtomicU64::new(wall(0).as_millis()));
        let steady = SteadyClock::start(Host::os().with_clock(Hands(hands.clone())));

        hands.store(wall(15_000).as_millis(), Ordering::Relaxed);
        let (first, later) = (steady.now(), steady.now());

        assert_eq!((first, later), (wall(0), wall(0)), "no time has passed");
        let mut said = String::new();
        log.read_to_string(&mut said).unwrap();
        assert!(said.matches("the wall clock was set").count() == 1 && said.contains("jump_ms=15000"), "{said}");
    }

    #[test]
    fn it_never_goes_back_and_comes_back_to_the_wall_clock_d84() {
        for ahead_ms in [-60_000, -400, 0, 3, 60_000] {
            let mut reading = Reading::start(wall(0));
            let mut last = reading.now();
            for second in 1..=6_100 {
                let elapsed = second * 1000;
                let at = i64::try_from(elapsed).unwrap() + ahead_ms;
                _ = reading.go_on(Duration::from_millis(elapsed), wall(at));
                let went = reading.now().since(last).as_millis();
                assert!((990..=1010).contains(&went), "a second took {went} ms");
                last = reading.now();
            }
            assert_eq!(last, wall(6_100_000 + ahead_ms), "ahead by {ahead_ms} ms");
        }
    }

    #[test]
    fn a_wall_clock_before_1970_or_at_the_end_of_time_breaks_nothing_d84() {
        for end in [0, u64::MAX] {
            let mut reading = Reading::start(wall(0));

            _ = reading.go_on(Duration::from_secs(1), Timestamp::from_millis(end));

            let went = reading.now().since(wall(0)).as_millis();
            assert!((990..=1010).contains(&went), "{went} ms with {end}");
        }
    }
}

//! A run that never yields: virtual time stands still for it, so only this machine's clock can end it.
//!
//! A task that is always ready keeps the simulation's scheduler busy within one tick (docs/design/determinism.md, §5). Nothing can stop
//! such a thread from outside, so the whole process ends, with the code of a world that did not settle.

use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use turnkeep_harness::scenario::Scenario;
use turnkeep_harness::world::Cast;
use turnkeep_harness::{Outcome, run_with};

use crate::verdict::Verdict;

/// The longest that one run may take on this machine; the slowest takes a second or two.
const RUN_LIMIT: Duration = Duration::from_secs(120);

/// Runs `scenario` with `agent` on `seed`; ends the process when the run never ends.
pub(crate) fn run_watched(scenario: &Scenario, agent: &str, seed: u64, cast: &Cast) -> Outcome {
    within(
        RUN_LIMIT,
        || run_with(scenario, agent, seed, cast),
        || {
            eprintln!("{}", never_yields(&scenario.name, agent, seed));
            std::process::exit(Verdict::NotSettled.exit_code().into());
        },
    )
}

/// Does `work` on this thread; calls `expired` on another one when it takes longer than `limit`.
fn within<T>(limit: Duration, work: impl FnOnce() -> T, expired: impl FnOnce() + Send) -> T {
    let (working, ended) = mpsc::channel::<()>();
    thread::scope(|scope| {
        scope.spawn(move || {
            if ended.recv_timeout(limit) == Err(RecvTimeoutError::Timeout) {
                expired();
            }
        });
        let done = work();
        drop(working);
        done
    })
}

fn never_yields(name: &str, agent: &str, seed: u64) -> String {
    let limit = RUN_LIMIT.as_secs();
    format!(
        "{name}@{seed} did not settle: after {limit} s on this machine the run of agent {agent} has not ended\n  \
         a task that never yields makes virtual time stand still (or the story is far too long); there is no trace to show\n  \
         again: cargo xtask sim {name} --seed {seed}"
    )
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    #[test]
    fn a_job_that_outlasts_its_limit_is_noticed_while_it_still_works() {
        let noticed = AtomicBool::new(false);
        // Ends only when the watch has noticed it, or after far longer than the limit.
        let slow = || (0..1_000).any(|_| noticed.load(Ordering::SeqCst) || nap());

        assert!(within(Duration::from_millis(10), slow, || noticed.store(true, Ordering::SeqCst)));
    }

    #[test]
    fn a_job_that_ends_or_panics_in_time_is_left_alone() {
        let expired = || unreachable!("the limit is a minute");

        assert_eq!(within(Duration::from_secs(60), || 7, expired), 7);
        let panicked = std::panic::catch_unwind(|| within(Duration::from_secs(60), || panic!("ours"), || {}));
        assert!(panicked.is_err());
    }

    #[test]
    fn the_complaint_names_the_run_and_what_it_means() {
        let text = never_yields("reload-mid-stream", "echo", 7);

        assert!(text.starts_with("reload-mid-stream@7 did not settle: after 120 s"), "{text}");
        assert!(text.contains("never yields"), "{text}");
    }

    #[expect(clippy::disallowed_methods, reason = "the job must be slow on this machine's clock")]
    fn nap() -> bool {
        thread::sleep(Duration::from_millis(10));
        false
    }
}

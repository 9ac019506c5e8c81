//! Works jobs off on several threads and hands the results back in the order of the jobs.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;

/// Gives every job to `work` on one of `n_threads` threads; `done` gets the results on this thread, in order.
///
/// A job's world is built and dropped on the thread that works on it.
pub(crate) fn each<Job: Sync, Done: Send>(
    jobs: &[Job],
    n_threads: usize,
    work: impl Fn(&Job) -> Done + Sync,
    mut done: impl FnMut(&Job, Done),
) {
    let next = AtomicUsize::new(0);
    // One waiting result a thread: a slow reader holds the workers back instead of filling memory with traces.
    let (sender, results) = mpsc::sync_channel(n_threads.max(1));
    thread::scope(|scope| {
        for _ in 0..n_threads.clamp(1, jobs.len().max(1)) {
            let (sender, next, work) = (sender.clone(), &next, &work);
            scope.spawn(move || {
                while let Some(index) = Some(next.fetch_add(1, Ordering::Relaxed)).filter(|index| *index < jobs.len()) {
                    if sender.send((index, work(&jobs[index]))).is_err() {
                        return;
                    }
                }
            });
        }
        drop(sender);
        let mut early = BTreeMap::new();
        let mut expected = 0;
        for (index, result) in results {
            early.insert(index, result);
            while let Some(result) = early.remove(&expected) {
                done(&jobs[expected], result);
                expected += 1;
            }
        }
    });
}

/// Gives how many threads the machine has for us.
pub(crate) fn all_cores() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(n_jobs: usize, n_threads: usize) {
        let jobs: Vec<usize> = (0..n_jobs).collect();
        let mut seen = Vec::new();

        each(&jobs, n_threads, |job| job * 2, |job, result| seen.push((*job, result)));

        let want: Vec<_> = jobs.iter().map(|job| (*job, job * 2)).collect();
        assert_eq!(seen, want);
    }

    #[test]
    fn results_come_in_the_order_of_the_jobs() {
        check(0, 2);
        check(1, 4);
        check(100, 1);
        check(100, 4);
        check(3, 0);
    }
}

//! One leased run in a worker's hands: its heartbeat, its panics, its end.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use tokio::time::{Instant, sleep_until, timeout_at};
use turnkeep_host::Host;
use turnkeep_host::http::BaseUrl;
use turnkeep_model::LanguageModel;
use turnkeep_protocol::run_api::{EndRun, Heartbeat, LeasedRun, RunOutcome};

use super::{Warn, WorkerOptions};
use crate::agent::Agent;
use crate::attempt::attempt_entropy;
use crate::checkpoint::{Gate, GatedLink, Place};
use crate::error::Error;
use crate::event::RunContext;
use crate::http_link::{HttpLink, LinkTarget};
use crate::input::InputChannel;
use crate::link::Link;
use crate::run::RunParts;
use crate::signal::Signal;
use crate::task::Task;

/// How many characters of an error the end report carries; a panic may have printed a whole document.
const ERROR_TEXT: usize = 1000;

/// What the work of a turn hears when its run is cancelled.
const CANCELLED: &str = "the run was cancelled";

/// The longest lease that is taken at its word: a moment that a clock can name.
const LONGEST_LEASE: Duration = Duration::from_secs(24 * 60 * 60);

/// What a worker lends each run.
pub(super) struct Serving {
    pub(super) host: Host,
    pub(super) base: BaseUrl,
    pub(super) options: WorkerOptions,
    pub(super) model: Arc<dyn LanguageModel>,
    pub(super) warn: Warn,
    /// Set when the worker shall end.
    pub(super) drain: Signal,
}

impl Serving {
    /// Serves `lease` to its end and reports it; a lost lease ends it without a word (D-36).
    pub(super) async fn serve(self, agent: Agent, lease: LeasedRun) {
        let entropy = attempt_entropy(&self.host, &lease);
        let target = LinkTarget {
            base: self.base.clone(),
            secret_key: self.options.secret_key.clone(),
            run_id: lease.run_id.clone(),
            attempt: lease.attempt,
            session_key: lease.session_key.clone(),
            token_lifetime: agent.limits.chat_access_token_ttl,
        };
        let lasts = Duration::from_millis(lease.lease_ms).min(LONGEST_LEASE);
        let http = Arc::new(HttpLink::new(self.host.clone(), target, &entropy));
        let gate = Gate::new(self.options.checkpoints.clone(), RunContext::of(&lease));
        let link: Arc<dyn Link> =
            if gate.is_watched() { Arc::new(GatedLink::new(http.clone(), gate.clone())) } else { http.clone() };
        let input = InputChannel::new(self.host.clone(), link.clone(), entropy);
        let parts = RunParts {
            host: self.host.clone(),
            agent,
            model: self.model.clone(),
            link,
            input: input.clone(),
            lease,
            warn: self.warn.clone(),
            gate: gate.clone(),
        };
        // A panic in an author's code is this run's crash and nobody else's (D-35).
        let task = parts.task();
        let run = AssertUnwindSafe(parts.serve(task.clone())).catch_unwind();
        let run = async {
            tokio::pin!(run);
            let ended = tokio::select! {
                biased;
                ended = &mut run => Some(ended),
                _ = self.drain.wait() => None,
            };
            let ended = match ended {
                Some(ended) => ended,
                None => {
                    input.drain();
                    run.await
                }
            };
            let outcome = outcome(ended);
            if let Some(outcome) = &outcome {
                gate.reach(Place::BeforeExit(outcome.clone())).await;
            }
            outcome
        };
        let kept = async {
            let lost = keep_alive(lasts, self.options.heartbeat, || beat(&http, &input)).await;
            if lost == Lost::Cancelled {
                // Heard by what works elsewhere for the turn; the turn itself is not asked again.
                input.stop_turn(CANCELLED);
            }
            lost
        };
        let ended = tokio::select! {
            biased;
            lost = kept => Err(lost),
            ended = run => Ok(ended),
        };
        let outcome = match ended {
            Ok(Some(outcome)) => outcome,
            Err(Lost::Cancelled) => return cancelled(&task, &gate).await,
            Err(Lost::Lapsed) => return,
            // A write was refused before a beat was: only a beat is told why.
            Ok(None) => {
                if beat(&http, &input).await == Err(Error::RunCancelled) {
                    input.stop_turn(CANCELLED);
                    cancelled(&task, &gate).await;
                }
                return;
            }
        };
        let (settled_cursor, consumed_cursor) = input.cursors();
        // If the report is lost the lease lapses, and the server settles what is owed then.
        let _ = http.end(&EndRun { outcome, settled_cursor, consumed_cursor }).await;
    }
}

/// Tells everybody that a run was cancelled which is gone by now.
async fn cancelled(task: &Task, gate: &Gate) {
    task.cancelled().await;
    gate.reach(Place::Cancelled).await;
}

/// Why a lease is no longer ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lost {
    /// It lapsed, or another attempt or run has taken over.
    Lapsed,
    /// The run was cancelled.
    Cancelled,
}

/// Beats until the lease is lost: by the server's word, or because it has lapsed by our own clock. The server counts from when a beat
/// reached it, we from when it was sent, so this worker stops before another one starts (D-35, D-36).
async fn keep_alive<F>(lasts: Duration, every: Duration, beat: impl Fn() -> F) -> Lost
where
    F: Future<Output = Result<(), Error>>,
{
    let mut lapses = Instant::now() + lasts;
    let mut next = Instant::now() + every;
    loop {
        tokio::select! {
            biased;
            () = sleep_until(lapses) => return Lost::Lapsed,
            () = sleep_until(next) => {}
        }
        let sent = Instant::now();
        next = sent + every;
        match timeout_at(lapses, beat()).await {
            Ok(Ok(())) => lapses = sent + lasts,
            Ok(Err(Error::LeaseLost)) | Err(_) => return Lost::Lapsed,
            Ok(Err(Error::RunCancelled)) => return Lost::Cancelled,
            // The next beat may get through.
            Ok(Err(_)) => {}
        }
    }
}

async fn beat(link: &HttpLink, input: &InputChannel) -> Result<(), Error> {
    let (settled_cursor, consumed_cursor) = input.cursors();
    let answer = link.heartbeat(Heartbeat { settled_cursor, consumed_cursor }).await?;
    if answer.session_closed {
        input.close_session();
    }
    Ok(())
}

/// Says how the attempt ended; none when it is not ours to say.
fn outcome(ended: Result<Result<(), Error>, Box<dyn Any + Send>>) -> Option<RunOutcome> {
    Some(match ended {
        Ok(Ok(())) => RunOutcome::Completed,
        Ok(Err(Error::LeaseLost | Error::RunCancelled)) => return None,
        Ok(Err(Error::OutOfMemory)) => RunOutcome::OutOfMemory,
        // The network's fault is no verdict on the run: another attempt may do better.
        Ok(Err(error)) if error.is_retryable() => RunOutcome::Crashed { error: cut(&error.to_string()) },
        Ok(Err(error)) => RunOutcome::Failed { error: cut(&error.to_string()) },
        Err(panic) => RunOutcome::Crashed { error: cut(&panic_text(&*panic)) },
    })
}

fn cut(text: &str) -> String {
    text.chars().take(ERROR_TEXT).collect()
}

fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    format!("panic: {}", text.as_deref().unwrap_or("no text"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ChunkTooLarge;

    #[test]
    fn the_end_report_tells_crashes_from_verdicts_d35_a151() {
        let crash = |error: &str| Some(RunOutcome::Crashed { error: error.to_owned() });
        let hook = Error::Hook { hook: "on_boot", detail: "no".to_owned() };
        let too_large = ChunkTooLarge { chunk_type: None, chunk_size: 9, max_size: 8 };

        assert_eq!(outcome(Ok(Ok(()))), Some(RunOutcome::Completed));
        assert_eq!(outcome(Ok(Err(Error::LeaseLost))), None);
        assert_eq!(outcome(Ok(Err(Error::OutOfMemory))), Some(RunOutcome::OutOfMemory));
        assert_eq!(outcome(Ok(Err(hook))), Some(RunOutcome::Failed { error: "on_boot failed: no".to_owned() }));
        assert!(matches!(outcome(Ok(Err(too_large.into()))), Some(RunOutcome::Failed { .. })));
        let gone = Error::Unreachable { what: "batch", detail: "x".to_owned() };
        assert_eq!(outcome(Ok(Err(gone))), crash("batch got no answer: x"));
        assert_eq!(outcome(Err(Box::new("boom"))), crash("panic: boom"));
        assert_eq!(outcome(Err(Box::new("boom".to_owned()))), crash("panic: boom"));
        assert_eq!(outcome(Err(Box::new(7))), crash("panic: no text"));
    }

    #[test]
    fn the_end_report_cuts_long_errors_between_characters_d35() {
        let Some(RunOutcome::Crashed { error }) = outcome(Err(Box::new("ü".repeat(5000)))) else {
            panic!("a panic is a crash");
        };

        assert_eq!((error.chars().count(), error.ends_with('ü')), (ERROR_TEXT, true));
    }

    const LASTS: Duration = Duration::from_secs(10);
    const EVERY: Duration = Duration::from_secs(3);

    /// Says after how many seconds a worker gives its run up, if it does within a minute.
    async fn given_up_after<F: Future<Output = Result<(), Error>>>(beat: impl Fn() -> F) -> Option<u64> {
        let began = Instant::now();
        let ended = tokio::time::timeout(Duration::from_secs(60), keep_alive(LASTS, EVERY, beat)).await;
        ended.ok().map(|_| began.elapsed().as_secs())
    }

    #[tokio::test(start_paused = true)]
    async fn a_lease_that_lapsed_by_our_own_clock_is_lost_d35_d36() {
        let gone = || Error::Unreachable { what: "heartbeat", detail: String::new() };

        assert_eq!(given_up_after(|| async { Ok(()) }).await, None);
        assert_eq!(given_up_after(|| async { Err(gone()) }).await, Some(10));
        // A beat that hangs holds nothing up.
        assert_eq!(given_up_after(futures::future::pending).await, Some(10));
        assert_eq!(given_up_after(|| async { Err(Error::LeaseLost) }).await, Some(3));
        // The last beat that got through was sent at 6 s and answered at 8 s: it counts from when it was sent.
        let n_beats = std::sync::atomic::AtomicU32::new(0);
        let two = || {
            let at = n_beats.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            async move {
                tokio::time::sleep(Duration::from_secs(2)).await;
                if at < 2 { Ok(()) } else { Err(gone()) }
            }
        };
        assert_eq!(given_up_after(two).await, Some(16));
    }
}

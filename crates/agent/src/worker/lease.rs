//! One leased run in a worker's hands: its heartbeat, its panics, its end.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures::FutureExt;
use tokio::time::{Instant, sleep_until};
use turnkeep_host::Host;
use turnkeep_host::http::BaseUrl;
use turnkeep_model::LanguageModel;
use turnkeep_protocol::run_api::{EndRun, Heartbeat, LeasedRun, RunOutcome};

use super::{Warn, WorkerOptions};
use crate::agent::Agent;
use crate::error::Error;
use crate::http_link::{HttpLink, LinkTarget};
use crate::input::InputChannel;
use crate::run::{Run, RunParts, attempt_entropy};

/// What a worker lends each run.
pub(super) struct Serving {
    pub(super) host: Host,
    pub(super) base: BaseUrl,
    pub(super) options: WorkerOptions,
    pub(super) model: Arc<dyn LanguageModel>,
    pub(super) warn: Warn,
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
        };
        let link = Arc::new(HttpLink::new(self.host.clone(), target, &entropy));
        let input = InputChannel::new(self.host.clone(), link.clone(), entropy);
        let parts = RunParts {
            host: self.host.clone(),
            agent,
            model: self.model.clone(),
            link: link.clone(),
            input: input.clone(),
            lease,
            warn: self.warn.clone(),
        };
        // A panic in an author's code is this run's crash and nobody else's (D-35).
        let run = AssertUnwindSafe(async { Run::new(parts)?.serve().await }).catch_unwind();
        let outcome = tokio::select! {
            biased;
            () = self.keep_alive(&link, &input) => return,
            ended = run => outcome(ended),
        };
        let Some(outcome) = outcome else {
            return;
        };
        let (settled_cursor, consumed_cursor) = input.cursors();
        // If the report is lost the lease lapses, and the server settles what is owed then.
        let _ = link.end(&EndRun { outcome, settled_cursor, consumed_cursor }).await;
    }

    /// Beats until the lease is lost.
    async fn keep_alive(&self, link: &HttpLink, input: &InputChannel) {
        let mut next = Instant::now() + self.options.heartbeat;
        loop {
            sleep_until(next).await;
            next = Instant::now() + self.options.heartbeat;
            let (settled_cursor, consumed_cursor) = input.cursors();
            match link.heartbeat(Heartbeat { settled_cursor, consumed_cursor }).await {
                Ok(answer) if answer.session_closed => input.close_session(),
                Ok(_) => {}
                Err(Error::LeaseLost) => return,
                // The next beat may get through; until then the fence judges what we write.
                Err(_) => {}
            }
        }
    }
}

/// Says how the attempt ended; none when it is not ours to say.
fn outcome(ended: Result<Result<(), Error>, Box<dyn Any + Send>>) -> Option<RunOutcome> {
    Some(match ended {
        Ok(Ok(())) => RunOutcome::Completed,
        Ok(Err(Error::LeaseLost)) => return None,
        Ok(Err(Error::OutOfMemory)) => RunOutcome::OutOfMemory,
        // The network's fault is no verdict on the run: another attempt may do better.
        Ok(Err(error)) if error.is_retryable() => RunOutcome::Crashed { error: error.to_string() },
        Ok(Err(error)) => RunOutcome::Failed { error: error.to_string() },
        Err(panic) => RunOutcome::Crashed { error: panic_text(&*panic) },
    })
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
}

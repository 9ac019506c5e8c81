//! [`Restart`]: how a run is taken from its worker, and who follows.

use std::time::Duration;

use turnkeep_host::http::segment;
use turnkeep_protocol::RunId;
use turnkeep_protocol::run_api::{EndRun, EndRunResponse, RunOutcome};
use turnkeep_protocol::session_api::{EndAndContinue, Swapped};

use super::progress::{Attempt, Runs};
use super::{MockChatAgent, SetupError};

/// The error of a run that was cancelled from outside.
pub(super) const CANCELLED: &str = "cancelled";

/// How long, in virtual time, a worker may take to hear that a run of its was cancelled, and to tell the author.
const CANCEL_LIMIT: Duration = Duration::from_secs(60);

/// How a run is taken from its worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Restart {
    /// The process dies at once; the lease lapses, and the run's next attempt recovers.
    Crash,
    /// The worker drains: the turn ends, then the run; a continuation follows.
    Graceful,
    /// The process dies and its platform says that memory ran out; the run's next attempt recovers.
    OutOfMemory,
    /// The run is cancelled from outside, and its worker, which lives on, has noticed; a continuation follows.
    Cancel,
    /// The run asks for its successor and ends without a further word (end-and-continue, S-43); the successor is a continuation.
    ///
    /// A request that fails only ends the run: then whoever speaks next starts the continuation (S-51).
    EndAndContinue,
}

impl MockChatAgent {
    /// Takes the run from its worker, starts another worker where that one is gone, and waits until the next attempt or run has booted on what is durable
    ///
    ///
    /// # Panics
    ///
    /// When the server refuses, or nothing boots within a virtual day.
    pub async fn restart(&mut self, how: Restart) {
        let since = self.stage.progress.look(Runs::now);
        let live = self.run().filter(|attempt| !attempt.is_over);
        match how {
            Restart::Crash => self.stage.kill_worker(),
            Restart::Graceful => self.stage.drain_worker().await,
            Restart::OutOfMemory => {
                self.stage.kill_worker();
                self.report(live.as_ref(), RunOutcome::OutOfMemory).await;
            }
            Restart::Cancel => self.cancel(live.as_ref()).await,
            Restart::EndAndContinue => {
                self.stage.kill_worker();
                self.hand_on(live.as_ref()).await;
            }
        }
        if how != Restart::Cancel {
            self.stage.start_worker();
        }
        // A run that has ended is followed by none before somebody asks for one.
        let created = self.stage.sessions.create(&self.create).await;
        created.unwrap_or_else(|error| panic!("chat {} cannot be opened again: {error}", self.chat_id));
        self.until_booted(since).await;
    }

    /// Asks the server for a successor of a run, in that run's place (end-and-continue, S-43): tells who has the session now, and
    /// whether this request has made it so. A run that has lost the session to another is told who has it (S-48).
    ///
    /// A run that still lives hears of its loss with its next sign of life; [`Restart::EndAndContinue`] takes it away first.
    ///
    /// A fault at [`FaultPoint::EndAndContinue`](super::FaultPoint::EndAndContinue) meets it.
    ///
    /// # Errors
    ///
    /// [`SetupError::Refused`] when the server refuses.
    pub async fn end_and_continue(&self, run: &RunId) -> Result<Swapped, SetupError> {
        let ask = EndAndContinue {
            calling_run_id: run.clone(),
            reason: "upgrade".to_owned(),
            settled_cursor: None,
            consumed_cursor: None,
        };
        let path = format!("/api/v1/sessions/{}/end-and-continue", segment(&self.chat_id));
        let writer = self.run().filter(|live| live.run == *run).map(|live| (live.run, live.attempt));
        self.stage.worker_wire().post("the successor", &path, &ask, writer.as_ref()).await
    }

    /// Cancels a run at the server, and waits until its worker has heard of it.
    async fn cancel(&self, live: Option<&Attempt>) {
        let (Some(Attempt { run, attempt, .. }), Some(session)) = (live, self.session()) else {
            return;
        };
        let told = self.stage.sessions.cancel_run(run).await;
        told.unwrap_or_else(|error| panic!("run {run} cannot be cancelled: {error}"));
        let noticed = self.stage.progress.until(|runs| runs.cancelled.contains(run).then_some(()));
        if tokio::time::timeout(CANCEL_LIMIT, noticed).await.is_err() {
            let last = self.stage.progress.look(Runs::last_places);
            panic!(
                "run {run} was cancelled, and its worker has not noticed within {CANCEL_LIMIT:?}; the last places were {last}"
            );
        }
        let outcome = RunOutcome::Failed { error: CANCELLED.to_owned() };
        self.stage.progress.change(|runs| runs.ended_from_outside(&session, run, *attempt, outcome));
    }

    /// Gives the session of a dead worker's run to a successor.
    async fn hand_on(&self, live: Option<&Attempt>) {
        let (Some(Attempt { run, attempt, .. }), Some(session)) = (live, self.session()) else {
            return;
        };
        match self.end_and_continue(run).await {
            // The request itself has ended the run (D-36).
            Ok(_) => {
                let ended = |runs: &mut Runs| runs.ended_from_outside(&session, run, *attempt, RunOutcome::Completed);
                self.stage.progress.change(ended);
            }
            Err(_) => self.report(live, RunOutcome::Completed).await,
        }
    }

    /// Says how an attempt ended, in the place of its dead worker.
    async fn report(&self, attempt: Option<&Attempt>, outcome: RunOutcome) {
        let (Some(Attempt { run, attempt, .. }), Some(session)) = (attempt, self.session()) else {
            return;
        };
        let end = EndRun { outcome: outcome.clone(), settled_cursor: None, consumed_cursor: None };
        let (path, writer) = (format!("/api/v1/runs/{run}/end"), (run.clone(), *attempt));
        let told = self.stage.wire().post::<EndRunResponse>("the end of a run", &path, &end, Some(&writer)).await;
        told.unwrap_or_else(|error| panic!("{error}"));
        self.stage.progress.change(|runs| runs.ended_from_outside(&session, run, *attempt, outcome));
    }
}

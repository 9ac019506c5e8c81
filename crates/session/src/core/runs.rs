//! Runs: starting, leasing, keeping alive, ending, and what follows an end (S §2, D-3, D-9, D-34, D-35, D-36).

use serde_json::{Map, Value, json};
use turnkeep_host::Timestamp;
use turnkeep_protocol::run_api::{EndRun, LeaseRequest, LeasedRun, RunOutcome};
use turnkeep_protocol::{Header, NewRecord, PartId, RunId, SESSION_IN_EVENT_ID, SeqNum, SessionId, control};

use super::{Core, Refused, Session, Writer};
use crate::change::Millis;
use crate::{CancelledBy, Change, RunReason, RunRow, RunStatus, SessionRow};

/// Tries of one run when its session names no number (D-35).
const DEFAULT_MAX_ATTEMPTS: u32 = 3;

/// Leases of one run that may lapse without a sign of life at no cost; a run that kills its workers that early must end some day.
pub(crate) const MAX_UNCONFIRMED_LAPSES: u32 = 10;

/// What a reader is told when the server answers in the agent's place (D-34).
pub(crate) const GAVE_UP: &str = "the agent ended twice without answering";

/// Why an answer ends that was cut by the cancelling of its run.
pub(crate) const CANCELLED: &str = "the run was cancelled";

/// What the store said of a run that memory does not know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RunLook {
    /// It was not asked.
    NotYet,
    /// The run is there; it has ended.
    Found {
        /// The attempt in which it was cancelled, if it was.
        cancelled_in: Option<u32>,
    },
    /// There never was such a run.
    Nothing,
}

impl Core {
    /// Gives the session's live run, starting one when there is none (S-30, D-47). The session is open.
    pub(super) fn ensure_run(&mut self, now: Timestamp, id: &SessionId) -> RunId {
        match self.state.live_run(self.session(id)) {
            Some(run) => run.id.clone(),
            None => self.start_run(now, id, RunReason::Continuation, None),
        }
    }

    /// Puts a new run into the session's slot; the run that had it is not live any more. A first run's reason is always `Initial`.
    pub(super) fn start_run(
        &mut self,
        now: Timestamp,
        id: &SessionId,
        reason: RunReason,
        suspects: Option<SeqNum>,
    ) -> RunId {
        let session = self.session(id);
        let (row, config) = (&session.row, &session.row.trigger_config);
        let run = RunRow {
            id: self.new_run_id(),
            session: id.clone(),
            task_id: row.task_id.clone(),
            payload: payload(row),
            reason: if row.current_run.is_some() { reason } else { RunReason::Initial },
            attempt: 1,
            tries: 0,
            unconfirmed_lapses: 0,
            max_attempts: config.options.max_attempts.unwrap_or(DEFAULT_MAX_ATTEMPTS),
            options: config.options.clone(),
            metadata: Map::new(),
            status: RunStatus::Queued,
            settled_at_start: session.summary.settled,
            suspects,
            queued: self.state.next_queued(),
            queued_at: Some(now.into()),
            created_at: now.into(),
        };
        let row = SessionRow {
            current_run: Some(run.id.clone()),
            run_version: row.run_version + 1,
            updated_at: now.into(),
            ..row.clone()
        };
        let id = run.id.clone();
        self.put(Change::Run { row: Box::new(run) });
        self.put(Change::Session { row: Box::new(row) });
        id
    }

    /// Gives the oldest queued run that the worker can serve, now in its hands (D-9).
    pub(crate) fn lease(&mut self, now: Timestamp, request: &LeaseRequest) -> Option<LeasedRun> {
        let serves = |run: &&RunRow| {
            let version_fits = run.options.lock_to_version.as_ref().is_none_or(|version| *version == request.version);
            version_fits && request.task_ids.contains(&run.task_id)
        };
        let mut run = self.state.queued().find(serves)?.clone();
        let expires_at = now.plus(self.lease).into();
        run.status = RunStatus::Leased { worker: request.worker_id.clone(), expires_at, confirmed: false };
        let session = self.session(&run.session);
        let leased = LeasedRun {
            run_id: run.id.clone(),
            attempt: run.attempt,
            task_id: run.task_id.clone(),
            session_id: run.session.clone(),
            session_key: session.row.key().to_owned(),
            payload: run.payload.clone(),
            lease_ms: u64::try_from(self.lease.as_millis()).unwrap_or(u64::MAX),
            settled_cursor: session.summary.settled,
            consumed_cursor: session.summary.consumed,
            chat_started: session.row.chat_started_at.is_some(),
            preloaded: session.row.preloaded_at.is_some(),
            session_closed: session.row.is_closed(),
            options: run.options.clone(),
            metadata: run.metadata.clone(),
        };
        self.put(Change::Run { row: Box::new(run) });
        Some(leased)
    }

    /// Checks that `writer` holds the lease (D-36).
    pub(super) fn held(&self, now: Timestamp, writer: &Writer) -> Result<&RunRow, Refused> {
        let run = self.state.run(&writer.run).ok_or(Refused::LeaseLost)?;
        let valid = matches!(&run.status, RunStatus::Leased { expires_at, .. } if *expires_at > now.into());
        if valid && run.attempt == writer.attempt { Ok(run) } else { Err(Refused::LeaseLost) }
    }

    /// Checks that a run is or was there.
    pub(crate) fn check_run(&self, run: &RunId, look: RunLook) -> Result<(), Refused> {
        match look {
            _ if self.state.run(run).is_some() => Ok(()),
            RunLook::Found { .. } => Ok(()),
            RunLook::Nothing => Err(Refused::NoRun),
            RunLook::NotYet => Err(Refused::ColdRun(run.clone())),
        }
    }

    /// Checks that `writer` holds the lease of this session's run (D-36).
    pub(super) fn check_writer(&self, now: Timestamp, session: &Session, writer: &Writer) -> Result<(), Refused> {
        match self.held(now, writer) {
            Ok(run) if run.session == session.row.id => Ok(()),
            _ => Err(Refused::LeaseLost),
        }
    }

    /// Notes the first sign of life of the lease that `writer` holds: from now on its lapse costs a try (D-35).
    pub(super) fn confirm(&mut self, writer: Option<&Writer>) {
        let run = writer.and_then(|writer| self.state.run(&writer.run));
        if let Some(RunRow { id, status: RunStatus::Leased { expires_at, confirmed: false, .. }, .. }) = run {
            self.put(Change::Lease { run: id.clone(), expires_at: *expires_at });
        }
    }

    /// Prolongs a lease and takes the cursors along; gives whether the session is closed (D-35, D-2).
    ///
    /// A beat is told apart why the lease is gone: of a cancelled run the worker has something to tell its author (D-70).
    pub(crate) fn heartbeat(
        &mut self,
        now: Timestamp,
        writer: &Writer,
        settled: Option<SeqNum>,
        consumed: Option<SeqNum>,
        look: RunLook,
    ) -> Result<bool, Refused> {
        let session = match self.held(now, writer) {
            Ok(run) => run.session.clone(),
            Err(_) => return Err(self.why_lost(writer, look)),
        };
        self.put(Change::Lease { run: writer.run.clone(), expires_at: now.plus(self.lease).into() });
        self.settle(&session, settled, consumed);
        Ok(self.session(&session).row.is_closed())
    }

    fn why_lost(&self, writer: &Writer, look: RunLook) -> Refused {
        let cancelled_in = match (self.state.run(&writer.run), look) {
            (Some(row), _) => cancelled_in(row),
            (None, RunLook::Found { cancelled_in }) => cancelled_in,
            (None, RunLook::Nothing) => None,
            (None, RunLook::NotYet) => return Refused::ColdRun(writer.run.clone()),
        };
        if cancelled_in == Some(writer.attempt) { Refused::RunCancelled } else { Refused::LeaseLost }
    }

    /// Ends a run from outside, wherever it is; one that is over stays as it is (A-199, D-70).
    ///
    /// Its worker can write nothing more from here on, so the last word on its message is ours. What follows is what follows every end
    /// (D-3, D-34): a continuation closes the turn that was cut, and serves what else is owed.
    pub(crate) fn cancel(&mut self, now: Timestamp, run: &RunId, look: RunLook) -> Result<(), Refused> {
        self.check_run(run, look)?;
        let Some(run) = self.state.run(run).filter(|run| run.status.is_live()).cloned() else {
            return Ok(());
        };
        let session = run.session.clone();
        self.finish(run.clone(), RunStatus::Cancelled { by: CancelledBy::Request });
        if self.session(&session).message_is_open() {
            let abort = json!({ "type": "abort", "reason": CANCELLED });
            let part = PartId::new(self.ids.alphanumeric(7));
            self.put_output(now, &session, NewRecord::data(&abort, &part), None, None);
        }
        self.follow(now, run);
        Ok(())
    }

    /// Replaces what a run notes for its later attempts; a continuation is another run and begins without.
    pub(crate) fn set_run_metadata(
        &mut self,
        now: Timestamp,
        writer: &Writer,
        metadata: Map<String, Value>,
    ) -> Result<(), Refused> {
        let run = self.held(now, writer)?.clone();
        self.put(Change::Run { row: Box::new(RunRow { metadata, ..run }) });
        self.confirm(Some(writer));
        Ok(())
    }

    /// Ends an attempt and, in the same step, starts what follows it (D-3, D-35); gives the run that goes on, if one does.
    pub(crate) fn end(&mut self, now: Timestamp, writer: &Writer, end: EndRun) -> Result<Option<RunId>, Refused> {
        let run = self.held(now, writer)?.clone();
        self.settle(&run.session, end.settled_cursor, end.consumed_cursor);
        Ok(match end.outcome {
            RunOutcome::Completed => self.conclude(now, run, RunStatus::Completed),
            RunOutcome::Failed { error } => self.conclude(now, run, RunStatus::Failed { error }),
            RunOutcome::Crashed { error } => self.retry(now, spent(run), error),
            // Counts within the same attempts (D-35): there is one kind of machine here.
            RunOutcome::OutOfMemory => self.retry(now, spent(run), "out of memory".to_owned()),
        })
    }

    /// Takes a run from a worker that fell silent (D-9).
    ///
    /// A worker that was cut off or lost its power while it asked for a run never learns that it was given one. The worker's
    /// first heartbeat comes within the lease, so a lease without any sign of life costs no try, within a bound.
    pub(super) fn lapse(&mut self, now: Timestamp, run: &RunId) {
        let mut run = self.state.run(run).expect("a lapsed lease has its run").clone();
        let confirmed = !matches!(run.status, RunStatus::Leased { confirmed: false, .. });
        if confirmed || run.unconfirmed_lapses >= MAX_UNCONFIRMED_LAPSES {
            run = spent(run);
        } else {
            run.unconfirmed_lapses += 1;
        }
        self.retry(now, run, "the worker fell silent and its lease lapsed".to_owned());
    }

    /// Lets a lease end earlier than it was given for.
    pub(super) fn shorten(&mut self, mut run: RunRow, at: Millis) {
        if let RunStatus::Leased { expires_at, .. } = &mut run.status {
            *expires_at = at;
        }
        self.put(Change::Run { row: Box::new(run) });
    }

    /// Queues the next attempt, or ends the run when none is left; a closed session gets none (D-2, D-35).
    fn retry(&mut self, now: Timestamp, mut run: RunRow, error: String) -> Option<RunId> {
        if self.session(&run.session).row.is_closed() {
            return self.conclude(now, run, RunStatus::Cancelled { by: CancelledBy::Close });
        }
        if run.tries >= run.max_attempts {
            return self.conclude(now, run, RunStatus::Crashed { error });
        }
        run.attempt += 1;
        (run.queued, run.queued_at) = (self.state.next_queued(), Some(now.into()));
        let id = run.id.clone();
        self.finish(run, RunStatus::Queued);
        Some(id)
    }

    /// Takes the run out of its worker's hands; its waiters are gone with the worker's attempt.
    pub(super) fn finish(&mut self, run: RunRow, status: RunStatus) {
        self.forget_waits(&run.id);
        self.put(Change::Run { row: Box::new(RunRow { status, ..run }) });
    }

    /// Ends a run for good and answers the question whether anything is still owed (D-3, D-34).
    fn conclude(&mut self, now: Timestamp, run: RunRow, status: RunStatus) -> Option<RunId> {
        self.finish(run.clone(), status);
        self.follow(now, run)
    }

    /// Starts what follows a run that is over for good, if anything does.
    fn follow(&mut self, now: Timestamp, run: RunRow) -> Option<RunId> {
        let session = self.session(&run.session);
        if session.row.is_closed() {
            self.announce_close(now, &run.session);
            return None;
        }
        let last_owed = session.last_owed()?;
        if session.summary.settled > run.settled_at_start {
            return Some(self.start_run(now, &run.session, RunReason::Continuation, None));
        }
        match run.suspects {
            None => Some(self.start_run(now, &run.session, RunReason::Continuation, Some(last_owed))),
            Some(suspects) => self.give_up(now, &run.session, suspects),
        }
    }

    /// Answers, in the agent's place, the records that two runs in a row did not settle (D-34).
    ///
    /// Only what was owed when the second run started is covered: a record that came later has had one run at most, so it is
    /// owed to a fresh run, which is started here because nobody will append for it.
    fn give_up(&mut self, now: Timestamp, id: &SessionId, suspects: SeqNum) -> Option<RunId> {
        let error = json!({ "type": "error", "errorText": GAVE_UP });
        let part = PartId::new(self.ids.alphanumeric(7));
        self.put_output(now, id, NewRecord::data(&error, &part), None, None);
        let covers = Header::new(SESSION_IN_EVENT_ID, suspects.to_string());
        self.put_output(now, id, NewRecord::control(control::TURN_COMPLETE, [covers]), None, None);
        self.session(id).last_owed()?;
        Some(self.start_run(now, id, RunReason::Continuation, None))
    }
}

/// Gives the attempt in which somebody cancelled a run; one that the end of its session took along is none (D-70, D-2).
pub(crate) fn cancelled_in(run: &RunRow) -> Option<u32> {
    (run.status == RunStatus::Cancelled { by: CancelledBy::Request }).then_some(run.attempt)
}

/// Counts the attempt that has just ended as a try (D-35).
fn spent(run: RunRow) -> RunRow {
    RunRow { tries: run.tries + 1, ..run }
}

/// Assembles a run's payload from the base payload, the configured idle time and what only the server may set (S-36, A-4).
///
/// A first run keeps its trigger, `preload` when there is none (D-38); a continuation loses trigger and messages (SR-7).
fn payload(row: &SessionRow) -> Map<String, Value> {
    let mut payload = row.trigger_config.base_payload.clone();
    if let Some(seconds) = row.trigger_config.idle_timeout_in_seconds {
        payload.insert("idleTimeoutInSeconds".to_owned(), json!(seconds));
    }
    payload.shift_remove("message");
    payload.entry("chatId").or_insert_with(|| json!(row.key()));
    for server_set in ["continuation", "previousRunId"] {
        payload.shift_remove(server_set);
    }
    if let Some(previous) = &row.current_run {
        payload.shift_remove("messages");
        payload.shift_remove("trigger");
        payload.insert("continuation".to_owned(), json!(true));
        payload.insert("previousRunId".to_owned(), json!(previous));
    } else {
        payload.entry("trigger").or_insert_with(|| json!("preload"));
    }
    payload.insert("sessionId".to_owned(), json!(row.id));
    payload
}

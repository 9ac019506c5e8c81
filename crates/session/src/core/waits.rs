//! Waitpoints: a run sleeps until its channel has something new (S §5). A waitpoint carries no record, only the wake (S-134, D-8).

use turnkeep_host::Timestamp;
use turnkeep_protocol::run_api::{CreatedWait, WaitOutcome};
use turnkeep_protocol::{ChannelName, RunId, SeqNum, SessionId, WaitpointId};

use super::{Core, Refused, RunLook, Writer};
use crate::change::Millis;
use crate::{Change, WaitpointRow};

/// Waitpoints of a run that may be pending at once (D-85); a run waits for one thing at a time, so this many were given up without a word.
pub(crate) const MAX_PENDING: usize = 1024;

/// Completed waitpoints that a run keeps, for waiters that have not asked yet.
const MAX_COMPLETED: usize = 16;

/// Completed waitpoints that a run keeps beyond those because their keys still stand for them (S-133, S-144).
const MAX_KEYED: usize = 1024;

/// A checked wait request.
#[derive(Clone, Debug)]
pub(crate) struct NewWait {
    /// The session, either form of its id.
    pub url_id: String,
    /// Which channel.
    pub channel: ChannelName,
    /// When the wait ends by itself.
    pub expires_at: Option<Timestamp>,
    /// Finds the waitpoint again (S-144).
    pub idempotency_key: Option<String>,
    /// Until when it does.
    pub idempotency_key_expires_at: Option<Timestamp>,
    /// Free texts.
    pub tags: Vec<String>,
    /// The consumed cursor (S-135).
    pub after: Option<SeqNum>,
    /// The settled cursor (D-32).
    pub settled: Option<SeqNum>,
}

impl Core {
    /// Registers a wait; it is complete at once when the session is closed or a record lies beyond the cursor (S-136, S-137, D-2).
    ///
    /// An external id needs no session yet: the wait is kept under the addressing key and the first append wakes it (S-57, S-133).
    pub(crate) fn create_wait(
        &mut self,
        now: Timestamp,
        writer: &Writer,
        new: NewWait,
        look: RunLook,
    ) -> Result<CreatedWait, Refused> {
        self.check_run(&writer.run, look)?;
        let own_session = self.held(now, writer)?.session.clone();
        let session = self.readable(&new.url_id)?;
        let outcome = match session {
            Some(session) if session.row.is_closed() => Some(WaitOutcome::Closed),
            Some(session) if session.channel(new.channel).last() > new.after => Some(WaitOutcome::Record),
            _ => None,
        };
        let session_key = session.map_or(new.url_id, |session| session.row.key().to_owned());
        let key = new.idempotency_key;
        let known = key.as_ref().and_then(|key| self.state.waits().by_key(key, now.into())).cloned();
        if known.is_none() && outcome.is_none() && self.state.waits().n_pending(&writer.run) >= MAX_PENDING {
            return Err(Refused::TooManyWaits);
        }
        // A repeated request is a sign of life like the first, and tells the same settled cursor (D-32, D-35).
        self.confirm(Some(writer));
        // The settled cursor speaks of the run's own `in`, whatever channel it waits on.
        self.settle(&own_session, new.settled, None);
        if let Some(waitpoint_id) = known {
            return Ok(CreatedWait { waitpoint_id, is_cached: true });
        }
        let row = WaitpointRow {
            id: self.new_waitpoint_id(),
            run: writer.run.clone(),
            session_key,
            channel: new.channel,
            idempotency_key: key,
            idempotency_key_expires_at: new.idempotency_key_expires_at.map(Into::into),
            tags: new.tags,
            number: self.state.waits().next_number(),
            expires_at: new.expires_at.map(Into::into),
            outcome,
        };
        let waitpoint_id = row.id.clone();
        self.forget_old_waits(&writer.run, now.into());
        self.put(Change::Waitpoint { row: Box::new(row) });
        Ok(CreatedWait { waitpoint_id, is_cached: false })
    }

    /// Gives how a waitpoint completed, nothing while it is pending.
    pub(crate) fn outcome(&self, id: &WaitpointId) -> Result<Option<WaitOutcome>, Refused> {
        self.state.waits().get(id).map(|row| row.outcome).ok_or(Refused::NoWaitpoint)
    }

    /// Wakes everybody who waits on a channel (S-138, D-8).
    pub(super) fn wake(&mut self, session: &SessionId, channel: ChannelName) {
        for row in self.state.waits().pending(self.session(session).row.key(), channel) {
            self.complete(row, WaitOutcome::Record);
        }
    }

    /// Completes every pending waitpoint of a session that was closed (D-2).
    pub(super) fn wake_closed(&mut self, session: &SessionId) {
        for channel in [ChannelName::In, ChannelName::Out] {
            for row in self.state.waits().pending(self.session(session).row.key(), channel) {
                self.complete(row, WaitOutcome::Closed);
            }
        }
    }

    /// Ends a wait whose time is up, if there is one (S-140); gives whether there was.
    pub(super) fn time_one_out(&mut self, now: Timestamp) -> bool {
        let row = self.state.waits().timed_out(now.into());
        let was_due = row.is_some();
        row.into_iter().for_each(|row| self.complete(row, WaitOutcome::TimedOut));
        was_due
    }

    /// Completes a pending waitpoint; only those are ever given here, so the first completion counts (S-139).
    fn complete(&mut self, row: WaitpointRow, outcome: WaitOutcome) {
        self.put(Change::Waitpoint { row: Box::new(WaitpointRow { outcome: Some(outcome), ..row }) });
    }

    /// Forgets the waitpoints of a run that has ended or lost its worker.
    pub(super) fn forget_waits(&mut self, run: &RunId) {
        let ids: Vec<_> = self.state.waits().of_run(run).map(|row| row.id.clone()).collect();
        self.put_gone(ids);
    }

    /// Forgets all but the newest completed waitpoints of a run, which waits once a turn and may live long, and those whose caller has
    /// said how long their key counts.
    fn forget_old_waits(&mut self, run: &RunId, now: Millis) {
        let completed = self.state.waits().of_run(run).rev().filter(|row| row.outcome.is_some());
        let counts = |row: &&WaitpointRow| row.idempotency_key_expires_at.is_some_and(|at| at > now);
        let (keyed, plain): (Vec<_>, Vec<_>) = completed.skip(MAX_COMPLETED).partition(counts);
        let ids: Vec<_> = plain.iter().chain(keyed.iter().skip(MAX_KEYED)).map(|row| row.id.clone()).collect();
        self.put_gone(ids);
    }

    fn put_gone(&mut self, ids: Vec<WaitpointId>) {
        for waitpoint in ids {
            self.put(Change::WaitpointGone { waitpoint });
        }
    }
}

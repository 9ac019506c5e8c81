//! Waitpoints: a run sleeps until its channel has something new (S §5). A waitpoint carries no record, only the wake (S-134, D-8).

use turnkeep_host::Timestamp;
use turnkeep_protocol::run_api::{CreatedWait, WaitOutcome};
use turnkeep_protocol::{ChannelName, SeqNum, SessionId, WaitpointId};

use super::{Core, Refused, Writer};
use crate::{Change, WaitpointRow};

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
    /// The consumed cursor (S-135).
    pub after: Option<SeqNum>,
    /// The settled cursor (D-32).
    pub settled: Option<SeqNum>,
}

impl Core {
    /// Registers a wait; it is complete at once when the session is closed or a record lies beyond the cursor (S-136, S-137, D-2).
    pub(crate) fn create_wait(
        &mut self,
        now: Timestamp,
        writer: &Writer,
        new: NewWait,
    ) -> Result<CreatedWait, Refused> {
        self.state.run(&writer.run).ok_or(Refused::NoRun)?;
        let own_session = self.held(now, writer)?.session.clone();
        let session = self.require(&new.url_id)?;
        let key = new.idempotency_key;
        let known = |row: &&WaitpointRow| key.is_some() && row.idempotency_key == key;
        if let Some(row) = self.state.waitpoints().find(known) {
            return Ok(CreatedWait { waitpoint_id: row.id.clone(), is_cached: true });
        }
        let outcome = if session.row.is_closed() {
            Some(WaitOutcome::Closed)
        } else if session.channel(new.channel).last() > new.after {
            Some(WaitOutcome::Record)
        } else {
            None
        };
        let row = WaitpointRow {
            id: self.new_waitpoint_id(),
            run: writer.run.clone(),
            session: session.row.id.clone(),
            channel: new.channel,
            idempotency_key: key,
            expires_at: new.expires_at.map(Into::into),
            outcome,
        };
        let waitpoint_id = row.id.clone();
        // The settled cursor speaks of the run's own `in`, whatever channel it waits on.
        self.settle(&own_session, new.settled, None);
        self.put(Change::Waitpoint { row: Box::new(row) });
        Ok(CreatedWait { waitpoint_id, is_cached: false })
    }

    /// Gives how a waitpoint completed, nothing while it is pending.
    pub(crate) fn outcome(&self, id: &WaitpointId) -> Result<Option<WaitOutcome>, Refused> {
        self.state.waitpoint(id).map(|row| row.outcome).ok_or(Refused::NoWaitpoint)
    }

    /// Wakes everybody who waits on a channel (S-138, D-8).
    pub(super) fn wake(&mut self, session: &SessionId, channel: ChannelName) {
        self.complete_where(|row| row.session == *session && row.channel == channel, WaitOutcome::Record);
    }

    /// Completes every pending waitpoint of a session (D-2).
    pub(super) fn complete_all(&mut self, session: &SessionId, outcome: WaitOutcome) {
        self.complete_where(|row| row.session == *session, outcome);
    }

    /// Ends a wait whose time is up (S-140).
    pub(super) fn time_out(&mut self, id: &WaitpointId) {
        self.complete_where(|row| row.id == *id, WaitOutcome::TimedOut);
    }

    /// Completes pending waitpoints; a completed one stays as it is (S-139).
    fn complete_where(&mut self, wanted: impl Fn(&WaitpointRow) -> bool, outcome: WaitOutcome) {
        let pending = self.state.waitpoints().filter(|row| row.outcome.is_none() && wanted(row));
        for row in pending.cloned().collect::<Vec<_>>() {
            self.put(Change::Waitpoint { row: Box::new(WaitpointRow { outcome: Some(outcome), ..row }) });
        }
    }
}

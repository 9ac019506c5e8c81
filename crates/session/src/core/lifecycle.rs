//! What happens to a row: updates, the end, the markers of a chat (S-22, D-2, D-37, D-45).

use turnkeep_host::Timestamp;
use turnkeep_protocol::run_api::Mark;
use turnkeep_protocol::session_api::UpdateSession;
use turnkeep_protocol::{Header, NewRecord, SESSION_CLOSED_REASON, SessionId, control};

use super::{Core, Refused, Writer};
use crate::{CancelledBy, Change, RunStatus, SessionRow};

impl Core {
    /// Replaces tags and metadata, on closed sessions too; an external id never changes (S-5, S-22).
    pub(crate) fn update(
        &mut self,
        now: Timestamp,
        url_id: &str,
        update: UpdateSession,
    ) -> Result<SessionRow, Refused> {
        let mut row = self.require(url_id)?.row.clone();
        if update.external_id.as_ref().is_some_and(|wanted| *wanted != row.external_id) {
            return Err(Refused::Invalid("externalId cannot be changed once the session exists".to_owned()));
        }
        if update.tags.is_none() && update.metadata.is_none() {
            return Ok(row);
        }
        row.tags = update.tags.unwrap_or(row.tags);
        row.metadata = update.metadata.unwrap_or(row.metadata);
        row.updated_at = now.into();
        self.put(Change::Session { row: Box::new(row.clone()) });
        Ok(row)
    }

    /// Closes a session; closing it again changes nothing and gives the first close's row (S-23, D-2).
    pub(crate) fn close(
        &mut self,
        now: Timestamp,
        url_id: &str,
        reason: Option<String>,
    ) -> Result<SessionRow, Refused> {
        let session = self.require(url_id)?;
        if session.row.is_closed() {
            return Ok(session.row.clone());
        }
        let live = self.state.live_run(session).cloned();
        // A turn is open when a worker may be about to end one: its boundary carries the news, or the end of its run does (D-37).
        let is_leased = live.as_ref().is_some_and(|run| run.status.is_leased());
        let turn_is_open = is_leased && (session.segment_is_open() || session.last_owed().is_some());
        let id = session.row.id.clone();
        let row = SessionRow {
            closed_at: Some(now.into()),
            closed_reason: reason,
            updated_at: now.into(),
            ..session.row.clone()
        };
        self.put(Change::Session { row: Box::new(row) });
        self.wake_closed(&id);
        if let Some(run) = live.filter(|_| !is_leased) {
            self.finish(run, RunStatus::Cancelled { by: CancelledBy::Close });
        }
        if !turn_is_open {
            self.announce_close(now, &id);
        }
        Ok(self.session(&id).row.clone())
    }

    /// Writes `session-closed` on `out`, unless a boundary has said so already (D-37).
    pub(super) fn announce_close(&mut self, now: Timestamp, id: &SessionId) {
        let session = self.session(id);
        if session.summary.announced {
            return;
        }
        let reason = session.row.closed_reason.as_ref().map(|reason| Header::new(SESSION_CLOSED_REASON, reason));
        self.put_output(now, id, NewRecord::control(control::SESSION_CLOSED, reason), None, None);
    }

    /// Sets a write-once marker of the chat (D-45).
    pub(crate) fn mark(&mut self, now: Timestamp, url_id: &str, writer: &Writer, mark: Mark) -> Result<(), Refused> {
        let session = self.require(url_id)?;
        self.check_writer(now, session, writer)?;
        let mut row = session.row.clone();
        self.confirm(Some(writer));
        let marker = match mark {
            Mark::ChatStarted => &mut row.chat_started_at,
            Mark::Preloaded => &mut row.preloaded_at,
        };
        if marker.is_none() {
            *marker = Some(now.into());
            row.updated_at = now.into();
            self.put(Change::Session { row: Box::new(row) });
        }
        Ok(())
    }
}

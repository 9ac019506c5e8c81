//! The chat snapshot as an object: one text per session, replaced as a whole (S §8). What is in it is the run's business, but for
//! the one cursor that tells old from new.

use serde::Deserialize;
use serde_json::Value;
use turnkeep_host::Timestamp;
use turnkeep_protocol::{SeqNum, SessionId};

use super::{Core, Refused, Writer};
use crate::Change;

impl Core {
    /// Stores the object; a run must still hold its lease (D-36). Works on a closed session (S-194).
    ///
    /// A put that was long under way never replaces the snapshot of a later turn: what that one covers may be trimmed (S-91, A-108).
    pub(crate) fn put_snapshot(
        &mut self,
        now: Timestamp,
        id: &SessionId,
        writer: Option<&Writer>,
        body: String,
    ) -> Result<(), Refused> {
        let session = self.require(id.as_str())?;
        if let Some(writer) = writer {
            self.check_writer(now, session, writer)?;
        }
        let end = last_out(&body);
        if let Some(stored) = session.summary.snapshot_end.filter(|stored| end.is_some_and(|end| end < *stored)) {
            return Err(Refused::OldSnapshot { stored });
        }
        self.confirm(writer);
        self.put(Change::Snapshot { session: id.clone(), end, body });
        Ok(())
    }
}

/// Reads the boundary that ended the saved turn (S-192); nothing from a text that is no version 1 snapshot or names none.
fn last_out(snapshot: &str) -> Option<SeqNum> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Head {
        version: u8,
        last_out_event_id: Option<Value>,
    }
    let head: Head = serde_json::from_str(snapshot).ok()?;
    let cursor = head.last_out_event_id.filter(|_| head.version == 1)?;
    cursor.as_str().and_then(SeqNum::parse_cursor)
}

//! Which object is a session's chat snapshot: one per session, replaced as a whole (S §8). What is in it is the run's business, but
//! for the one cursor that tells old from new.

use serde::Deserialize;
use serde_json::Value;
use turnkeep_host::Timestamp;
use turnkeep_protocol::{SeqNum, SessionId};

use super::{Core, Refused, Writer};
use crate::{Change, SnapshotId};

impl Core {
    /// Says whether a snapshot that covers `end` may be put now: asked before its body is stored, so that what is sure to be refused
    /// costs nothing.
    ///
    /// A run must still hold its lease (D-36). A closed session takes snapshots (S-194). A put that was long under way never replaces
    /// the snapshot of a later turn: what that one covers may be trimmed (S-91, A-108).
    pub(crate) fn may_put_snapshot(
        &self,
        now: Timestamp,
        id: &SessionId,
        writer: Option<&Writer>,
        end: Option<SeqNum>,
    ) -> Result<(), Refused> {
        let session = self.require(id.as_str())?;
        if let Some(writer) = writer {
            self.check_writer(now, session, writer)?;
        }
        match session.summary.snapshot_end.filter(|stored| end.is_some_and(|end| end < *stored)) {
            Some(stored) => Err(Refused::OldSnapshot { stored }),
            None => Ok(()),
        }
    }

    /// Makes a stored object the session's snapshot; gives the one that it replaces.
    pub(crate) fn put_snapshot(
        &mut self,
        now: Timestamp,
        id: &SessionId,
        writer: Option<&Writer>,
        end: Option<SeqNum>,
        object: SnapshotId,
    ) -> Result<Option<SnapshotId>, Refused> {
        self.may_put_snapshot(now, id, writer, end)?;
        let replaced = self.session(id).summary.snapshot;
        self.confirm(writer);
        self.put(Change::Snapshot { session: id.clone(), end, object });
        Ok(replaced)
    }

    /// Gives the object that is a session's snapshot.
    pub(crate) fn snapshot(&self, id: &SessionId) -> Option<SnapshotId> {
        self.find(id.as_str())?.summary.snapshot
    }

    /// Gives every object that is a snapshot.
    pub(crate) fn snapshots(&self) -> impl Iterator<Item = (SessionId, SnapshotId)> {
        self.state.sessions().filter_map(|session| Some((session.row.id.clone(), session.summary.snapshot?)))
    }
}

/// Reads the boundary that ended the saved turn (S-192); nothing from a text that is no version 1 snapshot or names none.
pub(crate) fn end_of(snapshot: &str) -> Option<SeqNum> {
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

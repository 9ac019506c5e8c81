//! The chat snapshot as an object: one text per session, replaced as a whole (S §8). What is in it is the run's business.

use turnkeep_host::Timestamp;
use turnkeep_protocol::SessionId;

use super::{Core, Refused, Writer};
use crate::Change;

impl Core {
    /// Stores the object; a run must still hold its lease (D-36). Works on a closed session (S-194).
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
        self.confirm(writer);
        self.put(Change::Snapshot { session: id.clone(), body });
        Ok(())
    }

    /// Gives the object, nothing when none was stored (S-197).
    pub(crate) fn snapshot(&self, id: &SessionId) -> Option<String> {
        self.state.snapshot(id).cloned()
    }
}

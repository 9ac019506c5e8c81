//! The chat snapshot at a turn's end.

use std::time::Duration;

use turnkeep_protocol::ChatSnapshot;

use super::Run;
use crate::error::Error;

/// How long a turn's end waits for its snapshot to be stored; after that it counts as failed.
const SNAPSHOT_LIMIT: Duration = Duration::from_secs(10);

impl Run {
    /// Stores the chain with the newest boundary; awaited, since a run may be frozen or end right after (A-108, AR-18). An author who
    /// keeps the history has no use for one.
    pub(super) async fn store_snapshot(&mut self) -> Result<(), Error> {
        if self.is_hydrated() {
            return Ok(());
        }
        let saved_at = self.host.clock().now().as_millis();
        let (settled, _) = self.input.cursors();
        let messages = self.chain.messages().clone();
        let mut snapshot = ChatSnapshot::new(saved_at, messages, self.boundaries.newest(), settled);
        snapshot.store = self.chat.store().get();
        snapshot.withheld = self.model_history.withheld().cloned();
        match tokio::time::timeout(SNAPSHOT_LIMIT, self.link.write_snapshot(&snapshot)).await {
            Ok(Ok(())) => {
                self.boundaries.snapshot_stored();
                self.lacks_snapshot = false;
            }
            Ok(Err(Error::LeaseLost)) => return Err(Error::LeaseLost),
            Ok(Err(error)) => self.miss_snapshot(format!("the chat snapshot was not stored: {error}")),
            Err(_) => {
                self.miss_snapshot(format!("the chat snapshot was not stored within {} s", SNAPSHOT_LIMIT.as_secs()))
            }
        }
        Ok(())
    }

    /// Warns once for as long as no snapshot can be stored: where there is no place for them, every turn would repeat it.
    fn miss_snapshot(&mut self, warning: String) {
        if !std::mem::replace(&mut self.lacks_snapshot, true) {
            self.warn(warning);
        }
    }
}

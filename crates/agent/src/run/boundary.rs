//! The end of a turn on `out`: `turn-complete`, trim, snapshot (A-105…A-108).

use std::time::Duration;

use turnkeep_protocol::{
    ChatSnapshot, Header, NewRecord, PUBLIC_ACCESS_TOKEN, SESSION_IN_CONSUMED_ID, SESSION_IN_EVENT_ID, SeqNum, control,
};

use super::Run;
use crate::error::Error;

/// How long a turn's end waits for its snapshot to be stored; after that it counts as failed.
const SNAPSHOT_LIMIT: Duration = Duration::from_secs(10);

impl Run {
    /// Writes the turn's one `turn-complete` and trims what is settled behind it; gives its place.
    ///
    /// The record that the turn served, and whatever joined it, is finished with this boundary and not before: a crash in between must find it owed.
    pub(super) async fn close_turn(&mut self, served: Option<SeqNum>, token: Option<String>) -> Result<SeqNum, Error> {
        let (settled, received) = self.input.with(|inbox| (inbox.settled_with(served), inbox.received()));
        let token = token.map(|token| Header::new(PUBLIC_ACCESS_TOKEN, token));
        let settled_header = settled.map(|settled| Header::new(SESSION_IN_EVENT_ID, settled.to_string()));
        let received = received.map(|received| Header::new(SESSION_IN_CONSUMED_ID, received.to_string()));
        let siblings = token.into_iter().chain(settled_header).chain(received);

        let seq_num = self.out.control(NewRecord::control(control::TURN_COMPLETE, siblings)).await?;
        self.input.with(|inbox| inbox.finish_turn(served));
        self.input.publish(settled);
        if let Some(keep_from) = self.boundaries.turn_completed(seq_num) {
            self.out.queue(NewRecord::trim(keep_from)).await?;
        }
        Ok(seq_num)
    }

    /// Stores the chain with the newest boundary; awaited, since a run may be frozen or end right after (A-108, AR-18). An author who
    /// keeps the history has no use for one.
    pub(super) async fn store_snapshot(&mut self) -> Result<(), Error> {
        if self.is_hydrated() {
            return Ok(());
        }
        let saved_at = self.host.clock().now().as_millis();
        let (settled, _) = self.input.cursors();
        let snapshot = ChatSnapshot::new(saved_at, self.chain.messages().to_vec(), self.boundaries.newest(), settled);
        match tokio::time::timeout(SNAPSHOT_LIMIT, self.link.write_snapshot(&snapshot)).await {
            Ok(Ok(())) => self.boundaries.snapshot_stored(),
            Ok(Err(Error::LeaseLost)) => return Err(Error::LeaseLost),
            Ok(Err(error)) => self.warn(format!("the chat snapshot was not stored: {error}")),
            Err(_) => self.warn(format!("the chat snapshot was not stored within {} s", SNAPSHOT_LIMIT.as_secs())),
        }
        Ok(())
    }
}

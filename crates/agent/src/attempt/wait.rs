//! Waiting for the next message: warm with the tail open, then asleep on a waitpoint (A-31…A-36).

use std::time::Duration;

use tokio::time::Instant;
use turnkeep_protocol::run_api::WaitOutcome;

use super::Attempt;
use crate::boot::replay::Owed;
use crate::error::Error;
use crate::link::DurableWait;

/// The rest after a wake that brought nothing, so that a server's mistake is not a busy loop.
const EMPTY_WAKE_PAUSE: Duration = Duration::from_secs(1);

impl Attempt {
    /// Waits with the tail open; a buffered record needs no waiting, whatever the idle time.
    pub(crate) async fn wait_warm(&mut self, idle: Duration) -> Result<Option<Owed>, Error> {
        let until = Instant::now() + idle;
        self.input.connect();
        loop {
            if self.input.is_draining() {
                return Ok(None);
            }
            if let Some(owed) = self.take_queued() {
                return Ok(Some(owed));
            }
            if self.input.is_session_closed() {
                return self.take_last().await;
            }
            tokio::select! {
                biased;
                () = self.input.arrived() => {}
                () = tokio::time::sleep_until(until) => return Ok(None),
            }
        }
    }

    /// Sleeps on a waitpoint; the wake says only that there is something to read (S-134).
    pub(crate) async fn sleep(&mut self, asleep: Duration) -> Result<Option<Owed>, Error> {
        let until = Instant::now() + asleep;
        // Nothing may come in behind the wait's back: it would be read twice (A-36, AR-7).
        self.input.disconnect();
        loop {
            // Looked at once more: the last record may have come between the look before and the disconnect.
            if let Some(owed) = self.take_queued() {
                return Ok(Some(owed));
            }
            if self.input.is_session_closed() {
                return self.take_last().await;
            }
            let limit = until.saturating_duration_since(Instant::now());
            if limit.is_zero() {
                return Ok(None);
            }
            let (consumed, settled) = self.input.with(|inbox| (inbox.wait_cursor(), inbox.settled()));
            let woken = tokio::select! {
                biased;
                () = self.input.draining() => return Ok(None),
                woken = self.link.wait(DurableWait { consumed, settled, limit }) => woken?,
            };
            match woken {
                WaitOutcome::TimedOut => return Ok(None),
                WaitOutcome::Closed => self.input.close_session(),
                WaitOutcome::Record => {
                    if self.read_on().await? == 0 {
                        tokio::time::sleep(EMPTY_WAKE_PAUSE).await;
                    }
                }
            }
        }
    }

    /// After a close nothing more comes; what came before it is still served (D-2).
    async fn take_last(&mut self) -> Result<Option<Owed>, Error> {
        self.read_on().await?;
        Ok(self.take_queued())
    }

    /// Reads what lies after the received cursor, through the same door as the tail; gives how much there was.
    async fn read_on(&mut self) -> Result<usize, Error> {
        let after = self.input.with(|inbox| inbox.received());
        let records = self.drain_in(after).await?;
        let n_records = records.len();
        for record in records {
            self.input.receive_drained(record);
        }
        Ok(n_records)
    }
}

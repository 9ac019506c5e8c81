//! Waiting for the next message: warm with the tail open, then asleep on a waitpoint (A-31…A-36).

use std::time::Duration;

use tokio::time::Instant;
use turnkeep_protocol::run_api::WaitOutcome;

use super::Attempt;
use crate::boot::replay::Owed;
use crate::checkpoint::Place;
use crate::custom::WaitOptions;
use crate::error::Error;
use crate::link::DurableWait;

/// The rest after a wake that brought nothing, so that a server's mistake is not a busy loop.
const EMPTY_WAKE_PAUSE: Duration = Duration::from_secs(1);

/// How long a run stays warm when neither the agent nor the payload says.
const DEFAULT_IDLE: Duration = Duration::from_secs(30);

/// The longest any wait lasts, whatever its settings say: far enough away for everyone, and a moment that a clock can name.
const LONGEST_WAIT: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// The longest idle time that a payload may ask for: a client must not hold a run warm for days. None at all sleeps at once.
const LONGEST_PAYLOAD_IDLE: Duration = Duration::from_secs(3600);

impl Attempt {
    /// Gives how long to stay warm: the author's word at run time, then the agent's, then the payload's.
    pub(crate) fn idle_timeout(&self, agents: Option<Duration>) -> Duration {
        self.idle_timeout_or(agents, DEFAULT_IDLE)
    }

    pub(super) fn idle_timeout_or(&self, agents: Option<Duration>, default: Duration) -> Duration {
        let payload = self.payload.idle_timeout_in_seconds;
        let payload = payload.map(|idle_s| Duration::from_secs(idle_s).min(LONGEST_PAYLOAD_IDLE));
        self.chat.idle_timeout().or(agents).or(payload).unwrap_or(default).min(LONGEST_WAIT)
    }

    /// Gives how long to sleep: the author's word at run time, then the agent's.
    pub(crate) fn turn_timeout(&self, agents: Duration) -> Duration {
        self.chat.turn_timeout().unwrap_or(agents).min(LONGEST_WAIT)
    }

    /// Waits for a message without any hooks; none when the run shall end.
    pub(crate) async fn wait_plainly(&mut self, options: WaitOptions) -> Result<Option<Owed>, Error> {
        let settled = self.input.with(|inbox| inbox.settled());
        self.input.publish(settled);
        if let Some(owed) = self.wait_warm(self.idle_timeout(options.idle_timeout)).await? {
            return Ok(Some(owed));
        }
        if self.input.is_session_closed() || self.input.is_draining() {
            return Ok(None);
        }
        self.gate.reach(Place::IdleEnd).await;
        // Work that was deferred must not freeze with the run (A-177, AR-40).
        self.chat.settle_deferred().await;
        let owed = self.sleep(self.turn_timeout(options.timeout)).await?;
        if owed.is_some() {
            self.input.connect();
        }
        Ok(owed)
    }

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
            self.task.waits().await?;
            let (consumed, settled) = self.input.with(|inbox| (inbox.wait_cursor(), inbox.settled()));
            let woken = tokio::select! {
                biased;
                () = self.input.draining() => return Ok(None),
                woken = self.link.wait(DurableWait { consumed, settled, limit }) => woken?,
            };
            self.task.resumes().await?;
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
    pub(super) async fn read_on(&mut self) -> Result<usize, Error> {
        let after = self.input.with(|inbox| inbox.received());
        let records = self.drain_in(after).await?;
        let n_records = records.len();
        for record in records {
            self.input.receive_drained(record);
        }
        Ok(n_records)
    }
}

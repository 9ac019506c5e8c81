//! The resumable event-stream reader: one logical subscription that may use many connections (C §2).
//!
//! ```text
//! bytes ──▶ Decoder ──▶ parts ──▶ next()
//! failures ──▶ Retries ──▶ wait and try again, or give up
//! ```
//!
//! [`Reader::next`] does all the work and only when it is asked, so nothing is read ahead beyond one network read (C-57). A
//! clean end of the body is an outcome of its own: whether it means "turn over" is the caller's decision (C-38).

mod connect;
mod control;
mod decode;
mod part;
mod policy;

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::time::{Instant, sleep_until};
use turnkeep_host::http::{BodyStream, HttpClient};
use turnkeep_host::{Draws, Host};
use turnkeep_protocol::SeqNum;

pub use self::connect::ReadOptions;
pub use self::control::ReaderHandle;
pub use self::part::Part;
pub use self::policy::RetryPolicy;
pub(crate) use self::policy::backoff;

use self::connect::{Connecting, Opened, ReadHead};
use self::decode::Decoder;
use self::policy::{Next, Retries};
use crate::Error;

/// Records between a cursor and what the server still has are gone (D-57).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HistoryGap {
    /// The cursor that was sent.
    pub cursor: SeqNum,
    /// The first record that can still be read.
    pub first_available: SeqNum,
}

/// Reads one channel from a cursor, in order, each record once.
#[derive(Debug)]
pub struct Reader {
    host: Host,
    http: Arc<HttpClient>,
    options: ReadOptions,
    draws: Draws,
    decoder: Decoder,
    retries: Retries,
    queue: VecDeque<Part>,
    phase: Phase,
    /// Told after the queue is empty.
    failure: Option<Error>,
    head: ReadHead,
    control: Arc<control::Control>,
}

/// Where the current attempt is.
#[derive(Debug)]
enum Phase {
    /// Nothing is under way; the next call opens a connection.
    Idle,
    /// Waiting for response headers.
    Connecting { attempt: Connecting, until: Instant },
    /// Reading a body. The stall deadline is set while a caller waits and cleared with each record (C-52, C-57).
    Reading { body: BodyStream, stall_at: Option<Instant> },
    /// Waiting before the next attempt.
    Backoff { until: Instant },
    /// The subscription has ended.
    Ended,
}

impl Reader {
    /// Makes a reader; nothing is requested before the first [`Reader::next`]. `draws` feeds the backoff's jitter.
    pub fn new(host: Host, http: Arc<HttpClient>, options: ReadOptions, draws: Draws) -> Self {
        Self {
            decoder: Decoder::new(options.cursor),
            retries: Retries::new(options.policy.clone()),
            host,
            http,
            options,
            draws,
            queue: VecDeque::new(),
            phase: Phase::Idle,
            failure: None,
            head: ReadHead::default(),
            control: Arc::default(),
        }
    }

    /// Waits for the next record; `None` is a clean end of body, or the end after [`ReaderHandle::cancel`].
    ///
    /// Cancel-safe: a dropped call loses nothing. Dropping the reader closes its connection at once (C-40).
    ///
    /// # Errors
    ///
    /// Ends the subscription: a final status (C-41, C-42) or exhausted retries (C-46).
    pub async fn next(&mut self) -> Result<Option<Part>, Error> {
        loop {
            if self.control.is_cancelled() {
                self.queue.clear();
                self.phase = Phase::Ended;
                return Ok(None);
            }
            if let Some(part) = self.queue.pop_front() {
                return Ok(Some(part));
            }
            if let Some(error) = self.failure.take() {
                return Err(error);
            }
            match &self.phase {
                Phase::Ended => return Ok(None),
                Phase::Idle => self.connect(),
                Phase::Connecting { .. } => self.wait_for_headers().await,
                Phase::Reading { .. } => self.read().await,
                Phase::Backoff { until } => self.wait_out(*until).await,
            }
        }
    }

    /// Opens the subscription again after it has ended, from the last decoded record (C-93). Known ids stay known (C-35).
    pub fn resubscribe(&mut self) {
        self.retries = Retries::new(self.options.policy.clone());
        self.phase = Phase::Idle;
        self.failure = None;
    }

    /// Replaces the bearer token for every later attempt (C-139).
    pub fn set_token(&mut self, token: impl Into<String>) {
        self.options.token = token.into().into();
    }

    /// Tells whether the newest response said that the session is settled: its end of body is final (C-36).
    pub fn session_settled(&self) -> bool {
        self.head.settled
    }

    /// Gives the gap that the newest response reported, once (D-57).
    pub fn take_history_gap(&mut self) -> Option<HistoryGap> {
        self.head.gap.take()
    }

    /// Gives the tail that replaced a cursor past it in the newest response (D-57).
    pub fn clamped_cursor(&self) -> Option<SeqNum> {
        self.head.clamped
    }

    /// Gives the seq_num of the last decoded record of any kind, or the starting cursor (C-32, C-37).
    pub fn cursor(&self) -> Option<SeqNum> {
        self.decoder.cursor()
    }

    /// Gives the handle that reaches into a running [`Reader::next`] from elsewhere.
    pub fn handle(&self) -> ReaderHandle {
        ReaderHandle::new(self.control.clone())
    }

    fn connect(&mut self) {
        // There is no attempt yet that a forced drop could mean.
        self.control.take_force();
        let call = self.options.call(self.decoder.last_event_id());
        match call.request() {
            Ok(request) => {
                let attempt = Connecting::start(self.http.clone(), request);
                let until = Instant::now() + self.retries.policy().fetch_timeout;
                self.phase = Phase::Connecting { attempt, until };
            }
            Err(error) => self.fail(error, false),
        }
    }

    async fn wait_for_headers(&mut self) {
        let Phase::Connecting { attempt, until } = &mut self.phase else { return };
        let opened = tokio::select! {
            biased;
            () = self.control.interrupted() => Err(Error::Dropped),
            opened = attempt.opened() => opened,
            () = sleep_until(*until) => Err(timed_out("response headers", self.retries.policy().fetch_timeout)),
        };
        if self.control.is_cancelled() {
            return;
        }
        match opened {
            Ok(Opened { head, version, body }) => {
                self.head = head.for_cursor(self.decoder.cursor());
                self.decoder.begin(version);
                self.phase = Phase::Reading { body, stall_at: None };
            }
            Err(error) => self.fail(error, false),
        }
    }

    async fn read(&mut self) {
        let Phase::Reading { body, stall_at } = &mut self.phase else { return };
        let stall = self.retries.policy().stall_timeout;
        if stall_at.is_none() {
            *stall_at = stall.map(|limit| Instant::now() + limit);
        }
        let bytes = tokio::select! {
            biased;
            () = self.control.interrupted() => {
                if !self.control.is_cancelled() {
                    self.fail(Error::Dropped, false);
                }
                return;
            }
            bytes = body.next_chunk() => bytes,
            () = until(*stall_at) => {
                self.fail(timed_out("record", stall.unwrap_or_default()), true);
                return;
            }
        };
        match bytes {
            None => self.phase = Phase::Ended,
            Some(Err(error)) => self.fail(error.into(), false),
            Some(Ok(bytes)) => self.decode(&bytes),
        }
    }

    fn decode(&mut self, bytes: &[u8]) {
        let decoded = match self.decoder.push(bytes, self.host.clock().now().as_millis()) {
            Ok(decoded) => decoded,
            Err(error) => return self.fail(error, false),
        };
        if decoded.n_records > 0 {
            self.retries.on_record();
            if let Phase::Reading { stall_at, .. } = &mut self.phase {
                *stall_at = None;
            }
        }
        self.queue.extend(decoded.parts);
        if let Some(message) = decoded.broken {
            self.fail(Error::StreamBroken { message }, false);
        }
    }

    async fn wait_out(&mut self, until: Instant) {
        self.control.set_waiting(true);
        tokio::select! {
            biased;
            () = self.control.hurried() => {}
            () = sleep_until(until) => {}
        }
        self.control.set_waiting(false);
        self.phase = Phase::Idle;
    }

    /// Drops the attempt, and lets the policy decide what follows.
    fn fail(&mut self, error: Error, is_stall: bool) {
        self.control.take_force();
        self.phase = match self.retries.on_failure(error, is_stall, self.draws.unit()) {
            Next::Retry { after } => {
                self.control.set_waiting(true);
                Phase::Backoff { until: Instant::now() + after }
            }
            Next::GiveUp(error) => {
                self.failure = Some(error);
                Phase::Ended
            }
        };
    }
}

fn timed_out(awaited: &'static str, limit: std::time::Duration) -> Error {
    Error::TimedOut { awaited, limit_ms: u64::try_from(limit.as_millis()).unwrap_or(u64::MAX) }
}

async fn until(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}

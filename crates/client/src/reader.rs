//! The resumable event-stream reader: one logical subscription that may use many connections (C §2).
//!
//! ```text
//! bytes ──▶ Decoder ──▶ parts ──▶ next()
//! failures ──▶ Retries ──▶ wait and try again, or give up
//! ```
//!
//! [`Reader::next`] does all the work and only when it is asked, so nothing is read ahead beyond one network read (C-57). A
//! clean end of the body is an outcome of its own: whether it means "turn over" is the caller's decision (C-38).

#[cfg(feature = "decode")]
mod attack;
mod attempt;
#[cfg(feature = "decode")]
mod body;
mod connect;
mod control;
mod decode;
mod hooks;
mod options;
mod part;
mod policy;
mod window;

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use http::HeaderMap;
use tokio::time::Instant;
use turnkeep_host::http::{BaseUrl, BodyStream};
use turnkeep_host::{Draws, Host};
use turnkeep_protocol::SeqNum;

#[cfg(feature = "decode")]
pub use self::attack::{attack_frames, attack_records};
#[cfg(feature = "decode")]
pub use self::body::BodyDecoder;
pub use self::control::ReaderHandle;
pub(crate) use self::hooks::quietly;
pub use self::options::{OnComplete, OnError, ReadOptions, ResolveHeaders};
pub use self::part::Part;
pub(crate) use self::policy::backoff;
pub use self::policy::{RetryPolicy, StallBudget};

use self::connect::{Connecting, ReadHead};
use self::decode::Decoder;
use self::hooks::Hooks;
use self::policy::Retries;
use crate::route::Route;
use crate::{CallbackError, Error};

/// Records between a cursor and what the server still has are gone (D-57).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HistoryGap {
    /// The cursor that was sent.
    pub cursor: SeqNum,
    /// The first record that can still be read.
    pub first_available: SeqNum,
}

/// What a subscription gave.
#[derive(Debug)]
pub(crate) enum Read {
    /// A record.
    Part(Part),
    /// Everything that the server had when it was first asked has been given; once a reader.
    CaughtUp,
    /// The clean end.
    End,
}

/// Reads one channel from a cursor, in order, each record once.
pub struct Reader {
    host: Host,
    route: Route,
    options: ReadOptions,
    draws: Draws,
    decoder: Decoder,
    retries: Retries,
    queue: VecDeque<Part>,
    phase: Phase,
    /// Told after the queue is empty.
    failure: Option<Error>,
    head: ReadHead,
    hooks: Hooks,
    /// What the last resolution gave.
    fresh: HeaderMap,
    /// Headers were resolved and no record has come since: a second refusal is final.
    is_resolved: bool,
    has_told_caught_up: bool,
    control: Arc<control::Control>,
}

/// Where the current attempt is.
enum Phase {
    /// Nothing is under way; the next call opens a connection.
    Idle,
    /// Waiting for the caller's fresh headers (C-42).
    Resolving(BoxFuture<'static, Result<HeaderMap, CallbackError>>),
    /// Waiting for response headers.
    Connecting { attempt: Connecting, until: Instant },
    /// Reading a body. The stall deadline is set while a caller waits and cleared with each record (C-52, C-57).
    Reading {
        body: BodyStream,
        stall_at: Option<Instant>,
        /// When something that is no record came last.
        last_sign: Option<Instant>,
        /// When the last wait for bytes ended.
        left_at: Option<Instant>,
    },
    /// Waiting before the next attempt.
    Backoff { until: Instant },
    /// The subscription has ended.
    Ended,
}

impl Reader {
    /// Makes a reader of the server at `base`; nothing is requested before the first [`Reader::next`]. `draws` feeds the
    /// backoff's jitter.
    pub fn new(host: Host, base: BaseUrl, options: ReadOptions, draws: Draws) -> Self {
        let route = Route::to(host.clone(), base);
        route.set_fetch(options.fetch.clone());
        Self::over(host, route, options, draws)
    }

    /// Makes a reader on a route that others use too.
    pub(crate) fn over(host: Host, route: Route, options: ReadOptions, draws: Draws) -> Self {
        Self {
            decoder: Decoder::new(options.cursor),
            retries: Retries::new(options.policy.clone()),
            hooks: Hooks::new(options.on_complete.clone(), options.on_error.clone()),
            host,
            route,
            options,
            draws,
            queue: VecDeque::new(),
            phase: Phase::Idle,
            failure: None,
            head: ReadHead::default(),
            fresh: HeaderMap::new(),
            is_resolved: false,
            has_told_caught_up: false,
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
            match self.read_next().await? {
                Read::Part(part) => return Ok(Some(part)),
                Read::CaughtUp => {}
                Read::End => return Ok(None),
            }
        }
    }

    /// Does what [`Reader::next`] does, and tells where the backlog ends.
    pub(crate) async fn read_next(&mut self) -> Result<Read, Error> {
        loop {
            if self.control.is_cancelled() {
                self.queue.clear();
                self.end();
                return Ok(Read::End);
            }
            if let Some(part) = self.queue.pop_front() {
                return Ok(Read::Part(part));
            }
            if !self.has_told_caught_up && self.decoder.is_caught_up() {
                self.has_told_caught_up = true;
                return Ok(Read::CaughtUp);
            }
            if let Some(error) = self.failure.take() {
                return Err(error);
            }
            match &self.phase {
                Phase::Ended => return Ok(Read::End),
                Phase::Idle => self.connect(),
                Phase::Resolving(_) => self.resolve().await,
                Phase::Connecting { .. } => self.wait_for_headers().await,
                Phase::Reading { .. } => self.read().await,
                Phase::Backoff { until } => self.wait_out(*until).await,
            }
        }
    }

    /// Opens the subscription again after it has ended, from the last decoded record (C-93). Known ids stay known (C-35).
    pub fn resubscribe(&mut self) {
        self.resubscribe_after(Duration::ZERO);
    }

    /// Opens the subscription again after a wait, which [`ReaderHandle::retry_now`] ends like any backoff (C-94, C-135).
    pub fn resubscribe_after(&mut self, wait: Duration) {
        self.retries = Retries::new(self.options.policy.clone());
        self.failure = None;
        // A subscription may ask for fresh headers once of its own, also when the one before brought nothing (C-97).
        self.is_resolved = false;
        self.hooks.begin();
        if wait.is_zero() {
            self.phase = Phase::Idle;
        } else {
            self.wait(wait);
        }
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
}

impl Drop for Reader {
    /// The consumer's cancel: the connection closes with the fields (C-40, C-55).
    fn drop(&mut self) {
        self.hooks.complete();
    }
}

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader").field("options", &self.options).field("cursor", &self.cursor()).finish_non_exhaustive()
    }
}

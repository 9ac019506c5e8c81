//! The life of one attempt: resolve, connect, read, fail, wait.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, sleep_until};

use super::connect::{Connecting, Opened};
use super::policy::{Failure, Next};
use super::{Phase, Reader};
use crate::{CallbackError, Error};

impl Reader {
    pub(super) fn connect(&mut self) {
        // There is no attempt yet that a forced drop could mean.
        self.control.take_force();
        let call = self.options.call(self.decoder.last_event_id(), &self.fresh);
        match Connecting::start(&self.route, &call) {
            Ok(attempt) => {
                let until = Instant::now() + self.retries.policy().fetch_timeout;
                self.phase = Phase::Connecting { attempt, until };
            }
            Err(error) => self.fail(error, Failure::Other),
        }
    }

    pub(super) async fn resolve(&mut self) {
        let Phase::Resolving(resolving) = &mut self.phase else { return };
        let resolved = tokio::select! {
            biased;
            () = self.control.cancelled() => return,
            resolved = resolving => resolved,
        };
        match resolved {
            Ok(fresh) => {
                self.fresh = fresh;
                self.phase = Phase::Idle;
            }
            Err(error) => self.give_up(own_error(error)),
        }
    }

    pub(super) async fn wait_for_headers(&mut self) {
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
                let cursor = self.decoder.cursor();
                self.head = head.for_cursor(cursor);
                if let (true, Some(cursor), Some(tail)) = (self.options.ends_past_the_tail, cursor, self.head.clamped) {
                    return self.give_up(Error::CursorPastTail { cursor, tail });
                }
                self.decoder.begin(version);
                self.phase = Phase::Reading { body, stall_at: None, last_sign: None, left_at: None };
            }
            Err(error) => self.fail(error, Failure::Other),
        }
    }

    pub(super) async fn read(&mut self) {
        let Phase::Reading { body, stall_at, last_sign, left_at } = &mut self.phase else { return };
        let stall = self.retries.policy().stall_timeout;
        let now = Instant::now();
        *stall_at = match (*stall_at, left_at.take()) {
            // While nobody asked, the consumer was the slow side (C-57).
            (Some(at), Some(left)) => Some(at + (now - left)),
            (None, _) => stall.map(|limit| now + limit),
            (at, None) => at,
        };
        let leaving = Leaving(left_at);
        let came = tokio::select! {
            biased;
            () = self.control.interrupted() => Came::Interrupted,
            bytes = body.next_chunk() => Came::Bytes(bytes),
            () = until(*stall_at) => Came::Stall { last_sign: *last_sign },
        };
        drop(leaving);
        match came {
            Came::Interrupted if self.control.is_cancelled() => {}
            Came::Interrupted => self.fail(Error::Dropped, Failure::Other),
            Came::Stall { last_sign } => {
                let limit = stall.unwrap_or_default();
                // A server says something every few seconds: one that was heard at the beginning alone is there no more.
                let is_quiet = last_sign.is_some_and(|at| at.elapsed() <= limit / 2);
                let failure = if is_quiet { Failure::QuietStall } else { Failure::DeadStall };
                self.fail(timed_out("record", limit), failure);
            }
            Came::Bytes(None) => self.end(),
            Came::Bytes(Some(Err(error))) => self.fail(error.into(), Failure::Other),
            Came::Bytes(Some(Ok(bytes))) => {
                *last_sign = Some(Instant::now());
                self.decode(&bytes);
            }
        }
    }

    fn decode(&mut self, bytes: &[u8]) {
        let decoded = match self.decoder.push(bytes, self.host.clock().now().as_millis()) {
            Ok(decoded) => decoded,
            Err(error) => return self.fail(error, Failure::Other),
        };
        if decoded.n_records > 0 {
            self.retries.on_record();
            self.is_resolved = false;
            if let Phase::Reading { stall_at, last_sign, .. } = &mut self.phase {
                *stall_at = None;
                *last_sign = None;
            }
        }
        self.queue.extend(decoded.parts);
        if let Some(message) = decoded.broken {
            self.fail(Error::StreamBroken { message }, Failure::Other);
        }
    }

    pub(super) async fn wait_out(&mut self, until: Instant) {
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
    fn fail(&mut self, error: Error, failure: Failure) {
        self.control.take_force();
        self.hooks.attempt_failed(&error);
        if error.is_auth()
            && !self.is_resolved
            && let Some(resolve) = &self.options.resolve_headers
        {
            self.is_resolved = true;
            self.phase = Phase::Resolving(resolve());
            return;
        }
        match self.retries.on_failure(error, failure, self.draws.unit()) {
            Next::Retry { after } => self.wait(after),
            Next::GiveUp(error) => self.give_up(error),
        }
    }

    pub(super) fn wait(&mut self, wait: Duration) {
        self.control.set_waiting(true);
        self.phase = Phase::Backoff { until: Instant::now() + wait };
    }

    fn give_up(&mut self, error: Error) {
        self.hooks.gave_up(&error);
        self.failure = Some(error);
        self.phase = Phase::Ended;
    }

    pub(super) fn end(&mut self) {
        self.phase = Phase::Ended;
        self.hooks.complete();
    }
}

/// What ended a wait for bytes.
enum Came {
    Interrupted,
    Bytes(Option<Result<Bytes, turnkeep_host::http::Error>>),
    Stall { last_sign: Option<Instant> },
}

/// Notes when a wait for bytes is over, also when it is dropped.
struct Leaving<'a>(&'a mut Option<Instant>);

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        *self.0 = Some(Instant::now());
    }
}

/// Keeps an error of ours that came back through a callback of ours.
fn own_error(error: CallbackError) -> Error {
    match error.downcast::<Error>() {
        Ok(own) => *own,
        Err(error) => Error::Callback { callback: "resolveHeaders", message: error.to_string() },
    }
}

fn timed_out(awaited: &'static str, limit: Duration) -> Error {
    Error::TimedOut { awaited, limit_ms: u64::try_from(limit.as_millis()).unwrap_or(u64::MAX) }
}

async fn until(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}

//! What a reader is told: where to start, as whom, how patiently, and who hears of it (C §2's option table).

use std::fmt;
use std::sync::Arc;

use futures::future::BoxFuture;
use http::{HeaderMap, HeaderName};
use turnkeep_protocol::{ChannelName, SeqNum};

use super::RetryPolicy;
use crate::api::{Call, Secret, channel_path};
use crate::route::{Fetch, FetchContext, HeadersFor};
use crate::{CallbackError, Error};

/// The shortest and the longest read window that a server takes, in seconds (C-24).
const WINDOW_SECONDS: (u32, u32) = (1, 600);

/// Headers of the subscription itself, which nobody else may set (C-25, C-59, C-100).
const OWN_HEADERS: [&str; 4] = ["accept", "last-event-id", "timeout-seconds", "x-peek-settled"];

/// Gives fresh headers after a 401 or 403, for example a new `Authorization` (`resolveHeaders`, C-42).
pub type ResolveHeaders = Arc<dyn Fn() -> BoxFuture<'static, Result<HeaderMap, CallbackError>> + Send + Sync>;

/// Hears that a subscription has ended without an error (`onComplete`, C-55).
pub type OnComplete = Arc<dyn Fn() + Send + Sync>;

/// Hears of refusals and of exhausted retries (`onError`, C-56).
pub type OnError = Arc<dyn Fn(&Error) + Send + Sync>;

/// Gives the bearer token of each attempt.
type TokenFor = Arc<dyn Fn() -> Secret + Send + Sync>;

/// What to read, as whom, and how patiently.
#[derive(Clone)]
pub struct ReadOptions {
    pub(super) session: String,
    pub(super) channel: ChannelName,
    token: TokenFor,
    pub(super) cursor: Option<SeqNum>,
    timeout_seconds: Option<u32>,
    peek_settled: bool,
    pub(super) ends_past_the_tail: bool,
    headers: Option<HeadersFor>,
    pub(super) policy: RetryPolicy,
    pub(super) fetch: Option<Fetch>,
    pub(super) resolve_headers: Option<ResolveHeaders>,
    pub(super) on_complete: Option<OnComplete>,
    pub(super) on_error: Option<OnError>,
}

impl ReadOptions {
    /// Reads `channel` of `session` (chat id or `session_…` id) from the earliest record, with a bearer token.
    pub fn new(session: impl Into<String>, channel: ChannelName, token: impl Into<String>) -> Self {
        let token = Secret::from(token.into());
        Self::with_token(session.into(), channel, Arc::new(move || token.clone()))
    }

    /// Reads with the token that is the current one at each attempt.
    pub(crate) fn with_token(session: String, channel: ChannelName, token: TokenFor) -> Self {
        Self {
            session,
            channel,
            token,
            cursor: None,
            timeout_seconds: None,
            peek_settled: false,
            ends_past_the_tail: false,
            headers: None,
            policy: RetryPolicy::default(),
            fetch: None,
            resolve_headers: None,
            on_complete: None,
            on_error: None,
        }
    }

    /// Starts after the record at `cursor` (`lastEventId`); none starts at the earliest.
    #[must_use]
    pub fn after(self, cursor: Option<SeqNum>) -> Self {
        Self { cursor, ..self }
    }

    /// Asks for a read window of so many seconds (`timeoutInSeconds`); 1 to 600, and the nearest of them otherwise (C-24).
    #[must_use]
    pub fn timeout_seconds(self, seconds: u32) -> Self {
        let (shortest, longest) = WINDOW_SECONDS;
        Self { timeout_seconds: Some(seconds.clamp(shortest, longest)), ..self }
    }

    /// Asks the server to end a settled read at once; only for resuming (C-23, C-100).
    #[must_use]
    pub fn peek_settled(self) -> Self {
        Self { peek_settled: true, ..self }
    }

    /// Ends with [`Error::CursorPastTail`] when the server's records end before the cursor (D-57); without this it reads on at their end.
    #[must_use]
    pub fn end_past_the_tail(self) -> Self {
        Self { ends_past_the_tail: true, ..self }
    }

    /// Adds the caller's own headers; the fixed ones win (C-59).
    #[must_use]
    pub fn headers(self, headers: HeaderMap) -> Self {
        self.headers_for(Arc::new(move |_| headers.clone()))
    }

    /// Asks for the caller's own headers at every attempt (C-25); the fixed ones win (C-59).
    #[must_use]
    pub fn headers_for(self, headers: HeadersFor) -> Self {
        Self { headers: Some(headers), ..self }
    }

    /// Sets how failures are treated.
    #[must_use]
    pub fn policy(self, policy: RetryPolicy) -> Self {
        Self { policy, ..self }
    }

    /// Shows every request to `fetch`, which may change it (`fetchClient`).
    #[must_use]
    pub fn fetch(self, fetch: Fetch) -> Self {
        Self { fetch: Some(fetch), ..self }
    }

    /// Asks for fresh headers after a 401 or 403 and tries again at once; a second such failure before any record is final.
    ///
    /// They win over the token and [`ReadOptions::headers`] for the rest of the subscription. A failing callback ends it.
    #[must_use]
    pub fn resolve_headers(self, resolve: ResolveHeaders) -> Self {
        Self { resolve_headers: Some(resolve), ..self }
    }

    /// Hears of the end: at most once a subscription, on a clean end, a cancel or the reader's drop, never after an error (C-55).
    #[must_use]
    pub fn on_complete(self, heard: OnComplete) -> Self {
        Self { on_complete: Some(heard), ..self }
    }

    /// Hears of every response with a failing status or without a body, and of exhausted retries; of nothing else (C-56).
    #[must_use]
    pub fn on_error(self, heard: OnError) -> Self {
        Self { on_error: Some(heard), ..self }
    }

    /// Builds one attempt's request from the current cursor (C-25); `fresh` are the headers of the last resolution.
    pub(super) fn call(&self, last_event_id: Option<String>, fresh: &HeaderMap) -> Call {
        let context = FetchContext { endpoint: self.channel.into(), chat_id: self.session.clone() };
        let extra = self.headers.as_ref().map(|headers| foreign(headers(&context))).unwrap_or_default();
        let mut call = Call::get(context, channel_path(&self.session, self.channel))
            .accept("text/event-stream")
            .bearer(&(self.token)());
        if let Some(id) = last_event_id {
            call = call.header(HeaderName::from_static("last-event-id"), &id);
        }
        if let Some(seconds) = self.timeout_seconds {
            call = call.header(HeaderName::from_static("timeout-seconds"), &seconds.to_string());
        }
        // Peeking is decided here and nowhere else (C-59, C-100).
        if self.peek_settled {
            call = call.header(HeaderName::from_static("x-peek-settled"), "1");
        }
        call.under(&extra).over(&foreign(fresh.clone()))
    }
}

/// Leaves out what only the subscription may say.
fn foreign(mut headers: HeaderMap) -> HeaderMap {
    for name in OWN_HEADERS {
        headers.remove(name);
    }
    headers
}

impl fmt::Debug for ReadOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReadOptions")
            .field("session", &self.session)
            .field("channel", &self.channel)
            .field("cursor", &self.cursor)
            .field("peek_settled", &self.peek_settled)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderValue, Request};

    use super::*;

    fn options() -> ReadOptions {
        ReadOptions::new("chat 1", ChannelName::Out, "token")
    }

    fn request(options: &ReadOptions, cursor: Option<&str>, fresh: &HeaderMap) -> Request<bytes::Bytes> {
        let call = options.call(cursor.map(str::to_owned), fresh);
        call.request(&"http://session".parse().unwrap()).unwrap()
    }

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn each_request_is_built_from_the_current_cursor_c25() {
        let first = request(&options(), None, &HeaderMap::new());
        let later = request(&options().timeout_seconds(120), Some("0"), &HeaderMap::new());

        assert_eq!(first.uri(), "http://session:80/realtime/v1/sessions/chat%201/out");
        assert_eq!(first.headers()["accept"], "text/event-stream");
        assert_eq!(first.headers()["authorization"], "Bearer token");
        assert!(!first.headers().contains_key("last-event-id") && !first.headers().contains_key("timeout-seconds"));
        assert_eq!(later.headers()["last-event-id"], "0");
        assert_eq!(later.headers()["timeout-seconds"], "120");
    }

    #[test]
    fn a_window_is_always_one_that_the_server_takes_c24() {
        for (asked, want) in [(0, "1"), (1, "1"), (600, "600"), (601, "600")] {
            let request = request(&options().timeout_seconds(asked), None, &HeaderMap::new());
            assert_eq!(request.headers()["timeout-seconds"], want);
        }
    }

    #[test]
    fn only_the_option_can_ask_to_peek_c59_c100_cr1() {
        let extra = headers(&[("x-peek-settled", "1"), ("authorization", "theirs"), ("last-event-id", "9")]);

        let plain = request(&options().headers(extra.clone()), None, &extra);
        let peeking = request(&options().peek_settled(), None, &HeaderMap::new());

        assert!(!plain.headers().contains_key("x-peek-settled") && !plain.headers().contains_key("last-event-id"));
        assert_eq!(peeking.headers()["x-peek-settled"], "1");
    }

    #[test]
    fn the_token_wins_over_the_callers_headers_and_resolved_ones_win_over_both_c42_c59() {
        let theirs = options().headers(headers(&[("authorization", "theirs"), ("x-tenant", "a")]));
        let fresh = headers(&[("authorization", "Bearer fresh"), ("x-tenant", "b")]);

        let before = request(&theirs, None, &HeaderMap::new());
        let after = request(&theirs, None, &fresh);

        assert_eq!(
            (&before.headers()["authorization"], &before.headers()["x-tenant"]),
            (&"Bearer token".parse().unwrap(), &"a".parse().unwrap())
        );
        assert_eq!(
            (&after.headers()["authorization"], &after.headers()["x-tenant"]),
            (&"Bearer fresh".parse().unwrap(), &"b".parse().unwrap())
        );
    }
}

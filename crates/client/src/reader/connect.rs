//! One attempt: the request, the response's head, and the refusal when there is one.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use futures::future::BoxFuture;
use http::{HeaderMap, HeaderName, Request, Response};
use turnkeep_host::http::{BodyStream, HttpClient};
use turnkeep_protocol::{ChannelName, SeqNum};

use super::decode::Version;
use super::{HistoryGap, RetryPolicy};
use crate::api::{Call, Secret, channel_path};
use crate::{Error, Refused};

/// How much of a refusal's body is read.
const MAX_REFUSAL_BYTES: usize = 64 * 1024;

/// What to read, as whom, and how patiently.
#[derive(Clone, Debug)]
pub struct ReadOptions {
    pub(crate) session: String,
    pub(crate) channel: ChannelName,
    pub(crate) token: Secret,
    pub(crate) cursor: Option<SeqNum>,
    pub(crate) timeout_seconds: Option<u32>,
    pub(crate) peek_settled: bool,
    pub(crate) headers: HeaderMap,
    pub(crate) policy: RetryPolicy,
}

impl ReadOptions {
    /// Reads `channel` of `session` (chat id or `session_…` id) from the earliest record, with a bearer token.
    pub fn new(session: impl Into<String>, channel: ChannelName, token: impl Into<String>) -> Self {
        Self {
            session: session.into(),
            channel,
            token: token.into().into(),
            cursor: None,
            timeout_seconds: None,
            peek_settled: false,
            headers: HeaderMap::new(),
            policy: RetryPolicy::default(),
        }
    }

    /// Starts after the record at `cursor`; none starts at the earliest.
    #[must_use]
    pub fn after(self, cursor: Option<SeqNum>) -> Self {
        Self { cursor, ..self }
    }

    /// Asks for a read window of so many seconds, 1 to 600 (C-24).
    #[must_use]
    pub fn timeout_seconds(self, seconds: u32) -> Self {
        Self { timeout_seconds: Some(seconds), ..self }
    }

    /// Asks the server to end a settled read at once; only for resuming (C-23, C-100).
    #[must_use]
    pub fn peek_settled(self) -> Self {
        Self { peek_settled: true, ..self }
    }

    /// Adds the caller's own headers; the fixed ones win (C-59).
    #[must_use]
    pub fn headers(self, headers: HeaderMap) -> Self {
        Self { headers, ..self }
    }

    /// Sets how failures are treated.
    #[must_use]
    pub fn policy(self, policy: RetryPolicy) -> Self {
        Self { policy, ..self }
    }

    /// Builds one attempt's request from the current cursor (C-25).
    pub(super) fn call(&self, last_event_id: Option<String>) -> Call {
        let mut call =
            Call::get(channel_path(&self.session, self.channel)).accept("text/event-stream").bearer(&self.token);
        if let Some(id) = last_event_id {
            call = call.header(HeaderName::from_static("last-event-id"), &id);
        }
        if let Some(seconds) = self.timeout_seconds {
            call = call.header(HeaderName::from_static("timeout-seconds"), &seconds.to_string());
        }
        let mut extra = self.headers.clone();
        // Peeking is decided here and nowhere else (C-59, C-100).
        extra.remove("x-peek-settled");
        if self.peek_settled {
            call = call.header(HeaderName::from_static("x-peek-settled"), "1");
        }
        call.under(&extra)
    }
}

/// What a response's headers said about the session.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ReadHead {
    pub(super) settled: bool,
    pub(super) gap: Option<HistoryGap>,
    pub(super) clamped: Option<SeqNum>,
    first_available: Option<SeqNum>,
}

impl ReadHead {
    fn read(headers: &HeaderMap) -> Self {
        let seq_num = |name: &str| headers.get(name).and_then(|value| SeqNum::parse_cursor(value.to_str().ok()?));
        Self {
            settled: headers.get("x-session-settled").is_some_and(|value| value == "true"),
            gap: None,
            clamped: seq_num("x-clamped-cursor"),
            first_available: seq_num("x-first-available-seq"),
        }
    }

    /// Names the gap between the cursor that was sent and what the server still has (D-57).
    pub(super) fn for_cursor(mut self, cursor: Option<SeqNum>) -> Self {
        if let (Some(cursor), Some(first_available)) = (cursor, self.first_available)
            && cursor.next() < first_available
        {
            self.gap = Some(HistoryGap { cursor, first_available });
        }
        self
    }
}

/// A response that can be read.
pub(super) struct Opened {
    pub(super) head: ReadHead,
    pub(super) version: Version,
    pub(super) body: BodyStream,
}

/// A request on its way; dropping it drops the connection.
pub(super) struct Connecting(BoxFuture<'static, Result<Opened, Error>>);

impl Connecting {
    pub(super) fn start(http: Arc<HttpClient>, request: Request<Bytes>) -> Self {
        Self(Box::pin(async move {
            let response = http.open(request).await?;
            if !response.status().is_success() {
                return Err(refusal(response).await);
            }
            let (parts, body) = response.into_parts();
            let version = parts.headers.get("x-stream-version").and_then(|value| value.to_str().ok());
            Ok(Opened { head: ReadHead::read(&parts.headers), version: Version::from_header(version), body })
        }))
    }

    /// Waits for the response; cancel-safe.
    pub(super) async fn opened(&mut self) -> Result<Opened, Error> {
        (&mut self.0).await
    }
}

impl fmt::Debug for Connecting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Connecting")
    }
}

async fn refusal(response: Response<BodyStream>) -> Error {
    let (parts, mut body) = response.into_parts();
    let mut text = Vec::new();
    while let Some(Ok(bytes)) = body.next_chunk().await {
        text.extend_from_slice(&bytes);
        if text.len() > MAX_REFUSAL_BYTES {
            break;
        }
    }
    let refused = Refused::read(parts.status, &parts.headers, &text);
    if refused.is_session_closed() {
        return Error::SessionClosed { reason: refused.closed_reason };
    }
    Error::Refused { refused }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options() -> ReadOptions {
        ReadOptions::new("chat 1", ChannelName::Out, "token")
    }

    #[test]
    fn each_request_is_built_from_the_current_cursor_c25() {
        let first = options().call(None).request().unwrap();
        let later = options().timeout_seconds(120).call(Some("0".to_owned())).request().unwrap();

        assert_eq!(first.uri(), "/realtime/v1/sessions/chat%201/out");
        assert_eq!(first.headers()["accept"], "text/event-stream");
        assert_eq!(first.headers()["authorization"], "Bearer token");
        assert!(!first.headers().contains_key("last-event-id") && !first.headers().contains_key("timeout-seconds"));
        assert_eq!(later.headers()["last-event-id"], "0");
        assert_eq!(later.headers()["timeout-seconds"], "120");
    }

    #[test]
    fn only_the_option_can_ask_to_peek_c59_c100_cr1() {
        let mut extra = HeaderMap::new();
        extra.insert("x-peek-settled", http::HeaderValue::from_static("1"));
        extra.insert("authorization", http::HeaderValue::from_static("theirs"));

        let plain = options().headers(extra).call(None).request().unwrap();
        let peeking = options().peek_settled().call(None).request().unwrap();

        assert!(!plain.headers().contains_key("x-peek-settled"));
        assert_eq!(plain.headers()["authorization"], "Bearer token");
        assert_eq!(peeking.headers()["x-peek-settled"], "1");
    }

    #[test]
    fn settled_needs_exactly_true_c36() {
        for (value, want) in [("true", true), ("1", false), ("True", false), ("false", false)] {
            let mut headers = HeaderMap::new();
            headers.insert("x-session-settled", http::HeaderValue::from_static(value));
            assert_eq!(ReadHead::read(&headers).settled, want, "{value}");
        }
        assert!(!ReadHead::read(&HeaderMap::new()).settled);
    }

    #[test]
    fn a_gap_is_named_only_when_records_are_missing_d57() {
        let mut headers = HeaderMap::new();
        headers.insert("x-first-available-seq", http::HeaderValue::from_static("7"));
        let gap = |cursor: Option<u64>| ReadHead::read(&headers).for_cursor(cursor.map(SeqNum::new)).gap;

        assert_eq!(gap(Some(5)), Some(HistoryGap { cursor: SeqNum::new(5), first_available: SeqNum::new(7) }));
        assert_eq!(gap(Some(6)), None, "the record after the cursor is there");
        assert_eq!(gap(None), None);
    }
}

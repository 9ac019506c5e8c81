//! One attempt: the request, the response's head, and the refusal when there is one.

use std::fmt;

use futures::future::BoxFuture;
use http::{HeaderMap, Response, StatusCode};
use turnkeep_host::http::BodyStream;
use turnkeep_protocol::SeqNum;

use super::HistoryGap;
use super::decode::Version;
use crate::api::Call;
use crate::route::Route;
use crate::{Error, Refused};

/// How much of a refusal's body is read.
const MAX_REFUSAL_BYTES: usize = 64 * 1024;

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
    pub(super) fn start(route: &Route, call: &Call) -> Result<Self, Error> {
        let opening = route.open(call)?;
        Ok(Self(Box::pin(async move {
            let response = opening.await?;
            if !response.status().is_success() {
                return Err(refusal(response).await);
            }
            if matches!(response.status(), StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT) {
                return Err(Error::NoBody { status: response.status().as_u16() });
            }
            let (parts, body) = response.into_parts();
            let version = parts.headers.get("x-stream-version").and_then(|value| value.to_str().ok());
            Ok(Opened { head: ReadHead::read(&parts.headers), version: Version::from_header(version), body })
        })))
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

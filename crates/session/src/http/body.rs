//! Request bodies: bounded, and read only after the caller is known (S-191).

use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http::{HeaderMap, StatusCode, header};
use http_body::Body as _;
use http_body_util::BodyExt as _;
use serde::de::DeserializeOwned;
use turnkeep_protocol::run_api::{RUN_ATTEMPT_HEADER, RUN_ID_HEADER};
use turnkeep_protocol::{ChannelName, PartId, RunId};

use super::reply::Fail;
use crate::core::Writer;

/// The longest part id, in bytes; clients use up to 64.
const MAX_PART_ID: usize = 256;

/// How long a caller may take to send its body; whoever is slower may try again.
const BODY_DEADLINE: Duration = Duration::from_secs(30);

/// Reads a body of at most `cap` bytes; the length must be announced (S-59, S-191). A request without any body has an empty one.
pub(super) async fn read(headers: &HeaderMap, body: Body, cap: usize) -> Result<Bytes, Fail> {
    let too_large = || Fail::error(StatusCode::PAYLOAD_TOO_LARGE, "Request body too large");
    if body.is_end_stream() {
        return Ok(Bytes::new());
    }
    let announced = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    if announced.is_none_or(|length| length > cap) {
        return Err(too_large());
    }
    let reading = tokio::time::timeout(BODY_DEADLINE, http_body_util::Limited::new(body, cap).collect()).await;
    let late = |_| Fail::error(StatusCode::REQUEST_TIMEOUT, "The request body did not come within 30 seconds");
    reading.map_err(late)?.map(http_body_util::Collected::to_bytes).map_err(|_| too_large())
}

/// Reads the one record of an append: a length must be announced, the body is not empty, and it is text, which is stored byte for byte
/// (S-59, S-69, S-191).
pub(super) async fn read_record(headers: &HeaderMap, body: Body, cap: usize) -> Result<String, Fail> {
    if !headers.contains_key(header::CONTENT_LENGTH) {
        return Err(Fail::error(StatusCode::PAYLOAD_TOO_LARGE, "Request body too large"));
    }
    let bytes = read(headers, body, cap).await?;
    if bytes.is_empty() {
        return Err(Fail::error(StatusCode::BAD_REQUEST, "Request body is empty"));
    }
    String::from_utf8(bytes.into()).map_err(|_| Fail::error(StatusCode::BAD_REQUEST, "Invalid body: not UTF-8 text"))
}

/// Parses a JSON body; 400 says what is wrong (S-191).
pub(super) fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Fail> {
    if body.is_empty() {
        return Err(Fail::error(StatusCode::BAD_REQUEST, "Request body is empty"));
    }
    serde_json::from_slice(body)
        .map_err(|error| Fail::error(StatusCode::BAD_REQUEST, &format!("Invalid body: {error}")))
}

/// Reads `in` or `out` from the path (S-60).
pub(super) fn channel(io: &str) -> Result<ChannelName, Fail> {
    match io {
        "in" => Ok(ChannelName::In),
        "out" => Ok(ChannelName::Out),
        _ => Err(Fail::params(&["io"], "the channel is `in` or `out`")),
    }
}

/// Reads `X-Part-Id` (S-59); an empty one counts as none.
pub(super) fn part_id(headers: &HeaderMap) -> Result<Option<PartId>, Fail> {
    let Some(value) = headers.get("x-part-id") else { return Ok(None) };
    match value.to_str() {
        Ok("") => Ok(None),
        Ok(text) if text.len() <= MAX_PART_ID => Ok(Some(PartId::new(text))),
        _ => Err(Fail::error(StatusCode::BAD_REQUEST, "X-Part-Id must be ASCII of at most 256 bytes")),
    }
}

/// Reads the writing run from the headers (D-36); none when neither is there, 400 when only one is or the attempt is no number.
pub(super) fn writer(headers: &HeaderMap) -> Result<Option<Writer>, Fail> {
    match headers.get(RUN_ID_HEADER).and_then(|value| value.to_str().ok()) {
        Some(run) => Ok(Some(Writer { run: RunId::new(run), attempt: attempt(headers)? })),
        None if headers.contains_key(RUN_ATTEMPT_HEADER) => {
            Err(Fail::error(StatusCode::BAD_REQUEST, "x-run-id is missing"))
        }
        None => Ok(None),
    }
}

/// Reads the attempt of the run that the path names (D-36).
pub(super) fn attempt(headers: &HeaderMap) -> Result<u32, Fail> {
    let attempt = headers.get(RUN_ATTEMPT_HEADER).and_then(|value| value.to_str().ok()?.parse().ok());
    attempt.ok_or_else(|| Fail::error(StatusCode::BAD_REQUEST, "x-run-attempt must name the run's attempt"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_body_that_does_not_come_is_not_waited_for_for_ever() {
        let body = Body::from_stream(futures::stream::pending::<Result<Bytes, std::convert::Infallible>>());
        let headers = HeaderMap::from_iter([(header::CONTENT_LENGTH, http::HeaderValue::from_static("9"))]);
        let began = tokio::time::Instant::now();

        let late = read(&headers, body, 10).await.unwrap_err();

        assert_eq!(axum::response::IntoResponse::into_response(late).status(), StatusCode::REQUEST_TIMEOUT);
        assert_eq!(began.elapsed(), BODY_DEADLINE);
    }
}

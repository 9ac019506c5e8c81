//! Answers and refusals as HTTP.

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use serde::Serialize;
use serde_json::json;
use turnkeep_host::Timestamp;
use turnkeep_protocol::MAX_RECORD_BYTES;
use turnkeep_protocol::session_api::{
    CODE_LEASE_LOST, CODE_RUN_CANCELLED, CODE_SESSION_CLOSED, CODE_SESSION_EXPIRED, Refusal,
};

use crate::StorageError;
use crate::actor::Stopped;
use crate::core::{MAX_PENDING, Refused};
use crate::rate_limit::Taken;

/// What a handler gives.
pub(super) type Answer = Result<Response, Fail>;

/// A refusal on its way out; boxed, since it is the rare way.
#[derive(Debug)]
pub(super) struct Fail(Box<Response>);

impl IntoResponse for Fail {
    fn into_response(self) -> Response {
        *self.0
    }
}

impl Fail {
    /// Refuses with a JSON body.
    pub(super) fn json(status: StatusCode, body: &impl Serialize) -> Self {
        Self(Box::new(json_response(status, body)))
    }

    /// Refuses with `{"error": text}`.
    pub(super) fn error(status: StatusCode, text: &str) -> Self {
        Self::json(status, &json!({ "error": text }))
    }

    /// Refuses a path; `at` names the parameter (S-191).
    pub(super) fn params(at: &[&str], message: &str) -> Self {
        let body = json!({ "error": "Params Error", "details": [{ "path": at, "message": message }] });
        Self::json(StatusCode::BAD_REQUEST, &body)
    }

    /// Says the same as this with another body, when it says that something unforeseen happened (S-64).
    pub(super) fn unforeseen_as(self, body: &impl Serialize) -> Self {
        let is_unforeseen = self.0.status() == StatusCode::INTERNAL_SERVER_ERROR;
        if is_unforeseen { Self::json(StatusCode::INTERNAL_SERVER_ERROR, body) } else { self }
    }

    /// Refuses for now: the bucket is empty until its next refill (S-189).
    pub(super) fn too_many(taken: Taken, now: Timestamp) -> Self {
        let seconds = taken.reset.since(now).as_millis().div_ceil(1000);
        let text = format!("Rate limit exceeded; retry in {seconds} seconds");
        let mut fail = Self::error(StatusCode::TOO_MANY_REQUESTS, &text);
        let headers = fail.0.headers_mut();
        headers.insert("x-ratelimit-limit", HeaderValue::from(taken.limit));
        headers.insert("x-ratelimit-remaining", HeaderValue::from(taken.remaining));
        headers.insert("x-ratelimit-reset", HeaderValue::from(taken.reset.as_millis()));
        fail
    }

    /// Refuses with plain text, as the SSE and direct-write routes do (S-93, S-103).
    pub(super) fn plain(status: StatusCode, text: &'static str) -> Self {
        Self(Box::new((status, text).into_response()))
    }

    /// Refuses a caller who is known but not allowed (S-185).
    pub(super) fn forbidden() -> Self {
        let body = json!({
            "error": "Unauthorized", "code": "unauthorized", "param": "access_token", "type": "authorization"
        });
        Self::json(StatusCode::FORBIDDEN, &body)
    }
}

impl From<StorageError> for Fail {
    fn from(error: StorageError) -> Self {
        tracing::error!(%error, "the store could not be read");
        Self::error(StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error")
    }
}

impl From<Stopped> for Fail {
    fn from(_: Stopped) -> Self {
        Self::error(StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error")
    }
}

/// Gives a JSON response.
pub(super) fn json_response(status: StatusCode, body: &impl Serialize) -> Response {
    let body = serde_json::to_vec(body).expect("wire types always serialise");
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// Gives a 200 with a JSON body.
pub(super) fn ok(body: &impl Serialize) -> Answer {
    Ok(json_response(StatusCode::OK, body))
}

/// Which family of routes refuses: the wording differs.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Route {
    /// `POST /api/v1/sessions`.
    Create,
    /// `GET /api/v1/sessions/{session}`.
    Retrieve,
    /// `POST /api/v1/sessions/{session}/end-and-continue`.
    Swap,
    /// A channel write: its body carries `ok: false` (D-54).
    Append,
    /// Everything else.
    Other,
}

impl Route {
    /// Makes the refusal's answer.
    pub(super) fn refuse(self, refused: Refused) -> Fail {
        let (status, code, text) = match &refused {
            Refused::NoSession if self == Self::Retrieve => (StatusCode::NOT_FOUND, None, "Not found".to_owned()),
            Refused::NoSession => (StatusCode::NOT_FOUND, None, "Session not found".to_owned()),
            Refused::NoRun => (StatusCode::NOT_FOUND, None, "Run not found".to_owned()),
            Refused::NoWaitpoint => (StatusCode::NOT_FOUND, None, "Waitpoint not found".to_owned()),
            Refused::NoCallingRun => {
                (StatusCode::NOT_FOUND, None, "callingRunId not found in this environment".to_owned())
            }
            Refused::SwapLoop => (StatusCode::INTERNAL_SERVER_ERROR, None, "Failed to swap session run".to_owned()),
            // What the caller asks for cannot be had any more; the request itself is at fault (S-45, D-54).
            Refused::Closed { .. } | Refused::Expired if self == Self::Swap => {
                let state = if refused == Refused::Expired { "an expired" } else { "a closed" };
                (StatusCode::BAD_REQUEST, None, format!("Cannot end-and-continue {state} session"))
            }
            Refused::Closed { .. } => (StatusCode::CONFLICT, Some(CODE_SESSION_CLOSED), self.dead("closed")),
            Refused::Expired => (StatusCode::CONFLICT, Some(CODE_SESSION_EXPIRED), self.dead("expired")),
            Refused::LeaseLost => {
                let text = "This run and attempt do not hold the session's lease".to_owned();
                (StatusCode::CONFLICT, Some(CODE_LEASE_LOST), text)
            }
            Refused::RunCancelled => {
                (StatusCode::CONFLICT, Some(CODE_RUN_CANCELLED), "This run was cancelled".to_owned())
            }
            Refused::OldSnapshot { stored } => {
                let text = format!("A newer snapshot is stored already, with lastOutEventId {stored}");
                (StatusCode::CONFLICT, None, text)
            }
            Refused::TooManyWaits => {
                let text = format!("The run has {MAX_PENDING} pending waitpoints, and no more are kept for one run");
                (StatusCode::UNPROCESSABLE_ENTITY, None, text)
            }
            Refused::TooLarge { metered } => {
                let text = format!("Record of {metered} metered bytes exceeds the limit of {MAX_RECORD_BYTES} bytes");
                (StatusCode::PAYLOAD_TOO_LARGE, None, text)
            }
            Refused::Busy | Refused::ColdPart(_) | Refused::ColdRun(_) => {
                (StatusCode::SERVICE_UNAVAILABLE, None, "The channel is written to too fast; try again".to_owned())
            }
            Refused::Invalid(text) => (StatusCode::UNPROCESSABLE_ENTITY, None, text.clone()),
        };
        let body = Refusal {
            ok: (self == Self::Append).then_some(false),
            error: text,
            code: code.map(str::to_owned),
            closed_reason: match refused {
                Refused::Closed { reason } if self != Self::Swap => reason,
                _ => None,
            },
        };
        Fail::json(status, &body)
    }

    fn dead(self, state: &str) -> String {
        match self {
            Self::Create => format!("Session is {state}; use a different externalId to create a new session"),
            _ if state == "closed" => "Cannot append to a closed session".to_owned(),
            _ => "Cannot append to an expired session".to_owned(),
        }
    }
}

/// Answers a path that is no route.
pub(super) async fn no_route() -> Fail {
    Fail::error(StatusCode::NOT_FOUND, "Not found")
}

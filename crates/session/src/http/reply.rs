//! Answers and refusals as HTTP.

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use serde::Serialize;
use serde_json::json;
use turnkeep_protocol::MAX_RECORD_BYTES;
use turnkeep_protocol::session_api::{CODE_LEASE_LOST, CODE_SESSION_CLOSED, CODE_SESSION_EXPIRED, Refusal};

use crate::actor::Stopped;
use crate::core::Refused;

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
            Refused::Closed { .. } => (StatusCode::CONFLICT, Some(CODE_SESSION_CLOSED), self.dead("closed")),
            Refused::Expired => (StatusCode::CONFLICT, Some(CODE_SESSION_EXPIRED), self.dead("expired")),
            Refused::LeaseLost => {
                let text = "This run and attempt do not hold the session's lease".to_owned();
                (StatusCode::CONFLICT, Some(CODE_LEASE_LOST), text)
            }
            Refused::OldSnapshot { stored } => {
                let text = format!("A newer snapshot is stored already, with lastOutEventId {stored}");
                (StatusCode::CONFLICT, None, text)
            }
            Refused::TooLarge { metered } => {
                let text = format!("Record of {metered} metered bytes exceeds the limit of {MAX_RECORD_BYTES} bytes");
                (StatusCode::PAYLOAD_TOO_LARGE, None, text)
            }
            Refused::Invalid(text) => (StatusCode::UNPROCESSABLE_ENTITY, None, text.clone()),
        };
        let body = Refusal {
            ok: (self == Self::Append).then_some(false),
            error: text,
            code: code.map(str::to_owned),
            closed_reason: match refused {
                Refused::Closed { reason } => reason,
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

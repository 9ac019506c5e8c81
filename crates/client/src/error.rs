//! What can go wrong between a client and its session.

use std::fmt;

use turnkeep_host::http;
use turnkeep_protocol::SeqNum;
use turnkeep_protocol::session_api::{CODE_SESSION_CLOSED, Refusal};

/// Why a callback of the application failed.
pub type CallbackError = Box<dyn std::error::Error + Send + Sync>;

/// A failed call, a failed stream, or a send that was refused before any request.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The server answered with a status that is not a success; `TriggerApiError` in the field's words (C-21).
    #[error("{refused}")]
    Refused {
        /// What the server said.
        refused: Refused,
    },
    /// The session is closed for good (C-85, D-1).
    #[error("session is closed{}", reason_suffix(.reason))]
    SessionClosed {
        /// Why, when the closer said so.
        reason: Option<String>,
    },
    /// The network did not carry one attempt.
    #[error(transparent)]
    Network(#[from] http::Error),
    /// A response came with success but cannot be understood.
    #[error("{what} cannot be understood: {problem}")]
    BadResponse {
        /// Which response.
        what: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// A bounded number of attempts failed; an ordinary error, never a quiet end (C-46, CR-5).
    #[error("retries exhausted after {attempts} attempts: {last}")]
    RetriesExhausted {
        /// How many requests were made.
        attempts: u32,
        /// The last failure.
        last: Box<Self>,
    },
    /// Headers or records did not come in time and the connection was dropped (C-51, C-52).
    #[error("no {awaited} within {limit_ms} ms")]
    TimedOut {
        /// What was waited for.
        awaited: &'static str,
        /// How long.
        limit_ms: u64,
    },
    /// A response that must have a body has none (C-43).
    #[error("status {status} without a body")]
    NoBody {
        /// The status.
        status: u16,
    },
    /// The connection was dropped on request and no attempt is left (C-48).
    #[error("connection dropped on request")]
    Dropped,
    /// The server ended a stream with an `error` event (RC-18).
    #[error("server ended the stream: {message}")]
    StreamBroken {
        /// What the server said.
        message: String,
    },
    /// The windows of a running turn brought nothing too often (C-95).
    #[error("reconnect budget exhausted: {windows} windows in a row without a record while the turn is unfinished")]
    ReconnectBudget {
        /// How many windows were empty.
        windows: u32,
    },
    /// What was read is not there any more: the chat's records are another backend's (C-142).
    #[error("cursor {cursor} is past the tail {tail}: the chat is another backend's")]
    CursorPastTail {
        /// What was read last.
        cursor: SeqNum,
        /// What the chat's next record gets.
        tail: SeqNum,
    },
    /// A recovery reading's window brought nothing: read again, or wait; the chat is as it was (CA-64).
    #[error("nothing more of the reply has come yet")]
    NothingToRecover,
    /// The gate of a stopped turn swallowed this send's reply (C-111).
    #[error("output was lost, try again")]
    OutputLost,
    /// The chat needs a fresh transcript before anything is sent (C-113).
    #[error("the reply cannot be told from a stopped one: load the transcript again")]
    TranscriptReloadRequired,
    /// A submit without any message (C-77).
    #[error("submit-message needs a message")]
    NothingToSubmit,
    /// Another tab holds the chat (C-76).
    #[error("the chat is active in another tab")]
    ActiveInAnotherTab,
    /// The chat's store is to be patched before anybody has told its value (C-179).
    #[error("the chat's store is not known yet")]
    StoreUnknown,
    /// A store's patch or value is not taken (C-176…C-178).
    #[error(transparent)]
    Patch(#[from] turnkeep_protocol::PatchError),
    /// More messages are to wait for a turn than may.
    #[error("there are {limit} pending messages already")]
    TooManyPending {
        /// How many there may be.
        limit: usize,
    },
    /// There are more listeners than one thing may have.
    #[error("there are {limit} listeners already")]
    TooManyListeners {
        /// How many there may be.
        limit: usize,
    },
    /// A reply is asked for as a whole after chunks of it have been read (C-168).
    #[error("the stream is being read chunk by chunk already")]
    StreamConsumed,
    /// An action was not delivered (C-162).
    #[error("failed to send action: {cause}")]
    Action {
        /// The original failure.
        #[source]
        cause: Box<Self>,
    },
    /// A chat is to be started without saying which (C-216).
    #[error("chatId is missing")]
    NoChatId,
    /// `start` and `preload` need the `startSession` callback (C-71).
    #[error("no startSession callback is configured")]
    NoStartSession,
    /// The server does not know the saved session and there is no way to create it (C-142).
    #[error("session not found: the saved state may be stale, and no startSession callback is configured")]
    StaleSession,
    /// A callback of the application failed.
    #[error("{callback} failed: {message}")]
    Callback {
        /// Which one.
        callback: &'static str,
        /// What it said.
        message: String,
    },
}

/// A refusal: the status and what the body said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Refused {
    /// The HTTP status.
    pub status: u16,
    /// What is wrong, for people; the body's text when it is not the usual JSON.
    pub message: String,
    /// What is wrong, for programs (D-54).
    pub code: Option<String>,
    /// Why the session was closed (D-1).
    pub closed_reason: Option<String>,
    /// What `x-should-retry` said, when it was there (RC-3, D-61).
    pub should_retry: Option<bool>,
}

impl Refused {
    /// Reads a refusal from a response's parts.
    pub(crate) fn read(status: ::http::StatusCode, headers: &::http::HeaderMap, body: &[u8]) -> Self {
        let should_retry = match headers.get("x-should-retry").map(::http::HeaderValue::as_bytes) {
            Some(b"false") => Some(false),
            Some(b"true") => Some(true),
            _ => None,
        };
        let base = Self { status: status.as_u16(), should_retry, ..Self::default() };
        match serde_json::from_slice::<Refusal>(body) {
            Ok(refusal) => {
                Self { message: refusal.error, code: refusal.code, closed_reason: refusal.closed_reason, ..base }
            }
            Err(_) => Self { message: String::from_utf8_lossy(body).trim().to_owned(), ..base },
        }
    }

    /// Tells whether the session is closed for good (D-1).
    pub fn is_session_closed(&self) -> bool {
        self.status == 409 && self.code.as_deref() == Some(CODE_SESSION_CLOSED)
    }

    /// Tells whether another attempt with the same part id may succeed (C-18, C-20, RC-3).
    pub fn is_retryable(&self) -> bool {
        let by_status = matches!(self.status, 408 | 429) || self.status >= 500;
        by_status && self.should_retry != Some(false)
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "status {}", self.status)?;
        if let Some(code) = &self.code {
            write!(f, " {code}")?;
        }
        if self.message.is_empty() { Ok(()) } else { write!(f, ": {}", self.message) }
    }
}

impl Error {
    /// Gives the HTTP status behind the failure, also of the last of several attempts.
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Refused { refused } => Some(refused.status),
            Self::NoBody { status } => Some(*status),
            Self::SessionClosed { .. } => Some(409),
            Self::RetriesExhausted { last, .. } => last.status(),
            Self::Action { cause } => cause.status(),
            _ => None,
        }
    }

    /// Tells whether the same call may succeed later.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Refused { refused } => refused.is_retryable(),
            Self::Network(error) => error.is_retryable(),
            Self::RetriesExhausted { last, .. } => last.is_retryable(),
            Self::Action { cause } => cause.is_retryable(),
            Self::TimedOut { .. }
            | Self::NoBody { .. }
            | Self::Dropped
            | Self::StreamBroken { .. }
            | Self::ReconnectBudget { .. }
            | Self::OutputLost => true,
            _ => false,
        }
    }

    /// Tells whether a fresh token may help: 401 or 403 (C-42, C-138).
    pub fn is_auth(&self) -> bool {
        matches!(self, Self::Refused { refused } if matches!(refused.status, 401 | 403))
    }
}

fn reason_suffix(reason: &Option<String>) -> String {
    reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(status: u16, should_retry: Option<&'static str>, want: bool) {
        let mut headers = ::http::HeaderMap::new();
        if let Some(value) = should_retry {
            headers.insert("x-should-retry", ::http::HeaderValue::from_static(value));
        }
        let refused = Refused::read(::http::StatusCode::from_u16(status).unwrap(), &headers, b"{}");
        assert_eq!(refused.is_retryable(), want, "{status} {should_retry:?}");
    }

    #[test]
    fn final_statuses_and_a_final_header_end_the_retries_c20_rc3() {
        for status in [400, 401, 403, 404, 409, 413, 422] {
            check(status, None, false);
            check(status, Some("true"), false);
        }
        for status in [408, 429, 500, 502, 503] {
            check(status, None, true);
            check(status, Some("false"), false);
        }
    }

    #[test]
    fn a_refusal_tells_status_code_and_text_c21_d54() {
        let body = br#"{"ok":false,"error":"closed","code":"session_closed","closedReason":"done"}"#;

        let refused = Refused::read(::http::StatusCode::CONFLICT, &::http::HeaderMap::new(), body);

        assert!(refused.is_session_closed());
        assert_eq!(refused.closed_reason.as_deref(), Some("done"));
        let error = Error::Refused { refused };
        assert_eq!(error.to_string(), "status 409 session_closed: closed");
        assert_eq!((error.status(), error.is_retryable()), (Some(409), false));
    }

    #[test]
    fn a_body_that_is_no_json_is_kept_as_text() {
        let refused = Refused::read(::http::StatusCode::BAD_REQUEST, &::http::HeaderMap::new(), b"Invalid timeout\n");

        assert_eq!(refused.message, "Invalid timeout");
        assert!(!refused.is_session_closed());
    }
}

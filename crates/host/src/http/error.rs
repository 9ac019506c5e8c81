//! What can go wrong between a request and the end of its response.

use std::io;
use std::time::Duration;

/// A failed request or a failed body.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The base address cannot be used.
    #[error("bad base URL `{url}`: {reason}")]
    BadBaseUrl {
        /// The address as given.
        url: String,
        /// Why it is refused.
        reason: &'static str,
    },
    /// No connection was made.
    #[error("cannot connect to {authority}: {source}")]
    Connect {
        /// Who was dialled.
        authority: String,
        /// Why it failed.
        source: io::Error,
    },
    /// A deadline passed.
    #[error("no {awaited} within {} ms", .limit.as_millis())]
    TimedOut {
        /// What was waited for: `connection`, `response headers` or `response body`.
        awaited: &'static str,
        /// How long.
        limit: Duration,
    },
    /// The connection broke, or the peer does not speak HTTP.
    #[error("connection failed: {0}")]
    Broken(#[from] hyper::Error),
    /// A bounded body was larger than its bound.
    #[error("response body exceeds {limit} bytes")]
    BodyTooLarge {
        /// The bound in bytes.
        limit: usize,
    },
    /// The request itself cannot be sent.
    #[error("bad request: {0}")]
    BadRequest(#[from] http::Error),
}

impl Error {
    /// Tells whether the same request may succeed later: true for everything that the network did.
    ///
    /// A peer whose certificate is refused, or that does not speak TLS, stays the same.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Connect { source, .. } => source.kind() != io::ErrorKind::InvalidData,
            Self::TimedOut { .. } | Self::Broken(_) => true,
            Self::BadBaseUrl { .. } | Self::BodyTooLarge { .. } | Self::BadRequest(_) => false,
        }
    }
}

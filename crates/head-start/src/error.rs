//! What can go wrong in a head start.

use http::StatusCode;

/// Why the author's `run` failed.
pub type RunError = Box<dyn std::error::Error + Send + Sync>;

/// A head start that could not be made, or not to its end.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The request does not say which chat it is for (C-185).
    #[error("chatId is missing")]
    NoChatId,
    /// The request is none of a head start.
    #[error("the request cannot be understood: {problem}")]
    BadRequest {
        /// What is wrong with it.
        problem: String,
    },
    /// The request is larger than a first turn may be.
    #[error("the request has more than {limit} bytes")]
    TooLarge {
        /// How many it may have.
        limit: usize,
    },
    /// The history cannot be put in the form a model reads.
    #[error(transparent)]
    Convert(#[from] turnkeep_model::ConvertError),
    /// The session server refused, or did not answer.
    #[error(transparent)]
    Session(#[from] turnkeep_client::Error),
    /// The author's `run` failed; its text reaches the browser (C-215).
    #[error("{0}")]
    Run(RunError),
    /// The model failed before it said why it stopped (C §5.2, 7c).
    #[error("the first step failed: {message}")]
    Step {
        /// What the model said.
        message: String,
    },
    /// The first step was cut: the browser is gone, or the time is up (C-194, C-195).
    #[error("the first step was cut short")]
    Cut,
    /// The session was handed over, or given up, before.
    #[error("the session has been handed over already")]
    HandedOver,
    /// The head start was dropped before it was done.
    #[error("the head start ended before it was done")]
    Ended,
}

impl Error {
    /// Tells whether the same request may succeed later.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Session(error) => error.is_retryable(),
            Self::Step { .. } | Self::Cut | Self::Ended => true,
            _ => false,
        }
    }

    /// Gives the status of an answer that has not begun (C-215): the request's fault, or else 500.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::NoChatId | Self::BadRequest { .. } => StatusCode::BAD_REQUEST,
            Self::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

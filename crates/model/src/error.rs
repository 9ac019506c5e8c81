//! What can go wrong between an agent and a model.

/// Says why a model did not answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ModelError {
    /// The provider asks to slow down.
    #[error("{message}")]
    RateLimited {
        /// Says so in the provider's words.
        message: String,
        /// Tells how long to wait, if the provider said.
        retry_after_ms: Option<u64>,
    },
    /// The provider is out of order or out of reach.
    #[error("{message}")]
    Unavailable {
        /// Says what was seen.
        message: String,
    },
    /// The provider does not let this caller in: the key is wrong, or may not use this model.
    #[error("{message}")]
    Unauthorized {
        /// Says why, in the provider's words.
        message: String,
    },
    /// The provider refuses this prompt, now and later.
    #[error("{message}")]
    Refused {
        /// Says why, in the provider's words.
        message: String,
    },
    /// The answer cannot be understood.
    #[error("{message}")]
    Malformed {
        /// Says what is wrong with it.
        message: String,
    },
}

impl ModelError {
    /// Makes an error that another try may cure.
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::Unavailable { message: message.into() }
    }

    /// Makes an error that no other try cures.
    pub fn refused(message: impl Into<String>) -> Self {
        Self::Refused { message: message.into() }
    }

    /// Makes an error that says what is wrong with an answer.
    pub fn malformed(message: impl Into<String>) -> Self {
        Self::Malformed { message: message.into() }
    }

    /// Tells whether the same prompt may succeed later.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::RateLimited { .. } | Self::Unavailable { .. })
    }
}

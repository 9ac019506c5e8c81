//! [`TokenAnswer`]: what the author's server says when the page asks for a token.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

/// One answer to a page that asks for a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TokenAnswer {
    /// A token that works.
    Real,
    /// This text, whether it works or not.
    Text(String),
    /// No token: the author's server fails with this text.
    Fail(String),
}

/// The answers that are left.
#[derive(Debug, Clone, Default)]
pub(super) struct Tokens(Arc<Mutex<VecDeque<TokenAnswer>>>);

impl Tokens {
    pub(super) fn new(answers: Vec<TokenAnswer>) -> Self {
        Self(Arc::new(Mutex::new(answers.into())))
    }

    /// Gives the next answer; tokens are real when none is left.
    pub(super) fn next(&self) -> TokenAnswer {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop_front().unwrap_or(TokenAnswer::Real)
    }

    pub(super) fn unused(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}

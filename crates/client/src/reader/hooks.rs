//! Who hears how a subscription goes: `onComplete` at most once, `onError` for refusals and exhausted retries (C-55, C-56).

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::options::{OnComplete, OnError};
use crate::Error;

/// The callbacks of one subscription, and whether its end has been told.
pub(super) struct Hooks {
    on_complete: Option<OnComplete>,
    on_error: Option<OnError>,
    is_over: bool,
}

impl Hooks {
    pub(super) fn new(on_complete: Option<OnComplete>, on_error: Option<OnError>) -> Self {
        Self { on_complete, on_error, is_over: false }
    }

    /// Begins the next subscription: its end is told again.
    pub(super) fn begin(&mut self) {
        self.is_over = false;
    }

    /// The output closed without an error.
    pub(super) fn complete(&mut self) {
        if !std::mem::replace(&mut self.is_over, true)
            && let Some(heard) = &self.on_complete
        {
            quietly(|| heard());
        }
    }

    /// An attempt failed; network failures that will be retried are not told.
    pub(super) fn attempt_failed(&self, error: &Error) {
        let is_answer = matches!(error, Error::Refused { .. } | Error::SessionClosed { .. } | Error::NoBody { .. });
        if is_answer {
            self.tell(error);
        }
    }

    /// The output ends with `error`, and so without a completion.
    pub(super) fn gave_up(&mut self, error: &Error) {
        self.is_over = true;
        if matches!(error, Error::RetriesExhausted { .. }) {
            self.tell(error);
        }
    }

    fn tell(&self, error: &Error) {
        if let Some(heard) = &self.on_error {
            quietly(|| heard(error));
        }
    }
}

/// Runs an observer; its panic is its own, and changes nothing here (C-147).
pub(crate) fn quietly(observer: impl FnOnce()) {
    // The panic hook has already reported it; there is nothing of ours that the observer could have left half done.
    let _ = catch_unwind(AssertUnwindSafe(observer));
}

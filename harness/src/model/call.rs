//! [`ModelCall`]: one call of the model, as it is recorded.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use turnkeep_model::{ModelError, Prompt};

use super::script::ScriptStep;

/// One call of the model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelCall {
    /// Which call of this model it is, from 0.
    pub number: usize,
    /// How many calls its run has made of this model before.
    pub nth_of_run: usize,
    /// Which run of its chat makes it, counted from 0 as the model meets them; none outside a run.
    pub run: Option<usize>,
    /// The text of the newest user message.
    pub asked: String,
    /// How many messages the prompt held.
    pub n_messages: usize,
    /// The whole prompt.
    pub prompt: Arc<Prompt>,
    /// Which step of the script answers, from 0; none when no step fits or the script leaves the call to a function.
    pub step: Option<usize>,
    /// What is answered; none when nothing is, and before a function has said it.
    pub answer: Option<ScriptStep>,
    /// How many stream parts the caller has taken.
    pub n_parts: usize,
    /// How the call ended.
    pub end: CallEnd,
}

/// How a call of the model ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CallEnd {
    /// It goes on.
    Open,
    /// It came to its finish.
    Finished,
    /// It was refused before anything streamed.
    Refused(ModelError),
    /// It failed on the way.
    Failed(ModelError),
    /// It ended without a finish.
    Cut,
    /// The caller let go: a stop, or the death of the worker.
    Aborted {
        /// How long after the call began.
        after: Option<Duration>,
    },
}

impl ModelCall {
    /// Tells whether the caller let go before the end.
    pub fn is_aborted(&self) -> bool {
        matches!(self.end, CallEnd::Aborted { .. })
    }
}

impl fmt::Display for ModelCall {
    /// Says who asked what, such as `model call 2 (chat test-chat, run 0, attempt 1) asked "And tomorrow?"`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "model call {}", self.number)?;
        if let (Some(origin), Some(run)) = (&self.prompt.origin, self.run) {
            write!(f, " (chat {}, run {run}, attempt {}, turn {}", origin.chat_id, origin.attempt, origin.turn)?;
            write!(f, ", step {})", self.prompt.step)?;
        }
        write!(f, " asked {:?}", self.asked)
    }
}

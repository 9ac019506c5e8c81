//! Plays a step in time, and notes how the caller took it.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use futures::stream::{self, StreamExt as _};
use tokio::time::Instant;
use turnkeep_model::{ModelError, StreamPart, StreamParts};

use super::call::CallEnd;
use super::perform::Timed;
use super::stage::Stage;

/// Notes a call's end, at the latest when the caller drops the stream.
pub(super) struct Witness {
    stage: Arc<Mutex<Stage>>,
    number: usize,
    began: Instant,
}

impl Witness {
    pub(super) fn new(stage: Arc<Mutex<Stage>>, number: usize) -> Self {
        Self { stage, number, began: Instant::now() }
    }

    /// Notes how the call ended; the first word stays.
    pub(super) fn ended(&self, end: CallEnd) {
        let mut stage = self.stage.lock().unwrap_or_else(PoisonError::into_inner);
        stage.note(self.number, |call| {
            if call.end == CallEnd::Open {
                call.end = end;
            }
        });
    }

    /// Notes that the call was refused, and gives the refusal back.
    pub(super) fn refused(&self, refusal: ModelError) -> ModelError {
        self.ended(CallEnd::Refused(refusal.clone()));
        refusal
    }

    fn gave(&self, part: &StreamPart) {
        let mut stage = self.stage.lock().unwrap_or_else(PoisonError::into_inner);
        stage.note(self.number, |call| call.n_parts += 1);
        drop(stage);
        match part {
            StreamPart::Finish { .. } => self.ended(CallEnd::Finished),
            StreamPart::Error(error) => self.ended(CallEnd::Failed(error.clone())),
            _ => {}
        }
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        // A simulated clock may be gone by now; a runtime that still runs has its own.
        let after = tokio::runtime::Handle::try_current().is_ok().then(|| self.began.elapsed());
        self.ended(CallEnd::Aborted { after });
    }
}

/// Plays timed parts; dropping the stream ends the play.
pub(super) fn play(parts: VecDeque<Timed>, witness: Witness) -> StreamParts {
    stream::unfold((parts, witness), |(mut parts, witness)| async move {
        let Some(next) = parts.pop_front() else {
            witness.ended(CallEnd::Cut);
            return None;
        };
        let part = match next {
            Timed::Part { after, part } => {
                if !after.is_zero() {
                    tokio::time::sleep(after).await;
                }
                *part
            }
            Timed::Stall => std::future::pending().await,
        };
        witness.gave(&part);
        Some((part, (parts, witness)))
    })
    .boxed()
}

use std::sync::{Arc, Mutex};

use turnkeep_agent::{Agent, HookError, TurnInput};
use turnkeep_harness::{MockTurn, SendError, insta_settings};

/// Answers every turn with the model's text.
pub(crate) fn plain() -> Agent {
    Agent::new("plain", |turn: TurnInput| async move { Ok(turn.stream_text()) })
}

/// What hooks tell of their calls.
#[derive(Clone, Default)]
pub(crate) struct Diary(Arc<Mutex<Vec<String>>>);

impl Diary {
    pub(crate) fn note(&self, entry: impl Into<String>) {
        self.0.lock().unwrap().push(entry.into());
    }

    pub(crate) fn read(&self) -> String {
        self.0.lock().unwrap().join(" ")
    }
}

/// Notes its name.
pub(crate) fn noting<E>(
    diary: &Diary,
    name: &'static str,
) -> impl Fn(E) -> futures::future::Ready<Result<(), HookError>> + Send + Sync + 'static {
    let diary = diary.clone();
    move |_| {
        diary.note(name);
        futures::future::ready(Ok(()))
    }
}

/// Runs `check` with ids and times redacted.
pub(crate) fn redacted(check: impl FnOnce()) {
    insta_settings().bind(check);
}

/// The error of a send that must fail.
#[track_caller]
pub(crate) fn error_of(turn: Result<MockTurn, SendError>) -> SendError {
    turn.expect_err("the send fails")
}

//! What code under test tells of itself, and a tool that waits for the test.

use std::sync::{Arc, Mutex};

use futures::future::{Ready, ready};
use serde_json::json;
use tokio::sync::Notify;

use crate::error::HookError;
use crate::steering::PendingMessages;
use crate::tool::Tool;

/// How often a test gives way until every other task waits.
const YIELDS: usize = 100;

/// What code under test tells of itself, in order.
pub(crate) type Diary = Arc<Mutex<Vec<String>>>;

pub(crate) fn note(diary: &Diary, entry: impl Into<String>) {
    diary.lock().unwrap().push(entry.into());
}

pub(crate) fn entries(diary: &Diary) -> Vec<String> {
    diary.lock().unwrap().clone()
}

/// A hook that notes its name.
pub(crate) fn notes<E>(
    diary: &Diary,
    name: &'static str,
) -> impl Fn(E) -> Ready<Result<(), HookError>> + Send + Sync + 'static + use<E> {
    let diary = diary.clone();
    move |_| {
        note(&diary, name);
        ready(Ok(()))
    }
}

/// A hook that notes its name and then does what it has to: what it asserts has been looked at.
pub(crate) fn noted<E, Fut>(
    diary: &Diary,
    name: &'static str,
    hook: impl Fn(E) -> Fut + Send + Sync + 'static,
) -> impl Fn(E) -> Fut + Send + Sync + 'static {
    let diary = diary.clone();
    move |event| {
        note(&diary, name);
        hook(event)
    }
}

/// Lets whatever was said join the answer that streams.
pub(crate) fn always() -> PendingMessages {
    PendingMessages::new().should_inject(|_| async { Ok(true) })
}

/// Lets every task run until all of them wait.
pub(crate) async fn heard() {
    for _ in 0..YIELDS {
        tokio::task::yield_now().await;
    }
}

/// A tool that says when it has begun and waits to be let on.
#[derive(Clone, Default)]
pub(crate) struct WaitingTool {
    pub(crate) begun: Arc<Notify>,
    pub(crate) go_on: Arc<Notify>,
}

impl WaitingTool {
    pub(crate) fn tool(&self) -> Tool {
        let own = self.clone();
        Tool::new("t", "", json!({}), move |_, _| {
            let own = own.clone();
            async move {
                own.begun.notify_one();
                own.go_on.notified().await;
                Ok(json!(1))
            }
        })
    }

    /// Lets `act` happen while the tool runs, and the runtime hear of it.
    pub(crate) async fn during(&self, act: impl FnOnce()) {
        self.begun.notified().await;
        act();
        heard().await;
        self.go_on.notify_one();
    }
}

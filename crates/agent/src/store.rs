//! [`ChatStore`]: one JSON value that an agent shares with the clients of its chat (A-185…A-187, D-13).
//!
//! Whatever a turn changes is told on `out` as it happens: the value of a reader, and of the next run, is what the chunks say. Each
//! turn begins with the whole value, since a reader may have come after the chunks of the last one were trimmed (C-174). Between
//! turns nothing is written, or the chat would count as busy for ever (D-33): what changes then, the next turn's first chunk tells.

#[cfg(test)]
mod tests;

use std::fmt;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::Value;
use turnkeep_protocol::chunk::{StoreDelta, StoreSnapshot};
use turnkeep_protocol::session_api::DrainedRecord;
use turnkeep_protocol::{Patch, PatchError, UiMessageChunk, check_store_value};

use crate::error::Error;
use crate::out::OutWriter;

/// How many listeners one run may have.
const MAX_LISTENERS: usize = 256;

/// How long a turn's end waits for a change that is being told.
const LAST_WORD_LIMIT: Duration = Duration::from_secs(5);

type Listener = Arc<dyn Fn(&Value, Option<&Patch>) + Send + Sync>;

/// The value that the agent and the clients of the running chat share; cheap to clone.
#[derive(Clone)]
pub struct ChatStore {
    shared: Arc<Shared>,
}

struct Shared {
    out: OutWriter,
    state: Mutex<State>,
    /// One change at a time: chunks are told in the order in which the value changes.
    order: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct State {
    /// None until somebody has set it.
    value: Option<Value>,
    /// Whether changes are told, which is inside a turn.
    is_told: bool,
    listeners: Vec<(u64, Listener)>,
    n_listeners_ever: u64,
}

/// Says why the store does not change.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The patch does not fit the value, or the value no store.
    #[error("the chat's store does not change: {0}")]
    Refused(#[from] PatchError),
    /// The change cannot be told; the run is ending.
    #[error(transparent)]
    Write(#[from] Error),
    /// There are as many listeners as there may be.
    #[error("the chat's store has {MAX_LISTENERS} listeners already")]
    TooManyListeners,
}

impl ChatStore {
    pub(crate) fn new(out: OutWriter) -> Self {
        let (state, order) = (Mutex::default(), tokio::sync::Mutex::new(()));
        Self { shared: Arc::new(Shared { out, state, order }) }
    }

    /// Gives the value; none when nobody has ever set it.
    pub fn get(&self) -> Option<Value> {
        self.state().value.clone()
    }

    /// Replaces the value. Dropped before it returns, the change has happened and is told, or neither.
    ///
    /// # Errors
    ///
    /// Fails for a value that is too large or too deep, and changes nothing then.
    pub async fn set(&self, value: Value) -> Result<(), StoreError> {
        let _order = self.shared.order.lock().await;
        check_store_value(&value)?;
        self.tell(snapshot(&value)).await?;
        self.change(value, None);
        Ok(())
    }

    /// Changes parts of the value, all of `patch` or nothing; a value that was never set counts as null.
    ///
    /// # Errors
    ///
    /// Fails when the patch does not fit, names a forbidden key or makes the value too large.
    pub async fn patch(&self, patch: Patch) -> Result<(), StoreError> {
        let _order = self.shared.order.lock().await;
        if patch.is_empty() {
            return Ok(());
        }
        let before = self.get();
        let value = patch.apply(before.as_ref().unwrap_or(&Value::Null))?;
        let operations = serde_json::to_value(&patch).expect("operations are JSON");
        let delta = StoreDelta { operations, ..StoreDelta::default() };
        let told = match before {
            Some(_) => self.tell(delta.into()).await,
            // No reader knows what a first change would be one of (C-179).
            None => self.tell(snapshot(&value)).await,
        };
        match told {
            // A long way to a small value.
            Err(Error::ChunkTooLarge(_)) => self.tell(snapshot(&value)).await?,
            told => told?,
        }
        self.change(value, Some(&patch));
        Ok(())
    }

    /// Calls `listener` after every change, a client's too, with the patch if it was one. It lasts as long as the run.
    ///
    /// It must not wait; what takes longer belongs into [`Chat::defer`](crate::Chat::defer). Its panic is its own affair.
    ///
    /// # Errors
    ///
    /// Fails when there are 256 listeners already.
    pub fn on_change(
        &self,
        listener: impl Fn(&Value, Option<&Patch>) + Send + Sync + 'static,
    ) -> Result<StoreListener, StoreError> {
        let mut state = self.state();
        if state.listeners.len() >= MAX_LISTENERS {
            return Err(StoreError::TooManyListeners);
        }
        let id = state.n_listeners_ever;
        state.n_listeners_ever += 1;
        state.listeners.push((id, Arc::new(listener)));
        drop(state);
        Ok(StoreListener { store: self.clone(), id })
    }

    /// Lets go of everybody who listens: the run is over. A listener may hold the chat, which would keep both for ever.
    pub(crate) fn forget_listeners(&self) {
        let listeners = std::mem::take(&mut self.state().listeners);
        drop(listeners);
    }

    /// Begins a turn: a client's or an author's value takes the place of ours, and readers are told the whole of it (C-174).
    pub(crate) async fn begin_turn(&self, replacement: Option<Value>) -> Result<(), StoreError> {
        let _order = self.shared.order.lock().await;
        let before = self.get();
        let value = replacement.or_else(|| before.clone());
        if let Some(value) = &value {
            check_store_value(value)?;
            self.shared.out.chunk(&snapshot(value)).await?;
        }
        self.state().is_told = true;
        if let Some(value) = value.filter(|value| Some(value) != before.as_ref()) {
            self.change(value, None);
        }
        Ok(())
    }

    /// Ends a turn: what changes from now on is told by the next one.
    pub(crate) async fn end_turn(&self) {
        // A change whose chunk is on its way gets its word in; one that nobody drives any more is not waited for.
        let _order = tokio::time::timeout(LAST_WORD_LIMIT, self.shared.order.lock()).await;
        self.state().is_told = false;
    }

    /// Takes over what the run before has left: the snapshot's value, and what it has told since (D-13).
    pub(crate) fn restore(&self, saved: Option<Value>, told: &[DrainedRecord]) {
        self.state().value = told.iter().fold(saved, |value, record| replay(value, &record.data));
    }

    async fn tell(&self, chunk: UiMessageChunk) -> Result<(), Error> {
        let is_told = self.state().is_told;
        if is_told { self.shared.out.chunk(&chunk).await } else { Ok(()) }
    }

    fn change(&self, value: Value, patch: Option<&Patch>) {
        let mut state = self.state();
        state.value = Some(value.clone());
        let listeners: Vec<Listener> = state.listeners.iter().map(|(_, listener)| listener.clone()).collect();
        drop(state);
        for listener in listeners {
            let _ = std::panic::catch_unwind(AssertUnwindSafe(|| listener(&value, patch)));
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for ChatStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ChatStore").field(&self.state().value).finish()
    }
}

/// A listener of the store; dropping this changes nothing.
#[derive(Clone, Debug)]
pub struct StoreListener {
    store: ChatStore,
    id: u64,
}

impl StoreListener {
    /// Ends the listening.
    pub fn stop(&self) {
        self.store.state().listeners.retain(|(id, _)| *id != self.id);
    }
}

fn snapshot(value: &Value) -> UiMessageChunk {
    StoreSnapshot { value: value.clone(), ..StoreSnapshot::default() }.into()
}

/// Gives the value behind one record of `out`; a change that does not fit is not ours and leaves it as it is.
fn replay(value: Option<Value>, content: &Value) -> Option<Value> {
    let is_of_store = content.get("type").and_then(Value::as_str).is_some_and(|kind| kind.starts_with("store-"));
    if !is_of_store {
        return value;
    }
    match UiMessageChunk::from_value(content.clone()) {
        Some(UiMessageChunk::StoreSnapshot(told)) => Some(told.value),
        Some(UiMessageChunk::StoreDelta(told)) => {
            let patched = Patch::parse(told.operations).ok().zip(value.as_ref());
            patched.and_then(|(patch, value)| patch.apply(value).ok()).or(value)
        }
        _ => value,
    }
}

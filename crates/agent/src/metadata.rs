//! [`Metadata`]: what a run notes on the server for its later attempts.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::Semaphore;
use turnkeep_protocol::JsonObject;

use crate::error::Error;
use crate::link::Link;

/// Under which keys the times are noted: seconds as a number, and a duration as text, `90s`.
const IDLE_TIMEOUT: &str = "chat.idleTimeout";
const TURN_TIMEOUT: &str = "chat.turnTimeout";

/// Under which key it is noted that `on_start` has succeeded.
const STARTED: &str = "turnkeep.started";

/// A run's metadata, as the server has it.
pub(crate) struct Metadata {
    link: Arc<dyn Link>,
    noted: Mutex<JsonObject>,
    /// Held while one change is on its way: each replaces the whole, and the last one stays.
    writing: Semaphore,
}

impl Metadata {
    /// Starts from what earlier attempts have noted.
    pub(crate) fn new(link: Arc<dyn Link>, noted: JsonObject) -> Self {
        Self { link, noted: Mutex::new(noted), writing: Semaphore::new(1) }
    }

    pub(crate) async fn set_idle_timeout(&self, seconds: u64) -> Result<(), Error> {
        self.set(IDLE_TIMEOUT, json!(seconds)).await
    }

    pub(crate) async fn set_turn_timeout(&self, seconds: u64) -> Result<(), Error> {
        self.set(TURN_TIMEOUT, json!(format!("{seconds}s"))).await
    }

    pub(crate) async fn set_started(&self) -> Result<(), Error> {
        self.set(STARTED, json!(true)).await
    }

    pub(crate) fn is_started(&self) -> bool {
        self.noted().contains_key(STARTED)
    }

    pub(crate) fn idle_timeout(&self) -> Option<Duration> {
        self.noted().get(IDLE_TIMEOUT)?.as_u64().map(Duration::from_secs)
    }

    pub(crate) fn turn_timeout(&self) -> Option<Duration> {
        let seconds = self.noted().get(TURN_TIMEOUT)?.as_str()?.strip_suffix('s')?.parse().ok()?;
        Some(Duration::from_secs(seconds))
    }

    /// Notes a value; it holds from the moment that it is durable.
    async fn set(&self, key: &str, value: Value) -> Result<(), Error> {
        let _alone = self.writing.acquire().await.expect("the semaphore is never closed");
        let mut changed = self.noted().clone();
        changed.insert(key.to_owned(), value);
        self.link.write_metadata(changed.clone()).await?;
        *self.noted() = changed;
        Ok(())
    }

    fn noted(&self) -> MutexGuard<'_, JsonObject> {
        self.noted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

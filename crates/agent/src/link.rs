//! [`Link`]: what a run asks of its session server. [`crate::http_link`] asks over HTTP; tests ask a session in memory.
//!
//! Every call retries by itself what may be retried, within a bound; an error from here is final for the run.

use std::time::Duration;

use futures::future::BoxFuture;
use futures::stream::BoxStream;
use turnkeep_protocol::run_api::{Mark, WaitOutcome};
use turnkeep_protocol::session_api::{CODE_SNAPSHOT_GONE, DrainedRecord, Refusal};
use turnkeep_protocol::{ChannelName, ChatSnapshot, InputRecord, JsonObject, NewRecord, SeqNum};

use crate::error::Error;

/// A run's connection to its session; every write is fenced by run id and attempt (D-36).
pub(crate) trait Link: Send + Sync {
    /// Appends `records` to `out` in order, all or nothing, each batch once however often it is sent (D-6, D-39).
    fn append_out(&self, records: Vec<NewRecord>) -> BoxFuture<'_, Result<Vec<SeqNum>, Error>>;

    /// Reads what a channel holds after `after`, without waiting (A-49, S-97).
    fn drain(&self, channel: ChannelName, after: Option<SeqNum>) -> BoxFuture<'_, Result<Vec<DrainedRecord>, Error>>;

    /// Follows `in` after `after`; the stream ends when its connection does, and is then opened again by the caller.
    fn follow_in(&self, after: Option<SeqNum>) -> BoxFuture<'_, Result<BoxStream<'static, InputRecord>, Error>>;

    /// Reads the chat snapshot; the run decides what a failure means (A-44, S-197).
    fn read_snapshot(&self) -> BoxFuture<'_, SnapshotRead>;

    /// Stores the chat snapshot; resolves when it is durable (A-108, S-196).
    fn write_snapshot(&self, snapshot: &ChatSnapshot) -> BoxFuture<'_, Result<(), Error>>;

    /// Sets a write-once marker of the chat (D-45).
    fn mark(&self, mark: Mark) -> BoxFuture<'_, Result<(), Error>>;

    /// Replaces what the run notes for its later attempts; resolves when it is durable.
    fn write_metadata(&self, metadata: JsonObject) -> BoxFuture<'_, Result<(), Error>>;

    /// Waits durably for a record of `in` after `consumed` (S-133…S-138); ends within `limit` and a little.
    fn wait(&self, wait: DurableWait) -> BoxFuture<'_, Result<WaitOutcome, Error>>;

    /// Mints the chat's access token for one turn, if the server can.
    fn mint_token(&self) -> BoxFuture<'_, Option<String>>;
}

/// What the read of a chat snapshot gave.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum SnapshotRead {
    /// The snapshot.
    Found(Box<ChatSnapshot>),
    /// None was ever stored.
    Missing,
    /// One was stored and is lost (D-86).
    Gone,
    /// What is stored is no snapshot that this version can use.
    Invalid,
    /// Nobody knows whether there is one.
    Failed(Error),
}

impl From<Error> for SnapshotRead {
    fn from(error: Error) -> Self {
        match error {
            Error::Refused { status: 404, .. } => Self::Missing,
            Error::Refused { status: 410, body, .. } if says_gone(&body) => Self::Gone,
            failed => Self::Failed(failed),
        }
    }
}

/// Tells whether the session server itself says that the snapshot is lost; a 410 of whoever stands in between says nothing about it.
fn says_gone(body: &str) -> bool {
    let code = serde_json::from_str::<Refusal>(body).ok().and_then(|refusal| refusal.code);
    code.as_deref() == Some(CODE_SNAPSHOT_GONE)
}

/// What a durable wait says to the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DurableWait {
    /// Everything up to here has left the dispatcher (S-135).
    pub(crate) consumed: Option<SeqNum>,
    /// The settled cursor (D-32).
    pub(crate) settled: Option<SeqNum>,
    /// How long to wait at most.
    pub(crate) limit: Duration,
}

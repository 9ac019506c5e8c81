//! What changes: rows, records and the one enum that carries every durable change.
//!
//! The state is nothing but the fold of these changes, in order; a store keeps them, a harness may watch them go by.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use turnkeep_host::Timestamp;
use turnkeep_protocol::run_api::{RunOptions, WaitOutcome};
use turnkeep_protocol::session_api::{SessionStatus, TriggerConfig};
use turnkeep_protocol::{ChannelName, PartId, Record, RunId, SeqNum, SessionId, TaskId, WaitpointId, WorkerId};

/// One durable change. Changes of one commit become durable together or not at all.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "change", rename_all = "kebab-case", rename_all_fields = "camelCase")]
pub enum Change {
    /// Makes a session or replaces its row.
    Session {
        /// The whole row as it is from now on.
        row: Box<SessionRow>,
    },
    /// Raises a session's cursors; they never fall.
    Cursors {
        /// Whose.
        session: SessionId,
        /// The settled cursor (D-32).
        settled: Option<SeqNum>,
        /// The highest `in` seq_num a run has received (D-41).
        consumed: Option<SeqNum>,
    },
    /// Appends a record at the tail of a channel.
    Record {
        /// Whose channel.
        session: SessionId,
        /// Which one.
        channel: ChannelName,
        /// The record with its place.
        record: Record,
        /// The writer's part id, for de-duplication (D-6); records of one batch share theirs.
        part: Option<PartId>,
        /// The run that wrote it; none for clients, the server itself and writes with the secret key alone.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        writer: Option<RecordWriter>,
    },
    /// Makes records below `first` of an `out` channel unreadable: a trim that was asked for takes effect (S-89, D-69).
    Trim {
        /// Whose channel.
        session: SessionId,
        /// The earliest record that stays.
        first: SeqNum,
    },
    /// Makes a run or replaces its row.
    Run {
        /// The whole row as it is from now on.
        row: Box<RunRow>,
    },
    /// Prolongs a lease, or only notes its first sign of life; either way it is confirmed from then on (D-35).
    Lease {
        /// The leased run.
        run: RunId,
        /// When it lapses without a further heartbeat.
        expires_at: Millis,
    },
    /// Makes a waitpoint or replaces its row.
    Waitpoint {
        /// The whole row as it is from now on.
        row: Box<WaitpointRow>,
    },
    /// Forgets a waitpoint whose waiter is gone.
    WaitpointGone {
        /// Which one.
        waitpoint: WaitpointId,
    },
    /// Stores a session's chat snapshot, replacing the one before (S-192).
    Snapshot {
        /// Whose.
        session: SessionId,
        /// The boundary that it covers, when it names one (S-192).
        #[serde(default)]
        end: Option<SeqNum>,
        /// Which object is it from now on.
        object: SnapshotId,
    },
    /// Gives the store its id, once (D-86).
    Store {
        /// Drawn by the first server that has the store.
        id: StoreId,
    },
}

/// Which store of sessions this is: what marks the objects of its chat snapshots as its own (D-86).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct StoreId(pub u64);

impl fmt::Display for StoreId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// The name of a stored chat snapshot's body, never given twice ([`object_place`](crate::object_place)).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SnapshotId(pub u64);

impl fmt::Display for SnapshotId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// The run and attempt behind a write, as fencing knows them (D-36).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RecordWriter {
    /// The run.
    pub run: RunId,
    /// Its attempt, from 1.
    pub attempt: u32,
}

/// A moment in Unix milliseconds, as rows store it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Millis(pub u64);

impl From<Timestamp> for Millis {
    fn from(timestamp: Timestamp) -> Self {
        Self(timestamp.as_millis())
    }
}

impl From<Millis> for Timestamp {
    fn from(millis: Millis) -> Self {
        Self::from_millis(millis.0)
    }
}

/// A session's row (S-1).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SessionRow {
    /// The public id.
    pub id: SessionId,
    /// The caller's id; never changes (S-5).
    pub external_id: Option<String>,
    /// Free text.
    pub kind: String,
    /// The agent's id.
    pub task_id: TaskId,
    /// How runs start; its base payload holds no message (D-38).
    pub trigger_config: TriggerConfig,
    /// Row tags.
    pub tags: Vec<String>,
    /// Row metadata.
    pub metadata: Option<Map<String, Value>>,
    /// Write-once (S-7).
    pub closed_at: Option<Millis>,
    /// Write-once (S-7).
    pub closed_reason: Option<String>,
    /// Checked by create and append only (S-24).
    pub expires_at: Option<Millis>,
    /// When the row was made.
    pub created_at: Millis,
    /// When the row last changed.
    pub updated_at: Millis,
    /// The run in the slot, live or not.
    pub current_run: Option<RunId>,
    /// Counts the runs that took the slot.
    pub run_version: u64,
    /// When `on_chat_start` first succeeded; write-once (D-45).
    pub chat_started_at: Option<Millis>,
    /// When `on_preload` first succeeded; write-once (D-45).
    pub preloaded_at: Option<Millis>,
}

impl SessionRow {
    /// Gives the addressing key: the external id when there is one (S-4).
    pub fn key(&self) -> &str {
        self.external_id.as_deref().unwrap_or(self.id.as_str())
    }

    /// Tells whether the session was closed.
    pub fn is_closed(&self) -> bool {
        self.closed_at.is_some()
    }

    /// Says where the session is in its life at `now` (S-6).
    pub fn status(&self, now: Millis) -> SessionStatus {
        match self.expires_at {
            _ if self.is_closed() => SessionStatus::Closed,
            Some(expires_at) if expires_at <= now => SessionStatus::Expired,
            _ => SessionStatus::Active,
        }
    }
}

/// A run's row; also its audit entry (S-8).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RunRow {
    /// The public id.
    pub id: RunId,
    /// The session it serves.
    pub session: SessionId,
    /// The agent to run.
    pub task_id: TaskId,
    /// The payload every attempt gets.
    pub payload: Map<String, Value>,
    /// Why it was started.
    pub reason: RunReason,
    /// The attempt that is queued, leased or was the last, from 1. It rises with every lease that ends, so that fencing tells any
    /// two of them apart (D-36); how many of them count is another matter, see `tries`.
    pub attempt: u32,
    /// Attempts that were spent: reported crashes, and lapses of leases that had given a sign of life (D-35).
    #[serde(default)]
    pub tries: u32,
    /// Leases that lapsed without any sign of life. They count as tries only beyond a bound: mostly the worker was gone before it
    /// learnt of the run.
    #[serde(default)]
    pub unconfirmed_lapses: u32,
    /// Tries before the run fails (D-35).
    pub max_attempts: u32,
    /// What the trigger config said when the run was made; a later config concerns later runs (S-11, S-14).
    #[serde(default)]
    pub options: RunOptions,
    /// What its attempts have noted for later ones.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub metadata: Map<String, Value>,
    /// Where the run is in its life.
    pub status: RunStatus,
    /// The session's settled cursor when the run was made: what "progress" is measured from (D-34).
    pub settled_at_start: Option<SeqNum>,
    /// Set on a continuation of a run without progress: the highest record that was owed then (D-34).
    pub suspects: Option<SeqNum>,
    /// Its place in the queue; lower is older.
    pub queued: u64,
    /// When its newest attempt was queued; rows from before this was noted have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queued_at: Option<Millis>,
    /// When it was made.
    pub created_at: Millis,
}

impl RunRow {
    /// Gives when its newest attempt was queued; of a row that does not say so, when the run was made.
    pub fn queued_at(&self) -> Millis {
        self.queued_at.unwrap_or(self.created_at)
    }
}

/// Why a run was started (S-8).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RunReason {
    /// The session's first run.
    Initial,
    /// A run that takes over from a run that ended.
    Continuation,
    /// A run that a run asked for, for the sake of newer code (S-43).
    Upgrade,
    /// A run that a run asked for, for reasons of its own (S-44).
    Manual,
}

/// Where a run is in its life. Queued and leased runs are live; the rest is terminal (S-33).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "kebab-case", rename_all_fields = "camelCase")]
pub enum RunStatus {
    /// Waits for a worker.
    Queued,
    /// A worker holds it.
    Leased {
        /// Who.
        worker: WorkerId,
        /// When the lease lapses without a heartbeat.
        expires_at: Millis,
        /// Whether the worker has shown, by a heartbeat or a fenced write, that it knows of the lease.
        #[serde(default)]
        confirmed: bool,
    },
    /// Ended by its own will.
    Completed,
    /// Failed for good.
    Failed {
        /// What went wrong.
        error: String,
    },
    /// Lost its last attempt.
    Crashed {
        /// What went wrong.
        error: String,
    },
    /// Ended from outside.
    Cancelled {
        /// By whom.
        #[serde(default)]
        by: CancelledBy,
    },
}

/// Who ended a run from outside.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CancelledBy {
    /// Somebody who asked for just that (A-199, D-70); also what rows mean that do not say it.
    #[default]
    Request,
    /// The session was closed before the run, or its next attempt, could begin (D-2).
    Close,
}

impl RunStatus {
    /// Tells whether the run may still work.
    pub fn is_live(&self) -> bool {
        matches!(self, Self::Queued | Self::Leased { .. })
    }

    /// Tells whether a worker holds the run.
    pub fn is_leased(&self) -> bool {
        matches!(self, Self::Leased { .. })
    }
}

/// A waitpoint's row (S §5).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WaitpointRow {
    /// The public id.
    pub id: WaitpointId,
    /// Who waits.
    pub run: RunId,
    /// The addressing key of the session whose channel it is; the session itself may come later (S-57, S-133).
    pub session_key: String,
    /// Which one.
    pub channel: ChannelName,
    /// Finds the waitpoint again (S-144).
    pub idempotency_key: Option<String>,
    /// Until when the key finds it; as long as the waitpoint is kept when absent (S-133).
    pub idempotency_key_expires_at: Option<Millis>,
    /// Free texts that came with the request.
    pub tags: Vec<String>,
    /// Counts waitpoints; lower is older.
    pub number: u64,
    /// When it completes by itself.
    pub expires_at: Option<Millis>,
    /// None while it is pending; write-once (S-139).
    pub outcome: Option<WaitOutcome>,
}

//! The run-side wire (D-9, D-32, D-36, D-39): what workers and runs say to the session server.
//!
//! Every write of a run names run id and attempt in the headers [`RUN_ID_HEADER`] and [`RUN_ATTEMPT_HEADER`]; a run that no
//! longer holds its lease is answered 409 with code `lease_lost`.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

use crate::{NewRecord, RunId, SeqNum, SessionId, TaskId, WaitpointId, WorkerId};

/// Names the writing run.
pub const RUN_ID_HEADER: &str = "x-run-id";
/// Names the writing run's attempt, from 1.
pub const RUN_ATTEMPT_HEADER: &str = "x-run-attempt";

/// `POST /api/v1/workers/lease`: waits for a run to work on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LeaseRequest {
    /// Who asks.
    pub worker_id: WorkerId,
    /// The agents it serves.
    pub task_ids: Vec<TaskId>,
    /// Its code's version.
    pub version: String,
    /// How long the server may hold the request, in seconds, at most 60.
    pub timeout_in_seconds: u64,
}

/// The answer: a run, or nothing within the time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LeaseResponse {
    /// The leased run.
    pub run: Option<LeasedRun>,
}

/// A run in a worker's hands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LeasedRun {
    /// The run.
    pub run_id: RunId,
    /// Which try this is, from 1.
    pub attempt: u32,
    /// The agent to run.
    pub task_id: TaskId,
    /// The session's public id.
    pub session_id: SessionId,
    /// The session's addressing key, to be used in channel URLs (S-4).
    pub session_key: String,
    /// The run's payload, a [`crate::ChatTaskWirePayload`].
    pub payload: Map<String, Value>,
    /// How long the lease lasts without a heartbeat, in milliseconds.
    pub lease_ms: u64,
    /// The row's settled cursor (D-32).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settled_cursor: Option<SeqNum>,
    /// The row's consumed cursor: the highest `in` seq_num an earlier run received (D-41).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub consumed_cursor: Option<SeqNum>,
    /// Whether `on_chat_start` has succeeded for this chat (D-45).
    pub chat_started: bool,
    /// Whether `on_preload` has succeeded for this chat (D-45).
    pub preloaded: bool,
    /// Whether the session is closed already.
    pub session_closed: bool,
    /// What the session's trigger config says about its runs (S-11).
    #[serde(default, skip_serializing_if = "RunOptions::is_empty")]
    pub options: RunOptions,
    /// What earlier attempts of this run have noted for later ones.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub metadata: Map<String, Value>,
}

/// The parts of a session's trigger config that are handed to its runs as they are; absent where it says nothing (S-11).
///
/// The server itself heeds `lock_to_version` and the number of attempts; the rest is for whoever runs the workers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RunOptions {
    /// Machine preset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub machine: Option<String>,
    /// Queue name, at most 128 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue: Option<String>,
    /// Run tags, at most 5 of 128 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tags: Option<Vec<String>>,
    /// Tries of one run, 1 to 10; 3 when absent (D-35).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_attempts: Option<u32>,
    /// Seconds of compute per run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_duration: Option<u64>,
    /// The one worker version that may lease the run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lock_to_version: Option<String>,
    /// Where to run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
}

impl RunOptions {
    /// Tells whether nothing was said.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// `POST /api/v1/runs/{id}/heartbeat`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Heartbeat {
    /// The settled cursor, when there is one (D-32).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settled_cursor: Option<SeqNum>,
    /// The highest `in` seq_num received.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub consumed_cursor: Option<SeqNum>,
}

/// The answer to a heartbeat. A lost lease is answered 409 instead, with code `run_cancelled` where cancelling took it and `lease_lost`
/// otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HeartbeatResponse {
    /// Whether the session has been closed: the next wait ends (D-2).
    pub session_closed: bool,
}

/// The answer to `POST /api/v2/runs/{id}/cancel`: the run is over, by this request or before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CancelledRun {
    /// The run.
    pub id: RunId,
}

/// `PUT /api/v1/runs/{id}/metadata`: replaces what the run notes for its later attempts, and its answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RunMetadata {
    /// All of it.
    pub metadata: Map<String, Value>,
}

/// How a run's attempt ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum RunOutcome {
    /// The run ended by its own will.
    Completed,
    /// A hook or the agent failed for good; no further attempt (D-35).
    Failed {
        /// What went wrong.
        error: String,
    },
    /// The process lost the run, for example by a panic; the next attempt follows (D-35).
    Crashed {
        /// What went wrong.
        error: String,
    },
    /// The attempt ran out of memory.
    OutOfMemory,
}

/// `POST /api/v1/runs/{id}/end`: ends the attempt and settles, in one step, what is owed (D-3).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EndRun {
    /// How it ended.
    pub outcome: RunOutcome,
    /// The settled cursor, when there is one (D-32).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settled_cursor: Option<SeqNum>,
    /// The highest `in` seq_num received.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub consumed_cursor: Option<SeqNum>,
}

/// The answer to an end report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EndRunResponse {
    /// The continuation that was started for owed records, or the run itself when another attempt follows.
    pub next_run_id: Option<RunId>,
}

/// `POST /realtime/v1/sessions/{session}/out/batch`: all or nothing, at most 10 MiB, one `X-Part-Id` for the batch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutBatch {
    /// What to append, in order.
    pub records: Vec<NewRecord>,
}

/// The largest body of an [`OutBatch`], in bytes (D-39).
pub const MAX_OUT_BATCH_BYTES: usize = 10 * 1024 * 1024;

/// The answer: the records' places; a duplicate batch gives the original ones.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutBatchResponse {
    /// One per record, in order.
    pub seqs: Vec<SeqNum>,
}

/// `POST /api/v1/sessions/{session}/mark`: sets a write-once marker of the chat (D-45).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MarkSession {
    /// Which marker.
    pub mark: Mark,
}

/// A write-once marker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mark {
    /// `on_chat_start` succeeded.
    ChatStarted,
    /// `on_preload` succeeded.
    Preloaded,
}

/// `POST /api/v1/runs/{run}/session-streams/wait` (S-133).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CreateWait {
    /// The session, any id form.
    pub session: String,
    /// `in` or `out`.
    pub io: String,
    /// Duration text such as `90s`, `5m`, `1h`, `7d`; none waits for ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<String>,
    /// Finds the same waitpoint again, at most 2048 characters (S-144).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idempotency_key: Option<String>,
    /// How long the key finds it, duration text; as long as the waitpoint is kept when absent.
    #[serde(default, rename = "idempotencyKeyTTL", skip_serializing_if = "Option::is_none")]
    pub idempotency_key_ttl: Option<String>,
    /// At most 10 of 128 characters; a single string counts as one.
    #[serde(default, deserialize_with = "one_or_many", skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// The **consumed** cursor (S-135); waits for a record beyond it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_seq_num: Option<SeqNum>,
    /// The settled cursor, when there is one (D-32).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settled_cursor: Option<SeqNum>,
}

/// Reads tags as clients write them: one string, or a list of strings; null is none.
fn one_or_many<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    match Value::deserialize(deserializer)? {
        Value::Null => Ok(Vec::new()),
        Value::String(tag) => Ok(vec![tag]),
        many => serde_json::from_value(many).map_err(D::Error::custom),
    }
}

/// The answer to a wait request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CreatedWait {
    /// The waitpoint.
    pub waitpoint_id: WaitpointId,
    /// Whether the idempotency key was known.
    pub is_cached: bool,
}

/// `GET /api/v1/waitpoints/{waitpoint}?timeoutInSeconds=N`: waits for its completion.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WaitpointStatus {
    /// None while it is pending.
    pub outcome: Option<WaitOutcome>,
}

/// How a waitpoint completed. It is a wake signal only: the record is read from the channel (S-134, D-8).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WaitOutcome {
    /// A record lies beyond the given cursor.
    Record,
    /// The time ran out.
    TimedOut,
    /// The session was closed (D-2).
    Closed,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_waits_tags_are_a_string_or_a_list_s133() {
        let tags = |tags: Value| {
            let wait: Result<CreateWait, _> =
                serde_json::from_value(json!({ "session": "s", "io": "in", "tags": tags }));
            wait.map(|wait| wait.tags).ok()
        };

        assert_eq!(tags(json!("a")), Some(vec!["a".to_owned()]));
        assert_eq!(tags(json!(["a", "b"])), Some(vec!["a".to_owned(), "b".to_owned()]));
        assert_eq!(tags(json!(null)), Some(Vec::new()));
        assert_eq!((tags(json!(7)), tags(json!([7]))), (None, None));
    }

    #[test]
    fn a_wait_has_its_wire_names_s133() {
        let wire = json!({
            "session": "chat", "io": "in", "timeout": "1h", "idempotencyKey": "k", "idempotencyKeyTTL": "5m",
            "tags": ["t"], "lastSeqNum": 3, "settledCursor": 2,
        });

        let wait: CreateWait = serde_json::from_value(wire.clone()).unwrap();

        assert_eq!(wait.idempotency_key_ttl.as_deref(), Some("5m"));
        assert_eq!(serde_json::to_value(wait).unwrap(), wire);
    }
}

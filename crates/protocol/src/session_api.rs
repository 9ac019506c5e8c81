//! Bodies of the session routes that clients call (S §1, §3.2, §3.6).

use std::ops::Deref;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

use crate::run_api::RunOptions;
use crate::{RunId, SeqNum, SessionId, TaskId};

/// How a session's runs are started (S §1.1).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TriggerConfig {
    /// What every run's payload starts from.
    pub base_payload: Map<String, Value>,
    /// What its runs are handed as it is.
    #[serde(flatten)]
    pub options: RunOptions,
    /// Copied into the run payload, 1 to 3600 (S-36).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle_timeout_in_seconds: Option<u64>,
}

/// `POST /api/v1/sessions` (S-12).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CreateSession {
    /// Free text, 1 to 64 characters; `chat.agent` for chats.
    #[serde(rename = "type")]
    pub kind: String,
    /// The agent's id.
    pub task_identifier: TaskId,
    /// How runs start.
    pub trigger_config: TriggerConfig,
    /// The caller's id; the chat id for chats.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external_id: Option<String>,
    /// Row tags, at most 10 of 128 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tags: Option<Vec<String>>,
    /// Row metadata, unrelated to client data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Map<String, Value>>,
    /// When the session expires, ISO-8601.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<String>,
}

/// A session's public form (S-9). Null fields are written, since clients require them (RC-8).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SessionItem {
    /// What lists show of it too.
    #[serde(flatten)]
    pub listed: ListedSession,
    /// How runs start.
    pub trigger_config: TriggerConfig,
}

impl Deref for SessionItem {
    type Target = ListedSession;

    fn deref(&self) -> &ListedSession {
        &self.listed
    }
}

/// `PATCH /api/v1/sessions/{session}` (S-22). What is absent stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UpdateSession {
    /// New row tags, at most 10 of 128 characters; they replace the old ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tags: Option<Vec<String>>,
    /// New row metadata; `Some(None)`, null on the wire, clears it.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Option<Map<String, Value>>>,
    /// The stored value, or the request is refused: an external id never changes (S-5).
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub external_id: Option<Option<String>>,
}

/// Tells null from absent: whatever is there, null included, is `Some`.
fn present<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

/// `POST /api/v1/sessions/{session}/end-and-continue` (S-43): a run asks for a successor and ends.
///
/// With a 200 and `swapped`, the calling run has ended in that very step and `upgrade-required` is on `out`: the caller writes nothing
/// more (D-36). A caller that names itself in the run headers may bring its cursors along.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EndAndContinue {
    /// The run that ends.
    pub calling_run_id: RunId,
    /// Why, at most 64 characters; what is not `initial`, `continuation`, `upgrade` or `manual` counts as `manual` (S-44).
    pub reason: String,
    /// The settled cursor, when there is one (D-32).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settled_cursor: Option<SeqNum>,
    /// The highest `in` seq_num received.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub consumed_cursor: Option<SeqNum>,
}

/// The answer to an end-and-continue (S-48).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Swapped {
    /// The successor; the run that has the session already when `swapped` is false.
    pub run_id: RunId,
    /// Whether this request has made the successor.
    pub swapped: bool,
}

/// Where a session is in its life; derived, never stored (S-6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum SessionStatus {
    /// Takes appends.
    Active,
    /// Was closed.
    Closed,
    /// Was not closed, and its time is up.
    Expired,
}

/// A session in a list: its public form without the trigger config (S-27).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ListedSession {
    /// The public id.
    pub id: SessionId,
    /// The caller's id.
    pub external_id: Option<String>,
    /// Free text.
    #[serde(rename = "type")]
    pub kind: String,
    /// The agent's id.
    pub task_identifier: TaskId,
    /// The run in the slot.
    pub current_run_id: Option<RunId>,
    /// Row tags.
    pub tags: Vec<String>,
    /// Row metadata.
    pub metadata: Option<Map<String, Value>>,
    /// When it was closed, ISO-8601.
    pub closed_at: Option<String>,
    /// Why.
    pub closed_reason: Option<String>,
    /// When it expires, ISO-8601.
    pub expires_at: Option<String>,
    /// When it was made, ISO-8601.
    pub created_at: String,
    /// When the row last changed, ISO-8601.
    pub updated_at: String,
}

/// The answer to `GET /api/v1/sessions`: one page, newest first (S-27).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SessionPage {
    /// The sessions.
    pub data: Vec<ListedSession>,
    /// How to go on.
    pub pagination: Pagination,
}

/// Opaque cursors of the neighbouring pages; absent where there is none (S-27).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pagination {
    /// For `page[after]`: older sessions follow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
    /// For `page[before]`: newer sessions precede.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<String>,
}

/// The answer to a create: 201 when new, 200 when found (S-17).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CreatedSession {
    /// The session.
    #[serde(flatten)]
    pub session: SessionItem,
    /// The live run.
    pub run_id: RunId,
    /// A fresh token for both channels (S-182).
    pub public_access_token: String,
    /// Whether the session was there before.
    pub is_cached: bool,
}

/// The answer to an append (S-63); `seq` may be absent from older servers (S-75).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Appended {
    /// Always true on success.
    pub ok: bool,
    /// The record's place; a duplicate gives the original's (D-6).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seq: Option<SeqNum>,
}

/// A refusal's body (D-1, D-54). Only what is known is written.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Refusal {
    /// Present and false on channel routes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ok: Option<bool>,
    /// What is wrong, for people.
    pub error: String,
    /// What is wrong, for programs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// Why the session was closed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closed_reason: Option<String>,
}

/// Code of a refusal because the session is closed (D-1).
pub const CODE_SESSION_CLOSED: &str = "session_closed";
/// Code of a refusal because the session has expired (D-1).
pub const CODE_SESSION_EXPIRED: &str = "session_expired";
/// Code of a refusal because the writer no longer holds the run's lease (D-36).
pub const CODE_LEASE_LOST: &str = "lease_lost";
/// Code of the refusal of a heartbeat whose run was cancelled (D-70).
pub const CODE_RUN_CANCELLED: &str = "run_cancelled";
/// Code of the answer that a session's snapshot was stored and is lost (D-86).
pub const CODE_SNAPSHOT_GONE: &str = "snapshot_gone";

/// `POST /api/v1/sessions/{session}/close` (S-23).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CloseSession {
    /// Why, at most 256 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// The answer to a records drain (S-97).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DrainedRecords {
    /// Everything after the cursor, commands left out.
    pub records: Vec<DrainedRecord>,
}

/// One drained record (S-98).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DrainedRecord {
    /// The unwrapped content; `""` for control records and unreadable bodies.
    pub data: Value,
    /// The part id, or `""`.
    pub id: String,
    /// Its place.
    pub seq_num: SeqNum,
    /// Control headers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<crate::Header>,
}

/// The answer to a snapshot-url request (S-194).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PresignedUrl {
    /// Where to GET or PUT, valid 300 s. A path below the server's base when the server stores snapshots itself.
    pub presigned_url: String,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_update_tells_null_from_absent_s22() {
        let update = |wire: Value| serde_json::from_value::<UpdateSession>(wire).unwrap();

        assert_eq!(update(json!({})), UpdateSession::default());
        assert_eq!(update(json!({ "metadata": null })).metadata, Some(None));
        assert_eq!(update(json!({ "metadata": { "a": 1 } })).metadata, Some(json!({ "a": 1 }).as_object().cloned()));
        assert_eq!(update(json!({ "externalId": null })).external_id, Some(None));
        for wire in [json!({}), json!({ "metadata": null, "externalId": "e", "tags": [] })] {
            assert_eq!(serde_json::to_value(update(wire.clone())).unwrap(), wire);
        }
        assert!(serde_json::from_value::<UpdateSession>(json!({ "metadata": [] })).is_err());
    }

    #[test]
    fn statuses_have_their_wire_names_s6_s26() {
        let statuses = [SessionStatus::Active, SessionStatus::Closed, SessionStatus::Expired];

        assert_eq!(serde_json::to_value(statuses).unwrap(), json!(["ACTIVE", "CLOSED", "EXPIRED"]));
    }
}

//! Creating and finding sessions (S §1.2), and a row's public form (S-9).

use serde_json::{Map, Value, json};
use turnkeep_host::Timestamp;
use turnkeep_protocol::session_api::{ListedSession, SessionItem, SessionStatus, TriggerConfig};
use turnkeep_protocol::{ChannelName, NewRecord, PartId, RunId, TaskId};

use super::append::{check_size, sanitised, wrapped};
use super::{Core, Refused};
use crate::change::Millis;
use crate::{Change, SessionRow, iso};

/// A checked create request.
#[derive(Clone, Debug)]
pub(crate) struct NewSession {
    /// Free text.
    pub kind: String,
    /// The agent.
    pub task_id: TaskId,
    /// How runs start.
    pub trigger_config: TriggerConfig,
    /// The caller's id, trimmed.
    pub external_id: Option<String>,
    /// Row tags.
    pub tags: Vec<String>,
    /// Row metadata.
    pub metadata: Option<Map<String, Value>>,
    /// When the session expires.
    pub expires_at: Option<Timestamp>,
}

#[cfg(test)]
impl NewSession {
    /// A session of the agent `agent` of which nothing else is said.
    pub(crate) fn plain() -> Self {
        Self {
            kind: "chat.agent".to_owned(),
            task_id: TaskId::new("agent"),
            trigger_config: TriggerConfig::default(),
            external_id: None,
            tags: Vec::new(),
            metadata: None,
            expires_at: None,
        }
    }
}

/// What create found or made.
#[derive(Clone, Debug)]
pub(crate) struct Created {
    /// The row.
    pub row: SessionRow,
    /// The live run.
    pub run: RunId,
    /// Whether the row was there before.
    pub is_cached: bool,
}

impl Core {
    /// Makes a session, or finds the one with the same external id; either way a run is live then (S-13…S-17).
    pub(crate) fn create(&mut self, now: Timestamp, mut new: NewSession) -> Result<Created, Refused> {
        let message = new.trigger_config.base_payload.shift_remove("message");
        let found = new.external_id.as_deref().and_then(|external_id| self.find(external_id));
        if let Some(session) = found {
            refuse_dead(&session.row, now)?;
            // Only how future runs start is replaced; tags, metadata, expiry, type and task stay (S-14). The message of a found
            // session is not delivered (S-16): its sender appends it.
            let row = SessionRow { trigger_config: new.trigger_config, updated_at: now.into(), ..session.row.clone() };
            let id = row.id.clone();
            self.put(Change::Session { row: Box::new(row) });
            let run = self.ensure_run(now, &id);
            return Ok(Created { row: self.session(&id).row.clone(), run, is_cached: true });
        }
        let row = self.new_row(now, new);
        let first = message.map(|message| self.first_record(&row, message)).transpose()?;
        let id = row.id.clone();
        self.put(Change::Session { row: Box::new(row) });
        if let Some(first) = first {
            let record = self.session(&id).input.place(first, 0, now);
            self.put(Change::Record {
                session: id.clone(),
                channel: ChannelName::In,
                record,
                part: None,
                writer: None,
            });
            // Somebody may have waited for the session to come (S-57, S-133).
            self.wake(&id, ChannelName::In);
        }
        let run = self.ensure_run(now, &id);
        Ok(Created { row: self.session(&id).row.clone(), run, is_cached: false })
    }

    fn new_row(&self, now: Timestamp, new: NewSession) -> SessionRow {
        SessionRow {
            id: self.new_session_id(),
            external_id: new.external_id,
            kind: new.kind,
            task_id: new.task_id,
            trigger_config: new.trigger_config,
            tags: new.tags,
            metadata: new.metadata,
            closed_at: None,
            closed_reason: None,
            expires_at: new.expires_at.map(Millis::from),
            created_at: now.into(),
            updated_at: now.into(),
            current_run: None,
            run_version: 0,
            chat_started_at: None,
            preloaded_at: None,
        }
    }

    /// Makes `in` record 0 from the base payload's message (D-38).
    fn first_record(&self, row: &SessionRow, message: Value) -> Result<NewRecord, Refused> {
        let mut payload = row.trigger_config.base_payload.clone();
        payload.insert("message".to_owned(), message);
        payload.insert("trigger".to_owned(), json!("submit-message"));
        payload.insert("chatId".to_owned(), json!(row.key()));
        let text = json!({ "kind": "message", "payload": payload }).to_string();
        let record = wrapped(&sanitised(&text), &self.default_part_id());
        check_size(&record)?;
        Ok(record)
    }

    /// Draws the part id of a record whose writer named none (S-70).
    pub(super) fn default_part_id(&self) -> PartId {
        PartId::new(self.ids.alphanumeric(7))
    }
}

/// Refuses closed and expired sessions, in this order (S-15, S-60).
pub(super) fn refuse_dead(row: &SessionRow, now: Timestamp) -> Result<(), Refused> {
    match row.status(now.into()) {
        SessionStatus::Closed => Err(Refused::Closed { reason: row.closed_reason.clone() }),
        SessionStatus::Expired => Err(Refused::Expired),
        SessionStatus::Active => Ok(()),
    }
}

/// Gives a row's public form.
pub(crate) fn item(row: &SessionRow) -> SessionItem {
    SessionItem { listed: listed(row), trigger_config: row.trigger_config.clone() }
}

/// Gives a row as lists show it; nulls are kept (RC-8).
pub(crate) fn listed(row: &SessionRow) -> ListedSession {
    let date = |at: Millis| iso::format(at.into());
    ListedSession {
        id: row.id.clone(),
        external_id: row.external_id.clone(),
        kind: row.kind.clone(),
        task_identifier: row.task_id.clone(),
        current_run_id: row.current_run.clone(),
        tags: row.tags.clone(),
        metadata: row.metadata.clone(),
        closed_at: row.closed_at.map(date),
        closed_reason: row.closed_reason.clone(),
        expires_at: row.expires_at.map(date),
        created_at: date(row.created_at),
        updated_at: date(row.updated_at),
    }
}

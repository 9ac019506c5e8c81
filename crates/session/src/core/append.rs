//! Writing to channels: one record from a client (S §3.2), a batch from a run (D-5, D-39).

use std::borrow::Cow;

use serde_json::Value;
use turnkeep_host::Timestamp;
use turnkeep_protocol::{
    ChannelName, Envelope, Header, MAX_RECORD_BYTES, NewRecord, PartId, RecordKind, SESSION_CLOSED,
    SESSION_CLOSED_REASON, SESSION_IN_CONSUMED_ID, SESSION_IN_EVENT_ID, SeqNum, SessionId, TRIM, control,
};

use super::create::refuse_dead;
use super::{ColdPart, Core, Looked, Refused, Session, Writer};
use crate::Change;
use crate::standing::trim_target;

impl Core {
    /// Appends one record through the client route, ensures a run and wakes who waits (S-60…S-76).
    ///
    /// A run that writes by this route is fenced like on any other (D-36); clients name no run. `looked` is what the store said of
    /// the part id, once it was asked.
    #[expect(clippy::too_many_arguments, reason = "one per header of the request")]
    pub(crate) fn append(
        &mut self,
        now: Timestamp,
        url_id: &str,
        channel: ChannelName,
        body: &str,
        part: Option<PartId>,
        writer: Option<Writer>,
        looked: Option<&Looked>,
    ) -> Result<SeqNum, Refused> {
        let session = self.require(url_id)?;
        if let Some(writer) = &writer {
            self.check_writer(now, session, writer)?;
        }
        refuse_dead(&session.row, now)?;
        let log = session.channel(channel);
        if let Some(seqs) = known(session, channel, part.as_ref(), looked, now)? {
            // Nothing is stored, nobody is woken (SR-18) and no run starts: what is owed has its run already.
            return Ok(*seqs.first().expect("a remembered part id has a record"));
        }
        let body = if channel == ChannelName::In { sanitised(body) } else { body.into() };
        let new = wrapped(&body, part.as_ref().unwrap_or(&self.default_part_id()));
        check_size(&new)?;
        let (id, record) = (session.row.id.clone(), log.place(new, 0, now));
        let seq = record.seq_num;
        self.confirm(writer.as_ref());
        // The run first, then the record, in one step (S-66, D-47).
        self.ensure_run(now, &id);
        self.put(Change::Record { session: id.clone(), channel, record, part, writer });
        self.wake(&id, channel);
        Ok(seq)
    }

    /// Refuses what any append to this session would be refused for.
    pub(crate) fn check_open(&self, now: Timestamp, url_id: &str) -> Result<(), Refused> {
        refuse_dead(&self.require(url_id)?.row, now)
    }

    /// Appends a batch to `out`, all or nothing; a duplicate batch gives its original places (D-5, D-6, D-36, D-39).
    ///
    /// A batch without a writer comes from a warm server before there is a run to hold a lease (C-188).
    pub(crate) fn write_out(
        &mut self,
        now: Timestamp,
        url_id: &str,
        writer: Option<&Writer>,
        records: &[NewRecord],
        part: Option<PartId>,
        looked: Option<&Looked>,
    ) -> Result<Vec<SeqNum>, Refused> {
        let session = self.require(url_id)?;
        match writer {
            Some(writer) => self.check_writer(now, session, writer)?,
            None => refuse_dead(&session.row, now)?,
        }
        if let Some(seqs) = known(session, ChannelName::Out, part.as_ref(), looked, now)? {
            self.confirm(writer);
            return Ok(seqs);
        }
        let records = with_closing(records.to_vec(), session);
        for new in &records {
            check_size(new)?;
            if new.kind() == RecordKind::Command(TRIM) && trim_target(new.kind(), &new.body).is_none() {
                return Err(Refused::Invalid(format!("a trim names a seq_num, not `{}`", new.body)));
            }
        }
        let id = session.row.id.clone();
        self.confirm(writer);
        let mut seqs = Vec::with_capacity(records.len());
        for new in records {
            seqs.push(self.put_output(now, &id, new, part.clone(), writer));
        }
        Ok(seqs)
    }

    /// Puts one record on `out` and follows what it says: the cursors of a boundary (D-32). A trim takes effect later (D-69).
    pub(super) fn put_output(
        &mut self,
        now: Timestamp,
        id: &SessionId,
        new: NewRecord,
        part: Option<PartId>,
        writer: Option<&Writer>,
    ) -> SeqNum {
        let session = self.session(id);
        let record = session.output.place(new, 0, now);
        let seq = record.seq_num;
        let settled = record.is_turn_complete().then(|| record.settled_cursor()).flatten();
        let consumed = record.header(SESSION_IN_CONSUMED_ID).and_then(SeqNum::parse_cursor);
        let is_boundary = record.is_turn_complete();
        let (writer, channel) = (writer.cloned(), ChannelName::Out);
        self.put(Change::Record { session: id.clone(), channel, record, part, writer });
        if is_boundary {
            self.settle(id, settled, consumed);
        }
        seq
    }
}

/// Gives the places that a part has already (D-6), or refuses until the store has been asked.
fn known(
    session: &Session,
    channel: ChannelName,
    part: Option<&PartId>,
    looked: Option<&Looked>,
    now: Timestamp,
) -> Result<Option<Vec<SeqNum>>, Refused> {
    let Some(part) = part else { return Ok(None) };
    let log = session.channel(channel);
    let cold = |_| Refused::ColdPart(ColdPart { session: session.row.id.clone(), channel, up_to: log.tail() });
    log.duplicate(part, looked, now).map_err(cold)
}

/// Lets the boundary of a turn that outlives the close carry the news (D-37).
///
/// A boundary after which a queued message is still owed does not carry it: readers would leave before that message's turn.
fn with_closing(mut records: Vec<NewRecord>, session: &Session) -> Vec<NewRecord> {
    let row = &session.row;
    if !row.is_closed() {
        return records;
    }
    let mut settled = session.summary.settled;
    for new in &mut records {
        if new.kind() != RecordKind::Control(control::TURN_COMPLETE) {
            continue;
        }
        settled = settled.max(new.header(SESSION_IN_EVENT_ID).and_then(SeqNum::parse_cursor));
        if session.owes_beyond(settled) || new.header(SESSION_CLOSED).is_some() {
            continue;
        }
        new.headers.push(Header::new(SESSION_CLOSED, "true"));
        if let Some(reason) = &row.closed_reason {
            new.headers.push(Header::new(SESSION_CLOSED_REASON, reason));
        }
    }
    records
}

/// Refuses a record that meters above the limit, which itself is fine (S-71).
pub(super) fn check_size(new: &NewRecord) -> Result<(), Refused> {
    let metered = new.metered_bytes();
    if metered > MAX_RECORD_BYTES { Err(Refused::TooLarge { metered }) } else { Ok(()) }
}

/// Wraps a raw body as the client route stores it: the content is a JSON string (S-70).
pub(super) fn wrapped(body: &str, part: &PartId) -> NewRecord {
    let envelope = Envelope { data: Value::String(body.to_owned()), id: part.clone() };
    NewRecord { body: serde_json::to_string(&envelope).expect("two strings always serialise"), headers: Vec::new() }
}

/// Takes away the one field that only webhook ingress may store; any other body stays as it is, byte for byte (S-69).
pub(super) fn sanitised(body: &str) -> Cow<'_, str> {
    if !body.contains("\"actionSource\"") {
        return body.into();
    }
    let Ok(mut value) = serde_json::from_str::<Value>(body) else { return body.into() };
    let payload = value.get_mut("payload").and_then(Value::as_object_mut);
    match payload {
        Some(payload) if payload.get("actionSource").and_then(Value::as_str) == Some("webhook") => {
            payload.shift_remove("actionSource");
            value.to_string().into()
        }
        _ => body.into(),
    }
}

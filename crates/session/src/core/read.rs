//! Reading channels: where a read starts, helpings of records, and when a reader may stop (S §4, D-33, D-37, D-57).

use turnkeep_protocol::session_api::DrainedRecord;
use turnkeep_protocol::{ChannelName, Record, RecordKind, SeqNum, SessionId, Tail};

use super::{Core, Refused, Session};
use crate::channel::{Channel, ReadStart};
use crate::storage::Bounds;

/// The most of one drain. A drain that reaches a bound ends there, and the next one goes on.
pub(crate) const DRAIN: Bounds = Bounds { records: 100_000, bytes: 32 * 1024 * 1024 };

/// How a read begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Opened {
    /// Where it starts.
    pub start: ReadStart,
    /// Whether the reader may stop at the tail: it asked and the session is settled, or the session has ended (S-118, D-37).
    pub settled: bool,
}

/// Records that have left memory: the store has them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cold {
    /// The session.
    pub session: SessionId,
    /// The first of them that the reader wants.
    pub from: SeqNum,
    /// What is stored from here on the reader shall not see yet.
    pub tail: SeqNum,
}

/// What a reader gets in one go.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Helping {
    /// Records from the asked place on; none at the live edge, and none when they are cold.
    pub records: Vec<Record>,
    /// Where the wanted records are when they are not here.
    pub cold: Option<Cold>,
    /// Where the channel ends.
    pub tail: Tail,
    /// Whether nothing will ever follow the tail (D-37).
    pub ended: bool,
}

/// What a drain gives.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Drained {
    /// All there is.
    Here(Vec<DrainedRecord>),
    /// It begins with records that have left memory.
    Cold(Cold),
}

impl Core {
    /// Opens a read. A session that does not exist yet reads as empty under its external id (S-57).
    pub(crate) fn open(
        &self,
        url_id: &str,
        channel: ChannelName,
        cursor: Option<SeqNum>,
        peek: bool,
    ) -> Result<Opened, Refused> {
        let session = self.readable(url_id)?;
        let settled = match session {
            Some(session) => {
                let peeked = peek && channel == ChannelName::Out && session.is_settled();
                peeked || self.has_ended(session, channel)
            }
            None => false,
        };
        let start = session
            .map_or_else(|| Channel::default().start_after(cursor), |it| it.channel(channel).start_after(cursor));
        Ok(Opened { start, settled })
    }

    /// Gives one bounded helping of records from `next` on.
    pub(crate) fn read(&self, url_id: &str, channel: ChannelName, next: SeqNum) -> Result<Helping, Refused> {
        let Some(session) = self.readable(url_id)? else {
            return Ok(Helping { records: Vec::new(), cold: None, tail: Channel::default().tail_mark(), ended: false });
        };
        let log = session.channel(channel);
        let (tail, ended) = (log.tail_mark(), self.has_ended(session, channel));
        let cold = cold(session, log, next);
        let records = if cold.is_some() { Vec::new() } else { log.read(next) };
        Ok(Helping { records, cold, tail, ended })
    }

    /// Gives everything after the cursor without waiting, commands left out (S-97, S-98).
    pub(crate) fn drain(&self, url_id: &str, channel: ChannelName, cursor: Option<SeqNum>) -> Result<Drained, Refused> {
        let Some(session) = self.readable(url_id)? else { return Ok(Drained::Here(Vec::new())) };
        let log = session.channel(channel);
        let next = log.start_after(cursor).next;
        if let Some(cold) = cold(session, log, next) {
            return Ok(Drained::Cold(cold));
        }
        let mut bytes = 0;
        let fits = |record: &&Record| {
            bytes += record.body.len();
            bytes <= DRAIN.bytes
        };
        let visible = log.from(next).filter(|record| !is_command(record));
        Ok(Drained::Here(visible.take(DRAIN.records).take_while(fits).map(drained).collect()))
    }

    /// Finds the session of a read: an unknown `session_…` is refused, an unknown external id is only not there yet (S-57).
    pub(super) fn readable(&self, url_id: &str) -> Result<Option<&Session>, Refused> {
        match self.find(url_id) {
            None if url_id.starts_with("session_") => Err(Refused::NoSession),
            found => Ok(found),
        }
    }

    /// Tells whether a channel of a closed session will stay as it is (D-37).
    ///
    /// `out` stays when the close was announced and no worker is inside a turn or has one before it. `in` stays from the close on, but its reader is
    /// the run, which shall not spin on an ending read while it works.
    fn has_ended(&self, session: &Session, channel: ChannelName) -> bool {
        let live = self.state.live_run(session);
        session.row.is_closed()
            && match channel {
                ChannelName::In => live.is_none(),
                ChannelName::Out => {
                    let is_quiet = session.last_owed().is_none() && !session.segment_is_open();
                    session.summary.announced && (live.is_none() || is_quiet)
                }
            }
    }
}

fn cold(session: &Session, log: &Channel, next: SeqNum) -> Option<Cold> {
    let from = log.cold_from(next)?;
    Some(Cold { session: session.row.id.clone(), from, tail: log.tail() })
}

/// Gives the public form of records that a drain shows: all but commands (S-98).
pub(crate) fn shown(records: &[Record]) -> Vec<DrainedRecord> {
    records.iter().filter(|record| !is_command(record)).map(drained).collect()
}

fn is_command(record: &Record) -> bool {
    matches!(record.kind(), RecordKind::Command(_))
}

fn drained(record: &Record) -> DrainedRecord {
    let envelope = record.envelope();
    let (data, id) = match envelope {
        Some(envelope) => (envelope.data, envelope.id.as_str().to_owned()),
        None => ("".into(), String::new()),
    };
    DrainedRecord { data, id, seq_num: record.seq_num, headers: record.headers.clone() }
}

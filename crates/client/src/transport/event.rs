//! What the transport tells an observer (C §3.15).

use std::time::Duration;

use turnkeep_host::Timestamp;
use turnkeep_protocol::{PartId, SeqNum};

use crate::HistoryGap;

/// One thing that happened to a chat (C-144).
#[derive(Clone, Debug, PartialEq)]
pub struct ChatEvent {
    /// Which chat.
    pub chat_id: String,
    /// When.
    pub timestamp: Timestamp,
    /// What.
    pub kind: ChatEventKind,
}

/// What an append was for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// A submitted message.
    SubmitMessage,
    /// A regeneration.
    RegenerateMessage,
    /// A message posted beside a running turn.
    Steer,
    /// An action.
    Action,
    /// A stop.
    Stop,
    /// The end of the run, which only servers ask for.
    Close,
    /// A first turn, posted to the author's warm server (C-203).
    HeadStart,
}

impl Source {
    /// Gives the name in the field's words.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SubmitMessage => "submit-message",
            Self::RegenerateMessage => "regenerate-message",
            Self::Steer => "steer",
            Self::Action => "action",
            Self::Stop => "stop",
            Self::Close => "close",
            Self::HeadStart => "head-start",
        }
    }

    /// Tells whether response events refer to this send (C-145).
    pub(crate) const fn produces_turn(self) -> bool {
        matches!(self, Self::SubmitMessage | Self::RegenerateMessage | Self::HeadStart)
    }
}

/// Who told that the session is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClosedSource {
    /// A record, or a refused read.
    Stream,
    /// A refused append.
    Append,
}

/// Why a run waits for its deployment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PendingSource {
    /// A send wants it.
    Send,
    /// An upgrade was asked for.
    Upgrade,
}

/// One append as events show it.
#[derive(Clone, Debug, PartialEq)]
pub struct Sent {
    /// The explicit id, else the last message's.
    pub message_id: Option<String>,
    /// What it was for.
    pub source: Source,
    /// From the first attempt to the answer, internal retries included.
    pub duration: Duration,
    /// The one part id of all attempts; none for a head start, which is no record.
    pub part_id: Option<PartId>,
    /// UTF-8 length of the record (C-148).
    pub body_bytes: usize,
}

/// The kinds of events, in the field's words.
#[derive(Clone, Debug, PartialEq)]
pub enum ChatEventKind {
    /// `message-sent`: an append was acknowledged; also the stop of an abort (D-22).
    MessageSent(Sent),
    /// `message-send-failed`: an append failed for good.
    MessageSendFailed {
        /// What was sent.
        sent: Sent,
        /// Why it failed.
        error: String,
        /// The HTTP status, if there was one.
        status: Option<u16>,
    },
    /// `stream-connected`: the first record of a stream arrived (C-87).
    StreamConnected {
        /// Whether this was a reconnect.
        resumed: bool,
        /// The cursor it started after.
        last_event_id: Option<SeqNum>,
        /// The message this is the answer to.
        message_id: Option<String>,
    },
    /// `first-chunk`: the first delivered data record of a turn.
    FirstChunk {
        /// The chunk's type.
        chunk_type: Option<String>,
        /// Its place; a head start's chunks have none.
        last_event_id: Option<SeqNum>,
        /// The message this is the answer to.
        message_id: Option<String>,
        /// Since that message was acknowledged.
        since_send: Option<Duration>,
    },
    /// `turn-completed`: the stream's own boundary was accepted.
    TurnCompleted {
        /// The boundary's place; a head start tells it later.
        last_event_id: Option<SeqNum>,
        /// The committed input.
        session_in_event_id: Option<SeqNum>,
        /// The message this is the answer to.
        message_id: Option<String>,
        /// Since that message was acknowledged.
        since_send: Option<Duration>,
    },
    /// `stream-error`: the stream failed for good.
    StreamError {
        /// Why.
        error: String,
        /// The HTTP status, if there was one.
        status: Option<u16>,
    },
    /// `session-closed`: once per chat (C-85).
    SessionClosed {
        /// Why.
        reason: Option<String>,
        /// Who told.
        source: ClosedSource,
    },
    /// `run-pending-version`: the run waits for its deployment; repeated per send.
    RunPendingVersion {
        /// Since when.
        source: PendingSource,
    },
    /// `history-gap`: records after the cursor are gone (D-57).
    HistoryGap(HistoryGap),
}

impl ChatEventKind {
    /// Gives the event's name on the page.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::MessageSent(_) => "message-sent",
            Self::MessageSendFailed { .. } => "message-send-failed",
            Self::StreamConnected { .. } => "stream-connected",
            Self::FirstChunk { .. } => "first-chunk",
            Self::TurnCompleted { .. } => "turn-completed",
            Self::StreamError { .. } => "stream-error",
            Self::SessionClosed { .. } => "session-closed",
            Self::RunPendingVersion { .. } => "run-pending-version",
            Self::HistoryGap(_) => "history-gap",
        }
    }
}

//! What one stream does with each record, each end of body and each failure: decisions without async or clock (C §3.6, §3.7).
//!
//! The chat's state is passed in, since it outlives the stream and is shared with stops. The order of the steps is C §3.6's.

use std::time::Duration;

use turnkeep_protocol::{
    PUBLIC_ACCESS_TOKEN, SESSION_CLOSED, SESSION_CLOSED_REASON, SESSION_IN_EVENT_ID, SeqNum, UiMessageChunk, control,
};

use super::store::is_of_store;
use crate::reader::backoff;
use crate::transport::PendingSource;
use crate::{ChatSessionState, Delivered, Part};

/// Resubscriptions in a row without a record before an unfinished turn is an error (C-94).
pub(crate) const MAX_EMPTY_RESUBSCRIPTIONS: u32 = 5;

/// A watcher's window that ends sooner is no quiet window but a failing server: only such ones make it wait longer (RC-15).
const QUICK_WINDOW: Duration = Duration::from_secs(1);

/// Control subtype: the run waits for its deployment (C-7).
const PENDING_VERSION: &str = "pending-version";

/// Chunk types that stand for controls on servers of another age start with this (C-8).
const LEGACY_PREFIX: &str = "trigger:";

/// What follows from one record.
#[derive(Debug, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "one lives at a time, on the stack, for the length of a match")]
pub(crate) enum Verdict {
    /// Nothing for the consumer; read on.
    Drop,
    /// Hand it on.
    Deliver {
        delivered: Delivered,
        /// First of the turn: one event.
        is_first: bool,
    },
    /// The boundary of an earlier turn: what came before it answers another input (C-82).
    EarlierTurn,
    /// The stream's own boundary: close normally (C-86).
    Finish {
        /// The committed input, when the boundary names one.
        input: Option<SeqNum>,
    },
    /// A boundary that a watcher reads on over (C-121).
    NextTurn {
        /// As in `Finish`.
        input: Option<SeqNum>,
    },
    /// The gate swallowed this stream's reply (C-111).
    OutputLost,
    /// The session is closed and nothing more will come (C-85).
    Closed,
}

/// What one record did.
#[derive(Debug, PartialEq)]
pub(crate) struct Seen {
    /// First record of the stream: it counts as connected (C-87).
    pub(crate) is_connected: bool,
    /// The session was closed by this record, and that is news (C-85).
    pub(crate) is_closed_news: bool,
    /// The run waits for its deployment, and since when.
    pub(crate) pending_version: Option<PendingSource>,
    /// The persisted state must be told (C-64).
    pub(crate) must_notify: bool,
    pub(crate) verdict: Verdict,
}

/// How long a stream lives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Span {
    /// Until its own boundary.
    #[default]
    Turn,
    /// Over all turns (C-121).
    Watch,
}

/// What a stream was opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Opened {
    /// The reply to a send or an action.
    Sent,
    /// What a reload or a watcher reads on.
    Resumed,
    /// The rest of a head start whose response broke off (D-24).
    HeadStart,
    /// What a reply that broke off may still bring (CA-64, D-83).
    Recovering,
}

/// What follows from a clean end of body (C-93…C-96).
#[derive(Debug, PartialEq)]
pub(crate) enum BodyEnd {
    /// Close normally.
    Close { must_notify: bool },
    /// The turn goes on: subscribe again.
    Resubscribe { after: Duration },
    /// A recovery reading brought nothing: told, and nothing else changes (CA-64).
    Empty,
    /// The budget is spent: a cut reply must not look finished (C-95).
    Exhausted { windows: u32 },
}

/// One stream's bookkeeping.
#[derive(Debug)]
pub(crate) struct Turn {
    /// The place of this stream's input; boundaries below it belong to earlier turns (C-82).
    baseline: Option<SeqNum>,
    span: Span,
    opened: Opened,
    is_connected: bool,
    /// Whether a record came that is part of a turn: a recovery is an owned turn's stream from there on (D-83).
    has_begun: bool,
    has_first_chunk: bool,
    has_upgrade: bool,
    empty_windows: u32,
}

/// A record as the transport sees it.
enum Mark {
    Boundary {
        token: Option<String>,
        input: Option<SeqNum>,
        closed: Option<Option<String>>,
    },
    Closed {
        reason: Option<String>,
    },
    PendingVersion,
    /// The run is being replaced by a newer version (C-244).
    Upgrade,
    /// Unknown controls, unknown `trigger:` chunks, and the store's, which are no part of a message (C-172).
    Noise,
    Content,
}

impl Mark {
    /// Tells whether a turn goes on behind it.
    fn is_inside_a_turn(&self) -> bool {
        !matches!(self, Self::Boundary { .. } | Self::Closed { .. })
    }
}

impl Turn {
    pub(crate) fn new(baseline: Option<SeqNum>, span: Span, opened: Opened) -> Self {
        Self {
            baseline,
            span,
            opened,
            is_connected: false,
            has_begun: false,
            has_first_chunk: false,
            has_upgrade: false,
            empty_windows: 0,
        }
    }

    /// Says that the turn's first chunk was shown before this stream began.
    pub(crate) fn has_shown_first_chunk(mut self, has_shown: bool) -> Self {
        self.has_first_chunk = has_shown;
        self
    }

    /// Decides what becomes of `part`, and moves the chat's state.
    pub(crate) fn on_record(&mut self, state: &mut ChatSessionState, part: Part) -> Seen {
        state.last_event_id = Some(part.seq_num);
        self.empty_windows = 0;
        let mut seen = Seen {
            is_connected: !std::mem::replace(&mut self.is_connected, true),
            is_closed_news: false,
            pending_version: None,
            must_notify: false,
            verdict: Verdict::Drop,
        };
        let mark = read_mark(&part);
        let is_gated = state.skip_to_turn_complete;
        if self.opened == Opened::Recovering && mark.is_inside_a_turn() && !is_gated && !self.has_begun {
            self.has_begun = true;
            state.is_streaming = Some(true);
        }
        match mark {
            Mark::Boundary { token, input, closed } => self.on_boundary(state, token, input, closed, &mut seen),
            // Control marks are never swallowed by the gate (C-107).
            Mark::Closed { reason } => close(state, reason, &mut seen),
            Mark::PendingVersion => {
                seen.pending_version =
                    Some(if self.has_upgrade { PendingSource::Upgrade } else { PendingSource::Send });
            }
            Mark::Upgrade => self.has_upgrade = true,
            Mark::Noise => {}
            Mark::Content => {
                if !state.skip_to_turn_complete {
                    seen.verdict = self.on_content(state, part);
                }
            }
        }
        seen
    }

    fn on_boundary(
        &mut self,
        state: &mut ChatSessionState,
        token: Option<String>,
        input: Option<SeqNum>,
        closed: Option<Option<String>>,
        seen: &mut Seen,
    ) {
        if state.skip_to_turn_complete {
            self.on_gated_boundary(state, input, seen);
        } else if is_below(input, self.baseline) {
            seen.verdict = Verdict::EarlierTurn;
        } else {
            if let Some(token) = token {
                state.public_access_token = token;
            }
            state.settle();
            seen.must_notify = true;
            seen.verdict = match self.span {
                Span::Turn => Verdict::Finish { input },
                Span::Watch => {
                    self.has_first_chunk = false;
                    Verdict::NextTurn { input }
                }
            };
        }
        if let Some(reason) = closed {
            let verdict = std::mem::replace(&mut seen.verdict, Verdict::Drop);
            close(state, reason, seen);
            // A boundary that ends this stream's turn still does so.
            if matches!(verdict, Verdict::Finish { .. } | Verdict::OutputLost) {
                seen.verdict = verdict;
            }
        }
    }

    fn on_gated_boundary(&self, state: &mut ChatSessionState, input: Option<SeqNum>, seen: &mut Seen) {
        if is_below(input, state.superseded_input_seq) {
            return;
        }
        state.clear_gate();
        seen.must_notify = true;
        let eaten = matches!((input, self.baseline), (Some(input), Some(baseline)) if input >= baseline);
        if eaten {
            state.settle();
            seen.verdict = Verdict::OutputLost;
        }
    }

    fn on_content(&mut self, state: &mut ChatSessionState, part: Part) -> Verdict {
        let seq_num = part.seq_num;
        let Some(chunk) = part.into_ui_chunk() else {
            return Verdict::Drop;
        };
        // A stop must know that there is something to stop (C-89).
        let is_first = !std::mem::replace(&mut self.has_first_chunk, true);
        if self.span == Span::Watch && is_first {
            state.is_streaming = Some(true);
        }
        state.is_streaming.get_or_insert(true);
        Verdict::Deliver { delivered: Delivered { seq_num: Some(seq_num), chunk }, is_first }
    }

    /// Decides what follows a clean end of body after a window of a length; `unit` is a draw in [0, 1).
    pub(crate) fn on_body_end(
        &mut self,
        state: &mut ChatSessionState,
        is_settled: bool,
        lasted: Duration,
        unit: f64,
    ) -> BodyEnd {
        let is_watching = self.span == Span::Watch;
        // The boundary of an earlier turn is no word of this one's (C-101).
        if self.opened == Opened::Recovering && !self.has_begun && !is_settled {
            return BodyEnd::Empty;
        }
        if is_settled || (!is_watching && state.is_streaming != Some(true)) {
            // Everything up to the tail has been read, so there is no stopped output left to discard.
            let had_gate = is_settled && state.clear_gate();
            let was_streaming = state.is_streaming == Some(true);
            state.settle();
            return BodyEnd::Close { must_notify: was_streaming || had_gate };
        }
        if is_watching && lasted >= QUICK_WINDOW {
            self.empty_windows = 0;
        }
        self.empty_windows = self.empty_windows.saturating_add(1);
        if !is_watching && self.empty_windows > MAX_EMPTY_RESUBSCRIPTIONS {
            state.is_streaming = Some(false);
            return BodyEnd::Exhausted { windows: self.empty_windows };
        }
        let (base, cap) = (Duration::from_millis(100), Duration::from_secs(5));
        BodyEnd::Resubscribe { after: backoff(base, cap, 0.5, self.empty_windows, unit) }
    }
}

/// Closes the session's state (C-85).
fn close(state: &mut ChatSessionState, reason: Option<String>, seen: &mut Seen) {
    seen.is_closed_news = state.close(reason);
    seen.must_notify = true;
    seen.verdict = Verdict::Closed;
}

/// Tells whether a boundary is certainly earlier than `bound`; unknown numbers are not (C-82, C-110).
fn is_below(input: Option<SeqNum>, bound: Option<SeqNum>) -> bool {
    matches!((input, bound), (Some(input), Some(bound)) if input < bound)
}

fn read_mark(part: &Part) -> Mark {
    if let Some(subtype) = part.control() {
        let reason = || part.header(SESSION_CLOSED_REASON).map(str::to_owned);
        return match subtype {
            control::TURN_COMPLETE => Mark::Boundary {
                token: part.header(PUBLIC_ACCESS_TOKEN).map(str::to_owned),
                input: part.header(SESSION_IN_EVENT_ID).and_then(SeqNum::parse_cursor),
                closed: (part.header(SESSION_CLOSED) == Some("true")).then(reason),
            },
            control::SESSION_CLOSED => Mark::Closed { reason: reason() },
            PENDING_VERSION => Mark::PendingVersion,
            control::UPGRADE_REQUIRED => Mark::Upgrade,
            _ => Mark::Noise,
        };
    }
    let Some(chunk) = part.chunk.as_ref() else { return Mark::Noise };
    let kind = chunk.get("type").and_then(serde_json::Value::as_str).unwrap_or_default();
    match kind.strip_prefix(LEGACY_PREFIX) {
        None if is_of_store(chunk) => Mark::Noise,
        None => Mark::Content,
        Some("turn-complete") => Mark::Boundary {
            token: chunk.get("publicAccessToken").and_then(|token| Some(token.as_str()?.to_owned())),
            input: None,
            closed: None,
        },
        Some("upgrade-required") => Mark::Upgrade,
        Some(_) => Mark::Noise,
    }
}

/// Gives the input that a boundary names, if the record is one and names one.
pub(crate) fn boundary_of(part: &Part) -> Option<Option<SeqNum>> {
    match read_mark(part) {
        Mark::Boundary { input, .. } => Some(input),
        _ => None,
    }
}

/// Gives the type of a chunk for an event; none for one without.
pub(crate) fn chunk_type(chunk: &UiMessageChunk) -> Option<String> {
    Some(chunk.kind()).filter(|kind| !kind.is_empty()).map(str::to_owned)
}

#[cfg(test)]
mod tests;

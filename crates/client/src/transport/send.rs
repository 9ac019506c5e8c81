//! Sending: append first, and only then let go of the previous reader and open the new one (C-79).

use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;
use tokio::time::Instant;
use turnkeep_protocol::{ChannelName, SeqNum};

use super::backlog::Backlog;
use super::drive::Drive;
use super::head_start::Told;
use super::inner::{Active, Chat, Inner, LastSend};
use super::payload::Outgoing;
use super::stream::{ChatStream, OnAbort, Outcome, StreamCell};
use super::tabs::Sending;
use super::turn::{Opened, Span, Turn};
use super::{ChatEventKind, ClosedSource, Sent};
use crate::append::Append;
use crate::reader::{ReadOptions, Reader, ResolveHeaders, RetryPolicy, StallBudget};
use crate::{ChatSessionState, Error};

/// The longest window of a recovery reading, and behind a head start that broke off, in seconds (CA-64, D-24, D-83).
const RECOVERY_WINDOW_S: u32 = 30;

/// Silence after which the transport drops a connection (C-136).
pub(super) const STALL_TIMEOUT: Duration = Duration::from_secs(60);

/// Stalls in a row without a sign of life (C-136).
const MAX_STALLS: u32 = 5;

/// Quiet minutes in a row before a turn is given up although its server is there: a day (C-136).
const MAX_QUIET_STALLS: u32 = 24 * 60;

/// Which repairs an append may make, each once: so there are never more than three posts for them (C-138).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Repair {
    /// None: the current token or nothing (C-106).
    Nothing,
    /// A fresh token (C-115, C-120).
    Token,
    /// A fresh token, and a fresh session in place of an unknown one (C-142).
    TokenAndSession,
}

impl Inner {
    /// Sends a record that produces a stream (C-79).
    pub(crate) async fn dispatch(self: &Arc<Self>, chat_id: &str, outgoing: Outgoing) -> Result<ChatStream, Error> {
        self.check_sendable(chat_id)?;
        self.check_writable(chat_id)?;
        self.ensure_started(chat_id).await?;
        self.check_sendable(chat_id)?;
        // Claimed only now that there is a session, and let go again if nothing comes of it (C-130).
        let _sending = self.claim(chat_id)?;
        let before = self.chat(chat_id, |chat| Before { n_stops: chat.n_stops, newest_input: chat.newest_input });
        let seq = self.post(chat_id, &outgoing, Repair::TokenAndSession).await?;
        if let Some(queued) = &outgoing.store {
            self.chat(chat_id, |chat| chat.store.sent(queued));
        }
        if outgoing.source.produces_turn() {
            let last_send = LastSend { message_id: outgoing.message_id, acknowledged: Instant::now() };
            self.chat(chat_id, |chat| chat.last_send = Some(last_send));
        }
        self.accept(chat_id, seq, before)
    }

    /// Refuses what a closed chat or one without a fresh transcript would send (C-85, C-113).
    pub(crate) fn check_sendable(&self, chat_id: &str) -> Result<(), Error> {
        match self.state(chat_id) {
            Some(state) if state.closed => Err(Error::SessionClosed { reason: state.closed_reason }),
            Some(state) if state.requires_transcript_reload => Err(Error::TranscriptReloadRequired),
            _ => Ok(()),
        }
    }

    /// Refuses what another tab's turn forbids (C-76).
    pub(super) fn check_writable(&self, chat_id: &str) -> Result<(), Error> {
        let is_read_only = self.tabs.as_ref().is_some_and(|tabs| tabs.is_read_only(chat_id));
        if is_read_only { Err(Error::ActiveInAnotherTab) } else { Ok(()) }
    }

    pub(super) fn claim(self: &Arc<Self>, chat_id: &str) -> Result<Sending, Error> {
        // Counted before it is claimed, so that a send that ends meanwhile does not let this one's claim go.
        let sending = Sending::new(self, chat_id);
        let is_claimed = self.tabs.as_ref().is_none_or(|tabs| tabs.claim(chat_id));
        if is_claimed { Ok(sending) } else { Err(Error::ActiveInAnotherTab) }
    }

    /// Makes the accepted send the chat's current turn, and its stream the chat's reader.
    fn accept(self: &Arc<Self>, chat_id: &str, seq: Option<SeqNum>, before: Before) -> Result<ChatStream, Error> {
        let id = self.stream_id();
        let cell = Arc::new(StreamCell::default());
        let active = Active { id, baseline: seq, cell: cell.clone() };
        if let (Some(tabs), Some(seq)) = (&self.tabs, seq) {
            tabs.accepted(chat_id, seq);
        }
        let Accepted { verdict, previous, state } = self.chat(chat_id, |chat| accept(chat, active, before));
        if let Some(previous) = previous {
            previous.cell.end(Outcome::Superseded);
        }
        self.notify(chat_id);
        match verdict {
            Acceptance::Current => {}
            Acceptance::Stopped => cell.end(Outcome::Aborted),
            Acceptance::Overtaken => cell.end(Outcome::Superseded),
            Acceptance::Untellable => return Err(Error::TranscriptReloadRequired),
        }
        Ok(self
            .open(Opening { chat_id, id, cell, baseline: seq, on_abort: OnAbort::Stop, opened: Opened::Sent }, &state))
    }

    /// Appends a record with its repairs, and tells the observer how it went (C-138, C-144).
    pub(crate) async fn post(
        self: &Arc<Self>,
        chat_id: &str,
        outgoing: &Outgoing,
        repair: Repair,
    ) -> Result<Option<SeqNum>, Error> {
        let append = Append {
            session: chat_id.to_owned(),
            part_id: self.part_id(),
            body: outgoing.record.clone(),
            headers: self.headers.clone(),
        };
        let started = Instant::now();
        let result = self.append(chat_id, &append, repair).await;
        let sent = Sent {
            message_id: outgoing.message_id.clone(),
            source: outgoing.source,
            duration: started.elapsed(),
            part_id: Some(append.part_id),
            body_bytes: append.body.len(),
        };
        match &result {
            Ok(_) => self.emit(chat_id, ChatEventKind::MessageSent(sent)),
            Err(error) => {
                let (status, text) = (error.status(), error.to_string());
                self.emit(chat_id, ChatEventKind::MessageSendFailed { sent, error: text, status });
            }
        }
        if let Err(Error::SessionClosed { reason }) = &result {
            self.mark_closed(chat_id, reason.clone(), ClosedSource::Append);
        }
        result
    }

    async fn append(&self, chat_id: &str, append: &Append, repair: Repair) -> Result<Option<SeqNum>, Error> {
        let (mut may_renew, mut may_create) = (repair != Repair::Nothing, repair == Repair::TokenAndSession);
        let mut token = self.token(chat_id);
        loop {
            match append.post(&self.api, &token.as_str().into()).await {
                Err(error) if error.is_auth() && std::mem::take(&mut may_renew) => {
                    token = self.renew(chat_id).await?;
                }
                Err(error) if error.status() == Some(404) && std::mem::take(&mut may_create) => {
                    token = self.recreate(chat_id).await?;
                }
                answer => return answer,
            }
        }
    }

    /// Makes the stream of a registered reader; nothing is requested before it is read.
    pub(crate) fn open(self: &Arc<Self>, opening: Opening<'_>, state: &ChatSessionState) -> ChatStream {
        let drive = self.drive(&opening, state, Told::default());
        let Opening { chat_id, id, cell, baseline, on_abort, .. } = opening;
        cell.start(Box::pin(drive.run()));
        ChatStream::new(self.clone(), chat_id, id, cell, baseline, on_abort)
    }

    /// Makes the read loop of a registered reader, which leaves out what was told already.
    pub(super) fn drive(self: &Arc<Self>, opening: &Opening<'_>, state: &ChatSessionState, told: Told) -> Drive {
        let Opening { chat_id, id, baseline, opened, .. } = *opening;
        let mut options = self.read_options(chat_id, opened).after(state.last_event_id);
        // Only a reload peeks, and not while its own input is known: the boundary before may still be the tail (C-100, CR-1).
        if opened == Opened::Resumed && baseline.is_none() && self.span == Span::Turn {
            options = options.peek_settled();
        }
        let reader = Reader::over(self.host.clone(), self.route.clone(), options, self.jitter("reader", id));
        opening.cell.set_reader(reader.handle());
        Drive {
            reader,
            inner: self.clone(),
            chat_id: chat_id.to_owned(),
            id,
            slot: opening.cell.slot(),
            turn: Turn::new(baseline, self.span, opened).has_shown_first_chunk(told.has_any()),
            // A watcher wants the turns of others.
            backlog: Backlog::new(baseline.filter(|_| self.span == Span::Turn)),
            draws: self.jitter("windows", id),
            window: Instant::now(),
            opened,
            started_after: state.last_event_id,
            told,
        }
    }

    /// Says how this transport reads: with the token of the moment, which is renewed at most once per record (C-139, C-140).
    fn read_options(self: &Arc<Self>, chat_id: &str, opened: Opened) -> ReadOptions {
        let (current, renewing) = ((self.clone(), chat_id.to_owned()), (self.clone(), chat_id.to_owned()));
        let token = move || current.0.token(&current.1).into();
        let renew: ResolveHeaders = Arc::new(move || {
            let (inner, chat_id) = renewing.clone();
            // A successor drops this future with its reader, so a late answer changes nothing (C-143).
            Box::pin(async move { Ok(inner.renew(&chat_id).await.map(|_| HeaderMap::new())?) })
        });
        // Whoever made the head start may be dead, and then nothing will come: the budget of empty windows must end (C-94, D-24).
        let is_short = matches!(opened, Opened::Recovering | Opened::HeadStart);
        let longest_s = if is_short { RECOVERY_WINDOW_S } else { u32::MAX };
        let options = ReadOptions::with_token(chat_id.to_owned(), ChannelName::Out, Arc::new(token))
            .timeout_seconds(self.stream_timeout_seconds.min(longest_s))
            .headers_for(self.headers.clone())
            .policy(read_policy(self.span))
            .resolve_headers(renew);
        // A watcher has no turn that could be gone, and what a head start has told need not be on `out` yet.
        let is_of_out = self.span == Span::Turn && opened != Opened::HeadStart;
        if is_of_out { options.end_past_the_tail() } else { options }
    }
}

/// What a new stream is made of.
pub(crate) struct Opening<'a> {
    pub(crate) chat_id: &'a str,
    pub(crate) id: u64,
    pub(crate) cell: Arc<StreamCell>,
    pub(crate) baseline: Option<SeqNum>,
    pub(crate) on_abort: OnAbort,
    pub(crate) opened: Opened,
}

/// The transport's reader: 60 s without a record is a stall, five in a row on dead connections are the end unless it
/// watches (C-136, RC-2).
fn read_policy(span: Span) -> RetryPolicy {
    RetryPolicy {
        stall_timeout: Some(STALL_TIMEOUT),
        max_stall_retries: (span == Span::Turn).then_some(MAX_STALLS),
        stall_budget: StallBudget::Dead { max_quiet: (span == Span::Turn).then_some(MAX_QUIET_STALLS) },
        ..RetryPolicy::default()
    }
}

/// What an accepted send is to its chat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Acceptance {
    /// The current turn.
    Current,
    /// Stopped while it was being posted: its output belongs to the gate.
    Stopped,
    /// A later input was accepted first.
    Overtaken,
    /// Its reply cannot be told from a stopped one (C-113).
    Untellable,
}

struct Accepted {
    verdict: Acceptance,
    previous: Option<Active>,
    state: ChatSessionState,
}

/// The chat when a send was posted: what differs when it is accepted came in between.
#[derive(Clone, Copy)]
struct Before {
    n_stops: u64,
    newest_input: Option<SeqNum>,
}

fn accept(chat: &mut Chat, active: Active, before: Before) -> Accepted {
    let seq = active.baseline;
    let was_stopped = chat.n_stops != before.n_stops;
    let state = chat.state.get_or_insert_default();
    if seq.is_none() && (state.skip_to_turn_complete || was_stopped) {
        state.requires_transcript_reload = true;
        state.settle();
        let previous = chat.active.take();
        return Accepted { verdict: Acceptance::Untellable, previous, state: state.clone() };
    }
    // A lower place alone proves nothing: the backend may have been replaced by an empty one (CR-24).
    let is_overtaken = seq.is_some() && chat.newest_input > seq && chat.newest_input != before.newest_input;
    if is_overtaken {
        return Accepted { verdict: Acceptance::Overtaken, previous: None, state: state.clone() };
    }
    chat.newest_input = seq;
    if was_stopped {
        state.arm_gate(seq);
        let previous = chat.active.take();
        return Accepted { verdict: Acceptance::Stopped, previous, state: state.clone() };
    }
    state.is_streaming = Some(true);
    state.active_input_seq = seq;
    let previous = chat.active.replace(active);
    Accepted { verdict: Acceptance::Current, previous, state: state.clone() }
}

//! The read loop of one stream: moves bytes and obeys [`Turn`] (C §3.6, §3.7).

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::time::Instant;
use turnkeep_host::Draws;
use turnkeep_protocol::SeqNum;

use super::backlog::Backlog;
use super::head_start::Told;
use super::inner::Inner;
use super::store::StoreNews;
use super::stream::{Delivered, Ended, Outcome, Slot};
use super::turn::{BodyEnd, Opened, Seen, Turn, Verdict, boundary_of, chunk_type};
use super::{ChatEventKind, ClosedSource};
use crate::reader::Read;
use crate::{Error, Part, Reader};

/// Everything one read loop works with.
pub(crate) struct Drive {
    pub(crate) inner: Arc<Inner>,
    pub(crate) chat_id: String,
    pub(crate) id: u64,
    pub(crate) slot: Arc<Slot>,
    pub(crate) turn: Turn,
    pub(crate) backlog: Backlog,
    /// What was shown already, and comes again (D-24).
    pub(crate) told: Told,
    pub(crate) reader: Reader,
    pub(crate) draws: Draws,
    /// When the current read window began.
    pub(crate) window: Instant,
    /// What it was opened for.
    pub(crate) opened: Opened,
    /// The cursor it started after.
    pub(crate) started_after: Option<SeqNum>,
}

impl Drive {
    /// Reads until the stream's own end.
    pub(crate) async fn run(mut self) -> Ended {
        loop {
            let read = self.reader.read_next().await;
            if let Some(gap) = self.reader.take_history_gap() {
                self.inner.emit(&self.chat_id, ChatEventKind::HistoryGap(gap));
            }
            if let Ok(Read::Part(part)) = &read
                && let Some(news) = StoreNews::read(part)
            {
                // Before anything may hold the record back or drop it: the store is not of any turn.
                self.inner.on_store_news(&self.chat_id, self.id, part.seq_num, news);
            }
            let known = match &read {
                Ok(Read::Part(part)) => self.backlog.take(part.clone(), boundary_of(part)),
                _ => self.backlog.release(),
            };
            let mut ended = self.on_parts(known).await;
            if ended.is_none() {
                ended = match read {
                    Ok(Read::Part(_) | Read::CaughtUp) => None,
                    Ok(Read::End) => self.on_body_end(),
                    Err(error) => self.on_failure(error),
                };
            }
            if let Some(ended) = ended {
                return ended;
            }
        }
    }

    async fn on_parts(&mut self, parts: VecDeque<Part>) -> Option<Ended> {
        for part in parts {
            let ended = self.on_part(part).await;
            if ended.is_some() {
                return ended;
            }
        }
        None
    }

    async fn on_part(&mut self, part: Part) -> Option<Ended> {
        let seq_num = part.seq_num;
        let reason = part.header(turnkeep_protocol::SESSION_CLOSED_REASON).map(str::to_owned);
        let turn = &mut self.turn;
        let Some(seen) = self.inner.as_active(&self.chat_id, self.id, |state| turn.on_record(state, part)) else {
            return Some(Ok(Outcome::Superseded));
        };
        let Seen { is_connected, is_closed_news, pending_version, must_notify, verdict } = seen;
        if is_connected {
            self.emit_connected();
        }
        if let Some(source) = pending_version {
            self.inner.emit(&self.chat_id, ChatEventKind::RunPendingVersion { source });
        }
        match verdict {
            Verdict::Finish { input } => {
                if let Some(released) = self.inner.release(&self.chat_id, self.id) {
                    released.cell.commit(input);
                }
                self.emit_completed(seq_num, input);
            }
            Verdict::NextTurn { input } => {
                self.inner.commit(&self.chat_id, self.id, input);
                self.emit_completed(seq_num, input);
            }
            Verdict::EarlierTurn => self.inner.pass_earlier_turn(&self.chat_id, self.id),
            _ => {}
        }
        if must_notify {
            self.inner.notify(&self.chat_id);
        }
        if let Verdict::Finish { .. } = verdict {
            self.inner.let_go(&self.chat_id);
            if let Some(tabs) = &self.inner.tabs {
                tabs.turn_over(&self.chat_id, seq_num);
            }
        }
        if is_closed_news {
            let closed = ChatEventKind::SessionClosed { reason, source: ClosedSource::Stream };
            self.inner.emit(&self.chat_id, closed);
        }
        match verdict {
            Verdict::Drop | Verdict::EarlierTurn | Verdict::NextTurn { .. } => None,
            Verdict::Deliver { delivered, is_first } => {
                if self.told.takes(&delivered.chunk) {
                    return None;
                }
                if is_first {
                    self.emit_first_chunk(&delivered);
                }
                self.slot.put(delivered).await;
                None
            }
            Verdict::Finish { .. } => Some(Ok(Outcome::Completed)),
            Verdict::Closed => self.end(Ok(Outcome::Closed)),
            Verdict::OutputLost => self.fail(Error::OutputLost),
        }
    }

    fn on_body_end(&mut self) -> Option<Ended> {
        let (settled, lasted, unit) = (self.reader.session_settled(), self.window.elapsed(), self.draws.unit());
        let turn = &mut self.turn;
        let end = self.inner.as_active(&self.chat_id, self.id, |state| turn.on_body_end(state, settled, lasted, unit));
        match end {
            None => Some(Ok(Outcome::Superseded)),
            Some(BodyEnd::Close { must_notify }) => {
                self.inner.release(&self.chat_id, self.id);
                if must_notify {
                    self.inner.notify(&self.chat_id);
                }
                self.inner.let_go(&self.chat_id);
                Some(Ok(Outcome::Settled))
            }
            Some(BodyEnd::Resubscribe { after }) => {
                self.reader.resubscribe_after(after);
                self.window = Instant::now() + after;
                None
            }
            Some(BodyEnd::Empty) => self.end(Err(Error::NothingToRecover)),
            Some(BodyEnd::Exhausted { windows }) => self.fail(Error::ReconnectBudget { windows }),
        }
    }

    fn on_failure(&mut self, error: Error) -> Option<Ended> {
        if let Error::SessionClosed { reason } = error {
            self.inner.mark_closed(&self.chat_id, reason, ClosedSource::Stream);
            return Some(Ok(Outcome::Closed));
        }
        if let Error::CursorPastTail { .. } = error {
            // It counts another backend's records, and would hide the first of this one's (C-142, CR-24).
            self.inner.as_active(&self.chat_id, self.id, |state| state.last_event_id = None);
        }
        self.fail(error)
    }

    fn fail(&self, error: Error) -> Option<Ended> {
        Some(self.inner.fail(&self.chat_id, self.id, error))
    }

    fn end(&self, ended: Ended) -> Option<Ended> {
        self.inner.release(&self.chat_id, self.id);
        self.inner.let_go(&self.chat_id);
        Some(ended)
    }

    fn emit_connected(&self) {
        let (message_id, _) = self.inner.last_send(&self.chat_id);
        let (resumed, last_event_id) = (self.opened != Opened::Sent, self.started_after);
        self.inner.emit(&self.chat_id, ChatEventKind::StreamConnected { resumed, last_event_id, message_id });
    }

    fn emit_first_chunk(&self, delivered: &Delivered) {
        let (message_id, since_send) = self.inner.last_send(&self.chat_id);
        let chunk_type = chunk_type(&delivered.chunk);
        let last_event_id = delivered.seq_num;
        self.inner.emit(&self.chat_id, ChatEventKind::FirstChunk { chunk_type, last_event_id, message_id, since_send });
    }

    fn emit_completed(&self, last_event_id: SeqNum, session_in_event_id: Option<SeqNum>) {
        let (message_id, since_send) = self.inner.last_send(&self.chat_id);
        let last_event_id = Some(last_event_id);
        let event = ChatEventKind::TurnCompleted { last_event_id, session_in_event_id, message_id, since_send };
        self.inner.emit(&self.chat_id, event);
    }
}

impl Inner {
    /// Ends stream `id` with an error: the flag is cleared and told first, so that a reload opens no doomed stream (C-150).
    pub(crate) fn fail(&self, chat_id: &str, id: u64, error: Error) -> Ended {
        let cleared = self.as_active(chat_id, id, |state| state.is_streaming = Some(false));
        if cleared.is_none() {
            return Ok(Outcome::Superseded);
        }
        self.release(chat_id, id);
        self.notify(chat_id);
        self.let_go(chat_id);
        let event = ChatEventKind::StreamError { error: error.to_string(), status: error.status() };
        self.emit(chat_id, event);
        Err(error)
    }

    /// Gives what response events refer to: the last send that wants a turn, and since when (C-145).
    pub(crate) fn last_send(&self, chat_id: &str) -> (Option<String>, Option<std::time::Duration>) {
        let last = self.chat(chat_id, |chat| chat.last_send.clone());
        last.map_or((None, None), |last| (last.message_id, Some(last.acknowledged.elapsed())))
    }
}

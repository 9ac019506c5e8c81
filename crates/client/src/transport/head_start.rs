//! The first turn of a chat by way of the author's warm server (C §5.3): one POST, whose response is the whole turn.
//!
//! A response that breaks off is read on from `out`, since the session's token has come with its headers (D-24).

mod frames;

use std::sync::Arc;

use http::header::HeaderName;
use tokio::time::Instant;
use turnkeep_host::http::BodyStream;

pub(crate) use self::frames::Told;

use self::frames::{Frames, HeadFrame, HeadTurn, HeadVerdict};
use super::inner::{Active, Inner, LastSend};
use super::payload::Outgoing;
use super::send::{Opening, STALL_TIMEOUT};
use super::stream::{ChatStream, Delivered, Ended, OnAbort, Outcome, Slot, StreamCell};
use super::turn::{Opened, chunk_type};
use super::{ChatEventKind, Sent};
use crate::api::Call;
use crate::route::{Endpoint, FetchContext};
use crate::{Error, Refused};

/// The header that brings the session's token (C-205).
const TOKEN_HEADER: HeaderName = HeaderName::from_static("x-trigger-chat-access-token");

/// How much of a refusal's text is read.
const MAX_REFUSAL_BYTES: usize = 4096;

impl Inner {
    /// Tells whether a send is this chat's first turn, and one for the warm server: nothing at all is known of the chat (C-184, C-203).
    pub(crate) fn is_head_start(&self, chat_id: &str) -> bool {
        self.has_head_start && self.chat(chat_id, |chat| chat.state.is_none() && chat.starting.is_none())
    }

    /// Makes the first turn in the author's warm server.
    ///
    /// The chat is claimed before there is a session: the server asks a model as soon as it is asked. A claim of which nothing comes
    /// is let go of again (C-130).
    pub(crate) async fn head_start(self: &Arc<Self>, chat_id: &str, outgoing: Outgoing) -> Result<ChatStream, Error> {
        self.check_writable(chat_id)?;
        let _sending = self.claim(chat_id)?;
        let started = Instant::now();
        let posted = self.post_head_start(chat_id, &outgoing).await;
        let sent = Sent {
            message_id: outgoing.message_id.clone(),
            source: outgoing.source,
            duration: started.elapsed(),
            part_id: None,
            body_bytes: outgoing.record.len(),
        };
        let (token, body) = match posted {
            Ok(posted) => posted,
            Err(error) => {
                // The chat stays unknown, so the next try is a head start again (C-204).
                let (status, text) = (error.status(), error.to_string());
                self.emit(chat_id, ChatEventKind::MessageSendFailed { sent, error: text, status });
                return Err(error);
            }
        };
        let (id, cell) = (self.stream_id(), Arc::new(StreamCell::default()));
        let active = Active { id, baseline: None, cell: cell.clone() };
        let last_send = LastSend { message_id: outgoing.message_id, acknowledged: Instant::now() };
        let previous = self.chat(chat_id, |chat| {
            let state = chat.state.get_or_insert_default();
            state.public_access_token = token;
            state.is_streaming = Some(true);
            chat.last_send = Some(last_send);
            if let Some(queued) = &outgoing.store {
                chat.store.sent(queued);
            }
            // Registered like any reader: a stop finds it, and a reconnect opens no second one (C-131, CR-33).
            chat.active.replace(active)
        });
        if let Some(previous) = previous {
            previous.cell.end(Outcome::Superseded);
        }
        self.notify(chat_id);
        self.emit(chat_id, ChatEventKind::MessageSent(sent));
        let (inner, chat) = (self.clone(), chat_id.to_owned());
        let drive = HeadDrive {
            inner,
            chat_id: chat,
            id,
            slot: cell.slot(),
            body,
            turn: HeadTurn::default(),
            is_connected: false,
        };
        cell.start(Box::pin(drive.run()));
        Ok(ChatStream::new(self.clone(), chat_id, id, cell, None, OnAbort::Stop))
    }

    /// Posts once: a second try would find the chat there already. Gives the token and the response's body.
    async fn post_head_start(&self, chat_id: &str, outgoing: &Outgoing) -> Result<(String, BodyStream), Error> {
        let context = FetchContext { endpoint: Endpoint::HeadStart, chat_id: chat_id.to_owned() };
        let extra = (self.headers)(&context);
        let call = Call::post(context, String::new(), outgoing.record.clone()).under(&extra);
        let (head, mut body) = self.route.open(&call)?.await?.into_parts();
        if !head.status.is_success() {
            let mut text = Vec::new();
            while text.len() < MAX_REFUSAL_BYTES
                && let Some(Ok(bytes)) = tokio::time::timeout(STALL_TIMEOUT, body.next_chunk()).await.ok().flatten()
            {
                text.extend_from_slice(&bytes);
            }
            text.truncate(MAX_REFUSAL_BYTES);
            return Err(Error::Refused { refused: Refused::read(head.status, &head.headers, &text) });
        }
        let token = head.headers.get(TOKEN_HEADER).and_then(|token| token.to_str().ok()).unwrap_or_default();
        if token.is_empty() {
            let problem = format!("it has no {TOKEN_HEADER} header");
            return Err(Error::BadResponse { what: "head-start response", problem });
        }
        Ok((token.to_owned(), body))
    }
}

/// The read loop of one head start: moves bytes and obeys [`HeadTurn`].
struct HeadDrive {
    inner: Arc<Inner>,
    chat_id: String,
    id: u64,
    slot: Arc<Slot>,
    body: BodyStream,
    turn: HeadTurn,
    is_connected: bool,
}

impl HeadDrive {
    async fn run(mut self) -> Ended {
        let mut frames = Frames::default();
        loop {
            let read = tokio::time::timeout(STALL_TIMEOUT, self.body.next_chunk()).await;
            let (read, is_last) = match read {
                Ok(Some(Ok(bytes))) => (frames.push(&bytes), false),
                Ok(None) => (Ok(frames.finish()), true),
                // A connection that breaks, and one that is silent: a handler that lives is never quiet for so long.
                Ok(Some(Err(_))) | Err(_) => return self.read_on().await,
            };
            let Ok(read) = read else { return self.read_on().await };
            for frame in read {
                if let Some(ended) = self.on_frame(frame).await {
                    return ended;
                }
            }
            if is_last {
                return self.on_end();
            }
        }
    }

    async fn on_frame(&mut self, frame: HeadFrame) -> Option<Ended> {
        let turn = &mut self.turn;
        let verdict = self.inner.as_active(&self.chat_id, self.id, |state| turn.on_frame(state, frame));
        let Some(verdict) = verdict else { return Some(Ok(Outcome::Superseded)) };
        let (message_id, since_send) = self.inner.last_send(&self.chat_id);
        if !std::mem::replace(&mut self.is_connected, true) {
            let message_id = message_id.clone();
            self.emit(ChatEventKind::StreamConnected { resumed: false, last_event_id: None, message_id });
        }
        match verdict {
            HeadVerdict::Deliver { chunk, is_first } => {
                if is_first {
                    let chunk_type = chunk_type(&chunk);
                    self.emit(ChatEventKind::FirstChunk { chunk_type, last_event_id: None, message_id, since_send });
                }
                self.slot.put(Delivered { seq_num: None, chunk }).await;
            }
            HeadVerdict::Completed => {
                let (last_event_id, session_in_event_id) = (None, None);
                self.emit(ChatEventKind::TurnCompleted { last_event_id, session_in_event_id, message_id, since_send });
                self.inner.notify(&self.chat_id);
            }
            HeadVerdict::Stored => self.inner.notify(&self.chat_id),
        }
        None
    }

    fn on_end(&self) -> Ended {
        let turn = &self.turn;
        let ended = self.inner.as_active(&self.chat_id, self.id, |state| {
            (turn.on_end(state), state.last_event_id.filter(|_| turn.is_complete()))
        });
        let Some((was_streaming, cursor)) = ended else { return Ok(Outcome::Superseded) };
        self.inner.release(&self.chat_id, self.id);
        if was_streaming {
            self.inner.notify(&self.chat_id);
        }
        self.inner.let_go(&self.chat_id);
        if let (Some(tabs), Some(cursor)) = (&self.inner.tabs, cursor) {
            tabs.turn_over(&self.chat_id, cursor);
        }
        Ok(if turn.is_complete() { Outcome::Completed } else { Outcome::Settled })
    }

    /// Reads the rest of the turn from `out`, without what was shown already (D-24).
    async fn read_on(self) -> Ended {
        let Self { inner, chat_id, id, turn, body, .. } = self;
        drop(body);
        if turn.is_complete() {
            // Only the cursor is missing: the next turn finds its own beginning (C-82).
            inner.release(&chat_id, id);
            inner.let_go(&chat_id);
            return Ok(Outcome::Completed);
        }
        let cell = inner.chat(&chat_id, |chat| {
            let mine = chat.active.as_ref().filter(|active| active.id == id);
            mine.map(|active| active.cell.clone()).zip(chat.state.clone())
        });
        let Some((cell, state)) = cell else { return Ok(Outcome::Superseded) };
        let Some(told) = turn.into_told() else {
            return inner.fail(&chat_id, id, Error::StreamBroken { message: "the head start broke off".to_owned() });
        };
        let opening =
            Opening { chat_id: &chat_id, id, cell, baseline: None, on_abort: OnAbort::Stop, opened: Opened::HeadStart };
        inner.drive(&opening, &state, told).run().await
    }

    fn emit(&self, kind: ChatEventKind) {
        self.inner.emit(&self.chat_id, kind);
    }
}

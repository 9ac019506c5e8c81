//! The chat transport: send and get a stream of chunks, reconnect, stop (C §3, §5.3).
//!
//! ```text
//! send ──▶ start once ──▶ append (one part id) ──▶ register ──▶ ChatStream
//!                                                    │  pulls
//!                                     Reader ──▶ Turn (pure) ──▶ deliver · drop · finish · gate
//! ```
//!
//! The state of a chat is a plain value ([`ChatSessionState`]) that the application persists when it is told to.

mod backlog;
mod drive;
mod event;
mod head_start;
mod inner;
mod options;
mod payload;
mod send;
mod shared;
mod start;
mod stop;
mod store;
mod stream;
mod tabs;
mod telling;
mod turn;
mod wake;

use std::fmt;
use std::sync::Arc;

use serde_json::Value;
use turnkeep_host::Host;
use turnkeep_host::http::BaseUrl;
use turnkeep_protocol::{JsonObject, SeqNum, TaskId, UiMessage};

pub use self::event::{ChatEvent, ChatEventKind, ClosedSource, PendingSource, Sent, Source};
pub use self::options::{
    AccessToken, OnEvent, OnSessionChange, StartRequest, StartSession, TokenRequest, TransportBuilder,
};
pub use self::payload::SendMessages;
pub use self::store::OnStoreChange;
pub use self::stream::{
    AbortHandle, ChatMessages, ChatResult, ChatStream, Delivered, OnAbort, OnMessage, Outcome, ToolCall, ToolResult,
};
pub use self::tabs::{OnReadOnly, OnTabMessages, TabChannel, TabMessage};
pub use self::wake::PageEvent;

use self::inner::{Active, Inner};
use self::payload::{Ambient, Outgoing};
use self::send::{Opening, Repair};
use self::stream::StreamCell;
use self::turn::{Opened, Span};
use crate::route::Fetch;
use crate::{ChatSessionState, Error};

/// What a reconnect does when the state says that nothing streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Idle {
    /// Gives nothing, without a request (C-99).
    Nothing,
    /// Asks the server.
    Ask,
    /// Reads what comes (CA-64).
    Recover,
}

/// A client of any number of chats of one agent; cheap to clone, all clones are one transport.
#[derive(Clone)]
pub struct Transport {
    inner: Arc<Inner>,
}

impl Transport {
    /// Begins a transport for the agent `task` behind the server at `base`.
    ///
    /// `access_token` renews the token of an existing session and never creates one.
    pub fn builder(host: Host, base: BaseUrl, task: TaskId, access_token: AccessToken) -> TransportBuilder {
        TransportBuilder::new(host, base, task, access_token)
    }

    pub(crate) fn new(builder: TransportBuilder) -> Self {
        let inner = Arc::new(Inner::new(builder));
        inner.listen_to_tabs();
        Self { inner }
    }

    /// Starts the chat's session and gives its state; makes no call when there is a token already (C-69, C-70).
    ///
    /// # Errors
    ///
    /// [`Error::NoStartSession`] without that callback (C-71), [`Error::Callback`] when it fails.
    pub async fn start(&self, chat_id: &str) -> Result<ChatSessionState, Error> {
        let is_started = self.inner.state(chat_id).is_some_and(|state| !state.public_access_token.is_empty());
        if !is_started && self.inner.callbacks().start_session.is_none() {
            return Err(Error::NoStartSession);
        }
        self.inner.ensure_started(chat_id).await
    }

    /// Starts the chat's session before its first message, so that its run boots early (C-69).
    ///
    /// # Errors
    ///
    /// As [`Transport::start`].
    pub async fn preload(&self, chat_id: &str) -> Result<(), Error> {
        self.start(chat_id).await.map(drop)
    }

    /// Submits a message or asks for an answer again; gives the stream of the reply (C-79).
    ///
    /// The session is started if need be. The previous reader of the chat ends once the append is accepted and not before.
    /// Dropping the future before it is ready lets go: nothing further is posted and no reader is touched.
    ///
    /// # Errors
    ///
    /// The send failed and nothing was opened; the previous reader and the state are as they were (C-149).
    pub async fn send_messages(&self, chat_id: &str, send: SendMessages) -> Result<ChatStream, Error> {
        let (client_data, store) = (self.inner.callbacks().client_data, self.inner.queued_store(chat_id));
        let ambient = Ambient { client_data: client_data.as_ref(), store: store.as_ref() };
        if self.inner.is_head_start(chat_id) && !send.is_action() {
            let outgoing = Outgoing::head_start(chat_id, send, ambient)?;
            return self.inner.head_start(chat_id, outgoing).await;
        }
        let outgoing = Outgoing::messages(chat_id, send, ambient)?;
        self.inner.dispatch(chat_id, outgoing).await
    }

    /// Sends an action; its stream closes at its boundary, at once for an action without output (C-118).
    ///
    /// # Errors
    ///
    /// As [`Transport::send_messages`].
    pub async fn send_action(
        &self,
        chat_id: &str,
        action: Value,
        metadata: Option<&JsonObject>,
    ) -> Result<ChatStream, Error> {
        let (client_data, store) = (self.inner.callbacks().client_data, self.inner.queued_store(chat_id));
        let ambient = Ambient { client_data: client_data.as_ref(), store: store.as_ref() };
        let outgoing = Outgoing::action(chat_id, action, metadata, ambient);
        self.inner.dispatch(chat_id, outgoing).await
    }

    /// Posts a message beside a running turn without touching its reader; tells whether it was accepted (C-120).
    pub async fn send_pending_message(
        &self,
        chat_id: &str,
        message: &UiMessage,
        metadata: Option<&JsonObject>,
    ) -> bool {
        if self.inner.state(chat_id).is_none() || self.inner.check_sendable(chat_id).is_err() {
            return false;
        }
        let client_data = self.inner.callbacks().client_data;
        let outgoing = Outgoing::steer(chat_id, message, metadata, client_data.as_ref());
        self.inner.post(chat_id, &outgoing, Repair::Token).await.is_ok()
    }

    /// Resumes the chat's stream after a reload; none when there is nothing to resume (C-99).
    ///
    /// The reader is registered before this returns, so two calls in a row give one stream (C-104). An abort of the stream
    /// closes the view only (C-102); see [`Transport::reconnect_as_owner`].
    pub fn reconnect_to_stream(&self, chat_id: &str) -> Option<ChatStream> {
        self.reconnect(chat_id, OnAbort::Close, Idle::Nothing)
    }

    /// Resumes like [`Transport::reconnect_to_stream`], with a stream whose abort posts a stop (C-102).
    pub fn reconnect_as_owner(&self, chat_id: &str) -> Option<ChatStream> {
        self.reconnect(chat_id, OnAbort::Stop, Idle::Nothing)
    }

    /// Resumes like [`Transport::reconnect_to_stream`], and asks the server where the state says that nothing streams (C-164).
    pub(crate) fn reconnect_even_if_idle(&self, chat_id: &str) -> Option<ChatStream> {
        self.reconnect(chat_id, OnAbort::Close, Idle::Ask)
    }

    /// Reads on behind a reply that broke off, also where the state says that nothing streams (D-83); none where a reconnect gives
    /// none for another reason.
    ///
    /// Nothing is posted, and the server is not asked whether the turn is over: its boundary says so. A first window of at most
    /// 30 s that brings nothing ends the stream with [`Error::NothingToRecover`] and changes nothing, so it can be read again; behind its first
    /// record the stream is like any other. An abort or a stop ends it without an error.
    pub fn recover_stream(&self, chat_id: &str) -> Option<ChatStream> {
        self.reconnect(chat_id, OnAbort::Close, Idle::Recover)
    }

    fn reconnect(&self, chat_id: &str, on_abort: OnAbort, idle: Idle) -> Option<ChatStream> {
        let id = self.inner.stream_id();
        let cell = Arc::new(StreamCell::default());
        let state = self.inner.chat(chat_id, |chat| {
            let state = chat.state.clone()?;
            let is_idle = state.is_streaming == Some(false) && self.inner.span == Span::Turn;
            if (is_idle && idle == Idle::Nothing)
                || state.closed
                || state.requires_transcript_reload
                || chat.active.is_some()
            {
                return None;
            }
            if is_idle && idle == Idle::Ask {
                // From now on its records tell whether a turn streams (C-62, C-89).
                chat.state.as_mut()?.is_streaming = None;
            }
            chat.active = Some(Active { id, baseline: state.active_input_seq, cell: cell.clone() });
            Some(state)
        })?;
        let baseline = state.active_input_seq;
        let opened = if idle == Idle::Recover { Opened::Recovering } else { Opened::Resumed };
        Some(self.inner.open(Opening { chat_id, id, cell, baseline, on_abort, opened }, &state))
    }

    /// Stops the chat's turn; tells whether the stop was accepted. False without state (C-105).
    ///
    /// The reader is closed and later output of the turn is discarded even when the request fails (C-117).
    pub async fn stop_generation(&self, chat_id: &str) -> bool {
        self.inner.stop(chat_id).await.unwrap_or(false)
    }

    /// Stops like [`Transport::stop_generation`] and says why it failed (`throwOnError` in the field's words, C-105).
    ///
    /// # Errors
    ///
    /// The original delivery error.
    pub async fn try_stop_generation(&self, chat_id: &str) -> Result<bool, Error> {
        self.inner.stop(chat_id).await
    }

    /// Asks the chat's run to end and forgets the token, not the cursor; tells whether it was accepted (C-163).
    pub(crate) async fn end_run(&self, chat_id: &str) -> bool {
        let posted = self.inner.post(chat_id, &Outgoing::close(chat_id), Repair::Token).await;
        if posted.is_ok() {
            let active = self.inner.chat(chat_id, |chat| {
                if let Some(state) = &mut chat.state {
                    state.public_access_token.clear();
                    state.settle();
                }
                chat.active.take()
            });
            if let Some(active) = active {
                active.cell.end(Outcome::Aborted);
            }
            self.inner.let_go(chat_id);
            self.inner.notify(chat_id);
        }
        posted.is_ok()
    }

    /// Abandons a stopped turn that died without a boundary (C-116).
    pub fn clear_supersede_gate(&self, chat_id: &str) {
        let had_gate = self.inner.chat(chat_id, |chat| chat.state.as_mut().is_some_and(ChatSessionState::clear_gate));
        if had_gate {
            self.inner.notify(chat_id);
        }
    }

    /// Takes over the cursors of a freshly loaded transcript: `out` seeds a chat without cursor (C-68), and both together
    /// unlock a chat that waits for them (C-113). Tells whether anything changed.
    pub fn adopt_transcript(&self, chat_id: &str, out: SeqNum, input: Option<SeqNum>) -> bool {
        let changed = self
            .inner
            .chat(chat_id, |chat| chat.state.as_mut().is_some_and(|state| state.adopt_transcript(out, input)));
        if changed {
            self.inner.notify(chat_id);
        }
        changed
    }

    /// Gives a copy of the chat's state as it is now (C-66). Persist what `on_session_change` told instead: in the middle of a
    /// turn this cursor is ahead of the last chunk boundary a reload could render from (C-65).
    pub fn session(&self, chat_id: &str) -> Option<ChatSessionState> {
        self.inner.state(chat_id)
    }

    /// Replaces the chat's whole state and tells the application (C-66).
    pub fn set_session(&self, chat_id: &str, state: ChatSessionState) {
        self.inner.chat(chat_id, |chat| chat.state = Some(state));
        self.inner.notify(chat_id);
    }

    /// Replaces the client data of every later send and start (C-75, CR-6).
    pub fn set_client_data(&self, client_data: Option<JsonObject>) {
        self.inner.change_callbacks(|callbacks| callbacks.client_data = client_data);
    }

    /// Replaces the token callback, also for open streams (C-60).
    pub fn set_access_token(&self, access_token: AccessToken) {
        self.inner.change_callbacks(|callbacks| callbacks.access_token = access_token);
    }

    /// Replaces the hook that sees every request, also for open streams (C-60).
    pub fn set_fetch(&self, fetch: Option<Fetch>) {
        self.inner.route.set_fetch(fetch);
    }

    /// Replaces the start callback (C-60).
    pub fn set_start_session(&self, start_session: Option<StartSession>) {
        self.inner.change_callbacks(|callbacks| callbacks.start_session = start_session);
    }

    /// Replaces who hears of changes; the next change is the first it gets (C-66).
    pub fn set_on_session_change(&self, heard: Option<OnSessionChange>) {
        self.inner.change_callbacks(|callbacks| callbacks.on_session_change = heard);
    }

    /// Replaces who hears of events (C-66).
    pub fn set_on_event(&self, heard: Option<OnEvent>) {
        self.inner.change_callbacks(|callbacks| callbacks.on_event = heard);
    }

    /// Tells what happened to the page; every live reader wakes up as need be (C-134).
    pub fn page_event(&self, event: PageEvent) {
        self.inner.on_page_event(event);
    }

    /// Ends every open stream of this transport without a stop, lets its chats go and leaves the other tabs (C-151).
    ///
    /// The turns go on. Call it before the page unloads, so that other tabs need not wait for a dead one (C-125).
    pub fn dispose(&self) {
        for active in self.inner.take_all_active() {
            active.cell.end(Outcome::Aborted);
        }
        self.inner.leave_tabs();
    }
}

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transport").field("task", &self.inner.task).finish_non_exhaustive()
    }
}

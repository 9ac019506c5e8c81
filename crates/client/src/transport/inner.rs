//! What all clones of a transport share: the chats, the callbacks, and the calls that keep them up to date.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;
use turnkeep_host::{Draws, Host, Task, Tasks};
use turnkeep_protocol::{PartId, SeqNum, TaskId};

use super::options::{Callbacks, TransportBuilder};
use super::start::Starting;
use super::store::{HearStore, StoreState};
use super::stream::StreamCell;
use super::tabs::Tabs;
use super::telling::Telling;
use super::turn::Span;
use super::wake::{PageEvent, Visibility, Wake};
use super::{ChatEvent, ChatEventKind, ClosedSource, TokenRequest};
use crate::api::Api;
use crate::listeners::Listeners;
use crate::reader::quietly;
use crate::route::{HeadersFor, Route};
use crate::{ChatSessionState, Error};

/// The length of a part id, its time included (S-176).
const PART_ID_CHARACTERS: usize = 21;

/// Shared by every clone of a [`super::Transport`] and by its streams.
pub(crate) struct Inner {
    pub(crate) host: Host,
    pub(crate) route: Route,
    pub(crate) api: Api,
    pub(crate) task: TaskId,
    pub(crate) headers: HeadersFor,
    pub(crate) stream_timeout_seconds: u32,
    /// Whether a warm server makes first turns (C-203).
    pub(crate) has_head_start: bool,
    /// Stops posted by aborts.
    pub(crate) tasks: Tasks,
    entropy: turnkeep_host::Entropy,
    part_ids: Draws,
    next_stream: AtomicU64,
    pub(crate) span: Span,
    visibility: Mutex<Visibility>,
    pub(crate) tabs: Option<Arc<Tabs>>,
    pub(super) tabs_task: Mutex<Option<Task>>,
    pub(crate) on_store: Listeners<HearStore>,
    callbacks: Mutex<Callbacks>,
    chats: Mutex<BTreeMap<String, Chat>>,
    telling: Telling,
}

/// One chat as this transport knows it.
#[derive(Default)]
pub(crate) struct Chat {
    pub(crate) state: Option<ChatSessionState>,
    /// The one live reader (C-80).
    pub(crate) active: Option<Active>,
    /// A start in flight, shared by all who wait for it (C-70).
    pub(crate) starting: Option<Starting>,
    /// The latest input of ours that was accepted: an earlier one that is acknowledged after it, even after its turn has ended,
    /// is not the chat's current turn (C-80).
    pub(crate) newest_input: Option<SeqNum>,
    /// Counts stops, so that a send can tell whether one came while it was being posted.
    pub(crate) n_stops: u64,
    /// The last acknowledged send that produces a turn (C-145).
    pub(crate) last_send: Option<LastSend>,
    /// Sends that are being posted: each needs the chat's claim (C-130).
    pub(crate) n_sending: u32,
    /// What the agent and its clients share (C-173).
    pub(crate) store: StoreState,
}

/// The registered reader of a chat.
#[derive(Clone)]
pub(crate) struct Active {
    pub(crate) id: u64,
    pub(crate) baseline: Option<SeqNum>,
    pub(crate) cell: Arc<StreamCell>,
}

/// What response events refer to.
#[derive(Clone, Debug)]
pub(crate) struct LastSend {
    pub(crate) message_id: Option<String>,
    pub(crate) acknowledged: Instant,
}

impl Chat {
    /// Tells whether a stop has something to cut (C-109).
    pub(crate) fn has_outstanding_turn(&self) -> bool {
        let Some(state) = &self.state else { return false };
        let is_unknown = self.active.is_some() && state.is_streaming.is_none();
        state.has_outstanding_turn() || is_unknown
    }
}

impl Inner {
    pub(crate) fn new(builder: TransportBuilder) -> Self {
        let (base, has_head_start) = (builder.base_for(), builder.head_start.is_some());
        let TransportBuilder {
            host,
            fetch,
            task,
            name,
            headers,
            stream_timeout_seconds,
            span,
            multi_tab,
            sessions,
            callbacks,
            ..
        } = builder;
        let entropy = host.entropy().child("client").child(&name);
        let route = Route::new(host.clone(), base);
        route.set_fetch(fetch);
        // A watcher sends nothing that others would have to wait for (C §3.1).
        let multi_tab = multi_tab.filter(|_| span == Span::Turn);
        let tab_id = entropy.child("tab").draws().alphanumeric(12);
        let tabs = multi_tab.map(|channel| Arc::new(Tabs::new(tab_id, channel)));
        let chats =
            sessions.into_iter().map(|(id, state)| (id, Chat { state: Some(state), ..Chat::default() })).collect();
        Self {
            api: Api::new(host.clone(), route.clone(), entropy.child("append-backoff").draws()),
            route,
            task,
            headers,
            stream_timeout_seconds,
            has_head_start,
            tasks: Tasks::new(),
            part_ids: entropy.child("part-ids").draws(),
            entropy,
            next_stream: AtomicU64::new(0),
            span,
            visibility: Mutex::default(),
            tabs,
            tabs_task: Mutex::default(),
            on_store: Listeners::default(),
            callbacks: Mutex::new(callbacks),
            chats: Mutex::new(chats),
            telling: Telling::default(),
            host,
        }
    }

    /// Works on one chat. Never call back into the application from `work`.
    pub(crate) fn chat<T>(&self, chat_id: &str, work: impl FnOnce(&mut Chat) -> T) -> T {
        let mut chats = self.chats();
        // Looking at an unknown chat must not make one: the map would grow with every question.
        if let Some(chat) = chats.get_mut(chat_id) {
            return work(chat);
        }
        let mut chat = Chat::default();
        let result = work(&mut chat);
        if chat.state.is_some() || chat.starting.is_some() || chat.active.is_some() || !chat.store.is_empty() {
            chats.insert(chat_id.to_owned(), chat);
        }
        result
    }

    /// Works on the state of the chat as long as stream `id` is its registered reader; none once it is not (C-90, C-150).
    pub(crate) fn as_active<T>(
        &self,
        chat_id: &str,
        id: u64,
        work: impl FnOnce(&mut ChatSessionState) -> T,
    ) -> Option<T> {
        self.chat(chat_id, |chat| {
            let is_mine = chat.active.as_ref().is_some_and(|active| active.id == id);
            chat.state.as_mut().filter(|_| is_mine).map(work)
        })
    }

    /// Removes the registration, if it is still this stream's (C-90, CR-9), and gives it.
    pub(crate) fn release(&self, chat_id: &str, id: u64) -> Option<Active> {
        self.chat(chat_id, |chat| chat.active.take_if(|active| active.id == id))
    }

    /// Notes on the stream, while it is registered, which input its boundary named.
    pub(crate) fn commit(&self, chat_id: &str, id: u64, input: Option<SeqNum>) {
        let active = self.chat(chat_id, |chat| chat.active.clone());
        if let Some(active) = active.filter(|active| active.id == id) {
            active.cell.commit(input);
        }
    }

    /// Counts on the stream, while it is registered, that an earlier turn's boundary went by.
    pub(crate) fn pass_earlier_turn(&self, chat_id: &str, id: u64) {
        let active = self.chat(chat_id, |chat| chat.active.clone());
        if let Some(active) = active.filter(|active| active.id == id) {
            active.cell.pass_earlier_turn();
        }
    }

    /// Tells every live reader that the page woke up (C-134, C-135).
    pub(crate) fn on_page_event(&self, event: PageEvent) {
        let wake = self.visibility.lock().unwrap_or_else(PoisonError::into_inner).on(event, Instant::now());
        let Some(wake) = wake else { return };
        let readers: Vec<_> = self.chats().values().filter_map(|chat| chat.active.as_ref()?.cell.reader()).collect();
        for reader in readers {
            match wake {
                Wake::Reconnect => reader.force_reconnect(),
                Wake::RetryNow => reader.retry_now(),
            }
        }
    }

    /// Takes every registered reader away.
    pub(crate) fn take_all_active(&self) -> Vec<Active> {
        self.chats().values_mut().filter_map(|chat| chat.active.take()).collect()
    }

    pub(crate) fn state(&self, chat_id: &str) -> Option<ChatSessionState> {
        self.chat(chat_id, |chat| chat.state.clone())
    }

    /// Gives the token of the moment; empty when there is none.
    pub(crate) fn token(&self, chat_id: &str) -> String {
        self.state(chat_id).map(|state| state.public_access_token).unwrap_or_default()
    }

    pub(crate) fn callbacks(&self) -> Callbacks {
        self.callbacks.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn change_callbacks(&self, change: impl FnOnce(&mut Callbacks)) {
        change(&mut self.callbacks.lock().unwrap_or_else(PoisonError::into_inner));
    }

    pub(super) fn chats(&self) -> MutexGuard<'_, BTreeMap<String, Chat>> {
        self.chats.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells the application what to persist now (C-64). What it hears last is never older than what it heard before.
    pub(crate) fn notify(&self, chat_id: &str) {
        self.telling.tell(chat_id, || {
            if let (Some(heard), Some(state)) = (self.callbacks().on_session_change, self.state(chat_id)) {
                heard(chat_id, &state);
            }
        });
    }

    /// Tells the observer; its panics never change behaviour (C-147).
    pub(crate) fn emit(&self, chat_id: &str, kind: ChatEventKind) {
        let Some(heard) = self.callbacks().on_event else { return };
        let event = ChatEvent { chat_id: chat_id.to_owned(), timestamp: self.host.clock().now(), kind };
        quietly(|| heard(&event));
    }

    /// Makes a part id: unique by this transport's name, by time and by draw (C-18, S-176).
    pub(crate) fn part_id(&self) -> PartId {
        let stamp = format!("{:x}-", self.host.clock().now().as_millis());
        let n_drawn = PART_ID_CHARACTERS.saturating_sub(stamp.len());
        PartId::new(stamp + &self.part_ids.alphanumeric(n_drawn))
    }

    pub(crate) fn stream_id(&self) -> u64 {
        self.next_stream.fetch_add(1, Ordering::Relaxed)
    }

    /// Opens the jitter stream of one purpose of one reader.
    pub(crate) fn jitter(&self, purpose: &str, stream_id: u64) -> Draws {
        self.entropy.child(purpose).child(&stream_id.to_string()).draws()
    }

    /// Gets a fresh token, stores it and tells the application (C-138, C-139).
    pub(crate) async fn renew(&self, chat_id: &str) -> Result<String, Error> {
        let access_token = self.callbacks().access_token;
        let token = access_token(TokenRequest { chat_id: chat_id.to_owned() })
            .await
            .map_err(|error| Error::Callback { callback: "accessToken", message: error.to_string() })?;
        self.chat(chat_id, |chat| {
            if let Some(state) = &mut chat.state {
                state.public_access_token.clone_from(&token);
            }
        });
        self.notify(chat_id);
        Ok(token)
    }

    /// Marks the session closed; tells the application and the observer once (C-85).
    pub(crate) fn mark_closed(&self, chat_id: &str, reason: Option<String>, source: ClosedSource) {
        let (is_news, active) = self.chat(chat_id, |chat| {
            let is_news = chat.state.as_mut().is_some_and(|state| state.close(reason.clone()));
            (is_news, chat.active.take())
        });
        if let Some(active) = active {
            active.cell.end(super::Outcome::Closed);
        }
        self.let_go(chat_id);
        if is_news {
            self.notify(chat_id);
            self.emit(chat_id, ChatEventKind::SessionClosed { reason, source });
        }
    }
}

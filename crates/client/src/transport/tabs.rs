//! Several tabs of one application: one of them sends, the others watch (C §3.12).
//!
//! ```text
//! send ──▶ claim ──▶ other tabs are read-only ──▶ own boundary ──▶ cursor told, claim released
//! ```
//!
//! [`Claims`] decides; this shell carries messages and keeps time.

mod claims;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use futures::future::BoxFuture;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};
use turnkeep_protocol::{SeqNum, UiMessage};

pub use self::claims::TabMessage;

use self::claims::{Claims, Effect};
use super::inner::Inner;
use crate::listeners::Listeners;

/// How often a holder gives a sign of life and dead holders are looked for (C-126).
const HEARTBEAT: Duration = Duration::from_secs(5);

/// How long a message list waits for a quiet moment and for a newer list (C-128).
const SHARE_AFTER: Duration = Duration::from_millis(50);

/// The way between the tabs of one origin; in a browser, the broadcast channel `trigger-chat-tab-coord`.
///
/// What is sent reaches every other tab that listens, in the order of sending, late or never.
pub trait TabChannel: Send + Sync {
    /// Tells the other tabs; must not wait.
    fn send(&self, message: &TabMessage);

    /// Waits for the next message; `None` is the channel's end. Cancel-safe.
    fn receive(&self) -> BoxFuture<'_, Option<TabMessage>>;
}

/// Hears that a chat has become read-only in this tab, or writable again.
pub type OnReadOnly = Arc<HearReadOnly>;
type HearReadOnly = dyn Fn(&str, bool) + Send + Sync;

/// Hears what the tab that holds a chat shows, while this one is read-only.
pub type OnTabMessages = Arc<HearMessages>;
type HearMessages = dyn Fn(&str, &[UiMessage]) + Send + Sync;

/// This tab among the others.
pub(crate) struct Tabs {
    claims: Mutex<Claims>,
    channel: Arc<dyn TabChannel>,
    has_list: Notify,
    is_leaving: Notify,
    pub(crate) on_read_only: Listeners<HearReadOnly>,
    pub(crate) on_messages: Listeners<HearMessages>,
}

impl Tabs {
    pub(crate) fn new(tab_id: String, channel: Arc<dyn TabChannel>) -> Self {
        Self {
            claims: Mutex::new(Claims::new(tab_id)),
            channel,
            has_list: Notify::new(),
            is_leaving: Notify::new(),
            on_read_only: Listeners::default(),
            on_messages: Listeners::default(),
        }
    }

    fn claims(&self) -> MutexGuard<'_, Claims> {
        self.claims.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn is_read_only(&self, chat_id: &str) -> bool {
        self.claims().is_read_only(chat_id)
    }

    /// Takes the chat; false when another tab holds it.
    pub(crate) fn claim(&self, chat_id: &str) -> bool {
        let claimed = self.claims().claim(chat_id);
        let is_claimed = claimed.is_some();
        self.carry_out(claimed.unwrap_or_default(), None);
        is_claimed
    }

    pub(crate) fn let_go(&self, chat_id: &str) {
        let effects = self.claims().let_go(chat_id, Instant::now());
        self.carry_out(effects, None);
        self.is_leaving.notify_one();
    }

    pub(crate) fn release_all(&self) {
        let effects = self.claims().release_all();
        self.carry_out(effects, None);
    }

    pub(crate) fn turn_over(&self, chat_id: &str, last_event_id: SeqNum) {
        let effect = self.claims().turn_over(chat_id, last_event_id);
        self.carry_out(vec![effect], None);
    }

    pub(crate) fn share(&self, chat_id: &str, messages: Vec<UiMessage>) {
        if self.claims().share(chat_id, messages) {
            self.has_list.notify_one();
        }
    }

    /// Listens to the other tabs and keeps time, until the channel or the transport ends.
    pub(crate) async fn run(self: Arc<Self>, inner: Weak<Inner>) {
        let (mut beat_at, mut share_at) = (Instant::now() + HEARTBEAT, None);
        loop {
            let release_at = self.claims().next_release();
            let effects = tokio::select! {
                biased;
                message = self.channel.receive() => match message {
                    Some(message) => self.claims().on_message(message, Instant::now()),
                    None => return,
                },
                () = sleep_until(beat_at) => {
                    beat_at = Instant::now() + HEARTBEAT;
                    self.claims().tick(Instant::now())
                }
                () = self.has_list.notified(), if share_at.is_none() => {
                    share_at = Some(Instant::now() + SHARE_AFTER);
                    continue;
                }
                () = until(share_at) => {
                    share_at = None;
                    self.claims().flush()
                }
                () = until(release_at) => self.claims().release_due(Instant::now()),
                // Another time to wait for.
                () = self.is_leaving.notified() => continue,
            };
            let Some(inner) = inner.upgrade() else { return };
            self.carry_out(effects, Some(&inner));
        }
    }

    fn carry_out(&self, effects: Vec<Effect>, inner: Option<&Inner>) {
        for effect in effects {
            match effect {
                Effect::Send(message) => self.channel.send(&message),
                Effect::ReadOnly { chat_id, is_read_only } => {
                    self.on_read_only.tell(|heard| heard(&chat_id, is_read_only));
                }
                Effect::Adopt { chat_id, messages } => self.on_messages.tell(|heard| heard(&chat_id, &messages)),
                Effect::Cursor { chat_id, last_event_id } => {
                    if let Some(inner) = inner {
                        inner.adopt_cursor(&chat_id, last_event_id);
                    }
                }
            }
        }
    }
}

impl Inner {
    /// Lets the chat's claim go, unless a reader or a send needs it (C-125, C-130).
    pub(crate) fn let_go(&self, chat_id: &str) {
        if let Some(tabs) = &self.tabs
            && self.chat(chat_id, |chat| chat.active.is_none() && chat.n_sending == 0)
        {
            tabs.let_go(chat_id);
        }
    }

    /// Moves the cursor to where another tab has read, if that is ahead; tells nobody (C-128, C-129).
    pub(crate) fn adopt_cursor(&self, chat_id: &str, last_event_id: SeqNum) {
        self.chat(chat_id, |chat| {
            let Some(state) = chat.state.as_mut().filter(|_| chat.active.is_none()) else { return };
            if state.last_event_id < Some(last_event_id) {
                state.last_event_id = Some(last_event_id);
                // A stopped turn of ours ended before the other tab's.
                state.clear_gate();
            }
        });
    }

    /// Begins to listen to the other tabs.
    pub(crate) fn listen_to_tabs(self: &Arc<Self>) {
        if let Some(tabs) = self.tabs.clone() {
            let task = self.host.spawn(tabs.run(Arc::downgrade(self)));
            *self.tabs_task.lock().unwrap_or_else(PoisonError::into_inner) = Some(task);
        }
    }

    /// Lets every claim go and listens no longer (C-151).
    pub(crate) fn leave_tabs(&self) {
        if let Some(tabs) = &self.tabs {
            tabs.release_all();
        }
        drop(self.tabs_task.lock().unwrap_or_else(PoisonError::into_inner).take());
    }
}

async fn until(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// One send's part in the chat's claim: however the send ends, the claim is let go unless a reader or another send needs it
/// (C-130, CF-8).
pub(crate) struct Sending {
    inner: Arc<Inner>,
    chat_id: String,
}

impl Sending {
    pub(crate) fn new(inner: &Arc<Inner>, chat_id: &str) -> Self {
        inner.chat(chat_id, |chat| chat.n_sending += 1);
        Self { inner: inner.clone(), chat_id: chat_id.to_owned() }
    }
}

impl Drop for Sending {
    fn drop(&mut self) {
        self.inner.chat(&self.chat_id, |chat| chat.n_sending = chat.n_sending.saturating_sub(1));
        self.inner.let_go(&self.chat_id);
    }
}

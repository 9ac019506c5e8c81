//! Several tabs of one application: one of them sends, the others watch (C §3.12).
//!
//! ```text
//! send ──▶ claim ──▶ other tabs are read-only ──▶ own boundary ──▶ cursor told ──▶ last list told, claim released
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
use crate::ChatSessionState;
use crate::listeners::Listeners;

/// How often a holder gives a sign of life and dead holders are looked for (C-126).
const HEARTBEAT: Duration = Duration::from_secs(5);

/// How long a message list waits for a quiet moment and for a newer list (C-128).
const SHARE_AFTER: Duration = Duration::from_millis(50);

/// The way between the tabs of one origin; in a browser, the broadcast channel `trigger-chat-tab-coord`.
///
/// What is sent reaches every other tab that listens, in the order of sending, late or never.
pub trait TabChannel: Send + Sync {
    /// Tells the other tabs; must neither wait nor call the transport.
    fn send(&self, message: &TabMessage);

    /// Waits for the next message; `None` is the channel's end. Cancel-safe.
    fn receive(&self) -> BoxFuture<'_, Option<TabMessage>>;
}

/// Hears that a chat has become read-only in this tab, or writable again.
///
/// A chat that becomes writable may have lost the tab that held it, in the midst of a turn: then its state no longer says that nothing
/// streams (C-126). Load what is kept of the chat, as after a reload, and
/// [`Transport::reconnect_to_stream`](super::Transport::reconnect_to_stream) reads on.
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

    /// Takes a step and tells the other tabs before anybody can take the next one: they hear of steps in their order. Gives what
    /// else follows.
    fn step(&self, step: impl FnOnce(&mut Claims) -> Vec<Effect>) -> Vec<Effect> {
        let mut claims = self.claims();
        let mut effects = step(&mut claims);
        effects.retain(|effect| match effect {
            Effect::Send(message) => {
                self.channel.send(message);
                false
            }
            _ => true,
        });
        if claims.has_unsent() {
            self.has_list.notify_one();
        }
        effects
    }

    pub(crate) fn is_read_only(&self, chat_id: &str) -> bool {
        self.claims().is_read_only(chat_id)
    }

    /// Takes the chat; false when another tab holds it.
    pub(crate) fn claim(&self, chat_id: &str) -> bool {
        let mut is_claimed = false;
        let rest = self.step(|claims| {
            let claimed = claims.claim(chat_id);
            is_claimed = claimed.is_some();
            claimed.unwrap_or_default()
        });
        debug_assert!(rest.is_empty(), "a claim is only told");
        is_claimed
    }

    pub(crate) fn accepted(&self, chat_id: &str, seq_num: SeqNum) {
        self.claims().accepted(chat_id, seq_num);
    }

    /// Lets the chat go unless it is `needed`, which no claim can change meanwhile.
    pub(crate) fn let_go(&self, chat_id: &str, needed: impl FnOnce() -> bool) {
        let rest = self.step(|claims| if needed() { Vec::new() } else { claims.let_go(chat_id, Instant::now()) });
        debug_assert!(rest.is_empty(), "a release is only told");
        self.is_leaving.notify_one();
    }

    pub(crate) fn leave(&self) {
        let rest = self.step(Claims::leave);
        self.carry_out(rest, None);
    }

    pub(crate) fn turn_over(&self, chat_id: &str, last_event_id: SeqNum) {
        self.step(|claims| claims.turn_over(chat_id, last_event_id).into_iter().collect());
    }

    pub(crate) fn share(&self, chat_id: &str, messages: Vec<UiMessage>) {
        self.step(|claims| {
            claims.share(chat_id, messages);
            Vec::new()
        });
    }

    /// Listens to the other tabs and keeps time, until the channel or the transport ends.
    pub(crate) async fn run(self: Arc<Self>, inner: Weak<Inner>) {
        let (mut beat_at, mut share_at) = (Instant::now() + HEARTBEAT, None);
        loop {
            let release_at = self.claims().next_release();
            // A channel that never falls silent keeps neither signs of life nor releases back.
            let effects = tokio::select! {
                biased;
                () = sleep_until(beat_at) => {
                    beat_at = Instant::now() + HEARTBEAT;
                    self.step(|claims| claims.tick(Instant::now()))
                }
                () = until(release_at) => {
                    let inner = inner.upgrade();
                    let is_needed = |chat_id: &str| inner.as_ref().is_some_and(|inner| inner.needs_chat(chat_id));
                    self.step(|claims| claims.release_due(Instant::now(), is_needed))
                }
                () = until(share_at) => {
                    share_at = None;
                    self.step(Claims::flush)
                }
                () = self.has_list.notified(), if share_at.is_none() => {
                    share_at = Some(Instant::now() + SHARE_AFTER);
                    continue;
                }
                // Another time to wait for.
                () = self.is_leaving.notified() => continue,
                message = self.channel.receive() => match message {
                    Some(message) => self.step(|claims| claims.on_message(message, Instant::now())),
                    None => return self.leave(),
                },
            };
            let Some(inner) = inner.upgrade() else { return };
            self.carry_out(effects, Some(&inner));
        }
    }

    /// Does what follows from a step here; the other tabs have been told already.
    fn carry_out(&self, effects: Vec<Effect>, inner: Option<&Inner>) {
        for effect in effects {
            match effect {
                Effect::Send(_) => unreachable!("a step tells the others"),
                Effect::ReadOnly { chat_id, is_read_only } => {
                    self.on_read_only.tell(|heard| heard(&chat_id, is_read_only));
                }
                Effect::Adopt { chat_id, messages } => self.on_messages.tell(|heard| heard(&chat_id, &messages)),
                Effect::Cursor { chat_id, last_event_id, has_list } => {
                    if let Some(inner) = inner {
                        inner.adopt_cursor(&chat_id, last_event_id, has_list);
                    }
                }
                Effect::Orphaned { chat_id } => {
                    if let Some(inner) = inner {
                        inner.doubt(&chat_id);
                    }
                }
            }
        }
    }
}

impl Inner {
    /// Lets the chat's claim go, unless a reader or a send needs it (C-125, C-130).
    pub(crate) fn let_go(&self, chat_id: &str) {
        if let Some(tabs) = &self.tabs {
            tabs.let_go(chat_id, || self.needs_chat(chat_id));
        }
    }

    fn needs_chat(&self, chat_id: &str) -> bool {
        self.chat(chat_id, |chat| chat.active.is_some() || chat.n_sending > 0)
    }

    /// The tab that held the chat has died: a turn of its may go on, so that a reconnect has to ask (C-126, C-99).
    fn doubt(&self, chat_id: &str) {
        self.chat(chat_id, |chat| {
            // Nobody has begun the chat here; its token is asked for like any that is missing (C-139).
            let state = chat.state.get_or_insert_default();
            if state.is_streaming == Some(false) && chat.active.is_none() {
                state.is_streaming = None;
            }
        });
    }

    /// Moves the cursor to where another tab has read, if that is ahead and this tab does not read itself (C-129). With a list that is
    /// shown here now it is told to be kept (C-236), without one to nobody (C-128).
    fn adopt_cursor(&self, chat_id: &str, last_event_id: SeqNum, has_list: bool) {
        let must_notify = self.chat(chat_id, |chat| {
            if chat.active.is_some() {
                return false;
            }
            if has_list && chat.state.is_none() {
                chat.state = Some(ChatSessionState { is_streaming: Some(false), ..ChatSessionState::default() });
            }
            let Some(state) = &mut chat.state else { return false };
            if state.last_event_id < Some(last_event_id) {
                state.last_event_id = Some(last_event_id);
                // A stopped turn of ours ended before the other tab's.
                state.clear_gate();
            }
            // A tab that has no token of its own leaves what is kept to the one that has.
            has_list && !state.public_access_token.is_empty()
        });
        if must_notify {
            self.notify(chat_id);
        }
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
            tabs.leave();
        }
        drop(self.tabs_task.lock().unwrap_or_else(PoisonError::into_inner).take());
    }
}

impl Drop for Inner {
    /// Whoever lets a transport go without a word lets its chats go all the same: the others need not wait for a dead tab.
    fn drop(&mut self) {
        self.leave_tabs();
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

#[cfg(test)]
mod tests {
    use super::*;

    /// A channel that looks, while it is spoken to, whether somebody else could take a step.
    #[derive(Default)]
    struct Watcher {
        tabs: Mutex<Weak<Tabs>>,
        n_alone: Mutex<usize>,
    }

    impl TabChannel for Watcher {
        fn send(&self, _: &TabMessage) {
            let tabs = self.tabs.lock().unwrap().upgrade().unwrap();
            assert!(tabs.claims.try_lock().is_err(), "another step could overtake this one");
            *self.n_alone.lock().unwrap() += 1;
        }

        fn receive(&self) -> BoxFuture<'_, Option<TabMessage>> {
            Box::pin(std::future::pending())
        }
    }

    #[test]
    fn the_others_hear_of_steps_in_their_order_c124_c125() {
        let watcher = Arc::new(Watcher::default());
        let tabs = Arc::new(Tabs::new("a".to_owned(), watcher.clone()));
        *watcher.tabs.lock().unwrap() = Arc::downgrade(&tabs);

        tabs.claim("chat");
        tabs.let_go("chat", || true);
        assert_eq!(*watcher.n_alone.lock().unwrap(), 1, "it is needed still");
        tabs.let_go("chat", || {
            assert!(tabs.claims.try_lock().is_err(), "nobody claims between the question and the release");
            false
        });

        assert_eq!(*watcher.n_alone.lock().unwrap(), 2);
    }
}

//! Which tab may send in which chat: decisions without channel or clock (C-123…C-133).

mod merge;

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use turnkeep_protocol::{SeqNum, UiMessage};

use self::merge::{Order, lacks_any, merge};

/// How long another tab's claim stands without a sign of life (C-126).
const CLAIM_LIFE: Duration = Duration::from_secs(10);

/// Other tabs of which one chat keeps note; of further ones it does not.
const MAX_TABS: usize = 64;

/// How long a tab that shares its list has for its last one when it lets a chat go: its page has the end of the turn later than its
/// transport, and a list without the end would be the last one that the others see (C-128).
const LAST_WORDS: Duration = Duration::from_millis(100);

/// What tabs tell each other, as on the field's channel `trigger-chat-tab-coord` (C-123).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case", rename_all_fields = "camelCase")]
pub enum TabMessage {
    /// The tab sends in the chat from now on.
    Claim {
        /// Which chat.
        chat_id: String,
        /// Which tab.
        tab_id: String,
    },
    /// The tab has let the chat go.
    Release {
        /// Which chat.
        chat_id: String,
        /// Which tab.
        tab_id: String,
    },
    /// The tab still holds the chat.
    Heartbeat {
        /// Which chat.
        chat_id: String,
        /// Which tab.
        tab_id: String,
    },
    /// What the holder shows, for the others to show too.
    Messages {
        /// Which chat.
        chat_id: String,
        /// Which tab.
        tab_id: String,
        /// The conversation.
        messages: Vec<UiMessage>,
        /// The place on `in` of what the tab has sent last: it tells which of two tabs that sent at once was first (C-133).
        #[serde(default, skip_serializing_if = "Option::is_none")]
        sent_at: Option<SeqNum>,
        /// The boundary at which this is the whole conversation; none while a turn goes on (C-236).
        #[serde(default, skip_serializing_if = "Option::is_none")]
        last_event_id: Option<SeqNum>,
    },
    /// A turn of the holder is over.
    Session {
        /// Which chat.
        chat_id: String,
        /// Which tab.
        tab_id: String,
        /// Its boundary's place.
        last_event_id: SeqNum,
    },
}

/// What follows from a step.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Effect {
    /// Tell the other tabs.
    Send(TabMessage),
    /// The chat has become read-only here, or writable again.
    ReadOnly { chat_id: String, is_read_only: bool },
    /// The tab that held a chat that is shown here has died, in the midst of a turn perhaps.
    Orphaned { chat_id: String },
    /// Show what the holder shows.
    Adopt { chat_id: String, messages: Vec<UiMessage> },
    /// Another tab has read up to here; with a list that is shown here now, it is what that list reaches up to.
    Cursor { chat_id: String, last_event_id: SeqNum, has_list: bool },
}

/// One tab's view of who holds what.
#[derive(Debug)]
pub(crate) struct Claims {
    tab_id: String,
    /// Whether this tab is among the others no more: then nothing is said and nothing is read-only.
    has_left: bool,
    chats: BTreeMap<String, Chat>,
}

/// What a tab has to do with a chat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Own {
    /// It sends there.
    Held,
    /// It has a turn there, and another tab goes first.
    Yielded,
}

#[derive(Debug, Default)]
struct Chat {
    own: Option<Own>,
    /// When the others are told that this tab's turn is over, if it is.
    leaving: Option<Instant>,
    /// The tabs that say that they hold the chat, the smallest of them first: that one does (C-133).
    others: BTreeMap<String, Other>,
    /// Tabs that sent when this one did, so that neither's list has the other's message; with the latest list
    /// of each.
    rivals: BTreeMap<String, Option<List>>,
    /// The latest list of this tab.
    list: Option<Vec<UiMessage>>,
    /// Whether the others do not have it.
    is_unsent: bool,
    /// The place on `in` of what this tab has sent since its claim.
    sent_at: Option<SeqNum>,
    /// Where its turn has ended.
    boundary: Option<SeqNum>,
}

#[derive(Debug)]
struct Other {
    seen: Instant,
    /// Whether it shows its lists: the last one comes with its cursor (C-65).
    shares: bool,
}

impl Chat {
    fn is_held(&self) -> bool {
        self.own == Some(Own::Held)
    }

    fn is_held_by(&self, tab_id: &str) -> bool {
        self.others.first_key_value().is_some_and(|(holder, _)| holder == tab_id)
    }

    /// Tells whether nothing has to be remembered of the chat.
    fn is_idle(&self) -> bool {
        self.own.is_none() && self.others.is_empty() && self.list.is_none()
    }

    fn tell_list(&mut self, chat_id: &str, tab_id: &str) -> Option<Effect> {
        self.is_unsent = false;
        let (chat_id, tab_id) = (chat_id.to_owned(), tab_id.to_owned());
        let (messages, sent_at) = (self.list.clone()?, self.sent_at);
        let last_event_id = self.boundary.filter(|_| self.own.is_none());
        Some(Effect::Send(TabMessage::Messages { chat_id, tab_id, messages, sent_at, last_event_id }))
    }

    /// Ends this tab's part: its list once more, then the release (C-125, C-128).
    fn release(&mut self, chat_id: &str, tab_id: &str) -> Vec<Effect> {
        self.leaving = None;
        if self.own.take().is_none() {
            return Vec::new();
        }
        let last = self.tell_list(chat_id, tab_id);
        let (chat_id, tab_id) = (chat_id.to_owned(), tab_id.to_owned());
        last.into_iter().chain([Effect::Send(TabMessage::Release { chat_id, tab_id })]).collect()
    }

    /// Another tab says that it holds the chat. Two holders settle it by the smaller id, on both sides alike (C-132, C-133).
    fn on_holder(
        &mut self,
        chat_id: String,
        tab_id: String,
        own_id: &str,
        is_claim: bool,
        now: Instant,
    ) -> Vec<Effect> {
        let is_known = self.others.contains_key(&tab_id);
        if self.own.is_some() && self.rivals.len() < MAX_TABS {
            self.rivals.entry(tab_id.clone()).or_default();
        } else if self.own.is_none() && is_claim && !is_known {
            // It has had this tab's last list before it could claim.
            self.rivals.remove(&tab_id);
        }
        // Whoever is on its way out yields to anybody.
        if self.is_held() && self.leaving.is_none() && *tab_id > *own_id {
            return Vec::new();
        }
        if self.is_held() {
            self.own = Some(Own::Yielded);
        }
        if let Some(known) = self.others.get_mut(&tab_id) {
            known.seen = now;
            return Vec::new();
        }
        let is_first = self.others.is_empty();
        if self.others.len() < MAX_TABS {
            self.others.insert(tab_id, Other { seen: now, shares: false });
        }
        if is_first { vec![Effect::ReadOnly { chat_id, is_read_only: true }] } else { Vec::new() }
    }

    /// Takes a list of the tab that holds the chat, or of one that sent when this one did. A list that lacks this tab's message is put
    /// together with its own only when the other's part is over: then each question of it stands beside its answer (C-133).
    fn on_list(&mut self, chat_id: &str, theirs: List, tab_id: &str) -> Vec<Effect> {
        if let Some(other) = self.others.get_mut(tab_id) {
            other.shares = true;
        }
        let Some(rival) = self.rivals.get_mut(tab_id) else {
            return if self.is_held_by(tab_id) { self.adopt(chat_id, theirs) } else { Vec::new() };
        };
        if lacks_any(&theirs.messages, self.list.as_deref().unwrap_or_default()) {
            *rival = Some(theirs);
            return Vec::new();
        }
        self.rivals.remove(tab_id);
        self.adopt(chat_id, theirs)
    }

    fn adopt(&mut self, chat_id: &str, List { messages, last_event_id, .. }: List) -> Vec<Effect> {
        let has_list = self.list.is_some();
        if has_list {
            self.list = Some(messages.clone());
        }
        let adopt = Effect::Adopt { chat_id: chat_id.to_owned(), messages };
        let cursor = last_event_id.map(|last_event_id| {
            let chat_id = chat_id.to_owned();
            Effect::Cursor { chat_id, last_event_id, has_list }
        });
        std::iter::once(adopt).chain(cursor).collect()
    }

    /// Shows the last list of a tab that sent when this one did together with its own.
    fn make_up(&mut self, chat_id: &str, tab_id: &str, own_id: &str) -> Vec<Effect> {
        let Some(theirs) = self.rivals.get_mut(tab_id).and_then(Option::take) else { return Vec::new() };
        let order = Order::of((self.sent_at, own_id), (theirs.sent_at, tab_id));
        let messages = merge(self.list.as_deref().unwrap_or_default(), &theirs.messages, order);
        self.is_unsent = true;
        self.adopt(chat_id, List { messages, ..theirs })
    }

    /// Takes the cursor of a tab whose turn is over, unless its last list, which has the turn, is still to come with it (C-65).
    fn on_cursor(&self, chat_id: String, tab_id: &str, last_event_id: SeqNum) -> Option<Effect> {
        let has_list = self.rivals.contains_key(tab_id) || self.others.get(tab_id).is_some_and(|other| other.shares);
        (!has_list).then_some(Effect::Cursor { chat_id, last_event_id, has_list })
    }

    /// Another tab does not hold the chat any more.
    fn on_release(&mut self, chat_id: &str, tab_id: &str, own_id: &str) -> Vec<Effect> {
        let mut effects = self.make_up(chat_id, tab_id, own_id);
        if self.others.remove(tab_id).is_some() {
            effects.extend(self.free(chat_id, own_id));
        }
        effects
    }

    /// If nobody holds the chat any more, it is writable, and taken by a tab whose turn has outlasted the other's (C-133).
    fn free(&mut self, chat_id: &str, own_id: &str) -> Vec<Effect> {
        if !self.others.is_empty() {
            return Vec::new();
        }
        let chat_id = chat_id.to_owned();
        let claim = (self.own == Some(Own::Yielded) && self.leaving.is_none()).then(|| {
            self.own = Some(Own::Held);
            self.is_unsent = self.list.is_some();
            Effect::Send(TabMessage::Claim { chat_id: chat_id.clone(), tab_id: own_id.to_owned() })
        });
        std::iter::once(Effect::ReadOnly { chat_id, is_read_only: false }).chain(claim).collect()
    }

    /// Gives up on tabs that have given no sign of life for too long (C-126).
    fn bury(&mut self, chat_id: &str, own_id: &str, now: Instant) -> Vec<Effect> {
        let is_dead = |(tab_id, other): (&String, &Other)| (now - other.seen > CLAIM_LIFE).then(|| tab_id.clone());
        let dead: Vec<String> = self.others.iter().filter_map(is_dead).collect();
        let mut effects = Vec::new();
        for tab_id in dead {
            if self.own.is_none() && self.list.is_some() && self.others.len() == 1 {
                effects.push(Effect::Orphaned { chat_id: chat_id.to_owned() });
            }
            effects.extend(self.on_release(chat_id, &tab_id, own_id));
        }
        effects
    }
}

/// What another tab shows.
#[derive(Debug)]
struct List {
    messages: Vec<UiMessage>,
    sent_at: Option<SeqNum>,
    last_event_id: Option<SeqNum>,
}

impl Claims {
    pub(crate) fn new(tab_id: String) -> Self {
        Self { tab_id, has_left: false, chats: BTreeMap::new() }
    }

    /// Tells whether another tab holds the chat.
    pub(crate) fn is_read_only(&self, chat_id: &str) -> bool {
        self.chats.get(chat_id).is_some_and(|chat| !chat.others.is_empty())
    }

    /// Takes the chat; none when another tab is known to hold it (C-124).
    pub(crate) fn claim(&mut self, chat_id: &str) -> Option<Vec<Effect>> {
        if self.has_left {
            return Some(Vec::new());
        }
        if self.is_read_only(chat_id) {
            return None;
        }
        let chat = self.chats.entry(chat_id.to_owned()).or_default();
        (chat.leaving, chat.boundary) = (None, None);
        if chat.own.replace(Own::Held) == Some(Own::Held) {
            return Some(Vec::new());
        }
        chat.sent_at = None;
        let (chat_id, tab_id) = (chat_id.to_owned(), self.tab_id.clone());
        Some(vec![Effect::Send(TabMessage::Claim { chat_id, tab_id })])
    }

    /// Notes where on `in` a send of this tab was accepted (C-133).
    pub(crate) fn accepted(&mut self, chat_id: &str, seq_num: SeqNum) {
        if let Some(chat) = self.chats.get_mut(chat_id).filter(|chat| chat.own.is_some()) {
            chat.sent_at = Some(seq_num);
        }
    }

    /// Lets the chat go, if this tab has a part in it: at once, or soon where a list is shared (C-125, C-128).
    pub(crate) fn let_go(&mut self, chat_id: &str, now: Instant) -> Vec<Effect> {
        let Some(chat) = self.chats.get_mut(chat_id).filter(|chat| chat.own.is_some()) else { return Vec::new() };
        if chat.list.is_none() {
            return self.release(chat_id);
        }
        chat.leaving.get_or_insert(now + LAST_WORDS);
        Vec::new()
    }

    /// Says when the next chat is to be released that was let go.
    pub(crate) fn next_release(&self) -> Option<Instant> {
        self.chats.values().filter_map(|chat| chat.leaving).min()
    }

    /// Releases the chats that were let go and whose time is over, but those that are `needed` again.
    pub(crate) fn release_due(&mut self, now: Instant, needed: impl Fn(&str) -> bool) -> Vec<Effect> {
        let due = self.chats.iter().filter(|(_, chat)| chat.leaving.is_some_and(|at| at <= now));
        let due: Vec<String> = due.map(|(chat_id, _)| chat_id.clone()).collect();
        let mut effects = Vec::new();
        for chat_id in due {
            if needed(&chat_id) {
                self.chats.entry(chat_id).or_default().leaving = None;
            } else {
                effects.extend(self.release(&chat_id));
            }
        }
        effects
    }

    fn release(&mut self, chat_id: &str) -> Vec<Effect> {
        let Some(chat) = self.chats.get_mut(chat_id) else { return Vec::new() };
        let effects = chat.release(chat_id, &self.tab_id);
        self.forget_idle(chat_id);
        effects
    }

    /// Lets every chat go and is among the others no more: what they hold is not known any longer (C-125, C-151).
    pub(crate) fn leave(&mut self) -> Vec<Effect> {
        self.has_left = true;
        let mut effects = Vec::new();
        for (chat_id, mut chat) in std::mem::take(&mut self.chats) {
            effects.extend(chat.release(&chat_id, &self.tab_id));
            if !chat.others.is_empty() {
                effects.push(Effect::ReadOnly { chat_id, is_read_only: false });
            }
        }
        effects
    }

    /// Keeps the latest list of a chat; tells whether the others are to have it by the next [`Claims::flush`].
    pub(crate) fn share(&mut self, chat_id: &str, messages: Vec<UiMessage>) -> bool {
        if self.has_left {
            return false;
        }
        let chat = self.chats.entry(chat_id.to_owned()).or_default();
        chat.list = Some(messages);
        chat.is_unsent = true;
        chat.is_held()
    }

    /// Tells whether the others lack a list that they are to have.
    pub(crate) fn has_unsent(&self) -> bool {
        self.chats.values().any(|chat| chat.is_held() && chat.is_unsent)
    }

    /// Gives the lists that the others do not have, the latest of each held chat (C-128).
    pub(crate) fn flush(&mut self) -> Vec<Effect> {
        let unsent = self.chats.iter_mut().filter(|(_, chat)| chat.is_held() && chat.is_unsent);
        unsent.filter_map(|(chat_id, chat)| chat.tell_list(chat_id, &self.tab_id)).collect()
    }

    /// Tells the others where a turn has ended.
    pub(crate) fn turn_over(&mut self, chat_id: &str, last_event_id: SeqNum) -> Option<Effect> {
        if let Some(chat) = self.chats.get_mut(chat_id).filter(|chat| chat.own.is_some()) {
            chat.boundary = Some(last_event_id);
        }
        let (chat_id, tab_id) = (chat_id.to_owned(), self.tab_id.clone());
        (!self.has_left).then_some(Effect::Send(TabMessage::Session { chat_id, tab_id, last_event_id }))
    }

    /// Takes a message of another tab; own ones are ignored (C-123).
    pub(crate) fn on_message(&mut self, message: TabMessage, now: Instant) -> Vec<Effect> {
        let (chat_id, tab_id) = message.of();
        if tab_id == self.tab_id || self.has_left {
            return Vec::new();
        }
        let chat_id = chat_id.to_owned();
        let chat = self.chats.entry(chat_id.clone()).or_default();
        let is_claim = matches!(message, TabMessage::Claim { .. });
        let effects = match message {
            TabMessage::Claim { chat_id, tab_id } | TabMessage::Heartbeat { chat_id, tab_id } => {
                chat.on_holder(chat_id, tab_id, &self.tab_id, is_claim, now)
            }
            TabMessage::Release { chat_id, tab_id } => chat.on_release(&chat_id, &tab_id, &self.tab_id),
            TabMessage::Messages { chat_id, tab_id, messages, sent_at, last_event_id } => {
                chat.on_list(&chat_id, List { messages, sent_at, last_event_id }, &tab_id)
            }
            TabMessage::Session { chat_id, tab_id, last_event_id } => {
                chat.on_cursor(chat_id, &tab_id, last_event_id).into_iter().collect()
            }
        };
        self.forget_idle(&chat_id);
        effects
    }

    fn forget_idle(&mut self, chat_id: &str) {
        if self.chats.get(chat_id).is_some_and(Chat::is_idle) {
            self.chats.remove(chat_id);
        }
    }

    /// Every five seconds: signs of life for what is held, an end for what others have died with (C-126).
    pub(crate) fn tick(&mut self, now: Instant) -> Vec<Effect> {
        let mut effects = Vec::new();
        for (chat_id, chat) in &mut self.chats {
            effects.extend(chat.bury(chat_id, &self.tab_id, now));
            if chat.is_held() {
                let (chat_id, tab_id) = (chat_id.clone(), self.tab_id.clone());
                effects.push(Effect::Send(TabMessage::Heartbeat { chat_id, tab_id }));
            }
        }
        self.chats.retain(|_, chat| !chat.is_idle());
        effects
    }
}

impl TabMessage {
    /// Says about which chat it is and whose.
    fn of(&self) -> (&str, &str) {
        match self {
            Self::Claim { chat_id, tab_id }
            | Self::Release { chat_id, tab_id }
            | Self::Heartbeat { chat_id, tab_id }
            | Self::Messages { chat_id, tab_id, .. }
            | Self::Session { chat_id, tab_id, .. } => (chat_id, tab_id),
        }
    }
}

#[cfg(test)]
mod tests;

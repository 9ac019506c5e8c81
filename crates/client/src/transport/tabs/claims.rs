//! Which tab may send in which chat: decisions without channel or clock (C-123…C-133).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use turnkeep_protocol::{SeqNum, UiMessage};

/// How long another tab's claim stands without a sign of life (C-126).
const CLAIM_LIFE: Duration = Duration::from_secs(10);

/// Tabs with which this one has been at odds, over all chats.
const MAX_RIVALS: usize = 1024;

/// How long a tab that shares its list goes on holding a chat that it lets go: its page has the end of the turn later than its
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
    /// Show what the holder shows.
    Adopt { chat_id: String, messages: Vec<UiMessage> },
    /// The holder has read up to here.
    Cursor { chat_id: String, last_event_id: SeqNum },
}

/// One tab's view of who holds what.
#[derive(Debug)]
pub(crate) struct Claims {
    tab_id: String,
    held: BTreeSet<String>,
    /// Held chats that are let go then.
    leaving: BTreeMap<String, Instant>,
    foreign: BTreeMap<String, Foreign>,
    /// Chats in which this tab has a turn and which it has yielded to another tab.
    yielded: BTreeSet<String>,
    /// Tabs that sent in a chat when this one did: neither's list has the other's message.
    rivals: BTreeSet<(String, String)>,
    /// The latest list of each held chat.
    messages: BTreeMap<String, Vec<UiMessage>>,
    /// Chats whose latest list the others do not have.
    unsent: BTreeSet<String>,
}

#[derive(Debug)]
struct Foreign {
    tab_id: String,
    seen: Instant,
}

impl Claims {
    pub(crate) fn new(tab_id: String) -> Self {
        let (held, leaving, foreign, yielded, rivals) = Default::default();
        let (messages, unsent) = Default::default();
        Self { tab_id, held, leaving, foreign, yielded, rivals, messages, unsent }
    }

    /// Tells whether another tab holds the chat.
    pub(crate) fn is_read_only(&self, chat_id: &str) -> bool {
        self.foreign.contains_key(chat_id)
    }

    /// Takes the chat; none when another tab is known to hold it (C-124).
    pub(crate) fn claim(&mut self, chat_id: &str) -> Option<Vec<Effect>> {
        if self.is_read_only(chat_id) {
            return None;
        }
        self.leaving.remove(chat_id);
        if !self.held.insert(chat_id.to_owned()) {
            return Some(Vec::new());
        }
        let (chat_id, tab_id) = (chat_id.to_owned(), self.tab_id.clone());
        Some(vec![Effect::Send(TabMessage::Claim { chat_id, tab_id })])
    }

    /// Lets the chat go, if it is held: at once, or soon where a list is shared (C-125, C-128).
    pub(crate) fn let_go(&mut self, chat_id: &str, now: Instant) -> Vec<Effect> {
        self.yielded.remove(chat_id);
        if !self.messages.contains_key(chat_id) {
            return self.release(chat_id);
        }
        if self.held.contains(chat_id) {
            self.leaving.entry(chat_id.to_owned()).or_insert(now + LAST_WORDS);
        }
        Vec::new()
    }

    /// Says when the next chat is to be released that was let go.
    pub(crate) fn next_release(&self) -> Option<Instant> {
        self.leaving.values().min().copied()
    }

    /// Releases the chats that were let go and whose time is over.
    pub(crate) fn release_due(&mut self, now: Instant) -> Vec<Effect> {
        let due = self.leaving.iter().filter(|(_, at)| **at <= now);
        let due: Vec<String> = due.map(|(chat_id, _)| chat_id.clone()).collect();
        due.iter().flat_map(|chat_id| self.release(chat_id)).collect()
    }

    /// Releases the chat, if it is held: its list once more, then the release (C-125, C-128).
    fn release(&mut self, chat_id: &str) -> Vec<Effect> {
        if !self.held.remove(chat_id) {
            return Vec::new();
        }
        self.leaving.remove(chat_id);
        self.unsent.remove(chat_id);
        let (chat_id, tab_id) = (chat_id.to_owned(), self.tab_id.clone());
        let last = self.messages.remove(&chat_id).map(|messages| {
            Effect::Send(TabMessage::Messages { chat_id: chat_id.clone(), tab_id: tab_id.clone(), messages })
        });
        last.into_iter().chain([Effect::Send(TabMessage::Release { chat_id, tab_id })]).collect()
    }

    /// Lets every chat go (C-125, C-151).
    pub(crate) fn release_all(&mut self) -> Vec<Effect> {
        self.yielded.clear();
        let held: Vec<String> = self.held.iter().cloned().collect();
        held.iter().flat_map(|chat_id| self.release(chat_id)).collect()
    }

    /// Keeps the latest list of a held chat for the next [`Claims::flush`]; tells whether it did.
    pub(crate) fn share(&mut self, chat_id: &str, messages: Vec<UiMessage>) -> bool {
        let is_held = self.held.contains(chat_id);
        if is_held {
            self.messages.insert(chat_id.to_owned(), messages);
            self.unsent.insert(chat_id.to_owned());
        }
        is_held
    }

    /// Gives the lists that the others do not have, the latest of each chat (C-128).
    pub(crate) fn flush(&mut self) -> Vec<Effect> {
        let unsent = std::mem::take(&mut self.unsent);
        let lists = unsent.into_iter().filter_map(|chat_id| {
            let (tab_id, messages) = (self.tab_id.clone(), self.messages.get(&chat_id)?.clone());
            Some(Effect::Send(TabMessage::Messages { chat_id, tab_id, messages }))
        });
        lists.collect()
    }

    /// Tells the others where a turn has ended.
    pub(crate) fn turn_over(&self, chat_id: &str, last_event_id: SeqNum) -> Effect {
        let (chat_id, tab_id) = (chat_id.to_owned(), self.tab_id.clone());
        Effect::Send(TabMessage::Session { chat_id, tab_id, last_event_id })
    }

    /// Takes a message of another tab; own ones are ignored (C-123).
    pub(crate) fn on_message(&mut self, message: TabMessage, now: Instant) -> Vec<Effect> {
        match message {
            TabMessage::Claim { chat_id, tab_id } | TabMessage::Heartbeat { chat_id, tab_id } => {
                self.on_holder(chat_id, tab_id, now)
            }
            TabMessage::Release { chat_id, tab_id } if self.is_held_by(&chat_id, &tab_id) => {
                self.foreign.remove(&chat_id);
                self.free(chat_id)
            }
            TabMessage::Messages { chat_id, tab_id, messages } if self.is_held_by(&chat_id, &tab_id) => {
                let rival = (chat_id, tab_id);
                if self.rivals.contains(&rival) {
                    return Vec::new();
                }
                vec![Effect::Adopt { chat_id: rival.0, messages }]
            }
            TabMessage::Session { chat_id, tab_id, last_event_id } if tab_id != self.tab_id => {
                vec![Effect::Cursor { chat_id, last_event_id }]
            }
            _ => Vec::new(),
        }
    }

    fn is_held_by(&self, chat_id: &str, tab_id: &str) -> bool {
        self.foreign.get(chat_id).is_some_and(|foreign| foreign.tab_id == tab_id)
    }

    /// Another tab says that it holds the chat. Two holders settle it by the smaller id, on both sides alike (C-132, C-133).
    fn on_holder(&mut self, chat_id: String, tab_id: String, now: Instant) -> Vec<Effect> {
        // Whoever is leaving yields to anybody.
        let stays = self.held.contains(&chat_id) && !self.leaving.contains_key(&chat_id);
        if tab_id == self.tab_id {
            return Vec::new();
        }
        if stays && self.rivals.len() < MAX_RIVALS {
            self.rivals.insert((chat_id.clone(), tab_id.clone()));
        }
        if stays && tab_id > self.tab_id {
            return Vec::new();
        }
        if self.held.remove(&chat_id) && stays {
            self.yielded.insert(chat_id.clone());
        }
        self.leaving.remove(&chat_id);
        self.unsent.remove(&chat_id);
        self.messages.remove(&chat_id);
        match self.foreign.get_mut(&chat_id) {
            Some(known) if known.tab_id < tab_id => Vec::new(),
            Some(known) => {
                *known = Foreign { tab_id, seen: now };
                Vec::new()
            }
            None => {
                self.foreign.insert(chat_id.clone(), Foreign { tab_id, seen: now });
                vec![Effect::ReadOnly { chat_id, is_read_only: true }]
            }
        }
    }

    /// No other tab holds the chat any more: it is writable, and taken by a tab whose turn has outlasted the other's (C-133).
    fn free(&mut self, chat_id: String) -> Vec<Effect> {
        let claim = self.yielded.remove(&chat_id).then(|| {
            self.held.insert(chat_id.clone());
            Effect::Send(TabMessage::Claim { chat_id: chat_id.clone(), tab_id: self.tab_id.clone() })
        });
        std::iter::once(Effect::ReadOnly { chat_id, is_read_only: false }).chain(claim).collect()
    }

    /// Every five seconds: signs of life for what is held, an end for what others have died with (C-126).
    pub(crate) fn tick(&mut self, now: Instant) -> Vec<Effect> {
        let dead: Vec<String> = self
            .foreign
            .iter()
            .filter(|(_, foreign)| now - foreign.seen > CLAIM_LIFE)
            .map(|(chat_id, _)| chat_id.clone())
            .collect();
        let mut effects = Vec::new();
        for chat_id in dead {
            self.foreign.remove(&chat_id);
            effects.extend(self.free(chat_id));
        }
        let tab_id = &self.tab_id;
        effects.extend(
            self.held.iter().map(|chat_id| {
                Effect::Send(TabMessage::Heartbeat { chat_id: chat_id.clone(), tab_id: tab_id.clone() })
            }),
        );
        effects
    }
}

#[cfg(test)]
mod tests;

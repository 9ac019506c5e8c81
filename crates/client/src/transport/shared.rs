//! What a transport shares: a chat's store with its agent (C §4.3), and a chat with other tabs (C §3.12).

use serde_json::Value;
use turnkeep_protocol::{Patch, SeqNum, UiMessage};

use super::inner::Inner;
use super::store::{Queued, StoreChange, StoreNews};
use super::{OnReadOnly, OnStoreChange, OnTabMessages, Transport};
use crate::Error;
use crate::listeners::Listening;

impl Transport {
    /// Gives the chat's store; none until the agent has told it or this client has set it (C-173, C-179).
    pub fn store(&self, chat_id: &str) -> Option<Value> {
        self.inner.chat(chat_id, |chat| chat.store.value().cloned())
    }

    /// Replaces the chat's store; the next send or action tells the agent, and the last write wins (C-174).
    ///
    /// # Errors
    ///
    /// [`Error::Patch`] for a value larger or deeper than a store may be.
    pub fn set_store(&self, chat_id: &str, value: Value) -> Result<(), Error> {
        let change = self.inner.chat(chat_id, |chat| chat.store.set(value))?;
        self.inner.tell_store(chat_id, &change);
        Ok(())
    }

    /// Patches the chat's store, all or nothing; the next send or action tells the agent the whole of it (C-174, C-176).
    ///
    /// # Errors
    ///
    /// [`Error::StoreUnknown`] before there is a value, [`Error::Patch`] when any operation fails or a pointer is forbidden.
    pub fn patch_store(&self, chat_id: &str, patch: Patch) -> Result<(), Error> {
        let change = self.inner.chat(chat_id, |chat| chat.store.patch(patch))?;
        self.inner.tell_store(chat_id, &change);
        Ok(())
    }

    /// Hears of each change of the chat's store, whoever made it (C-173).
    ///
    /// # Errors
    ///
    /// [`Error::TooManyListeners`] beyond 256 listeners of this transport.
    pub fn on_store_change(&self, chat_id: &str, heard: OnStoreChange) -> Result<Listening, Error> {
        let chat_id = chat_id.to_owned();
        self.inner.on_store.add(std::sync::Arc::new(move |chat: &str, value: &Value, patch: Option<&Patch>| {
            if chat == chat_id {
                heard(value, patch);
            }
        }))
    }

    /// Tells whether another tab holds the chat, so that a send here would be refused (C-76, C-124).
    pub fn is_read_only(&self, chat_id: &str) -> bool {
        self.inner.tabs.as_ref().is_some_and(|tabs| tabs.is_read_only(chat_id))
    }

    /// Hears when a chat becomes read-only here, or writable again; of nothing where there are no other tabs (C-127).
    ///
    /// # Errors
    ///
    /// [`Error::TooManyListeners`] beyond 256 listeners.
    pub fn on_read_only_change(&self, heard: OnReadOnly) -> Result<Listening, Error> {
        match &self.inner.tabs {
            Some(tabs) => tabs.on_read_only.add(heard),
            None => Ok(Listening::to_nothing()),
        }
    }

    /// Hears what the tab that holds a chat shows, for this one to show it too (C-128).
    ///
    /// # Errors
    ///
    /// [`Error::TooManyListeners`] beyond 256 listeners.
    pub fn on_tab_messages(&self, heard: OnTabMessages) -> Result<Listening, Error> {
        match &self.inner.tabs {
            Some(tabs) => tabs.on_messages.add(heard),
            None => Ok(Listening::to_nothing()),
        }
    }

    /// Shows the other tabs what this one shows, while it holds the chat: soon, and only the latest list (C-128).
    ///
    /// Call it when the page has loaded and at each change. A tab that shares holds its chat for 100 ms beyond the turn, so that its last
    /// list has the end if the page has it by then. It is told to persist that list's cursor as well when it shows another tab's
    /// (C-236), and reads on behind it when that tab dies (C-126).
    pub fn share_messages(&self, chat_id: &str, messages: Vec<UiMessage>) {
        if let Some(tabs) = &self.inner.tabs {
            tabs.share(chat_id, messages);
        }
    }
}

impl Inner {
    /// Takes what `out` says about the store, from the chat's registered reader only.
    pub(crate) fn on_store_news(&self, chat_id: &str, id: u64, at: SeqNum, news: StoreNews) {
        let change = self.chat(chat_id, |chat| {
            let is_mine = chat.active.as_ref().is_some_and(|active| active.id == id);
            if is_mine { chat.store.on_news(at, news) } else { None }
        });
        if let Some(change) = change {
            self.tell_store(chat_id, &change);
        }
    }

    /// Tells the listeners of a chat's store.
    pub(crate) fn tell_store(&self, chat_id: &str, change: &StoreChange) {
        self.on_store.tell(|heard| heard(chat_id, &change.value, change.patch.as_ref()));
    }

    /// Gives the store's change that the next send carries (C-174).
    pub(crate) fn queued_store(&self, chat_id: &str) -> Option<Queued> {
        self.chat(chat_id, |chat| chat.store.queued())
    }
}

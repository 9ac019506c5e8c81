//! [`Messages`]: a chat's history, shared by everyone who looks at it.
//!
//! A clone shares the messages, however many they are, and each message is kept once: whoever changes a list, or a message in it,
//! copies what others still see, and no more than that. So a long chat costs a turn no more memory than a short one.

use std::fmt;
use std::ops::{Index, IndexMut};
use std::slice;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::UiMessage;

/// A list of messages; cheap to clone.
///
/// It reads like a slice of [`UiMessage`]; [`Messages::to_vec`] and `into_iter` give messages of one's own.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Messages(Arc<Vec<Arc<UiMessage>>>);

impl Messages {
    /// Makes an empty list.
    pub fn new() -> Self {
        Self::default()
    }

    /// Counts the messages.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Tells whether there is no message.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Walks the messages, in order.
    pub fn iter(&self) -> Iter<'_> {
        Iter(self.0.iter())
    }

    /// Gives the first message.
    pub fn first(&self) -> Option<&UiMessage> {
        self.0.first().map(Arc::as_ref)
    }

    /// Gives the last message.
    pub fn last(&self) -> Option<&UiMessage> {
        self.0.last().map(Arc::as_ref)
    }

    /// Gives the message at a place.
    pub fn get(&self, at: usize) -> Option<&UiMessage> {
        self.0.get(at).map(Arc::as_ref)
    }

    /// Gives the messages as they are shared: two that are one allocation are one message.
    pub fn as_shared(&self) -> &[Arc<UiMessage>] {
        &self.0
    }

    /// Copies all messages.
    pub fn to_vec(&self) -> Vec<UiMessage> {
        self.iter().cloned().collect()
    }

    /// Adds a message at the end.
    pub fn push(&mut self, message: impl Into<Arc<UiMessage>>) {
        Arc::make_mut(&mut self.0).push(message.into());
    }

    /// Puts a message at a place.
    ///
    /// # Panics
    ///
    /// When the place is past the end.
    pub fn insert(&mut self, at: usize, message: impl Into<Arc<UiMessage>>) {
        Arc::make_mut(&mut self.0).insert(at, message.into());
    }

    /// Puts a message in the place of another.
    ///
    /// # Panics
    ///
    /// When there is none at that place.
    pub fn set(&mut self, at: usize, message: impl Into<Arc<UiMessage>>) {
        Arc::make_mut(&mut self.0)[at] = message.into();
    }

    /// Drops everything from the place `len` on.
    pub fn truncate(&mut self, len: usize) {
        if len < self.len() {
            Arc::make_mut(&mut self.0).truncate(len);
        }
    }

    /// Drops the first `n` messages, or all when there are fewer.
    pub fn drop_first(&mut self, n: usize) {
        if n > 0 {
            let n = n.min(self.len());
            Arc::make_mut(&mut self.0).drain(..n);
        }
    }

    /// Keeps the messages that `keep` wants.
    pub fn retain(&mut self, mut keep: impl FnMut(&UiMessage) -> bool) {
        Arc::make_mut(&mut self.0).retain(|message| keep(message));
    }
}

/// Walks the messages of a list.
#[derive(Clone, Debug)]
pub struct Iter<'a>(slice::Iter<'a, Arc<UiMessage>>);

impl<'a> Iterator for Iter<'a> {
    type Item = &'a UiMessage;

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next().map(Arc::as_ref)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.0.size_hint()
    }
}

impl DoubleEndedIterator for Iter<'_> {
    fn next_back(&mut self) -> Option<Self::Item> {
        self.0.next_back().map(Arc::as_ref)
    }
}

impl ExactSizeIterator for Iter<'_> {}

impl<'a> IntoIterator for &'a Messages {
    type Item = &'a UiMessage;
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl IntoIterator for Messages {
    type Item = UiMessage;
    type IntoIter = std::iter::Map<std::vec::IntoIter<Arc<UiMessage>>, fn(Arc<UiMessage>) -> UiMessage>;

    /// Gives messages of one's own: those that nobody else sees as they are, the others as copies.
    fn into_iter(self) -> Self::IntoIter {
        Arc::unwrap_or_clone(self.0).into_iter().map(Arc::unwrap_or_clone)
    }
}

impl Index<usize> for Messages {
    type Output = UiMessage;

    fn index(&self, at: usize) -> &UiMessage {
        &self.0[at]
    }
}

impl IndexMut<usize> for Messages {
    /// Gives the message to change; it is copied first when others see it.
    fn index_mut(&mut self, at: usize) -> &mut UiMessage {
        Arc::make_mut(&mut Arc::make_mut(&mut self.0)[at])
    }
}

impl FromIterator<UiMessage> for Messages {
    fn from_iter<I: IntoIterator<Item = UiMessage>>(messages: I) -> Self {
        messages.into_iter().map(Arc::new).collect()
    }
}

impl FromIterator<Arc<UiMessage>> for Messages {
    fn from_iter<I: IntoIterator<Item = Arc<UiMessage>>>(messages: I) -> Self {
        Self(Arc::new(messages.into_iter().collect()))
    }
}

impl Extend<UiMessage> for Messages {
    fn extend<I: IntoIterator<Item = UiMessage>>(&mut self, messages: I) {
        Arc::make_mut(&mut self.0).extend(messages.into_iter().map(Arc::new));
    }
}

impl From<Vec<UiMessage>> for Messages {
    fn from(messages: Vec<UiMessage>) -> Self {
        messages.into_iter().collect()
    }
}

impl<const N: usize> From<[UiMessage; N]> for Messages {
    fn from(messages: [UiMessage; N]) -> Self {
        messages.into_iter().collect()
    }
}

impl From<Messages> for Vec<UiMessage> {
    fn from(messages: Messages) -> Self {
        messages.into_iter().collect()
    }
}

impl PartialEq<[UiMessage]> for Messages {
    fn eq(&self, other: &[UiMessage]) -> bool {
        self.iter().eq(other)
    }
}

impl PartialEq<Vec<UiMessage>> for Messages {
    fn eq(&self, other: &Vec<UiMessage>) -> bool {
        self == other.as_slice()
    }
}

impl<const N: usize> PartialEq<[UiMessage; N]> for Messages {
    fn eq(&self, other: &[UiMessage; N]) -> bool {
        self == other.as_slice()
    }
}

impl fmt::Debug for Messages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self).finish()
    }
}

impl Serialize for Messages {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self)
    }
}

impl<'de> Deserialize<'de> for Messages {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Vec::deserialize(deserializer).map(Vec::<UiMessage>::into)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(texts: &[&str]) -> Messages {
        texts.iter().map(|text| UiMessage::user(*text, *text)).collect()
    }

    fn one_allocation(left: &Messages, right: &Messages, at: usize) -> bool {
        Arc::ptr_eq(&left.as_shared()[at], &right.as_shared()[at])
    }

    #[test]
    fn a_clone_shares_every_message_and_a_change_leaves_it_as_it_was() {
        let before = list(&["a", "b", "c"]);

        let mut after = before.clone();
        after.push(UiMessage::user("d", "d"));
        after[1].id = "other".to_owned();

        let ids = |messages: &Messages| messages.iter().map(|message| message.id.clone()).collect::<Vec<_>>();
        assert_eq!(
            (ids(&before).join(""), ids(&after)),
            ("abc".to_owned(), ["a", "other", "c", "d"].map(String::from).to_vec())
        );
        assert_eq!([0, 1, 2].map(|at| one_allocation(&before, &after, at)), [true, false, true]);
    }

    #[test]
    fn a_message_that_nobody_else_sees_is_changed_where_it_is() {
        let mut messages = list(&["a", "b"]);
        let at: *const UiMessage = messages.as_shared()[0].as_ref();

        messages[0].id = "other".to_owned();

        assert!(std::ptr::eq(at, messages.as_shared()[0].as_ref()));
    }

    #[test]
    fn a_list_reads_and_writes_as_a_json_array() {
        let text = serde_json::to_string(&list(&["a", "b"])).unwrap();

        assert_eq!(text, serde_json::to_string(&list(&["a", "b"]).to_vec()).unwrap());
        assert_eq!(serde_json::from_str::<Messages>(&text).unwrap(), list(&["a", "b"]));
    }
}

//! One teller a chat: two threads that change a chat's state must not tell it in the wrong order (C-64).

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Who is being told right now, and whether there is news since.
#[derive(Debug, Default)]
pub(super) struct Telling(Mutex<BTreeMap<String, bool>>);

/// A teller at work; dropped by a panic of the application, it makes room for the next.
struct Teller<'a> {
    telling: &'a Telling,
    chat_id: &'a str,
}

impl Telling {
    /// Calls `tell`, which looks at the state itself. While it is called for the chat already, from another thread or further up on
    /// this one, that call is followed by one more instead.
    pub(super) fn tell(&self, chat_id: &str, tell: impl Fn()) {
        let mut chats = self.chats();
        if let Some(has_news) = chats.get_mut(chat_id) {
            *has_news = true;
            return;
        }
        chats.insert(chat_id.to_owned(), false);
        drop(chats);
        let teller = Teller { telling: self, chat_id };
        loop {
            tell();
            if !teller.takes_news() {
                // The chat has no teller from here on; the next one must not be taken for this one.
                return std::mem::forget(teller);
            }
        }
    }

    fn chats(&self) -> MutexGuard<'_, BTreeMap<String, bool>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Teller<'_> {
    /// Tells whether there was news; without any the teller is done, in the same step.
    fn takes_news(&self) -> bool {
        let mut chats = self.telling.chats();
        let has_news = chats.get_mut(self.chat_id).is_some_and(std::mem::take);
        if !has_news {
            chats.remove(self.chat_id);
        }
        has_news
    }
}

impl Drop for Teller<'_> {
    fn drop(&mut self) {
        self.telling.chats().remove(self.chat_id);
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::*;

    #[test]
    fn what_is_told_last_is_the_newest_even_when_it_changes_meanwhile_c64() {
        let (telling, state, told) = (Telling::default(), Mutex::new(1), Mutex::new(Vec::new()));
        let tell = || {
            let seen = *state.lock().unwrap();
            if seen == 1 {
                // Another thread, or the listener itself, changes the state and tells it before this listener has got round to it.
                *state.lock().unwrap() = 2;
                telling.tell("chat", || told.lock().unwrap().push(2));
            }
            told.lock().unwrap().push(seen);
        };

        telling.tell("chat", tell);

        assert_eq!(*told.lock().unwrap(), [1, 2]);
    }

    #[test]
    fn a_listener_that_panicked_hears_of_the_next_change_c64() {
        let (telling, told) = (Telling::default(), Mutex::new(0));

        assert!(catch_unwind(AssertUnwindSafe(|| telling.tell("chat", || panic!("the listener's own")))).is_err());
        telling.tell("chat", || *told.lock().unwrap() += 1);

        assert_eq!(*told.lock().unwrap(), 1);
    }
}

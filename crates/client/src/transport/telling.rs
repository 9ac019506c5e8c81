//! One teller a chat: two threads that change a chat's state must not tell it in the wrong order (C-64).

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// How often in a row a listener is told of changes that came while it was told. One that changes the chat whenever it hears of it would
/// never be done; it hears of the rest with the next change of anybody else.
const MAX_IN_A_ROW: usize = 1000;

/// Who is being told right now, and whether there is news since.
#[derive(Debug, Default)]
pub(super) struct Telling(Mutex<BTreeMap<String, bool>>);

impl Telling {
    /// Calls `tell`, which looks at the state itself. While it is called for the chat already, from another thread or further up on
    /// this one, that call is followed by one more instead.
    ///
    /// A panic of the application goes on when all news is told.
    pub(super) fn tell(&self, chat_id: &str, tell: impl Fn()) {
        let mut chats = self.chats();
        if let Some(has_news) = chats.get_mut(chat_id) {
            *has_news = true;
            return;
        }
        chats.insert(chat_id.to_owned(), false);
        drop(chats);
        let mut panicked = None;
        for at in 1..=MAX_IN_A_ROW {
            if let Err(panic) = catch_unwind(AssertUnwindSafe(&tell)) {
                panicked.get_or_insert(panic);
            }
            if self.is_done(chat_id, at == MAX_IN_A_ROW) {
                break;
            }
        }
        if let Some(panic) = panicked {
            resume_unwind(panic);
        }
    }

    fn chats(&self) -> MutexGuard<'_, BTreeMap<String, bool>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the news; without any, or when it `must_be`, the chat has no teller from here on.
    fn is_done(&self, chat_id: &str, must_be: bool) -> bool {
        let mut chats = self.chats();
        let has_news = chats.get_mut(chat_id).is_some_and(std::mem::take);
        let is_done = must_be || !has_news;
        if is_done {
            chats.remove(chat_id);
        }
        is_done
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

    #[test]
    fn what_came_while_a_listener_panicked_is_told_before_the_panic_goes_on_c64() {
        let (telling, state, told) = (Telling::default(), Mutex::new(1), Mutex::new(Vec::new()));
        let tell = || {
            let seen = std::mem::replace(&mut *state.lock().unwrap(), 2);
            if seen == 1 {
                telling.tell("chat", || unreachable!("the teller is told of it"));
                panic!("the listener's own");
            }
            told.lock().unwrap().push(seen);
        };

        let result = catch_unwind(AssertUnwindSafe(|| telling.tell("chat", tell)));

        assert_eq!(result.unwrap_err().downcast_ref(), Some(&"the listener's own"));
        assert_eq!(*told.lock().unwrap(), [2]);
    }

    #[test]
    fn a_listener_that_changes_what_it_hears_of_does_not_stall_its_teller_c64() {
        let (telling, told) = (Telling::default(), Mutex::new(0));
        let tell = || {
            *told.lock().unwrap() += 1;
            telling.tell("chat", || ());
        };

        telling.tell("chat", tell);
        assert_eq!(*told.lock().unwrap(), MAX_IN_A_ROW);
        telling.tell("chat", || *told.lock().unwrap() = 0);

        assert_eq!(*told.lock().unwrap(), 0, "the next change is told");
    }
}

//! [`Watched`]: a value that others wait on.

use std::sync::{Mutex, PoisonError};

use tokio::sync::Notify;

/// A value behind a lock, whose changes wake those who wait for one.
#[derive(Debug, Default)]
pub(crate) struct Watched<T> {
    value: Mutex<T>,
    news: Notify,
}

impl<T> Watched<T> {
    pub(crate) fn look<R>(&self, look: impl FnOnce(&T) -> R) -> R {
        look(&self.value.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn change<R>(&self, change: impl FnOnce(&mut T) -> R) -> R {
        let result = change(&mut self.value.lock().unwrap_or_else(PoisonError::into_inner));
        self.news.notify_waiters();
        result
    }

    /// Waits until `find` finds something. Cancel-safe.
    pub(crate) async fn until<R>(&self, find: impl Fn(&T) -> Option<R>) -> R {
        self.take(|value| find(value)).await
    }

    /// Waits until `find` finds something, which it may take out; nobody is told of that. Cancel-safe.
    pub(crate) async fn take<R>(&self, find: impl Fn(&mut T) -> Option<R>) -> R {
        loop {
            let news = self.news.notified();
            tokio::pin!(news);
            // Registered before the look: a change in between is not missed.
            news.as_mut().enable();
            let found = find(&mut self.value.lock().unwrap_or_else(PoisonError::into_inner));
            if let Some(found) = found {
                return found;
            }
            news.await;
        }
    }
}

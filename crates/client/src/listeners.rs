//! Who hears of something, in the order of asking, each free to stop.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::Error;
use crate::reader::quietly;

/// How many listeners of one thing there may be; more is a leak.
const MAX_LISTENERS: usize = 256;

/// The listeners of one thing; clones share them.
pub(crate) struct Listeners<T: ?Sized>(Arc<Mutex<List<T>>>);

struct List<T: ?Sized> {
    n_ever: u64,
    listeners: Vec<(u64, Arc<T>)>,
}

impl<T: ?Sized> Default for Listeners<T> {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(List { n_ever: 0, listeners: Vec::new() })))
    }
}

impl<T: ?Sized + Send + Sync + 'static> Listeners<T> {
    /// Adds a listener.
    pub(crate) fn add(&self, heard: Arc<T>) -> Result<Listening, Error> {
        let mut list = lock(&self.0);
        if list.listeners.len() >= MAX_LISTENERS {
            return Err(Error::TooManyListeners { limit: MAX_LISTENERS });
        }
        let id = list.n_ever;
        list.n_ever += 1;
        list.listeners.push((id, heard));
        let shared = self.0.clone();
        Ok(Listening { stop: Arc::new(move || lock(&shared).listeners.retain(|(known, _)| *known != id)) })
    }

    /// Tells each listener, with no lock held; one that panics does not keep it from the others (C-127, C-173).
    pub(crate) fn tell(&self, tell: impl Fn(&T)) {
        let listeners: Vec<_> = lock(&self.0).listeners.iter().map(|(_, heard)| heard.clone()).collect();
        for heard in listeners {
            quietly(|| tell(&heard));
        }
    }
}

fn lock<T: ?Sized>(list: &Mutex<List<T>>) -> MutexGuard<'_, List<T>> {
    list.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A listener that was added; dropping this changes nothing.
#[derive(Clone)]
pub struct Listening {
    stop: Arc<dyn Fn() + Send + Sync>,
}

impl Listening {
    /// Listens where nothing is ever told.
    pub(crate) fn to_nothing() -> Self {
        Self { stop: Arc::new(|| {}) }
    }

    /// Ends the listening: what is told from now on is not heard.
    pub fn stop(&self) {
        (self.stop)();
    }
}

impl fmt::Debug for Listening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Listening")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_told_in_order_until_it_stops_and_a_panic_stops_nobody_c127_c173() {
        let heard: Arc<Mutex<Vec<(u32, u32)>>> = Arc::default();
        let listener = |name: u32| {
            let heard = heard.clone();
            Arc::new(move |news: u32| heard.lock().unwrap().push((name, news))) as Arc<dyn Fn(u32) + Send + Sync>
        };
        let listeners = Listeners::<dyn Fn(u32) + Send + Sync>::default();

        let first = listeners.add(listener(1)).unwrap();
        listeners.add(Arc::new(|_| panic!("its own fault"))).unwrap();
        listeners.add(listener(2)).unwrap();
        listeners.tell(|listener| listener(10));
        first.stop();
        first.stop();
        listeners.tell(|listener| listener(11));

        assert_eq!(*heard.lock().unwrap(), [(1, 10), (2, 10), (2, 11)]);
    }

    #[test]
    fn listeners_have_a_bound() {
        let listeners = Listeners::<dyn Fn() + Send + Sync>::default();
        let added = (0..MAX_LISTENERS).filter(|_| listeners.add(Arc::new(|| {})).is_ok()).count();

        assert_eq!(added, MAX_LISTENERS);
        assert!(matches!(listeners.add(Arc::new(|| {})), Err(Error::TooManyListeners { limit: MAX_LISTENERS })));
    }
}

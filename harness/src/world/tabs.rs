//! The tabs of one person's browser, and the channel on which they hear each other (C-123).
//!
//! What a tab tells reaches every other tab that is there, in order, a fixed while later. A tab that has died hears nothing and tells
//! nothing; one that is closed may still say that it goes.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::future::BoxFuture;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};
use turnkeep_client::{TabChannel, TabMessage};

/// Messages that wait for one tab; a tab that takes none for so long misses the newest.
const MAX_WAITING: usize = 4096;

/// Names a tab in stories, checks and page names: `alice` is her first one, `alice/b` one called `b`.
pub(super) fn person_of_tab(tab: &str) -> &str {
    tab.split_once('/').map_or(tab, |(person, _)| person)
}

/// The channel between one person's tabs.
pub(super) struct Room {
    delay: Duration,
    inboxes: Mutex<BTreeMap<String, Arc<Inbox>>>,
}

#[derive(Default)]
struct Inbox {
    waiting: Mutex<VecDeque<(Instant, TabMessage)>>,
    came: Notify,
}

impl Room {
    /// Makes an empty one, in which every message takes so long.
    pub(super) fn new(delay: Duration) -> Self {
        Self { delay, inboxes: Mutex::default() }
    }

    /// Lets a page listen and speak, until it leaves or is dropped.
    pub(super) fn enter(self: &Arc<Self>, page: &str) -> Arc<Seat> {
        let inbox = Arc::new(Inbox::default());
        self.inboxes().insert(page.to_owned(), inbox.clone());
        Arc::new(Seat { room: self.clone(), page: page.to_owned(), inbox })
    }

    fn inboxes(&self) -> MutexGuard<'_, BTreeMap<String, Arc<Inbox>>> {
        self.inboxes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inbox {
    fn waiting(&self) -> MutexGuard<'_, VecDeque<(Instant, TabMessage)>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A page's end of the channel.
pub(super) struct Seat {
    room: Arc<Room>,
    page: String,
    inbox: Arc<Inbox>,
}

impl Seat {
    /// Takes the page out: from now on it tells and hears nothing.
    pub(super) fn leave(&self) {
        self.room.inboxes().remove(&self.page);
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.leave();
    }
}

impl TabChannel for Seat {
    fn send(&self, message: &TabMessage) {
        let inboxes = self.room.inboxes();
        if !inboxes.contains_key(&self.page) {
            return;
        }
        let due = Instant::now() + self.room.delay;
        for (_, inbox) in inboxes.iter().filter(|(page, _)| **page != self.page) {
            let mut waiting = inbox.waiting();
            if waiting.len() < MAX_WAITING {
                waiting.push_back((due, message.clone()));
                inbox.came.notify_one();
            }
        }
    }

    fn receive(&self) -> BoxFuture<'_, Option<TabMessage>> {
        Box::pin(async move {
            loop {
                let came = self.inbox.came.notified();
                let due = self.inbox.waiting().front().map(|(due, _)| *due);
                match due {
                    None => came.await,
                    Some(due) if due > Instant::now() => sleep_until(due).await,
                    Some(_) => return self.inbox.waiting().pop_front().map(|(_, message)| message),
                }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    fn claim(by: &str) -> TabMessage {
        TabMessage::Claim { chat_id: "chat".to_owned(), tab_id: by.to_owned() }
    }

    #[tokio::test(start_paused = true)]
    async fn a_message_reaches_the_other_tabs_in_order_and_a_while_later_c123() {
        let room = Arc::new(Room::new(Duration::from_millis(7)));
        let [a, b, c] = ["a", "b", "c"].map(|page| room.enter(page));
        let began = Instant::now();

        a.send(&claim("1"));
        a.send(&claim("2"));

        assert!(b.receive().now_or_never().is_none(), "it is on its way");
        for seat in [&b, &c] {
            assert_eq!(seat.receive().await, Some(claim("1")));
            assert_eq!(seat.receive().await, Some(claim("2")));
        }
        assert_eq!(began.elapsed(), Duration::from_millis(7));
        assert!(a.receive().now_or_never().is_none(), "nobody hears herself");
    }

    #[tokio::test(start_paused = true)]
    async fn a_tab_that_has_left_tells_and_hears_nothing_c126() {
        let room = Arc::new(Room::new(Duration::from_millis(1)));
        let [a, b] = ["a", "b"].map(|page| room.enter(page));

        a.leave();
        a.send(&claim("1"));
        b.send(&claim("2"));
        tokio::time::sleep(Duration::from_secs(1)).await;

        assert!(b.receive().now_or_never().is_none());
        assert!(a.receive().now_or_never().is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn a_tab_that_takes_nothing_holds_a_bounded_number_of_messages() {
        let room = Arc::new(Room::new(Duration::ZERO));
        let [a, b] = ["a", "b"].map(|page| room.enter(page));

        (0..=MAX_WAITING).for_each(|n| a.send(&claim(&n.to_string())));

        let mut taken = Vec::new();
        while let Some(message) = b.receive().now_or_never() {
            taken.extend(message);
        }
        assert_eq!((taken.len(), taken.first()), (MAX_WAITING, Some(&claim("0"))));
    }
}

//! The tabs of one person's browser, and the channel on which they hear each other (C-123).
//!
//! What a tab tells reaches every other tab that is there, a drawn while later each time, and what one tab tells another in order. A tab
//! that has died hears nothing and tells nothing; one that is closed may still say that it goes.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::future::BoxFuture;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};
use turnkeep_client::{TabChannel, TabMessage};
use turnkeep_host::{Draws, Entropy};

/// Messages that wait for one tab; a tab that takes none for so long misses the newest.
const MAX_WAITING: usize = 4096;

/// Names a tab in stories, checks and page names: `alice` is her first one, `alice/b` one called `b`.
pub(super) fn person_of_tab(tab: &str) -> &str {
    tab.split_once('/').map_or(tab, |(person, _)| person)
}

/// The channel between one person's tabs.
pub(super) struct Room {
    /// The least and the most milliseconds that a message takes.
    delay_ms: [u64; 2],
    seed: Entropy,
    inboxes: Mutex<BTreeMap<String, Arc<Inbox>>>,
}

#[derive(Default)]
struct Inbox {
    /// What is on its way, the next to arrive first.
    waiting: Mutex<VecDeque<Underway>>,
    came: Notify,
}

struct Underway {
    due: Instant,
    from: String,
    message: TabMessage,
}

impl Room {
    /// Makes an empty one, in which every message takes so long.
    pub(super) fn new(delay_ms: [u64; 2], seed: Entropy) -> Self {
        Self { delay_ms, seed, inboxes: Mutex::default() }
    }

    /// Lets a page listen and speak, until it leaves or is dropped.
    pub(super) fn enter(self: &Arc<Self>, page: &str) -> Arc<Seat> {
        let inbox = Arc::new(Inbox::default());
        self.inboxes().insert(page.to_owned(), inbox.clone());
        let delays = self.seed.child(page).draws();
        Arc::new(Seat { room: self.clone(), page: page.to_owned(), inbox, delays })
    }

    fn inboxes(&self) -> MutexGuard<'_, BTreeMap<String, Arc<Inbox>>> {
        self.inboxes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inbox {
    fn waiting(&self) -> MutexGuard<'_, VecDeque<Underway>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a message on its way, behind whatever the same tab has told before.
    fn put(&self, mut underway: Underway) {
        let mut waiting = self.waiting();
        if waiting.len() >= MAX_WAITING {
            return;
        }
        let before = waiting.iter().rev().find(|other| other.from == underway.from);
        underway.due = before.map_or(underway.due, |before| before.due.max(underway.due));
        let place = waiting.partition_point(|other| other.due <= underway.due);
        waiting.insert(place, underway);
        self.came.notify_one();
    }
}

/// A page's end of the channel.
pub(super) struct Seat {
    room: Arc<Room>,
    page: String,
    inbox: Arc<Inbox>,
    delays: Draws,
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
        let [least, most] = self.room.delay_ms;
        for (_, inbox) in inboxes.iter().filter(|(page, _)| **page != self.page) {
            let due = Instant::now() + Duration::from_millis(least + self.delays.below(most - least + 1));
            inbox.put(Underway { due, from: self.page.clone(), message: message.clone() });
        }
    }

    fn receive(&self) -> BoxFuture<'_, Option<TabMessage>> {
        Box::pin(async move {
            loop {
                let came = self.inbox.came.notified();
                let due = self.inbox.waiting().front().map(|underway| underway.due);
                match due {
                    None => came.await,
                    // Another tab's message may overtake the one that is next.
                    Some(due) if due > Instant::now() => _ = timeout_at(due, came).await,
                    Some(_) => return self.inbox.waiting().pop_front().map(|underway| underway.message),
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

    fn room(delay_ms: [u64; 2]) -> Arc<Room> {
        Arc::new(Room::new(delay_ms, Entropy::from_seed(7)))
    }

    #[tokio::test(start_paused = true)]
    async fn messages_of_two_tabs_may_overtake_each_other_and_those_of_one_do_not_c123() {
        let room = room([1, 50]);
        let [a, b, c] = ["a", "b", "c"].map(|page| room.enter(page));
        let told: Vec<String> = (0..20).map(|n| n.to_string()).collect();
        for n in &told {
            a.send(&claim(&format!("a{n}")));
            b.send(&claim(&format!("b{n}")));
        }

        let mut heard = Vec::new();
        for _ in 0..40 {
            let Some(TabMessage::Claim { tab_id, .. }) = c.receive().await else { panic!("{heard:?}") };
            heard.push(tab_id);
        }

        for from in ["a", "b"] {
            let of_one: Vec<_> = heard.iter().filter_map(|tab_id| tab_id.strip_prefix(from)).collect();
            assert_eq!(of_one, told);
        }
        assert!(heard.chunks(2).any(|pair| pair[0].starts_with('b')), "{heard:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_message_reaches_the_other_tabs_in_order_and_a_while_later_c123() {
        let room = room([7, 7]);
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
        let room = room([1, 1]);
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
        let room = room([0, 0]);
        let [a, b] = ["a", "b"].map(|page| room.enter(page));

        (0..=MAX_WAITING).for_each(|n| a.send(&claim(&n.to_string())));

        let mut taken = Vec::new();
        while let Some(message) = b.receive().now_or_never() {
            taken.extend(message);
        }
        assert_eq!((taken.len(), taken.first()), (MAX_WAITING, Some(&claim("0"))));
    }
}

//! The tail's life: who is read, and who is heard (S-161…S-164).

use std::collections::VecDeque;
use std::sync::OnceLock;
use std::task::Poll;

use futures::future::BoxFuture;
use futures::stream::{self, BoxStream};
use futures::{FutureExt, StreamExt};
use turnkeep_protocol::run_api::{Mark, WaitOutcome};
use turnkeep_protocol::session_api::DrainedRecord;
use turnkeep_protocol::{ChannelName, ChatSnapshot, JsonObject, NewRecord, UiMessage};

use super::*;
use crate::error::Error;
use crate::link::{DurableWait, SnapshotRead};
use crate::testing::{FakeLink, FakeSession, heard, stop, submit};

fn seq(number: u64) -> SeqNum {
    SeqNum::new(number)
}

fn over(link: Arc<dyn Link>) -> InputChannel {
    let host = Host::os();
    InputChannel::new(host.clone(), link, host.entropy().child("input"))
}

/// Takes the oldest message and gives its place.
fn take(channel: &InputChannel) -> Option<u64> {
    channel.take_message().map(|(seq_num, _)| seq_num.get())
}

/// Gives each tail the next of its scripts, and notes where it began; tails without a script stay silent.
#[derive(Default)]
struct Scripted {
    scripts: Mutex<VecDeque<BoxStream<'static, InputRecord>>>,
    tails: Mutex<Vec<Option<SeqNum>>>,
}

impl Link for Scripted {
    fn follow_in(&self, after: Option<SeqNum>) -> BoxFuture<'_, Result<BoxStream<'static, InputRecord>, Error>> {
        self.tails.lock().unwrap().push(after);
        let script = self.scripts.lock().unwrap().pop_front();
        async { Ok(script.unwrap_or_else(|| stream::pending().boxed())) }.boxed()
    }

    fn append_out(&self, _: Vec<NewRecord>) -> BoxFuture<'_, Result<Vec<SeqNum>, Error>> {
        unreachable!("a reader only reads")
    }

    fn drain(&self, _: ChannelName, _: Option<SeqNum>) -> BoxFuture<'_, Result<Vec<DrainedRecord>, Error>> {
        unreachable!("a reader only follows")
    }

    fn read_snapshot(&self) -> BoxFuture<'_, SnapshotRead> {
        unreachable!("a reader only follows")
    }

    fn write_snapshot(&self, _: &ChatSnapshot) -> BoxFuture<'_, Result<(), Error>> {
        unreachable!("a reader only reads")
    }

    fn mark(&self, _: Mark) -> BoxFuture<'_, Result<(), Error>> {
        unreachable!("a reader only reads")
    }

    fn write_metadata(&self, _: JsonObject) -> BoxFuture<'_, Result<(), Error>> {
        unreachable!("a reader only reads")
    }

    fn wait(&self, _: DurableWait) -> BoxFuture<'_, Result<WaitOutcome, Error>> {
        unreachable!("a reader only follows")
    }

    fn mint_token(&self) -> BoxFuture<'_, Option<String>> {
        unreachable!("a reader only reads")
    }
}

fn message(number: u64) -> InputRecord {
    InputRecord { seq_num: seq(number), timestamp: 1, input: Some(submit(UiMessage::user("u", "hi"))) }
}

/// A channel whose first tail does `act` in the middle of its step and then gives `then`: what a tail on another thread does when it
/// is dropped too late to be stopped. Later tails read `message(0)`.
fn interrupted(
    act: impl Fn(&InputChannel) + Send + 'static,
    then: Option<InputRecord>,
) -> (InputChannel, Arc<Scripted>) {
    let own: Arc<OnceLock<InputChannel>> = Arc::default();
    let mut then = Some(then);
    let first = {
        let own = own.clone();
        stream::poll_fn(move |_| {
            act(own.get().expect("the test connects when the channel is there"));
            Poll::Ready(then.take().flatten())
        })
    };
    let later = || stream::iter([message(0)]).chain(stream::pending()).boxed();
    let link =
        Arc::new(Scripted { scripts: Mutex::new([first.boxed(), later(), later()].into()), ..Scripted::default() });
    let channel = over(link.clone());
    assert!(own.set(channel.clone()).is_ok());
    (channel, link)
}

#[tokio::test(start_paused = true)]
async fn a_part_that_comes_when_its_tail_was_dropped_is_ignored_s164() {
    let (channel, link) = interrupted(InputChannel::disconnect, Some(message(0)));

    channel.connect();
    heard().await;

    assert_eq!(channel.with(|inbox| (inbox.received(), inbox.buffered().count())), (None, 0));
    // Nothing is lost by that: the next tail begins where the reading stands.
    channel.connect();
    heard().await;
    assert_eq!(*link.tails.lock().unwrap(), [None, None]);
    assert_eq!((take(&channel), take(&channel)), (Some(0), None));
}

#[tokio::test(start_paused = true)]
async fn the_end_of_an_old_tail_leaves_its_successor_alone_s163_sr45() {
    // Step 1: tail A is dropped, and its end of life is still to come. Step 2: tail B is opened.
    let b_is_opened = |channel: &InputChannel| {
        channel.disconnect();
        channel.connect();
    };
    let (channel, link) = interrupted(b_is_opened, None);
    channel.connect();

    // Step 3: A's end of life. Step 4 would open tail C after a pause.
    heard().await;
    tokio::time::advance(4 * LONGEST_PAUSE).await;
    heard().await;

    assert_eq!(link.tails.lock().unwrap().len(), 2, "A and B, and no C");
    assert_eq!((take(&channel), take(&channel)), (Some(0), None), "each record once");
    let is_up = channel.state().tail.as_ref().is_some_and(|tail| !tail.is_finished());
    assert!(is_up, "B is still the tail");
}

#[tokio::test(start_paused = true)]
async fn a_disconnect_stops_the_reading_and_keeps_buffer_listeners_and_waiters_s161_s162() {
    let session = Arc::new(FakeSession::default());
    let channel = over(Arc::new(FakeLink(session.clone())));
    let turn = Signal::new();
    channel.listen_for_stops();
    channel.ignore_handovers();
    channel.enter_turn(turn.clone());
    channel.connect();
    session.say("a");
    heard().await;

    channel.disconnect();
    session.send(stop());
    tokio::time::advance(4 * LONGEST_PAUSE).await;
    heard().await;
    assert_eq!((session.state().tails.len(), turn.is_set()), (1, false), "nothing reconnects by itself");

    // Whoever waited before is woken by what comes afterwards.
    let waiter = channel.clone();
    while waiter.arrived().now_or_never().is_some() {}
    let waiting = waiter.arrived();
    tokio::pin!(waiting);
    assert!(waiting.as_mut().now_or_never().is_none());
    channel.connect();
    waiting.await;

    assert_eq!(session.state().tails, [None, Some(seq(0))], "it goes on behind what is buffered");
    assert!(turn.is_set(), "the listener is still there");
    assert_eq!((take(&channel), take(&channel)), (Some(0), None));
}

#[tokio::test(start_paused = true)]
async fn a_channel_that_nobody_holds_any_more_reads_nothing_s162() {
    let session = Arc::new(FakeSession::default());
    let channel = over(Arc::new(FakeLink(session.clone())));
    channel.connect();
    heard().await;
    assert!(Arc::strong_count(&session) > 1);

    drop(channel);
    heard().await;

    assert_eq!(Arc::strong_count(&session), 1, "the tail has ended with its channel");
}

#[tokio::test(start_paused = true)]
async fn whoever_waits_gets_the_oldest_message_and_listeners_hear_theirs_s147() {
    let session = Arc::new(FakeSession::default());
    let channel = over(Arc::new(FakeLink(session.clone())));
    let turn = Signal::new();
    channel.listen_for_stops();
    channel.ignore_handovers();
    channel.enter_turn(turn.clone());
    channel.connect();
    let waiter = async {
        loop {
            if let Some(place) = take(&channel) {
                return place;
            }
            channel.arrived().await;
        }
    };

    let (place, ()) = tokio::join!(waiter, async {
        session.send(stop());
        session.say("a");
        session.say("b");
        heard().await;
    });

    assert_eq!((place, turn.is_set()), (1, true));
    let consumed = |channel: &InputChannel| channel.with(|inbox| inbox.wait_cursor());
    assert_eq!(consumed(&channel), Some(seq(1)), "`b` still waits");
    assert_eq!((take(&channel), consumed(&channel)), (Some(2), Some(seq(2))), "what was given out is consumed");
}

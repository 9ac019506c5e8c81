//! Several tabs over one channel (C §3.12).

mod lists;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::future::BoxFuture;
use tokio::sync::{Semaphore, mpsc};
use turnkeep_client::{ChatSessionState, Error, TabChannel, TabMessage, Transport};
use turnkeep_protocol::{SeqNum, UiMessage};

use crate::fake::AppendPlan;
use crate::net::settle;
use crate::rig::{CHAT, Rig, next_text, text_of};

/// How many messages may wait for one tab.
const INBOX: usize = 1_000;

/// The broadcast channel of one origin.
#[derive(Default, Clone)]
struct Origin(Arc<Mutex<Vec<mpsc::Sender<TabMessage>>>>);

struct Channel {
    origin: Origin,
    own: mpsc::Sender<TabMessage>,
    inbox: tokio::sync::Mutex<mpsc::Receiver<TabMessage>>,
}

impl Origin {
    fn channel(&self) -> Arc<Channel> {
        let (own, inbox) = mpsc::channel(INBOX);
        self.0.lock().unwrap().push(own.clone());
        Arc::new(Channel { origin: self.clone(), own, inbox: tokio::sync::Mutex::new(inbox) })
    }
}

impl TabChannel for Channel {
    fn send(&self, message: &TabMessage) {
        for other in self.origin.0.lock().unwrap().iter().filter(|other| !other.same_channel(&self.own)) {
            other.try_send(message.clone()).expect("an inbox has room");
        }
    }

    fn receive(&self) -> BoxFuture<'_, Option<TabMessage>> {
        Box::pin(async { self.inbox.lock().await.recv().await })
    }
}

/// Two tabs of one application, each with what it has heard.
struct Scene {
    rig: Rig,
    other: Transport,
    heard: Arc<Mutex<Vec<(String, bool)>>>,
    adopted: Arc<Mutex<Vec<Vec<UiMessage>>>>,
}

fn saved() -> ChatSessionState {
    ChatSessionState { is_streaming: Some(false), ..ChatSessionState::new("saved") }
}

async fn two_tabs() -> Scene {
    let origin = Origin::default();
    let sessions = || [(CHAT.to_owned(), saved())];
    let rig = Rig::with(|builder| builder.multi_tab(origin.channel()).sessions(sessions())).await;
    let other = rig.second(|builder| builder.name("other").multi_tab(origin.channel()).sessions(sessions()));
    let (heard, adopted): (Arc<Mutex<Vec<_>>>, Arc<Mutex<Vec<_>>>) = Default::default();
    let (changes, lists) = (heard.clone(), adopted.clone());
    let change = Arc::new(move |chat: &str, is: bool| changes.lock().unwrap().push((chat.to_owned(), is)));
    other.on_read_only_change(change).unwrap();
    other.on_tab_messages(Arc::new(move |_, messages| lists.lock().unwrap().push(messages.to_vec()))).unwrap();
    Scene { rig, other, heard, adopted }
}

impl Scene {
    fn changes(&self) -> Vec<bool> {
        self.heard.lock().unwrap().iter().map(|(chat, is)| (assert_eq!(chat, CHAT), *is).1).collect()
    }

    async fn other_sends(&self, text: &str) -> Result<turnkeep_client::ChatStream, Error> {
        let send = turnkeep_client::SendMessages::submit([UiMessage::user(format!("other-{text}"), text)]);
        self.other.send_messages(CHAT, send).await
    }
}

#[tokio::test(start_paused = true)]
async fn while_one_tab_has_a_turn_the_other_posts_nothing_c76_c124_ca73_ca74() {
    let scene = two_tabs().await;
    scene.rig.fake.say("a");
    let mut stream = scene.rig.send("hi").await.unwrap();
    next_text(&mut stream).await;
    settle().await;

    assert!(scene.other.is_read_only(CHAT) && !scene.rig.transport.is_read_only(CHAT));
    let refused = scene.other_sends("me too").await.unwrap_err();
    assert!(refused.to_string().contains("active in another tab"), "{refused}");
    let refused = scene.other.send_action(CHAT, serde_json::json!({}), None).await.unwrap_err();
    assert!(matches!(refused, Error::ActiveInAnotherTab));
    assert_eq!(scene.rig.fake.appends().len(), 1);

    scene.rig.fake.boundary(0);
    text_of(stream).await;
    settle().await;
    assert_eq!(scene.changes(), [true, false]);
    scene.other_sends("now me").await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_boundary_hands_the_cursor_to_the_other_tab_without_a_word_c86_c128_c129() {
    let scene = two_tabs().await;
    scene.rig.fake.say("a");
    scene.rig.fake.boundary(0);
    let told = Arc::new(Mutex::new(0));
    let count = told.clone();
    scene.other.set_on_session_change(Some(Arc::new(move |_, _| *count.lock().unwrap() += 1)));

    text_of(scene.rig.send("hi").await.unwrap()).await;
    settle().await;

    assert_eq!(scene.other.session(CHAT).unwrap().last_event_id, Some(SeqNum::new(1)));
    assert_eq!(*told.lock().unwrap(), 0);
    // A tab that is further on keeps its place.
    let ahead = ChatSessionState { last_event_id: Some(SeqNum::new(99)), ..saved() };
    scene.other.set_session(CHAT, ahead.clone());
    scene.rig.fake.boundary(1);
    text_of(scene.rig.send("again").await.unwrap()).await;
    settle().await;
    assert_eq!(scene.other.session(CHAT), Some(ahead));
}

#[tokio::test(start_paused = true)]
async fn a_stopped_turn_of_ours_does_not_gate_what_comes_after_another_tabs_turn_c107_c128() {
    let scene = two_tabs().await;
    scene.rig.fake.say("stopped");
    let mut first = scene.other_sends("one").await.unwrap();
    next_text(&mut first).await;
    scene.other.stop_generation(CHAT).await;
    drop(first);
    settle().await;
    scene.rig.fake.boundary(1);
    scene.rig.fake.say("theirs");
    scene.rig.fake.boundary(2);
    text_of(scene.rig.send("two").await.unwrap()).await;
    settle().await;

    let third = scene.other_sends("three").await.unwrap();
    scene.rig.fake.say("mine");
    scene.rig.fake.boundary(3);

    assert_eq!(text_of(third).await, "mine");
}

#[tokio::test(start_paused = true)]
async fn a_stop_frees_the_chat_for_the_other_tab_c105_c125_cr21_ca47() {
    let scene = two_tabs().await;
    scene.rig.fake.say("a");
    let mut stream = scene.rig.send("hi").await.unwrap();
    next_text(&mut stream).await;
    settle().await;

    scene.rig.transport.stop_generation(CHAT).await;
    settle().await;

    assert_eq!(scene.changes(), [true, false]);
    drop(stream);
    scene.other_sends("now me").await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_successor_keeps_the_claim_when_the_previous_reader_goes_c90_cr9_ca47() {
    let scene = two_tabs().await;
    let first = scene.rig.send("one").await.unwrap();
    let second = scene.rig.send("two").await.unwrap();

    first.abort();
    drop(first);
    settle().await;

    assert!(scene.other.is_read_only(CHAT));
    assert_eq!(scene.changes(), [true]);
    drop(second);
    settle().await;
    assert!(!scene.other.is_read_only(CHAT), "a reader that is let go lets the chat go (C-125)");
}

#[tokio::test(start_paused = true)]
async fn a_failed_or_cancelled_send_leaves_no_claim_c130_cf8_ca67() {
    let scene = two_tabs().await;
    scene.rig.fake.on_append(AppendPlan::Refuse(413, serde_json::json!({ "error": "no" }), Vec::new()));
    scene.rig.send("too large").await.unwrap_err();
    settle().await;
    assert_eq!(scene.changes(), [true, false]);

    let ack = Arc::new(Semaphore::new(0));
    scene.rig.fake.on_append(AppendPlan::Hold(ack));
    assert!(tokio::time::timeout(Duration::from_secs(1), scene.rig.send("cancelled")).await.is_err());
    settle().await;
    assert_eq!(scene.changes(), [true, false, true, false]);
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_send_leaves_the_claim_to_its_successor_c130_ca67() {
    let scene = two_tabs().await;
    let ack = Arc::new(Semaphore::new(0));
    (0..2).for_each(|_| scene.rig.fake.on_append(AppendPlan::Hold(ack.clone())));

    let (cancelled, second, ()) = tokio::join!(
        tokio::time::timeout(Duration::from_secs(1), scene.rig.send("cancelled")),
        scene.rig.send("second"),
        async {
            // The first has been let go, the second is still being posted.
            tokio::time::sleep(Duration::from_secs(2)).await;
            assert!(scene.other.is_read_only(CHAT));
            ack.add_permits(2);
        }
    );
    settle().await;

    assert!(cancelled.is_err() && second.is_ok());
    assert_eq!(scene.changes(), [true], "it was never let go");
}

#[tokio::test(start_paused = true)]
async fn a_read_only_tab_does_not_even_start_the_session_c76_c79() {
    let origin = Origin::default();
    let rig = Rig::with(|builder| builder.multi_tab(origin.channel())).await;
    let holder = rig.second(|builder| builder.name("holder").multi_tab(origin.channel()));
    let send = turnkeep_client::SendMessages::submit([UiMessage::user("u", "hi")]);
    let stream = holder.send_messages(CHAT, send).await.unwrap();
    settle().await;

    assert!(matches!(rig.send("me too").await, Err(Error::ActiveInAnotherTab)));

    assert_eq!(rig.heard.n_starts(), 0);
    drop(stream);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_claimed_before_the_session_exists_c130_ca67() {
    let origin = Origin::default();
    let rig = Rig::with(|builder| builder.multi_tab(origin.channel())).await;
    let other = rig.second(|builder| builder.name("other").multi_tab(origin.channel()));
    let gate = Arc::new(Semaphore::new(0));
    let held = gate.clone();
    rig.transport.set_start_session(Some(Arc::new(move |_| {
        let held = held.clone();
        Box::pin(async move {
            held.acquire().await.unwrap().forget();
            Ok("token".to_owned())
        })
    })));

    let (sent, ()) = tokio::join!(rig.send("hi"), async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert!(!other.is_read_only(CHAT));
        gate.add_permits(1);
    });
    settle().await;

    assert!(sent.is_ok() && other.is_read_only(CHAT));
}

#[tokio::test(start_paused = true)]
async fn a_crashed_tab_locks_the_others_for_fifteen_seconds_at_most_c126_ca74() {
    let origin = Origin::default();
    let rig = Rig::with(|builder| builder.multi_tab(origin.channel()).sessions([(CHAT.to_owned(), saved())])).await;
    rig.transport.share_messages(CHAT, Vec::new());
    let crashing = rig
        .second(|builder| builder.name("crashing").multi_tab(origin.channel()).sessions([(CHAT.to_owned(), saved())]));
    let send = turnkeep_client::SendMessages::submit([UiMessage::user("u", "hi")]);
    let stream = crashing.send_messages(CHAT, send).await.unwrap();
    // Twenty seconds of life, then nothing more, not even a release.
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert!(rig.transport.is_read_only(CHAT), "heartbeats keep the claim");
    std::mem::forget(stream);
    origin.0.lock().unwrap().clear();
    drop(crashing);

    tokio::time::sleep(Duration::from_secs(9)).await;
    assert!(rig.transport.is_read_only(CHAT));
    assert!(rig.transport.reconnect_to_stream(CHAT).is_none(), "nothing streams that this tab knew of (C-99)");
    tokio::time::sleep(Duration::from_secs(7)).await;
    assert!(!rig.transport.is_read_only(CHAT));
    // The dead tab's turn goes on, or has ended meanwhile: the page shows half an answer.
    assert_eq!(rig.transport.session(CHAT).unwrap().is_streaming, None);
    rig.fake.say("their answer");
    rig.fake.boundary(0);
    let resumed = rig.transport.reconnect_to_stream(CHAT).expect("it is asked what goes on");
    assert_eq!(text_of(resumed).await, "their answer");
}

#[tokio::test(start_paused = true)]
async fn a_transport_that_is_dropped_lets_its_chats_go_without_a_word_of_its_page_c125_c128() {
    let Scene { rig, other, .. } = two_tabs().await;
    rig.fake.say("a");
    let send = turnkeep_client::SendMessages::submit([UiMessage::user("u", "hi")]);
    let stream = other.send_messages(CHAT, send).await.unwrap();
    other.share_messages(CHAT, vec![UiMessage::user("u", "hi")]);
    rig.fake.boundary(0);
    text_of(stream).await;
    settle().await;
    assert!(rig.transport.is_read_only(CHAT), "its last words are to come");

    drop(other);
    settle().await;

    assert!(!rig.transport.is_read_only(CHAT));
}

/// A channel that brings one message, and ends when it is told to.
struct Ending {
    message: Mutex<Option<TabMessage>>,
    end: Semaphore,
}

impl TabChannel for Ending {
    fn send(&self, _: &TabMessage) {}

    fn receive(&self) -> BoxFuture<'_, Option<TabMessage>> {
        Box::pin(async {
            let message = self.message.lock().unwrap().take();
            if message.is_none() {
                self.end.acquire().await.unwrap().forget();
            }
            message
        })
    }
}

#[tokio::test(start_paused = true)]
async fn a_channel_that_ends_leaves_no_chat_read_only_c123_c124() {
    let claim = TabMessage::Claim { chat_id: CHAT.to_owned(), tab_id: "another".to_owned() };
    let channel = Arc::new(Ending { message: Mutex::new(Some(claim)), end: Semaphore::new(0) });
    let rig = Rig::with(|builder| builder.multi_tab(channel.clone()).sessions([(CHAT.to_owned(), saved())])).await;
    let heard: Arc<Mutex<Vec<bool>>> = Arc::default();
    let changes = heard.clone();
    rig.transport.on_read_only_change(Arc::new(move |_, is| changes.lock().unwrap().push(is))).unwrap();
    settle().await;
    assert!(rig.transport.is_read_only(CHAT));

    channel.end.add_permits(1);
    settle().await;

    assert_eq!(*heard.lock().unwrap(), [true, false]);
    rig.send("hi").await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn dispose_releases_every_chat_and_leaves_the_channel_c125_c151_ca74() {
    let scene = two_tabs().await;
    let stream = scene.rig.send("hi").await.unwrap();
    settle().await;
    assert_eq!(scene.changes(), [true]);

    scene.rig.transport.dispose();
    settle().await;

    assert_eq!(scene.changes(), [true, false]);
    drop(stream);
    scene.other_sends("now me").await.unwrap();
    settle().await;
    assert!(!scene.rig.transport.is_read_only(CHAT), "a disposed transport hears nothing");
}

#[tokio::test(start_paused = true)]
async fn a_stopped_listener_hears_nothing_and_a_failing_one_stops_nobody_c127_ca73() {
    let scene = two_tabs().await;
    let silent = Arc::new(Mutex::new(0));
    let count = silent.clone();
    let listening = scene.other.on_read_only_change(Arc::new(move |_, _| *count.lock().unwrap() += 1)).unwrap();
    scene.other.on_read_only_change(Arc::new(|_, _| panic!("its own fault"))).unwrap();
    let loud = Arc::new(Mutex::new(0));
    let count = loud.clone();
    scene.other.on_read_only_change(Arc::new(move |_, _| *count.lock().unwrap() += 1)).unwrap();
    listening.stop();

    let stream = scene.rig.send("hi").await.unwrap();
    settle().await;

    assert_eq!((*silent.lock().unwrap(), *loud.lock().unwrap()), (0, 1));
    drop(stream);
}

#[tokio::test(start_paused = true)]
async fn without_a_channel_and_for_a_watcher_everything_is_writable_c123_ca75() {
    let origin = Origin::default();
    let alone = Rig::start().await;
    let watcher = Rig::with(|builder| builder.watch().multi_tab(origin.channel())).await;
    let mut witness = origin.channel();
    for rig in [&alone, &watcher] {
        assert!(!rig.transport.is_read_only(CHAT));
        rig.transport.on_read_only_change(Arc::new(|_, _| panic!("nothing changes"))).unwrap().stop();
        rig.transport.share_messages(CHAT, Vec::new());
        let stream = rig.send("hi").await.unwrap();
        rig.transport.dispose();
        drop(stream);
    }
    settle().await;

    let inbox = Arc::get_mut(&mut witness).unwrap().inbox.get_mut();
    assert!(inbox.try_recv().is_err(), "a watcher tells the others nothing");
}

#[tokio::test(start_paused = true)]
async fn two_sends_that_cross_leave_one_holder_and_in_the_end_none_c133_cf7() {
    // 1 both tabs send before either has heard of the other's claim; 2 the claims cross; 3 one tab gives way, not both and not neither.
    let scene = two_tabs().await;
    let (ours, theirs) = tokio::join!(scene.rig.send("hi"), scene.other_sends("ho"));
    let (ours, theirs) = (ours.unwrap(), theirs.unwrap());
    settle().await;

    let read_only = [scene.rig.transport.is_read_only(CHAT), scene.other.is_read_only(CHAT)];
    assert_eq!(read_only.iter().filter(|is| **is).count(), 1, "{read_only:?}");

    scene.rig.fake.boundary(0);
    scene.rig.fake.boundary(1);
    tokio::join!(text_of(ours), text_of(theirs));
    settle().await;
    assert!(!scene.rig.transport.is_read_only(CHAT) && !scene.other.is_read_only(CHAT));
}

#[tokio::test(start_paused = true)]
async fn a_tab_that_is_opened_in_mid_turn_is_read_only_from_the_next_heartbeat_on_c132_cf7() {
    // 1 a tab holds the chat; 2 another is opened, which has not heard the claim; 3 the sign of life tells it.
    let origin = Origin::default();
    let rig = Rig::with(|builder| builder.multi_tab(origin.channel())).await;
    rig.fake.say("a");
    let mut stream = rig.send("hi").await.unwrap();
    next_text(&mut stream).await;

    let late = rig.second(|builder| builder.name("late").multi_tab(origin.channel()));
    settle().await;
    assert!(!late.is_read_only(CHAT));
    tokio::time::sleep(Duration::from_secs(5)).await;
    settle().await;

    assert!(late.is_read_only(CHAT));
    rig.fake.boundary(0);
    text_of(stream).await;
    settle().await;
    assert!(!late.is_read_only(CHAT), "the turn's end tells it like any other tab");
}

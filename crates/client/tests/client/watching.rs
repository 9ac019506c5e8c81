//! Watch mode: one subscription over all turns (C §3.11).

use std::time::Duration;

use tokio::time::Instant;
use turnkeep_client::{ChatSessionState, ChatStream, Outcome};
use turnkeep_protocol::SeqNum;

use crate::fake::{After, ReadPlan};
use crate::net::settle;
use crate::rig::{CHAT, Rig, drain, next_text};

fn idle() -> ChatSessionState {
    ChatSessionState { is_streaming: Some(false), ..ChatSessionState::new("saved") }
}

/// A page that watches a chat in which nothing runs.
async fn watching() -> (Rig, ChatStream) {
    let rig = Rig::with(|builder| builder.watch().sessions([(CHAT.to_owned(), idle())])).await;
    let stream = rig.transport.reconnect_to_stream(CHAT).expect("a watcher always has something to wait for");
    (rig, stream)
}

#[tokio::test(start_paused = true)]
async fn two_turns_come_through_one_subscription_that_never_peeks_c121_c122_cr22_cr23_ca48_ca42() {
    // S-119.
    let (rig, mut stream) = watching().await;
    for turn in 0..2 {
        rig.fake.say(&turn.to_string());
        rig.fake.boundary(turn);
    }

    assert_eq!(next_text(&mut stream).await, "0");
    assert_eq!(next_text(&mut stream).await, "1");
    assert!(tokio::time::timeout(Duration::from_secs(1), stream.next()).await.is_err(), "it stays open");

    let reads = rig.fake.reads();
    assert_eq!((reads.len(), reads[0].peek), (1, false));
    let per_turn = ["first-chunk", "turn-completed"];
    assert_eq!(
        rig.heard.event_names(),
        [&["stream-connected"][..], &per_turn, &per_turn].concat(),
        "repeated per turn (CA-53)"
    );
    let told = rig.heard.last_change();
    assert_eq!((told.is_streaming, told.last_event_id), (Some(false), Some(SeqNum::new(3))));
}

#[tokio::test(start_paused = true)]
async fn a_turn_after_any_number_of_quiet_windows_arrives_without_delay_c121_cr22_ca48_ca49_rc15() {
    let (rig, mut stream) = watching().await;
    for _ in 0..20 {
        rig.fake.on_read(ReadPlan::QuietWindow(Duration::from_secs(50)));
    }
    let next = stream.next();
    tokio::pin!(next);
    assert!(tokio::time::timeout(Duration::from_secs(990), next.as_mut()).await.is_err());

    let started = Instant::now();
    rig.fake.say("awake");
    let delivered = tokio::time::timeout(Duration::from_secs(60), next).await;

    assert!(delivered.unwrap().unwrap().is_ok());
    // At most the rest of a window that the script keeps quiet, and one first backoff step; the waits did not grow.
    assert!(started.elapsed() < Duration::from_secs(51), "{:?}", started.elapsed());
    let n_reads = rig.fake.reads().len();
    assert!((20..=21).contains(&n_reads), "{n_reads} reads in 1000 s");
}

#[tokio::test(start_paused = true)]
async fn an_idle_watch_on_kept_alive_connections_waits_no_longer_each_time_rc15() {
    let (rig, mut stream) = watching().await;
    (0..1_999).for_each(|_| rig.fake.on_read(ReadPlan::serve(0, After::Ping)));
    let next = stream.next();
    tokio::pin!(next);

    // More than a day of nothing: each connection is renewed after 60 s and at most 100 ms more.
    let quiet = Duration::from_millis(1_999 * 60_000 - 1);
    assert!(tokio::time::timeout(quiet, next.as_mut()).await.is_err());
    rig.fake.say("awake");
    let woken = tokio::time::timeout(Duration::from_secs(260), next).await;

    assert!(woken.is_ok());
    assert_eq!(rig.fake.reads().len(), 2_000);
}

#[tokio::test(start_paused = true)]
async fn a_cancel_ends_the_watch_without_a_word_ca49_c91() {
    let (rig, mut stream) = watching().await;
    rig.fake.say("a");
    next_text(&mut stream).await;

    drop(stream);
    settle().await;

    assert_eq!(rig.fake.open_reads(), 0);
    assert_eq!(rig.heard.event_names(), ["stream-connected", "first-chunk"]);
    assert!(rig.fake.appends().is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_abort_between_windows_ends_the_watch_at_once_ca49_ca57() {
    let (rig, mut stream) = watching().await;
    rig.fake.on_read(ReadPlan::serve(0, After::Done));
    rig.fake.on_read(ReadPlan::serve(0, After::Done));
    rig.fake.on_read(ReadPlan::serve(0, After::Done));
    let handle = stream.abort_handle();

    let (ended, ()) = tokio::join!(stream.next(), async {
        rig.fake.wait_for_reads(3).await;
        settle().await;
        handle.abort();
    });

    assert!(ended.is_none());
    assert_eq!((stream.outcome(), rig.fake.reads().len()), (Some(Outcome::Aborted), 3));
    assert!(rig.fake.appends().is_empty(), "a passive watcher posts no stop");
    assert!(!rig.state().skip_to_turn_complete);
}

#[tokio::test(start_paused = true)]
async fn a_settled_answer_ends_the_watch_and_clears_the_flag_c121_ca49() {
    let (rig, mut stream) = watching().await;
    rig.fake.say("half a turn");
    rig.fake.on_read(ReadPlan::settled());

    let (text, failure, outcome) = drain(&mut stream).await;

    assert!(failure.is_none());
    assert_eq!((text.as_str(), outcome), ("half a turn", Outcome::Settled));
    assert_eq!(rig.heard.last_change().is_streaming, Some(false));
}

#[tokio::test(start_paused = true)]
async fn a_watcher_outlives_a_server_that_is_away_ca69() {
    let (rig, mut stream) = watching().await;
    (0..50).for_each(|_| rig.fake.on_read(ReadPlan::Refuse(503)));
    (0..9).for_each(|_| rig.fake.on_read(ReadPlan::serve(0, After::Silent)));
    rig.fake.say("back");

    assert_eq!(next_text(&mut stream).await, "back");
}

#[tokio::test(start_paused = true)]
async fn an_idle_watch_has_nothing_to_gate_and_a_running_turn_has_c109_ca57() {
    let (rig, stream) = watching().await;
    assert!(rig.transport.stop_generation(CHAT).await);
    assert!(!rig.state().skip_to_turn_complete);
    drop(stream);

    let mut stream = rig.transport.reconnect_to_stream(CHAT).unwrap();
    rig.fake.say("of somebody else");
    next_text(&mut stream).await;
    assert!(rig.transport.stop_generation(CHAT).await);
    assert!(rig.state().skip_to_turn_complete, "its tail is not shown in the next reply");
}

#[tokio::test(start_paused = true)]
async fn a_watchers_own_send_goes_on_into_later_turns_c119_c121() {
    let rig = Rig::with(|builder| builder.watch().sessions([(CHAT.to_owned(), idle())])).await;
    let mut stream = rig.send("hi").await.unwrap();
    rig.fake.say("mine");
    rig.fake.boundary(0);
    rig.fake.say("another's");

    assert_eq!(next_text(&mut stream).await, "mine");
    assert_eq!(next_text(&mut stream).await, "another's");

    assert!(stream.is_input_settled());
    assert!(rig.transport.reconnect_to_stream(CHAT).is_none(), "it is still the chat's reader");
}

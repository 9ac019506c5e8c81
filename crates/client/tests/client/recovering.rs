//! Reading on behind a reply that broke off (CA-64, D-83).

use std::time::Duration;

use turnkeep_client::{ChatSessionState, ChatStream, Error, Outcome};
use turnkeep_protocol::SeqNum;

use crate::fake::{After, ReadPlan};
use crate::net::settle;
use crate::rig::{CHAT, Rig, drain, next_text, streaming, text_of};

/// A page whose reply broke off behind its first word: the windows of the turn brought nothing more, five times in a row.
async fn broken_off() -> Rig {
    let rig = Rig::start().await;
    rig.fake.say("Well, ");
    rig.fake.on_read(ReadPlan::serve(1, After::Done));
    for _ in 0..5 {
        rig.fake.on_read(ReadPlan::QuietWindow(Duration::from_secs(50)));
    }
    let (text, failure, _) = drain(&mut rig.send("hi").await.unwrap()).await;
    assert_eq!((text.as_str(), rig.state().is_streaming), ("Well, ", Some(false)));
    assert!(matches!(failure, Some(Error::ReconnectBudget { .. })), "{failure:?}");
    assert!(rig.transport.reconnect_to_stream(CHAT).is_none(), "nothing streams, as far as the page knows");
    rig
}

/// What a page has kept of a reply to input 5 that it has given up.
fn given_up() -> ChatSessionState {
    ChatSessionState { is_streaming: Some(false), ..streaming(Some(0), Some(5)) }
}

async fn read_nothing(rig: &Rig, window: Duration) -> ChatStream {
    rig.fake.on_read(ReadPlan::QuietWindow(window));
    let mut stream = rig.transport.recover_stream(CHAT).unwrap();
    let (text, failure, outcome) = drain(&mut stream).await;
    assert_eq!((text.as_str(), outcome), ("", Outcome::Failed));
    assert!(matches!(failure, Some(Error::NothingToRecover)), "{failure:?}");
    stream
}

#[tokio::test(start_paused = true)]
async fn an_empty_window_is_told_and_can_be_read_again_without_a_new_append_ca64() {
    let rig = broken_off().await;
    let (before, n_reads, n_events) = (rig.state(), rig.fake.reads().len(), rig.heard.event_names().len());

    for _ in 0..3 {
        read_nothing(&rig, Duration::from_secs(30)).await;
        assert_eq!(rig.state(), before);
    }
    rig.fake.say("there ");
    rig.fake.on_read(ReadPlan::serve(1, After::Done));
    rig.fake.on_read(ReadPlan::QuietWindow(Duration::from_secs(30)));
    let mut stream = rig.transport.recover_stream(CHAT).unwrap();
    assert_eq!(next_text(&mut stream).await, "there ");
    assert_eq!(rig.state().is_streaming, Some(true), "from its first record on it is a turn like any other");
    rig.fake.say("it is.");
    rig.fake.boundary(0);

    assert_eq!(text_of(stream).await, "it is.");
    assert_eq!((rig.fake.appends().len(), rig.state().is_streaming), (1, Some(false)));
    for read in &rig.fake.reads()[n_reads..] {
        assert_eq!((read.peek, read.window.as_deref()), (false, Some("30")));
    }
    assert_eq!(rig.fake.reads()[n_reads].cursor.as_deref(), Some("0"), "behind what was shown");
    let told = rig.heard.event_names().split_off(n_events);
    assert_eq!(told, ["stream-connected", "first-chunk", "turn-completed"], "an empty window is no stream-error");
}

#[tokio::test(start_paused = true)]
async fn the_window_of_a_recovery_reading_is_no_longer_than_the_pages_own_ca64() {
    let rig =
        Rig::with(|builder| builder.sessions([(CHAT.to_owned(), streaming(None, None))]).stream_timeout_seconds(9))
            .await;

    read_nothing(&rig, Duration::from_secs(9)).await;

    let read = &rig.fake.reads()[0];
    assert_eq!((read.peek, read.window.as_deref()), (false, Some("9")), "nor does it peek where no input is known");
}

#[tokio::test(start_paused = true)]
async fn a_boundary_of_an_earlier_turn_does_not_end_a_recovery_reading_ca64_c101() {
    let rig = Rig::resumed(streaming(Some(0), Some(5))).await;
    rig.fake.say("old");
    rig.fake.boundary(4);
    rig.fake.say("new");
    rig.fake.boundary(5);

    let stream = rig.transport.recover_stream(CHAT).unwrap();

    assert_eq!((stream.input_seq(), text_of(stream).await.as_str()), (Some(SeqNum::new(5)), "new"));
}

#[tokio::test(start_paused = true)]
async fn a_window_with_an_earlier_boundary_alone_ends_no_turn_and_the_next_one_goes_on_ca64_c101() {
    let rig = Rig::resumed(given_up()).await;
    rig.fake.say("shown");
    rig.fake.boundary(4);
    rig.fake.on_read(ReadPlan::serve(1, After::Wait(Duration::from_secs(30))));
    let (text, failure, outcome) = drain(&mut rig.transport.recover_stream(CHAT).unwrap()).await;
    assert_eq!((text.as_str(), outcome), ("", Outcome::Failed));
    assert!(matches!(failure, Some(Error::NothingToRecover)), "{failure:?}");

    rig.fake.say("new");
    rig.fake.boundary(5);
    let stream = rig.transport.recover_stream(CHAT).unwrap();

    assert_eq!((stream.input_seq(), text_of(stream).await.as_str()), (Some(SeqNum::new(5)), "new"));
}

#[tokio::test(start_paused = true)]
async fn what_an_upgrade_interrupts_is_no_turn_that_has_ended_ca64_c93() {
    let rig = Rig::resumed(given_up()).await;
    rig.fake.say("shown");
    rig.fake.control("upgrade-required", &[]);
    rig.fake.on_read(ReadPlan::serve(1, After::Wait(Duration::from_secs(30))));
    let stream = rig.transport.recover_stream(CHAT).unwrap();
    let answer = async {
        rig.fake.wait_for_reads(2).await;
        rig.fake.say("new");
        rig.fake.boundary(5);
    };

    let (text, ()) = tokio::join!(text_of(stream), answer);

    assert_eq!((text.as_str(), rig.state().is_streaming), ("new", Some(false)));
}

#[tokio::test(start_paused = true)]
async fn an_abort_or_a_stop_ends_a_recovery_reading_quietly_ca64() {
    for is_stop in [false, true] {
        let rig = broken_off().await;
        let (n_events, n_reads) = (rig.heard.event_names().len(), rig.fake.reads().len());
        rig.fake.on_read(ReadPlan::QuietWindow(Duration::from_secs(30)));
        let mut stream = rig.transport.recover_stream(CHAT).unwrap();
        assert!(rig.transport.recover_stream(CHAT).is_none(), "one reader a chat (C-80)");
        let handle = stream.abort_handle();
        let ending = async {
            rig.fake.wait_for_reads(n_reads + 1).await;
            if is_stop {
                assert!(rig.transport.stop_generation(CHAT).await);
            } else {
                handle.abort();
            }
        };

        let ((text, failure, outcome), ()) = tokio::join!(drain(&mut stream), ending);
        settle().await;

        assert_eq!((text.as_str(), outcome), ("", Outcome::Aborted));
        assert!(failure.is_none(), "{failure:?}");
        let posted = if is_stop { vec!["message-sent"] } else { vec![] };
        assert_eq!(rig.heard.event_names().split_off(n_events), posted);
        assert_eq!(rig.fake.appends().len(), 1 + posted.len());
    }
}

//! Reload and resume (C §3.8).

use turnkeep_client::{ChatSessionState, Outcome};
use turnkeep_protocol::SeqNum;

use crate::fake::{After, ReadPlan};
use crate::net::settle;
use crate::rig::{CHAT, Rig, drain, next_text, streaming, text_of};

#[tokio::test(start_paused = true)]
async fn there_is_nothing_to_resume_without_a_running_turn_c99_cr14_ca42() {
    let idle = ChatSessionState { is_streaming: Some(false), ..ChatSessionState::new("t") };
    let closed = ChatSessionState { closed: true, ..streaming(None, None) };
    let locked = ChatSessionState { requires_transcript_reload: true, ..streaming(None, None) };
    for state in [idle, closed, locked] {
        let rig = Rig::resumed(state).await;
        assert!(rig.transport.reconnect_to_stream(CHAT).is_none());
        assert!(rig.transport.reconnect_to_stream("unknown").is_none());
        settle().await;
        assert!(rig.fake.reads().is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn a_reload_in_mid_turn_replays_the_turn_and_ignores_older_boundaries_c100_c101_cr12_ca72_rc7() {
    let mut rig = Rig::start().await;
    rig.fake.next_input(4);
    rig.fake.say("old");
    text_of_first(&rig).await;
    rig.fake.say("new ");
    let mut second = rig.send("second").await.unwrap();
    assert_eq!(next_text(&mut second).await, "new ");
    drop(second);
    // What was persisted last is the second turn's start; make it older still, as a page that missed a notification would.
    let mut saved = rig.heard.last_change();
    saved.last_event_id = Some(SeqNum::ZERO);
    rig.transport.set_session(CHAT, saved);
    rig.reload();

    let resumed = rig.transport.reconnect_to_stream(CHAT).unwrap();
    assert_eq!(resumed.input_seq(), Some(SeqNum::new(5)));
    rig.fake.say("reply");
    rig.fake.boundary(5);

    assert_eq!(text_of(resumed).await, "new reply");
    assert!(!rig.fake.reads().last().unwrap().peek, "its own input is known, so it must not ask for the tail");
}

async fn text_of_first(rig: &Rig) {
    let first = rig.send("first").await.unwrap();
    rig.fake.boundary(4);
    assert_eq!(text_of(first).await, "old");
}

#[tokio::test(start_paused = true)]
async fn a_page_that_knows_no_input_asks_the_server_and_ends_when_settled_c23_c96_c100_cr14() {
    // S-119.
    let rig = Rig::resumed(ChatSessionState::new("saved")).await;
    rig.fake.on_read(ReadPlan::settled());

    let mut stream = rig.transport.reconnect_to_stream(CHAT).unwrap();
    let (text, failure, outcome) = drain(&mut stream).await;

    assert!(failure.is_none());
    assert_eq!((text.as_str(), outcome), ("", Outcome::Settled));
    assert!(rig.fake.reads()[0].peek);
    assert_eq!(rig.state().is_streaming, Some(false));
    assert!(rig.transport.reconnect_to_stream(CHAT).is_none());
    assert_eq!(rig.fake.reads().len(), 1, "no hang and no second request");
}

#[tokio::test(start_paused = true)]
async fn what_is_left_of_a_settled_turn_is_shown_first_s118() {
    let rig = Rig::resumed(streaming(None, None)).await;
    rig.fake.say("rest");
    rig.fake.boundary(3);
    rig.fake.on_read(ReadPlan::settled());

    let stream = rig.transport.reconnect_to_stream(CHAT).unwrap();

    assert_eq!(text_of(stream).await, "rest");
    assert_eq!(rig.heard.last_change().last_event_id, Some(SeqNum::new(1)));
}

#[tokio::test(start_paused = true)]
async fn two_reconnects_in_the_same_tick_give_one_reader_c104() {
    let rig = Rig::resumed(streaming(None, Some(0))).await;

    let first = rig.transport.reconnect_to_stream(CHAT);
    let second = rig.transport.reconnect_to_stream(CHAT);

    assert!(first.is_some() && second.is_none());
    rig.fake.say("once");
    rig.fake.boundary(0);
    assert_eq!(text_of(first.unwrap()).await, "once");
    assert_eq!(rig.fake.reads().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_send_takes_over_from_a_resumed_reader_c80() {
    let rig = Rig::resumed(streaming(None, Some(0))).await;
    rig.fake.next_input(1);
    let resumed = rig.transport.reconnect_to_stream(CHAT).unwrap();

    let stream = rig.send("hi").await.unwrap();

    assert_eq!(resumed.outcome(), Some(Outcome::Superseded));
    rig.fake.boundary(0);
    rig.fake.say("mine");
    rig.fake.boundary(1);
    assert_eq!(text_of(stream).await, "mine");
}

#[tokio::test(start_paused = true)]
async fn a_resumed_stream_says_so_in_its_event_c87_ca53() {
    let rig = Rig::resumed(streaming(Some(0), Some(3))).await;
    rig.fake.boundary(2);
    rig.fake.say("x");
    rig.fake.boundary(3);

    text_of(rig.transport.reconnect_to_stream(CHAT).unwrap()).await;

    assert_eq!(rig.heard.event_names(), ["stream-connected", "first-chunk", "turn-completed"]);
    let events = rig.heard.events.lock().unwrap();
    let connected = &events[0].kind;
    let turnkeep_client::ChatEventKind::StreamConnected { resumed, last_event_id, .. } = connected else {
        panic!("{connected:?}")
    };
    assert_eq!((*resumed, *last_event_id), (true, Some(SeqNum::ZERO)));
}

#[tokio::test(start_paused = true)]
async fn a_resumed_reader_of_an_unknown_session_fails_with_404_rc17() {
    let rig = Rig::resumed(streaming(None, None)).await;
    rig.fake.on_read(ReadPlan::Refuse(404));

    let mut stream = rig.transport.reconnect_to_stream(CHAT).unwrap();
    let (_, failure, _) = drain(&mut stream).await;

    assert_eq!(failure.unwrap().status(), Some(404));
    assert_eq!(rig.heard.n_starts(), 0, "only an append creates a session");
}

#[tokio::test(start_paused = true)]
async fn a_break_at_every_record_of_two_turns_shows_each_chunk_once_ca23_ca96() {
    for at in 0..6 {
        let rig = Rig::start().await;
        for turn in 0..2_u64 {
            rig.fake.on_read(ReadPlan::serve(at, After::Break));
            rig.fake.say("a");
            rig.fake.trim_command();
            rig.fake.say("b");
            rig.fake.say("c");
            rig.fake.boundary(turn);

            let stream = rig.send(&turn.to_string()).await.unwrap();

            assert_eq!(text_of(stream).await, "abc", "turn {turn}, break after {at}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_stale_tabs_reply_does_not_replay_the_turns_of_another_tab_rc14() {
    // This tab has seen nothing since record 0; another device has had two turns since.
    let rig = Rig::resumed(ChatSessionState {
        is_streaming: Some(false),
        last_event_id: Some(SeqNum::ZERO),
        ..ChatSessionState::new("saved")
    })
    .await;
    rig.fake.batch_with_tail();
    rig.fake.boundary(0);
    for input in [1, 2] {
        rig.fake.say("theirs");
        rig.fake.boundary(input);
    }
    rig.fake.trim_command();
    rig.fake.next_input(3);
    rig.fake.say("mine ");

    let mut stream = rig.send("hi").await.unwrap();
    assert_eq!(next_text(&mut stream).await, "mine ");
    rig.fake.say("alone");
    rig.fake.boundary(3);

    assert_eq!(text_of(stream).await, "alone");
    assert_eq!(rig.heard.event_names(), ["message-sent", "stream-connected", "first-chunk", "turn-completed"]);
}

#[tokio::test(start_paused = true)]
async fn what_is_held_back_counts_as_unread_until_it_is_handed_on_c37_rc14_rc16() {
    let rig = Rig::resumed(streaming(None, Some(3))).await;
    rig.fake.batch_with_tail();
    rig.fake.say("theirs");
    rig.fake.boundary(2);
    rig.fake.say("a");
    rig.fake.say("b");

    let mut stream = rig.transport.reconnect_to_stream(CHAT).unwrap();
    assert_eq!(next_text(&mut stream).await, "a");
    assert_eq!(rig.state().last_event_id, Some(SeqNum::new(2)));
    drop(stream);
    rig.fake.boundary(3);

    assert_eq!(text_of(rig.transport.reconnect_to_stream(CHAT).unwrap()).await, "b");
}

#[tokio::test(start_paused = true)]
async fn a_backlog_of_commands_alone_holds_nothing_back_rc14() {
    let rig = Rig::resumed(streaming(None, Some(3))).await;
    rig.fake.batch_with_tail();
    rig.fake.say("mine");
    // The reply and the command after it come in two batches, and no further record follows for an hour.
    rig.fake.on_read(ReadPlan::serve(1, After::Done));
    rig.fake.trim_command();
    let mut stream = rig.transport.reconnect_to_stream(CHAT).unwrap();

    let shown = tokio::time::timeout(std::time::Duration::from_secs(10), next_text(&mut stream)).await;

    assert_eq!(shown.unwrap(), "mine");
}

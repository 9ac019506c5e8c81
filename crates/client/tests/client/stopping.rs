//! Stops, aborts and the gate (C §3.9).

use std::sync::Arc;

use serde_json::json;
use tokio::sync::Semaphore;
use turnkeep_client::{ChatSessionState, ChatStream, Error, Outcome};
use turnkeep_protocol::SeqNum;

use crate::fake::AppendPlan;
use crate::net::settle;
use crate::rig::{CHAT, Rig, drain, next_text, streaming, text_of};

fn n_stops(rig: &Rig) -> usize {
    rig.fake.appends().iter().filter(|append| append.body == json!({ "kind": "stop" })).count()
}

/// Sends a first message and reads the first chunk of its reply.
async fn in_mid_turn(rig: &Rig) -> ChatStream {
    rig.fake.say("one");
    let mut stream = rig.send("first").await.unwrap();
    assert_eq!(next_text(&mut stream).await, "one");
    stream
}

#[tokio::test(start_paused = true)]
async fn a_stop_closes_the_reader_arms_the_gate_and_posts_once_c105_c108_cr15_ca41() {
    let rig = Rig::start().await;
    assert!(!rig.transport.stop_generation(CHAT).await, "there is no state");
    let mut stream = in_mid_turn(&rig).await;

    assert!(rig.transport.stop_generation(CHAT).await);

    let (_, failure, outcome) = drain(&mut stream).await;
    assert!(failure.is_none());
    assert_eq!(outcome, Outcome::Aborted);
    assert_eq!((n_stops(&rig), rig.fake.appends().len()), (1, 2));
    let told = rig.heard.last_change();
    assert_eq!((told.is_streaming, told.active_input_seq), (Some(false), None));
    assert_eq!((told.skip_to_turn_complete, told.superseded_input_seq), (true, Some(SeqNum::ZERO)));
    // The saved state resumes nothing (CA-59).
    assert!(rig.transport.reconnect_to_stream(CHAT).is_none());
}

#[tokio::test(start_paused = true)]
async fn after_a_stop_the_next_reply_is_shown_alone_c107_c110_cr17_ca56() {
    let rig = Rig::start().await;
    let stream = in_mid_turn(&rig).await;
    rig.transport.stop_generation(CHAT).await;
    drop(stream);
    rig.fake.say("late output of the stopped turn");
    rig.fake.boundary(1);
    rig.fake.say("two");

    let second = rig.send("second").await.unwrap();
    rig.fake.boundary(2);

    assert_eq!(text_of(second).await, "two");
    assert!(!rig.state().skip_to_turn_complete);
}

#[tokio::test(start_paused = true)]
async fn the_gate_survives_a_reload_c112_cr19_ca58() {
    let mut rig = Rig::start().await;
    let stream = in_mid_turn(&rig).await;
    rig.transport.stop_generation(CHAT).await;
    drop(stream);
    rig.fake.say("late");
    rig.fake.boundary(1);
    rig.fake.say("two");
    rig.reload();
    assert!(rig.transport.reconnect_to_stream(CHAT).is_none());

    let second = rig.send("second").await.unwrap();
    rig.fake.boundary(2);

    // The persisted cursor is the first turn's start, so its first chunk is read again, and discarded.
    assert_eq!(text_of(second).await, "two");
}

#[tokio::test(start_paused = true)]
async fn the_boundary_may_come_before_the_acknowledgement_of_the_stop_c108_c109_cr16() {
    let rig = Rig::start().await;
    let mut first = in_mid_turn(&rig).await;
    let ack = Arc::new(Semaphore::new(0));
    rig.fake.on_append(AppendPlan::Hold(ack.clone()));

    let (stopped, ended) = tokio::join!(rig.transport.stop_generation(CHAT), async {
        rig.fake.wait_for_appends(2).await;
        rig.fake.boundary(1);
        let ended = drain(&mut first).await;
        ack.add_permits(1);
        ended
    });
    assert!(stopped);
    assert_eq!(ended.2, Outcome::Aborted);

    let second = rig.send("second").await.unwrap();
    rig.fake.say("two");
    rig.fake.boundary(2);
    assert_eq!(text_of(second).await, "two");
}

#[tokio::test(start_paused = true)]
async fn a_stop_after_the_end_gates_nothing_c109_cr16_ca57() {
    let rig = Rig::start().await;
    let first = in_mid_turn(&rig).await;
    rig.fake.boundary(0);
    text_of(first).await;

    assert!(rig.transport.stop_generation(CHAT).await, "it is posted all the same");
    assert!(!rig.state().skip_to_turn_complete);

    let second = rig.send("second").await.unwrap();
    rig.fake.say("two");
    rig.fake.boundary(2);
    assert_eq!(text_of(second).await, "two");
}

#[tokio::test(start_paused = true)]
async fn a_late_acknowledgement_leaves_the_successor_alone_c108_cr18_ca55() {
    let rig = Rig::start().await;
    let first = in_mid_turn(&rig).await;
    let ack = Arc::new(Semaphore::new(0));
    rig.fake.on_append(AppendPlan::Hold(ack.clone()));

    let (stopped, second) = tokio::join!(rig.transport.stop_generation(CHAT), async {
        rig.fake.wait_for_appends(2).await;
        let mut second = rig.send("second").await.unwrap();
        rig.fake.boundary(1);
        rig.fake.say("two");
        assert_eq!(next_text(&mut second).await, "two");
        ack.add_permits(1);
        second
    });

    assert!(stopped);
    let now = rig.state();
    assert_eq!((now.is_streaming, now.skip_to_turn_complete), (Some(true), false));
    rig.fake.say("!");
    rig.fake.boundary(2);
    assert_eq!(text_of(second).await, "!");
    assert_eq!(first.outcome(), Some(Outcome::Aborted));
}

#[tokio::test(start_paused = true)]
async fn an_owners_abort_posts_one_stop_and_closes_normally_c81_c106_d22_ca66() {
    let rig = Rig::start().await;
    let mut stream = in_mid_turn(&rig).await;

    stream.abort();
    stream.abort();
    let (_, failure, outcome) = drain(&mut stream).await;
    rig.fake.wait_for_appends(2).await;
    settle().await;

    assert!(failure.is_none());
    assert_eq!((outcome, n_stops(&rig)), (Outcome::Aborted, 1));
    assert_eq!(rig.fake.open_reads(), 0);
    assert_eq!(rig.state().superseded_input_seq, Some(SeqNum::ZERO));
    assert_eq!(rig.heard.event_names().iter().filter(|name| **name == "message-sent").count(), 2);
}

#[tokio::test(start_paused = true)]
async fn an_explicit_stop_and_an_abort_post_one_stop_ca66() {
    let rig = Rig::start().await;
    let stream = in_mid_turn(&rig).await;

    rig.transport.stop_generation(CHAT).await;
    stream.abort();
    settle().await;

    assert_eq!(n_stops(&rig), 1);
}

#[tokio::test(start_paused = true)]
async fn an_abort_wakes_a_consumer_that_waits_c106() {
    let rig = Rig::start().await;
    let mut stream = in_mid_turn(&rig).await;
    let handle = stream.abort_handle();

    let (ended, ()) = tokio::join!(stream.next(), async { handle.abort() });

    assert!(ended.is_none());
}

#[tokio::test(start_paused = true)]
async fn an_abort_after_the_end_neither_posts_nor_gates_c114_cr20_ca62() {
    let rig = Rig::start().await;
    let mut first = in_mid_turn(&rig).await;
    rig.fake.boundary(0);
    drain(&mut first).await;
    let second = rig.send("second").await.unwrap();

    first.abort();
    settle().await;

    assert_eq!(n_stops(&rig), 0);
    rig.fake.say("two");
    rig.fake.boundary(1);
    assert_eq!(text_of(second).await, "two");
}

#[tokio::test(start_paused = true)]
async fn an_abort_of_a_superseded_reader_neither_posts_nor_gates_c114_ca62() {
    let rig = Rig::start().await;
    let first = in_mid_turn(&rig).await;
    let second = rig.send("second").await.unwrap();

    first.abort();
    settle().await;

    assert_eq!(n_stops(&rig), 0);
    assert!(!rig.state().skip_to_turn_complete);
    assert_eq!(second.outcome(), None);
}

#[tokio::test(start_paused = true)]
async fn a_resumed_view_that_is_aborted_posts_nothing_c98_c102_cr13_ca46() {
    let rig = Rig::resumed(streaming(None, Some(0))).await;
    rig.fake.say("one");
    let mut view = rig.transport.reconnect_to_stream(CHAT).unwrap();
    next_text(&mut view).await;

    view.abort();
    settle().await;

    assert_eq!((n_stops(&rig), rig.fake.open_reads()), (0, 0));
    assert_eq!(rig.state().is_streaming, Some(true), "the turn goes on");
    assert!(!rig.state().skip_to_turn_complete);

    let owner = rig.transport.reconnect_as_owner(CHAT).unwrap();
    owner.abort();
    rig.fake.wait_for_appends(1).await;
    assert_eq!(n_stops(&rig), 1);
}

#[tokio::test(start_paused = true)]
async fn a_resumed_turn_in_unknown_state_can_be_stopped_c109() {
    let rig = Rig::resumed(ChatSessionState::new("saved")).await;
    let stream = rig.transport.reconnect_to_stream(CHAT).unwrap();

    assert!(rig.transport.stop_generation(CHAT).await);

    let now = rig.state();
    assert_eq!((now.skip_to_turn_complete, now.superseded_input_seq), (true, None));
    assert_eq!(stream.outcome(), Some(Outcome::Aborted));
}

#[tokio::test(start_paused = true)]
async fn a_stop_of_an_unknown_turn_saves_that_nothing_streams_c105_cr15() {
    let rig = Rig::resumed(ChatSessionState::new("saved")).await;

    assert!(rig.transport.stop_generation(CHAT).await);

    let told = rig.heard.last_change();
    assert_eq!((told.is_streaming, told.skip_to_turn_complete), (Some(false), false), "there was no reader to gate");
    assert!(rig.transport.reconnect_to_stream(CHAT).is_none());
}

#[tokio::test(start_paused = true)]
async fn a_stop_that_came_while_the_send_was_posted_stops_that_send_c109() {
    let rig = Rig::start().await;
    rig.transport.start(CHAT).await.unwrap();
    let ack = Arc::new(Semaphore::new(0));
    rig.fake.on_append(AppendPlan::Hold(ack.clone()));

    let (sent, _) = tokio::join!(rig.send("first"), async {
        rig.fake.wait_for_appends(1).await;
        rig.transport.stop_generation(CHAT).await;
        ack.add_permits(1);
    });
    assert_eq!(sent.unwrap().outcome(), Some(Outcome::Aborted));

    rig.fake.say("one");
    rig.fake.boundary(0);
    let second = rig.send("second").await.unwrap();
    rig.fake.say("two");
    rig.fake.boundary(2);
    assert_eq!(text_of(second).await, "two");
}

#[tokio::test(start_paused = true)]
async fn a_reply_eaten_by_the_gate_is_an_error_and_the_next_send_works_c111_ca60() {
    let rig = Rig::start().await;
    let first = in_mid_turn(&rig).await;
    rig.transport.stop_generation(CHAT).await;
    drop(first);
    // The stopped turn died without a boundary.
    let mut second = rig.send("second").await.unwrap();
    rig.fake.say("two");
    rig.fake.boundary(2);

    let (text, failure, outcome) = drain(&mut second).await;

    assert_eq!((text.as_str(), outcome), ("", Outcome::Failed));
    assert!(failure.unwrap().to_string().contains("output was lost"));
    assert_eq!(rig.heard.last_change().is_streaming, Some(false));
    let third = rig.send("third").await.unwrap();
    rig.fake.say("three");
    rig.fake.boundary(3);
    assert_eq!(text_of(third).await, "three");
}

#[tokio::test(start_paused = true)]
async fn an_abandoned_turn_leaves_no_gate_c116_ca57() {
    let rig = Rig::start().await;
    let first = in_mid_turn(&rig).await;
    rig.transport.stop_generation(CHAT).await;
    drop(first);

    rig.transport.clear_supersede_gate(CHAT);

    assert!(!rig.heard.last_change().skip_to_turn_complete);
    let second = rig.send("second").await.unwrap();
    rig.fake.say("two");
    rig.fake.boundary(2);
    assert_eq!(text_of(second).await, "two");
}

#[tokio::test(start_paused = true)]
async fn a_send_without_place_under_a_gate_demands_a_transcript_c113_ca63() {
    let rig = Rig::start().await;
    let first = in_mid_turn(&rig).await;
    rig.transport.stop_generation(CHAT).await;
    drop(first);
    rig.fake.on_append(AppendPlan::NoSeq);

    let failed = rig.send("second").await.unwrap_err();

    assert!(matches!(failed, Error::TranscriptReloadRequired));
    assert!(rig.heard.last_change().requires_transcript_reload);
    let n_appends = rig.fake.appends().len();
    assert!(rig.send("third").await.is_err());
    assert!(rig.transport.send_action(CHAT, json!({}), None).await.is_err());
    assert!(rig.transport.reconnect_to_stream(CHAT).is_none());
    assert_eq!(rig.fake.appends().len(), n_appends, "refused without a request");

    assert!(!rig.transport.adopt_transcript(CHAT, SeqNum::ZERO, Some(SeqNum::new(9))), "a stale transcript");
    assert!(rig.transport.adopt_transcript(CHAT, SeqNum::new(7), Some(SeqNum::new(2))));
    rig.send("third").await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_failed_stop_stays_armed_and_creates_nothing_c115_c117_ca65_cf14() {
    for (status, n_posts, n_renewals) in [(404, 1, 0), (401, 2, 1), (413, 1, 0)] {
        let rig = Rig::start().await;
        let first = in_mid_turn(&rig).await;
        (0..4).for_each(|_| rig.fake.on_append(AppendPlan::Refuse(status, json!({ "error": "no" }), Vec::new())));

        let failure = rig.transport.try_stop_generation(CHAT).await.unwrap_err();

        assert_eq!(failure.status(), Some(status));
        assert_eq!((n_stops(&rig), rig.heard.n_renewals(), rig.heard.n_starts()), (n_posts, n_renewals, 1));
        assert_eq!(first.outcome(), Some(Outcome::Aborted));
        assert!(rig.state().skip_to_turn_complete);
        assert!(!rig.transport.stop_generation(CHAT).await, "the plain form says false");
        assert_eq!(rig.state().superseded_input_seq, Some(SeqNum::ZERO), "a repeated stop keeps the first boundary");
    }
}

#[tokio::test(start_paused = true)]
async fn an_owners_abort_without_an_outstanding_turn_neither_posts_nor_gates_c114() {
    let rig = Rig::resumed(streaming(None, Some(0))).await;
    let owner = rig.transport.reconnect_as_owner(CHAT).unwrap();
    let idle = ChatSessionState { is_streaming: Some(false), ..ChatSessionState::new("replaced") };
    rig.transport.set_session(CHAT, idle.clone());

    owner.abort();
    settle().await;

    assert_eq!((n_stops(&rig), owner.outcome()), (0, Some(Outcome::Aborted)));
    assert_eq!(rig.state(), idle);
}

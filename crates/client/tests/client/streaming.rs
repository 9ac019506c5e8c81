//! The read loop: windows, tokens, closed sessions and the consumer (C §3.6, §3.7, §3.14).

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use turnkeep_client::{ChatEventKind, ChatSessionState, Error, Outcome};
use turnkeep_protocol::{SeqNum, UiMessage};

use crate::fake::{After, AppendPlan, ReadPlan};
use crate::net::settle;
use crate::rig::{CHAT, Rig, drain, next_text, streaming, text_of};

#[tokio::test(start_paused = true)]
async fn a_window_that_ends_in_mid_turn_is_resumed_from_the_delivered_cursor_c93_cr10_ca43() {
    let rig = Rig::start().await;
    rig.fake.on_read(ReadPlan::serve(2, After::Done));
    rig.fake.say("half ");
    rig.fake.say("a ");
    rig.fake.say("reply");
    rig.fake.boundary(0);

    let stream = rig.send("hi").await.unwrap();

    assert_eq!(text_of(stream).await, "half a reply");
    let cursors: Vec<_> = rig.fake.reads().into_iter().map(|read| read.cursor).collect();
    assert_eq!(cursors, [None, Some("1".to_owned())]);
}

#[tokio::test(start_paused = true)]
async fn eight_windows_with_one_record_each_are_all_delivered_c94_cr11_ca44() {
    let rig = Rig::start().await;
    for n in 0..8 {
        rig.fake.say(&n.to_string());
        rig.fake.on_read(ReadPlan::serve(1, After::Done));
    }
    rig.fake.boundary(0);

    let stream = rig.send("hi").await.unwrap();

    assert_eq!(text_of(stream).await, "01234567");
}

#[tokio::test(start_paused = true)]
async fn six_empty_windows_are_an_error_and_never_a_finished_reply_c95_ca45() {
    // S-131.
    let rig = Rig::start().await;
    rig.fake.say("half");
    rig.fake.on_read(ReadPlan::serve(1, After::Done));
    (0..9).for_each(|_| rig.fake.on_read(ReadPlan::serve(0, After::Done)));

    let mut stream = rig.send("hi").await.unwrap();
    let (text, failure, outcome) = drain(&mut stream).await;

    assert_eq!((text.as_str(), outcome), ("half", Outcome::Failed));
    assert!(failure.unwrap().to_string().contains("reconnect budget exhausted"));
    assert_eq!(rig.fake.reads().len(), 6, "one with a record, then five resubscriptions");
    assert_eq!(rig.heard.last_change().is_streaming, Some(false));
    assert_eq!(rig.heard.event_names().last(), Some(&"stream-error"));
}

#[tokio::test(start_paused = true)]
async fn a_refused_token_is_renewed_once_and_the_turn_goes_on_c139_c140_cf1() {
    let rig = Rig::start().await;
    rig.fake.say("before ");
    rig.fake.on_read(ReadPlan::serve(1, After::Break));
    rig.fake.on_read(ReadPlan::Refuse(401));

    let mut stream = rig.send("hi").await.unwrap();
    assert_eq!(next_text(&mut stream).await, "before ");
    rig.fake.say("after");
    rig.fake.boundary(0);

    assert_eq!(text_of(stream).await, "after");
    assert_eq!(rig.heard.n_renewals(), 1);
    let tokens: Vec<_> = rig.fake.reads().into_iter().map(|read| read.token).collect();
    assert_eq!(tokens, ["started-1", "started-1", "renewed-1"]);
    assert_eq!(rig.state().public_access_token, "renewed-1");
}

#[tokio::test(start_paused = true)]
async fn a_second_refusal_is_final_and_clears_the_saved_flag_c139_c150_ca54_ca69() {
    let rig = Rig::start().await;
    rig.fake.on_read(ReadPlan::Refuse(401));
    rig.fake.on_read(ReadPlan::Refuse(403));

    let mut stream = rig.send("hi").await.unwrap();
    let (_, failure, outcome) = drain(&mut stream).await;

    assert_eq!((failure.unwrap().status(), outcome), (Some(403), Outcome::Failed));
    assert_eq!(rig.heard.last_change().is_streaming, Some(false));
    assert_eq!(rig.heard.event_names(), ["message-sent", "stream-error"], "it was never connected");
    assert!(rig.transport.reconnect_to_stream(CHAT).is_none());
}

#[tokio::test(start_paused = true)]
async fn a_break_of_the_network_is_invisible_c43_cr3_cr4() {
    let rig = Rig::start().await;
    rig.fake.say("a");
    rig.fake.say("b");
    rig.fake.on_read(ReadPlan::serve(1, After::Break));
    (0..20).for_each(|_| rig.fake.on_read(ReadPlan::Refuse(503)));
    rig.fake.boundary(0);

    let stream = rig.send("hi").await.unwrap();

    assert_eq!(text_of(stream).await, "ab");
}

#[tokio::test(start_paused = true)]
async fn a_dead_connection_is_dropped_after_60_s_and_five_times_at_most_c136() {
    // SR-24.
    let rig = Rig::start().await;
    (0..9).for_each(|_| rig.fake.on_read(ReadPlan::serve(0, After::Silent)));

    let mut stream = rig.send("hi").await.unwrap();
    let (_, failure, outcome) = drain(&mut stream).await;

    assert!(matches!(failure, Some(Error::RetriesExhausted { attempts: 6, .. })), "{failure:?}");
    assert_eq!(outcome, Outcome::Failed);
    assert_eq!(rig.fake.reads().len(), 6);
}

#[tokio::test(start_paused = true)]
async fn a_tool_that_is_silent_for_twenty_minutes_does_not_break_the_chat_c136_d18_rc2() {
    let rig = Rig::start().await;
    (0..19).for_each(|_| rig.fake.on_read(ReadPlan::serve(0, After::Ping)));
    let mut stream = rig.send("hi").await.unwrap();

    let ((text, failure, outcome), ()) = tokio::join!(drain(&mut stream), async {
        tokio::time::sleep(Duration::from_secs(20 * 60)).await;
        rig.fake.say("done at last");
        rig.fake.boundary(0);
    });

    assert!(failure.is_none(), "{failure:?}");
    assert_eq!((text.as_str(), outcome), ("done at last", Outcome::Completed));
    // Each connection is renewed after 60 s all the same: keep-alives are no records (C-52).
    assert_eq!(rig.fake.reads().len(), 20);
}

#[tokio::test(start_paused = true)]
async fn connections_that_die_behind_their_first_ping_are_dead_and_not_quiet_c136_cr5() {
    let rig = Rig::start().await;
    (0..6).for_each(|_| rig.fake.on_read(ReadPlan::serve(0, After::PingOnce)));

    let (_, failure, outcome) = drain(&mut rig.send("hi").await.unwrap()).await;

    assert!(matches!(failure, Some(Error::RetriesExhausted { attempts: 6, .. })), "{failure:?}");
    assert_eq!((outcome, rig.fake.reads().len()), (Outcome::Failed, 6));
}

#[tokio::test(start_paused = true)]
async fn a_turn_that_is_silent_for_more_than_a_day_is_given_up_c136() {
    let rig = Rig::start().await;
    (0..2_000).for_each(|_| rig.fake.on_read(ReadPlan::serve(0, After::Ping)));
    let started = tokio::time::Instant::now();

    let (_, failure, outcome) = drain(&mut rig.send("hi").await.unwrap()).await;

    assert!(matches!(failure, Some(Error::RetriesExhausted { attempts: 1_441, .. })), "{failure:?}");
    assert_eq!(outcome, Outcome::Failed);
    assert!(started.elapsed() > Duration::from_secs(24 * 3600));
}

#[tokio::test(start_paused = true)]
async fn a_closed_session_ends_everything_and_is_told_once_c85_ca71() {
    let rig = Rig::start().await;
    let mut stream = rig.send("hi").await.unwrap();
    rig.fake.control("session-closed", &[("session-closed-reason", "done")]);

    let (_, failure, outcome) = drain(&mut stream).await;

    assert!(failure.is_none());
    assert_eq!(outcome, Outcome::Closed);
    let told = rig.heard.last_change();
    assert_eq!((told.closed, told.closed_reason.as_deref(), told.is_streaming), (true, Some("done"), Some(false)));
    let refused = rig.send("again").await.unwrap_err();
    assert!(matches!(refused, Error::SessionClosed { reason: Some(reason) } if reason == "done"));
    assert!(rig.transport.reconnect_to_stream(CHAT).is_none());
    assert!(!rig.transport.stop_generation(CHAT).await);
    assert!(!rig.transport.send_pending_message(CHAT, &UiMessage::user("s", "faster"), None).await);
    assert!(rig.transport.send_action(CHAT, serde_json::json!({}), None).await.is_err());
    assert_eq!((rig.fake.appends().len(), rig.fake.reads().len()), (1, 1), "no request after the close");
    assert_eq!(rig.heard.event_names().iter().filter(|name| **name == "session-closed").count(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_append_refused_as_closed_is_final_at_once_c85_d1_ca71() {
    let rig = Rig::start().await;
    let body = serde_json::json!({ "error": "closed", "code": "session_closed", "closedReason": "over" });
    rig.fake.on_append(AppendPlan::Refuse(409, body, vec![("x-should-retry", "false")]));

    let refused = rig.send("hi").await.unwrap_err();

    assert_eq!(refused.status(), Some(409));
    assert_eq!(rig.heard.event_names(), ["message-send-failed", "session-closed"]);
    assert_eq!(rig.heard.last_change().closed_reason.as_deref(), Some("over"));
    assert!(rig.send("again").await.is_err());
    assert_eq!(rig.fake.appends().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_read_that_was_not_asked_for_c57() {
    let rig = Rig::start().await;
    for text in ["a", "b", "c"] {
        rig.fake.say(text);
    }
    let mut stream = rig.send("hi").await.unwrap();
    settle().await;
    assert!(rig.fake.reads().is_empty(), "the read opens with the first question");

    assert_eq!(next_text(&mut stream).await, "a");

    assert_eq!(rig.state().last_event_id, Some(SeqNum::ZERO), "the cursor is what was handed on (C-37)");
    drop(stream);
    let resumed = rig.transport.reconnect_to_stream(CHAT).unwrap();
    rig.fake.boundary(0);
    assert_eq!(text_of(resumed).await, "bc");
}

#[tokio::test(start_paused = true)]
async fn the_cursor_never_runs_ahead_of_the_consumer_c37_rc16() {
    let rig = Rig::start().await;
    rig.fake.batch_with_tail();
    for text in ["a", "b", "c"] {
        rig.fake.say(text);
    }
    let mut stream = rig.send("hi").await.unwrap();

    // All three came in one piece; what counts is what the consumer has been given.
    for (at, text) in ["a", "b"].into_iter().enumerate() {
        assert_eq!(next_text(&mut stream).await, text);
        settle().await;
        assert_eq!(rig.state().last_event_id, Some(SeqNum::new(at as u64)));
    }
    drop(stream);
    rig.fake.boundary(0);

    assert_eq!(text_of(rig.transport.reconnect_to_stream(CHAT).unwrap()).await, "c");
}

#[tokio::test(start_paused = true)]
async fn a_consumer_that_lets_go_posts_no_stop_and_closes_the_connection_c91_c92() {
    let rig = Rig::start().await;
    rig.fake.say("a");
    let mut stream = rig.send("hi").await.unwrap();
    next_text(&mut stream).await;
    assert_eq!(rig.fake.open_reads(), 1);

    drop(stream);
    settle().await;

    assert_eq!((rig.fake.open_reads(), rig.fake.appends().len()), (0, 1));
    assert_eq!(rig.state().is_streaming, Some(true), "the turn goes on");
    assert_eq!(rig.heard.event_names(), ["message-sent", "stream-connected", "first-chunk"]);
}

#[tokio::test(start_paused = true)]
async fn an_observer_that_panics_changes_nothing_c147_ca53() {
    let rig = Rig::start().await;
    rig.transport.set_on_event(Some(Arc::new(|_| panic!("the observer's own fault"))));
    rig.fake.say("fine");
    rig.fake.boundary(0);

    let stream = rig.send("hi").await.unwrap();

    assert_eq!(text_of(stream).await, "fine");
}

#[tokio::test(start_paused = true)]
async fn a_history_gap_is_told_before_what_follows_it_d57() {
    let rig = Rig::resumed(streaming(Some(0), Some(4))).await;
    (0..3).for_each(|n| rig.fake.say(&n.to_string()));
    rig.fake.trim_to(2);
    rig.fake.boundary(4);
    let headers = vec![("x-first-available-seq", "2")];
    rig.fake.on_read(ReadPlan::Serve { max: 9, after: After::Follow, headers });

    let stream = rig.transport.reconnect_to_stream(CHAT).unwrap();

    assert_eq!(text_of(stream).await, "2");
    let events = rig.heard.events.lock().unwrap();
    assert!(matches!(&events[0].kind, ChatEventKind::HistoryGap(gap) if gap.first_available == SeqNum::new(2)));
}

#[tokio::test(start_paused = true)]
async fn dispose_ends_open_streams_without_a_stop_c151_cf13() {
    let rig = Rig::start().await;
    rig.fake.say("a");
    let mut stream = rig.send("hi").await.unwrap();
    next_text(&mut stream).await;

    rig.transport.dispose();

    let (_, failure, outcome) = drain(&mut stream).await;
    assert!(failure.is_none());
    assert_eq!(outcome, Outcome::Aborted);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!((rig.fake.open_reads(), rig.fake.appends().len()), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn a_successful_turn_is_exactly_four_events_c146_ca50() {
    let rig = Rig::start().await;
    rig.fake.next_input(3);
    rig.fake.say("a");
    rig.fake.say("b");
    rig.fake.boundary(3);

    text_of(rig.send("hi").await.unwrap()).await;

    assert_eq!(rig.heard.event_names(), ["message-sent", "stream-connected", "first-chunk", "turn-completed"]);
    let events = rig.heard.events.lock().unwrap();
    let ChatEventKind::MessageSent(sent) = &events[0].kind else { panic!("{events:?}") };
    assert_eq!(sent.message_id.as_deref(), Some("id-hi"));
    assert_eq!(sent.part_id.as_ref().unwrap().as_str(), rig.fake.appends()[0].part_id);
    assert_eq!(sent.body_bytes, rig.fake.appends()[0].body.to_string().len());
    let ChatEventKind::TurnCompleted { last_event_id, session_in_event_id, message_id, since_send } = &events[3].kind
    else {
        panic!("{events:?}")
    };
    assert_eq!((*last_event_id, *session_in_event_id), (Some(SeqNum::new(2)), Some(SeqNum::new(3))));
    assert_eq!((message_id.as_deref(), since_send.is_some()), (Some("id-hi"), true));
}

#[tokio::test(start_paused = true)]
async fn an_input_is_settled_only_by_a_boundary_that_names_it_c119_ca68() {
    let settles = async |headers: &[(&str, &str)]| {
        let rig = Rig::start().await;
        rig.fake.next_input(5);
        let mut stream = rig.transport.send_action(CHAT, serde_json::json!({ "type": "undo" }), None).await.unwrap();
        rig.fake.control("turn-complete", headers);
        assert!(!stream.is_input_settled());
        let (_, _, outcome) = drain(&mut stream).await;
        assert_eq!(outcome, Outcome::Completed);
        stream.is_input_settled()
    };

    assert!(settles(&[("session-in-event-id", "5")]).await);
    assert!(settles(&[("session-in-event-id", "6")]).await);
    assert!(!settles(&[("session-in-event-id", "5x")]).await);
    assert!(!settles(&[]).await);
}

#[tokio::test(start_paused = true)]
async fn a_renewal_that_comes_late_leaves_the_successor_alone_c143_cf2_ca70() {
    for late in [Ok("late".to_owned()), Err("late")] {
        let rig = Rig::start().await;
        let gate = Arc::new(Semaphore::new(0));
        let held = gate.clone();
        rig.transport.set_access_token(Arc::new(move |_| {
            let (held, late) = (held.clone(), late.clone());
            Box::pin(async move {
                held.acquire().await.unwrap().forget();
                late.map_err(Into::into)
            })
        }));
        rig.fake.on_read(ReadPlan::Refuse(401));
        let mut first = rig.send("one").await.unwrap();

        let (ended, second) = tokio::join!(drain(&mut first), async {
            rig.fake.wait_for_reads(1).await;
            settle().await;
            let second = rig.send("two").await.unwrap();
            gate.add_permits(1);
            second
        });

        assert_eq!(ended.2, Outcome::Superseded);
        rig.fake.boundary(0);
        rig.fake.say("two");
        rig.fake.boundary(1);
        assert_eq!(text_of(second).await, "two");
        assert_eq!(rig.state().public_access_token, "started-1");
        assert!(!rig.heard.event_names().contains(&"stream-error"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_replaced_callback_serves_a_stream_that_is_already_open_c60() {
    let rig = Rig::start().await;
    rig.fake.say("a");
    rig.fake.on_read(ReadPlan::serve(1, After::Break));
    rig.fake.on_read(ReadPlan::Refuse(401));
    let mut stream = rig.send("hi").await.unwrap();
    next_text(&mut stream).await;

    rig.transport.set_access_token(Arc::new(|_| Box::pin(async { Ok("swapped".to_owned()) })));
    rig.fake.boundary(0);
    text_of(stream).await;

    assert_eq!(rig.fake.reads().last().unwrap().token, "swapped");
}

#[tokio::test(start_paused = true)]
async fn a_closed_session_is_not_even_started_again_c85() {
    let rig = Rig::resumed(ChatSessionState { closed: true, ..ChatSessionState::new("") }).await;

    assert!(matches!(rig.send("hi").await, Err(Error::SessionClosed { .. })));

    assert_eq!((rig.heard.n_starts(), rig.heard.n_renewals(), rig.fake.appends().len()), (0, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_session_that_closes_while_it_is_started_takes_no_append_c85() {
    let rig = Rig::start().await;
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
        settle().await;
        let closed = ChatSessionState { closed: true, ..ChatSessionState::new("") };
        rig.transport.set_session(CHAT, closed);
        gate.add_permits(1);
    });

    assert!(matches!(sent, Err(Error::SessionClosed { .. })));
    assert!(rig.fake.appends().is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_error_of_a_stream_that_is_no_longer_the_chats_reader_changes_nothing_c150() {
    let rig = Rig::resumed(streaming(Some(0), Some(4))).await;
    let headers = vec![("x-first-available-seq", "2")];
    rig.fake.on_read(ReadPlan::Serve { max: 0, after: After::Break, headers });
    rig.fake.on_read(ReadPlan::Refuse(404));
    let mut stream = rig.transport.reconnect_to_stream(CHAT).unwrap();
    // The observer lets go of every reader while this one is about to report its failure.
    let (transport, events) = (rig.transport.clone(), rig.heard.clone());
    rig.transport.set_on_event(Some(Arc::new(move |event| {
        events.events.lock().unwrap().push(event.clone());
        transport.dispose();
    })));

    let (_, failure, outcome) = drain(&mut stream).await;

    assert!(failure.is_none(), "{failure:?}");
    assert_eq!(outcome, Outcome::Aborted);
    assert_eq!(rig.state().is_streaming, Some(true), "the turn goes on");
    assert_eq!(rig.heard.event_names(), ["history-gap"]);
    assert!(rig.heard.changes.lock().unwrap().is_empty());
}

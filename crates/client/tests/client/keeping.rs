//! What a page keeps and swaps, and what events tell about sends (C §3.2, §3.15).

use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::json;
use turnkeep_client::{ChatEvent, ChatEventKind, ChatSessionState, SendMessages, Sent, Source};
use turnkeep_protocol::{SeqNum, UiMessage};

use crate::fake::{After, AppendPlan, ReadPlan};
use crate::rig::{CHAT, Rig, next_text, text_of};

#[tokio::test(start_paused = true)]
async fn set_session_replaces_all_and_tells_only_the_newest_listener_c66_ca25() {
    let rig = Rig::resumed(ChatSessionState { closed: true, ..ChatSessionState::new("old") }).await;
    let state = ChatSessionState { last_event_id: Some(SeqNum::new(4)), ..ChatSessionState::new("new") };

    rig.transport.set_session(CHAT, state.clone());
    let first = rig.heard.changes.lock().unwrap().clone();
    assert_eq!(first, std::slice::from_ref(&state));

    let swapped = Arc::new(Mutex::new(Vec::new()));
    let heard = swapped.clone();
    let listener = Arc::new(move |chat: &str, state: &ChatSessionState| {
        heard.lock().unwrap().push((chat.to_owned(), state.clone()));
    });
    rig.transport.set_on_session_change(Some(listener));
    assert!(swapped.lock().unwrap().is_empty(), "a new listener hears the next change, not the last");
    rig.transport.set_session("other", state.clone());

    assert_eq!(*swapped.lock().unwrap(), [("other".to_owned(), state.clone())]);
    assert_eq!(rig.heard.changes.lock().unwrap().len(), 1);
    let mut copy = rig.transport.session(CHAT).unwrap();
    copy.closed = true;
    assert_eq!(rig.transport.session(CHAT), Some(state), "what is given is a copy");
}

#[tokio::test(start_paused = true)]
async fn a_cursor_outlives_turns_and_upgrades_c9_c67_c244() {
    // S-129.
    let rig = Rig::start().await;
    for turn in 0..2 {
        rig.fake.say("a");
        rig.fake.control("upgrade-required", &[]);
        rig.fake.say("b");
        rig.fake.boundary(turn);
        let mut stream = rig.send("hi").await.unwrap();
        assert_eq!(next_text(&mut stream).await, "a");
        assert_eq!(text_of(stream).await, "b");
    }

    let cursors: Vec<_> = rig.fake.reads().into_iter().map(|read| read.cursor).collect();
    assert_eq!(cursors, [None, Some("3".to_owned())], "one read a turn, the second after the first turn's boundary");
}

#[tokio::test(start_paused = true)]
async fn after_a_reload_only_an_explicit_stop_reaches_the_agent_c103() {
    let mut rig = Rig::start().await;
    rig.fake.say("a");
    drop(rig.send("hi").await.unwrap());
    rig.reload();
    let mut resumed = rig.transport.reconnect_to_stream(CHAT).unwrap();
    next_text(&mut resumed).await;

    resumed.abort();
    assert_eq!(rig.fake.appends().len(), 1, "the view is closed and the turn goes on");
    assert!(rig.transport.stop_generation(CHAT).await);

    assert_eq!(rig.fake.appends()[1].body, json!({ "kind": "stop" }));
}

#[tokio::test(start_paused = true)]
async fn each_subscription_of_a_turn_may_renew_the_token_once_c97_c139() {
    let rig = Rig::start().await;
    for n in 0..3 {
        rig.fake.on_read(ReadPlan::Refuse(401));
        rig.fake.on_read(ReadPlan::serve(1, After::Done));
        rig.fake.say(&n.to_string());
    }
    rig.fake.boundary(0);

    let mut stream = rig.send("hi").await.unwrap();
    for n in 0..3 {
        assert_eq!(next_text(&mut stream).await, n.to_string());
    }
    text_of(stream).await;

    assert_eq!(rig.heard.n_renewals(), 3);
    let notified = rig.heard.changes.lock().unwrap().iter().filter(|s| s.public_access_token == "renewed-3").count();
    assert!(notified >= 1, "each renewal is persisted (C-64)");
}

#[tokio::test(start_paused = true)]
async fn a_subscription_that_brought_nothing_does_not_spend_the_renewal_of_the_next_c97() {
    let rig = Rig::start().await;
    for _ in 0..2 {
        rig.fake.on_read(ReadPlan::Refuse(401));
        rig.fake.on_read(ReadPlan::serve(0, After::Done));
    }
    rig.fake.say("late");
    rig.fake.boundary(0);

    let stream = rig.send("hi").await.unwrap();

    assert_eq!(text_of(stream).await, "late");
    assert_eq!(rig.heard.n_renewals(), 2);
}

fn sent(event: &ChatEvent) -> Sent {
    match &event.kind {
        ChatEventKind::MessageSent(sent) | ChatEventKind::MessageSendFailed { sent, .. } => sent.clone(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn every_event_names_its_chat_its_time_and_its_source_c144_c145_c148_ca52() {
    let rig = Rig::start().await;
    let began = rig.host.clock().now();
    let umlauts = UiMessage::user("m1", "größer");
    drop(rig.transport.send_messages(CHAT, SendMessages::submit([umlauts])).await.unwrap());
    drop(rig.transport.send_messages(CHAT, SendMessages::regenerate().message_id("m0")).await.unwrap());
    drop(rig.transport.send_action(CHAT, json!({ "type": "undo" }), None).await.unwrap());
    rig.transport.send_pending_message(CHAT, &UiMessage::user("s1", "faster"), None).await;
    rig.transport.stop_generation(CHAT).await;

    let events = rig.heard.events.lock().unwrap().clone();

    let seen: Vec<_> = events.iter().map(|event| (sent(event).source, sent(event).message_id)).collect();
    let id = |id: &str| Some(id.to_owned());
    let want = [
        (Source::SubmitMessage, id("m1")),
        (Source::RegenerateMessage, id("m0")),
        (Source::Action, None),
        (Source::Steer, id("s1")),
        (Source::Stop, None),
    ];
    assert_eq!(seen, want);
    let names: Vec<_> = want.iter().map(|(source, _)| source.as_str()).collect();
    assert_eq!(names, ["submit-message", "regenerate-message", "action", "steer", "stop"]);
    assert!(events.iter().all(|event| event.chat_id == CHAT && event.timestamp >= began));
    let body = rig.fake.appends()[0].body.to_string();
    assert!(body.len() > body.chars().count(), "bytes are counted, not characters");
    assert_eq!(sent(&events[0]).body_bytes, body.len());
}

#[tokio::test(start_paused = true)]
async fn response_events_refer_to_the_last_send_that_wants_an_answer_c145() {
    let rig = Rig::start().await;
    rig.fake.boundary(0);
    text_of(rig.send("hi").await.unwrap()).await;
    tokio::time::advance(Duration::from_secs(7)).await;
    rig.fake.boundary(1);
    text_of(rig.transport.send_action(CHAT, json!({}), None).await.unwrap()).await;

    let events = rig.heard.events.lock().unwrap().clone();

    let Some(ChatEventKind::TurnCompleted { message_id, since_send, .. }) = events.last().map(|event| &event.kind)
    else {
        panic!("{events:?}")
    };
    assert_eq!(message_id.as_deref(), Some("id-hi"), "an action is no send that wants an answer");
    assert!(since_send.unwrap() >= Duration::from_secs(7));
}

#[tokio::test(start_paused = true)]
async fn a_page_that_sent_nothing_refers_to_nothing_c145() {
    let rig = Rig::resumed(crate::rig::streaming(None, Some(0))).await;
    rig.fake.say("a");
    rig.fake.boundary(0);
    text_of(rig.transport.reconnect_to_stream(CHAT).unwrap()).await;

    let events = rig.heard.events.lock().unwrap().clone();

    for event in &events {
        match &event.kind {
            ChatEventKind::StreamConnected { message_id, .. } => assert_eq!(*message_id, None),
            ChatEventKind::FirstChunk { message_id, since_send, .. }
            | ChatEventKind::TurnCompleted { message_id, since_send, .. } => {
                assert_eq!((message_id, since_send), (&None, &None));
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(events.len(), 3);
}

#[tokio::test(start_paused = true)]
async fn an_empty_boundary_after_a_submit_is_no_success_that_is_hidden_c22() {
    let rig = Rig::start().await;
    rig.fake.boundary(0);

    assert_eq!(text_of(rig.send("hi").await.unwrap()).await, "");

    // The missing first-chunk event is what tells a person that the agent took the input and answered nothing.
    assert_eq!(rig.heard.event_names(), ["message-sent", "stream-connected", "turn-completed"]);
}

#[tokio::test(start_paused = true)]
async fn a_second_failing_append_is_told_with_its_status_c20_c146_cf9() {
    let rig = Rig::start().await;
    rig.fake.on_append(AppendPlan::Refuse(413, json!({ "ok": false, "error": "too large" }), Vec::new()));

    assert!(rig.send("hi").await.is_err());

    let events = rig.heard.events.lock().unwrap().clone();
    let [ChatEvent { kind: ChatEventKind::MessageSendFailed { status, error, .. }, .. }] = &events[..] else {
        panic!("{events:?}")
    };
    assert_eq!((*status, error.as_str()), (Some(413), "status 413: too large"));
    assert_eq!(rig.fake.appends().len(), 1, "a body that is too large is too large again");
}

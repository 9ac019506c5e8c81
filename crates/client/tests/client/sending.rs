//! Starting and sending: one start, one append, one part id (C §3.3, §3.5, §3.14).

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::Semaphore;
use turnkeep_client::{ChatSessionState, Error, Outcome, SendMessages};
use turnkeep_protocol::{SeqNum, UiMessage};

use crate::fake::{After, AppendPlan, ReadPlan};
use crate::net::settle;
use crate::rig::{CHAT, Rig, drain, next_text, streaming, text_of};

fn refuse(status: u16) -> AppendPlan {
    AppendPlan::Refuse(status, json!({ "error": "no" }), Vec::new())
}

fn part_ids(rig: &Rig) -> Vec<String> {
    rig.fake.appends().into_iter().map(|append| append.part_id).collect()
}

#[tokio::test(start_paused = true)]
async fn construction_requests_nothing_and_takes_states_as_they_are_c58_ca24() {
    let saved = streaming(Some(3), Some(1));
    let rig = Rig::resumed(saved.clone()).await;
    settle().await;

    assert_eq!(rig.transport.session(CHAT), Some(saved));
    assert_eq!(rig.transport.session("unknown"), None);
    assert!(rig.heard.changes.lock().unwrap().is_empty());
    assert_eq!((rig.fake.appends().len(), rig.fake.reads().len()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn starts_preloads_and_sends_share_one_call_c69_c70_ca26() {
    let rig = Rig::start().await;

    let (started, preloaded, sent) =
        tokio::join!(rig.transport.start(CHAT), rig.transport.preload(CHAT), rig.send("hi"));

    assert_eq!(started.unwrap().public_access_token, "started-1");
    assert!(preloaded.is_ok() && sent.is_ok());
    rig.transport.start(CHAT).await.unwrap();
    assert_eq!(rig.heard.n_starts(), 1, "a cached token needs no call");
    let first = rig.heard.changes.lock().unwrap()[0].clone();
    assert_eq!(first, ChatSessionState { is_streaming: Some(false), ..ChatSessionState::new("started-1") });
}

#[tokio::test(start_paused = true)]
async fn a_failed_start_is_forgotten_c70() {
    let rig = Rig::start().await;
    rig.transport.set_start_session(Some(Arc::new(|_| Box::pin(async { Err("backend is away".into()) }))));
    let failed = rig.send("hi").await.unwrap_err();
    assert_eq!(failed.to_string(), "startSession failed: backend is away");

    rig.transport.set_start_session(Some(Arc::new(|_| Box::pin(async { Ok("second".to_owned()) }))));
    rig.send("hi").await.unwrap();

    assert_eq!(rig.fake.appends()[0].token, "second");
}

#[tokio::test(start_paused = true)]
async fn without_start_session_a_start_is_refused_and_a_send_asks_for_a_token_c71_c72_ca27_ca28() {
    let rig = Rig::start().await;
    rig.transport.set_start_session(None);

    let refused = rig.transport.start(CHAT).await.unwrap_err();
    assert!(refused.to_string().contains("startSession"));
    rig.send("hi").await.unwrap();
    rig.send("again").await.unwrap();

    assert_eq!((rig.heard.n_starts(), rig.heard.n_renewals()), (0, 1));
    assert_eq!(rig.fake.appends()[1].token, "renewed-1");
}

#[tokio::test(start_paused = true)]
async fn a_hydrated_token_needs_no_callback_c72_ca28() {
    let rig = Rig::resumed(ChatSessionState::new("saved")).await;

    rig.send("hi").await.unwrap();

    assert_eq!((rig.heard.n_starts(), rig.heard.n_renewals()), (0, 0));
    assert_eq!(rig.fake.appends()[0].token, "saved");
}

#[tokio::test(start_paused = true)]
async fn client_data_reaches_the_start_and_every_send_c73_c75_cr6_ca27() {
    let rig = Rig::start().await;
    let seen = Arc::new(std::sync::Mutex::new(Vec::new()));
    let heard = seen.clone();
    rig.transport.set_start_session(Some(Arc::new(move |request: turnkeep_client::StartRequest| {
        heard.lock().unwrap().push((request.task_id.to_string(), Value::Object(request.client_data)));
        Box::pin(async { Ok("t".to_owned()) })
    })));
    let data = |version: u64| json!({ "version": version }).as_object().cloned();

    rig.transport.set_client_data(data(1));
    rig.send("one").await.unwrap();
    rig.transport.set_client_data(data(2));
    rig.send("two").await.unwrap();

    assert_eq!(*seen.lock().unwrap(), [("agent".to_owned(), json!({ "version": 1 }))]);
    let metadata: Vec<_> = rig.fake.appends().iter().map(|seen| seen.body["payload"]["metadata"].clone()).collect();
    assert_eq!(metadata, [json!({ "version": 1 }), json!({ "version": 2 })]);
}

#[tokio::test(start_paused = true)]
async fn a_send_appends_then_reads_without_peeking_c79_c100_cr1_ca29_ar42() {
    // S-119, S-129.
    let rig = Rig::start().await;
    rig.fake.next_input(4);
    // The tail is the boundary of an earlier turn: a sender that peeked would be told that it is settled.
    rig.fake.boundary(3);

    let mut stream = rig.send("hi").await.unwrap();
    assert_eq!(stream.input_seq(), Some(SeqNum::new(4)));
    rig.fake.say("reply");
    rig.fake.boundary(4);
    let (text, _, outcome) = drain(&mut stream).await;

    assert_eq!((text.as_str(), outcome), ("reply", Outcome::Completed));
    let reads = rig.fake.reads();
    assert_eq!((reads.len(), reads[0].peek, reads[0].window.as_deref()), (1, false, Some("120")));
    assert_eq!(reads[0].path, "/realtime/v1/sessions/chat-1/out");
}

#[tokio::test(start_paused = true)]
async fn what_is_persisted_around_a_turn_c64_c65_rc6_ca34() {
    // S-132.
    let rig = Rig::start().await;
    rig.fake.say("a");
    rig.fake.control("turn-complete", &[("session-in-event-id", "0"), ("public-access-token", "fresh")]);

    text_of(rig.send("hi").await.unwrap()).await;

    let told = rig.heard.changes.lock().unwrap().clone();
    let started = ChatSessionState { is_streaming: Some(false), ..ChatSessionState::new("started-1") };
    let sent = ChatSessionState {
        is_streaming: Some(true),
        active_input_seq: Some(SeqNum::ZERO),
        ..ChatSessionState::new("started-1")
    };
    let done = ChatSessionState {
        is_streaming: Some(false),
        last_event_id: Some(SeqNum::new(1)),
        ..ChatSessionState::new("fresh")
    };
    assert_eq!(told, [started, sent, done], "never per record");
}

#[tokio::test(start_paused = true)]
async fn a_refused_token_is_renewed_under_the_same_part_id_c138_ca35() {
    // S-190.
    let rig = Rig::resumed(ChatSessionState::new("expired")).await;
    rig.fake.accept_only("renewed-1");

    rig.send("hi").await.unwrap();

    let appends = rig.fake.appends();
    assert_eq!(appends.len(), 2);
    assert_eq!(appends[0].part_id, appends[1].part_id);
    assert_eq!(appends[1].token, "renewed-1");
    assert_eq!(rig.state().public_access_token, "renewed-1");
}

#[tokio::test(start_paused = true)]
async fn an_unknown_session_is_created_again_in_place_c142_cr24_ca36_ca61() {
    let saved = ChatSessionState {
        skip_to_turn_complete: true,
        superseded_input_seq: Some(SeqNum::new(70)),
        ..streaming(Some(99), Some(71))
    };
    let rig = Rig::resumed(saved).await;
    rig.fake.on_append(refuse(404));
    rig.fake.say("fresh start");
    rig.fake.boundary(0);

    let stream = rig.send("hi").await.unwrap();

    assert_eq!(text_of(stream).await, "fresh start");
    assert_eq!(rig.heard.n_starts(), 1);
    let ids = part_ids(&rig);
    assert_eq!(ids[0], ids[1]);
    assert_eq!(rig.fake.reads()[0].cursor, None, "the cursor belonged to another log");
}

#[tokio::test(start_paused = true)]
async fn an_unknown_session_without_start_session_says_what_may_be_wrong_c142_ca36() {
    let rig = Rig::resumed(ChatSessionState::new("saved")).await;
    rig.transport.set_start_session(None);
    rig.fake.on_append(refuse(404));

    let error = rig.send("hi").await.unwrap_err();

    assert!(error.to_string().contains("stale"), "{error}");
    assert_eq!(rig.fake.appends().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn renewal_and_repair_never_make_more_than_three_posts_c138() {
    // S-190.
    let plans: [(&[u16], usize); 5] =
        [(&[401, 404, 401], 3), (&[401, 404, 404], 3), (&[404, 401, 404], 3), (&[401, 401], 2), (&[404, 404], 2)];
    for (statuses, n_posts) in plans {
        let rig = Rig::resumed(ChatSessionState::new("saved")).await;
        statuses.iter().for_each(|status| rig.fake.on_append(refuse(*status)));

        let error = rig.send("hi").await.unwrap_err();

        assert_eq!(rig.fake.appends().len(), n_posts, "{statuses:?}");
        assert_eq!(error.status(), statuses.last().copied());
        let ids = part_ids(&rig);
        assert!(ids.iter().all(|id| *id == ids[0]), "one send, one part id");
        assert_eq!(rig.heard.event_names(), ["message-send-failed"], "and nothing else (C-146)");
    }
}

#[tokio::test(start_paused = true)]
async fn a_lost_acknowledgement_is_retried_under_the_same_part_id_c18_c19_cf6() {
    let rig = Rig::start().await;
    rig.fake.next_input(5);
    (0..3).for_each(|_| rig.fake.on_append(AppendPlan::StoreThen(503)));

    let stream = rig.send("hi").await.unwrap();

    assert_eq!(stream.input_seq(), Some(SeqNum::new(5)), "the duplicate is answered with the original place");
    let ids = part_ids(&rig);
    assert_eq!(ids.len(), 4);
    assert!(ids.iter().all(|id| *id == ids[0]));
    drop(stream);
    rig.send("next").await.unwrap();
    assert_ne!(part_ids(&rig)[4], ids[0], "two sends never share one");
}

#[tokio::test(start_paused = true)]
async fn a_send_survives_a_restart_of_the_server_c18() {
    let mut rig = Rig::start().await;
    rig.transport.start(CHAT).await.unwrap();
    rig.server = None;
    settle().await;

    let (sent, ()) = tokio::join!(rig.send("hi"), async {
        tokio::time::sleep(Duration::from_secs(10)).await;
        let (_, server) = rig.fake.serve(&rig.host, "session:80").await;
        // The task must outlive this block; the test's end takes it down.
        std::mem::forget(server);
    });

    assert_eq!(sent.unwrap().input_seq(), Some(SeqNum::ZERO));
    assert_eq!(rig.fake.appends().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn retries_of_a_failing_server_have_a_bound_c18() {
    let rig = Rig::start().await;
    (0..50).for_each(|_| rig.fake.on_append(refuse(500)));

    let error = rig.send("hi").await.unwrap_err();

    assert!(matches!(error, Error::RetriesExhausted { attempts: turnkeep_client::MAX_CALL_ATTEMPTS, .. }));
    assert_eq!(error.status(), Some(500));
    assert_eq!(rig.fake.appends().len(), turnkeep_client::MAX_CALL_ATTEMPTS as usize);
}

#[tokio::test(start_paused = true)]
async fn a_final_refusal_surfaces_at_once_c20_rc3_ca51() {
    for (status, headers) in [(413, vec![]), (503, vec![("x-should-retry", "false")])] {
        let rig = Rig::start().await;
        rig.fake.on_append(AppendPlan::Refuse(status, json!({ "ok": false, "error": "no" }), headers));

        let error = rig.send("hi").await.unwrap_err();

        assert_eq!((error.status(), rig.fake.appends().len()), (Some(status), 1));
    }
}

#[tokio::test(start_paused = true)]
async fn a_rate_limit_is_waited_out_c20() {
    let rig = Rig::start().await;
    let reset = rig.host.clock().now().plus(Duration::from_secs(3)).as_millis().to_string();
    let headers = vec![("x-ratelimit-reset", &*reset.leak())];
    rig.fake.on_append(AppendPlan::Refuse(429, json!({ "error": "slow down" }), headers));
    let started = tokio::time::Instant::now();

    rig.send("hi").await.unwrap();

    assert!(started.elapsed() >= Duration::from_secs(3));
    assert_eq!(rig.fake.appends().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_failed_send_leaves_reader_and_state_as_they_were_c79_c149() {
    let rig = Rig::start().await;
    rig.fake.say("a");
    let mut first = rig.send("one").await.unwrap();
    next_text(&mut first).await;
    let before = rig.state();
    rig.fake.on_append(refuse(413));

    rig.send("two").await.unwrap_err();

    assert_eq!(rig.state(), before);
    rig.fake.boundary(0);
    assert_eq!(text_of(first).await, "");
}

#[tokio::test(start_paused = true)]
async fn a_send_takes_over_from_the_previous_reader_c80_cr9_ca47() {
    let rig = Rig::start().await;
    rig.fake.say("a");
    let mut first = rig.send("one").await.unwrap();
    next_text(&mut first).await;

    let second = rig.send("two").await.unwrap();
    settle().await;
    assert_eq!(rig.fake.open_reads(), 0, "the previous connection is closed although nobody reads it");
    let (_, failure, outcome) = drain(&mut first).await;
    assert!(failure.is_none());
    assert_eq!(outcome, Outcome::Superseded);
    // A late teardown of the previous stream leaves its successor registered (C-90).
    drop(first);
    assert!(rig.transport.reconnect_to_stream(CHAT).is_none(), "the successor is still the reader");

    rig.fake.boundary(0);
    rig.fake.say("b");
    rig.fake.boundary(1);
    assert_eq!(text_of(second).await, "b");
}

#[tokio::test(start_paused = true)]
async fn undo_then_send_does_not_end_on_the_actions_boundary_c82_c118_cr7_ca40_ar43() {
    // S-130, SR-25; C-247: the page has cut its own list already and waits for nothing.
    let rig = Rig::start().await;
    rig.fake.next_input(4);
    let action = rig.transport.send_action(CHAT, json!({ "type": "undo" }), None).await.unwrap();
    assert_eq!(rig.heard.last_change().is_streaming, Some(true), "a reload in mid-action resumes");

    let mut stream = rig.send("hi").await.unwrap();
    rig.fake.boundary(4);
    rig.fake.say("answer");
    rig.fake.boundary(5);
    let (text, _, outcome) = drain(&mut stream).await;

    assert_eq!((text.as_str(), outcome), ("answer", Outcome::Completed));
    assert_eq!(action.outcome(), Some(Outcome::Superseded));
    let sent = &rig.fake.appends()[0].body;
    assert_eq!(
        *sent,
        json!({ "kind": "message", "payload": {
        "chatId": CHAT, "trigger": "action", "action": { "type": "undo" } } })
    );
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_comes_late_never_takes_over_from_a_later_input_c80() {
    let rig = Rig::start().await;
    let ack = Arc::new(Semaphore::new(0));
    rig.fake.on_append(AppendPlan::Hold(ack.clone()));
    rig.transport.start(CHAT).await.unwrap();

    let (early, late) = tokio::join!(rig.send("one"), async {
        rig.fake.wait_for_appends(1).await;
        let late = rig.send("two").await.unwrap();
        ack.add_permits(1);
        late
    });

    assert_eq!(early.unwrap().outcome(), Some(Outcome::Superseded));
    rig.fake.boundary(0);
    rig.fake.say("b");
    rig.fake.boundary(1);
    assert_eq!(text_of(late).await, "b");
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_comes_after_a_later_turn_has_ended_reopens_nothing_c80() {
    let rig = Rig::start().await;
    let ack = Arc::new(Semaphore::new(0));
    rig.fake.on_append(AppendPlan::Hold(ack.clone()));
    rig.transport.start(CHAT).await.unwrap();

    let (early, ()) = tokio::join!(rig.send("one"), async {
        rig.fake.wait_for_appends(1).await;
        let late = rig.send("two").await.unwrap();
        rig.fake.boundary(0);
        rig.fake.say("b");
        rig.fake.boundary(1);
        assert_eq!(text_of(late).await, "b");
        ack.add_permits(1);
    });

    assert_eq!(early.unwrap().outcome(), Some(Outcome::Superseded));
    let now = rig.state();
    assert_eq!((now.is_streaming, now.active_input_seq), (Some(false), None));
    assert_eq!(rig.fake.reads().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_lower_place_on_a_replaced_backend_is_no_late_answer_cr24() {
    let rig = Rig::start().await;
    rig.fake.next_input(40);
    rig.fake.boundary(40);
    text_of(rig.send("one").await.unwrap()).await;

    rig.fake.next_input(3);
    let stream = rig.send("two").await.unwrap();
    rig.fake.say("two");
    rig.fake.boundary(3);

    assert_eq!(text_of(stream).await, "two");
}

#[tokio::test(start_paused = true)]
async fn a_pending_message_touches_neither_reader_nor_state_c120_ca52() {
    let rig = Rig::start().await;
    let steer = UiMessage::user("s1", "and faster");
    assert!(!rig.transport.send_pending_message(CHAT, &steer, None).await, "there is no state");
    rig.fake.say("a");
    let mut stream = rig.send("hi").await.unwrap();
    next_text(&mut stream).await;
    let before = rig.state();

    assert!(rig.transport.send_pending_message(CHAT, &steer, None).await);
    rig.fake.on_append(refuse(413));
    assert!(!rig.transport.send_pending_message(CHAT, &steer, None).await);

    assert_eq!(rig.state(), before);
    rig.fake.boundary(0);
    assert_eq!(text_of(stream).await, "");
    assert_eq!(rig.fake.appends()[1].body["payload"]["trigger"], "submit-message");
}

#[tokio::test(start_paused = true)]
async fn a_send_that_is_let_go_before_its_session_exists_posts_nothing_c83_ca67() {
    let rig = Rig::start().await;
    let gate = Arc::new(Semaphore::new(0));
    let held = gate.clone();
    rig.transport.set_start_session(Some(Arc::new(move |_| {
        let held = held.clone();
        Box::pin(async move {
            held.acquire().await.unwrap().forget();
            Ok("late".to_owned())
        })
    })));

    let let_go = tokio::time::timeout(Duration::from_secs(1), rig.send("hi")).await;
    assert!(let_go.is_err());
    gate.add_permits(1);
    settle().await;

    assert!(rig.fake.appends().is_empty());
    assert!(rig.heard.event_names().is_empty(), "a cancel is no failure");
    // The start itself was shared, not lost: the next send uses it.
    rig.send("hi").await.unwrap();
    assert_eq!(rig.fake.appends()[0].token, "late");
}

#[tokio::test(start_paused = true)]
async fn regenerate_and_empty_submits_c13_c77_ca31() {
    let rig = Rig::start().await;

    let refused = rig.transport.send_messages(CHAT, SendMessages::submit([])).await;
    assert!(matches!(refused, Err(Error::NothingToSubmit)));
    assert_eq!((rig.heard.n_starts(), rig.fake.appends().len()), (0, 0));

    rig.fake.on_read(ReadPlan::serve(0, After::Follow));
    rig.transport.send_messages(CHAT, SendMessages::regenerate()).await.unwrap();
    let want = json!({ "kind": "message", "payload": { "chatId": CHAT, "trigger": "regenerate-message" } });
    assert_eq!(rig.fake.appends()[0].body, want);
}

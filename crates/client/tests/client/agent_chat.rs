//! A program on a server that talks to an agent (C §4.1).

use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::json;
use turnkeep_client::{AgentChat, AgentChatBuilder, Error, Outcome, SendMessages, Triggered, TurnComplete};
use turnkeep_protocol::session_api::TriggerConfig;
use turnkeep_protocol::{SeqNum, TaskId};

use crate::fake::{After, AppendPlan, ReadPlan};
use crate::net::settle;
use crate::rig::{Rig, drain, next_text, text_of};

struct Scene {
    rig: Rig,
    chat: AgentChat,
    triggered: Arc<Mutex<Vec<Triggered>>>,
    completed: Arc<Mutex<Vec<TurnComplete>>>,
}

impl Scene {
    async fn new() -> Self {
        Self::with(|builder| builder).await
    }

    async fn restored(last_event_id: Option<u64>) -> Self {
        Self::with(|builder| builder.session(last_event_id.map(SeqNum::new))).await
    }

    async fn with(adjust: impl FnOnce(AgentChatBuilder) -> AgentChatBuilder) -> Self {
        let rig = Rig::start().await;
        let (triggered, completed): (Arc<Mutex<Vec<_>>>, Arc<Mutex<Vec<_>>>) = Default::default();
        let (heard_run, heard_turn) = (triggered.clone(), completed.clone());
        let base = "http://session".parse().unwrap();
        let builder = AgentChat::builder(rig.host.clone(), base, "sk_test", TaskId::new("helper"), "c1")
            .on_triggered(Arc::new(move |run| heard_run.lock().unwrap().push(run)))
            .on_turn_complete(Arc::new(move |turn| {
                heard_turn.lock().unwrap().push(turn);
                Box::pin(async { Err("the author's database is away".into()) })
            }));
        Self { rig, chat: adjust(builder).build(), triggered, completed }
    }
}

#[tokio::test(start_paused = true)]
async fn the_first_use_creates_the_session_that_preloads_and_tells_its_run_once_c154_c155_cr25_ca92_rc12() {
    let scene = Scene::with(|builder| {
        builder.branch("preview-1").client_data(json!({ "user": "u1" }).as_object().unwrap().clone())
    })
    .await;
    for input in 0..2 {
        scene.rig.fake.say("hi");
        scene.rig.fake.boundary(input);
        assert_eq!(scene.chat.send_message("hello").await.unwrap().text().await.unwrap(), "hi");
    }

    let creates = scene.rig.fake.creates();
    assert_eq!(creates.len(), 1);
    let payload = json!({ "trigger": "preload", "messages": [], "metadata": { "user": "u1" }, "chatId": "c1" });
    let want = json!({
        "type": "chat.agent", "taskIdentifier": "helper", "externalId": "c1",
        "triggerConfig": { "basePayload": payload, "tags": ["chat:c1"] },
    });
    assert_eq!(creates[0].body, want);
    let run = Triggered { run_id: turnkeep_protocol::RunId::new("run_1"), chat_id: "c1".to_owned() };
    assert_eq!(*scene.triggered.lock().unwrap(), [run]);
    // Every request carries the key and the branch.
    let branch = Some("preview-1".to_owned());
    assert!(creates.iter().all(|seen| seen.token == "sk_test" && seen.branch == branch));
    let appends = scene.rig.fake.appends();
    assert!(appends.iter().all(|seen| seen.token == "sk_test" && seen.branch == branch));
    assert!(appends.iter().all(|seen| seen.source.as_deref() == Some("sdk")));
    assert!(scene.rig.fake.reads().iter().all(|seen| seen.token == "sk_test" && seen.branch == branch));
    assert_ne!(appends[0].part_id, appends[1].part_id);
    assert_eq!(appends[0].body["payload"]["metadata"], json!({ "user": "u1" }));
}

#[tokio::test(start_paused = true)]
async fn concurrent_first_uses_share_one_creation_c156() {
    let scene = Scene::new().await;

    let (preloaded, first, second) = tokio::join!(
        scene.chat.preload(Some(300)),
        scene.chat.send_message("one"),
        scene.chat.send_action(json!({ "type": "undo" }))
    );

    assert!(preloaded.is_ok() && first.is_ok() && second.is_ok());
    assert_eq!((scene.rig.fake.creates().len(), scene.triggered.lock().unwrap().len()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_preload_starts_once_with_its_own_idle_time_c158() {
    let scene = Scene::with(|builder| {
        builder.trigger_config(TriggerConfig { idle_timeout_in_seconds: Some(60), ..TriggerConfig::default() })
    })
    .await;
    assert_eq!(scene.chat.session(), None);

    let started = scene.chat.preload(Some(300)).await.unwrap();
    assert_eq!(scene.chat.preload(None).await.unwrap(), started);

    let creates = scene.rig.fake.creates();
    assert_eq!(creates.len(), 1);
    assert_eq!(creates[0].body["triggerConfig"]["idleTimeoutInSeconds"], 300);
}

#[tokio::test(start_paused = true)]
async fn a_restored_chat_refreshes_its_configuration_once_and_triggers_nothing_c157_ca92_rc13() {
    let scene = Scene::restored(Some(4)).await;
    for input in 0..2 {
        for _ in 0..6 {
            scene.rig.fake.say("x");
        }
        scene.rig.fake.boundary(input);
    }
    assert!(scene.rig.fake.creates().is_empty());

    let (one, two) = (scene.chat.send_message("one").await, scene.chat.send_message("two").await);

    assert!(one.is_ok() && two.is_ok());
    assert_eq!(scene.rig.fake.creates().len(), 1);
    assert!(scene.triggered.lock().unwrap().is_empty());
    two.unwrap().next().await;
    assert_eq!(scene.rig.fake.reads()[0].cursor.as_deref(), Some("4"), "it goes on where it was");
}

#[tokio::test(start_paused = true)]
async fn a_reply_longer_than_the_read_window_is_read_to_its_end_c166_cr26() {
    // Windows shorter than the stall timer, which would renew the connection before the server ends it.
    let scene = Scene::with(|builder| builder.stream_timeout_seconds(50)).await;
    // The child agent works for 130 s behind a tool; the server closes two windows before.
    scene.rig.fake.say("first half, ");
    scene.rig.fake.on_read(ReadPlan::serve(1, After::Wait(Duration::from_secs(50))));
    scene.rig.fake.on_read(ReadPlan::serve(0, After::Wait(Duration::from_secs(50))));
    let mut stream = scene.chat.send_message("work").await.unwrap();

    let (text, ()) = tokio::join!(stream.text(), async {
        tokio::time::sleep(Duration::from_secs(130)).await;
        scene.rig.fake.say("second half");
        scene.rig.fake.boundary(0);
    });

    assert_eq!(text.unwrap(), "first half, second half");
    assert_eq!(scene.rig.fake.reads().len(), 3, "two windows did end in between");
    assert_eq!(scene.rig.fake.reads()[0].window.as_deref(), Some("50"));
}

#[tokio::test(start_paused = true)]
async fn a_reply_that_breaks_off_is_an_error_and_no_half_answer_c95_c166_cr26() {
    let scene = Scene::new().await;
    scene.rig.fake.say("first half");
    scene.rig.fake.on_read(ReadPlan::serve(1, After::Done));
    (0..9).for_each(|_| scene.rig.fake.on_read(ReadPlan::serve(0, After::Done)));

    let failed = scene.chat.send_message("work").await.unwrap().text().await.unwrap_err();

    assert!(matches!(failed, Error::ReconnectBudget { .. }), "{failed}");
}

#[tokio::test(start_paused = true)]
async fn a_boundary_of_an_earlier_input_does_not_end_the_reply_c82_c166_cr7() {
    let scene = Scene::new().await;
    scene.rig.fake.next_input(4);
    let undo = scene.chat.send_action(json!({ "type": "undo" })).await.unwrap();

    let mut stream = scene.chat.send_message("hi").await.unwrap();
    scene.rig.fake.boundary(4);
    scene.rig.fake.say("answer");
    scene.rig.fake.boundary(5);

    assert_eq!(stream.text().await.unwrap(), "answer");
    assert_eq!(undo.outcome(), Some(Outcome::Superseded));
}

#[tokio::test(start_paused = true)]
async fn the_cursor_to_keep_is_what_the_consumer_has_read_rc16_c37() {
    let scene = Scene::new().await;
    scene.rig.fake.batch_with_tail();
    (0..5).for_each(|n| scene.rig.fake.say(&n.to_string()));
    let mut stream = scene.chat.send_message("hi").await.unwrap();

    next_text(&mut stream).await;
    next_text(&mut stream).await;
    settle().await;

    assert_eq!(scene.chat.session().unwrap().last_event_id, Some(SeqNum::new(1)));
}

#[tokio::test(start_paused = true)]
async fn message_ids_say_when_and_differ_c159() {
    let scene = Scene::new().await;

    drop(scene.chat.send_message("one").await.unwrap());
    drop(scene.chat.send_message("two").await.unwrap());

    let ids: Vec<String> = scene.rig.fake.appends().iter().map(|seen| id_of(&seen.body)).collect();
    let now = scene.rig.host.clock().now().as_millis().to_string();
    for id in &ids {
        let parts: Vec<&str> = id.split('-').collect();
        assert_eq!((parts.len(), parts[0], parts[1].len()), (3, "msg", now.len()), "{id}");
        let is_base_36 = |letter: char| letter.is_ascii_digit() || letter.is_ascii_lowercase();
        assert!(parts[2].len() == 6 && parts[2].chars().all(is_base_36), "{id}");
    }
    assert_ne!(ids[0], ids[1]);
    let refused = scene.chat.send_raw(SendMessages::submit([])).await.unwrap_err();
    assert!(matches!(refused, Error::NothingToSubmit));
}

fn id_of(body: &serde_json::Value) -> String {
    body["payload"]["message"]["id"].as_str().unwrap().to_owned()
}

#[tokio::test(start_paused = true)]
async fn before_the_start_nothing_but_a_send_reaches_the_server_c160_c161_c163_c164() {
    let scene = Scene::new().await;

    scene.chat.stop().await;
    assert!(!scene.chat.steer("faster").await);
    assert!(!scene.chat.close().await);
    assert!(scene.chat.reconnect().is_none());

    assert_eq!((scene.rig.fake.appends().len(), scene.rig.fake.creates().len()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn steering_leaves_the_stream_alone_c160() {
    let scene = Scene::new().await;
    scene.rig.fake.say("a");
    let mut stream = scene.chat.send_message("hi").await.unwrap();
    next_text(&mut stream).await;

    assert!(scene.chat.steer("faster").await);
    scene.rig.fake.on_append(AppendPlan::Refuse(413, json!({ "error": "no" }), Vec::new()));
    assert!(!scene.chat.steer("and faster").await);

    scene.rig.fake.say("b");
    scene.rig.fake.boundary(0);
    assert_eq!(text_of(stream).await, "b");
    assert!(id_of(&scene.rig.fake.appends()[1].body).starts_with("steer-"));
}

#[tokio::test(start_paused = true)]
async fn after_a_stop_the_next_reply_is_shown_alone_c107_c161() {
    let scene = Scene::new().await;
    scene.rig.fake.say("one");
    let mut first = scene.chat.send_message("first").await.unwrap();
    next_text(&mut first).await;
    // Its failure is ignored, the gate stands all the same (C-117).
    scene.rig.fake.on_append(AppendPlan::Refuse(413, json!({ "error": "no" }), Vec::new()));
    scene.chat.stop().await;
    assert_eq!(drain(&mut first).await.2, Outcome::Aborted);
    scene.rig.fake.say("late output of the stopped turn");
    scene.rig.fake.boundary(0);

    let mut second = scene.chat.send_message("second").await.unwrap();
    scene.rig.fake.say("two");
    scene.rig.fake.boundary(1);

    assert_eq!(second.text().await.unwrap(), "two");
}

#[tokio::test(start_paused = true)]
async fn a_stop_without_a_running_turn_gates_nothing_c109_c161() {
    let scene = Scene::new().await;
    scene.rig.fake.boundary(0);
    assert_eq!(scene.chat.send_message("first").await.unwrap().text().await.unwrap(), "");

    scene.chat.stop().await;
    let mut second = scene.chat.send_message("second").await.unwrap();
    scene.rig.fake.say("two");
    scene.rig.fake.boundary(2);

    assert_eq!(second.text().await.unwrap(), "two");
}

#[tokio::test(start_paused = true)]
async fn a_failed_action_keeps_its_cause_and_status_c162() {
    let scene = Scene::new().await;
    scene.chat.preload(None).await.unwrap();
    scene.rig.fake.on_append(AppendPlan::Refuse(413, json!({ "error": "too large" }), Vec::new()));

    let error = scene.chat.send_action(json!({ "type": "undo" })).await.unwrap_err();

    assert!(error.to_string().starts_with("failed to send action"), "{error}");
    assert_eq!(error.status(), Some(413));
    assert!(std::error::Error::source(&error).unwrap().to_string().contains("too large"));
}

#[tokio::test(start_paused = true)]
async fn a_close_ends_the_run_and_a_later_send_starts_again_c163() {
    let scene = Scene::new().await;
    scene.rig.fake.say("one");
    scene.rig.fake.boundary(0);
    assert_eq!(scene.chat.send_message("hi").await.unwrap().text().await.unwrap(), "one");

    scene.rig.fake.on_append(AppendPlan::Refuse(413, json!({ "error": "no" }), Vec::new()));
    assert!(!scene.chat.close().await, "a refused close changes nothing");
    assert!(scene.chat.session().is_some());
    assert!(scene.chat.close().await);

    let closing = json!({ "kind": "message", "payload": { "chatId": "c1", "trigger": "close" } });
    assert_eq!(scene.rig.fake.appends().last().unwrap().body, closing);
    assert_eq!(scene.chat.session(), None);
    scene.rig.fake.say("two");
    scene.rig.fake.boundary(2);
    assert_eq!(scene.chat.send_message("again").await.unwrap().text().await.unwrap(), "two");
    assert_eq!((scene.rig.fake.creates().len(), scene.triggered.lock().unwrap().len()), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn a_reconnect_peeks_and_its_abort_stops_nothing_c164() {
    let scene = Scene::restored(None).await;
    scene.rig.fake.say("rest");
    let mut view = scene.chat.reconnect().unwrap();
    next_text(&mut view).await;

    view.abort();
    settle().await;
    assert!(scene.rig.fake.reads()[0].peek);
    assert!(scene.rig.fake.appends().is_empty());

    // Also a chat that believes itself idle asks the server: another program may have sent meanwhile.
    scene.rig.fake.on_read(ReadPlan::settled());
    let mut view = scene.chat.reconnect().unwrap();
    assert_eq!(drain(&mut view).await.2, Outcome::Settled);
    assert_eq!(scene.chat.session().unwrap().is_streaming, Some(false));
    scene.rig.fake.on_read(ReadPlan::serve(1, After::Done));
    scene.rig.fake.say("of another ");
    let mut view = scene.chat.reconnect().unwrap();
    scene.rig.fake.say("program");
    scene.rig.fake.boundary(9);
    assert_eq!(view.text().await.unwrap(), "of another program", "a window that ends does not end the turn");
}

#[tokio::test(start_paused = true)]
async fn a_failing_turn_hook_is_contained_and_waited_for_by_nobody_c165() {
    let scene = Scene::new().await;
    scene.rig.fake.say("one");
    scene.rig.fake.boundary(0);

    assert_eq!(scene.chat.send_message("hi").await.unwrap().text().await.unwrap(), "one");
    settle().await;

    let told = TurnComplete { chat_id: "c1".to_owned(), last_event_id: SeqNum::new(1) };
    assert_eq!(*scene.completed.lock().unwrap(), [told]);
}

#[tokio::test(start_paused = true)]
async fn one_send_is_one_part_id_over_all_its_attempts_c18_c167() {
    let scene = Scene::new().await;
    scene.chat.preload(None).await.unwrap();
    (0..3).for_each(|_| scene.rig.fake.on_append(AppendPlan::StoreThen(503)));

    drop(scene.chat.send_message("hi").await.unwrap());

    let ids: Vec<_> = scene.rig.fake.appends().into_iter().map(|seen| seen.part_id).collect();
    assert_eq!(ids.len(), 4);
    assert!(ids.iter().all(|id| *id == ids[0]));
}

#[tokio::test(start_paused = true)]
async fn a_chat_that_is_closed_for_good_says_so_c85_d54() {
    let scene = Scene::new().await;
    scene.rig.fake.on_create(409, json!({ "error": "closed", "code": "session_closed", "closedReason": "over" }));

    let error = scene.chat.send_message("hi").await.unwrap_err();

    assert!(matches!(error, Error::SessionClosed { reason: Some(reason) } if reason == "over"));
    assert!(scene.rig.fake.appends().is_empty());
}

//! The shapes of a first boot, and who is there (A-260, A-261, A-268).

use std::convert::Infallible;
use std::future::pending;
use std::time::Duration;

use http::{Request, Response};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde_json::json;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use turnkeep_agent::{Agent, Boot, ChatStart, CustomRun, LocalKey, Preload, TurnInput};
use turnkeep_harness::model::{MockLanguageModel, ScriptStep, say};
use turnkeep_harness::{At, Handover, MockChat, MockChatAgent, MockMode, MockOutcome, SetupError, offline_host};
use turnkeep_host::{Host, Task};
use turnkeep_protocol::run_api::LeaseRequest;
use turnkeep_protocol::{ContentPart, ModelMessage, RunId, TaskId, UiMessage};

use crate::support::*;

/// Notes which hooks of a first boot ran, with what.
fn boots(diary: &Diary) -> Agent {
    let (boot, preload, start) = (diary.clone(), diary.clone(), diary.clone());
    plain()
        .on_boot(move |event: Boot| {
            let previous = event.previous_run_id.as_deref().unwrap_or("-");
            boot.note(format!("boot(preloaded={} previous={previous})", event.preloaded));
            async { Ok(()) }
        })
        .on_preload(move |_: Preload| {
            preload.note("preload");
            async { Ok(()) }
        })
        .on_chat_start(move |_: ChatStart| {
            start.note("start");
            async { Ok(()) }
        })
}

#[tokio::test(start_paused = true)]
async fn an_unknown_agent_id_fails_the_set_up_with_the_id_aa1() {
    let setup = MockChat::cast([plain()], "weather").try_start(&MockLanguageModel::new()).await;

    let error = setup.unwrap_err();
    insta::assert_snapshot!(error, @r#"there is no agent `weather`; the agents are ["plain"]"#);
    assert!(matches!(error, SetupError::UnknownAgent { id, .. } if id == "weather"));
}

#[tokio::test(start_paused = true)]
async fn a_chat_talks_to_the_agent_with_its_id_among_several_a268() {
    let polite = Agent::new("polite", |turn: TurnInput| async move { Ok(turn.stream_text().system("Be polite.")) });
    let model = MockLanguageModel::new().step([say("Good day.")]);
    let mut chat = MockChat::cast([plain(), polite], "polite").start(&model).await;

    chat.send("hi").await;

    model.assert_prompt(0).system("Be polite.");
    chat.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_chat_is_preloaded_unless_told_otherwise_a260_a261() {
    let diary = Diary::default();
    let model = MockLanguageModel::new().step([say("a")]);
    let mut chat = MockChatAgent::start(boots(&diary), &model).await;
    assert_eq!(chat.chat_id(), "test-chat");

    chat.send("hi").await;

    assert_eq!(diary.read(), "boot(preloaded=true previous=-) preload start");
    chat.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_submit_boot_waits_for_its_first_message_and_runs_no_empty_turn_a276_a81() {
    let diary = Diary::default();
    let model = MockLanguageModel::new().step([say("a")]);
    let mut chat = MockChat::new(boots(&diary)).mode(MockMode::SubmitMessage).start(&model).await;
    assert_eq!(diary.read(), "boot(preloaded=false previous=-)");

    chat.send("hi").await.assert_text("a");

    assert_eq!(diary.read(), "boot(preloaded=false previous=-) start");
    model.assert_calls(1);
    chat.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_chat_may_boot_with_its_first_message_a276_d38() {
    let diary = Diary::default();
    let model = MockLanguageModel::new().step([say("a")]).step([say("b")]);
    let first = UiMessage::user("u-1", "hi");
    let mut chat = MockChat::new(boots(&diary)).first_message(first).start(&model).await;

    chat.first_turn().turn().await.assert_text("a");
    chat.send("and?").await.assert_text("b");

    assert_eq!(diary.read(), "boot(preloaded=false previous=-) start");
    model.assert_prompt(1).reads(&["user: hi", "assistant: a", "user: and?"]);
    chat.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_continuation_boots_without_preload_and_names_the_run_before_a260_a261() {
    let diary = Diary::default();
    let model = MockLanguageModel::new().step([say("a")]);
    let mut chat = MockChat::new(boots(&diary)).previous_run_id("run_before").start(&model).await;

    chat.send("hi").await.assert_text("a");

    assert_eq!(diary.read(), "boot(preloaded=false previous=run_before) start");
    chat.finish().await;
}

#[tokio::test(start_paused = true)]
async fn locals_are_set_up_before_the_boot_aa8_a260() {
    static DATABASE: LocalKey<&'static str> = LocalKey::new("database");
    let diary = Diary::default();
    let (in_boot, in_run) = (diary.clone(), diary.clone());
    let agent = Agent::new("plain", move |turn: TurnInput| {
        in_run.note(format!("run {}", turn.chat.locals().get(&DATABASE).unwrap()));
        async move { Ok(turn.stream_text()) }
    })
    .on_boot(move |event: Boot| {
        in_boot.note(format!("boot {}", event.chat.locals().get(&DATABASE).unwrap()));
        async { Ok(()) }
    });
    let model = MockLanguageModel::new().step([say("a")]);
    let mut chat = MockChat::new(agent).setup_locals(|locals| locals.set(&DATABASE, "double")).start(&model).await;

    chat.send("hi").await;

    assert_eq!(diary.read(), "boot double run double");
    chat.finish().await;
}

#[tokio::test(start_paused = true)]
async fn after_close_a_new_harness_starts_clean_aa9() {
    for _ in 0..2 {
        let model = MockLanguageModel::new().step([say("a")]);
        let mut chat = MockChatAgent::start(plain(), &model).await;

        chat.send("hi").await;
        chat.close().await;

        model.assert_prompt(0).reads(&["user: hi"]);
        assert_eq!((chat.outcome(), chat.all_inputs().len()), (Some(MockOutcome::Ok), 1));
        chat.finish().await;
    }
}

#[tokio::test(start_paused = true)]
async fn two_chats_of_one_agent_share_a_script_that_serves_each_its_own_a268() {
    let model = MockLanguageModel::new()
        .script_for_chat("one", [ScriptStep::new([say("for one")])])
        .script_for_chat("two", [ScriptStep::new([say("for two")])]);
    let mut one = MockChat::new(plain()).chat_id("one").start(&model).await;
    let mut two = one.another("two").await;

    let (for_two, for_one) = futures::join!(two.send("hi"), one.send("hi"));

    assert_eq!((for_one.text().as_str(), for_two.text().as_str()), ("for one", "for two"));
    one.finish().await;
    two.finish().await;
}

#[tokio::test(start_paused = true)]
async fn the_payload_is_as_chosen_a260() {
    let model = MockLanguageModel::new();
    let chat = MockChat::new(plain()).payload("idleTimeoutInSeconds", json!(5)).start(&model).await;
    let started = tokio::time::Instant::now();

    chat.suspend().await;

    assert_eq!(started.elapsed().as_secs(), 5);
    chat.finish().await;
}

/// A server that answers nobody and notes what a worker asks it for.
async fn notes_leases(host: &Host, asked: UnboundedSender<LeaseRequest>) -> Task {
    let (listener, on) = (host.net().listen("session:80").await.unwrap(), host.clone());
    let service = tower::service_fn(move |request: Request<Incoming>| {
        let asked = asked.clone();
        async move {
            let is_lease = request.uri().path().ends_with("/lease");
            let body = request.into_body().collect().await.unwrap().to_bytes();
            if is_lease {
                asked.send(serde_json::from_slice(&body).unwrap()).unwrap();
            }
            pending::<Result<Response<String>, Infallible>>().await
        }
    });
    host.spawn(async move { match turnkeep_host::http::serve(&on, listener, service).await {} })
}

#[tokio::test(start_paused = true)]
async fn the_worker_names_itself_and_its_version_as_chosen_a260() {
    let (host, model) = (offline_host(1), MockLanguageModel::new());
    let (asked, mut asks) = unbounded_channel();
    let _server = notes_leases(&host, asked).await;
    let chat = MockChat::new(plain()).server(host, "http://session:80", "tr_dev_key").worker_id("here").version("7");

    let lease = tokio::select! {
        biased;
        lease = asks.recv() => lease.unwrap(),
        _ = chat.try_start(&model) => panic!("nobody answers the chat"),
    };

    assert!(lease.worker_id.as_str().starts_with("here"), "{lease:?}");
    assert_eq!((lease.version.as_str(), lease.task_ids), ("7", vec![TaskId::new("plain")]));
}

#[tokio::test(start_paused = true)]
async fn a_head_start_makes_the_session_and_its_signals_are_real_records_a277() {
    let model = MockLanguageModel::new().step([say("a")]);
    let mut chat = MockChat::new(plain()).mode(MockMode::HandoverPrepare).start(&model).await;
    assert!(chat.all_inputs().is_empty(), "nothing is made before the handler begins");

    chat.send_head_start([UiMessage::user("u-1", "hi")]).await;
    let handover =
        Handover::new([ModelMessage::assistant(vec![ContentPart::text("Hel")])]).message_id("a-1").is_final();
    let _ = chat.send_handover(handover).within(Duration::from_secs(1)).try_wait().await;
    chat.send_handover_skip().await;

    let inputs = chat.all_inputs();
    let content = |at: usize| inputs[at].envelope().unwrap().unpacked();
    assert_eq!(
        (&content(0)["kind"], &content(0)["messageId"], &content(0)["isFinal"]),
        (&json!("handover"), &json!("a-1"), &json!(true))
    );
    assert_eq!(content(1)["kind"], "handover-skip");
    // The run has the head start's messages and its answer, and a signal that nobody waits for has no effect (C-199).
    chat.send("more").await.assert_text("a");
    model.assert_prompt(0).reads(&["user: hi", "assistant: Hel", "user: more"]);
    chat.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_barrier_may_stand_before_the_first_boot_a283() {
    let diary = Diary::default();
    let model = MockLanguageModel::new();
    let chat = MockChat::new(boots(&diary)).hold(At::before("on_boot")).start(&model).await;
    assert_eq!(diary.read(), "");

    let barrier = chat.first_barrier(0);
    assert!(barrier.is_holding());
    barrier.release();
    chat.suspend().await;

    assert_eq!(diary.read(), "boot(preloaded=true previous=-) preload");
    chat.finish().await;
}

#[tokio::test(start_paused = true)]
async fn each_mode_boots_with_its_payload_a261() {
    let told = async |change: fn(MockChat) -> MockChat| {
        let diary = Diary::default();
        let tells = diary.clone();
        let agent = Agent::custom("plain", move |run: CustomRun| {
            let payload = &run.payload;
            let trigger = payload.trigger.as_ref().map(|trigger| json!(trigger));
            let head_start = payload.head_start_messages.iter().flatten().map(UiMessage::text);
            let head_start = head_start.collect::<Vec<_>>();
            tells.note(json!([trigger, payload.continuation, payload.metadata, head_start]).to_string());
            async { Ok(()) }
        });
        let chat =
            change(MockChat::new(agent).client_data(json!({ "user": 7 }))).start(&MockLanguageModel::new()).await;
        chat.advance(Duration::from_secs(1)).await;
        chat.kill();
        diary.read()
    };

    assert_eq!(told(|chat| chat).await, r#"["preload",null,{"user":7},[]]"#);
    assert_eq!(told(|chat| chat.mode(MockMode::SubmitMessage)).await, r#"["submit-message",null,{"user":7},[]]"#);
    let head_start = |chat: MockChat| chat.head_start_messages([UiMessage::user("u", "hi")]);
    assert_eq!(told(head_start).await, r#"["handover-prepare",null,{"user":7},["hi"]]"#);
    assert_eq!(told(MockChat::continuation).await, r#"[null,true,{"user":7},[]]"#);
}

#[tokio::test(start_paused = true)]
async fn hooks_are_told_what_the_test_says_of_their_run_a260() {
    let diary = Diary::default();
    let tells = diary.clone();
    let agent = plain().on_boot(move |event: Boot| {
        tells.note(format!("{} {}", event.ctx.run_id, event.ctx.attempt));
        async { Ok(()) }
    });
    let model = MockLanguageModel::new().step([say("a")]);
    let mut chat = MockChat::new(agent)
        .task_context(|ctx| (ctx.run_id, ctx.attempt) = (RunId::new("run_of_mine"), 2))
        .start(&model)
        .await;

    // The run itself is what it is: it answers, and its first attempt restores nothing.
    chat.send("hi").await.assert_text("a");

    assert_eq!(diary.read(), "run_of_mine 2");
    assert_eq!(chat.run_attempt().unwrap().1, 1);
    chat.finish().await;
}

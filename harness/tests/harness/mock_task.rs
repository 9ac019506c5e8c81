//! Any task with the runtime around it in memory.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::StreamExt;
use futures::stream::BoxStream;
use serde_json::{Value, json};
use turnkeep_agent::{
    Agent, ChildContext, CustomRun, HookError, LocalKey, RunContext, Suspension, TurnInput, WaitOptions,
};
use turnkeep_client::AgentChat;
use turnkeep_harness::model::{MockLanguageModel, say};
use turnkeep_harness::{MockTask, TaskDrivers, TaskWorker, run_in_mock_child_context, since_epoch};
use turnkeep_protocol::run_api::RunOutcome;
use turnkeep_protocol::{ChatInputChunk, ChatTaskWirePayload, JsonObject, TaskId, UiMessage, UiMessageChunk};

static DATABASE: LocalKey<String> = LocalKey::new("database");

fn depth(of: u32) -> UiMessageChunk {
    UiMessageChunk::data("depth", None, json!(of))
}

fn message(text: &str) -> ChatInputChunk {
    ChatInputChunk::message(ChatTaskWirePayload::submit("test-chat", UiMessage::user(text, text)))
}

fn object(value: Value) -> JsonObject {
    serde_json::from_value(value).unwrap()
}

/// A task of the kind that tools run: asks for consent on an input stream and tells its chat how deep it is.
async fn dig(mut consents: BoxStream<'static, Value>, ctx: ChildContext) -> Result<u32, HookError> {
    let root = ctx.root.as_ref().ok_or("no chat")?;
    let mut reached = 0;
    while let Some(consent) = consents.next().await {
        if consent != json!("deeper") {
            break;
        }
        reached += 1;
        root.write(depth(reached)).await?;
    }
    ctx.locals.set(&DATABASE, format!("holes of {}: {reached}", ctx.locals.get(&DATABASE).ok_or("no database")?));
    Ok(reached)
}

#[tokio::test(start_paused = true)]
async fn inputs_wait_for_the_task_and_end_when_they_are_closed_a263() {
    run_in_mock_child_context(MockTask::new(), |task| async move {
        task.locals().set(&DATABASE, "double".to_owned());
        task.inputs().send("consent", "deeper");
        let (reached, ()) = futures::join!(dig(task.inputs().stream("consent"), task.child()), async {
            tokio::time::sleep(Duration::from_secs(60)).await;
            assert_eq!(task.outputs().chunks("root"), [depth(1)], "the task waits for more");
            task.inputs().send("elsewhere", "deeper");
            task.inputs().send("consent", "deeper");
            task.inputs().close("consent");
        });

        assert_eq!(reached.unwrap(), 2);
        assert_eq!(task.locals().get(&DATABASE).unwrap().as_str(), "holes of double: 2", "locals are set and read");
    })
    .await;
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "input stream `consent` is closed")]
async fn nothing_is_sent_to_a_closed_input_a263() {
    run_in_mock_child_context(MockTask::new(), |task| async move {
        task.inputs().close("consent");
        task.inputs().send("consent", 1);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn outputs_are_kept_by_stream_told_as_they_come_and_forgotten_at_will_a263() {
    run_in_mock_child_context(MockTask::new(), |task| async move {
        let told = Arc::new(Mutex::new(Vec::new()));
        let hearing = (told.clone(), task.outputs().clone());
        task.outputs().on_write(move |id, chunk| {
            // Whoever listens may read.
            assert_eq!(hearing.1.all().last(), Some(&(id.to_owned(), chunk.clone())));
            hearing.0.lock().unwrap().push(id.to_owned());
        });
        let log = task.outputs().writer("log");

        task.child().root.unwrap().write(depth(1)).await.unwrap();
        log.write(depth(2)).await.unwrap();

        assert_eq!(task.outputs().chunks("root"), [depth(1)]);
        assert_eq!(task.outputs().all(), [("root".to_owned(), depth(1)), ("log".to_owned(), depth(2))]);
        task.outputs().clear();
        assert!(task.outputs().all().is_empty());
        log.write(depth(3)).await.unwrap();
        assert_eq!(task.outputs().chunks("log"), [depth(3)]);
        assert_eq!(*told.lock().unwrap(), ["root", "log", "log"]);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn the_context_is_the_same_in_every_test_and_a_first_attempt_a263() {
    let look = async || {
        run_in_mock_child_context(MockTask::new(), |task| async move {
            let child = task.child();
            assert_eq!((&child.run_id, &child.task_id), (&task.ctx().run_id, &task.ctx().task_id));
            assert_eq!((child.metadata, child.tags, task.is_warm_start()), (JsonObject::new(), Vec::new(), false));
            assert_eq!(*task.worker(), TaskWorker { id: "mock-worker".to_owned(), version: "1".to_owned() });
            task.ctx()
        })
        .await
    };

    let (first, second) = futures::join!(look(), look());

    assert_eq!(first, second);
    assert_eq!((first.attempt, first.task_id.as_str()), (1, "test-task"));
    assert!(first.run_id.as_str().starts_with("run_") && first.session_id.as_str().starts_with("session_"));
}

#[tokio::test(start_paused = true)]
async fn a_test_chooses_its_own_context_worker_and_warm_start_a263() {
    let call = json!({ "tool.execute.options": { "toolCallId": "c1", "chatId": "chat-9", "turn": 2 } });
    let worker = TaskWorker { id: "worker-7".to_owned(), version: "2026.11".to_owned() };
    let options = MockTask::new().run_id("run_a").session_id("session_a").task_id("dig").attempt(3);
    let options = options.metadata(object(call)).tags(["toolCallId:c1"]).worker(worker.clone()).warm_start();

    run_in_mock_child_context(options, |task| async move {
        let RunContext { run_id, attempt, task_id, session_id } = task.ctx();
        assert_eq!((run_id.as_str(), attempt), ("run_a", 3));
        assert_eq!((task_id.as_str(), session_id.as_str()), ("dig", "session_a"));
        let chat = task.child().chat_context_or_err().unwrap();
        assert_eq!((chat.chat_id.as_str(), chat.turn), ("chat-9", 2));
        assert_eq!(task.child().tags, ["toolCallId:c1"]);
        assert_eq!((task.worker(), task.is_warm_start()), (&worker, true));
    })
    .await;
}

/// An agent of its author's own code: says what it hears, in capitals, until nothing more comes.
fn parrot() -> Agent {
    Agent::custom("parrot", |mut run: CustomRun| async move {
        let wait = WaitOptions::new();
        while let Some(payload) = run.next_message(wait).await? {
            let said = payload.message.map(|message| message.text()).unwrap_or_default();
            run.chat.writer().write(UiMessageChunk::data("said", None, json!(said.to_uppercase()))).await?;
            run.write_turn_complete(None).await?;
        }
        Ok(())
    })
    .into()
}

fn said(task: &TaskDrivers) -> Vec<Value> {
    task.outputs().chunks("out").iter().map(|chunk| serde_json::to_value(chunk).unwrap()["data"].clone()).collect()
}

#[tokio::test(start_paused = true)]
async fn session_inputs_reach_an_agent_that_is_served_and_their_close_ends_it_a263() {
    run_in_mock_child_context(MockTask::new().task_id("parrot"), |task| async move {
        task.session().send(message("early")).await;
        let (outcome, ()) = futures::join!(task.serve(parrot(), MockLanguageModel::new()), async {
            while said(&task).is_empty() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            task.session().send(message("late")).await;
            while said(&task).len() < 2 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            task.session().close().await;
        });

        assert_eq!(outcome, RunOutcome::Completed);
        assert!(since_epoch(task.host()) < Duration::from_secs(60), "it waits for nothing more");
        assert_eq!(said(&task), ["EARLY", "LATE"]);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_run_sleeps_on_a_real_waitpoint_and_a_session_input_wakes_it_a263() {
    let diary = Arc::new(Mutex::new(Vec::new()));
    let (sleeping, waking) = (diary.clone(), diary.clone());
    let agent = Agent::new("test-task", |turn: TurnInput| async move { Ok(turn.stream_text()) })
        .on_chat_suspend(move |_: Suspension| {
            sleeping.lock().unwrap().push("sleeps");
            async { Ok(()) }
        })
        .on_chat_resume(move |_: Suspension| {
            waking.lock().unwrap().push("wakes");
            async { Ok(()) }
        })
        .max_turns(1);

    run_in_mock_child_context(MockTask::new(), |task| async move {
        let model = MockLanguageModel::new().step([say("Good morning.")]);
        let (outcome, ()) = futures::join!(task.serve(agent, model), async {
            tokio::time::sleep(Duration::from_secs(600)).await;
            assert_eq!(*diary.lock().unwrap(), ["sleeps"]);
            task.session().send(message("wake up")).await;
        });

        assert_eq!((outcome, diary.lock().unwrap().clone()), (RunOutcome::Completed, vec!["sleeps", "wakes"]));
        let has_answer =
            |chunk: &UiMessageChunk| matches!(chunk, UiMessageChunk::TextDelta(text) if text.delta.contains("morning"));
        assert!(task.outputs().chunks("out").iter().any(has_answer));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn code_talks_to_the_session_as_in_production_a263() {
    run_in_mock_child_context(MockTask::new().task_id("parrot").chat_id("chat-9"), |task| async move {
        let session = task.session();
        let chat = AgentChat::builder(
            task.host().clone(),
            session.base_url(),
            session.secret_key(),
            TaskId::new("parrot"),
            session.chat_id(),
        );
        let chat = chat.build();
        let (outcome, ()) = futures::join!(task.serve(parrot(), MockLanguageModel::new()), async {
            let mut stream = chat.send_message("hello").await.unwrap();
            let chunk = stream.next().await.unwrap().unwrap().chunk;
            assert_eq!(serde_json::to_value(chunk).unwrap()["data"], "HELLO");
            assert!(chat.close().await);
        });

        assert_eq!(outcome, RunOutcome::Completed);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_run_that_fails_tells_how_and_another_context_is_not_touched_a263() {
    let failing = || Agent::custom("parrot", |_: CustomRun| async { Err("no voice".into()) });

    let served = run_in_mock_child_context(MockTask::new().task_id("parrot"), |task| async move {
        run_in_mock_child_context(MockTask::new(), |other| async move {
            let outcome = task.serve(failing(), MockLanguageModel::new()).await;
            (outcome, other.outputs().all().len())
        })
        .await
    })
    .await;

    assert!(matches!(&served, (RunOutcome::Failed { error }, 0) if error.contains("no voice")), "{served:?}");
}

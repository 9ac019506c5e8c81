//! The code of a child task with what it needs around it.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::StreamExt;
use futures::stream::BoxStream;
use serde_json::{Value, json};
use turnkeep_agent::{ChildContext, HookError, LocalKey, RunContext};
use turnkeep_harness::{ChildWorker, MockChild, run_in_mock_child_context};
use turnkeep_protocol::{JsonObject, RunId, SessionId, TaskId, UiMessageChunk};

static DATABASE: LocalKey<String> = LocalKey::new("database");

fn depth(of: u32) -> UiMessageChunk {
    UiMessageChunk::data("depth", None, json!(of))
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
    run_in_mock_child_context(MockChild::new(), |task| async move {
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
    run_in_mock_child_context(MockChild::new(), |task| async move {
        task.inputs().close("consent");
        task.inputs().send("consent", 1);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn outputs_are_kept_by_stream_told_as_they_come_and_forgotten_at_will_a263() {
    run_in_mock_child_context(MockChild::new(), |task| async move {
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
        run_in_mock_child_context(MockChild::new(), |task| async move {
            let child = task.child();
            assert_eq!((&child.run_id, &child.task_id), (&task.ctx().run_id, &task.ctx().task_id));
            assert_eq!((child.metadata, child.tags, task.is_warm_start()), (JsonObject::new(), Vec::new(), false));
            assert_eq!(*task.worker(), ChildWorker { id: "mock-worker".to_owned(), version: "1".to_owned() });
            task.ctx()
        })
        .await
    };

    let (first, second) = futures::join!(look(), look());

    assert_eq!(first, second);
    assert_eq!((first.attempt, first.task_id.as_str()), (1, "test-task"));
    assert_eq!((first.run_id.as_str(), first.session_id.as_str()), ("run_test", "session_test"));
}

#[tokio::test(start_paused = true)]
async fn a_test_chooses_its_own_context_worker_and_warm_start_a263() {
    let call = json!({ "tool.execute.options": { "toolCallId": "c1", "chatId": "chat-9", "turn": 2 } });
    let worker = ChildWorker { id: "worker-7".to_owned(), version: "2026.11".to_owned() };
    let options = MockChild::new().ctx(|ctx| {
        let (run_id, session_id) = (RunId::new("run_a"), SessionId::new("session_a"));
        *ctx = RunContext { run_id, attempt: 3, task_id: TaskId::new("dig"), session_id };
    });
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

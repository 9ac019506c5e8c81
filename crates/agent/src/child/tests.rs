use std::sync::Mutex;
use std::time::Duration;

use serde_json::json;
use tokio::sync::Semaphore;
use turnkeep_protocol::UiMessage;

use super::*;
use crate::locals::{ChatLocal, Locals};
use crate::testing::*;
use crate::{TurnInput, step_count_is};

static PROFILE: ChatLocal<Value> = ChatLocal::new("profile");

/// Notes what is asked of it; children end when the test lets them.
#[derive(Default)]
struct Children {
    notes: Mutex<Vec<String>>,
    triggered: Mutex<Vec<ChildRun>>,
    end: Mutex<Option<ChildEnd>>,
    may_trigger: Option<Semaphore>,
}

#[derive(Clone)]
struct Shared(Arc<Children>);

impl Shared {
    fn ending(end: ChildEnd) -> Self {
        Self(Arc::new(Children { end: Mutex::new(Some(end)), ..Children::default() }))
    }

    fn notes(&self) -> Vec<String> {
        self.0.notes.lock().unwrap().clone()
    }

    fn note(&self, note: &str) {
        self.0.notes.lock().unwrap().push(note.to_owned());
    }
}

impl ChildTasks for Shared {
    fn trigger(&self, child: ChildRun, _: RootWriter) -> BoxFuture<'_, Result<RunId, HookError>> {
        self.note("trigger");
        self.0.triggered.lock().unwrap().push(child);
        Box::pin(async {
            if let Some(may_trigger) = &self.0.may_trigger {
                may_trigger.acquire().await.expect("the test keeps it").forget();
            }
            self.note("triggered");
            Ok(RunId::new("run_child"))
        })
    }

    fn ended<'a>(&'a self, _: &'a RunId) -> BoxFuture<'a, Result<ChildEnd, HookError>> {
        Box::pin(async {
            self.note("wait");
            let end = self.0.end.lock().unwrap().clone();
            match end {
                Some(end) => Ok(end),
                None => futures::future::pending().await,
            }
        })
    }

    fn cancel<'a>(&'a self, run_id: &'a RunId) -> BoxFuture<'a, Result<(), HookError>> {
        self.note(&format!("cancel {run_id}"));
        Box::pin(async { Ok(()) })
    }
}

fn fetch() -> ChildTask {
    ChildTask::with_schema("fetch", json!({ "type": "object", "required": ["url"] }))
}

/// Answers one message; the model calls the tool once and then says what it got.
async fn ask(children: &Shared, agent: impl FnOnce(Agent) -> Agent, stop: bool) -> Arc<FakeSession> {
    let session = Arc::new(FakeSession::default());
    session.send(submit(UiMessage::user("u", "hi")));
    let model = FakeModel::new(|prompt| match prompt.step {
        0 => calls("c1", "fetchPage", json!({ "url": "x" })),
        _ => says("done"),
    });
    let tool = Tool::of_task("fetchPage", "", &fetch()).unwrap();
    let base = Agent::new("test", |turn: TurnInput| async move {
        Ok(turn.stream_text().context(json!({ "tenant": 7 })).stop_when(step_count_is(3)))
    })
    .tools([tool])
    .child_tasks(children.clone())
    .client_data(|_| Ok(json!("Ada")))
    .idle_timeout(Duration::ZERO);
    let lease = lease(&session, 1, json!({ "trigger": "submit-message" }));
    let serving = serve(&session, agent(base), model, lease);
    let stopping = async {
        if stop {
            while children.notes().is_empty() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            session.send(crate::testing::stop());
        }
    };
    let (served, ()) = futures::join!(serving, stopping);
    served.expect("the run ends well");
    session
}

#[test]
fn a_task_without_a_schema_is_no_tool_a246() {
    let task = ChildTask::without_schema("any");

    assert_eq!(tool_execute(&task).map(drop), Err(TaskSchemaError::Missing(TaskId::new("any"))));
    let refused = Tool::of_task("any", "", &task).unwrap_err();
    assert_eq!(refused.to_string(), "task `any` has no schema: a tool needs one");
    let task = ChildTask::with_schema("any", json!({ "$ref": "https://elsewhere/schema.json" }));
    let refused = Tool::of_task("any", "", &task).unwrap_err().to_string();
    assert!(refused.starts_with("task `any` has a bad schema: "), "{refused}");
}

#[tokio::test(start_paused = true)]
async fn a_call_runs_its_task_and_gives_its_output_a247_a248() {
    let children = Shared::ending(ChildEnd::Completed(json!({ "title": "X" })));

    let session = ask(
        &children,
        |agent| {
            agent.on_boot(|boot: crate::Boot| async move {
                boot.chat.local(&PROFILE).init(json!({ "name": "Ada" }));
                Ok(())
            })
        },
        false,
    )
    .await;

    let saved = session.state().snapshot.clone().unwrap();
    let part = saved.messages[1].tool_parts().next().unwrap().clone();
    assert_eq!(part.output, Some(json!({ "title": "X" })));
    assert_eq!(children.notes(), ["trigger", "triggered", "wait"]);
    let child = children.0.triggered.lock().unwrap()[0].clone();
    assert_eq!((child.task_id.as_str(), &child.payload), ("fetch", &json!({ "url": "x" })));
    assert_eq!(child.tags, ["toolCallId:c1"]);
    let options = json!({
        "toolCallId": "c1", "context": { "tenant": 7 }, "experimental_context": { "tenant": 7 },
        "chatId": "chat", "turn": 0, "continuation": false, "clientData": "Ada",
        "chatLocals": { "chat.local.profile": { "name": "Ada" } },
    });
    assert_eq!(Value::Object(child.metadata), json!({ "tool.execute.options": options }));
}

#[tokio::test(start_paused = true)]
async fn a_child_that_fails_or_is_cancelled_fails_its_call_a247() {
    for (end, want) in [
        (ChildEnd::Failed("no such page".to_owned()), "no such page"),
        (ChildEnd::Cancelled, "the child run was cancelled"),
    ] {
        let session = ask(&Shared::ending(end), |agent| agent, false).await;

        let saved = session.state().snapshot.clone().unwrap();
        let part = saved.messages[1].tool_parts().next().unwrap().clone();
        assert_eq!(part.error_text.as_deref(), Some(want));
        assert_eq!(session.saved_texts()[1], "done", "the model may try again");
    }
}

#[tokio::test(start_paused = true)]
async fn a_stop_cancels_the_child_a247() {
    let children = Shared(Arc::default());

    let session = ask(&children, |agent| agent, true).await;

    assert_eq!(children.notes(), ["trigger", "triggered", "wait", "cancel run_child"]);
    assert!(session.story().contains("abort(stopped) done(1)"), "{}", session.story());
}

#[tokio::test(start_paused = true)]
async fn a_child_that_is_being_triggered_at_the_stop_is_cancelled_right_after_a247() {
    let children = Shared(Arc::new(Children { may_trigger: Some(Semaphore::new(0)), ..Children::default() }));
    let gate = children.clone();
    let releasing = async move {
        // The stop has dropped the call by then.
        tokio::time::sleep(Duration::from_secs(1)).await;
        gate.0.may_trigger.as_ref().unwrap().add_permits(1);
    };

    let (session, ()) = futures::join!(ask(&children, |agent| agent, true), releasing);

    assert_eq!(children.notes(), ["trigger", "triggered", "cancel run_child"]);
    assert!(session.story().contains("abort(stopped) done(1)"), "{}", session.story());
}

#[tokio::test(start_paused = true)]
async fn a_call_stopped_before_it_began_cancels_its_child_at_once_a247() {
    let children = Shared::ending(ChildEnd::Completed(json!(1)));
    let ctx = tool_context();
    ctx.chat.locals().set(&CHILD_TASKS, Arc::new(children.clone()) as Arc<dyn ChildTasks>);
    ctx.stop_signal.set("enough");

    let end = tool_execute(&fetch()).unwrap()(json!({ "url": "x" }), ctx).await;

    assert_eq!(end.unwrap_err().to_string(), "the child run was cancelled");
    assert_eq!(children.notes(), ["trigger", "triggered", "cancel run_child"]);
}

#[tokio::test(start_paused = true)]
async fn what_a_task_does_not_take_never_reaches_it_a246() {
    let children = Shared::ending(ChildEnd::Completed(json!(1)));
    let ctx = tool_context();
    ctx.chat.locals().set(&CHILD_TASKS, Arc::new(children.clone()) as Arc<dyn ChildTasks>);

    let bad = tool_execute(&fetch()).unwrap()(json!({}), ctx).await.unwrap_err();
    let nobody = tool_execute(&fetch()).unwrap()(json!({ "url": "x" }), tool_context()).await.unwrap_err();

    assert_eq!(bad.to_string(), "invalid input for task `fetch`: input.url is missing");
    assert!(children.notes().is_empty());
    assert_eq!(nobody.to_string(), "there is nobody to run tasks: give the agent its `child_tasks`");
}

#[test]
fn outside_a_turn_a_child_is_only_told_its_chat_a248_a249() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let metadata = runtime.block_on(async { options(&tool_context()).into_metadata() });
    assert_eq!(
        Value::Object(metadata.clone()),
        json!({ "tool.execute.options": { "toolCallId": "call", "chatId": "chat" } })
    );

    let child = ChildContext::new(RunId::new("r"), TaskId::new("fetch"), metadata, Vec::new());

    let chat = child.chat_context_or_err().unwrap();
    assert_eq!(
        (chat.chat_id.as_str(), chat.turn, chat.continuation, chat.client_data),
        ("chat", 0, false, Value::Null)
    );
    assert_eq!(child.tool_call_id().as_deref(), Some("call"));
}

#[test]
fn a_run_that_no_tool_has_started_has_no_call_and_no_chat_a249() {
    let run = ChildContext::new(RunId::new("r"), TaskId::new("fetch"), JsonObject::new(), Vec::new());

    assert_eq!((run.tool_call_id(), run.current_tool_options(), run.chat_context()), (None, None, None));
    assert_eq!(run.chat_context_or_err(), Err(NoChatContext));
    let options = ToolCallOptions { tool_call_id: "c".to_owned(), ..ToolCallOptions::default() };
    let no_chat = ChildContext::new(RunId::new("r"), TaskId::new("fetch"), options.into_metadata(), Vec::new());
    assert_eq!((no_chat.tool_call_id().as_deref(), no_chat.chat_context()), (Some("c"), None));
}

#[test]
fn a_child_reads_the_parents_slots_a184_a248() {
    let parent = Locals::new();
    parent.chat(&PROFILE).init(json!({ "name": "Ada" }));
    let options = ToolCallOptions { chat_locals: Some(parent.to_child()), ..ToolCallOptions::default() };

    let child = ChildContext::new(RunId::new("r"), TaskId::new("t"), options.into_metadata(), Vec::new());

    assert_eq!(child.locals.chat(&PROFILE).get(), Ok(json!({ "name": "Ada" })));
}

//! [`InMemoryTasks`]: tasks that tools run as children, in the test's own process.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::future::BoxFuture;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use turnkeep_agent::protocol::{RunId, TaskId};
use turnkeep_agent::{ChildContext, ChildEnd, ChildRun, ChildTasks, HookError, RootWriter, Signal};

type Code = Arc<dyn Fn(Value, ChildContext) -> BoxFuture<'static, Result<Value, HookError>> + Send + Sync>;

/// Runs tasks by their code; clones share the runs.
///
/// A child runs while its tool waits for it, so nothing is left over when the test ends.
///
/// ```
/// use serde_json::{Value, json};
/// use turnkeep_agent::{Agent, ChildContext, ChildTask, Tool, TurnInput, step_count_is};
/// use turnkeep_harness::model::{MockLanguageModel, call, say};
/// use turnkeep_harness::{InMemoryTasks, MockChatAgent};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let tasks = InMemoryTasks::new().task("length", |text: String, _: ChildContext| async move { Ok(text.len()) });
/// let length = Tool::of_task("length", "Measures a text", &ChildTask::new::<String>("length")).unwrap();
/// let agent = Agent::new("meter", |turn: TurnInput| async move { Ok(turn.stream_text().stop_when(step_count_is(3))) })
///     .tools([length])
///     .child_tasks(tasks.clone());
/// let model = MockLanguageModel::new().step([call("length", json!("four"))]).step([say("It is four.")]);
/// let mut chat = MockChatAgent::start(agent, &model).await;
///
/// assert_eq!(chat.send("How long is four?").await.text(), "It is four.");
///
/// assert_eq!(tasks.runs()[0].end, Some(turnkeep_agent::ChildEnd::Completed(json!(4))));
/// chat.finish().await;
/// # }
/// ```
#[derive(Clone, Default)]
pub struct InMemoryTasks {
    code: BTreeMap<TaskId, Code>,
    runs: Arc<Mutex<Vec<Slot>>>,
}

/// One child run.
#[derive(Clone, Debug, PartialEq)]
pub struct InMemoryRun {
    /// Its id: `run_child_1`, `run_child_2`, …
    pub run_id: RunId,
    /// What was asked for.
    pub child: ChildRun,
    /// How it ended; none while it runs.
    pub end: Option<ChildEnd>,
}

struct Slot {
    run: InMemoryRun,
    /// Not the whole context, whose writer would keep the chat's run alive.
    cancel_signal: Signal,
    /// Taken by whoever waits for the run.
    work: Option<BoxFuture<'static, Result<Value, HookError>>>,
}

impl InMemoryTasks {
    /// Makes tasks that know no code yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the code of a task.
    #[must_use]
    pub fn task<I, O, F, Fut>(mut self, id: impl Into<String>, run: F) -> Self
    where
        I: DeserializeOwned,
        O: Serialize,
        F: Fn(I, ChildContext) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<O, HookError>> + Send + 'static,
    {
        let code: Code = Arc::new(move |payload, ctx| match serde_json::from_value(payload) {
            Ok(input) => {
                let output = run(input, ctx);
                Box::pin(async move { Ok(serde_json::to_value(output.await?)?) })
            }
            Err(error) => Box::pin(async move { Err(error.into()) }),
        });
        self.code.insert(TaskId::new(id), code);
        self
    }

    /// Lists the runs, in the order in which they were started.
    pub fn runs(&self) -> Vec<InMemoryRun> {
        self.slots().iter().map(|slot| slot.run.clone()).collect()
    }

    fn slots(&self) -> MutexGuard<'_, Vec<Slot>> {
        self.runs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn end(&self, run_id: &RunId, end: ChildEnd) -> ChildEnd {
        let mut slots = self.slots();
        let slot = slots.iter_mut().find(|slot| slot.run.run_id == *run_id);
        slot.map_or(end.clone(), |slot| slot.run.end.get_or_insert(end).clone())
    }
}

impl ChildTasks for InMemoryTasks {
    fn trigger(&self, child: ChildRun, root: RootWriter) -> BoxFuture<'_, Result<RunId, HookError>> {
        let Some(code) = self.code.get(&child.task_id).cloned() else {
            return Box::pin(async move { Err(format!("there is no task `{}`", child.task_id).into()) });
        };
        let mut slots = self.slots();
        let run_id = RunId::new(format!("run_child_{}", slots.len() + 1));
        let ctx = ChildContext::new(run_id.clone(), child.task_id.clone(), child.metadata.clone(), child.tags.clone())
            .with_root(root);
        let cancel_signal = ctx.cancel_signal.clone();
        let work = Some(code(child.payload.clone(), ctx));
        slots.push(Slot { run: InMemoryRun { run_id: run_id.clone(), child, end: None }, cancel_signal, work });
        Box::pin(async { Ok(run_id) })
    }

    fn ended<'a>(&'a self, run_id: &'a RunId) -> BoxFuture<'a, Result<ChildEnd, HookError>> {
        Box::pin(async move {
            let found = {
                let mut slots = self.slots();
                let slot = slots.iter_mut().find(|slot| slot.run.run_id == *run_id);
                slot.map(|slot| (slot.run.end.clone(), slot.work.take(), slot.cancel_signal.clone()))
            };
            let (end, work, cancelled) = found.ok_or_else(|| format!("there is no run `{run_id}`"))?;
            let Some(work) = work.filter(|_| end.is_none()) else {
                return end.ok_or_else(|| format!("somebody else waits for run `{run_id}`").into());
            };
            let end = tokio::select! {
                biased;
                _ = cancelled.wait() => ChildEnd::Cancelled,
                done = work => done.map_or_else(|error| ChildEnd::Failed(error.to_string()), ChildEnd::Completed),
            };
            Ok(self.end(run_id, end))
        })
    }

    fn cancel<'a>(&'a self, run_id: &'a RunId) -> BoxFuture<'a, Result<(), HookError>> {
        self.end(run_id, ChildEnd::Cancelled);
        if let Some(slot) = self.slots().iter_mut().find(|slot| slot.run.run_id == *run_id) {
            slot.cancel_signal.set("cancelled");
            slot.work = None;
        }
        Box::pin(async { Ok(()) })
    }
}

impl fmt::Debug for InMemoryTasks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.code.keys()).finish()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use turnkeep_agent::protocol::UiMessageChunk;
    use turnkeep_agent::{Agent, ChildTask, Tool, TurnInput, step_count_is};

    use super::*;
    use crate::MockChatAgent;
    use crate::model::{MockLanguageModel, call, say};

    fn nowhere() -> RootWriter {
        RootWriter::new(|_| async { Ok(()) })
    }

    fn child(task: &str, payload: Value) -> ChildRun {
        let metadata = turnkeep_agent::protocol::JsonObject::new();
        ChildRun { task_id: TaskId::new(task), payload, metadata, tags: Vec::new() }
    }

    #[tokio::test]
    async fn a_child_ends_as_its_code_does_a247() {
        let tasks = InMemoryTasks::new().task("half", |number: u32, _| async move {
            if number.is_multiple_of(2) { Ok(number / 2) } else { Err("odd".into()) }
        });
        let end = async |payload: Value| {
            let run_id = tasks.trigger(child("half", payload), nowhere()).await.unwrap();
            tasks.ended(&run_id).await.unwrap()
        };

        assert_eq!(end(json!(4)).await, ChildEnd::Completed(json!(2)));
        assert_eq!(end(json!(3)).await, ChildEnd::Failed("odd".to_owned()));
        assert!(matches!(end(json!("x")).await, ChildEnd::Failed(_)));
        assert_eq!(tasks.runs().len(), 3);
        let unknown = tasks.trigger(child("third", json!(1)), nowhere()).await.unwrap_err();
        assert_eq!(unknown.to_string(), "there is no task `third`");
    }

    #[tokio::test]
    async fn a_cancelled_child_is_over_for_everybody_a247() {
        let tasks = InMemoryTasks::new().task("wait", |(): (), ctx: ChildContext| async move {
            ctx.cancel_signal.wait().await;
            std::future::pending::<Result<(), HookError>>().await
        });
        let run_id = tasks.trigger(child("wait", Value::Null), nowhere()).await.unwrap();

        let (end, cancelled) = futures::join!(tasks.ended(&run_id), tasks.cancel(&run_id));

        assert_eq!((end.unwrap(), cancelled.is_ok()), (ChildEnd::Cancelled, true));
        assert_eq!(tasks.ended(&run_id).await.unwrap(), ChildEnd::Cancelled);
        assert_eq!(tasks.runs()[0].end, Some(ChildEnd::Cancelled));
    }
    #[tokio::test(start_paused = true)]
    async fn a_child_writes_to_its_chat_and_no_message_keeps_it_a220() {
        let tasks = InMemoryTasks::new().task("dig", |(): (), ctx: ChildContext| async move {
            let root = ctx.root.ok_or("no way to the chat")?;
            for depth in [1, 2] {
                root.write(UiMessageChunk::data("depth", None, json!(depth))).await?;
            }
            Ok("gold")
        });
        let dig = Tool::of_task("dig", "Digs", &ChildTask::with_schema("dig", json!({}))).unwrap();
        let (seen, kept) = (Arc::new(Mutex::new(None)), Arc::new(Mutex::new(Vec::new())));
        let keeping = (seen.clone(), kept.clone());
        let agent =
            Agent::new("digger", |turn: TurnInput| async move { Ok(turn.stream_text().stop_when(step_count_is(3))) })
                .tools([dig])
                .child_tasks(tasks)
                .on_turn_complete(move |event| {
                    *keeping.0.lock().unwrap() = event.response_message.clone();
                    *keeping.1.lock().unwrap() = event.ui_messages.to_vec();
                    async { Ok(()) }
                });
        let model = MockLanguageModel::new().step([call("dig", json!(null))]).step([say("Gold!")]);
        let mut chat = MockChatAgent::start(agent, &model).await;

        let turn = chat.send("Dig").await;

        let chunks = turn.chunks();
        let kinds: Vec<&str> = chunks.iter().map(UiMessageChunk::kind).collect();
        let first = kinds.iter().position(|kind| *kind == "data-depth").unwrap();
        assert_eq!(kinds[first..first + 3], ["data-depth", "data-depth", "tool-output-available"]);
        let message = seen.lock().unwrap().clone().unwrap();
        assert_eq!(message.text(), "Gold!");
        let stored = serde_json::to_string(&*kept.lock().unwrap()).unwrap();
        assert!(stored.contains("Gold!") && !stored.contains("data-depth"), "{stored}");
        chat.finish().await;
    }
}

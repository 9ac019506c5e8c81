//! One call of a task: triggered, waited for, cancelled with the answer it belongs to.

use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;
use serde_json::Value;
use tokio::sync::oneshot;

use super::{CHILD_TASKS, ChildEnd, ChildRun, ChildTask, ChildTasks, RootWriter, TaskSchemaError, options};
use crate::error::HookError;
use crate::signal::Signal;
use crate::tool::{INPUT, ToolContext};

/// Gives the code of a tool whose work is a task, for a tool that the author defines otherwise.
///
/// # Errors
///
/// Fails for a task without a schema, or with one that is none.
pub fn tool_execute(
    task: &ChildTask,
) -> Result<
    impl Fn(Value, ToolContext) -> BoxFuture<'static, Result<Value, HookError>> + Clone + Send + Sync + 'static,
    TaskSchemaError,
> {
    let schema = task.compiled()?;
    let task_id = task.id.clone();
    Ok(move |input: Value, ctx: ToolContext| {
        let checked =
            schema.check(&input, INPUT).map_err(|wrong| format!("invalid input for task `{task_id}`: {wrong}"));
        let tags = vec![format!("toolCallId:{}", ctx.tool_call_id)];
        let metadata = options(&ctx).into_metadata();
        let child = ChildRun { task_id: task_id.clone(), payload: input, metadata, tags };
        async move {
            checked?;
            let tasks = ctx.chat.locals().get(&CHILD_TASKS);
            let tasks = tasks.ok_or("there is nobody to run tasks: give the agent its `child_tasks`")?;
            let root = RootWriter::of_chat(ctx.writer);
            let (told, end) = oneshot::channel();
            // Beside the call, which a stop drops wherever it stands: a child that is being triggered then must still be cancelled.
            // The turn's end waits for it.
            ctx.chat.defer(async move {
                // Whoever no longer waits has been stopped.
                let _ = told.send(follow(tasks, child, root, ctx.stop_signal).await);
                Ok(())
            });
            match end.await.map_err(|_| "the run is over")?? {
                ChildEnd::Completed(output) => Ok(output),
                ChildEnd::Failed(why) => Err(why.into()),
                ChildEnd::Cancelled => Err("the child run was cancelled".into()),
            }
        }
        .boxed()
    })
}

/// Follows a child from its first moment to its end, or to the stop of the answer that wants it.
async fn follow(
    tasks: Arc<Arc<dyn ChildTasks>>,
    child: ChildRun,
    root: RootWriter,
    stop: Signal,
) -> Result<ChildEnd, HookError> {
    let run_id = tasks.trigger(child, root).await?;
    tokio::select! {
        biased;
        _ = stop.wait() => {
            tasks.cancel(&run_id).await?;
            Ok(ChildEnd::Cancelled)
        }
        end = tasks.ended(&run_id) => end,
    }
}

//! How a tool runs: every run is a stream of outputs of which the last one counts.

use std::sync::Arc;

use futures::stream::BoxStream;
use futures::{Stream, StreamExt, stream};
use serde_json::Value;

use super::ToolContext;
use crate::error::HookError;

/// Runs one call; an error is its last item.
pub(crate) type Execute =
    Arc<dyn Fn(Value, ToolContext) -> BoxStream<'static, Result<ToolOutput, HookError>> + Send + Sync>;

/// What a running tool gives.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum ToolOutput {
    /// How far it is.
    Preliminary(Value),
    /// What the model gets to read; nothing follows.
    Final(Value),
}

/// Makes an executor of a function that gives one output.
pub(super) fn once<F, Fut>(execute: F) -> Execute
where
    F: Fn(Value, ToolContext) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<Value, HookError>> + Send + 'static,
{
    let execute = Arc::new(execute);
    Arc::new(move |input, ctx| {
        let execute = execute.clone();
        // Called inside the future: a tool that panics before its first await must not take the others' start with it.
        Box::pin(stream::once(async move { execute(input, ctx).await.map(ToolOutput::Final) }))
    })
}

/// Makes an executor of a function that gives a stream: every item is preliminary, and the last one is final once more.
pub(super) fn streaming<F, S>(execute: F) -> Execute
where
    F: Fn(Value, ToolContext) -> S + Send + Sync + 'static,
    S: Stream<Item = Result<Value, HookError>> + Send + Unpin + 'static,
{
    let execute = Arc::new(execute);
    Arc::new(move |input, ctx| {
        let execute = execute.clone();
        Box::pin(stream::once(async move { run(execute(input, ctx)) }).flatten())
    })
}

fn run<S>(outputs: S) -> impl Stream<Item = Result<ToolOutput, HookError>> + Send
where
    S: Stream<Item = Result<Value, HookError>> + Send + Unpin,
{
    // A tool that gives nothing has done what it was asked for, and says so with null.
    stream::unfold(Some((outputs, Value::Null)), |state| async {
        let (mut outputs, last) = state?;
        match outputs.next().await {
            Some(Ok(output)) => Some((Ok(ToolOutput::Preliminary(output.clone())), Some((outputs, output)))),
            Some(Err(error)) => Some((Err(error), None)),
            None => Some((Ok(ToolOutput::Final(last)), None)),
        }
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    async fn told(items: Vec<Result<Value, HookError>>) -> Vec<Result<ToolOutput, String>> {
        run(stream::iter(items)).map(|item| item.map_err(|error| error.to_string())).collect().await
    }

    #[tokio::test]
    async fn each_item_is_preliminary_and_the_last_one_is_final_a116_a219() {
        let (half, whole) = (json!({ "percent": 50 }), json!({ "percent": 100 }));

        let outputs = told(vec![Ok(half.clone()), Ok(whole.clone())]).await;

        let preliminary = |value| Ok(ToolOutput::Preliminary(value));
        assert_eq!(outputs, [preliminary(half), preliminary(whole.clone()), Ok(ToolOutput::Final(whole))]);
        assert_eq!(told(vec![]).await, [Ok(ToolOutput::Final(Value::Null))]);
    }

    #[tokio::test]
    async fn an_error_is_the_last_word_of_a_streaming_tool_a219() {
        let outputs = told(vec![Ok(json!(1)), Err("broken".into()), Ok(json!(2))]).await;

        assert_eq!(outputs, [Ok(ToolOutput::Preliminary(json!(1))), Err("broken".to_owned())]);
    }
}

//! [`ChildInputs`]: the input streams of a child task, played by the test.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use futures::stream::{self, BoxStream};
use futures::{FutureExt, StreamExt};
use serde_json::Value;

use crate::watched::Watched;

/// How much may wait in one stream for a task that does not read.
pub const MAX_QUEUED_INPUTS: usize = 10_000;

/// The input streams of a child task, each with an id of the author's; clones share them.
///
/// The runtime has no input streams of its own: a task's code takes a `Stream`, and this gives one.
#[derive(Clone, Debug, Default)]
pub struct ChildInputs {
    queues: Arc<Watched<BTreeMap<String, Queue>>>,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: VecDeque<Value>,
    is_closed: bool,
}

impl ChildInputs {
    /// Sends to a stream; it waits there until the task reads.
    ///
    /// # Panics
    ///
    /// When the stream is closed, or [`MAX_QUEUED_INPUTS`] wait in it.
    pub fn send(&self, id: &str, input: impl Into<Value>) {
        self.queues.change(|queues| {
            let queue = queues.entry(id.to_owned()).or_default();
            assert!(!queue.is_closed, "input stream `{id}` is closed");
            assert!(queue.waiting.len() < MAX_QUEUED_INPUTS, "{MAX_QUEUED_INPUTS} inputs wait in stream `{id}`");
            queue.waiting.push_back(input.into());
        });
    }

    /// Closes a stream: it ends behind what was sent.
    pub fn close(&self, id: &str) {
        self.queues.change(|queues| queues.entry(id.to_owned()).or_default().is_closed = true);
    }

    /// Waits for the next input of a stream; none when it is closed. Of several readers each input reaches one.
    pub async fn next(&self, id: &str) -> Option<Value> {
        let next = |queues: &mut BTreeMap<String, Queue>| {
            let queue = queues.get_mut(id)?;
            let input = queue.waiting.pop_front();
            (input.is_some() || queue.is_closed).then_some(input)
        };
        self.queues.take(next).await
    }

    /// Gives a stream to the task.
    pub fn stream(&self, id: &str) -> BoxStream<'static, Value> {
        let state = (self.clone(), id.to_owned());
        let inputs = stream::unfold(state, |(inputs, id)| {
            async move { inputs.next(&id).await.map(|input| (input, (inputs.clone(), id))) }.boxed()
        });
        inputs.boxed()
    }
}

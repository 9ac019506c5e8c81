//! Chunks from elsewhere on their way to `out`: each is passed on, named and captured.

use futures::StreamExt;
use futures::stream::BoxStream;
use turnkeep_model::FinishReason;
use turnkeep_protocol::chunk::Start;
use turnkeep_protocol::{MessageReducer, UiMessage, UiMessageChunk};

use crate::chain::is_empty;
use crate::chat::ChunkWriter;
use crate::error::{Error, HookError};
use crate::generation::{Ended, Generated};
use crate::signal::Signal;

/// Passes chunks on as `response` until they end, one of them is an error, or `stop` is set.
pub(super) async fn forward(
    mut chunks: BoxStream<'static, Result<UiMessageChunk, HookError>>,
    writer: &ChunkWriter,
    stop: &Signal,
    response: UiMessage,
) -> (Generated, Option<HookError>) {
    let naming = Naming { id: response.id.clone(), is_started: false };
    let reducer = MessageReducer::resume(response);
    let mut forwarding = Forwarding { writer, naming, reducer, is_closed: false, ended: Ended::Whole };
    let failure = loop {
        let next = tokio::select! {
            biased;
            reason = stop.wait() => {
                forwarding.ended = Ended::Stopped;
                break forwarding.abort(reason).await.err().map(HookError::from);
            }
            next = chunks.next() => next,
        };
        match next {
            None => break None,
            Some(Err(error)) => break Some(error),
            Some(Ok(chunk)) => {
                if let Err(error) = forwarding.take(chunk).await {
                    break Some(error.into());
                }
            }
        }
    };
    let finish_reason = forwarding.reducer.finish_reason().map(FinishReason::from_word);
    // A message that no reader has heard of, and that holds nothing, is none.
    let is_begun = forwarding.naming.is_started;
    let (message, ended) = (Some(forwarding.reducer.into_message()), forwarding.ended);
    let message = message.filter(|message| is_begun || !is_empty(message));
    (Generated { message, ended, finish_reason, ..Generated::default() }, failure)
}

struct Forwarding<'w> {
    writer: &'w ChunkWriter,
    naming: Naming,
    reducer: MessageReducer,
    /// Whether the newest chunk has closed the message.
    is_closed: bool,
    ended: Ended,
}

impl Forwarding<'_> {
    async fn take(&mut self, chunk: UiMessageChunk) -> Result<(), Error> {
        if let UiMessageChunk::Error(error) = &chunk {
            self.ended = Ended::Failed(error.error_text.clone().into());
        }
        for chunk in self.naming.name(chunk) {
            self.pass(chunk).await?;
        }
        Ok(())
    }

    /// Closes the message, unless it is closed already.
    async fn abort(&mut self, reason: String) -> Result<(), Error> {
        if self.is_closed {
            return Ok(());
        }
        self.pass(UiMessageChunk::abort(reason)).await
    }

    async fn pass(&mut self, chunk: UiMessageChunk) -> Result<(), Error> {
        self.writer.stream(&chunk).await?;
        self.is_closed = chunk.is_terminal();
        // A chunk that does not follow is on the wire as its source said it; readers skip it as we do.
        let _ = self.reducer.apply(&chunk);
        Ok(())
    }
}

/// Gives a message the runtime's id: readers must not make one up, nor find one that another message has.
struct Naming {
    id: String,
    is_started: bool,
}

impl Naming {
    fn name(&mut self, chunk: UiMessageChunk) -> Vec<UiMessageChunk> {
        match chunk {
            UiMessageChunk::Start(start) => {
                self.is_started = true;
                vec![Start { message_id: Some(self.id.clone()), ..start }.into()]
            }
            content if !self.is_started && opens_message(&content) => {
                self.is_started = true;
                vec![UiMessageChunk::start(self.id.clone()), content]
            }
            other => vec![other],
        }
    }
}

/// Tells whether a reader who sees this chunk first would begin a message for it. Data may stand before a message, and ends and
/// failures need none.
fn opens_message(chunk: &UiMessageChunk) -> bool {
    !matches!(
        chunk,
        UiMessageChunk::Data(_)
            | UiMessageChunk::Unknown(_)
            | UiMessageChunk::Error(_)
            | UiMessageChunk::Abort(_)
            | UiMessageChunk::Finish(_)
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(chunks: Vec<UiMessageChunk>, want: &[UiMessageChunk]) {
        let mut naming = Naming { id: "ours".to_owned(), is_started: false };

        let named: Vec<_> = chunks.into_iter().flat_map(|chunk| naming.name(chunk)).collect();

        assert_eq!(named, want);
    }

    #[test]
    fn a_message_has_the_runtimes_id_whatever_its_source_says_a123_a208() {
        let (ours, text) = (UiMessageChunk::start("ours"), UiMessageChunk::text_start("t"));
        let data = UiMessageChunk::data("plan", None, json!(1));
        let error = UiMessageChunk::error("no");

        check(vec![UiMessageChunk::start("theirs"), text.clone()], &[ours.clone(), text.clone()]);
        check(vec![Start::default().into(), text.clone()], &[ours.clone(), text.clone()]);
        // One pipe is one message, however often it is begun.
        check(vec![UiMessageChunk::start("a"), UiMessageChunk::start("b")], &[ours.clone(), ours.clone()]);
        check(vec![text.clone(), text.clone()], &[ours.clone(), text.clone(), text.clone()]);
        check(vec![data.clone(), text.clone()], &[data.clone(), ours, text]);
        check(vec![data.clone(), error.clone()], &[data, error]);
    }

    #[test]
    fn what_start_says_beside_the_id_is_kept_a208() {
        let start = |id: &str| {
            let message_metadata = Some(json!({ "m": 1 }));
            UiMessageChunk::from(Start { message_id: Some(id.to_owned()), message_metadata, ..Start::default() })
        };

        check(vec![start("theirs")], &[start("ours")]);
    }
}

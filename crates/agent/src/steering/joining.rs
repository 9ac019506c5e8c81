//! How messages join an answer, whatever prepares its steps: the author is asked, readers are told.

use turnkeep_protocol::{ModelMessage, UiMessage, UiMessageChunk};

use super::{PendingMessages, injected_chunk};
use crate::chat::ChunkWriter;
use crate::error::{Error, HookError, OutOfMemory};
use crate::event::{PendingMessagesBatch, PendingMessagesInjected};

/// What the author wants of a batch.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Verdict {
    /// It waits on.
    WaitsOn,
    /// It joins the answer in its own words.
    Joins,
    /// It joins the answer, and the model reads these, of which there is one at least.
    JoinsAs(Vec<ModelMessage>),
}

impl PendingMessages {
    /// Asks the author about a batch that waits.
    pub(crate) async fn judge(&self, event: PendingMessagesBatch) -> Result<Verdict, HookError> {
        let Some(should_inject) = &self.should_inject else {
            return Ok(Verdict::WaitsOn);
        };
        if !should_inject(event.clone()).await? {
            return Ok(Verdict::WaitsOn);
        }
        let Some(prepare) = &self.prepare else {
            return Ok(Verdict::Joins);
        };
        let prepared = prepare(event).await?;
        Ok(if prepared.is_empty() { Verdict::WaitsOn } else { Verdict::JoinsAs(prepared) })
    }

    /// Tells the author what has joined. Its failure is ignored unless no default can cure it: memory ran out, or the lease is gone.
    pub(crate) async fn tell_author(&self, event: PendingMessagesInjected) -> Result<(), HookError> {
        let Some(hook) = &self.on_injected else {
            return Ok(());
        };
        match hook(event).await {
            Err(error) if error.is::<OutOfMemory>() || error.is::<Error>() => Err(error),
            _ => Ok(()),
        }
    }
}

/// Tells readers where messages came in; gives what they were told.
pub(crate) async fn tell_injected(
    writer: &ChunkWriter,
    id: &str,
    injected: &[UiMessage],
) -> Result<UiMessageChunk, Error> {
    let whole = injected_chunk(id, injected, UiMessage::text);
    match writer.stream(&whole).await {
        // The ids must be on record: a boot that does not find them would answer the messages again.
        Err(Error::ChunkTooLarge(_)) => {
            let ids_only = injected_chunk(id, injected, |_| String::new());
            writer.stream(&ids_only).await.map(|()| ids_only)
        }
        told => told.map(|()| whole),
    }
}

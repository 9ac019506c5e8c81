//! [`RootWriter`]: how a child task writes to the chat that it works for.

use std::fmt;
use std::pin::pin;
use std::sync::Arc;

use futures::future::BoxFuture;
use futures::{Stream, StreamExt};
use turnkeep_protocol::UiMessageChunk;

use crate::chat::ChunkWriter;
use crate::error::HookError;

type Write = Arc<dyn Fn(UiMessageChunk) -> BoxFuture<'static, Result<(), HookError>> + Send + Sync>;

/// Writes to `out` of the chat that a child run works for (the stream target `root`); cheap to clone.
///
/// Pages see these chunks where they come; no stored message keeps them, whatever they are. Whoever runs a task elsewhere
/// carries its chunks from there to here, and lets go of the writer when the child has ended: it keeps the way to `out` open.
#[derive(Clone)]
pub struct RootWriter(Write);

impl RootWriter {
    /// Makes a writer of `write`: the way from a process far from the chat, or a test's own.
    pub fn new<Fut>(write: impl Fn(UiMessageChunk) -> Fut + Send + Sync + 'static) -> Self
    where
        Fut: Future<Output = Result<(), HookError>> + Send + 'static,
    {
        Self(Arc::new(move |chunk| Box::pin(write(chunk))))
    }

    pub(crate) fn of_chat(writer: ChunkWriter) -> Self {
        Self::new(move |chunk| {
            let writer = writer.clone();
            async move { Ok(writer.stream(&chunk).await?) }
        })
    }

    /// Writes a chunk; what was written before it stands before it.
    ///
    /// # Errors
    ///
    /// The chunk does not fit a record, or the chat's run is over.
    pub async fn write(&self, chunk: UiMessageChunk) -> Result<(), HookError> {
        (self.0)(chunk).await
    }

    /// Writes chunks until they end.
    ///
    /// # Errors
    ///
    /// As [`RootWriter::write`]; what is left of the stream is dropped.
    pub async fn merge(&self, chunks: impl Stream<Item = UiMessageChunk> + Send) -> Result<(), HookError> {
        let mut chunks = pin!(chunks);
        while let Some(chunk) = chunks.next().await {
            self.write(chunk).await?;
        }
        Ok(())
    }
}

impl fmt::Debug for RootWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RootWriter")
    }
}

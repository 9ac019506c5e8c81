//! [`ChildOutputs`]: what a child task has written, by the id of the stream.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use turnkeep_agent::RootWriter;
use turnkeep_protocol::UiMessageChunk;

type Listener = Arc<dyn Fn(&str, &UiMessageChunk) + Send + Sync>;

/// What a child task has written; clones share it.
///
/// Under `root` is what it wrote for its chat; other streams are those that the test gives it writers of.
#[derive(Clone, Default)]
pub struct ChildOutputs {
    shared: Arc<Mutex<Written>>,
}

#[derive(Default)]
struct Written {
    chunks: Vec<(String, UiMessageChunk)>,
    listeners: Vec<Listener>,
}

impl ChildOutputs {
    /// Gives the chunks of one stream, in the order in which they were written.
    pub fn chunks(&self, id: &str) -> Vec<UiMessageChunk> {
        self.written().chunks.iter().filter(|(of, _)| of == id).map(|(_, chunk)| chunk.clone()).collect()
    }

    /// Gives every chunk with the id of its stream, in the order in which they were written.
    pub fn all(&self) -> Vec<(String, UiMessageChunk)> {
        self.written().chunks.clone()
    }

    /// Forgets what was written; those who listen go on.
    pub fn clear(&self) {
        self.written().chunks.clear();
    }

    /// Tells `heard` of every chunk from now on, with the id of its stream.
    pub fn on_write(&self, heard: impl Fn(&str, &UiMessageChunk) + Send + Sync + 'static) {
        self.written().listeners.push(Arc::new(heard));
    }

    /// Gives a writer to a stream, for code that takes one.
    pub fn writer(&self, id: impl Into<String>) -> RootWriter {
        let (outputs, id) = (self.clone(), id.into());
        RootWriter::new(move |chunk| {
            outputs.add(&id, chunk);
            std::future::ready(Ok(()))
        })
    }

    fn add(&self, id: &str, chunk: UiMessageChunk) {
        let listeners = {
            let mut written = self.written();
            written.chunks.push((id.to_owned(), chunk.clone()));
            written.listeners.clone()
        };
        // Outside the lock: who listens may read.
        listeners.iter().for_each(|heard| heard(id, &chunk));
    }

    fn written(&self) -> MutexGuard<'_, Written> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for ChildOutputs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&self.written().chunks).finish()
    }
}

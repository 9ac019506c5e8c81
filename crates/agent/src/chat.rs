//! [`Chat`]: what an author's code may do with the conversation it serves; [`ChunkWriter`]: how it adds to the stream.

use std::fmt;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::Duration;

use futures::{Stream, StreamExt};
use serde_json::Value;
use turnkeep_host::Host;
use turnkeep_protocol::chunk::DataChunk;
use turnkeep_protocol::message::DataPart;
use turnkeep_protocol::{ModelMessage, UiMessageChunk, UiPart};

use crate::deferred::Deferred;
use crate::error::{Error, HookError};
use crate::history::ChatHistory;
use crate::inject::{InjectQueue, InjectQueueFull};
use crate::locals::{ChatLocal, Local, Locals};
use crate::metadata::Metadata;
use crate::out::OutWriter;
use crate::pipe::Pipes;
use crate::prompt::ChatPrompt;
use crate::skills::ChatSkills;
use crate::store::ChatStore;

/// The running chat; cheap to clone.
#[derive(Clone)]
pub struct Chat {
    shared: Arc<Shared>,
}

struct Shared {
    id: String,
    host: Host,
    history: ChatHistory,
    injected: InjectQueue,
    prompt: ChatPrompt,
    skills: ChatSkills,
    locals: Locals,
    store: ChatStore,
    writer: ChunkWriter,
    pipes: Pipes,
    /// Whether the run ends behind its turn.
    ends_after_turn: AtomicBool,
    metadata: Arc<Metadata>,
    /// The turn or action under way, or the last one.
    turn: Mutex<Option<TurnContext>>,
    /// Hears of what an author should know; none for code that runs without turns.
    warn: OnceLock<Warning>,
    deferred: Weak<Deferred>,
}

/// Takes a warning to the author.
pub(crate) type Warning = Box<dyn Fn(String) + Send + Sync>;

/// The turn that a chat is in.
#[derive(Clone, Debug)]
pub(crate) struct TurnContext {
    pub(crate) number: usize,
    pub(crate) continuation: bool,
    pub(crate) client_data: Value,
}

impl Chat {
    pub(crate) fn new(
        id: String,
        host: Host,
        writer: ChunkWriter,
        locals: Locals,
        metadata: Arc<Metadata>,
        deferred: Weak<Deferred>,
    ) -> Self {
        let (history, injected) = (ChatHistory::default(), InjectQueue::default());
        let (prompt, skills, store) =
            (ChatPrompt::default(), ChatSkills::default(), ChatStore::new(writer.out.clone()));
        let pipes = Pipes::default();
        Self {
            shared: Arc::new(Shared {
                id,
                host,
                history,
                injected,
                prompt,
                skills,
                locals,
                store,
                writer,
                pipes,
                ends_after_turn: AtomicBool::new(false),
                metadata,
                turn: Mutex::default(),
                warn: OnceLock::new(),
                deferred,
            }),
        }
    }

    /// Gives the author's own id of the chat.
    pub fn id(&self) -> &str {
        &self.shared.id
    }

    /// Reads and rewrites the history.
    pub fn history(&self) -> &ChatHistory {
        &self.shared.history
    }

    /// Gives the machine that the run is on, whose clock, files and programs an author's code should use.
    pub fn host(&self) -> &Host {
        &self.shared.host
    }

    /// Reads and sets the system prompt.
    pub fn prompt(&self) -> &ChatPrompt {
        &self.shared.prompt
    }

    /// Reads and sets the skills.
    pub fn skills(&self) -> &ChatSkills {
        &self.shared.skills
    }

    /// Gives the run's typed slots.
    pub fn locals(&self) -> &Locals {
        &self.shared.locals
    }

    /// Opens a slot of the run's own data.
    pub fn local<'a, T>(&'a self, key: &'a ChatLocal<T>) -> Local<'a, T> {
        self.shared.locals.chat(key)
    }

    /// Reads and changes the value that the agent shares with the chat's clients.
    pub fn store(&self) -> &ChatStore {
        &self.shared.store
    }

    /// Gives a writer to `out`, such as hooks with a writer get; what is written with it in boot hooks belongs to the next answer
    ///
    pub fn writer(&self) -> ChunkWriter {
        self.shared.writer.clone()
    }

    pub(crate) fn pipes(&self) -> &Pipes {
        &self.shared.pipes
    }

    /// Runs `work` beside the turn; the turn's end, a suspend and the run's end wait for it, at most 5 s.
    ///
    /// Its failure never fails the turn. Past 1024 pieces under way, `work` waits for its place. Before the first turn of a run there
    /// is no turn that it belongs to: it runs all the same, and the run warns.
    pub fn defer(&self, work: impl Future<Output = Result<(), HookError>> + Send + 'static) {
        if self.turn_context().is_none() {
            self.warn("work was deferred before the first turn: it runs, but belongs to no turn".to_owned());
        }
        // Gone with the run: then nothing is started any more.
        if let Some(deferred) = self.shared.deferred.upgrade() {
            deferred.add(&self.shared.host, work);
        }
    }

    /// Tells the model something that no person sees, from its next step or turn on.
    ///
    /// The messages keep their place in what the model reads for as long as the run lives; the chat's history never has them.
    ///
    /// # Errors
    ///
    /// Fails, and takes none, when more than [`MAX_INJECTED`](crate::MAX_INJECTED) would wait.
    pub fn inject(&self, messages: impl IntoIterator<Item = ModelMessage>) -> Result<(), InjectQueueFull> {
        self.shared.injected.add(messages.into_iter().collect())
    }

    /// Takes what waits to be told to the model.
    pub(crate) fn take_injected(&self) -> Vec<ModelMessage> {
        self.shared.injected.take()
    }

    /// Ends the run after the current turn and whatever is queued.
    pub fn end_run(&self) {
        self.shared.ends_after_turn.store(true, Ordering::SeqCst);
    }

    /// Sets how long the run stays warm between turns, whatever the agent's options say.
    ///
    /// Kept in the run's metadata as `chat.idleTimeout`: once this returns, later attempts of the run have it too. A continuation is a
    /// run of its own and starts from the agent's options.
    ///
    /// # Errors
    ///
    /// Fails when the server cannot note it; the time before holds then.
    pub async fn set_idle_timeout_in_seconds(&self, seconds: u64) -> Result<(), Error> {
        self.shared.metadata.set_idle_timeout(seconds).await
    }

    /// Sets how long the run sleeps before it ends, in whole seconds, and at least one; else as
    /// [`Chat::set_idle_timeout_in_seconds`], as `chat.turnTimeout`.
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn set_turn_timeout(&self, timeout: Duration) -> Result<(), Error> {
        self.set_turn_timeout_in_seconds(timeout.as_secs().max(1)).await
    }

    /// Sets how long the run sleeps before it ends; see [`Chat::set_turn_timeout`].
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn set_turn_timeout_in_seconds(&self, seconds: u64) -> Result<(), Error> {
        self.shared.metadata.set_turn_timeout(seconds).await
    }

    pub(crate) fn ends_after_turn(&self) -> bool {
        self.shared.ends_after_turn.load(Ordering::SeqCst)
    }

    pub(crate) fn idle_timeout(&self) -> Option<Duration> {
        self.shared.metadata.idle_timeout()
    }

    pub(crate) fn turn_timeout(&self) -> Option<Duration> {
        self.shared.metadata.turn_timeout()
    }

    /// Has the author warned of what goes on in the run and its turns.
    pub(crate) fn has_turns(&self, warn: Warning) {
        let _ = self.shared.warn.set(warn);
    }

    /// Tells the author; in code that runs without turns, nobody.
    pub(crate) fn warn(&self, text: String) {
        if let Some(warn) = self.shared.warn.get() {
            warn(text);
        }
    }

    /// Notes the turn that begins.
    pub(crate) fn enter_turn(&self, turn: TurnContext) {
        *self.shared.turn.lock().unwrap_or_else(PoisonError::into_inner) = Some(turn);
    }

    /// Gives the turn; none for code that runs without turns.
    pub(crate) fn turn_context(&self) -> Option<TurnContext> {
        self.shared.turn.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until all deferred work is done, at most five seconds; work that takes longer goes on.
    pub(crate) async fn settle_deferred(&self) {
        if let Some(deferred) = self.shared.deferred.upgrade() {
            deferred.settle().await;
        }
    }
}

impl fmt::Debug for Chat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Chat").field(&self.shared.id).finish()
    }
}

/// Data parts that were written beside the model's stream and belong to the response.
#[derive(Clone, Default)]
pub(crate) struct QueuedParts(Arc<Mutex<Vec<DataPart>>>);

impl QueuedParts {
    fn push(&self, chunk: &DataChunk) {
        let part = DataPart {
            kind: chunk.kind.clone(),
            id: chunk.id.clone(),
            data: chunk.data.clone(),
            extra: chunk.extra.clone(),
        };
        let mut parts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Equal kind and id replace instead of piling up.
        match parts.iter_mut().find(|known| part.id.is_some() && known.kind == part.kind && known.id == part.id) {
            Some(known) => *known = part,
            None => parts.push(part),
        }
    }

    /// Tells whether nothing is queued.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    /// Takes what is queued.
    pub(crate) fn take(&self) -> Vec<UiPart> {
        let mut parts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *parts).into_iter().map(UiPart::Data).collect()
    }
}

/// Writes chunks to `out`, in order with everything else the run writes; cheap to clone.
#[derive(Clone)]
pub struct ChunkWriter {
    out: OutWriter,
    queued: QueuedParts,
}

impl ChunkWriter {
    pub(crate) fn new(out: OutWriter, queued: QueuedParts) -> Self {
        Self { out, queued }
    }

    /// Writes a chunk; a `data-*` chunk that is not transient also becomes a part of the answer.
    ///
    /// # Errors
    ///
    /// [`Error::ChunkTooLarge`] when the chunk does not fit a record; other errors end the run.
    pub async fn write(&self, chunk: UiMessageChunk) -> Result<(), Error> {
        self.stream(&chunk).await?;
        if let UiMessageChunk::Data(data) = &chunk
            && data.transient != Some(true)
        {
            self.queued.push(data);
        }
        Ok(())
    }

    /// Writes a chunk that no stored message keeps.
    ///
    /// # Errors
    ///
    /// As [`ChunkWriter::write`].
    pub async fn stream(&self, chunk: &UiMessageChunk) -> Result<(), Error> {
        self.out.chunk(chunk).await
    }

    /// Writes chunks until they end; no stored message keeps them. Streams that are merged at the same time interleave.
    ///
    /// # Errors
    ///
    /// As [`ChunkWriter::write`]; what is left of the stream is dropped.
    pub async fn merge(&self, chunks: impl Stream<Item = UiMessageChunk> + Send) -> Result<(), Error> {
        let mut chunks = pin!(chunks);
        while let Some(chunk) = chunks.next().await {
            self.stream(&chunk).await?;
        }
        Ok(())
    }

    /// Waits until what was written is durable: a hook's chunks precede what the next step writes.
    pub(crate) async fn flush(&self) -> Result<(), Error> {
        self.out.flush().await
    }
}

impl fmt::Debug for ChunkWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ChunkWriter")
    }
}

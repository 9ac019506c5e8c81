//! [`OutBranch`]: the first step's chunks on their way to `out`, about five batches a second (C-188).
//!
//! The browser is served first and never waits for `out`; a write that fails spoils the branch and not the turn (C-191).

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use turnkeep_client::SessionsApi;
use turnkeep_host::{Draws, Host, Task};
use turnkeep_protocol::{NewRecord, PartId, UiMessageChunk, control};

use crate::batch::Batch;
use crate::seam::Written;

/// How long records collect before they are written.
const BATCH_TIME: Duration = Duration::from_millis(200);

/// How many records wait while a batch is under way; more than a model says in the time that a write may take.
const MAX_QUEUED_RECORDS: usize = 16 * 1024;

/// The length of a part id, its time included (S-176).
const PART_ID_CHARACTERS: usize = 21;

/// The length of a data record's own id.
const RECORD_ID_CHARACTERS: usize = 7;

/// Writes one first step to `out`.
#[derive(Debug)]
pub(crate) struct OutBranch {
    queue: mpsc::Sender<Item>,
    ids: Draws,
    _writer: Task,
}

enum Item {
    Record(NewRecord),
    /// Nothing is written after it: whoever asks hands over next, and that ordering is the only fence (C-188, AR-33).
    Flush(oneshot::Sender<Written>),
    /// The queue was full once: what follows would have a hole before it.
    Lost,
}

/// Makes part ids that no other process makes.
#[derive(Debug)]
pub(crate) struct PartIds {
    pub(crate) host: Host,
    pub(crate) draws: Draws,
}

impl PartIds {
    pub(crate) fn next(&self) -> PartId {
        let stamp = format!("{:x}-", self.host.clock().now().as_millis());
        let n_drawn = PART_ID_CHARACTERS.saturating_sub(stamp.len());
        PartId::new(stamp + &self.draws.alphanumeric(n_drawn))
    }
}

impl OutBranch {
    /// Starts the writer; it ends with the branch.
    pub(crate) fn start(host: &Host, sessions: Arc<SessionsApi>, chat_id: &str, part_ids: PartIds, ids: Draws) -> Self {
        let (queue, items) = mpsc::channel(MAX_QUEUED_RECORDS);
        let writer = Writer {
            sessions,
            chat_id: chat_id.to_owned(),
            part_ids,
            batch: Batch::default(),
            written: Written::default(),
        };
        Self { queue, ids, _writer: host.spawn(writer.run(items)) }
    }

    /// Queues a chunk, without waiting.
    pub(crate) async fn chunk(&self, chunk: &UiMessageChunk) {
        let id = PartId::new(self.ids.alphanumeric(RECORD_ID_CHARACTERS));
        self.record(NewRecord::data(chunk, &id)).await;
    }

    /// Queues the boundary of a turn that ends here: nobody takes the step over.
    pub(crate) async fn boundary(&self) {
        self.record(NewRecord::control(control::TURN_COMPLETE, [])).await;
    }

    async fn record(&self, record: NewRecord) {
        if let Err(mpsc::error::TrySendError::Full(_)) = self.queue.try_send(Item::Record(record)) {
            // The writer takes it once it gets round to it; the chunks behind it are then written no more.
            let _ended = self.queue.send(Item::Lost).await;
        }
    }

    /// Waits until everything queued so far is stored, and ends the branch: what comes later is not written.
    pub(crate) async fn flush(&self) -> Written {
        let (done, answer) = oneshot::channel();
        if self.queue.send(Item::Flush(done)).await.is_err() {
            return Written::Unknown;
        }
        answer.await.unwrap_or(Written::Unknown)
    }
}

struct Writer {
    sessions: Arc<SessionsApi>,
    chat_id: String,
    part_ids: PartIds,
    batch: Batch,
    written: Written,
}

impl Writer {
    async fn run(mut self, mut items: mpsc::Receiver<Item>) {
        let mut due = Instant::now();
        loop {
            let item = if self.batch.is_empty() {
                let item = items.recv().await;
                due = Instant::now() + BATCH_TIME;
                item
            } else {
                match tokio::time::timeout_at(due, items.recv()).await {
                    Ok(item) => item,
                    Err(_) => {
                        self.write().await;
                        continue;
                    }
                }
            };
            match item {
                Some(Item::Record(record)) => {
                    if self.batch.push(record) {
                        self.write().await;
                    }
                }
                Some(Item::Flush(done)) => {
                    self.write().await;
                    let _nobody_waits = done.send(self.written);
                    return;
                }
                Some(Item::Lost) => self.written = Written::Unknown,
                None => return,
            }
        }
    }

    /// Writes the batch; behind a failure nothing more is written, since it would stand behind a hole.
    async fn write(&mut self) {
        let records = self.batch.take();
        if records.is_empty() || self.written == Written::Unknown {
            return;
        }
        let written = self.sessions.write_out(&self.chat_id, records, &self.part_ids.next()).await;
        if let Err(error) = &written {
            tracing::warn!("chat {}: the first step could not be written to `out`: {error}", self.chat_id);
        }
        self.written.on_batch(written.as_deref().ok());
    }
}

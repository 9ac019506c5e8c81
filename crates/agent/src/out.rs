//! [`OutWriter`]: chunks and boundaries to `out`, in order, in as few batches as the network allows.
//!
//! While one batch is under way the next one collects; nothing else delays a chunk. A boundary is answered with its seq_num, so it
//! is durable, and so is everything before it, when the call returns.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;
use tokio::sync::{mpsc, oneshot};
use turnkeep_host::{Draws, Entropy, Host, Task};
use turnkeep_protocol::run_api::MAX_OUT_BATCH_BYTES;
use turnkeep_protocol::{ANSWERS_NOTHING, Header, MAX_CHUNK_BYTES, NewRecord, PartId, SeqNum, UiMessageChunk};

use crate::error::{ChunkTooLarge, Error};
use crate::link::Link;

/// How many records wait for their batch before a writer is made to wait.
const MAX_QUEUED_RECORDS: usize = 1024;

/// How many records one batch carries.
const MAX_BATCH_RECORDS: usize = 512;

/// How many bytes of records one batch carries; JSON text inside JSON text may double them, and the route takes 10 MiB.
const MAX_BATCH_BYTES: usize = MAX_OUT_BATCH_BYTES / 4;

/// The length of a data record's part id.
const PART_ID_CHARACTERS: usize = 7;

/// Writes one run's `out`; cheap to clone.
#[derive(Clone)]
pub(crate) struct OutWriter {
    queue: mpsc::Sender<Item>,
    part_ids: Arc<Draws>,
    /// Whether what is written answers no record of `in`.
    stands_apart: Arc<AtomicBool>,
    failure: Arc<Mutex<Option<Error>>>,
    _pump: Arc<Task>,
}

struct Item {
    /// None only asks to be told when everything before it is stored.
    record: Option<NewRecord>,
    stored: Option<oneshot::Sender<Option<SeqNum>>>,
}

impl OutWriter {
    /// Starts the writer; it ends with its last clone.
    pub(crate) fn start(host: &Host, link: Arc<dyn Link>, entropy: &Entropy) -> Self {
        let (queue, items) = mpsc::channel(MAX_QUEUED_RECORDS);
        let failure = Arc::new(Mutex::new(None));
        let pump = host.spawn(pump(items, link, failure.clone()));
        let part_ids = Arc::new(entropy.child("part-ids").draws());
        Self { queue, part_ids, stands_apart: Arc::default(), failure, _pump: Arc::new(pump) }
    }

    /// Says that what is written from here on is of the turn that serves a record.
    pub(crate) fn serve_record(&self) {
        self.stands_apart.store(false, Ordering::Relaxed);
    }

    /// Says that messages which begin from here on answer no record: a boot that finds them in front of a record's own, or finds
    /// nothing else, must not take them for its answer (A-65, D-64).
    pub(crate) fn stand_apart(&self) {
        self.stands_apart.store(true, Ordering::Relaxed);
    }

    /// Queues a chunk; it is stored before anything queued later.
    ///
    /// # Errors
    ///
    /// [`Error::ChunkTooLarge`] when the chunk does not fit a record, or the failure that stopped the writer.
    pub(crate) async fn chunk(&self, chunk: &UiMessageChunk) -> Result<(), Error> {
        let part_id = PartId::new(self.part_ids.alphanumeric(PART_ID_CHARACTERS));
        let mut record = NewRecord::data(chunk, &part_id);
        if matches!(chunk, UiMessageChunk::Start(_) | UiMessageChunk::Error(_))
            && self.stands_apart.load(Ordering::Relaxed)
        {
            record.headers.push(Header::new(ANSWERS_NOTHING, "true"));
        }
        check_size(chunk, &record)?;
        self.push(Item { record: Some(record), stored: None }).await
    }

    /// Queues a record that nobody waits for, such as a trim.
    pub(crate) async fn queue(&self, record: NewRecord) -> Result<(), Error> {
        self.push(Item { record: Some(record), stored: None }).await
    }

    /// Writes a control record and waits until it is durable; gives its place.
    pub(crate) async fn control(&self, record: NewRecord) -> Result<SeqNum, Error> {
        let seq_num = self.stored(Some(record)).await?;
        seq_num.ok_or(Error::Unreachable { what: "batch", detail: "the answer has no seq for the record".to_owned() })
    }

    /// Waits until everything queued so far is durable.
    pub(crate) async fn flush(&self) -> Result<(), Error> {
        self.stored(None).await.map(drop)
    }

    async fn stored(&self, record: Option<NewRecord>) -> Result<Option<SeqNum>, Error> {
        let (stored, answer) = oneshot::channel();
        self.push(Item { record, stored: Some(stored) }).await?;
        answer.await.map_err(|_| self.why_stopped())
    }

    async fn push(&self, item: Item) -> Result<(), Error> {
        self.queue.send(item).await.map_err(|_| self.why_stopped())
    }

    fn why_stopped(&self) -> Error {
        let failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        failure.clone().unwrap_or(Error::Unreachable { what: "batch", detail: "the writer has ended".to_owned() })
    }
}

/// Measures the whole envelope before it is queued, so that the error still knows its chunk (S-175).
fn check_size(chunk: &impl Serialize, record: &NewRecord) -> Result<(), Error> {
    let chunk_size = record.body.len();
    if chunk_size <= MAX_CHUNK_BYTES {
        return Ok(());
    }
    let value = serde_json::to_value(chunk).expect("a chunk always serialises");
    let word = |key: &str| value.get(key).and_then(serde_json::Value::as_str).map(str::to_owned);
    let chunk_type = word("type").or_else(|| word("kind"));
    Err(ChunkTooLarge { chunk_type, chunk_size, max_size: MAX_CHUNK_BYTES }.into())
}

async fn pump(mut items: mpsc::Receiver<Item>, link: Arc<dyn Link>, failure: Arc<Mutex<Option<Error>>>) {
    let mut held = None;
    loop {
        let first = match held.take() {
            Some(item) => item,
            None => match items.recv().await {
                Some(item) => item,
                None => return,
            },
        };
        let mut batch = vec![first];
        held = fill(&mut batch, &mut items);
        let (records, waiting) = take_apart(batch);
        let seqs = if records.is_empty() { Ok(Vec::new()) } else { link.append_out(records).await };
        match seqs {
            Ok(seqs) => tell(waiting, &seqs),
            Err(error) => {
                // Before anyone who waits is dropped: what they then ask for is the reason.
                *failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                // Dropping the receiver tells every waiting and later writer.
                return;
            }
        }
    }
}

/// Adds what is queued already, up to a batch's bounds; gives back the item that did not fit.
fn fill(batch: &mut Vec<Item>, items: &mut mpsc::Receiver<Item>) -> Option<Item> {
    let mut bytes: usize = batch.iter().map(Item::bytes).sum();
    while batch.len() < MAX_BATCH_RECORDS {
        let Ok(item) = items.try_recv() else {
            return None;
        };
        bytes += item.bytes();
        if bytes > MAX_BATCH_BYTES {
            return Some(item);
        }
        batch.push(item);
    }
    None
}

/// Whoever waits for a batch, with the place of their record in it.
type Waiting = Vec<(Option<usize>, oneshot::Sender<Option<SeqNum>>)>;

fn take_apart(batch: Vec<Item>) -> (Vec<NewRecord>, Waiting) {
    let mut records = Vec::with_capacity(batch.len());
    let mut waiting = Vec::new();
    for item in batch {
        let at = item.record.is_some().then_some(records.len());
        records.extend(item.record);
        waiting.extend(item.stored.map(|stored| (at, stored)));
    }
    (records, waiting)
}

fn tell(waiting: Waiting, seqs: &[SeqNum]) {
    for (at, stored) in waiting {
        // Whoever no longer waits has been told by its own cancellation.
        let _ = stored.send(at.and_then(|at| seqs.get(at).copied()));
    }
}

impl Item {
    fn bytes(&self) -> usize {
        self.record.as_ref().map_or(0, NewRecord::metered_bytes)
    }
}

#[cfg(test)]
mod tests;

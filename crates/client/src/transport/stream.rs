//! [`ChatStream`]: the chunks of one turn, pulled by their consumer.
//!
//! The read loop is a future that lives in a cell and makes progress only while the consumer asks for the next chunk (C-57). A
//! stop, a successor or the consumer's drop ends it from outside by dropping it, and with it the connection.

mod collect;

use std::fmt;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::task::{Context, Poll};

use futures::Stream;
use futures::future::BoxFuture;
use futures::task::AtomicWaker;
use turnkeep_protocol::{SeqNum, UiMessageChunk};

pub use self::collect::{ChatMessages, ChatResult, OnMessage, ToolCall, ToolResult};

use self::collect::{Consumption, Fold};
use super::inner::Inner;
use crate::{Error, ReaderHandle};

/// A chunk and its place on `out`.
#[derive(Clone, Debug, PartialEq)]
pub struct Delivered {
    /// The record's place; the chunks of a head start's response have none (C-203).
    pub seq_num: Option<SeqNum>,
    /// The chunk, unchanged (C-88).
    pub chunk: UiMessageChunk,
}

/// How a stream ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Its own boundary came (C-86).
    Completed,
    /// The server said that nothing more will come (C-96).
    Settled,
    /// The session is closed (C-85).
    Closed,
    /// Aborted, stopped or disposed of (C-105, C-106, C-151).
    Aborted,
    /// A later send or action took over (C-80).
    Superseded,
    /// Its consumer let go (C-91).
    Cancelled,
    /// It gave an error.
    Failed,
}

/// The end of a read loop.
pub(crate) type Ended = Result<Outcome, Error>;

/// The place where the read loop lives and its consumer, its stops and its successors meet.
#[derive(Default)]
pub(crate) struct StreamCell {
    driver: Mutex<Option<BoxFuture<'static, Ended>>>,
    slot: Arc<Slot>,
    outcome: Mutex<Option<Outcome>>,
    committed: Mutex<Option<SeqNum>>,
    n_earlier_turns: AtomicU64,
    consumer: AtomicWaker,
    reader: Mutex<Option<ReaderHandle>>,
}

/// Room for one chunk between the read loop and the consumer.
#[derive(Default)]
pub(crate) struct Slot(Mutex<Option<Delivered>>);

impl Slot {
    fn take(&self) -> Option<Delivered> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Hands a chunk over; ready once the consumer has taken it and asks for the next.
    pub(crate) async fn put(&self, delivered: Delivered) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(delivered);
        std::future::poll_fn(|_| {
            let is_free = self.0.lock().unwrap_or_else(PoisonError::into_inner).is_none();
            // No waker is needed: only a consumer that finds the slot empty polls this future again.
            if is_free { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }
}

impl StreamCell {
    pub(crate) fn slot(&self) -> Arc<Slot> {
        self.slot.clone()
    }

    /// Keeps the handle of the stream's reader, which is one over all its windows (C-135).
    pub(crate) fn set_reader(&self, reader: ReaderHandle) {
        *self.reader.lock().unwrap_or_else(PoisonError::into_inner) = Some(reader);
    }

    /// Gives the handle of the stream's reader.
    pub(crate) fn reader(&self) -> Option<ReaderHandle> {
        self.reader.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Puts the read loop in, unless the stream has ended before it began.
    pub(crate) fn start(&self, driver: BoxFuture<'static, Ended>) {
        if self.outcome().is_none() {
            *self.driver.lock().unwrap_or_else(PoisonError::into_inner) = Some(driver);
        }
    }

    /// Decides how the stream ends, without touching its read loop; the first decision stays. Follow it with `end`.
    pub(crate) fn mark(&self, outcome: Outcome) {
        self.outcome_slot().get_or_insert(outcome);
    }

    /// Ends the stream from outside: closes the connection, keeps the first outcome, wakes the consumer.
    pub(crate) fn end(&self, outcome: Outcome) {
        self.mark(outcome);
        match self.driver.try_lock() {
            Ok(mut driver) => drop(driver.take()),
            Err(TryLockError::Poisoned(driver)) => drop(driver.into_inner().take()),
            // The loop is being polled, maybe by the very task that asks: it is dropped right after this poll.
            Err(TryLockError::WouldBlock) => {}
        }
        self.consumer.wake();
    }

    /// Remembers the input that the stream's own boundary names.
    pub(crate) fn commit(&self, input: Option<SeqNum>) {
        *self.committed.lock().unwrap_or_else(PoisonError::into_inner) = input;
    }

    /// Counts an earlier turn's boundary.
    pub(crate) fn pass_earlier_turn(&self) {
        self.n_earlier_turns.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn outcome(&self) -> Option<Outcome> {
        *self.outcome_slot()
    }

    fn outcome_slot(&self) -> MutexGuard<'_, Option<Outcome>> {
        self.outcome.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn poll_next(&self, context: &mut Context<'_>) -> Poll<Option<Result<Delivered, Error>>> {
        self.consumer.register(context.waker());
        let mut driver = self.driver.lock().unwrap_or_else(PoisonError::into_inner);
        let polled = match (self.outcome(), driver.as_mut()) {
            (None, Some(future)) => future.as_mut().poll(context),
            _ => Poll::Ready(Ok(Outcome::Cancelled)),
        };
        let failure = match polled {
            Poll::Pending => None,
            Poll::Ready(Ok(outcome)) => {
                self.outcome_slot().get_or_insert(outcome);
                None
            }
            Poll::Ready(Err(error)) => match &mut *self.outcome_slot() {
                // Whoever ended the stream first decides how it ended (C-150).
                Some(_) => None,
                open => {
                    *open = Some(Outcome::Failed);
                    Some(error)
                }
            },
        };
        if self.outcome().is_none() {
            return self.slot.take().map_or(Poll::Pending, |delivered| Poll::Ready(Some(Ok(delivered))));
        }
        drop(driver.take());
        Poll::Ready(failure.map(Err))
    }
}

/// The chunks of one turn, in order, each once. Ends with `None`; [`ChatStream::outcome`] then tells how.
///
/// Nothing is read unless it is asked for. Dropping it is the consumer's cancel: the reader ends, the turn goes on (C-91, C-92).
pub struct ChatStream {
    pub(crate) inner: Arc<Inner>,
    pub(crate) chat_id: String,
    pub(crate) id: u64,
    pub(crate) cell: Arc<StreamCell>,
    pub(crate) input_seq: Option<SeqNum>,
    pub(crate) on_abort: OnAbort,
    consumption: Consumption,
    fold: Option<Fold>,
}

/// Whether an abort posts a stop (C-81, C-102).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnAbort {
    /// Post one: the stream owns its turn.
    Stop,
    /// Close the view only.
    Close,
}

impl ChatStream {
    pub(crate) fn new(
        inner: Arc<Inner>,
        chat_id: &str,
        id: u64,
        cell: Arc<StreamCell>,
        input_seq: Option<SeqNum>,
        on_abort: OnAbort,
    ) -> Self {
        let (consumption, fold) = (Consumption::Fresh, None);
        Self { inner, chat_id: chat_id.to_owned(), id, cell, input_seq, on_abort, consumption, fold }
    }

    /// Waits for the next chunk; `None` is the end. Cancel-safe.
    ///
    /// # Errors
    ///
    /// The last item, when the stream failed; the chat is then no longer marked as streaming (C-150).
    pub async fn next(&mut self) -> Option<Result<Delivered, Error>> {
        std::future::poll_fn(|context| Pin::new(&mut *self).poll_next(context)).await
    }

    async fn next_chunk(&mut self) -> Option<Result<Delivered, Error>> {
        std::future::poll_fn(|context| self.poll_chunk(context)).await
    }

    fn poll_chunk(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Delivered, Error>>> {
        let polled = self.cell.poll_next(context);
        match &polled {
            Poll::Ready(Some(Ok(delivered))) => {
                if let Some(fold) = &mut self.fold {
                    fold.add(&delivered.chunk);
                }
            }
            Poll::Ready(Some(Err(_))) => self.fold = None,
            Poll::Ready(None) => {
                if let Some(fold) = self.fold.take() {
                    fold.finish();
                }
            }
            Poll::Pending => {}
        }
        polled
    }

    /// Aborts the stream: it closes normally, and if it owns its turn one stop is posted in the background (C-106).
    ///
    /// A stream that has ended or is no longer the chat's reader neither posts nor gates anything (C-114).
    pub fn abort(&self) {
        self.abort_handle().abort();
    }

    /// Gives a handle that aborts the stream while it is being read elsewhere.
    pub fn abort_handle(&self) -> AbortHandle {
        AbortHandle {
            inner: self.inner.clone(),
            chat_id: self.chat_id.clone(),
            id: self.id,
            cell: self.cell.clone(),
            on_abort: self.on_abort,
        }
    }

    /// Tells how the stream ended; none while it lives.
    pub fn outcome(&self) -> Option<Outcome> {
        self.cell.outcome()
    }

    /// Tells whether the agent has consumed this stream's input: its own boundary named a place at or beyond it (C-119).
    ///
    /// It means "consumed", not "succeeded", and stays false when either place is unknown.
    pub fn is_input_settled(&self) -> bool {
        let committed = *self.cell.committed.lock().unwrap_or_else(PoisonError::into_inner);
        matches!((committed, self.input_seq), (Some(committed), Some(own)) if committed >= own)
    }

    /// Counts the boundaries of earlier turns that went by (C-82): what was given before the newest of them answers another input.
    pub fn n_earlier_turns(&self) -> u64 {
        self.cell.n_earlier_turns.load(Ordering::Relaxed)
    }

    pub(crate) fn closed_reason(&self) -> Option<String> {
        self.inner.state(&self.chat_id).and_then(|state| state.closed_reason)
    }

    /// Gives the place on `in` of the send this stream answers, if the server told it.
    pub fn input_seq(&self) -> Option<SeqNum> {
        self.input_seq
    }
}

impl Stream for ChatStream {
    type Item = Result<Delivered, Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if matches!(self.consumption, Consumption::Fresh) {
            self.consumption = Consumption::Chunks;
        }
        self.poll_chunk(context)
    }
}

impl Drop for ChatStream {
    fn drop(&mut self) {
        self.cell.end(Outcome::Cancelled);
        if self.inner.release(&self.chat_id, self.id).is_some() {
            self.inner.let_go(&self.chat_id);
        }
    }
}

impl fmt::Debug for ChatStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChatStream")
            .field("chat_id", &self.chat_id)
            .field("input_seq", &self.input_seq)
            .field("outcome", &self.outcome())
            .finish_non_exhaustive()
    }
}

/// Aborts a [`ChatStream`] from elsewhere; cheap to clone.
#[derive(Clone)]
pub struct AbortHandle {
    inner: Arc<Inner>,
    chat_id: String,
    id: u64,
    cell: Arc<StreamCell>,
    on_abort: OnAbort,
}

impl AbortHandle {
    /// Does what [`ChatStream::abort`] does.
    pub fn abort(&self) {
        if self.cell.outcome().is_none() {
            self.inner.abort(&self.chat_id, self.id, self.on_abort);
            self.cell.end(Outcome::Aborted);
        }
    }
}

impl fmt::Debug for AbortHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AbortHandle").field("chat_id", &self.chat_id).finish_non_exhaustive()
    }
}

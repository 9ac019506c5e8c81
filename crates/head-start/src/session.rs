//! [`HeadStartSession`]: a session whose run waits for the handover (C-182).

use std::fmt;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::{Stream, StreamExt};
use http::Response;
use tokio_util::sync::CancellationToken;
use turnkeep_host::Task;
use turnkeep_protocol::session_api::CreatedSession;
use turnkeep_protocol::{ChatInputChunk, PartId, UiMessageChunk};

use crate::answer;
use crate::body::{self, HeadStartBody};
use crate::error::Error;
use crate::handover::{Handover, StepResult};
use crate::head_start::Setup;
use crate::out::{OutBranch, PartIds};
use crate::seam::{Seam, Written};
use crate::stream_text::StreamText;

/// The length of a message's id.
const MESSAGE_ID_CHARACTERS: usize = 16;

/// Chunks on their way to the author's own response.
pub type HeadStartStream = Pin<Box<dyn Stream<Item = UiMessageChunk> + Send>>;

/// A session made for a head start, by hand: its run waits until it gets a handover or a skip, or until the time is up.
///
/// Dropping the last clone without either sends a skip, so that the run does not wait for nothing.
#[derive(Clone)]
pub struct HeadStartSession {
    pub(crate) shared: Arc<Shared>,
}

pub(crate) struct Shared {
    pub(crate) setup: Arc<Setup>,
    pub(crate) chat_id: String,
    pub(crate) message_id: String,
    pub(crate) signal: CancellationToken,
    pub(crate) out: OutBranch,
    token: String,
    /// Cancels the signal when the run waits no longer (C-194).
    timer: Mutex<Option<Task>>,
    /// Names the one record that ends the run's wait, over all its attempts (C-199).
    handover_id: PartId,
    skip_id: PartId,
    is_handed_over: AtomicBool,
    /// Whether the run has been told, as far as anybody can know.
    is_told: AtomicBool,
}

impl HeadStartSession {
    pub(crate) fn new(setup: &Arc<Setup>, chat_id: &str, idle_timeout_s: u64, created: &CreatedSession) -> Self {
        let host = setup.host.clone();
        let entropy = host.entropy().child("head-start").child(chat_id);
        let part_ids = |name: &str| PartIds { host: host.clone(), draws: entropy.child(name).draws() };
        let ids = part_ids("handover-part-ids");
        let signal = CancellationToken::new();
        let time_is_up = signal.clone();
        let timer = host.spawn(async move {
            tokio::time::sleep(Duration::from_secs(idle_timeout_s)).await;
            time_is_up.cancel();
        });
        let out = OutBranch::start(
            &host,
            setup.sessions.clone(),
            chat_id,
            part_ids("batch-part-ids"),
            entropy.child("record-ids").draws(),
        );
        let shared = Shared {
            chat_id: chat_id.to_owned(),
            message_id: entropy.child("message-id").draws().alphanumeric(MESSAGE_ID_CHARACTERS),
            signal,
            out,
            token: created.public_access_token.clone(),
            timer: Mutex::new(Some(timer)),
            handover_id: ids.next(),
            skip_id: ids.next(),
            is_handed_over: AtomicBool::new(false),
            is_told: AtomicBool::new(false),
            setup: setup.clone(),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Gives the chat's id.
    pub fn chat_id(&self) -> &str {
        &self.shared.chat_id
    }

    /// Gives the session's token, for the browser.
    pub fn public_access_token(&self) -> &str {
        &self.shared.token
    }

    /// Gives the id of the answer: step 1's `start` chunk must carry it, as the agent's chunks will (C-187).
    pub fn message_id(&self) -> &str {
        &self.shared.message_id
    }

    /// Gives the signal that ends when the run waits no longer (C-194).
    pub fn signal(&self) -> CancellationToken {
        self.shared.signal.clone()
    }

    /// Gives the same chunks again, and writes each to `out` as it passes (C-188).
    pub fn tee(&self, chunks: impl Stream<Item = UiMessageChunk> + Send + 'static) -> HeadStartStream {
        let shared = self.shared.clone();
        Box::pin(chunks.then(move |chunk| {
            let shared = shared.clone();
            async move {
                shared.out.chunk(&chunk).await;
                chunk
            }
        }))
    }

    /// Waits for the step, then for `out`, and hands over; a step that failed is given up (C §5.2, steps 6 and 7).
    ///
    /// # Errors
    ///
    /// The step's own failure, or that of the handover.
    pub async fn handover_when_done(&self, step: impl Future<Output = Result<StepResult, Error>>) -> Result<(), Error> {
        match step.await {
            Ok(result) => self.handover(result.into_handover()).await,
            Err(error) => {
                self.handover_skip().await?;
                Err(error)
            }
        }
    }

    /// Makes the step and answers with its chunks and then the agent's, handing over in between.
    pub fn handover_response(&self, step: StreamText) -> Response<HeadStartBody> {
        let (events, frames) = body::events();
        let session = self.clone();
        self.shared.setup.spawn(answer::answer(session, step, events));
        body::response(frames, &self.shared.chat_id, &self.shared.token)
    }

    /// Gives the step to the run, once everything of it is on `out`. When that fails the run is told to wait no longer (C-192).
    ///
    /// # Errors
    ///
    /// [`Error::HandedOver`] when this was done before; [`Error::Session`] when the session server did not take it.
    pub async fn handover(&self, handover: Handover) -> Result<(), Error> {
        self.shared.hand_over(handover).await.map(drop)
    }

    /// Tells the run that nothing will come; it ends without a hook.
    ///
    /// # Errors
    ///
    /// As [`HeadStartSession::handover`].
    pub async fn handover_skip(&self) -> Result<(), Error> {
        self.shared.give_up().await.map(drop)
    }
}

impl Shared {
    /// Flushes, hands over and gives the place where the agent's chunks begin.
    pub(crate) async fn hand_over(&self, handover: Handover) -> Result<Seam, Error> {
        self.take()?;
        let seam = self.flush().await;
        let input = handover.into_input(&self.message_id);
        let sent = self.send(&input, &self.handover_id).await;
        self.clear_timer();
        if let Err(error) = sent {
            // What went wrong first is what is told.
            let _ = self.send(&ChatInputChunk::HandoverSkip, &self.skip_id).await;
            return Err(error);
        }
        Ok(seam)
    }

    /// Closes the step on `out`, flushes, and tells the run that nothing will come; gives the place behind the step.
    pub(crate) async fn give_up(&self) -> Result<Seam, Error> {
        self.take()?;
        self.clear_timer();
        self.out.boundary().await;
        let seam = self.flush().await;
        self.send(&ChatInputChunk::HandoverSkip, &self.skip_id).await?;
        Ok(seam)
    }

    /// Notes that the run's wait ends with this call.
    fn take(&self) -> Result<(), Error> {
        let is_second = self.is_handed_over.swap(true, Ordering::Relaxed);
        if is_second { Err(Error::HandedOver) } else { Ok(()) }
    }

    async fn flush(&self) -> Seam {
        let written = self.out.flush().await;
        let tail = match written {
            Written::Unknown => self.setup.tail(&self.chat_id).await.ok(),
            Written::Nothing | Written::Through(_) => None,
        };
        Seam::of(written, tail)
    }

    async fn send(&self, input: &ChatInputChunk, part_id: &PartId) -> Result<(), Error> {
        let sent = self.setup.sessions.append(&self.chat_id, input, part_id).await;
        self.is_told.store(true, Ordering::Relaxed);
        sent?;
        Ok(())
    }

    fn clear_timer(&self) {
        *self.timer.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.signal.cancel();
        if *self.is_told.get_mut() {
            return;
        }
        let (setup, chat_id, part_id) = (self.setup.clone(), self.chat_id.clone(), self.skip_id.clone());
        self.setup.spawn(async move {
            if let Err(error) = setup.sessions.append(&chat_id, &ChatInputChunk::HandoverSkip, &part_id).await {
                setup.tell(&chat_id, &error.into());
            }
        });
    }
}

impl fmt::Debug for HeadStartSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HeadStartSession").field("chat_id", &self.shared.chat_id).finish_non_exhaustive()
    }
}

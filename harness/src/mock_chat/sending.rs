//! [`Sending`]: an input on its way, and what the test waits for.
//!
//! An input is known by its place on `in`; its turn is the one whose boundary covers that place, whoever else talks to the session
//!

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use turnkeep_client::{ChatStream, Delivered, Outcome};
use turnkeep_protocol::reduce::MessageReducer;
use turnkeep_protocol::{Record, RecordKind, SeqNum, UiMessage, UiMessageChunk};

use super::failure::{SendError, SendFailure};
use super::journal::chunk;
use super::progress::Exit;
use super::stage::Stage;
use super::turn::MockTurn;

/// How long, in virtual time, an input may take before the test fails.
const SEND_LIMIT: Duration = Duration::from_secs(24 * 3600);

/// The conversation as the page knows it.
pub(super) type History = Arc<Mutex<Vec<UiMessage>>>;

/// What a test waits for.
#[derive(Debug, Clone, Copy)]
struct Wish {
    until: Until,
    limit: Duration,
    ignores_ends: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Until {
    /// The boundary is on `out`.
    Completed,
    /// The hooks are done and the snapshot is stored.
    Settled,
}

impl Default for Wish {
    fn default() -> Self {
        Self { until: Until::Settled, limit: SEND_LIMIT, ignores_ends: false }
    }
}

/// What a test may wish of an input, before it is sent and after.
macro_rules! wishes {
    () => {
        /// Waits only for the turn's `turn-complete`; its last hook and its snapshot may still be under way.
        pub fn completed(mut self) -> Self {
            self.wish.until = Until::Completed;
            self
        }

        /// Waits until the turn is over for good: hooks done, snapshot stored. This is the default.
        pub fn settled(mut self) -> Self {
            self.wish.until = Until::Settled;
            self
        }

        /// Goes on waiting when a run crashes, fails or runs out of memory: a later attempt or run may answer.
        pub fn through_crashes(mut self) -> Self {
            self.wish.ignores_ends = true;
            self
        }

        /// Waits at most so long; a virtual day by default.
        pub fn within(mut self, limit: Duration) -> Self {
            self.wish.limit = limit;
            self
        }
    };
}

/// The place on a channel and in time from which a turn is watched.
#[derive(Debug, Clone)]
pub(super) struct From {
    pub(super) chat: String,
    /// The input in words.
    pub(super) label: String,
    /// How many records `out` had.
    pub(super) n_out: usize,
    /// The time of the runs.
    pub(super) since: u64,
}

impl From {
    pub(super) fn now(stage: &Stage, chat: &str, label: impl Into<String>) -> Self {
        let n_out = stage.journal.look(|sessions| sessions.chat(chat).map_or(0, |kept| kept.out.len()));
        let since = stage.progress.look(super::progress::Runs::now);
        Self { chat: chat.to_owned(), label: label.into(), n_out, since }
    }
}

/// An input that the server has taken: wait for its turn whenever it suits the test.
///
/// The page's stream is read only while the test waits.
#[must_use = "an answer that nobody waits for is not looked at"]
pub struct Posted {
    stage: Arc<Stage>,
    from: From,
    stream: Option<ChatStream>,
    input: Option<SeqNum>,
    history: History,
    wish: Wish,
}

/// An input on its way; awaited it gives the turn, settled unless the test wishes otherwise.
///
/// # Panics
///
/// Awaiting it panics when the input is not answered: says which, why, where the run was and what had come so far.
#[must_use = "nothing is sent before this is awaited"]
pub struct Sending<'a> {
    post: Option<BoxFuture<'a, Result<Posted, SendError>>>,
    wish: Wish,
    under_way: Option<BoxFuture<'a, Result<MockTurn, SendError>>>,
}

impl<'a> Sending<'a> {
    pub(super) fn new(post: BoxFuture<'a, Result<Posted, SendError>>) -> Self {
        Self { post: Some(post), wish: Wish::default(), under_way: None }
    }

    wishes!();

    /// Sends the input and gives it back once the server has taken it.
    ///
    /// # Panics
    ///
    /// When the server does not take it.
    pub async fn begin(mut self) -> Posted {
        match self.posting().await {
            Ok(posted) => posted,
            Err(error) => panic!("{error}"),
        }
    }

    /// Waits like awaiting does, and gives what went wrong.
    ///
    /// # Errors
    ///
    /// [`SendError`] when the input is not answered.
    pub async fn try_wait(mut self) -> Result<MockTurn, SendError> {
        self.posting().await?.try_wait().await
    }

    /// Sends the input, and hands on what the test wishes of it.
    fn posting(&mut self) -> BoxFuture<'a, Result<Posted, SendError>> {
        let (post, wish) = (self.post.take().expect("an input is sent once"), self.wish);
        Box::pin(async move { Ok(Posted { wish, ..post.await? }) })
    }
}

impl Future for Sending<'_> {
    type Output = MockTurn;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<MockTurn> {
        if self.under_way.is_none() {
            let posting = self.posting();
            self.under_way = Some(Box::pin(async move { posting.await?.try_wait().await }));
        }
        let under_way = self.under_way.as_mut().expect("it was made above");
        under_way.poll_unpin(context).map(|turn| turn.unwrap_or_else(|error| panic!("{error}")))
    }
}

impl Posted {
    pub(super) fn new(
        stage: Arc<Stage>,
        from: From,
        stream: Option<ChatStream>,
        input: Option<SeqNum>,
        history: History,
    ) -> Self {
        Self { stage, from, stream, input, history, wish: Wish::default() }
    }

    /// Gives the input's place on `in`.
    pub fn input(&self) -> Option<SeqNum> {
        self.input
    }

    wishes!();

    /// Waits for the turn; settled unless the test wishes otherwise.
    ///
    /// # Panics
    ///
    /// When the input is not answered: says which, why, where the run was and what had come so far.
    pub async fn turn(self) -> MockTurn {
        match self.try_wait().await {
            Ok(turn) => turn,
            Err(error) => panic!("{error}"),
        }
    }

    /// Waits for the turn and gives what went wrong.
    ///
    /// # Errors
    ///
    /// [`SendError`] when the input is not answered.
    pub async fn try_wait(self) -> Result<MockTurn, SendError> {
        let (stage, from, wish) = (self.stage.clone(), self.from.clone(), self.wish);
        let waited = {
            let failed = failure(&stage, &from, wish);
            let answered = self.answered();
            let both = async {
                tokio::select! {
                    biased;
                    answered = answered => answered,
                    cause = failed => Err(cause),
                }
            };
            tokio::time::timeout(wish.limit, both).await.unwrap_or(Err(SendFailure::TimedOut(wish.limit)))
        };
        if let Some(session) = stage.session(&from.chat) {
            let is_told = |exit: &Exit| match &waited {
                _ if wish.ignores_ends => exit.number > from.since,
                Err(SendFailure::RunEnded { run, attempt, .. }) => exit.run == *run && exit.attempt == *attempt,
                _ => false,
            };
            stage.progress.change(|runs| runs.heard(&session, is_told));
        }
        waited.map_err(|cause| SendError::new(&stage, &from.chat, &from.label, from.n_out, cause))
    }

    async fn answered(mut self) -> Result<MockTurn, SendFailure> {
        let mut shown = Vec::new();
        let mut outcome = None;
        if let Some(mut stream) = self.stream.take() {
            while let Some(next) = stream.next().await {
                shown.push(next.map_err(|error| SendFailure::Stream(error.to_string()))?);
            }
            outcome = stream.outcome();
        }
        let boundary = self.boundary(outcome == Some(Outcome::Closed)).await?;
        if self.wish.until == Until::Settled {
            self.settling().await;
        }
        let raw = self.records(boundary);
        // A page that was not shown the turn, because a later send took its stream over or the turn was over before it looked, would
        // load it from the records.
        if matches!(outcome, None | Some(Outcome::Superseded | Outcome::Settled)) {
            let told = raw
                .iter()
                .filter_map(|record| Some(Delivered { seq_num: Some(record.seq_num), chunk: chunk(record)? }));
            shown = told.collect();
        }
        let mut page = self.continued(&shown).map_or_else(MessageReducer::new, MessageReducer::resume);
        // Every chunk of a turn that a run made has a place.
        let chunks: Vec<_> = shown.into_iter().filter_map(|told| Some((told.seq_num?, told.chunk))).collect();
        let mut told = MessageReducer::new();
        let mut misfits = Vec::new();
        for (seq_num, chunk) in &chunks {
            // What belongs to a call of an earlier turn has no place in what this turn told.
            let _ = told.apply(chunk);
            if let Err(error) = page.apply(chunk) {
                misfits.push(format!("record {seq_num}: {error}"));
            }
        }
        let (message, told) = (page.into_message(), told.into_message());
        self.remember(&message);
        Ok(MockTurn {
            label: self.from.label.clone(),
            chunks,
            raw,
            message,
            told,
            input: self.input,
            boundary,
            misfits,
        })
    }

    /// Finds the message of an earlier turn that this one goes on with.
    fn continued(&self, shown: &[Delivered]) -> Option<UiMessage> {
        let id = shown.iter().find_map(|delivered| match &delivered.chunk {
            UiMessageChunk::Start(start) => start.message_id.as_deref(),
            _ => None,
        })?;
        let history = self.history.lock().unwrap_or_else(PoisonError::into_inner);
        history.iter().find(|known| known.is_assistant() && known.id == id).cloned()
    }

    /// Waits for the boundary that covers the input; behind a close there may be none.
    async fn boundary(&self, is_closed: bool) -> Result<Option<SeqNum>, SendFailure> {
        let Some(input) = self.input else {
            return Ok(None);
        };
        let chat = &self.from.chat;
        let written = self.stage.journal.until(|sessions| sessions.chat(chat)?.boundary_of(input));
        let session = self.stage.session(chat).filter(|_| is_closed);
        let over = async {
            let Some(session) = session else { return std::future::pending().await };
            self.stage.progress.until(|runs| runs.attempt(&session)?.is_over.then_some(())).await;
        };
        tokio::select! {
            biased;
            boundary = written => Ok(Some(boundary)),
            () = over => Err(SendFailure::NoBoundary),
        }
    }

    async fn settling(&self) {
        let Some(session) = self.stage.session(&self.from.chat) else {
            return;
        };
        let (input, since) = (self.input, self.from.since);
        self.stage.progress.until(|runs| runs.is_settled(&session, input, since).then_some(())).await;
    }

    /// Takes the answer into the page's conversation, in the place of the one it replaces.
    fn remember(&self, message: &UiMessage) {
        if message.parts.is_empty() {
            return;
        }
        let mut history = self.history.lock().unwrap_or_else(PoisonError::into_inner);
        match history.iter_mut().find(|known| known.id == message.id) {
            Some(known) => *known = message.clone(),
            None => history.push(message.clone()),
        }
    }

    /// Gives the turn's records: those behind the boundary before, up to its own; commands belong to no turn.
    fn records(&self, boundary: Option<SeqNum>) -> Vec<Record> {
        self.stage.journal.look(|sessions| {
            let Some(kept) = sessions.chat(&self.from.chat) else {
                return Vec::new();
            };
            let since = kept.out.get(self.from.n_out..).unwrap_or_default();
            let until =
                boundary.map_or(since.len(), |boundary| since.partition_point(|record| record.seq_num <= boundary));
            let before = since[..until.saturating_sub(1)].iter().rposition(Record::is_turn_complete);
            let turn = &since[before.map_or(0, |before| before + 1)..until];
            let is_told = |record: &&Record| !matches!(record.kind(), RecordKind::Command(_));
            turn.iter().filter(is_told).cloned().collect()
        })
    }
}

/// Waits for what makes an answer impossible.
async fn failure(stage: &Stage, from: &From, wish: Wish) -> SendFailure {
    let broken = async { SendFailure::Broken(stage.failures.until(|failures| failures.first().cloned()).await) };
    let ended = async {
        if wish.ignores_ends {
            return std::future::pending().await;
        }
        // A session that is not there yet has no run that could end.
        let session = stage.journal.until(|sessions| sessions.id(&from.chat).cloned()).await;
        let Exit { run, attempt, outcome, .. } = stage.progress.until(|runs| runs.failure(&session, from.since)).await;
        SendFailure::RunEnded { run, attempt, outcome }
    };
    tokio::select! {
        biased;
        cause = ended => cause,
        cause = broken => cause,
    }
}

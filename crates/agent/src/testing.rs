//! A session in memory and a model that says what it is told, for tests of the runtime without a server.

mod diary;
mod inputs;
mod model;
mod tool_context;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::future::BoxFuture;
use futures::stream::{self, BoxStream};
use futures::{FutureExt, StreamExt};
use serde_json::{Map, Value, json};
use tokio::sync::Notify;
use tokio::time::Instant;
use turnkeep_host::Host;
use turnkeep_protocol::run_api::{LeasedRun, Mark, WaitOutcome};
use turnkeep_protocol::session_api::DrainedRecord;
use turnkeep_protocol::{
    ChannelName, ChatInputChunk, ChatSnapshot, Envelope, InputRecord, JsonObject, NewRecord, RecordKind, RunId,
    SESSION_IN_EVENT_ID, SeqNum, SessionId, TRIGGER_CONTROL, TaskId, UiMessage,
};

pub(crate) use self::diary::*;
pub(crate) use self::inputs::*;
pub(crate) use self::model::*;
use crate::agent::Agent;
use crate::checkpoint::{Checkpoints, Gate, GatedLink};
use crate::error::Error;
use crate::event::RunContext;
use crate::input::InputChannel;
use crate::link::{DurableWait, Link, SnapshotRead};
use crate::run::RunParts;

pub(crate) use self::tool_context::tool_context;

/// No test's run takes longer, on a clock that jumps.
const LONGEST_RUN: Duration = Duration::from_secs(100 * 24 * 60 * 60);

/// A session as its server would keep it. Every write is durable at once; records are cut one by one, never as a batch.
#[derive(Default)]
pub(crate) struct FakeSession {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Default)]
pub(crate) struct State {
    pub(crate) input: Vec<InputRecord>,
    /// What can still be read.
    pub(crate) out: Vec<DrainedRecord>,
    /// What was ever written, commands apart.
    pub(crate) told: Vec<DrainedRecord>,
    /// Commands take a place on `out` too.
    pub(crate) next_out: u64,
    pub(crate) snapshot: Option<ChatSnapshot>,
    pub(crate) fails_snapshots: bool,
    /// What the run has noted for its later attempts.
    pub(crate) metadata: JsonObject,
    pub(crate) fails_metadata: bool,
    /// What was stored as the snapshot is lost, until the next one is stored.
    pub(crate) has_lost_snapshot: bool,
    /// What is stored as the snapshot is none.
    pub(crate) holds_nonsense: bool,
    /// So many reads of the snapshot fail.
    pub(crate) n_failing_reads: usize,
    pub(crate) marks: Vec<Mark>,
    pub(crate) warnings: Vec<String>,
    /// The row's settled cursor.
    pub(crate) settled: Option<SeqNum>,
    pub(crate) is_closed: bool,
    pub(crate) waits: Vec<DurableWait>,
    pub(crate) n_reads: usize,
    /// What was drained, and from where.
    pub(crate) drains: Vec<(ChannelName, Option<SeqNum>)>,
    /// The channel that cannot be read.
    pub(crate) unreadable: Option<ChannelName>,
    /// How long it takes to store a snapshot.
    pub(crate) snapshot_takes: Duration,
    /// A record of `in` that the first tail to pass it does not deliver.
    pub(crate) hole: Option<SeqNum>,
    /// Where each tail began.
    pub(crate) tails: Vec<Option<SeqNum>>,
    /// When each tail began.
    pub(crate) tail_times: Vec<Instant>,
    /// So many tails cannot be opened.
    pub(crate) n_failing_tails: usize,
    /// Records that may still be written; the next write then never returns, as in a dead process.
    pub(crate) writes_left: Option<usize>,
    pub(crate) is_dead: bool,
    /// Another attempt holds the lease: what would kill the process is refused instead (D-36).
    pub(crate) is_fenced: bool,
}

impl FakeSession {
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Appends to `in`.
    pub(crate) fn send(&self, input: ChatInputChunk) -> SeqNum {
        let mut state = self.state();
        let seq_num = SeqNum::new(state.input.len() as u64);
        state.input.push(InputRecord { seq_num, timestamp: 1, input: Some(input) });
        drop(state);
        self.changed.notify_waiters();
        seq_num
    }

    /// Appends a user message whose id is its text.
    pub(crate) fn say(&self, text: &str) -> SeqNum {
        self.send(submit(UiMessage::user(text, text)))
    }

    /// Lets a new process write.
    pub(crate) fn revive(&self) {
        let mut state = self.state();
        (state.writes_left, state.is_dead, state.is_fenced) = (None, false, false);
    }

    pub(crate) fn close(&self) {
        self.state().is_closed = true;
        self.changed.notify_waiters();
    }

    /// Waits until `holds`.
    pub(crate) async fn until(&self, holds: impl Fn(&State) -> bool) {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if holds(&self.state()) {
                return;
            }
            tokio::time::timeout(Duration::from_secs(30), changed).await.expect("the awaited state comes");
        }
    }

    /// Waits until so many turns are closed.
    pub(crate) async fn until_turns(&self, n_turns: usize) {
        self.until(|state| state.boundaries().len() >= n_turns).await;
    }

    /// Writes `out` as one word per record: chunk types, text deltas as their text, `done(cursor)` for boundaries.
    pub(crate) fn story(&self) -> String {
        self.state().told.iter().map(word).collect::<Vec<_>>().join(" ")
    }

    /// Writes what can still be read of `out`, as [`FakeSession::story`] does.
    pub(crate) fn readable(&self) -> String {
        self.state().out.iter().map(word).collect::<Vec<_>>().join(" ")
    }

    /// Gives the ids of the snapshot's messages.
    pub(crate) fn saved_ids(&self) -> Vec<String> {
        let state = self.state();
        let messages = state.snapshot.iter().flat_map(|snapshot| &snapshot.messages);
        messages.map(|message| message.id.clone()).collect()
    }

    /// Gives the texts of the snapshot's messages.
    pub(crate) fn saved_texts(&self) -> Vec<String> {
        let state = self.state();
        let messages = state.snapshot.iter().flat_map(|snapshot| &snapshot.messages);
        messages.map(UiMessage::text).collect()
    }
}

impl State {
    /// Gives the settled cursors of the boundaries.
    pub(crate) fn boundaries(&self) -> Vec<Option<SeqNum>> {
        let boundary = |record: &DrainedRecord| header(record, TRIGGER_CONTROL) == Some("turn-complete");
        let cursor = |record: &DrainedRecord| header(record, SESSION_IN_EVENT_ID).and_then(SeqNum::parse_cursor);
        self.told.iter().filter(|record| boundary(record)).map(cursor).collect()
    }

    /// Gives the record that a tail delivers next.
    fn next_in(&mut self, after: Option<SeqNum>) -> Option<InputRecord> {
        let mut next = self.input.iter().filter(|record| Some(record.seq_num) > after);
        let first = next.next()?;
        if self.hole != Some(first.seq_num) {
            return Some(first.clone());
        }
        let beyond = next.next()?.clone();
        self.hole = None;
        Some(beyond)
    }

    fn append_unless_dead(&mut self, record: &NewRecord) -> Option<SeqNum> {
        if self.writes_left == Some(0) {
            self.is_dead = true;
            return None;
        }
        self.writes_left = self.writes_left.map(|left| left - 1);
        Some(self.append(record))
    }

    pub(crate) fn append(&mut self, record: &NewRecord) -> SeqNum {
        let seq_num = SeqNum::new(self.next_out);
        self.next_out += 1;
        match record.kind() {
            RecordKind::Command(_) => {
                let keep_from: u64 = record.body.parse().expect("a trim names a place");
                self.out.retain(|record| record.seq_num.get() >= keep_from);
            }
            _ => {
                let envelope: Option<Envelope> = serde_json::from_str(&record.body).ok();
                let data = envelope.map_or_else(|| json!(""), |envelope| envelope.data);
                let headers = record.headers.clone();
                let record = DrainedRecord { data, id: String::new(), seq_num, headers };
                self.told.push(record.clone());
                self.out.push(record);
            }
        }
        if record.kind() == RecordKind::Control("turn-complete") {
            let cursor = record.header(SESSION_IN_EVENT_ID).and_then(SeqNum::parse_cursor);
            self.settled = self.settled.max(cursor);
        }
        seq_num
    }
}

fn header<'a>(record: &'a DrainedRecord, name: &str) -> Option<&'a str> {
    record.headers.iter().find(|header| header.0 == name).map(|header| header.1.as_str())
}

fn word(record: &DrainedRecord) -> String {
    if header(record, TRIGGER_CONTROL).is_some() {
        return format!("done({})", header(record, SESSION_IN_EVENT_ID).unwrap_or("-"));
    }
    match record.data["type"].as_str() {
        Some("text-delta") => record.data["delta"].as_str().unwrap_or_default().to_owned(),
        Some("abort") => format!("abort({})", record.data["reason"].as_str().unwrap_or_default()),
        Some("error") => format!("error({})", record.data["errorText"].as_str().unwrap_or_default()),
        other => other.unwrap_or("?").to_owned(),
    }
}

/// The link of a run to a [`FakeSession`].
pub(crate) struct FakeLink(pub(crate) Arc<FakeSession>);

impl FakeLink {
    /// A dead process does nothing more.
    async fn unless_dead(&self) -> Result<(), Error> {
        let is_fenced = {
            let state = self.0.state();
            if !state.is_dead {
                return Ok(());
            }
            state.is_fenced
        };
        if is_fenced { Err(Error::LeaseLost) } else { futures::future::pending().await }
    }
}

impl Link for FakeLink {
    fn append_out(&self, records: Vec<NewRecord>) -> BoxFuture<'_, Result<Vec<SeqNum>, Error>> {
        Box::pin(async move {
            self.unless_dead().await?;
            let mut seqs = Vec::new();
            for record in records {
                seqs.extend(self.0.state().append_unless_dead(&record));
            }
            self.0.changed.notify_waiters();
            self.unless_dead().await?;
            Ok(seqs)
        })
    }

    fn drain(&self, channel: ChannelName, after: Option<SeqNum>) -> BoxFuture<'_, Result<Vec<DrainedRecord>, Error>> {
        Box::pin(async move {
            let mut state = self.0.state();
            state.n_reads += 1;
            state.drains.push((channel, after));
            if state.unreadable == Some(channel) {
                return Err(Error::Unreachable { what: "records", detail: "status 503".to_owned() });
            }
            Ok(match channel {
                ChannelName::Out => state.out.iter().filter(|record| Some(record.seq_num) > after).cloned().collect(),
                ChannelName::In => {
                    let records = state.input.iter().filter(|record| Some(record.seq_num) > after);
                    records.map(drained).collect()
                }
            })
        })
    }

    fn follow_in(&self, after: Option<SeqNum>) -> BoxFuture<'_, Result<BoxStream<'static, InputRecord>, Error>> {
        let session = self.0.clone();
        let mut state = session.state();
        state.tails.push(after);
        state.tail_times.push(Instant::now());
        if state.n_failing_tails > 0 {
            state.n_failing_tails -= 1;
            return async { Err(Error::Unreachable { what: "in", detail: "status 503".to_owned() }) }.boxed();
        }
        drop(state);
        let records = stream::unfold((session, after), |(session, after)| async move {
            loop {
                let changed = session.changed.notified();
                tokio::pin!(changed);
                changed.as_mut().enable();
                let next = session.state().next_in(after);
                if let Some(record) = next {
                    let after = Some(record.seq_num);
                    return Some((record, (session.clone(), after)));
                }
                changed.await;
            }
        });
        async move { Ok(records.boxed()) }.boxed()
    }

    fn read_snapshot(&self) -> BoxFuture<'_, SnapshotRead> {
        Box::pin(async move {
            let mut state = self.0.state();
            state.n_reads += 1;
            if state.n_failing_reads > 0 {
                state.n_failing_reads -= 1;
                return SnapshotRead::Failed(Error::Refused { what: "snapshot", status: 403, body: String::new() });
            }
            if state.has_lost_snapshot {
                return SnapshotRead::Gone;
            }
            if state.holds_nonsense {
                return SnapshotRead::Invalid;
            }
            state.snapshot.clone().map_or(SnapshotRead::Missing, |snapshot| SnapshotRead::Found(Box::new(snapshot)))
        })
    }

    fn write_snapshot(&self, snapshot: &ChatSnapshot) -> BoxFuture<'_, Result<(), Error>> {
        let snapshot = snapshot.clone();
        Box::pin(async move {
            self.unless_dead().await?;
            let takes = self.0.state().snapshot_takes;
            tokio::time::sleep(takes).await;
            let mut state = self.0.state();
            if state.fails_snapshots {
                return Err(Error::Refused { what: "snapshot", status: 500, body: "disk full".to_owned() });
            }
            state.snapshot = Some(snapshot);
            state.has_lost_snapshot = false;
            drop(state);
            self.0.changed.notify_waiters();
            Ok(())
        })
    }

    fn mark(&self, mark: Mark) -> BoxFuture<'_, Result<(), Error>> {
        self.0.state().marks.push(mark);
        async { Ok(()) }.boxed()
    }

    fn write_metadata(&self, metadata: JsonObject) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(async move {
            self.unless_dead().await?;
            let mut state = self.0.state();
            let refused = Error::Refused { what: "metadata", status: 413, body: String::new() };
            if state.fails_metadata {
                return Err(refused);
            }
            state.metadata = metadata;
            Ok(())
        })
    }

    fn wait(&self, wait: DurableWait) -> BoxFuture<'_, Result<WaitOutcome, Error>> {
        self.0.state().waits.push(wait);
        self.0.changed.notify_waiters();
        Box::pin(async move {
            let ready = self.0.until(|state| {
                state.is_closed || state.input.iter().any(|record| Some(record.seq_num) > wait.consumed)
            });
            Ok(match tokio::time::timeout(wait.limit.min(Duration::from_secs(20)), ready).await {
                Err(_) => WaitOutcome::TimedOut,
                Ok(()) if self.0.state().is_closed => WaitOutcome::Closed,
                Ok(()) => WaitOutcome::Record,
            })
        })
    }

    fn mint_token(&self) -> BoxFuture<'_, Option<String>> {
        async { Some("token".to_owned()) }.boxed()
    }
}

pub(crate) fn drained(record: &InputRecord) -> DrainedRecord {
    let data = serde_json::to_value(&record.input).expect("inputs serialise");
    DrainedRecord { data, id: String::new(), seq_num: record.seq_num, headers: Vec::new() }
}

/// A lease on the first attempt of a run, for `payload` over the least one.
pub(crate) fn lease(session: &FakeSession, attempt: u32, payload: Value) -> LeasedRun {
    let mut fields: Map<String, Value> = Map::new();
    fields.insert("chatId".to_owned(), json!("chat"));
    fields.extend(payload.as_object().cloned().unwrap_or_default());
    let state = session.state();
    LeasedRun {
        run_id: RunId::new("run_1"),
        attempt,
        task_id: TaskId::new("test"),
        session_id: SessionId::new("session_1"),
        session_key: "chat".to_owned(),
        payload: fields,
        lease_ms: 10_000,
        settled_cursor: state.settled,
        consumed_cursor: None,
        chat_started: state.marks.contains(&Mark::ChatStarted),
        preloaded: state.marks.contains(&Mark::Preloaded),
        session_closed: state.is_closed,
        options: Default::default(),
        metadata: state.metadata.clone(),
    }
}

/// Serves a lease to its end.
pub(crate) async fn serve(
    session: &Arc<FakeSession>,
    agent: Agent,
    model: Arc<FakeModel>,
    lease: LeasedRun,
) -> Result<(), Error> {
    serve_at(session, agent, model, lease, None).await
}

/// Serves a lease to its end, past the checkpoints.
pub(crate) async fn serve_at(
    session: &Arc<FakeSession>,
    agent: Agent,
    model: Arc<FakeModel>,
    lease: LeasedRun,
    checkpoints: Option<Arc<dyn Checkpoints>>,
) -> Result<(), Error> {
    let host = Host::os();
    let gate = Gate::new(checkpoints, RunContext::of(&lease));
    let link: Arc<dyn Link> = Arc::new(GatedLink::new(Arc::new(FakeLink(session.clone())), gate.clone()));
    let input = InputChannel::new(host.clone(), link.clone(), host.entropy().child("input"));
    let heard = session.clone();
    let warn = Arc::new(move |_: &RunContext, text: String| heard.state().warnings.push(text));
    let parts = RunParts { host, agent, model, link, input: input.clone(), lease, warn, gate };
    let task = parts.task();
    // Nobody waits for ever: a run that never ends fails its test.
    let result = tokio::time::timeout(LONGEST_RUN, parts.serve(task)).await.expect("the run ends");
    let mut state = session.state();
    state.settled = state.settled.max(input.cursors().0);
    drop(state);
    result
}

/// Answers every turn with the model's text.
pub(crate) fn talker() -> Agent {
    Agent::new("test", |turn: crate::agent::TurnInput| async move { Ok(turn.stream_text()) })
        .idle_timeout(Duration::from_secs(5))
}

/// Serves a run in a process that dies instead of its write behind `n_writes` others.
pub(crate) async fn die_after(
    n_writes: usize,
    session: &Arc<FakeSession>,
    agent: Agent,
    model: Arc<FakeModel>,
    lease: LeasedRun,
) {
    session.state().writes_left = Some(n_writes);
    tokio::select! {
        biased;
        ended = serve(session, agent, model, lease) => panic!("the process dies, and the run does not end: {ended:?}"),
        () = session.until(|state| state.is_dead) => {}
    }
    session.revive();
}

/// Leaves a session whose worker died in the middle of an answer to `a`.
pub(crate) async fn cut() -> Arc<FakeSession> {
    let session = Arc::new(FakeSession::default());
    session.say("a");
    let first = lease(&session, 1, json!({ "trigger": "preload" }));
    die_after(4, &session, talker(), FakeModel::echo(), first).await;
    session
}

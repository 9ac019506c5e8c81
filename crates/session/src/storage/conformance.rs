//! The suite that every store passes: whatever is committed, a store gives it back as the plain fold of all changes would.
//!
//! The changes are drawn from a seed and are such as a core makes, on a few sessions with short channels, so that every table fills,
//! shrinks and is read at its edges.

use std::collections::BTreeSet;
use std::future::Future;
use std::sync::Arc;

use serde_json::json;
use turnkeep_host::{Draws, Entropy, Timestamp};
use turnkeep_protocol::run_api::RunOptions;
use turnkeep_protocol::session_api::TriggerConfig;
use turnkeep_protocol::{
    ChannelName, NewRecord, PartId, Record, RunId, SeqNum, SessionId, TaskId, WaitpointId, WorkerId,
};

use super::{Bounds, Storage, Tables, Window};
use crate::change::Millis;
use crate::standing::Standing;
use crate::{Change, RunReason, RunRow, RunStatus, SessionRow, WaitpointRow};

const CHANNELS: [ChannelName; 2] = [ChannelName::In, ChannelName::Out];
const N_SESSIONS: u64 = 3;
const N_PARTS: u64 = 40;
const N_RUNS: u64 = 9;
/// Commits of one suite.
const N_COMMITS: u64 = 40;
/// The most changes of a commit.
const MAX_CHANGES: u64 = 12;

/// Commits random groups of changes and compares everything that can be read, over several lives of the store.
///
/// `open` opens the store as a restarted server would find it; the suite has dropped the one before.
///
/// # Panics
///
/// When the store gives anything else than the fold of what was committed, or fails.
pub async fn check<F, Fut>(seed: u64, open: F)
where
    F: Fn() -> Fut,
    Fut: Future<Output = Arc<dyn Storage>>,
{
    let draws = Entropy::from_seed(seed).draws();
    let mut author = Author::default();
    let mut expected = Tables::default();
    let mut store = open().await;
    compare(&*store, &expected, &author, "an empty store").await;
    for n in 0..N_COMMITS {
        if draws.below(10) == 0 {
            drop(store);
            store = open().await;
        }
        let changes = author.changes(&draws);
        expected.apply(changes.clone());
        store.commit(changes).await.expect("the disk has room");
        compare(&*store, &expected, &author, &format!("seed {seed}, commit {n}")).await;
    }
    drop(store);
    compare(&*open().await, &expected, &author, &format!("seed {seed}, the last life")).await;
}

async fn compare(store: &dyn Storage, expected: &Tables, author: &Author, place: &str) {
    let bounds = |records, bytes| Bounds { records, bytes };
    for (records, bytes, parts) in [(0, 0, 0), (3, 10_000, 2), (100, 90, 5), (usize::MAX, usize::MAX, usize::MAX)] {
        let window = Window { records: bounds(records, bytes), parts };
        let loaded = store.load(window).await.expect("the disk is whole");
        assert_eq!(loaded, expected.load(window), "{place}: load with {window:?}");
    }
    for session in (0..=N_SESSIONS).map(session_id) {
        let body = store.snapshot(session.clone()).await.expect("the disk is whole");
        assert_eq!(body, expected.snapshot(&session), "{place}: snapshot of {session}");
        for channel in CHANNELS {
            compare_channel(store, expected, author, &session, channel, place).await;
        }
    }
    for run in (0..=N_RUNS).map(run_id) {
        assert_eq!(store.run(run.clone()).await.expect("the disk is whole"), expected.run(&run), "{place}: {run}");
    }
}

async fn compare_channel(
    store: &dyn Storage,
    expected: &Tables,
    author: &Author,
    session: &SessionId,
    channel: ChannelName,
    place: &str,
) {
    for (from, records, bytes) in [(0, 1000, 10_000), (0, 2, 10_000), (4, 1000, 70), (9, 1000, 0), (u64::MAX, 9, 9)] {
        let (from, bounds) = (SeqNum::new(from), Bounds { records, bytes });
        let read = store.read(session.clone(), channel, from, bounds).await.expect("the disk is whole");
        let want = expected.read(session, channel, from, bounds);
        assert_eq!(read, want, "{place}: {session} {channel} from {from} with {bounds:?}");
    }
    let shape = author.shape(session, channel);
    for part in (0..N_PARTS).map(part_id) {
        let known = |it: &crate::Part| it.is_remembered(&shape, author.now());
        let found = store.part(session.clone(), channel, part.clone()).await.expect("the disk is whole");
        let want = expected.part(session, channel, &part);
        assert_eq!(found.filter(known), want.filter(known), "{place}: {part} of {session} {channel}");
    }
}

/// Makes changes as a core would.
#[derive(Default)]
struct Author {
    standings: Vec<Standing>,
    runs: BTreeSet<RunId>,
    now_ms: u64,
    n_parts: u64,
    n_waits: u64,
}

impl Author {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.now_ms)
    }

    fn shape(&self, session: &SessionId, channel: ChannelName) -> crate::Shape {
        let of = |n: &usize| session_id(*n as u64) == *session;
        let standing = (0..self.standings.len()).find(of).map(|n| &self.standings[n]);
        standing.map(|standing| *standing.shape(channel)).unwrap_or_default()
    }

    fn changes(&mut self, draws: &Draws) -> Vec<Change> {
        self.now_ms += draws.below(1000);
        let mut changes = Vec::new();
        for _ in 0..=draws.below(MAX_CHANGES) {
            let change = self.change(draws);
            if let Some(session) = super::session_of(&change) {
                let of = |n: &usize| session_id(*n as u64) == *session;
                let n = (0..self.standings.len()).find(of).expect("a session's row comes first");
                self.standings[n].apply(&change);
            }
            changes.push(change);
        }
        changes
    }

    fn change(&mut self, draws: &Draws) -> Change {
        let n_sessions = self.standings.len() as u64;
        if n_sessions == 0 || (n_sessions < N_SESSIONS && draws.below(9) == 0) {
            self.standings.push(Standing::default());
            return Change::Session { row: Box::new(self.session_row(n_sessions, draws)) };
        }
        let n = draws.below(n_sessions);
        let session = session_id(n);
        let standing = &self.standings[usize::try_from(n).expect("a few")];
        match draws.below(20) {
            0 => Change::Session { row: Box::new(self.session_row(n, draws)) },
            1 | 2 => {
                let settled = standing.summary.settled.max(standing.input.tail.previous());
                Change::Cursors { session, settled, consumed: settled }
            }
            3 | 4 => Change::Trim { session, first: SeqNum::new(draws.below(standing.output.tail.get() + 1)) },
            5 | 6 => {
                let row = run_row(&session, draws);
                self.runs.insert(row.id.clone());
                Change::Run { row: Box::new(row) }
            }
            7 | 8 => {
                self.n_waits += 1;
                Change::Waitpoint { row: Box::new(wait_row(self.n_waits, draws)) }
            }
            9 => Change::WaitpointGone { waitpoint: wait_id(draws.below(self.n_waits + 1)) },
            10 => {
                let body = json!({ "version": 1, "text": draws.alphanumeric(20) }).to_string();
                Change::Snapshot { session, end: Some(SeqNum::new(draws.below(9))), body }
            }
            _ => self.record(session, CHANNELS[usize::try_from(draws.below(2)).expect("two")], draws),
        }
    }

    /// Makes a record; some have a part id that is new, and some share the one of the record before, as batches do.
    fn record(&mut self, session: SessionId, channel: ChannelName, draws: &Draws) -> Change {
        let part = match draws.below(3) {
            0 => None,
            _ if self.n_parts + 1 == N_PARTS => None,
            _ => {
                self.n_parts += 1;
                Some(part_id(self.n_parts))
            }
        };
        let length = usize::try_from(draws.below(60)).expect("a few");
        let new = match draws.below(4) {
            0 => NewRecord::control("turn-complete", []),
            _ => NewRecord::data(&json!(draws.alphanumeric(length)), &PartId::new("p")),
        };
        let seq_num = self.shape(&session, channel).tail;
        let record = Record { seq_num, timestamp: self.now_ms, body: new.body, headers: new.headers };
        Change::Record { session, channel, record, part, writer: None }
    }

    /// Makes a row; a run that it names is there already, since a core makes both in one step.
    fn session_row(&self, n: u64, draws: &Draws) -> SessionRow {
        let current = usize::try_from(draws.below(N_RUNS)).expect("a few");
        SessionRow {
            id: session_id(n),
            external_id: Some(format!("chat-{n}")),
            kind: "chat.agent".to_owned(),
            task_id: TaskId::new("agent"),
            trigger_config: TriggerConfig::default(),
            tags: vec![draws.alphanumeric(3)],
            metadata: None,
            closed_at: None,
            closed_reason: None,
            expires_at: None,
            created_at: Millis(n),
            updated_at: Millis(draws.below(99)),
            current_run: self.runs.iter().nth(current).cloned(),
            run_version: draws.below(9),
            chat_started_at: None,
            preloaded_at: None,
        }
    }
}

fn session_id(n: u64) -> SessionId {
    SessionId::new(format!("session_{n}"))
}

fn run_id(n: u64) -> RunId {
    RunId::new(format!("run_{n}"))
}

fn part_id(n: u64) -> PartId {
    PartId::new(format!("part-{n}"))
}

fn wait_id(n: u64) -> WaitpointId {
    WaitpointId::new(format!("waitpoint_{n}"))
}

fn run_row(session: &SessionId, draws: &Draws) -> RunRow {
    let status = match draws.below(3) {
        0 => RunStatus::Queued,
        1 => RunStatus::Leased { worker: WorkerId::new("w"), expires_at: Millis(9), confirmed: false },
        _ => RunStatus::Failed { error: "a hook threw".to_owned() },
    };
    RunRow {
        id: run_id(draws.below(N_RUNS)),
        session: session.clone(),
        task_id: TaskId::new("agent"),
        payload: Default::default(),
        reason: RunReason::Initial,
        attempt: 1,
        tries: 0,
        unconfirmed_lapses: 0,
        max_attempts: 3,
        options: RunOptions::default(),
        metadata: [("chat.turnTimeout".to_owned(), "90s".into())].into_iter().collect(),
        status,
        settled_at_start: None,
        suspects: None,
        queued: draws.below(99),
        created_at: Millis(draws.below(99)),
    }
}

fn wait_row(n: u64, draws: &Draws) -> WaitpointRow {
    WaitpointRow {
        id: wait_id(n),
        run: run_id(draws.below(N_RUNS)),
        session_key: format!("chat-{}", draws.below(N_SESSIONS)),
        channel: ChannelName::In,
        idempotency_key: None,
        idempotency_key_expires_at: None,
        tags: Vec::new(),
        number: n,
        expires_at: None,
        outcome: None,
    }
}

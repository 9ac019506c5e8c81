//! What the suite commits: changes such as a core makes, drawn from a seed.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;
use turnkeep_host::{Draws, Timestamp};
use turnkeep_protocol::run_api::RunOptions;
use turnkeep_protocol::session_api::TriggerConfig;
use turnkeep_protocol::{
    ChannelName, NewRecord, PartId, Record, RunId, SeqNum, SessionId, TaskId, WaitpointId, WorkerId,
};

use crate::change::Millis;
use crate::standing::{PART_MEMORY, Standing};
use crate::storage::session_of;
use crate::{Change, Part, RunReason, RunRow, RunStatus, SessionRow, Shape, SnapshotId, StoreId, WaitpointRow};

pub(super) const CHANNELS: [ChannelName; 2] = [ChannelName::In, ChannelName::Out];
pub(super) const N_SESSIONS: u64 = 3;
/// The part ids that writers choose from: so few that they come back.
pub(super) const N_PARTS: u64 = 24;
pub(super) const N_RUNS: u64 = 9;
const DAY_MS: u64 = PART_MEMORY.as_millis() as u64;
/// The most steps of a commit; most make one change.
const MAX_STEPS: u64 = 12;
/// The most records of one batch.
const MAX_BATCH: u64 = 4;

/// Makes changes as a core would.
#[derive(Clone, Default)]
pub(super) struct Author {
    standings: Vec<Standing>,
    runs: BTreeSet<RunId>,
    /// The newest part of each id, remembered or not.
    parts: BTreeMap<(SessionId, ChannelName, PartId), Part>,
    now_ms: u64,
    /// The last commit was a full one.
    is_full: bool,
    n_waits: u64,
}

impl Author {
    pub(super) fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.now_ms)
    }

    pub(super) fn shape(&self, session: &SessionId, channel: ChannelName) -> Shape {
        let of = |n: &usize| session_id(*n as u64) == *session;
        let standing = (0..self.standings.len()).find(of).map(|n| &self.standings[n]);
        standing.map(|standing| *standing.shape(channel)).unwrap_or_default()
    }

    /// Makes the changes of one commit.
    pub(super) fn changes(&mut self, draws: &Draws) -> Vec<Change> {
        let mut changes = Vec::new();
        if std::mem::take(&mut self.is_full) {
            self.come_back(draws, &mut changes);
        }
        if !self.standings.is_empty() && draws.below(8) == 0 {
            self.fill(draws, &mut changes);
            return changes;
        }
        self.now_ms += match draws.below(4) {
            0 => draws.below(2 * DAY_MS),
            _ => draws.below(1000),
        };
        for _ in 0..=draws.below(MAX_STEPS) {
            self.step(draws, &mut changes);
        }
        changes
    }

    /// Makes many part ids, all of them trimmed at once.
    fn fill(&mut self, draws: &Draws, changes: &mut Vec<Change>) {
        let session = session_id(0);
        for _ in 0..N_PARTS {
            let part = self.free_part(&session, ChannelName::Out, draws);
            self.append(&session, ChannelName::Out, 1, part, draws, changes);
        }
        let first = self.shape(&session, ChannelName::Out).tail;
        self.put(Change::Trim { session, first }, changes);
        self.is_full = true;
    }

    /// Lets two days pass, and the newest of the ids that are forgotten then come back.
    fn come_back(&mut self, draws: &Draws, changes: &mut Vec<Change>) {
        self.now_ms += 2 * DAY_MS;
        let session = session_id(0);
        let part = self.newest_forgotten(&session, ChannelName::Out);
        self.append(&session, ChannelName::Out, 1 + draws.below(2), part, draws, changes);
    }

    fn put(&mut self, change: Change, changes: &mut Vec<Change>) {
        if let Some(session) = session_of(&change) {
            let of = |n: &usize| session_id(*n as u64) == *session;
            let n = (0..self.standings.len()).find(of).expect("a session's row comes first");
            self.standings[n].apply(&change);
        }
        changes.push(change);
    }

    fn step(&mut self, draws: &Draws, changes: &mut Vec<Change>) {
        let n_sessions = self.standings.len() as u64;
        if n_sessions == 0 || (n_sessions < N_SESSIONS && draws.below(9) == 0) {
            self.standings.push(Standing::default());
            return self.put(Change::Session { row: Box::new(self.session_row(n_sessions, draws)) }, changes);
        }
        let n = draws.below(n_sessions);
        let session = session_id(n);
        let channel = CHANNELS[usize::try_from(draws.below(2)).expect("two")];
        match draws.below(25) {
            kind @ 0..12 => {
                let change = self.change(kind, n, draws);
                self.put(change, changes);
            }
            kind => {
                let n_records = if kind < 15 { 2 + draws.below(MAX_BATCH - 1) } else { 1 };
                let part = self.free_part(&session, channel, draws).filter(|_| draws.below(4) > 0);
                self.append(&session, channel, n_records, part, draws, changes);
            }
        }
    }

    /// Makes a change that is no record.
    fn change(&mut self, kind: u64, n: u64, draws: &Draws) -> Change {
        let session = session_id(n);
        let standing = &self.standings[usize::try_from(n).expect("a few")];
        match kind {
            0 => Change::Session { row: Box::new(self.session_row(n, draws)) },
            1 | 2 => {
                let settled = standing.summary.settled.max(standing.input.tail.previous());
                Change::Cursors { session, settled, consumed: settled }
            }
            3 | 4 => trim(session, standing, draws),
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
            10 => Change::Store { id: StoreId(draws.next_u64()) },
            _ => {
                let object = SnapshotId(draws.next_u64());
                Change::Snapshot { session, end: Some(SeqNum::new(draws.below(9))), object }
            }
        }
    }

    /// Makes records that are appended together, and so share their part id when they have one; a batch to `out` may trim on its way.
    fn append(
        &mut self,
        session: &SessionId,
        channel: ChannelName,
        n_records: u64,
        part: Option<PartId>,
        draws: &Draws,
        changes: &mut Vec<Change>,
    ) {
        for n in 0..n_records {
            let record = self.record(session, channel, draws);
            if let Some(id) = &part {
                let key = (session.clone(), channel, id.clone());
                match self.parts.get_mut(&key) {
                    Some(part) if n > 0 => part.push(record.seq_num),
                    _ => _ = self.parts.insert(key, Part::new(record.seq_num, Millis(self.now_ms))),
                }
            }
            let (session, part) = (session.clone(), part.clone());
            self.put(Change::Record { session: session.clone(), channel, record, part, writer: None }, changes);
            if channel == ChannelName::Out && n_records > 1 && draws.below(4) == 0 {
                let n = (0..N_SESSIONS).find(|n| session_id(*n) == session).expect("it is one of ours");
                let change = trim(session, &self.standings[usize::try_from(n).expect("a few")], draws);
                self.put(change, changes);
            }
        }
    }

    /// Draws a part id that is not taken, if there is one: a new one, or one that was forgotten (D-6).
    fn free_part(&self, session: &SessionId, channel: ChannelName, draws: &Draws) -> Option<PartId> {
        let start = draws.below(N_PARTS);
        let mut ids = (start..N_PARTS).chain(0..start).map(part_id);
        ids.find(|id| self.part(session, channel, id).is_none_or(|part| self.is_forgotten(session, channel, part)))
    }

    /// Gives the newest of the forgotten part ids: a store that clears the oldest away first comes to it last.
    fn newest_forgotten(&self, session: &SessionId, channel: ChannelName) -> Option<PartId> {
        let known = (0..N_PARTS).map(part_id).filter_map(|id| Some((self.part(session, channel, &id)?, id)));
        let forgotten = known.filter(|(part, _)| self.is_forgotten(session, channel, part));
        forgotten.max_by_key(|(part, _)| part.last).map(|(_, id)| id)
    }

    fn part(&self, session: &SessionId, channel: ChannelName, id: &PartId) -> Option<&Part> {
        self.parts.get(&(session.clone(), channel, id.clone()))
    }

    fn is_forgotten(&self, session: &SessionId, channel: ChannelName, part: &Part) -> bool {
        !part.is_remembered(&self.shape(session, channel), self.now())
    }

    fn record(&self, session: &SessionId, channel: ChannelName, draws: &Draws) -> Record {
        let length = usize::try_from(draws.below(60)).expect("a few");
        let new = match draws.below(4) {
            0 => NewRecord::control("turn-complete", []),
            1 if draws.below(2) == 0 => NewRecord::trim(SeqNum::new(draws.below(30))),
            _ => NewRecord::data(&json!(draws.alphanumeric(length)), &PartId::new("p")),
        };
        let seq_num = self.shape(session, channel).tail;
        Record { seq_num, timestamp: self.now_ms, body: new.body, headers: new.headers }
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

fn trim(session: SessionId, standing: &Standing, draws: &Draws) -> Change {
    Change::Trim { session, first: SeqNum::new(draws.below(standing.output.tail.get() + 1)) }
}

pub(super) fn session_id(n: u64) -> SessionId {
    SessionId::new(format!("session_{n}"))
}

pub(super) fn run_id(n: u64) -> RunId {
    RunId::new(format!("run_{n}"))
}

pub(super) fn part_id(n: u64) -> PartId {
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
        queued_at: Some(Millis(8)),
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

#[cfg(test)]
mod tests {
    use turnkeep_host::Entropy;

    use super::*;

    #[test]
    fn in_every_suite_batches_share_a_part_id_days_pass_and_forgotten_ids_come_back_d6() {
        for seed in 0..4 {
            let draws = Entropy::from_seed(seed).draws();
            let mut author = Author::default();
            let (mut batched, mut back) = (0, 0);
            for _ in 0..super::super::N_COMMITS {
                let before = author.parts.clone();
                author.changes(&draws);
                batched += author.parts.values().filter(|part| part.last > part.first).count();
                back += before.iter().filter(|(id, part)| author.parts[*id].first > part.last).count();
            }

            assert!(batched > 9 && back > 9, "seed {seed}: {batched} batches, {back} came back");
            assert!(author.now() > Timestamp::from_millis(0).plus(PART_MEMORY * 4), "seed {seed}: {:?}", author.now());
        }
    }
}

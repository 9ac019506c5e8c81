//! The core, driven step by step. Every test also proves at its end that folding its changes again gives the same state.

mod append;
mod batch;
mod cancel;
mod close;
mod create;
mod ends;
mod facts;
mod ghosts;
mod idle;
mod leases;
mod list;
mod order;
mod owed;
mod races;
mod random;
mod rows;
mod swap;
mod waits;
mod windows;

use std::time::Duration;

use serde_json::{Value, json};
use turnkeep_host::{Entropy, Timestamp};
use turnkeep_protocol::run_api::{EndRun, LeaseRequest, LeasedRun, RunOutcome};
use turnkeep_protocol::session_api::{DrainedRecord, Swapped, TriggerConfig};
use turnkeep_protocol::{
    ChannelName, Header, NewRecord, PartId, Record, RecordKind, RunId, SeqNum, TaskId, WorkerId, control,
};

use super::create::Created;
use super::{Core, Drained, NewSession, NewSwap, NewWait, Refused, RunLook, State, Writer, cancelled_in};
use crate::storage::{Loaded, Tables, WINDOWS, Windows};
use crate::{Change, RunReason, RunRow};

const LEASE: Duration = Duration::from_secs(10);
const IN: ChannelName = ChannelName::In;
const OUT: ChannelName = ChannelName::Out;

/// Sessions keep their windows when their runs end: only so does a state that was lived equal one that was loaded.
const KEPT: Windows = Windows::all(WINDOWS.live);

/// A core with a clock, and every change it ever made.
struct Fixture {
    core: Core,
    now: Timestamp,
    log: Vec<Change>,
}

impl Fixture {
    fn new() -> Self {
        let ids = Entropy::from_seed(1).draws();
        Self {
            core: Core::load(Loaded::default(), ids, LEASE).with_windows(KEPT),
            now: Timestamp::from_millis(1_000_000),
            log: Vec::new(),
        }
    }

    /// Makes a fixture with the session `chat`, its preload run queued.
    fn with_chat() -> Self {
        let mut fixture = Self::new();
        fixture.create(json!({ "chatId": "chat", "trigger": "preload" })).unwrap();
        fixture
    }

    fn keep<T>(&mut self, result: T) -> T {
        self.log.extend(self.core.take_changes());
        self.core.committed();
        result
    }

    /// Gives what a store would say of a run.
    fn look(&self, run: &RunId) -> RunLook {
        look_of(self.tables().run(run))
    }

    /// Gives what a store would hold.
    fn tables(&self) -> Tables {
        let mut tables = Tables::default();
        tables.apply(self.log.clone());
        tables
    }

    /// Makes the core that a restarted server would have.
    fn reloaded(&self, seed: u64, lease: Duration) -> Core {
        Core::load(self.tables().load(KEPT), Entropy::from_seed(seed).draws(), lease).with_windows(KEPT)
    }

    /// Gives every run that ever was, as it is now.
    fn runs(&self) -> Vec<RunRow> {
        let mut ids: Vec<&RunId> = Vec::new();
        for change in &self.log {
            if let Change::Run { row } = change
                && !ids.contains(&&row.id)
            {
                ids.push(&row.id);
            }
        }
        let tables = self.tables();
        ids.into_iter().map(|id| tables.run(id).expect("it was stored")).collect()
    }

    fn create(&mut self, base_payload: Value) -> Result<Created, Refused> {
        self.create_as(new_session(Some("chat"), base_payload))
    }

    fn create_as(&mut self, new: NewSession) -> Result<Created, Refused> {
        let created = self.core.create(self.now, new);
        self.keep(created)
    }

    fn append(&mut self, channel: ChannelName, body: &str, part: Option<&str>) -> Result<u64, Refused> {
        let seq = self.core.append(self.now, "chat", channel, body, part.map(PartId::new), None, None);
        self.keep(seq).map(SeqNum::get)
    }

    /// Appends a message that wants a turn.
    fn send(&mut self) -> u64 {
        self.append(IN, &message("submit-message"), None).unwrap()
    }

    fn try_lease(&mut self) -> Option<LeasedRun> {
        self.lease_as("agent", "1")
    }

    fn lease(&mut self) -> LeasedRun {
        self.try_lease().expect("a run is queued")
    }

    fn lease_as(&mut self, task: &str, version: &str) -> Option<LeasedRun> {
        let request = LeaseRequest {
            worker_id: WorkerId::new("w"),
            task_ids: vec![TaskId::new(task)],
            version: version.to_owned(),
            timeout_in_seconds: 0,
        };
        let run = self.core.lease(self.now, &request);
        self.keep(run)
    }

    fn write(&mut self, run: &LeasedRun, records: Vec<NewRecord>) -> Result<Vec<u64>, Refused> {
        self.write_part(Some(run), records, None)
    }

    fn write_part(
        &mut self,
        run: Option<&LeasedRun>,
        records: Vec<NewRecord>,
        part: Option<&str>,
    ) -> Result<Vec<u64>, Refused> {
        let writer = run.map(writer);
        let seqs = self.core.write_out(self.now, "chat", writer.as_ref(), &records, part.map(PartId::new), None);
        self.keep(seqs).map(|seqs| seqs.into_iter().map(SeqNum::get).collect())
    }

    fn heartbeat(&mut self, run: &LeasedRun) -> Result<bool, Refused> {
        let beaten = self.core.heartbeat(self.now, &writer(run), None, None, self.look(&run.run_id));
        self.keep(beaten)
    }

    fn end(&mut self, run: &LeasedRun, outcome: RunOutcome) -> Result<Option<RunId>, Refused> {
        self.end_at(run, outcome, None)
    }

    fn end_at(&mut self, run: &LeasedRun, outcome: RunOutcome, settled: Option<u64>) -> Result<Option<RunId>, Refused> {
        let end = EndRun { outcome, settled_cursor: settled.map(SeqNum::new), consumed_cursor: None };
        let ended = self.core.end(self.now, &writer(run), end);
        self.keep(ended)
    }

    fn cancel(&mut self, run: &RunId) -> Result<(), Refused> {
        let cancelled = self.core.cancel(self.now, run, self.look(run));
        self.keep(cancelled)
    }

    /// Asks for a successor of `run`, which names its attempt.
    fn swap(&mut self, run: &LeasedRun) -> Result<Swapped, Refused> {
        self.swap_as(NewSwap { writer: Some(writer(run)), ..new_swap(&run.run_id) })
    }

    fn swap_as(&mut self, swap: NewSwap) -> Result<Swapped, Refused> {
        let look = self.look(&swap.calling_run);
        let swapped = self.core.end_and_continue(self.now, swap, look);
        self.keep(swapped)
    }

    fn close(&mut self, reason: Option<&str>) {
        self.core.close(self.now, "chat", reason.map(str::to_owned)).unwrap();
        self.keep(());
    }

    /// Lets a worker fall silent after a first sign of life: its lease lapses and costs a try.
    fn lose(&mut self, run: &LeasedRun) {
        self.heartbeat(run).unwrap();
        self.pass(LEASE);
    }

    /// Lets time pass; what is due happens.
    fn pass(&mut self, time: Duration) {
        self.now = self.now.plus(time);
        self.core.tick(self.now);
        self.keep(());
    }

    /// Gives the readable records of `out`, each in a word or two.
    fn out(&self) -> Vec<String> {
        self.records(OUT).iter().map(in_words).collect()
    }

    /// Drains a channel of `chat` that is in memory whole.
    fn drain(&self, channel: ChannelName, cursor: Option<u64>) -> Vec<DrainedRecord> {
        match self.core.drain("chat", channel, cursor.map(SeqNum::new)).unwrap() {
            Drained::Here(records) => records,
            Drained::Cold(cold) => panic!("{cold:?}"),
        }
    }

    fn records(&self, channel: ChannelName) -> Vec<Record> {
        self.core.read("chat", channel, SeqNum::ZERO).unwrap().records
    }

    fn settled_cursor(&self) -> Option<u64> {
        self.core.find("chat").unwrap().summary.settled.map(SeqNum::get)
    }

    fn is_settled(&self) -> bool {
        self.core.open("chat", OUT, None, true).unwrap().settled
    }

    fn live_run(&self) -> Option<&crate::RunRow> {
        self.core.state().live_run(self.core.find("chat").unwrap())
    }

    fn rebuilt(&self) -> State {
        // Through JSON, as a store would keep them.
        let text = serde_json::to_string(&self.log).unwrap();
        let changes: Vec<Change> = serde_json::from_str(&text).unwrap();
        let mut state = State::default();
        changes.iter().for_each(|change| state.apply(change));
        let ids: Vec<_> = state.sessions().map(|session| session.row.id.clone()).collect();
        ids.iter().for_each(|id| state.evict(id, &KEPT));
        state
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            assert_eq!(&self.rebuilt(), self.core.state(), "folding the changes again gives another state");
            let loaded = State::load(self.tables().load(KEPT));
            assert_eq!(&loaded, self.core.state(), "a store gives another state");
        }
    }
}

/// Gives what a request knows of a run that it has looked up.
fn look_of(found: Option<RunRow>) -> RunLook {
    found.map_or(RunLook::Nothing, |run| RunLook::Found { cancelled_in: cancelled_in(&run) })
}

fn new_session(external_id: Option<&str>, base_payload: Value) -> NewSession {
    let Value::Object(base_payload) = base_payload else { panic!("a base payload is an object") };
    let trigger_config = TriggerConfig { base_payload, ..TriggerConfig::default() };
    NewSession { trigger_config, external_id: external_id.map(str::to_owned), ..NewSession::plain() }
}

/// A wait on `in` from the start, without end.
fn new_wait(url_id: &str) -> NewWait {
    NewWait {
        url_id: url_id.to_owned(),
        channel: IN,
        expires_at: None,
        idempotency_key: None,
        idempotency_key_expires_at: None,
        tags: Vec::new(),
        after: None,
        settled: None,
    }
}

/// A swap for an upgrade of `chat` by a caller who names no attempt.
fn new_swap(calling: &RunId) -> NewSwap {
    NewSwap {
        url_id: "chat".to_owned(),
        calling_run: calling.clone(),
        reason: RunReason::Upgrade,
        writer: None,
        settled: None,
        consumed: None,
    }
}

fn message(trigger: &str) -> String {
    json!({ "kind": "message", "payload": { "chatId": "chat", "trigger": trigger } }).to_string()
}

fn writer(run: &LeasedRun) -> Writer {
    Writer { run: run.run_id.clone(), attempt: run.attempt }
}

fn data(kind: &str) -> NewRecord {
    NewRecord::data(&json!({ "type": kind }), &PartId::new("p"))
}

fn turn_complete(settled: u64) -> NewRecord {
    NewRecord::control(control::TURN_COMPLETE, [Header::new("session-in-event-id", settled.to_string())])
}

fn failed() -> RunOutcome {
    RunOutcome::Failed { error: "a hook threw".to_owned() }
}

fn crashed() -> RunOutcome {
    RunOutcome::Crashed { error: "the process panicked".to_owned() }
}

fn in_words(record: &Record) -> String {
    match record.kind() {
        RecordKind::Data => record.envelope().unwrap().data["type"].as_str().unwrap_or("?").to_owned(),
        RecordKind::Command(op) => format!("{op} {}", record.body),
        RecordKind::Control(subtype) => {
            let siblings = record.headers.iter().skip(1).map(|Header(name, value)| format!(" {name}={value}"));
            siblings.fold(subtype.to_owned(), |text, sibling| text + &sibling)
        }
    }
}

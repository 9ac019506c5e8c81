//! What became durable although its commit failed is told at the next start, whatever of it the server loads.

use std::sync::Arc;

use serde_json::json;
use turnkeep_protocol::{Header, NewRecord, PartId, Record, control};
use turnkeep_session::conformance::FaultyDisk;
use turnkeep_session::{MemoryStorage, RunReason, SessionRow, Window, Windows};

use super::*;
use crate::overheard::Overheard;

/// As the server has it of a session without a live run.
const NOTHING: Window = Window { records: Bounds { records: 0, bytes: 0 }, parts: 0 };

fn session() -> SessionId {
    SessionId::new("session_1")
}

fn record(channel: ChannelName, seq: u64, new: NewRecord) -> Change {
    let NewRecord { body, headers } = new;
    let record = Record { seq_num: SeqNum::new(seq), timestamp: 1_000 + seq, body, headers };
    Change::Record { session: session(), channel, record, part: None, writer: None }
}

fn row(run: &str, closed: bool) -> Change {
    let row: SessionRow = serde_json::from_value(json!({
        "id": session(), "externalId": "chat", "kind": "chat.agent", "taskId": "agent", "triggerConfig": { "basePayload": {} }, "tags": [],
        "closedAt": closed.then_some(9), "createdAt": 1, "updatedAt": 1, "currentRun": run, "runVersion": 1,
    }))
    .unwrap();
    Change::Session { row: Box::new(row) }
}

fn run(id: &str, state: serde_json::Value) -> Change {
    let row: RunRow = serde_json::from_value(json!({
        "id": id, "session": session(), "taskId": "agent", "payload": {}, "reason": RunReason::Initial, "attempt": 1,
        "maxAttempts": 3, "status": state, "queued": 1, "createdAt": 1,
    }))
    .unwrap();
    Change::Run { row: Box::new(row) }
}

fn text() -> NewRecord {
    NewRecord::data(&json!({ "type": "text-delta" }), &PartId::new("p"))
}

/// Says each entry in a few words.
fn told(trace: &Trace, from: usize) -> Vec<String> {
    let word = |event: &Event| match event {
        Event::Stored { session, channel, record, writer } => {
            assert!(writer.is_none(), "nobody knows who wrote it");
            format!("{session} {channel:?} {}", record.seq_num)
        }
        Event::Trimmed { session, first_kept, .. } => format!("{session} from {first_kept}"),
        Event::Run { session, run, status, .. } => format!("{session} {run} {status}"),
        Event::SnapshotStored { session, snapshot } => format!("{session} snapshot {}", snapshot.is_some()),
        other => panic!("{other:?}"),
    };
    trace.scan(from, |entries| entries.iter().map(|entry| word(&entry.event)).collect())
}

#[tokio::test]
async fn what_a_failed_commit_made_durable_is_told_though_nothing_of_it_is_loaded_d12_d37() {
    let trace = Trace::new();
    let objects = Arc::new(Shelf::new(FaultyDisk::new().life()));
    let teller = Teller::new(trace.clone(), objects.clone(), Backend::default());
    let inner: Arc<dyn Storage> = Arc::new(MemoryStorage::without_journal());
    let store = Overheard::new(inner.clone(), teller);
    let windows = Windows { live: NOTHING, idle: NOTHING };
    let begin = [
        row("run_1", false),
        run("run_1", json!({ "state": "queued" })),
        record(ChannelName::In, 0, text()),
        record(ChannelName::Out, 0, text()),
    ];
    store.commit(begin.to_vec()).await.unwrap();
    let n_told = trace.entries().len();

    // The disk takes all of these and says that it has not.
    let snapshot = json!({ "version": 1, "messages": [], "savedAt": 1 }).to_string();
    let place = object_place(&environment(), &session(), SnapshotId(7));
    objects.objects().put_opts(&place, snapshot.into(), Default::default()).await.unwrap();
    let closed = NewRecord::control(control::SESSION_CLOSED, [Header::new("session-closed-reason", "done")]);
    let mut unanswered = vec![
        run("run_1", json!({ "state": "completed" })),
        run("run_2", json!({ "state": "cancelled" })),
        row("run_2", true),
        Change::Trim { session: session(), first: SeqNum::new(1) },
        Change::Snapshot { session: session(), end: None, object: SnapshotId(7) },
    ];
    unanswered.extend((1..600).map(|seq| record(ChannelName::Out, seq, text())));
    unanswered.push(record(ChannelName::Out, 600, closed));
    inner.commit(unanswered).await.unwrap();

    for _ in 0..2 {
        store.load(windows).await.unwrap();
        let heard = told(&trace, n_told);
        let mut want: Vec<_> = (1..=600).map(|seq| format!("chat Out {seq}")).collect();
        want.extend(
            ["chat from 1", "chat run_1 completed", "chat run_2 cancelled", "chat snapshot true"].map(str::to_owned),
        );
        assert_eq!(heard, want, "each once, in order");
    }
}

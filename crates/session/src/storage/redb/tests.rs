//! The store in one file: the shared suite, its format's version, its size, and what stands beside it.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use redb::ReadableTableMetadata as _;
use redb::backends::InMemoryBackend;
use redb::{ReadableDatabase as _, WriteTransaction};
use serde_json::json;
use turnkeep_protocol::{NewRecord, TaskId};

use super::*;
use crate::change::Millis;
use crate::standing::PART_MEMORY;
use crate::storage::{WINDOWS, Windows, conformance};
use crate::{MemoryDisk, MemoryStorage, SessionRow};

/// Seeds of the suite over a disk that fails; each has some hundred operations that a fault may hit.
const N_FAILING: u64 = 12;

async fn in_folder(folder: &tempfile::TempDir) -> RedbStorage {
    RedbStorage::in_folder(&Host::os(), folder.path()).await.unwrap()
}

#[tokio::test]
async fn a_store_in_a_folder_gives_back_what_was_committed_over_its_lives_d12_d26() {
    for seed in 0..2 {
        let folder = tempfile::tempdir().unwrap();
        conformance::check(seed, || async { Arc::new(in_folder(&folder).await) as Arc<dyn Storage> }).await;
    }
}

#[tokio::test]
async fn a_journal_gives_back_what_was_committed_over_its_lives_d12() {
    for seed in 0..2 {
        let disk = Arc::new(MemoryDisk::new());
        let open = || async { Arc::new(MemoryStorage::open(disk.clone())) as Arc<dyn Storage> };
        conformance::check(seed, open).await;
    }
}

#[tokio::test]
async fn a_store_on_a_disk_that_fails_keeps_what_it_acknowledged_and_makes_nothing_up_d12_d26() {
    for seed in 0..N_FAILING {
        let open = |life| async {
            let opened = RedbStorage::open(&Host::os(), "f", life).await;
            opened.map(|storage| Arc::new(storage) as Arc<dyn Storage>)
        };
        conformance::check_failing(seed, open).await;
    }
}

#[tokio::test]
async fn a_journal_on_a_disk_that_fails_keeps_what_it_acknowledged_and_makes_nothing_up_d12() {
    for seed in 0..N_FAILING {
        let open = |life| async { Ok(Arc::new(MemoryStorage::open(Arc::new(life))) as Arc<dyn Storage>) };
        conformance::check_failing(seed, open).await;
    }
}

/// A session's first change.
fn session() -> Change {
    Change::Session { row: Box::new(session_row()) }
}

fn session_row() -> SessionRow {
    let row = json!({
        "id": "session_1", "kind": "chat.agent", "taskId": "agent", "triggerConfig": { "basePayload": {} }, "tags": [],
        "createdAt": 0, "updatedAt": 0, "runVersion": 0,
    });
    let row: SessionRow = serde_json::from_value(row).unwrap();
    assert_eq!(row.task_id, TaskId::new("agent"));
    row
}

fn record(n: u64, at: Millis, part: Option<PartId>) -> Change {
    let NewRecord { body, headers } = NewRecord::data(&json!("x".repeat(200)), &PartId::new("p"));
    let record = Record { seq_num: SeqNum::new(n), timestamp: at.0, body, headers };
    Change::Record { session: SessionId::new("session_1"), channel: ChannelName::Out, record, part, writer: None }
}

fn trim(first: u64) -> Change {
    Change::Trim { session: SessionId::new("session_1"), first: SeqNum::new(first) }
}

/// Lets ten records come and ten go in each of so many commits; gives the file's length.
async fn append_and_trim(storage: &RedbStorage, folder: &tempfile::TempDir, commits: std::ops::Range<u64>) -> u64 {
    for n in commits {
        let at = Millis(n * 3_600_000);
        let part = |seq: u64| Some(PartId::new(format!("part-{seq}")));
        let records = (n * 10..n * 10 + 10).map(|seq| record(seq, at, part(seq)));
        storage.commit(records.chain([trim(n * 10)]).collect()).await.unwrap();
    }
    fs::metadata(folder.path().join("turnkeep.redb")).unwrap().len()
}

#[tokio::test]
async fn a_channel_that_is_written_and_trimmed_for_ever_does_not_let_its_file_grow_d6_d26() {
    let folder = tempfile::tempdir().unwrap();
    let storage = in_folder(&folder).await;
    storage.commit(vec![session()]).await.unwrap();

    let early = append_and_trim(&storage, &folder, 0..60).await;
    let late = append_and_trim(&storage, &folder, 60..400).await;

    assert!(late <= early, "{early} bytes after 600 records, {late} after 4000");
    let txn = storage.db.begin_read().unwrap();
    assert_eq!(txn.open_table(RECORDS).unwrap().len().unwrap(), 10, "what was trimmed is gone");
    // An hour for each commit: a day of parts, and what is readable.
    let hours = PART_MEMORY.as_secs() / Duration::from_secs(3600).as_secs();
    for n_parts in [txn.open_table(PARTS).unwrap().len().unwrap(), txn.open_table(PART_PLACES).unwrap().len().unwrap()]
    {
        assert!(n_parts <= (hours + 2) * 10, "{n_parts} part ids are remembered");
    }
}

fn refuse(_: &WriteTransaction) -> Result<(), StorageError> {
    Err(StorageError::Damaged { reason: "a step that fails".to_owned() })
}

fn rename_session(txn: &WriteTransaction) -> Result<(), StorageError> {
    let mut sessions = txn.open_table(SESSIONS).map_err(failed)?;
    sessions.remove("session_1").map_err(failed)?;
    Ok(())
}

#[tokio::test]
async fn an_older_format_is_brought_up_in_one_step_or_not_at_all() {
    let db = Database::builder().create_with_backend(InMemoryBackend::new()).unwrap();
    format::bring_up(&db, "f", &[]).unwrap();
    write::commit(&db, vec![session()]).unwrap();
    let look = || {
        let txn = db.begin_read().unwrap();
        let version = txn.open_table(META).unwrap().get(FORMAT).unwrap().unwrap().value();
        (version, txn.open_table(SESSIONS).unwrap().len().unwrap())
    };

    assert!(format::bring_up(&db, "f", &[rename_session, refuse]).is_err());
    assert_eq!(look(), (1, 1), "a step that fails leaves the old version whole");
    format::bring_up(&db, "f", &[rename_session]).unwrap();
    assert_eq!(look(), (2, 0));
    format::bring_up(&db, "f", &[refuse]).unwrap();
    assert_eq!(look(), (2, 0), "a step is made once");
}

#[tokio::test]
async fn a_store_with_snapshots_inside_is_refused_and_left_alone_and_one_without_is_brought_up_d26() {
    const BODIES: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("snapshots");
    for bodies in [0, 1] {
        let db = Database::builder().create_with_backend(InMemoryBackend::new()).unwrap();
        format::bring_up(&db, "f", &[]).unwrap();
        let txn = db.begin_write().unwrap();
        for _ in 0..bodies {
            txn.open_table(BODIES).unwrap().insert("session_1", &b"{}"[..]).unwrap();
        }
        txn.commit().unwrap();

        let brought = format::bring_up(&db, "f", format::STEPS);

        let told = brought.map_err(|error| (error.is_retryable(), error.to_string()));
        let refused = "the store is older than the first release: it holds 1 chat snapshots inside".to_owned();
        assert_eq!(told, if bodies == 0 { Ok(()) } else { Err((false, refused)) });
        let left = db.begin_read().unwrap().open_table(BODIES).map_or(0, |table| table.len().unwrap());
        assert_eq!(left, bodies);
    }
}

#[tokio::test]
async fn a_newer_format_is_refused_by_name_and_left_alone() {
    let db = Database::builder().create_with_backend(InMemoryBackend::new()).unwrap();
    format::bring_up(&db, "f", &[rename_session, rename_session]).unwrap();

    let refused = format::bring_up(&db, "data/f", &[]).unwrap_err();

    assert_eq!(refused.to_string(), "store data/f has format 3; this server knows 1 and older ones");
    assert!(!refused.is_retryable());
    format::bring_up(&db, "f", &[refuse, refuse]).unwrap();
}

#[tokio::test]
async fn a_file_that_is_no_store_is_refused_and_a_store_in_use_may_be_free_later() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("turnkeep.redb"), "a letter to mother ".repeat(999)).unwrap();
    let refused = RedbStorage::in_folder(&Host::os(), folder.path()).await.err().unwrap();
    assert!(!refused.is_retryable(), "{refused}");

    let folder = tempfile::tempdir().unwrap();
    let _first = in_folder(&folder).await;
    let second = RedbStorage::in_folder(&Host::os(), folder.path()).await.err().unwrap();
    assert!(matches!(second, StorageError::InUse) && second.is_retryable(), "{second}");
}

/// Takes rows out of a store's tables behind its back, and gives what a server is told that starts on it.
async fn without(damage: impl FnOnce(&WriteTransaction)) -> String {
    let folder = tempfile::tempdir().unwrap();
    let storage = in_folder(&folder).await;
    let records = (0..4).map(|n| record(n, Millis(0), Some(PartId::new(format!("part-{n}")))));
    storage.commit([session()].into_iter().chain(records).collect()).await.unwrap();
    storage.load(Windows::all(WINDOWS.live)).await.unwrap();
    let txn = storage.db.begin_write().unwrap();
    damage(&txn);
    txn.commit().unwrap();

    let refused = storage.load(Windows::all(WINDOWS.live)).await.unwrap_err();

    assert!(!refused.is_retryable(), "{refused}");
    refused.to_string()
}

#[tokio::test]
async fn a_store_that_lost_rows_is_refused_and_the_place_is_named_d12() {
    for lost in [1, 3] {
        let key = ("session_1", number(ChannelName::Out), lost);
        let refused = without(|txn| drop(txn.open_table(RECORDS).unwrap().remove(key).unwrap())).await;
        assert_eq!(refused, "the store is damaged: session_1/out: its newest records are not those before 4");
    }
    let key = ("session_1", number(ChannelName::Out), "part-2");
    let refused = without(|txn| drop(txn.open_table(PARTS).unwrap().remove(key).unwrap())).await;
    assert_eq!(refused, "the store is damaged: part part-2 of session_1 is missing");

    let mut row = session_row();
    row.current_run = Some(RunId::new("run_1"));
    let row = encoded(&row);
    let refused = without(|txn| put(txn, "session_1", &row)).await;
    assert_eq!(refused, "the store is damaged: session_1 names run_1, which is not there");
}

fn put(txn: &WriteTransaction, id: &str, row: &[u8]) {
    txn.open_table(SESSIONS).unwrap().insert(id, row).unwrap();
}

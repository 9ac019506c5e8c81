use std::sync::Mutex as StdMutex;

use futures::FutureExt;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use tokio::time::Duration;
use turnkeep_protocol::run_api::{Mark, WaitOutcome};
use turnkeep_protocol::session_api::DrainedRecord;
use turnkeep_protocol::{ChannelName, ChatSnapshot, InputRecord, JsonObject};

use super::*;
use crate::link::DurableWait;

/// Takes a second per batch and notes its sizes; fails from the batch on that `fails_at` names.
#[derive(Default)]
struct SlowLink {
    batches: StdMutex<Vec<usize>>,
    fails_at: Option<usize>,
}

impl Link for SlowLink {
    fn append_out(&self, records: Vec<NewRecord>) -> BoxFuture<'_, Result<Vec<SeqNum>, Error>> {
        Box::pin(async move {
            tokio::time::sleep(Duration::from_secs(1)).await;
            let mut batches = self.batches.lock().unwrap();
            if self.fails_at == Some(batches.len()) {
                return Err(Error::LeaseLost);
            }
            let before: usize = batches.iter().sum();
            batches.push(records.len());
            Ok((before..before + records.len()).map(|at| SeqNum::new(at as u64)).collect())
        })
    }

    fn drain(&self, _: ChannelName, _: Option<SeqNum>) -> BoxFuture<'_, Result<Vec<DrainedRecord>, Error>> {
        unreachable!("a writer only writes")
    }

    fn follow_in(&self, _: Option<SeqNum>) -> BoxFuture<'_, Result<BoxStream<'static, InputRecord>, Error>> {
        unreachable!("a writer only writes")
    }

    fn read_snapshot(&self) -> BoxFuture<'_, crate::link::SnapshotRead> {
        unreachable!("a writer only writes")
    }

    fn write_metadata(&self, _: JsonObject) -> BoxFuture<'_, Result<(), Error>> {
        unreachable!("a writer only writes")
    }

    fn write_snapshot(&self, _: &ChatSnapshot) -> BoxFuture<'_, Result<(), Error>> {
        unreachable!("a writer only writes")
    }

    fn mark(&self, _: Mark) -> BoxFuture<'_, Result<(), Error>> {
        unreachable!("a writer only writes")
    }

    fn wait(&self, _: DurableWait) -> BoxFuture<'_, Result<WaitOutcome, Error>> {
        unreachable!("a writer only writes")
    }

    fn mint_token(&self) -> BoxFuture<'_, Option<String>> {
        async { None }.boxed()
    }
}

fn writer(link: SlowLink) -> (OutWriter, Arc<SlowLink>) {
    let (host, link) = (Host::os(), Arc::new(link));
    (OutWriter::start(&host, link.clone(), host.entropy()), link)
}

fn delta() -> UiMessageChunk {
    UiMessageChunk::text_delta("t", "x")
}

#[tokio::test(start_paused = true)]
async fn chunks_collect_while_a_batch_is_under_way() {
    // S-170, S-173.
    let (out, link) = writer(SlowLink::default());

    out.chunk(&delta()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(1)).await;
    for _ in 0..5 {
        out.chunk(&delta()).await.unwrap();
    }
    out.flush().await.unwrap();

    assert_eq!(*link.batches.lock().unwrap(), [1, 5]);
}

#[tokio::test(start_paused = true)]
async fn a_boundary_is_answered_with_its_place_when_everything_before_it_is_stored_a190_s174() {
    // S-172.
    let (out, link) = writer(SlowLink::default());
    for _ in 0..3 {
        out.chunk(&delta()).await.unwrap();
    }

    let seq_num = out.control(NewRecord::control("turn-complete", [])).await.unwrap();

    assert_eq!(seq_num, SeqNum::new(3));
    assert_eq!(link.batches.lock().unwrap().iter().sum::<usize>(), 4);
}

#[tokio::test(start_paused = true)]
async fn batches_are_bounded() {
    // S-173.
    let (out, link) = writer(SlowLink::default());
    out.chunk(&delta()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(1)).await;

    for _ in 0..MAX_BATCH_RECORDS + 1 {
        out.chunk(&delta()).await.unwrap();
    }
    for _ in 0..4 {
        out.chunk(&UiMessageChunk::text_delta("t", "x".repeat(1_000_000))).await.unwrap();
    }
    out.flush().await.unwrap();

    assert_eq!(*link.batches.lock().unwrap(), [1, MAX_BATCH_RECORDS, 3, 2]);
}

#[tokio::test(start_paused = true)]
async fn a_lost_lease_reaches_every_waiting_and_later_writer_d36() {
    let (out, _link) = writer(SlowLink { fails_at: Some(0), ..SlowLink::default() });

    out.chunk(&delta()).await.unwrap();
    assert_eq!(out.flush().await, Err(Error::LeaseLost));
    assert_eq!(out.chunk(&delta()).await, Err(Error::LeaseLost));
    assert_eq!(out.control(NewRecord::control("turn-complete", [])).await, Err(Error::LeaseLost));
}

/// Asks for the reason in the very moment that it is woken.
struct Woken {
    out: OutWriter,
    why: StdMutex<Option<Error>>,
}

impl std::task::Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.why.lock().unwrap().get_or_insert_with(|| self.out.why_stopped());
    }
}

#[tokio::test(start_paused = true)]
async fn the_reason_of_a_failure_is_there_before_anyone_who_waits_is_woken_d36() {
    let (out, _link) = writer(SlowLink { fails_at: Some(0), ..SlowLink::default() });
    out.chunk(&delta()).await.unwrap();
    let woken = Arc::new(Woken { out: out.clone(), why: StdMutex::default() });
    let mut flushing = Box::pin(out.flush());
    let waker = woken.clone().into();
    assert!(flushing.as_mut().poll(&mut std::task::Context::from_waker(&waker)).is_pending());

    tokio::time::sleep(Duration::from_secs(2)).await;

    assert_eq!(*woken.why.lock().unwrap(), Some(Error::LeaseLost));
}

#[tokio::test(start_paused = true)]
async fn a_chunk_of_exactly_the_cap_passes_and_one_byte_more_does_not_a17_s175_aa164() {
    let (out, _link) = writer(SlowLink::default());
    let frame = r#"{"data":{"type":"text-delta","id":"t","delta":""},"id":"1234567"}"#.len();
    let of_size = |size: usize| UiMessageChunk::text_delta("t", "x".repeat(size - frame));

    assert_eq!(out.chunk(&of_size(MAX_CHUNK_BYTES)).await, Ok(()));
    let refused = out.chunk(&of_size(MAX_CHUNK_BYTES + 1)).await.unwrap_err();

    let want = ChunkTooLarge {
        chunk_type: Some("text-delta".to_owned()),
        chunk_size: MAX_CHUNK_BYTES + 1,
        max_size: MAX_CHUNK_BYTES,
    };
    assert_eq!(refused, Error::ChunkTooLarge(want));
}

#[test]
fn an_oversize_chunk_is_named_by_type_else_kind_else_not_at_all_a17_aa164() {
    let named = |value: serde_json::Value| {
        let record = NewRecord { body: "x".repeat(MAX_CHUNK_BYTES + 1), headers: Vec::new() };
        match check_size(&value, &record) {
            Err(Error::ChunkTooLarge(error)) => error.chunk_type,
            other => panic!("{other:?}"),
        }
    };

    assert_eq!(named(serde_json::json!({ "type": "file", "kind": "k" })).as_deref(), Some("file"));
    assert_eq!(named(serde_json::json!({ "kind": "k" })).as_deref(), Some("k"));
    assert_eq!(named(serde_json::json!({})), None);
}

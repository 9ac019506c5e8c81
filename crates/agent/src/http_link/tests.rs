use std::sync::Mutex;

use serde_json::json;

use super::*;

fn page(places: std::ops::Range<u64>) -> Vec<DrainedRecord> {
    let record =
        |at| DrainedRecord { data: json!(0), id: String::new(), seq_num: SeqNum::new(at), headers: Vec::new() };
    places.map(record).collect()
}

#[tokio::test]
async fn a_drain_reads_until_a_page_is_empty_a49_s97() {
    let cursors = Mutex::new(Vec::new());

    let records = all_pages(Some(SeqNum::new(4)), |after| {
        cursors.lock().unwrap().push(after.map(SeqNum::get));
        let page = match after.map(SeqNum::get) {
            Some(4) => page(5..7),
            Some(6) => page(7..8),
            _ => Vec::new(),
        };
        async { Ok(page) }.boxed()
    });

    assert_eq!(records.await, Ok(page(5..8)));
    assert_eq!(*cursors.lock().unwrap(), [Some(4), Some(6), Some(7)]);
}

#[tokio::test]
async fn a_drain_that_never_ends_is_given_up_a49() {
    let endless = all_pages(None, |_| async { Ok(page(0..1)) }.boxed()).await;

    assert!(endless.is_err());
}

#[test]
fn only_a_snapshot_that_was_never_stored_is_missing_a44() {
    let refused = |status| Error::Refused { what: "snapshot", status, body: String::new() };

    assert_eq!(SnapshotRead::from(refused(404)), SnapshotRead::Missing);
    assert_eq!(SnapshotRead::from(refused(403)), SnapshotRead::Failed(refused(403)));
}

#[tokio::test(start_paused = true)]
async fn a_token_that_is_late_is_done_without_after_three_seconds_a93() {
    let host = Host::os();
    // Nobody accepts: the connection stands, and no answer ever comes.
    let silent = host.net().listen("127.0.0.1:0").await.unwrap();
    let target = LinkTarget {
        base: format!("http://{}", silent.local_addr()).parse().unwrap(),
        secret_key: "key".to_owned(),
        run_id: RunId::new("run_1"),
        attempt: 1,
        session_key: "chat".to_owned(),
    };
    let link = HttpLink::new(host.clone(), target, host.entropy());
    let began = tokio::time::Instant::now();

    assert_eq!(link.mint_token().await, None);
    assert_eq!(began.elapsed().as_secs(), 3);
}

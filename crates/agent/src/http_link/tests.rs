mod canned;

use std::sync::Mutex;

use serde_json::json;

use self::canned::{Asked, Canned};
use super::*;

fn page(places: std::ops::Range<u64>) -> Vec<DrainedRecord> {
    let record =
        |at| DrainedRecord { data: json!(0), id: String::new(), seq_num: SeqNum::new(at), headers: Vec::new() };
    places.map(record).collect()
}

fn link(host: &Host, address: &str) -> HttpLink {
    let target = LinkTarget {
        base: format!("http://{address}").parse().unwrap(),
        secret_key: "key".to_owned(),
        run_id: RunId::new("run_1"),
        attempt: 1,
        session_key: "chat".to_owned(),
        token_lifetime: Duration::from_millis(90_900),
    };
    HttpLink::new(host.clone(), target, host.entropy())
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

#[test]
fn a_snapshot_is_lost_only_when_the_server_itself_says_so_d86() {
    let lost = r#"{"error":"The snapshot of this session is lost","code":"snapshot_gone"}"#;
    for (status, body, want) in [
        (410, lost, true),
        (410, "", false),
        (410, "<h1>Gone</h1>", false),
        (410, r#"{"error":"Gone","code":"session_closed"}"#, false),
        (403, lost, false),
    ] {
        let refused = Error::Refused { what: "snapshot", status, body: body.to_owned() };
        let want = if want { SnapshotRead::Gone } else { SnapshotRead::Failed(refused.clone()) };
        assert_eq!(SnapshotRead::from(refused), want, "{status} {body}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_token_that_is_late_is_done_without_after_three_seconds_a93() {
    let host = Host::os();
    // Nobody accepts: the connection stands, and no answer ever comes.
    let silent = host.net().listen("127.0.0.1:0").await.unwrap();
    let link = link(&host, &silent.local_addr());
    let began = tokio::time::Instant::now();

    assert_eq!(link.mint_token().await, None);
    assert_eq!(began.elapsed().as_secs(), 3);
}

#[tokio::test(start_paused = true)]
async fn boot_reads_what_is_there_and_waits_for_nothing_aa105_af2_a49() {
    let server = Canned::new(|asked| {
        let records =
            if asked.line.ends_with("records") { json!([{ "data": 1, "id": "x", "seqNum": 4 }]) } else { json!([]) };
        Some((200, json!({ "records": records }).to_string()))
    });
    let began = tokio::time::Instant::now();

    let records = link(&server.host(), "session").drain(ChannelName::Out, None).await.unwrap();

    assert_eq!((records.len(), records[0].seq_num, began.elapsed().as_millis()), (1, SeqNum::new(4), 0));
    let path = "/realtime/v1/sessions/chat/out/records";
    assert_eq!(server.lines(), [format!("get {path}"), format!("get {path}?aftereventid=4")]);
    assert!(
        !server
            .asked()
            .iter()
            .any(|asked| asked.head.contains("event-stream") || asked.head.contains("timeout-seconds"))
    );
}

const SIGNED: &str = "/snapshots/signed?token=x";

/// Answers a request for a signed address; anything else by `answer`.
fn signing(answer: impl Fn(&Asked) -> Option<(u16, String)> + Send + Sync + 'static) -> Canned {
    Canned::new(move |asked| match asked.line.ends_with("/snapshot-url") {
        true => Some((200, json!({ "presignedUrl": SIGNED }).to_string())),
        false => answer(asked),
    })
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_is_read_and_written_at_the_address_that_its_session_signs_aa140_aa142_aa144_a45() {
    let snapshot = ChatSnapshot::new(5, Vec::new(), Some(SeqNum::new(9)), None);
    let stored = serde_json::to_string(&snapshot).unwrap();
    let body = stored.clone();
    let server = signing(move |_| Some((200, body.clone())));
    let link = link(&server.host(), "session");

    assert_eq!(link.read_snapshot().await, SnapshotRead::Found(Box::new(snapshot.clone())));
    assert_eq!(link.write_snapshot(&snapshot).await, Ok(()));

    let address = "/api/v1/sessions/chat/snapshot-url";
    let want = [format!("get {address}"), format!("get {SIGNED}"), format!("put {address}"), format!("put {SIGNED}")];
    assert_eq!(server.lines(), want);
    assert_eq!(server.asked()[3].body, stored);
}

#[tokio::test(start_paused = true)]
async fn a_signed_address_gets_no_key_wherever_it_is_s194() {
    let snapshot = ChatSnapshot::new(5, Vec::new(), None, None);
    let stored = serde_json::to_string(&snapshot).unwrap();
    for address in [SIGNED, "http://session/snapshots/signed", "http://bucket.elsewhere:9000/snapshots/signed?sig=1"] {
        let body = stored.clone();
        let server = Canned::new(move |asked| match asked.line.ends_with("/snapshot-url") {
            true => Some((200, json!({ "presignedUrl": address }).to_string())),
            false => Some((200, body.clone())),
        });
        let link = link(&server.host(), "session");

        assert_eq!(link.read_snapshot().await, SnapshotRead::Found(Box::new(snapshot.clone())));
        assert_eq!(link.write_snapshot(&snapshot).await, Ok(()));

        let has_key: Vec<bool> = server.asked().iter().map(|asked| asked.head.contains("authorization")).collect();
        assert_eq!(has_key, [true, false, true, false], "{address}");
        assert!(server.asked().iter().skip(1).step_by(2).all(|asked| !asked.head.contains("x-run-id")), "{address}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_that_cannot_be_had_says_which_way_aa140_aa141_a44() {
    let read = |server: Canned| async move { link(&server.host(), "session").read_snapshot().await };
    let says = |status: u16, body: &'static str| signing(move |_| Some((status, body.to_owned())));

    assert_eq!(read(says(404, "")).await, SnapshotRead::Missing);
    for bad in ["{", "3", r#"{"version":2,"savedAt":5,"messages":[]}"#, r#"{"version":1,"savedAt":5,"messages":{}}"#] {
        assert_eq!(read(says(200, bad)).await, SnapshotRead::Invalid, "{bad}");
    }
    let unsigned = Canned::new(|_| Some((403, "no".to_owned())));
    for server in [says(403, "no"), says(500, ""), signing(|_| None), unsigned] {
        assert!(matches!(read(server).await, SnapshotRead::Failed(_)));
    }
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_that_cannot_be_stored_is_an_error_and_no_panic_aa143_a108() {
    let snapshot = ChatSnapshot::new(5, Vec::new(), None, None);
    let unsigned = Canned::new(|_| Some((403, "no".to_owned())));
    for server in [
        signing(|_| Some((403, "no".to_owned()))),
        signing(|_| Some((503, String::new()))),
        signing(|_| None),
        unsigned,
    ] {
        assert!(link(&server.host(), "session").write_snapshot(&snapshot).await.is_err());
    }
}

#[tokio::test(start_paused = true)]
async fn a_turns_token_may_do_what_its_chat_needs_and_lives_as_the_agent_says_a93_a194() {
    let server = Canned::new(|_| Some((200, json!({ "token": "t" }).to_string())));

    assert_eq!(link(&server.host(), "session").mint_token().await.as_deref(), Some("t"));

    let asked: Value = serde_json::from_str(&server.asked()[0].body).unwrap();
    let scopes = ["read:runs:run_1", "read:sessions:chat", "write:inputStreams:run_1", "write:sessions:chat"];
    assert_eq!(asked, json!({ "scopes": scopes, "expirationTime": "90s" }));
}

#[tokio::test(start_paused = true)]
async fn a_wait_is_asked_for_in_whole_seconds_at_least_one_c249() {
    let server = Canned::new(|asked| match asked.line.starts_with("post") {
        true => Some((200, json!({ "waitpointId": "wp", "isCached": false }).to_string())),
        false => Some((200, json!({ "id": "wp", "status": "COMPLETED", "outcome": "record" }).to_string())),
    });
    let link = link(&server.host(), "session");

    for limit_ms in [0, 400, 1000, 2900] {
        let wait = DurableWait { consumed: None, settled: None, limit: Duration::from_millis(limit_ms) };
        assert_eq!(link.wait(wait).await, Ok(WaitOutcome::Record));
    }

    let waits = server.asked().into_iter().filter(|asked| asked.line.starts_with("post"));
    let limits: Vec<Value> =
        waits.map(|asked| serde_json::from_str::<Value>(&asked.body).unwrap()["timeout"].take()).collect();
    assert_eq!(limits, ["1s", "1s", "1s", "2s"]);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_holds_no_poll_is_not_asked_in_a_busy_loop() {
    let server = Canned::new(|asked| match asked.line.starts_with("post") {
        true => Some((200, json!({ "waitpointId": "wp", "isCached": false }).to_string())),
        false => Some((200, json!({ "id": "wp", "status": "WAITING" }).to_string())),
    });
    let wait = DurableWait { consumed: None, settled: None, limit: Duration::from_secs(10) };

    assert_eq!(link(&server.host(), "session").wait(wait).await, Ok(WaitOutcome::TimedOut));

    assert!(server.asked().len() < 300, "{} polls in 70 s", server.asked().len());
}

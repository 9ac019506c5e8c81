//! Append, batch and drain over the wire (S §3).

use std::time::Duration;

use http::StatusCode;
use serde_json::{Value, json};
use turnkeep_protocol::SeqNum;
use turnkeep_session::{Change, MemoryStorage, Storage as _};

use crate::support::{World, delta, message, turn_complete};

const APPEND: &str = "/realtime/v1/sessions/chat/in/append";
const OUT: &str = "/realtime/v1/sessions/chat/out";

#[tokio::test]
async fn an_append_is_acknowledged_with_its_seq_and_a_retry_with_the_same_s63_s75_s76() {
    let world = World::start().await;
    world.create().await;
    let part = [("x-part-id", "p-1")];

    let first = world.call_with("POST", APPEND, Some(message("a")), &part).await;
    let other = world.call("POST", APPEND, Some(message("b"))).await;
    let retry = world.call_with("POST", APPEND, Some(message("a")), &part).await;

    assert_eq!(first.json::<Value>(), json!({ "ok": true, "seq": 0 }));
    assert_eq!(other.json::<Value>(), json!({ "ok": true, "seq": 1 }));
    assert_eq!(retry.json::<Value>(), json!({ "ok": true, "seq": 0 }));
}

#[tokio::test]
async fn a_closed_session_refuses_for_good_s15_s61_d1_d54_rc9() {
    let world = World::start().await;
    world.create().await;
    world.call("POST", "/api/v1/sessions/chat/close", Some(json!({ "reason": "over" }))).await;

    let reply = world.call("POST", APPEND, Some(message("late"))).await;

    let want = json!({
        "ok": false, "error": "Cannot append to a closed session", "code": "session_closed", "closedReason": "over",
    });
    assert_eq!((reply.status, reply.json::<Value>()), (StatusCode::CONFLICT, want));
    assert_eq!(reply.header("x-should-retry"), Some("false"));
    let create = world.call("POST", "/api/v1/sessions", Some(crate::support::create_body(json!({})))).await;
    let want = json!({
        "error": "Session is closed; use a different externalId to create a new session",
        "code": "session_closed", "closedReason": "over",
    });
    assert_eq!((create.status, create.json::<Value>()), (StatusCode::CONFLICT, want));
}

#[tokio::test]
async fn an_append_needs_a_session_and_a_known_channel_s57_s60() {
    let world = World::start().await;

    let missing = world.call("POST", APPEND, Some(message("a"))).await;
    let sideways = world.call("POST", "/realtime/v1/sessions/chat/sideways/append", Some(message("a"))).await;
    let part = world.call_with("POST", APPEND, Some(message("a")), &[("x-part-id", &"p".repeat(257))]).await;

    assert_eq!(missing.status, StatusCode::NOT_FOUND);
    assert_eq!((sideways.status, part.status), (StatusCode::BAD_REQUEST, StatusCode::BAD_REQUEST));
}

#[tokio::test]
async fn the_size_is_metered_after_wrapping_s71_s73() {
    let world = World::start().await;
    world.create().await;
    let part = [("x-part-id", "1234567")];
    let body = |len: usize| "x".repeat(len).into_bytes().into();

    let fits = world.raw("POST", APPEND, body(1_048_542), &part).await;
    let metered = world.raw("POST", APPEND, body(1_048_576), &[]).await;
    let guarded = world.raw("POST", APPEND, body(1_048_577), &[]).await;

    assert_eq!(fits.status, StatusCode::OK);
    assert_eq!(metered.status, StatusCode::PAYLOAD_TOO_LARGE);
    let text = metered.json::<Value>()["error"].as_str().unwrap().to_owned();
    assert!(text.contains("1048576") && text.contains("1048610"), "{text}");
    assert_eq!(guarded.json::<Value>(), json!({ "error": "Request body too large" }));
}

#[tokio::test]
async fn a_session_from_its_first_record_to_its_trimmed_tail_as_a_browser_sees_it_ca95() {
    // What each of these needs has its own test; here they hold together, over one session and its restart.
    let world = World::start().await;
    let token = world.create().await["publicAccessToken"].as_str().unwrap().to_owned();
    let bearer = format!("Bearer {token}");
    let browser = [("authorization", bearer.as_str()), ("origin", "https://app.example")];
    let run = world.lease(0).await.unwrap();
    for (turn, text) in ["a", "b"].into_iter().enumerate() {
        let at = world.send(text).await;
        assert_eq!(at, turn as u64);
        world.write(&run, &[delta(text), turn_complete(at)]).await;
    }

    let peek = [&browser[..], &[("x-peek-settled", "1"), ("timeout-seconds", "600")]].concat();
    let mut events = world.subscribe(OUT, &peek).await;
    assert_eq!(events.header("x-session-settled"), Some("true"));
    assert_eq!(events.header("access-control-allow-origin"), Some("https://app.example"));
    let records = events.records(4).await;
    let seen: Vec<_> = records.iter().map(|record| (record.seq_num.get(), record.is_turn_complete())).collect();
    assert_eq!(seen, [(0, false), (1, true), (2, false), (3, true)], "in order, and one numbering over both turns");
    events.expect_done().await;

    let large = world.raw("POST", APPEND, "x".repeat(1_048_577).into(), &browser).await;
    assert_eq!(large.status, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(large.header("access-control-allow-origin"), Some("https://app.example"));
    let stranger = world.call_with("GET", OUT, None, &[("authorization", "Bearer none")]).await;
    assert_eq!(stranger.status, StatusCode::UNAUTHORIZED);

    let trim = Change::Trim { session: run.session_id.clone(), first: SeqNum::new(1) };
    let disk = world.disk.clone();
    drop(world);
    MemoryStorage::open(disk.clone()).commit(vec![trim]).await.unwrap();
    let world = World::start_with(disk, Duration::from_secs(60)).await;
    let left = world.subscribe(OUT, &[]).await.records(3).await;
    assert_eq!(left.iter().map(|record| record.seq_num.get()).collect::<Vec<_>>(), [1, 2, 3], "and no number anew");
}

#[tokio::test]
async fn a_drain_gives_everything_after_the_cursor_at_once_s97_s98() {
    let world = World::start().await;
    world.create().await;
    world.send("a").await;
    world.send("b").await;

    let all = world.call("GET", "/realtime/v1/sessions/chat/in/records", None).await.json::<Value>();
    let after = world.call("GET", "/realtime/v1/sessions/chat/in/records?afterEventId=0", None).await.json::<Value>();
    let empty = world.call("GET", "/realtime/v1/sessions/chat/out/records", None).await.json::<Value>();
    let bad = world.call("GET", "/realtime/v1/sessions/chat/in/records?afterEventId=1-0", None).await;

    assert_eq!(all["records"].as_array().unwrap().len(), 2);
    assert_eq!(after["records"][0]["seqNum"], 1);
    let sent: Value = serde_json::from_str(after["records"][0]["data"].as_str().unwrap()).unwrap();
    assert_eq!(sent, message("b"));
    assert_eq!(empty, json!({ "records": [] }));
    assert_eq!(bad.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn a_batch_is_fenced_and_deduplicated_d36_d39() {
    let world = World::start().await;
    world.create().await;
    let run = world.lease(0).await.unwrap();
    let records = json!({ "records": [delta("a"), turn_complete(0)] });
    let batch = |attempt: &'static str| {
        let headers = [
            ("x-run-id", run.run_id.as_str().to_owned()),
            ("x-run-attempt", attempt.to_owned()),
            ("x-part-id", "b".to_owned()),
        ];
        let records = records.clone();
        let world = &world;
        async move {
            let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
            world.call_with("POST", "/realtime/v1/sessions/chat/out/batch", Some(records), &headers).await
        }
    };

    let first = batch("1").await;
    let again = batch("1").await;
    let stale = batch("2").await;
    let nameless = batch("one").await;
    let ghost = [("x-run-id", run.run_id.as_str()), ("x-run-attempt", "2")];
    let appended = world.call_with("POST", "/realtime/v1/sessions/chat/out/append", Some(json!({})), &ghost).await;
    let on_in = world.call("POST", "/realtime/v1/sessions/chat/in/batch", Some(records.clone())).await;

    assert_eq!(first.json::<Value>(), json!({ "seqs": [0, 1] }));
    assert_eq!(again.body, first.body);
    assert_eq!((stale.status, stale.json::<Value>()["code"].clone()), (StatusCode::CONFLICT, json!("lease_lost")));
    assert_eq!(
        (appended.status, appended.json::<Value>()["code"].clone()),
        (StatusCode::CONFLICT, json!("lease_lost"))
    );
    assert_eq!((nameless.status, on_in.status), (StatusCode::BAD_REQUEST, StatusCode::BAD_REQUEST));
}

#[tokio::test]
async fn an_append_without_a_body_or_with_no_text_is_refused_and_stores_nothing_s59_s69_s191() {
    let world = World::start().await;
    world.create().await;
    let head = format!("POST {APPEND} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\n", crate::support::SECRET);

    let no_length = world.status_of(&format!("{head}\r\n")).await;
    let empty = world.status_of(&format!("{head}content-length: 0\r\n\r\n")).await;

    assert_eq!((no_length.as_str(), empty.as_str()), ("HTTP/1.1 413 Payload Too Large", "HTTP/1.1 400 Bad Request"));
    let records = world.call("GET", "/realtime/v1/sessions/chat/in/records", None).await;
    assert_eq!(records.json::<Value>(), json!({ "records": [] }));
}

#[tokio::test]
async fn a_client_that_sends_all_before_it_listens_reads_why_it_was_refused_s59_rc4() {
    let world = World::start().await;
    world.create().await;
    let large = "x".repeat(8 * 1024 * 1024);
    let secret = crate::support::SECRET;
    for (path, key, want) in [
        (APPEND, secret, "413 Payload Too Large"),
        (APPEND, "wrong", "401 Unauthorized"),
        ("/api/v1/nothing", secret, "404 Not Found"),
        ("/api/v1/sessions/chat", secret, "405 Method Not Allowed"),
    ] {
        let head = format!("POST {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {key}\r\n");

        let status = world.status_of(&format!("{head}content-length: {}\r\n\r\n{large}", large.len())).await;

        assert_eq!(status, format!("HTTP/1.1 {want}"), "{path}");
    }
}

#[tokio::test]
async fn a_client_that_asks_before_it_sends_is_refused_before_it_does_s59() {
    let world = World::start().await;
    world.create().await;
    let head = format!("POST {APPEND} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\n", crate::support::SECRET);

    let status = world.status_of(&format!("{head}expect: 100-continue\r\ncontent-length: 8000000\r\n\r\n")).await;

    assert_eq!(status, "HTTP/1.1 413 Payload Too Large");
}

#[tokio::test]
async fn a_body_of_unannounced_length_is_413_s59_s191() {
    let world = World::start().await;
    world.create().await;
    let head = format!("POST {APPEND} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\n", crate::support::SECRET);

    let status = world.status_of(&format!("{head}transfer-encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n")).await;

    assert_eq!(status, "HTTP/1.1 413 Payload Too Large");
}

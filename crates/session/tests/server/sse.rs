//! Event streams over the wire (S §4).

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use serde_json::{Value, json};
use turnkeep_protocol::{Batch, NewRecord, Ping, SeqNum};
use turnkeep_session::{Change, MemoryDisk, MemoryStorage, Storage as _};

use crate::support::{World, delta, turn_complete};

const OUT: &str = "/realtime/v1/sessions/chat/out";

#[tokio::test]
async fn records_come_in_batches_with_the_tail_then_a_ping_at_the_live_edge_s107_s108_s109_s111_rc1() {
    let world = World::start().await;
    world.create().await;
    let run = world.lease(0).await.unwrap();
    world.write(&run, &[delta("a"), turn_complete(0)]).await;

    let mut events = world.subscribe(OUT, &[]).await;
    let batch = events.next().await.unwrap();
    let ping = events.next().await.unwrap();

    assert_eq!(events.header("x-stream-version"), Some("v2"));
    assert_eq!(events.header("content-type"), Some("text/event-stream"));
    assert!(events.header("cache-control").unwrap().contains("no-cache"));
    assert_eq!(events.header("x-accel-buffering"), Some("no"));
    assert_eq!(events.header("x-session-settled"), None);
    assert_eq!((batch.name.as_str(), ping.name.as_str()), ("batch", "ping"));
    let batch: Batch = serde_json::from_str(&batch.data).unwrap();
    assert_eq!(batch.records.iter().map(|record| record.seq_num.get()).collect::<Vec<_>>(), [0, 1]);
    assert_eq!(batch.tail.unwrap().seq_num, SeqNum::new(2));
    let ping: Ping = serde_json::from_str(&ping.data).unwrap();
    assert_eq!(ping.tail.unwrap().seq_num, SeqNum::new(2));
}

#[tokio::test]
async fn a_live_reader_gets_what_is_written_and_resumes_without_loss_or_repeat_s104_i5() {
    let world = World::start().await;
    world.create().await;
    let run = world.lease(0).await.unwrap();
    let mut first = world.subscribe(OUT, &[]).await;
    assert_eq!(first.next().await.unwrap().name, "ping");
    world.write(&run, &[delta("a"), delta("b"), delta("c")]).await;
    let seen = first.records(3).await;
    drop(first);
    world.write(&run, &[delta("d"), delta("e")]).await;

    let cursor = seen.last().unwrap().seq_num.to_string();
    let mut second = world.subscribe(OUT, &[("last-event-id", &cursor)]).await;

    let rest = second.records(2).await;
    assert_eq!(rest.iter().map(|record| record.seq_num.get()).collect::<Vec<_>>(), [3, 4]);
}

#[tokio::test]
async fn the_wait_budget_ends_the_stream_with_done_s110() {
    let world = World::start().await;
    world.create().await;

    let mut events = world.subscribe(OUT, &[("timeout-seconds", "1")]).await;

    events.expect_done().await;
}

#[tokio::test]
async fn a_settled_session_answers_a_peek_at_once_with_what_is_left_s118() {
    let world = World::start().await;
    world.create().await;
    let run = world.lease(0).await.unwrap();
    world.send("m").await;
    world.write(&run, &[delta("a"), turn_complete(0), NewRecord::trim(SeqNum::ZERO)]).await;
    let peek = [("x-peek-settled", "1"), ("last-event-id", "0"), ("timeout-seconds", "600")];

    let mut settled = world.subscribe(OUT, &peek).await;
    assert_eq!(settled.header("x-session-settled"), Some("true"));
    assert_eq!(settled.records(2).await[0].seq_num.get(), 1);
    settled.expect_done().await;

    world.send("owed").await;
    let owed = world.subscribe(OUT, &peek).await;
    assert_eq!(owed.header("x-session-settled"), None, "reload between send and first chunk (SR-22)");
    let other_word = world.subscribe(OUT, &[("x-peek-settled", "true")]).await;
    assert_eq!(other_word.header("x-session-settled"), None);
}

#[tokio::test]
async fn a_peek_at_an_open_turn_is_an_ordinary_read_whose_end_says_nothing_of_the_turn_s113_s117() {
    let world = World::start().await;
    world.create().await;
    let run = world.lease(0).await.unwrap();
    world.write(&run, &[delta("a")]).await;
    let peek = |seconds| [("x-peek-settled", "1"), ("timeout-seconds", seconds)];

    let mut patient = world.subscribe(OUT, &peek("600")).await;
    let mut brief = world.subscribe(OUT, &peek("1")).await;
    patient.records(1).await;
    brief.records(1).await;
    brief.expect_done().await;
    world.write(&run, &[turn_complete(0)]).await;

    assert_eq!((patient.header("x-session-settled"), brief.header("x-session-settled")), (None, None));
    assert!(patient.records(1).await[0].is_turn_complete(), "the longer budget was kept");
}

#[tokio::test]
async fn a_read_is_checked_in_order_of_caller_session_scope_and_request_s100_s101() {
    let world = World::start().await;
    world.create().await;
    let minted =
        world.call("POST", "/api/v1/auth/public-tokens", Some(json!({ "scopes": ["read:sessions:chat"] }))).await;
    let bearer = format!("Bearer {}", minted.json::<Value>()["token"].as_str().unwrap());
    let bad_budget = ("timeout-seconds", "never");
    let (nobody, token) = (("authorization", "Bearer who"), ("authorization", bearer.as_str()));
    let elsewhere = "/realtime/v1/sessions/session_x/out";
    for (method, path, headers, want) in [
        ("GET", elsewhere, vec![nobody, bad_budget], 401),
        ("GET", elsewhere, vec![token, bad_budget], 403),
        ("GET", elsewhere, vec![bad_budget], 404),
        ("HEAD", OUT, vec![token, bad_budget], 200),
        ("GET", OUT, vec![token, bad_budget], 400),
    ] {
        let reply = world.call_with(method, path, None, &headers).await;
        assert_eq!(reply.status.as_u16(), want, "{method} {path} {headers:?}");
    }
    let without_accept = world.call_with("GET", OUT, None, &[("timeout-seconds", "1")]).await;
    assert_eq!(without_accept.status, StatusCode::OK, "released servers do not check either");
}

#[tokio::test]
async fn a_bent_cursor_is_said_in_a_header_d7_d57() {
    // C-10: one that is older than what is kept is moved to the first record that is there.
    let disk = Arc::new(MemoryDisk::new());
    let world = World::start_with(disk.clone(), Duration::from_secs(60)).await;
    world.create().await;
    let run = world.lease(0).await.unwrap();
    world.write(&run, &[delta("a"), delta("b"), turn_complete(0), NewRecord::trim(SeqNum::new(2))]).await;
    let early = world.subscribe(OUT, &[("last-event-id", "0")]).await;
    assert_eq!(early.header("x-first-available-seq"), None, "a trim takes effect later (S-89)");
    drop((early, world));
    // What the server itself would do half a minute later.
    let trim = Change::Trim { session: run.session_id.clone(), first: SeqNum::new(2) };
    MemoryStorage::open(disk.clone()).commit(vec![trim]).await.unwrap();
    let world = World::start_with(disk, Duration::from_secs(60)).await;
    let open = |cursor: &'static str| world.subscribe(OUT, Box::leak(Box::new([("last-event-id", cursor)])));

    let mut gap = open("0").await;
    let no_gap = open("1").await;
    let mut beyond = open("40").await;
    let no_cursor = world.subscribe(OUT, &[]).await;

    assert_eq!(gap.header("x-first-available-seq"), Some("2"));
    assert_eq!(gap.records(2).await[0].seq_num.get(), 2);
    assert_eq!(no_gap.header("x-first-available-seq"), None);
    assert_eq!(no_cursor.header("x-first-available-seq"), None);
    assert_eq!((beyond.header("x-clamped-cursor"), no_gap.header("x-clamped-cursor")), (Some("4"), None));
    world.write(&run, &[delta("live")]).await;
    assert_eq!(beyond.records(1).await[0].seq_num.get(), 4);
}

#[tokio::test]
async fn an_unreadable_cursor_reads_from_the_start_s104() {
    let world = World::start().await;
    world.create().await;
    let run = world.lease(0).await.unwrap();
    world.write(&run, &[delta("a")]).await;

    let mut events = world.subscribe(OUT, &[("last-event-id", "4,10,2048")]).await;

    assert_eq!(events.records(1).await[0].seq_num.get(), 0);
}

#[tokio::test]
async fn a_reader_may_come_before_the_session_s57() {
    let world = World::start().await;
    let mut events = world.subscribe("/realtime/v1/sessions/chat/in", &[]).await;
    assert_eq!(events.next().await.unwrap().name, "ping");

    world.create_with(json!({ "message": { "id": "m" } })).await;

    assert_eq!(events.records(1).await[0].seq_num.get(), 0);
}

#[tokio::test]
async fn bad_reads_get_a_final_status_s103_d55_rc4() {
    let world = World::start().await;
    world.create().await;
    let events = ("accept", "text/event-stream");
    for (path, headers, want, text) in [
        (OUT, vec![events, ("timeout-seconds", "10abc")], 400, "Invalid timeout seconds"),
        (OUT, vec![events, ("timeout-seconds", "0")], 400, "Timeout seconds must be greater than 0"),
        (OUT, vec![events, ("timeout-seconds", "-5")], 400, "Timeout seconds must be greater than 0"),
        (OUT, vec![events, ("timeout-seconds", "601")], 400, "Timeout seconds must be less than 600"),
        (OUT, vec![("accept", "application/json")], 400, "Accept must allow text/event-stream"),
        ("/realtime/v1/sessions/chat/sideways", vec![events], 400, ""),
        ("/realtime/v1/sessions/session_x/out", vec![events], 404, ""),
    ] {
        let reply = world.call_with("GET", path, None, &headers).await;
        assert_eq!(reply.status.as_u16(), want, "{path} {headers:?}");
        assert!(text.is_empty() || reply.body == text, "{reply:?}");
        assert_eq!(reply.header("x-should-retry"), Some("false"));
    }
}

#[tokio::test]
async fn the_largest_budget_and_a_loose_accept_are_fine_s103_d55() {
    let world = World::start().await;
    world.create().await;

    let mut events = world.subscribe(OUT, &[("timeout-seconds", "600"), ("accept", "text/html, */*;q=0.1")]).await;

    assert_eq!(events.next().await.unwrap().name, "ping");
}

#[tokio::test]
async fn head_gives_no_body_and_the_last_index_0_s102() {
    let world = World::start().await;
    world.create().await;

    let reply = world.call("HEAD", OUT, None).await;
    let unknown = world.call("HEAD", "/realtime/v1/sessions/session_x/out", None).await;

    assert_eq!((reply.status, reply.header("x-last-chunk-index")), (StatusCode::OK, Some("0")));
    assert!(reply.body.is_empty());
    assert_eq!(unknown.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_long_backlog_arrives_whole_and_in_order_s114() {
    let world = World::start().await;
    world.create().await;
    let run = world.lease(0).await.unwrap();
    let records: Vec<_> = (0..2500).map(|n| delta(&n.to_string())).collect();
    world.write(&run, &records).await;
    let mut events = world.subscribe(OUT, &[("timeout-seconds", "1")]).await;

    let mut seqs = Vec::new();
    while let Some(event) = events.next_but_ping().await {
        if event.name == "batch" {
            let batch: Batch = serde_json::from_str(&event.data).unwrap();
            seqs.extend(batch.records.iter().map(|record| record.seq_num.get()));
        }
    }

    assert_eq!(seqs, (0..2500).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_batch_line_holds_the_stored_body_verbatim_s108_s123() {
    let world = World::start().await;
    world.create().await;
    let run = world.lease(0).await.unwrap();
    let odd = NewRecord { body: "not json\nwith a \"line\" break".to_owned(), headers: Vec::new() };
    world.write(&run, std::slice::from_ref(&odd)).await;

    let mut events = world.subscribe(OUT, &[]).await;
    let batch = events.next().await.unwrap();

    let value: Value = serde_json::from_str(&batch.data).unwrap();
    assert_eq!(value["records"][0]["body"], odd.body);
    assert_eq!(value["records"][0].get("headers"), None);
}

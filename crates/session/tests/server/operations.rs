//! What an operator relies on: an orderly end, and answers about how the server is.

use std::time::Duration;

use http::StatusCode;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::support::{World, delta, turn_complete};

const OUT: &str = "/realtime/v1/sessions/chat/out";

#[tokio::test]
async fn a_server_that_stops_gives_readers_what_there_is_and_then_done_s127() {
    let world = World::start().await;
    world.create().await;
    let run = world.lease(0).await.unwrap();
    let mut reader = world.subscribe(OUT, &[]).await;
    world.write(&run, &[delta("a")]).await;
    assert_eq!(reader.records(1).await.len(), 1);

    let stopped = world.stop();
    reader.expect_done().await;

    assert_eq!(stopped.await.cut, 0);
}

#[tokio::test]
async fn held_polls_are_answered_when_the_server_stops() {
    let world = World::start().await;
    let began = Instant::now();
    let (lease, stopped) = tokio::join!(world.lease(60), async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        world.stop().await
    });

    assert_eq!((lease, stopped.cut), (None, 0));
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
}

#[tokio::test]
async fn what_was_answered_before_the_end_is_there_after_it_d12() {
    let world = World::start().await;
    world.create().await;
    let seq = world.send("kept").await;

    world.stop().await;
    let world = world.restart().await;

    let input = world.call("GET", "/realtime/v1/sessions/chat/in/records", None).await.json::<Value>();
    assert_eq!(input["records"][0]["seqNum"], seq);
}

#[tokio::test]
async fn it_is_alive_and_ready_and_says_what_it_does_to_those_who_have_the_key() {
    let world = World::start().await;
    world.create().await;
    world.send("hi").await;
    let run = world.lease(0).await.unwrap();
    let mut reader = world.subscribe(OUT, &[]).await;
    reader.next().await.expect("a ping");
    world.write(&run, &[delta("a"), turn_complete(0)]).await;
    reader.records(2).await;
    world.raw("POST", "/realtime/v1/sessions/chat/in/append", "x".into(), &[("authorization", "Bearer no")]).await;

    let anonymous = [("authorization", "")];
    for (path, text) in [("/healthz", "ok\n"), ("/readyz", "ready\n")] {
        let reply = world.call_with("GET", path, None, &anonymous).await;
        assert_eq!((reply.status, reply.body.as_ref()), (StatusCode::OK, text.as_bytes()), "{path}");
    }
    assert_eq!(world.call_with("GET", "/metrics", None, &anonymous).await.status, StatusCode::UNAUTHORIZED);
    let metrics = world.call("GET", "/metrics", None).await;
    assert_eq!(metrics.header("content-type").unwrap().split(';').next(), Some("application/openmetrics-text"));
    let text = String::from_utf8(metrics.body.to_vec()).unwrap();
    for line in [
        r#"turnkeep_records_total{channel="in"} 1"#,
        r#"turnkeep_records_total{channel="out"} 2"#,
        r#"turnkeep_live_readers{channel="out"} 1"#,
        r#"turnkeep_runs{state="leased"} 1"#,
        r#"turnkeep_runs{state="queued"} 0"#,
        "turnkeep_sessions 1",
        "turnkeep_reader_lag_seconds_count 1",
        r#"turnkeep_http_requests_total{method="POST",route="/realtime/v1/sessions/{session}/{io}/append",status="200"} 1"#,
        r#"turnkeep_http_requests_total{method="POST",route="/realtime/v1/sessions/{session}/{io}/append",status="401"} 1"#,
    ] {
        assert!(text.lines().any(|it| it == line), "{line} in\n{text}");
    }

    world.run_call(&run, "end", json!({ "outcome": { "kind": "completed" } })).await;
    let text = String::from_utf8(world.call("GET", "/metrics", None).await.body.to_vec()).unwrap();
    assert!(text.contains("turnkeep_runs_ended_total{state=\"completed\"} 1\n"), "{text}");
}

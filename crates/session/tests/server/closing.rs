//! Closing over the wire (S-23, D-2, D-37, D-55).

use http::StatusCode;
use serde_json::{Value, json};

use crate::support::{World, delta, turn_complete};

const OUT: &str = "/realtime/v1/sessions/chat/out";
const CLOSE: &str = "/api/v1/sessions/chat/close";

#[tokio::test]
async fn close_answers_the_row_and_a_second_close_without_a_body_the_same_row_s23_s25_d55() {
    let world = World::start().await;
    world.create().await;

    let first = world.call("POST", CLOSE, Some(json!({ "reason": "over" }))).await;
    let second = world.call("POST", CLOSE, None).await;

    assert_eq!((first.status, second.status), (StatusCode::OK, StatusCode::OK));
    assert_eq!(first.body, second.body);
    let row = first.json::<Value>();
    assert_eq!(row["closedReason"], "over");
    assert!(row["closedAt"].is_string());
}

#[tokio::test]
async fn bad_closes_are_refused_s23_s191() {
    let world = World::start().await;
    world.create().await;

    let long = world.call("POST", CLOSE, Some(json!({ "reason": "x".repeat(257) }))).await;
    let large = world.call("POST", CLOSE, Some(json!({ "reason": "x".repeat(1024) }))).await;
    let unknown = world.call("POST", "/api/v1/sessions/nobody/close", None).await;

    assert_eq!((long.status, large.status), (StatusCode::BAD_REQUEST, StatusCode::PAYLOAD_TOO_LARGE));
    assert_eq!(
        (unknown.status, unknown.json::<Value>()),
        (StatusCode::NOT_FOUND, json!({ "error": "Session not found" }))
    );
}

#[tokio::test]
async fn waiting_readers_and_runs_learn_of_the_close_d2_rc20() {
    let world = World::start().await;
    world.create().await;
    let run = world.lease(0).await.unwrap();
    let mut reader = world.subscribe(OUT, &[("timeout-seconds", "600")]).await;
    assert_eq!(reader.next().await.unwrap().name, "ping");
    let wait =
        world.run_call(&run, "session-streams/wait", json!({ "session": "chat", "io": "in" })).await.json::<Value>();

    world.call("POST", CLOSE, Some(json!({ "reason": "over" }))).await;

    let record = reader.records(1).await.remove(0);
    assert_eq!(record.header("trigger-control"), Some("session-closed"));
    assert_eq!(record.header("session-closed-reason"), Some("over"));
    reader.expect_done().await;
    let path = format!("/api/v1/waitpoints/{}", wait["waitpointId"].as_str().unwrap());
    assert_eq!(world.call("GET", &path, None).await.json::<Value>(), json!({ "outcome": "closed" }));
    let beat = world.run_call(&run, "heartbeat", json!({})).await;
    assert_eq!(beat.json::<Value>(), json!({ "sessionClosed": true }));
}

#[tokio::test]
async fn a_reader_of_an_open_turn_sees_its_end_with_the_news_d37() {
    let world = World::start().await;
    world.create().await;
    let run = world.lease(0).await.unwrap();
    world.send("m").await;
    world.write(&run, &[delta("a")]).await;
    world.call("POST", CLOSE, None).await;
    let mut reader = world.subscribe(OUT, &[("timeout-seconds", "600")]).await;
    reader.records(1).await;

    let written = world.write(&run, &[delta("b"), turn_complete(0)]).await;

    assert_eq!(written.status, StatusCode::OK, "the lease holder writes until its turn ends");
    let records = reader.records(2).await;
    assert_eq!(records[1].header("session-closed"), Some("true"));
    reader.expect_done().await;
}

#[tokio::test]
async fn a_closed_quiet_session_stays_readable_and_says_that_it_is_over_s106_d37() {
    let world = World::start().await;
    world.create().await;
    world.call("POST", CLOSE, None).await;

    let mut late = world.subscribe(OUT, &[]).await;

    assert_eq!(late.header("x-session-settled"), Some("true"));
    late.records(1).await;
    late.expect_done().await;
    assert_eq!(world.call("GET", "/api/v1/sessions/chat", None).await.status, StatusCode::OK);
}

//! Lease, heartbeat, end, lapse and waits over the wire (D-9, D-35, D-36, D-39, S §5).

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use serde_json::{Value, json};
use turnkeep_protocol::run_api::LeasedRun;
use turnkeep_session::MemoryDisk;

use crate::support::{World, create_body, delta, message, turn_complete};

#[tokio::test]
async fn a_message_is_answered_by_a_leased_run_and_read_back_d5_d9_d38() {
    let world = World::start().await;
    let created = world.create_with(json!({ "chatId": "chat", "message": { "id": "m1" } })).await;
    let run = world.lease(0).await.expect("create has queued a run");
    let mut out = world.subscribe("/realtime/v1/sessions/chat/out", &[]).await;

    let written = world.write(&run, &[delta("hello"), turn_complete(0)]).await;
    let ended = world.run_call(&run, "end", json!({ "outcome": { "kind": "completed" } })).await;

    assert_eq!(created["runId"], run.run_id.as_str());
    assert_eq!(written.json::<Value>(), json!({ "seqs": [0, 1] }));
    assert_eq!(ended.json::<Value>(), json!({ "nextRunId": null }));
    let records = out.records(2).await;
    assert!(records[0].body.contains("hello") && records[1].is_turn_complete());
    assert_eq!(records[0].seq_num.get(), 0);
}

#[tokio::test]
async fn a_lease_request_is_held_until_a_run_is_queued_d9() {
    let world = World::start().await;

    let create = world.call("POST", "/api/v1/sessions", Some(create_body(json!({ "chatId": "chat" }))));
    let (run, created) = tokio::join!(world.lease(30), create);

    assert_eq!(created.json::<Value>()["runId"], run.expect("the held request gets the run").run_id.as_str());
}

#[tokio::test]
async fn a_workers_newer_lease_request_ends_its_older_one_which_gets_no_run_d35() {
    let world = World::start().await;
    // The first request is held when the second one comes; both are of one worker.
    let newer = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let create = async {
            tokio::time::sleep(Duration::from_millis(100)).await;
            world.create().await
        };
        tokio::join!(world.lease(30), create)
    };

    let (older, (newer, created)) = tokio::join!(world.lease(30), newer);

    assert!(older.is_none());
    assert_eq!(created["runId"], newer.expect("the newest request gets the run").run_id.as_str());
}

#[tokio::test]
async fn a_silent_worker_loses_its_run_to_the_next_attempt_and_is_fenced_d9_d36() {
    let world = World::start_with(Arc::new(MemoryDisk::new()), Duration::from_millis(150)).await;
    world.create().await;
    let first = world.lease(0).await.unwrap();

    let second = world.lease(5).await.expect("the lease lapses by itself");

    assert_eq!((&second.run_id, second.attempt), (&first.run_id, 2));
    let late = world.write(&first, &[delta("ghost")]).await;
    assert_eq!((late.status, late.json::<Value>()["code"].clone()), (StatusCode::CONFLICT, json!("lease_lost")));
    assert_eq!(late.header("x-should-retry"), Some("false"));
    let late = world.run_call(&first, "heartbeat", json!({})).await;
    assert_eq!(late.status, StatusCode::CONFLICT);
}

#[tokio::test]
async fn a_wait_is_woken_by_an_append_s138_d8() {
    let world = World::start().await;
    world.create().await;
    let run = world.lease(0).await.unwrap();
    let wait =
        world.run_call(&run, "session-streams/wait", json!({ "session": "chat", "io": "in", "timeout": "1h" })).await;
    let wait = wait.json::<Value>();
    let path = format!("/api/v1/waitpoints/{}", wait["waitpointId"].as_str().unwrap());

    let pending = world.call("GET", &path, None).await.json::<Value>();
    world.send("hi").await;
    let woken = world.call("GET", &format!("{path}?timeoutInSeconds=30"), None).await.json::<Value>();

    assert_eq!(wait["isCached"], false);
    assert_eq!((pending, woken), (json!({ "outcome": null }), json!({ "outcome": "record" })));
}

#[tokio::test]
async fn a_wait_times_out_by_itself_s140() {
    let world = World::start().await;
    world.create().await;
    let run = world.lease(0).await.unwrap();
    let wait =
        world.run_call(&run, "session-streams/wait", json!({ "session": "chat", "io": "in", "timeout": "1s" })).await;
    let id = wait.json::<Value>()["waitpointId"].as_str().unwrap().to_owned();

    let ended = world.call("GET", &format!("/api/v1/waitpoints/{id}?timeoutInSeconds=30"), None).await;

    assert_eq!(ended.json::<Value>(), json!({ "outcome": "timed-out" }));
}

#[tokio::test]
async fn bad_waits_are_refused_s133_s140() {
    let world = World::start().await;
    world.create().await;
    let run = world.lease(0).await.unwrap();
    for (body, want) in [
        (json!({ "session": "chat", "io": "in", "timeout": "soon" }), StatusCode::UNPROCESSABLE_ENTITY),
        (json!({ "session": "chat", "io": "in", "timeout": "2001-01-01T00:00:00Z" }), StatusCode::UNPROCESSABLE_ENTITY),
        (json!({ "session": "chat", "io": "sideways" }), StatusCode::BAD_REQUEST),
        (json!({ "session": "session_unknown", "io": "in" }), StatusCode::NOT_FOUND),
        (json!({ "session": "chat", "io": "in", "tags": vec!["t"; 11] }), StatusCode::UNPROCESSABLE_ENTITY),
        (json!({ "session": "chat", "io": "in", "tags": "t".repeat(129) }), StatusCode::UNPROCESSABLE_ENTITY),
        (json!({ "session": "chat", "io": "in", "tags": 7 }), StatusCode::BAD_REQUEST),
        (json!({ "session": "chat", "io": "in", "idempotencyKey": "k".repeat(2049) }), StatusCode::BAD_REQUEST),
        (json!({ "session": "chat", "io": "in", "idempotencyKeyTTL": "soon" }), StatusCode::UNPROCESSABLE_ENTITY),
        (json!({ "session": "chat", "io": "in", "lastSeqNum": -1 }), StatusCode::BAD_REQUEST),
        (json!({ "session": "chat", "io": "in", "later": "x".repeat(10 * 1024) }), StatusCode::PAYLOAD_TOO_LARGE),
        (json!({ "io": "in" }), StatusCode::BAD_REQUEST),
    ] {
        let reply = world.run_call(&run, "session-streams/wait", body.clone()).await;
        assert_eq!(reply.status, want, "{body}");
    }
    let unknown = world
        .call_with(
            "POST",
            "/api/v1/runs/run_x/session-streams/wait",
            Some(json!({ "session": "chat", "io": "in" })),
            &[("x-run-attempt", "1")],
        )
        .await;
    assert_eq!(
        (unknown.status, unknown.json::<Value>()["error"].clone()),
        (StatusCode::NOT_FOUND, json!("Run not found"))
    );
}

#[tokio::test]
async fn every_field_of_a_wait_is_taken_and_a_repeated_key_is_cached_s133_s144() {
    let world = World::start().await;
    world.create().await;
    let run = world.lease(0).await.unwrap();
    let full = json!({
        "session": "chat", "io": "in", "timeout": "2100-01-01T00:00:00Z", "idempotencyKey": "k".repeat(2048),
        "idempotencyKeyTTL": "1h30m", "tags": vec!["t".repeat(128); 10], "lastSeqNum": 0, "settledCursor": 0,
    });

    let first = world.run_call(&run, "session-streams/wait", full.clone()).await;
    let again = world.run_call(&run, "session-streams/wait", full).await.json::<Value>();
    let before_its_session =
        world.run_call(&run, "session-streams/wait", json!({ "session": "not yet", "io": "out", "tags": "t" })).await;

    let answer = first.json::<Value>();
    assert_eq!((first.status, &answer["isCached"]), (StatusCode::OK, &json!(false)));
    assert!(answer["waitpointId"].as_str().unwrap().starts_with("waitpoint_"));
    assert_eq!((&again["waitpointId"], &again["isCached"]), (&answer["waitpointId"], &json!(true)));
    assert_eq!(before_its_session.status, StatusCode::OK);
}

#[tokio::test]
async fn an_owed_message_starts_a_continuation_in_the_step_that_ends_the_run_d3_sr9() {
    let world = World::start().await;
    world.create().await;
    let run = world.lease(0).await.unwrap();
    world.send("late").await;

    let ended = world.run_call(&run, "end", json!({ "outcome": { "kind": "completed" } })).await.json::<Value>();

    let next = world.lease(0).await.expect("the continuation is queued");
    assert_eq!(ended["nextRunId"], next.run_id.as_str());
    assert_eq!(next.payload["continuation"], true);
    assert_eq!(next.payload["previousRunId"], run.run_id.as_str());
}

#[tokio::test]
async fn marks_are_set_once_and_come_with_the_next_lease_d11_d45() {
    let world = World::start().await;
    world.create().await;
    let run = world.lease(0).await.unwrap();
    let headers = [("x-run-id", run.run_id.as_str()), ("x-run-attempt", "1")];

    let marked =
        world.call_with("POST", "/api/v1/sessions/chat/mark", Some(json!({ "mark": "chat-started" })), &headers).await;
    world.send("go on").await;
    world.run_call(&run, "end", json!({ "outcome": { "kind": "completed" } })).await;

    let next = world.lease(0).await.unwrap();
    assert_eq!(marked.status, StatusCode::OK);
    assert_eq!((run.chat_started, next.chat_started, next.preloaded), (false, true, false));
    let stale =
        world.call_with("POST", "/api/v1/sessions/chat/mark", Some(json!({ "mark": "preloaded" })), &headers).await;
    assert_eq!(stale.status, StatusCode::CONFLICT);
}

#[tokio::test]
async fn two_appends_at_once_find_one_run_sr4() {
    let world = World::start().await;
    world.create().await;
    let run = world.lease(0).await.unwrap();
    world.run_call(&run, "end", json!({ "outcome": { "kind": "completed" } })).await;

    let path = "/realtime/v1/sessions/chat/in/append";
    let (one, two) =
        tokio::join!(world.call("POST", path, Some(message("a"))), world.call("POST", path, Some(message("b"))));

    let seqs = [one, two].map(|reply| reply.json::<Value>()["seq"].as_u64().unwrap());
    assert_eq!(seqs.iter().sum::<u64>(), 1);
    assert!(world.lease(0).await.is_some());
    assert!(world.lease(0).await.is_none());
}

#[tokio::test]
async fn a_runs_notes_outlive_the_server_and_are_fenced_and_bounded_a195_d12_d36() {
    let world = World::start_with(Arc::new(MemoryDisk::new()), Duration::from_millis(150)).await;
    world.create().await;
    let first = world.lease(0).await.unwrap();
    let note = async |world: &World, run: &LeasedRun, value: &str| {
        let path = format!("/api/v1/runs/{}/metadata", run.run_id);
        let attempt = run.attempt.to_string();
        let body = json!({ "metadata": { "chat.turnTimeout": value } });
        world.call_with("PUT", &path, Some(body), &[("x-run-attempt", &attempt)]).await
    };

    let noted = note(&world, &first, "90s").await;
    let large = note(&world, &first, &"9".repeat(10 * 1024)).await;
    let world = world.restart().await;
    let second = world.lease(5).await.expect("the lease lapses by itself");
    let late = note(&world, &first, "1s").await;

    assert_eq!(
        (noted.status, noted.json::<Value>()),
        (StatusCode::OK, json!({ "metadata": { "chat.turnTimeout": "90s" } }))
    );
    assert_eq!(large.status, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(Value::Object(second.metadata), json!({ "chat.turnTimeout": "90s" }));
    assert_eq!((late.status, late.json::<Value>()["code"].clone()), (StatusCode::CONFLICT, json!("lease_lost")));
}

#[tokio::test]
async fn a_cancelled_run_is_over_for_everybody_and_for_good_a199_d70() {
    let world = World::start().await;
    world.create().await;
    world.send("m1").await;
    let run = world.lease(0).await.unwrap();
    world.write(&run, &[delta("hello")]).await;
    let path = format!("/api/v2/runs/{}/cancel", run.run_id);
    let waits = json!({ "session": "chat", "io": "in", "lastSeqNum": 0 });
    let waits = world.run_call(&run, "session-streams/wait", waits).await;
    let waitpoint = waits.json::<Value>()["waitpointId"].as_str().unwrap().to_owned();
    let poll = format!("/api/v1/waitpoints/{waitpoint}?timeoutInSeconds=30");

    let (polled, cancelled) = tokio::join!(world.call("GET", &poll, None), world.call("POST", &path, None));
    let world = world.restart().await;
    let again = world.call("POST", &path, None).await;

    for answer in [cancelled, again] {
        assert_eq!((answer.status, answer.json::<Value>()), (StatusCode::OK, json!({ "id": run.run_id })));
    }
    assert_eq!(polled.status, StatusCode::NOT_FOUND, "whoever waits in its name is sent away at once");
    let code = async |call: &str| world.run_call(&run, call, json!({})).await.json::<Value>()["code"].clone();
    assert_eq!(code("heartbeat").await, "run_cancelled");
    let end = world.run_call(&run, "end", json!({ "outcome": { "kind": "completed" } })).await;
    assert_eq!((end.status, end.json::<Value>()["code"].clone()), (StatusCode::CONFLICT, json!("lease_lost")));
    let next = world.lease(0).await.expect("what it owed is served by another");
    assert_eq!(code("heartbeat").await, "run_cancelled", "its worker may hear of it late");
    let mut out = world.subscribe("/realtime/v1/sessions/chat/out", &[]).await;
    assert!(out.records(2).await[1].body.contains("\"abort\""));
    assert_eq!(next.payload["previousRunId"], json!(run.run_id));
    let unknown = world.call("POST", "/api/v2/runs/run_unknown/cancel", None).await;
    assert_eq!(
        (unknown.status, unknown.json::<Value>()["error"].clone()),
        (StatusCode::NOT_FOUND, json!("Run not found"))
    );
}

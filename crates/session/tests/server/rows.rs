//! Listing, updating and swapping over the wire (S-22, S-26…S-28, S §2.2), and a row's public form (S-9).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::StatusCode;
use serde_json::{Value, json};
use turnkeep_host::{Clock, Host, Timestamp};
use turnkeep_session::InMemoryObjects;

use crate::support::{World, create_body, environment};

const CHAT: &str = "/api/v1/sessions/chat";
const SWAP: &str = "/api/v1/sessions/chat/end-and-continue";

/// The fields of a listed session, and `triggerConfig` beside them where a session stands alone.
const FIELDS: [&str; 12] = [
    "closedAt",
    "closedReason",
    "createdAt",
    "currentRunId",
    "expiresAt",
    "externalId",
    "id",
    "metadata",
    "tags",
    "taskIdentifier",
    "type",
    "updatedAt",
];

fn fields(row: &Value) -> Vec<&str> {
    let mut names: Vec<_> = row.as_object().unwrap().keys().map(String::as_str).collect();
    names.sort_unstable();
    names
}

#[tokio::test]
async fn a_row_shows_its_public_fields_and_no_others_s1_s9_s10() {
    let world = World::start().await;
    let created = world.create().await;

    let row = world.call("GET", CHAT, None).await.json::<Value>();

    let mut want = FIELDS.to_vec();
    want.push("triggerConfig");
    want.sort_unstable();
    assert_eq!(fields(&row), want);
    assert!(row["id"].as_str().unwrap().starts_with("session_"));
    assert_eq!(row["currentRunId"], created["runId"]);
    assert!(row["currentRunId"].as_str().unwrap().starts_with("run_"));
}

#[tokio::test]
async fn a_second_create_with_other_words_loses_no_metadata_rc13_s14() {
    let world = World::start().await;
    let mut body = create_body(json!({ "chatId": "chat" }));
    (body["metadata"], body["tags"]) = (json!({ "user": 7 }), json!(["vip"]));
    world.call("POST", "/api/v1/sessions", Some(body)).await;
    let mut again = create_body(json!({ "chatId": "chat", "metadata": 1 }));
    (again["type"], again["taskIdentifier"]) = (json!("other"), json!("other"));
    (again["tags"], again["expiresAt"]) = (json!([]), json!("2001-01-01"));

    let found = world.call("POST", "/api/v1/sessions", Some(again)).await;

    let row = found.json::<Value>();
    assert_eq!(found.status, StatusCode::OK);
    assert_eq!((&row["metadata"], &row["tags"]), (&json!({ "user": 7 }), &json!(["vip"])));
    assert_eq!(
        (&row["type"], &row["taskIdentifier"], &row["expiresAt"]),
        (&json!("chat.agent"), &json!("agent"), &Value::Null)
    );
    assert_eq!(row["triggerConfig"]["basePayload"]["metadata"], 1);
}

#[tokio::test]
async fn lists_are_paged_by_their_own_cursors_without_trigger_configs_s26_s27() {
    let world = World::start().await;
    for n in 0..3 {
        let mut body = create_body(json!({}));
        body["externalId"] = json!(format!("chat-{n}"));
        world.call("POST", "/api/v1/sessions", Some(body)).await;
    }
    let names = |page: &Value| -> Vec<String> {
        page["data"].as_array().unwrap().iter().map(|row| row["externalId"].as_str().unwrap().to_owned()).collect()
    };
    let get = async |query: &str| world.call("GET", &format!("/api/v1/sessions?{query}"), None).await.json::<Value>();

    let first = get("page%5Bsize%5D=2").await;
    let second = get(&format!("page[size]=2&page[after]={}", first["pagination"]["next"].as_str().unwrap())).await;
    let back = get(&format!("page[size]=2&page[before]={}", second["pagination"]["previous"].as_str().unwrap())).await;
    let whole = get("").await;

    assert_eq!(fields(&first["data"][0]), FIELDS);
    assert_eq!((names(&first).len(), names(&second).len(), names(&whole).len()), (2, 1, 3));
    assert_eq!([names(&first), names(&second)].concat(), names(&whole));
    assert_eq!(names(&back), names(&first));
    assert_eq!(first["pagination"].get("previous"), None);
    assert_eq!(second["pagination"].get("next"), None);
    assert_eq!(whole["pagination"], json!({}));
}

#[tokio::test]
async fn lists_are_filtered_by_comma_joined_values_s26_s28_rc19() {
    let world = World::start().await;
    world.create().await;
    let mut job = create_body(json!({}));
    (job["externalId"], job["type"], job["tags"]) = (json!("job"), json!("job"), json!(["t1", "t2"]));
    world.call("POST", "/api/v1/sessions", Some(job)).await;
    world.call("POST", "/api/v1/sessions/job/close", None).await;
    for (query, want) in [
        ("filter%5Btype%5D=chat.agent%2Cjob", 2),
        ("filter[type]=job", 1),
        ("filter[tags]=t2,other", 1),
        ("filter[status]=ACTIVE,EXPIRED", 1),
        ("filter[status]=ACTIVE,CLOSED", 2),
        ("filter[status]=CLOSED&filter[type]=chat.agent", 0),
        ("filter[externalId]=chat", 1),
        ("filter[createdAt][period]=1h", 2),
        ("filter[createdAt][to]=1", 0),
    ] {
        let page = world.call("GET", &format!("/api/v1/sessions?{query}"), None).await.json::<Value>();
        assert_eq!(page["data"].as_array().unwrap().len(), want, "{query}");
    }
    for query in ["page[after]=a&page[before]=b", "page[size]=0", "filter[status]=OPEN", "page[after]=session_x"] {
        let reply = world.call("GET", &format!("/api/v1/sessions?{query}"), None).await;
        assert_eq!(reply.status, StatusCode::BAD_REQUEST, "{query}");
        assert!(reply.json::<Value>()["error"].is_string(), "{query}");
    }
}

/// A wall clock that somebody sets.
struct WallClock(Arc<AtomicU64>);

impl Clock for WallClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.0.load(Ordering::Relaxed))
    }
}

#[tokio::test]
async fn a_period_goes_back_by_the_clock_that_stamps_the_rows_though_the_wall_clock_was_set_s28_d84() {
    let millis = Arc::new(AtomicU64::new(1_800_000_000_000));
    let host = Host::os().with_clock(WallClock(millis.clone()));
    let (disk, objects, lease) = (Arc::default(), Arc::new(InMemoryObjects::new()), Duration::from_secs(10));
    let world = World::start_on(host, disk, objects, lease, environment()).await;
    let two_hours = 2 * 60 * 60 * 1000;
    // It has begun to serve, and taken its time, once it answers.
    world.call("GET", "/api/v1/sessions", None).await;

    millis.fetch_add(two_hours, Ordering::Relaxed);
    world.create().await;

    let page = world.call("GET", "/api/v1/sessions?filter[createdAt][period]=1h", None).await.json::<Value>();
    assert_eq!(page["data"].as_array().unwrap().len(), 1, "it was made just now");
}

#[tokio::test]
async fn a_row_is_updated_in_place_and_its_limits_hold_s22_s191() {
    let world = World::start().await;
    world.create().await;

    let updated = world.call("PATCH", CHAT, Some(json!({ "tags": ["a"], "metadata": { "k": null } }))).await;
    let same = world.call("PATCH", CHAT, Some(json!({ "externalId": "chat" }))).await;

    assert_eq!((updated.status, same.status), (StatusCode::OK, StatusCode::OK));
    assert_eq!(updated.body, same.body);
    let row = updated.json::<Value>();
    assert_eq!((&row["tags"], &row["metadata"]), (&json!(["a"]), &json!({ "k": null })));
    for (path, body, status) in [
        (CHAT, json!({ "tags": vec!["t"; 11] }), 400),
        (CHAT, json!({ "tags": ["t".repeat(129)] }), 400),
        (CHAT, json!({ "metadata": [1] }), 400),
        (CHAT, json!({ "externalId": "other" }), 422),
        (CHAT, json!({ "externalId": null }), 422),
        (CHAT, json!({ "metadata": { "x": "x".repeat(32 * 1024) } }), 413),
        ("/api/v1/sessions/nobody", json!({}), 404),
    ] {
        let reply = world.call("PATCH", path, Some(body.clone())).await;
        assert_eq!(reply.status.as_u16(), status, "{body}");
        let error = reply.json::<Value>()["error"].as_str().unwrap().to_owned();
        assert!(status != 422 || error.contains("externalId"), "{error}");
        assert!(status != 404 || error == "Session not found", "{error}");
    }
    assert_eq!(world.call("GET", CHAT, None).await.body, updated.body);
}

#[tokio::test]
async fn a_run_hands_its_session_to_a_successor_s43_s48_d36() {
    let world = World::start().await;
    world.create().await;
    let run = world.lease(0).await.unwrap();
    world.send("deferred").await;
    let headers = [("x-run-id", run.run_id.as_str()), ("x-run-attempt", "1")];
    let body = json!({ "callingRunId": run.run_id, "reason": "upgrade" });

    let swapped = world.call_with("POST", SWAP, Some(body.clone()), &headers).await;
    let again = world.call_with("POST", SWAP, Some(body), &headers).await.json::<Value>();

    let next = world.lease(0).await.expect("the successor is queued");
    assert_eq!(
        (swapped.status, swapped.json::<Value>()),
        (StatusCode::OK, json!({ "runId": next.run_id, "swapped": true }))
    );
    assert_eq!(again, json!({ "runId": next.run_id, "swapped": false }));
    let out = world.call("GET", "/realtime/v1/sessions/chat/out/records", None).await.json::<Value>();
    assert_eq!(out["records"][0]["headers"], json!([["trigger-control", "upgrade-required"]]));
    let late = world.write(&run, &[crate::support::delta("late")]).await;
    assert_eq!(late.json::<Value>()["code"], "lease_lost");
}

#[tokio::test]
async fn swaps_that_cannot_be_are_refused_s43_s45() {
    let world = World::start().await;
    world.create().await;
    let run = world.lease(0).await.unwrap();
    let elsewhere = "/api/v1/sessions/nobody/end-and-continue";
    let ask = |calling: &str, reason: &str| json!({ "callingRunId": calling, "reason": reason });
    for (path, body, status, error) in [
        (SWAP, ask("task_1", "upgrade"), 400, "callingRunId"),
        (SWAP, ask("run_x", &"r".repeat(65)), 400, "reason"),
        (SWAP, json!({ "callingRunId": "run_x" }), 400, "reason"),
        (SWAP, ask("run_x", &"r".repeat(1024)), 413, "Request body too large"),
        (SWAP, ask("run_x", "upgrade"), 404, "callingRunId not found in this environment"),
        (elsewhere, ask("run_x", "upgrade"), 404, "Session not found"),
    ] {
        let reply = world.call("POST", path, Some(body.clone())).await;
        assert_eq!(reply.status.as_u16(), status, "{body}");
        let text = reply.json::<Value>()["error"].as_str().unwrap().to_owned();
        assert!(text.contains(error), "{text}");
    }
    let other = [("x-run-id", "run_x"), ("x-run-attempt", "1")];
    let posing = world.call_with("POST", SWAP, Some(ask(run.run_id.as_str(), "upgrade")), &other).await;
    assert_eq!(posing.status, StatusCode::BAD_REQUEST);

    world.call("POST", "/api/v1/sessions/chat/close", Some(json!({ "reason": "over" }))).await;
    let closed = world.call("POST", SWAP, Some(ask(run.run_id.as_str(), "upgrade"))).await;
    let want = json!({ "error": "Cannot end-and-continue a closed session" });
    assert_eq!((closed.status, closed.json::<Value>()), (StatusCode::BAD_REQUEST, want));
}

#[tokio::test]
async fn a_second_swap_for_nothing_fails_and_may_be_retried_s45_d34() {
    let world = World::start().await;
    world.create().await;
    let first = world.lease(0).await.unwrap();
    let ask = |run: &str| json!({ "callingRunId": run, "reason": "upgrade" });
    world.call("POST", SWAP, Some(ask(first.run_id.as_str()))).await;
    let second = world.lease(0).await.unwrap();

    let failed = world.call("POST", SWAP, Some(ask(second.run_id.as_str()))).await;

    let want = json!({ "error": "Failed to swap session run" });
    assert_eq!((failed.status, failed.json::<Value>()), (StatusCode::INTERNAL_SERVER_ERROR, want));
    assert_eq!(failed.header("x-should-retry"), None);
    assert_eq!(world.run_call(&second, "heartbeat", json!({})).await.status, StatusCode::OK, "it is still its session");
}

#[tokio::test]
async fn an_expired_session_cannot_be_swapped_or_written_and_can_be_read_s21_s24_s45_s61_d1() {
    let world = World::start().await;
    let mut body = create_body(json!({}));
    body["expiresAt"] = json!("2001-01-01T00:00:00Z");
    let created = world.call("POST", "/api/v1/sessions", Some(body.clone())).await.json::<Value>();
    let ask = json!({ "callingRunId": created["runId"], "reason": "upgrade" });

    let swap = world.call("POST", SWAP, Some(ask)).await;
    let append = world.call("POST", "/realtime/v1/sessions/chat/in/append", Some(json!({}))).await;
    let again = world.call("POST", "/api/v1/sessions", Some(body)).await;

    assert_eq!(
        (swap.status, swap.json::<Value>()),
        (StatusCode::BAD_REQUEST, json!({ "error": "Cannot end-and-continue an expired session" }))
    );
    let want = json!({ "ok": false, "error": "Cannot append to an expired session", "code": "session_expired" });
    assert_eq!((append.status, append.json::<Value>()), (StatusCode::CONFLICT, want));
    assert_eq!((again.status, again.json::<Value>()["code"].clone()), (StatusCode::CONFLICT, json!("session_expired")));
    assert_eq!(world.call("GET", CHAT, None).await.status, StatusCode::OK);
    assert!(world.lease(0).await.is_some(), "expiry has no active effect");
}

//! Snapshot objects behind signed addresses (S-194…S-198, D-36).

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use serde_json::{Value, json};
use turnkeep_session::MemoryDisk;

use crate::support::World;

const URL: &str = "/api/v1/sessions/chat/snapshot-url";
const NOBODY: [(&str, &str); 1] = [("authorization", "")];

async fn address(world: &World, method: &str, headers: &[(&str, &str)]) -> String {
    let reply = world.call_with(method, URL, None, headers).await;
    assert_eq!(reply.status, StatusCode::OK, "{reply:?}");
    reply.json::<Value>()["presignedUrl"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn what_was_put_is_got_and_nothing_is_404_s194_s196_s197() {
    let world = World::start().await;
    world.create().await;
    let get = address(&world, "GET", &[]).await;
    let put = address(&world, "PUT", &[]).await;
    let snapshot = json!({ "version": 1, "savedAt": 5, "messages": [] });

    let before = world.call_with("GET", &get, None, &NOBODY).await;
    let stored = world.call_with("PUT", &put, Some(snapshot.clone()), &NOBODY).await;
    let after = world.call_with("GET", &get, None, &NOBODY).await;

    assert_eq!((before.status, stored.status), (StatusCode::NOT_FOUND, StatusCode::OK));
    assert_eq!((after.json::<Value>(), after.header("content-type")), (snapshot, Some("application/json")));
}

#[tokio::test]
async fn an_address_is_good_for_its_own_purpose_only_s194() {
    let world = World::start().await;
    world.create().await;
    let get = address(&world, "GET", &[]).await;

    let put = world.call_with("PUT", &get, Some(json!({})), &NOBODY).await;
    let forged = world.call_with("GET", &get.replace("op=get", "op=put"), None, &NOBODY).await;
    let bare = world.call_with("GET", get.split('?').next().unwrap(), None, &NOBODY).await;

    assert_eq!([put.status, forged.status, bare.status], [StatusCode::FORBIDDEN; 3]);
}

#[tokio::test]
async fn a_worker_that_lost_its_run_cannot_write_with_its_old_address_d36() {
    let world = World::start_with(Arc::new(MemoryDisk::new()), Duration::from_millis(100)).await;
    world.create().await;
    let run = world.lease(0).await.unwrap();
    let put = address(&world, "PUT", &[("x-run-id", run.run_id.as_str()), ("x-run-attempt", "1")]).await;
    world.lease(5).await.expect("the lease lapses by itself");

    let late = world.call_with("PUT", &put, Some(json!({ "version": 1 })), &NOBODY).await;

    assert_eq!((late.status, late.json::<Value>()["code"].clone()), (StatusCode::CONFLICT, json!("lease_lost")));
}

#[tokio::test]
async fn snapshots_of_closed_sessions_work_and_of_unknown_ones_do_not_s194() {
    let world = World::start().await;
    world.create().await;
    world.call("POST", "/api/v1/sessions/chat/close", None).await;

    let put = address(&world, "PUT", &[]).await;
    let stored = world.call_with("PUT", &put, Some(json!({})), &NOBODY).await;
    let unknown = world.call("GET", "/api/v1/sessions/nobody/snapshot-url", None).await;

    assert_eq!((stored.status, unknown.status), (StatusCode::OK, StatusCode::NOT_FOUND));
}

#[tokio::test]
async fn a_late_put_of_an_older_turn_is_refused_and_the_newer_snapshot_stays_s91_a108() {
    let world = World::start().await;
    world.create().await;
    let (get, put) = (address(&world, "GET", &[]).await, address(&world, "PUT", &[]).await);
    let snapshot = |last_out: &str| json!({ "version": 1, "savedAt": 5, "messages": [], "lastOutEventId": last_out });
    world.call_with("PUT", &put, Some(snapshot("7")), &NOBODY).await;

    let late = world.call_with("PUT", &put, Some(snapshot("3")), &NOBODY).await;

    let text = "A newer snapshot is stored already, with lastOutEventId 7";
    assert_eq!((late.status, late.json::<Value>()), (StatusCode::CONFLICT, json!({ "error": text })));
    assert_eq!(world.call_with("GET", &get, None, &NOBODY).await.json::<Value>(), snapshot("7"));
}

//! Snapshot objects behind signed addresses (S-194…S-198, D-36).

use std::sync::Arc;
use std::time::Duration;

use futures::TryStreamExt as _;
use http::StatusCode;
use object_store::path::Path;
use object_store::throttle::{ThrottleConfig, ThrottledStore};
use object_store::{ObjectStore, ObjectStoreExt as _, PutPayload};
use serde_json::{Value, json};
use turnkeep_host::Host;
use turnkeep_session::{Error, InMemoryObjects, MemoryDisk, MemoryStorage, Server, objects_in_folder};

use crate::support::{World, environment};

const URL: &str = "/api/v1/sessions/chat/snapshot-url";
const LEASE: Duration = Duration::from_secs(10);
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

/// What says whose the objects are (D-86).
const MARK: &str = "packets/proj_local/dev/store.json";

/// Lists the objects of a server but its mark.
async fn objects(store: &dyn ObjectStore) -> Vec<Path> {
    let all = store.list(None).map_ok(|meta| meta.location);
    all.try_filter(|place| std::future::ready(place.as_ref() != MARK)).try_collect().await.unwrap()
}

fn numbered(n: u64) -> Value {
    json!({ "version": 1, "savedAt": n, "messages": [], "lastOutEventId": n.to_string() })
}

#[tokio::test]
async fn a_session_has_one_object_whatever_was_put_and_refused_s91_d26() {
    let world = World::start().await;
    world.create().await;
    let (get, put) = (address(&world, "GET", &[]).await, address(&world, "PUT", &[]).await);
    for (n, want) in [(3, StatusCode::OK), (9, StatusCode::OK), (4, StatusCode::CONFLICT)] {
        let stored = world.call_with("PUT", &put, Some(numbered(n)), &NOBODY).await;
        assert_eq!((stored.status, objects(&*world.objects).await.len()), (want, 1), "{n}");
    }

    let at_once = (10..30).map(|n| world.call_with("PUT", &put, Some(numbered(n)), &NOBODY));
    let stored = futures::future::join_all(at_once).await;

    assert!(stored.iter().all(|reply| [StatusCode::OK, StatusCode::CONFLICT].contains(&reply.status)), "{stored:?}");
    assert_eq!(objects(&*world.objects).await.len(), 1);
    assert_eq!(world.call_with("GET", &get, None, &NOBODY).await.json::<Value>(), numbered(29));
}

#[tokio::test]
async fn a_snapshot_that_is_replaced_while_it_is_read_is_read_anew_s197_d26() {
    const GET: Duration = Duration::from_secs(1);
    let slow = ThrottleConfig { wait_get_per_call: GET, ..ThrottleConfig::default() };
    let store = Arc::new(ThrottledStore::new(InMemoryObjects::new(), slow));
    let (disk, lease) = (Arc::new(MemoryDisk::new()), Duration::from_secs(10));
    let world = World::start_over(disk, store, lease, environment()).await;
    world.create().await;
    let (get, put) = (address(&world, "GET", &[]).await, address(&world, "PUT", &[]).await);
    world.call_with("PUT", &put, Some(numbered(1)), &NOBODY).await;

    // The put is done when it has got the mark. The read begins in the midst of that: it has learnt the first object's name long before
    // it gets to it, and by then that one is replaced and deleted.
    let read = async {
        tokio::time::sleep(GET / 2).await;
        world.call_with("GET", &get, None, &NOBODY).await
    };
    let (read, stored) = tokio::join!(read, world.call_with("PUT", &put, Some(numbered(2)), &NOBODY));

    assert_eq!(stored.status, StatusCode::OK);
    assert_eq!((read.status, read.json::<Value>()), (StatusCode::OK, numbered(2)));
}

#[tokio::test]
async fn what_crashes_left_between_object_and_row_is_deleted_at_the_next_start_d26() {
    let world = World::start().await;
    world.create().await;
    let (get, put) = (address(&world, "GET", &[]).await, address(&world, "PUT", &[]).await);
    world.call_with("PUT", &put, Some(numbered(7)), &NOBODY).await;
    let kept = objects(&*world.objects).await;
    let folder = "packets/proj_local/dev/sessions";
    let beside = Path::from(format!("{}/0123456789abcdef.json", kept[0].as_ref().rsplit_once('/').unwrap().0));
    let elsewhere = Path::from("packets/proj_other/dev/sessions/session_1/1.json");
    for orphan in [beside, Path::from(format!("{folder}/session_gone/1.json")), elsewhere.clone()] {
        world.objects.put(&orphan, PutPayload::from_static(b"{}")).await.unwrap();
    }

    let world = world.restart().await;

    assert_eq!(objects(&*world.objects).await, [kept[0].clone(), elsewhere], "another environment's is none of ours");
    assert_eq!(world.call_with("GET", &get, None, &NOBODY).await.json::<Value>(), numbered(7));
}

/// Tells how a server starts on what a disk and an object store hold.
async fn bound(disk: MemoryDisk, objects: Arc<dyn ObjectStore>, adopt: bool) -> Result<(), Error> {
    let storage = Arc::new(MemoryStorage::open(Arc::new(disk)));
    let server = Server::new(Host::os(), storage, objects, environment()).adopt_objects(adopt);
    server.bind("127.0.0.1:0").await.map(drop)
}

#[tokio::test]
async fn a_new_store_does_not_start_beside_another_ones_snapshots_d26_d86() {
    let world = World::start().await;
    world.create().await;
    let (get, put) = (address(&world, "GET", &[]).await, address(&world, "PUT", &[]).await);
    world.call_with("PUT", &put, Some(numbered(7)), &NOBODY).await;
    let left = world.disk.synced();

    // The store is put aside, served without, and put back.
    let objects = world.objects.clone();
    drop(world);
    let refused = bound(MemoryDisk::new(), objects.clone(), false).await;
    let world = World::start_over(Arc::new(MemoryDisk::with(left)), objects, LEASE, environment()).await;

    assert!(matches!(refused, Err(Error::ForeignObjects)), "{refused:?}");
    assert_eq!(world.call_with("GET", &get, None, &NOBODY).await.json::<Value>(), numbered(7));
}

#[tokio::test]
async fn a_store_whose_snapshots_are_not_mounted_starts_when_it_is_told_that_they_are_lost_d86() {
    let world = World::start().await;
    world.create().await;
    let (get, put) = (address(&world, "GET", &[]).await, address(&world, "PUT", &[]).await);
    world.call_with("PUT", &put, Some(numbered(7)), &NOBODY).await;
    let left = world.disk.synced();
    drop(world);
    let nothing_there = Arc::new(InMemoryObjects::new());

    let refused = bound(MemoryDisk::with(left.clone()), nothing_there.clone(), false).await;
    let adopted = bound(MemoryDisk::with(left.clone()), nothing_there.clone(), true).await;
    let world = World::start_over(Arc::new(MemoryDisk::with(left)), nothing_there, LEASE, environment()).await;

    assert!(matches!(refused, Err(Error::MissingObjects { n_missing: 1 })), "{refused:?}");
    adopted.unwrap();
    assert_eq!(world.call_with("GET", &get, None, &NOBODY).await.status, StatusCode::GONE);
}

#[tokio::test]
async fn a_folder_that_goes_away_under_a_server_is_no_loss_and_takes_no_snapshot_d86() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("snapshots");
    let store = objects_in_folder(&Host::os(), &place).await.unwrap();
    let world = World::start_over(Arc::new(MemoryDisk::new()), store, LEASE, environment()).await;
    world.create().await;
    let (get, put) = (address(&world, "GET", &[]).await, address(&world, "PUT", &[]).await);
    world.call_with("PUT", &put, Some(numbered(1)), &NOBODY).await;
    // What a folder is when nothing is mounted on it.
    std::fs::rename(&place, folder.path().join("elsewhere")).unwrap();
    std::fs::create_dir(&place).unwrap();

    let unread = world.call_with("GET", &get, None, &NOBODY).await;
    let refused = world.call_with("PUT", &put, Some(numbered(2)), &NOBODY).await;
    std::fs::remove_dir_all(&place).unwrap();
    std::fs::rename(folder.path().join("elsewhere"), &place).unwrap();

    assert_eq!([unread.status, refused.status], [StatusCode::INTERNAL_SERVER_ERROR; 2]);
    assert_eq!(world.call_with("GET", &get, None, &NOBODY).await.json::<Value>(), numbered(1));
    assert_eq!(world.call_with("PUT", &put, Some(numbered(3)), &NOBODY).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_body_that_is_lost_is_called_gone_and_the_next_put_mends_it_s197_d86() {
    let world = World::start().await;
    world.create().await;
    let (get, put) = (address(&world, "GET", &[]).await, address(&world, "PUT", &[]).await);
    world.call_with("PUT", &put, Some(numbered(1)), &NOBODY).await;
    world.objects.delete(&objects(&*world.objects).await[0]).await.unwrap();

    let lost = world.call_with("GET", &get, None, &NOBODY).await;
    world.call_with("PUT", &put, Some(numbered(2)), &NOBODY).await;
    let mended = world.call_with("GET", &get, None, &NOBODY).await;

    let gone = json!({ "error": "The snapshot of this session is lost", "code": "snapshot_gone" });
    assert_eq!((lost.status, lost.json::<Value>()), (StatusCode::GONE, gone));
    assert_eq!(lost.header("x-should-retry"), Some("false"));
    assert_eq!(mended.json::<Value>(), numbered(2));
}

#[tokio::test]
async fn a_body_that_cannot_be_read_now_is_called_neither_absent_nor_gone_s197_d86() {
    let folder = tempfile::tempdir().unwrap();
    let store = objects_in_folder(&Host::os(), folder.path().join("snapshots")).await.unwrap();
    let lease = Duration::from_secs(10);
    let world = World::start_over(Arc::new(MemoryDisk::new()), store, lease, environment()).await;
    world.create().await;
    let (get, put) = (address(&world, "GET", &[]).await, address(&world, "PUT", &[]).await);
    world.call_with("PUT", &put, Some(numbered(1)), &NOBODY).await;
    let file = folder.path().join("snapshots").join(objects(&*world.objects).await[0].as_ref());
    // A link to itself: there is something of that name, and nobody can open it.
    std::fs::rename(&file, folder.path().join("aside")).unwrap();
    std::os::unix::fs::symlink(&file, &file).unwrap();

    let unread = world.call_with("GET", &get, None, &NOBODY).await;
    std::fs::remove_file(&file).unwrap();
    std::fs::rename(folder.path().join("aside"), &file).unwrap();

    assert_eq!(unread.status, StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(world.call_with("GET", &get, None, &NOBODY).await.json::<Value>(), numbered(1));
}

#[tokio::test]
async fn snapshots_in_a_folder_outlive_the_server_and_a_failed_put_changes_nothing_d12_d26() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("snapshots");
    let store = objects_in_folder(&Host::os(), &place).await.unwrap();
    let lease = Duration::from_secs(10);
    let world = World::start_over(Arc::new(MemoryDisk::new()), store, lease, environment()).await;
    world.create().await;
    let (get, put) = (address(&world, "GET", &[]).await, address(&world, "PUT", &[]).await);
    world.call_with("PUT", &put, Some(numbered(1)), &NOBODY).await;
    world.call_with("PUT", &put, Some(numbered(2)), &NOBODY).await;

    let world = world.restart().await;
    assert_eq!(world.call_with("GET", &get, None, &NOBODY).await.json::<Value>(), numbered(2));
    assert_eq!(objects(&*world.objects).await.len(), 1);
    // The place is taken away, so that nothing can be put there.
    std::fs::rename(&place, folder.path().join("elsewhere")).unwrap();
    std::fs::write(&place, "no folder").unwrap();
    let refused = world.call_with("PUT", &put, Some(numbered(3)), &NOBODY).await;
    std::fs::remove_file(&place).unwrap();
    std::fs::rename(folder.path().join("elsewhere"), &place).unwrap();

    assert_eq!(refused.status, StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(world.call_with("GET", &get, None, &NOBODY).await.json::<Value>(), numbered(2));
}

#[tokio::test]
async fn a_snapshot_beyond_the_limit_is_refused_before_its_body_s191() {
    let world = World::start().await;
    world.create().await;
    let put = address(&world, "PUT", &[]).await;
    let long = 64 * 1024 * 1024 + 1;

    let status = world.status_of(&format!("PUT {put} HTTP/1.1\r\nhost: x\r\ncontent-length: {long}\r\n\r\n")).await;

    assert!(status.starts_with("HTTP/1.1 413"), "{status}");
    assert_eq!(objects(&*world.objects).await, []);
}

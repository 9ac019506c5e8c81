//! What a 2xx promises (D-12): the server is killed and its disk keeps only what was synced.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use http::StatusCode;
use serde_json::{Value, json};
use turnkeep_host::Host;
use turnkeep_protocol::{ChannelName, PartId, Record, RunId, SeqNum, SessionId};
use turnkeep_session::{
    Bounds, Change, Environment, Error, InMemoryObjects, Loaded, MemoryDisk, MemoryStorage, Part, RunRow, Server,
    Storage, StorageError, Windows,
};

use crate::support::{SECRET, World, delta, message};

/// Starts a server on what a power loss would leave of another's disk.
async fn after_power_loss(world: World) -> World {
    let left = world.disk.synced();
    drop(world);
    World::start_with(Arc::new(MemoryDisk::with(left)), Duration::from_secs(10)).await
}

#[tokio::test]
async fn acknowledged_appends_and_batches_survive_a_power_loss_d12() {
    let world = World::start().await;
    world.create().await;
    let run = world.lease(0).await.unwrap();
    let seq = world.send("kept").await;
    world.write(&run, &[delta("a")]).await;

    let world = after_power_loss(world).await;

    let input = world.call("GET", "/realtime/v1/sessions/chat/in/records", None).await.json::<Value>();
    let output = world.call("GET", "/realtime/v1/sessions/chat/out/records", None).await.json::<Value>();
    assert_eq!(input["records"][0]["seqNum"], seq);
    assert_eq!(output["records"][0]["data"]["delta"], "a");
    let written = world.write(&run, &[delta("b")]).await;
    assert_eq!(written.json::<Value>(), json!({ "seqs": [1] }), "the lease is kept until its stored end");
}

#[tokio::test]
async fn part_ids_survive_a_power_loss_d6_d12() {
    let world = World::start().await;
    world.create().await;
    let append = "/realtime/v1/sessions/chat/in/append";
    world.call_with("POST", append, Some(message("a")), &[("x-part-id", "p")]).await;

    let world = after_power_loss(world).await;

    let retry = world.call_with("POST", append, Some(message("a")), &[("x-part-id", "p")]).await;
    assert_eq!(retry.json::<Value>(), json!({ "ok": true, "seq": 0 }));
}

#[tokio::test]
async fn a_restarted_server_repeats_no_id_it_gave_before_rc5() {
    let world = World::start().await;
    let first = world.create().await;

    let world = after_power_loss(world).await;

    let mut other = crate::support::create_body(json!({}));
    other["externalId"] = json!("other");
    let second = world.call("POST", "/api/v1/sessions", Some(other)).await.json::<Value>();
    assert_ne!(first["id"], second["id"]);
    assert_ne!(first["runId"], second["runId"]);
}

/// A store whose disk is full from the start.
struct Full(MemoryStorage);

impl Storage for Full {
    fn load(&self, windows: Windows) -> BoxFuture<'_, Result<Loaded, StorageError>> {
        self.0.load(windows)
    }

    fn commit(&self, _: Vec<Change>) -> BoxFuture<'_, Result<(), StorageError>> {
        Box::pin(async {
            // A disk takes its time to say so; an answer that did not wait for it would be out by then.
            tokio::time::sleep(Duration::from_millis(200)).await;
            Err(io::Error::from(io::ErrorKind::StorageFull).into())
        })
    }

    fn read(
        &self,
        session: SessionId,
        channel: ChannelName,
        from: SeqNum,
        bounds: Bounds,
    ) -> BoxFuture<'_, Result<Vec<Record>, StorageError>> {
        self.0.read(session, channel, from, bounds)
    }

    fn part(
        &self,
        session: SessionId,
        channel: ChannelName,
        part: PartId,
    ) -> BoxFuture<'_, Result<Option<Part>, StorageError>> {
        self.0.part(session, channel, part)
    }

    fn run(&self, run: RunId) -> BoxFuture<'_, Result<Option<RunRow>, StorageError>> {
        self.0.run(run)
    }
}

#[tokio::test]
async fn a_failed_commit_ends_the_server_and_acknowledges_nothing_d12_sr16() {
    let host = Host::os();
    let (disk, objects) = (Arc::new(MemoryDisk::new()), Arc::new(InMemoryObjects::new()));
    let over = |storage: Arc<dyn Storage>| {
        Server::new(host.clone(), storage, objects.clone(), Environment::new("env_1", SECRET)).bind("127.0.0.1:0")
    };
    // A store that had a server before its disk was full.
    drop(over(Arc::new(MemoryStorage::open(disk.clone()))).await.unwrap());
    let server = over(Arc::new(Full(MemoryStorage::open(disk)))).await.unwrap();
    let base = format!("http://{}", server.local_addr()).parse().unwrap();
    let client = turnkeep_host::http::HttpClient::new(host.clone(), base, turnkeep_host::http::Deadlines::default());
    let body = crate::support::create_body(json!({})).to_string();
    let request = http::Request::post("/api/v1/sessions").header("authorization", format!("Bearer {SECRET}"));

    let running = tokio::time::timeout(Duration::from_secs(10), server.run());
    let (stopped, answer) = tokio::join!(running, client.fetch(request.body(body.into()).unwrap()));

    let error = stopped.expect("the server stops by itself").unwrap_err();
    assert!(matches!(error, Error::Storage(_)) && error.is_retryable(), "{error}");
    let acknowledged = answer.is_ok_and(|reply| reply.status() != StatusCode::INTERNAL_SERVER_ERROR);
    assert!(!acknowledged, "what is not durable is not answered");
}

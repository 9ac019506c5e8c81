//! Chats whose stored snapshot is lost: they go on with what is still on their channels (D-86).

use std::sync::Arc;
use std::time::Duration;

use futures::future::ready;
use futures::{StreamExt as _, TryStreamExt as _};
use turnkeep_harness::model::{MockLanguageModel, say};
use turnkeep_harness::{MockChat, Restart, offline_host};
use turnkeep_host::{Host, Task};
use turnkeep_session::{Environment, InMemoryObjects, MemoryDisk, MemoryStorage, ObjectStore as _, Server};

use crate::support::*;

const KEY: &str = "tr_dev_lost";
const LEASE: Duration = Duration::from_secs(2);

/// Serves sessions on the host's own network, their snapshots in `objects`.
async fn server(host: &Host, objects: Arc<InMemoryObjects>) -> Task {
    let storage = Arc::new(MemoryStorage::open(Arc::new(MemoryDisk::new())));
    let server = Server::new(host.clone(), storage, objects, Environment::new("env_lost", KEY)).lease(LEASE);
    let server = server.bind("session:80").await.unwrap();
    host.spawn(async move {
        let Err(error) = server.run().await;
        panic!("the server failed: {error}");
    })
}

/// Takes away every snapshot there is, but not what marks the objects as the server's; gives how many that were.
async fn lose_all(objects: &InMemoryObjects) -> usize {
    let lying = objects.list(None).map_ok(|meta| meta.location);
    let lying: Vec<_> = lying.try_filter(|place| ready(place.as_ref().contains("/sessions/"))).collect().await;
    let deleted: Vec<_> = objects.delete_stream(futures::stream::iter(lying).boxed()).try_collect().await.unwrap();
    deleted.len()
}

#[tokio::test(start_paused = true)]
async fn a_chat_whose_snapshot_is_lost_goes_on_and_its_next_turn_stores_a_new_one_d86_s197_s203() {
    let (host, objects) = (offline_host(1), Arc::new(InMemoryObjects::new()));
    let _server = server(&host, objects.clone()).await;
    let model =
        MockLanguageModel::new().step([say("a")]).step([say("b")]).step([say("c")]).step([say("d")]).step([say("e")]);
    let at = MockChat::new(plain()).server(host, "http://session:80", KEY).lease(LEASE);
    let mut chat = at.start(&model).await;
    for text in ["one", "two", "three"] {
        chat.send(text).await;
    }
    // Until the first turns are trimmed: within a minute (S-89).
    tokio::time::sleep(Duration::from_secs(60)).await;

    let n_lost = lose_all(&objects).await;
    let began = tokio::time::Instant::now();
    chat.restart(Restart::Crash).await;
    chat.send("four").await.assert_text("d");
    let took = began.elapsed();
    let warnings = chat.warnings();
    chat.restart(Restart::Crash).await;
    chat.send("five").await.assert_text("e");

    // Of the answers the last one is on `out`; the questions are on `in`, which is never trimmed.
    model.assert_prompt(3).reads(&["user: one", "user: two", "user: three", "assistant: c", "user: four"]);
    let healed = ["user: one", "user: two", "user: three", "assistant: c", "user: four", "assistant: d", "user: five"];
    model.assert_prompt(4).reads(&healed);
    assert_eq!(warnings, ["the stored chat snapshot is lost: the chat goes on with what is still on its channels"]);
    assert_eq!((n_lost, chat.warnings().len()), (1, 1), "the second boot has a snapshot again");
    assert!(took < Duration::from_secs(30), "nobody waits for what will not come: {took:?}");
    chat.finish().await;
}

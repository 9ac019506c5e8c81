//! The same chat against a session server that runs elsewhere, over real TCP.

use std::sync::Arc;
use std::time::Duration;

use turnkeep_harness::model::{MockLanguageModel, say};
use turnkeep_harness::{At, MockChat, MockChatAgent, Restart};
use turnkeep_host::{Host, Task};
use turnkeep_protocol::UiMessage;
use turnkeep_session::{Environment, InMemoryObjects, MemoryDisk, MemoryStorage, Server};

use crate::support::*;

const KEY: &str = "tr_dev_realServer";

/// Short, since a crash waits for it in real time.
const LEASE: Duration = Duration::from_secs(2);

/// How long the whole story may take on a loaded machine.
const LIMIT: Duration = Duration::from_secs(60);

/// Serves real sessions on loopback; gives the task and the address.
async fn server(host: &Host) -> (Task, String) {
    let storage = Arc::new(MemoryStorage::open(Arc::new(MemoryDisk::new())));
    let objects = Arc::new(InMemoryObjects::new());
    let server = Server::new(host.clone(), storage, objects, Environment::new("env_real", KEY)).lease(LEASE);
    let server = server.bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", server.local_addr());
    let task = host.spawn(async move {
        let Err(error) = server.run().await;
        panic!("the server failed: {error}");
    });
    (task, base)
}

/// The story: two turns, a crash in the second, a third on top.
async fn story(mut chat: MockChatAgent, model: &MockLanguageModel) {
    chat.send("one").await.assert_text("a").assert_records(&[
        "start",
        "start-step",
        "text-start",
        "text-delta",
        "text-end",
        "finish-step",
        "finish",
        "turn-complete",
    ]);
    let barrier = chat.barrier(At::before("run"));
    let posted = chat.send("two").begin().await;
    barrier.reached().await;
    chat.restart(Restart::Crash).await;
    barrier.release();
    posted.turn().await.assert_text("b");
    chat.send("three").await.assert_text("c");

    model.assert_prompt(2).reads(&["user: one", "assistant: a", "user: two", "assistant: b", "user: three"]);
    let saved = chat.get_snapshot().await.unwrap().messages;
    assert_eq!(saved.iter().map(UiMessage::text).collect::<Vec<_>>(), ["one", "a", "two", "b", "three", "c"]);
    chat.finish().await;
}

fn script() -> MockLanguageModel {
    MockLanguageModel::new().step([say("a")]).step([say("b")]).step([say("c")])
}

#[tokio::test]
async fn the_same_story_holds_against_a_real_server_a284() {
    let host = Host::os();
    let (_server, base) = server(&host).await;
    let model = script();
    let chat = MockChat::new(plain()).server(host, base, KEY).lease(LEASE).start(&model).await;

    tokio::time::timeout(LIMIT, story(chat, &model)).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn and_in_memory_a284() {
    let model = script();
    let chat = MockChatAgent::start(plain(), &model).await;

    story(chat, &model).await;
}

#[tokio::test]
async fn seeds_are_left_on_a_real_server_too_a284_a279() {
    let host = Host::os();
    let (_server, base) = server(&host).await;
    let model = MockLanguageModel::new().step([say("Fine.")]);
    let history =
        [UiMessage::user("u-1", "Hi"), UiMessage::assistant("a-1", vec![turnkeep_protocol::UiPart::text("Yes?")])];
    let chat = MockChat::new(plain()).seed_snapshot(history).server(host, base, KEY).lease(LEASE).start(&model);
    let mut chat = tokio::time::timeout(LIMIT, chat).await.unwrap();

    tokio::time::timeout(LIMIT, chat.send("How are you?")).await.unwrap();

    model.assert_prompt(0).reads(&["user: Hi", "assistant: Yes?", "user: How are you?"]);
    chat.finish().await;
}

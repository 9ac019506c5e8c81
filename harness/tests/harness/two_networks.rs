//! One story, written once: over real TCP on loopback, and over the simulated network (D-48).

use std::sync::Arc;
use std::time::Duration;

use turnkeep_agent::{Agent, TurnInput, Worker, WorkerOptions};
use turnkeep_client::{SendMessages, SessionsApi, StartRequest, Transport};
use turnkeep_harness::World;
use turnkeep_harness::model::{MockLanguageModel, say};
use turnkeep_host::Host;
use turnkeep_host::http::BaseUrl;
use turnkeep_protocol::session_api::{CreateSession, TriggerConfig};
use turnkeep_protocol::{TaskId, UiMessage, UiMessageChunk};
use turnkeep_session::{BoundServer, Environment, InMemoryObjects, MemoryDisk, MemoryStorage, Server};

const KEY: &str = "tr_dev_twoNetworks";

async fn bind(host: Host, addr: &str) -> BoundServer {
    let storage = Arc::new(MemoryStorage::open(Arc::new(MemoryDisk::new())));
    let objects = Arc::new(InMemoryObjects::new());
    Server::new(host, storage, objects, Environment::new("env_two", KEY)).bind(addr).await.unwrap()
}

async fn work(host: Host, base: BaseUrl) {
    let model = MockLanguageModel::new().step([say("Good "), say("day.")]).step([say("Good bye.")]);
    let agent = Agent::new("greeter", |turn: TurnInput| async move { Ok(turn.stream_text()) });
    let options = WorkerOptions::new(base.to_string(), KEY, "worker");
    let Err(error) = Worker::new(host, options).model(Arc::new(model)).agent(agent).run().await;
    panic!("the worker failed: {error}");
}

fn transport(host: Host, base: BaseUrl) -> Transport {
    let sessions = Arc::new(SessionsApi::new(host.clone(), base.clone(), KEY));
    let no_renewal = Arc::new(|_| -> futures::future::BoxFuture<'static, _> {
        Box::pin(async { Err("the token is fresh".into()) })
    });
    Transport::builder(host, base, TaskId::new("greeter"), no_renewal)
        .start_session(Arc::new(move |request: StartRequest| {
            let sessions = sessions.clone();
            Box::pin(async move {
                let payload = serde_json::json!({ "trigger": "preload", "chatId": request.chat_id });
                let create = CreateSession {
                    kind: "chat.agent".to_owned(),
                    task_identifier: request.task_id,
                    trigger_config: TriggerConfig {
                        base_payload: payload.as_object().unwrap().clone(),
                        ..TriggerConfig::default()
                    },
                    external_id: Some(request.chat_id),
                    tags: None,
                    metadata: None,
                    expires_at: None,
                };
                Ok(sessions.create(&create).await?.public_access_token)
            })
        }))
        .build()
}

/// The story: two messages, two answers.
async fn converse(host: Host, base: BaseUrl) {
    let transport = transport(host, base);
    for (at, want) in ["Good day.", "Good bye."].into_iter().enumerate() {
        let message = UiMessage::user(format!("u{at}"), "Hello");
        let mut stream = transport.send_messages("chat", SendMessages::submit([message])).await.unwrap();
        let mut text = String::new();
        while let Some(delivered) = stream.next().await {
            if let UiMessageChunk::TextDelta(delta) = delivered.unwrap().chunk {
                text.push_str(&delta.delta);
            }
        }
        assert_eq!(text, want);
    }
}

#[tokio::test]
async fn a_conversation_over_real_tcp() {
    let host = Host::os();
    let server = bind(host.clone(), "127.0.0.1:0").await;
    let base: BaseUrl = format!("http://{}", server.local_addr()).parse().unwrap();
    let _server = host.spawn(async move {
        let Err(error) = server.run().await;
        panic!("the server failed: {error}");
    });
    let _worker = host.spawn(work(host.clone(), base.clone()));

    tokio::time::timeout(Duration::from_secs(60), converse(host, base)).await.unwrap();
}

#[test]
fn the_same_conversation_over_the_simulated_network() {
    let base = || "http://session:80".parse::<BaseUrl>().unwrap();

    let run = || {
        World::new(3)
            .machine("session", |host| async move {
                let Err(error) = bind(host, "0.0.0.0:80").await.run().await;
                panic!("the server failed: {error}");
            })
            .machine("worker", move |host| work(host, base()))
            .run("page", 60_000, move |host| converse(host, base()))
            .unwrap()
    };

    assert_eq!(run(), run(), "two runs of one seed are one run");
}

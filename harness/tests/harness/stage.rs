//! Several agents behind one session server, each with a worker of its own.

use std::sync::Arc;

use turnkeep_agent::{Agent, Worker, WorkerOptions};
use turnkeep_client::{AgentChat, AgentChatBuilder, SessionsApi};
use turnkeep_harness::model::MockLanguageModel;
use turnkeep_harness::offline_host;
use turnkeep_host::{Host, Task};
use turnkeep_protocol::TaskId;
use turnkeep_session::{Environment, InMemoryObjects, MemoryDisk, MemoryStorage, Server};

/// The environment's secret key.
pub(crate) const KEY: &str = "tr_dev_stage";

/// One session server with a worker for each agent.
pub(crate) struct Stage {
    pub(crate) host: Host,
    _tasks: Vec<Task>,
}

impl Stage {
    /// Starts the server and the workers.
    pub(crate) async fn new(agents: impl IntoIterator<Item = (Agent, MockLanguageModel)>) -> Self {
        let host = offline_host(1);
        let storage = Arc::new(MemoryStorage::open(Arc::new(MemoryDisk::new())));
        let objects = Arc::new(InMemoryObjects::new());
        let server =
            Server::new(host.clone(), storage, objects, Environment::new("env", KEY)).bind("session:80").await.unwrap();
        let mut tasks = vec![host.spawn(async move {
            let Err(error) = server.run().await;
            panic!("the server failed: {error}");
        })];
        for (agent, model) in agents {
            let options = WorkerOptions::new("http://session:80", KEY, format!("worker-of-{}", agent.id()));
            let worker = Worker::new(host.clone(), options).model(Arc::new(model)).agent(agent);
            tasks.push(host.spawn(async move {
                let Err(error) = worker.run().await;
                panic!("the worker failed: {error}");
            }));
        }
        Self { host, _tasks: tasks }
    }

    /// Speaks to the server with this key or token.
    pub(crate) fn sessions(&self, key: impl Into<String>) -> SessionsApi {
        SessionsApi::new(self.host.clone(), "http://session:80".parse().unwrap(), key)
    }

    /// Begins to talk to an agent as a program on a server does.
    pub(crate) fn builder(&self, agent: &str, chat_id: &str) -> AgentChatBuilder {
        builder(&self.host, agent, chat_id)
    }

    /// Talks to an agent as a program on a server does.
    pub(crate) fn chat(&self, agent: &str, chat_id: &str) -> AgentChat {
        self.builder(agent, chat_id).build()
    }
}

/// Talks to an agent as a program on a server does.
pub(crate) fn chat(host: &Host, agent: &str, chat_id: &str) -> AgentChat {
    builder(host, agent, chat_id).build()
}

fn builder(host: &Host, agent: &str, chat_id: &str) -> AgentChatBuilder {
    let base = "http://session:80".parse().unwrap();
    AgentChat::builder(host.clone(), base, KEY, TaskId::new(agent), chat_id)
}

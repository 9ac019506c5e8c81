//! [`MockChatAgent`]: an author's agent in a test of a few lines, with no network.
//!
//! Behind it run the real session server, the real worker with the real turn loop, and the real client transport; they talk
//! HTTP over an in-memory network. With `#[tokio::test(start_paused = true)]` all waiting is virtual.

mod settle;

use std::sync::Arc;
use std::time::Duration;

use turnkeep_agent::{Agent, Worker, WorkerOptions};
use turnkeep_client::{SendMessages, SessionsApi, StartRequest, Transport};
use turnkeep_host::http::BaseUrl;
use turnkeep_host::{Host, Task};
use turnkeep_protocol::reduce::MessageReducer;
use turnkeep_protocol::run_api::RunOptions;
use turnkeep_protocol::session_api::{CreateSession, TriggerConfig};
use turnkeep_protocol::{TaskId, UiMessage, UiMessageChunk};
use turnkeep_session::{Environment, MemoryDisk, MemoryStorage, Server};

use crate::model::MockLanguageModel;
use crate::offline_host;
use settle::Settled;

/// The chat's id, and the session's external id.
const CHAT: &str = "test-chat";
const SECRET_KEY: &str = "tr_dev_mockChat";
const SESSION_ADDR: &str = "session:80";

/// How long, in virtual time, a send may take before the test fails.
const SEND_LIMIT: Duration = Duration::from_secs(24 * 3600);

/// An agent under test, and the one chat that it serves.
#[derive(Debug)]
pub struct MockChatAgent {
    transport: Transport,
    model: MockLanguageModel,
    settled: Arc<Settled>,
    messages: Vec<UiMessage>,
    n_sent: usize,
    _server: Task,
    _worker: Task,
}

/// One answered message.
#[derive(Debug, Clone)]
pub struct MockTurn {
    chunks: Vec<UiMessageChunk>,
    message: UiMessage,
}

impl MockChatAgent {
    /// Serves `agent` with `model` on a host of its own, and opens a chat with it.
    pub async fn start(agent: Agent, model: &MockLanguageModel) -> Self {
        Self::start_on(offline_host(1), agent, model).await
    }

    /// Serves `agent` on a given host, beside whatever else the test runs there.
    ///
    /// # Panics
    ///
    /// When another agent is served on that host already.
    pub async fn start_on(host: Host, agent: Agent, model: &MockLanguageModel) -> Self {
        let settled = Arc::new(Settled::default());
        let storage = MemoryStorage::open(Arc::new(MemoryDisk::new()));
        let server = Server::new(host.clone(), Arc::new(storage), Environment::new("env_mock", SECRET_KEY));
        let server = server.bind(SESSION_ADDR).await.expect("one agent is served on one offline host");
        let server = host.spawn(async move {
            let Err(error) = server.run().await;
            panic!("the session server failed: {error}");
        });
        let base: BaseUrl = format!("http://{SESSION_ADDR}").parse().expect("a fixed address parses");
        let task = agent.id().clone();
        let options = WorkerOptions::new(base.to_string(), SECRET_KEY, "mock-worker").checkpoints(settled.clone());
        let worker = Worker::new(host.clone(), options).model(Arc::new(model.clone())).agent(agent);
        let worker = host.spawn(async move {
            let Err(error) = worker.run().await;
            panic!("the worker failed: {error}");
        });
        Self {
            transport: connect(host, base, task),
            model: model.clone(),
            settled,
            messages: Vec::new(),
            n_sent: 0,
            _server: server,
            _worker: worker,
        }
    }

    /// Sends a message and waits until its turn is over: answered, hooks done, snapshot stored where the agent has one.
    ///
    /// # Panics
    ///
    /// When the send is refused, the stream fails, or the turn does not end within a virtual day.
    pub async fn send(&mut self, text: impl Into<String>) -> MockTurn {
        self.n_sent += 1;
        self.messages.push(UiMessage::user(format!("user-{}", self.n_sent), text));
        let sending = self.exchange();
        let (chunks, message) = match tokio::time::timeout(SEND_LIMIT, sending).await {
            Ok(answered) => answered,
            Err(_) => panic!("message {} was not answered within {SEND_LIMIT:?}", self.n_sent),
        };
        if !message.parts.is_empty() {
            self.messages.push(message.clone());
        }
        MockTurn { chunks, message }
    }

    async fn exchange(&self) -> (Vec<UiMessageChunk>, UiMessage) {
        let turns = self.settled.count();
        let send = SendMessages::submit(self.messages.clone());
        let mut stream = match self.transport.send_messages(CHAT, send).await {
            Ok(stream) => stream,
            Err(error) => panic!("message {} was refused: {error}", self.n_sent),
        };
        let mut reducer = MessageReducer::new();
        let mut chunks = Vec::new();
        while let Some(next) = stream.next().await {
            let delivered =
                next.unwrap_or_else(|error| panic!("the answer to message {} failed: {error}", self.n_sent));
            if let Err(error) = reducer.apply(&delivered.chunk) {
                panic!("chunk {} of message {} does not fit: {error}", delivered.seq_num, self.n_sent);
            }
            chunks.push(delivered.chunk);
        }
        self.settled.wait_beyond(turns).await;
        (chunks, reducer.into_message())
    }

    /// Gives the conversation as the client knows it.
    pub fn messages(&self) -> &[UiMessage] {
        &self.messages
    }

    /// Ends the chat.
    ///
    /// # Panics
    ///
    /// When the script has steps left, or the agent asked for more than it has.
    pub async fn finish(self) {
        let complaints = self.model.complaints();
        assert!(complaints.is_empty(), "the agent and the script disagree: {}", complaints.join("; "));
        let unused = self.model.unused();
        assert!(unused.is_empty(), "the script has {} steps that no model call used: {unused:?}", unused.len());
    }
}

impl MockTurn {
    /// Gives the answer's text.
    pub fn text(&self) -> String {
        self.message.text()
    }

    /// Gives the text deltas one by one.
    pub fn deltas(&self) -> Vec<String> {
        let delta = |chunk: &UiMessageChunk| match chunk {
            UiMessageChunk::TextDelta(delta) => Some(delta.delta.clone()),
            _ => None,
        };
        self.chunks.iter().filter_map(delta).collect()
    }

    /// Names the tools that were called, in order.
    pub fn tools(&self) -> Vec<String> {
        self.message.tool_parts().map(|part| part.tool_name.clone()).collect()
    }

    /// Gives every chunk.
    pub fn chunks(&self) -> &[UiMessageChunk] {
        &self.chunks
    }

    /// Gives the answer.
    pub fn message(&self) -> &UiMessage {
        &self.message
    }
}

fn connect(host: Host, base: BaseUrl, task: TaskId) -> Transport {
    let sessions = Arc::new(SessionsApi::new(host.clone(), base.clone(), SECRET_KEY));
    let (starter, renewer) = (sessions.clone(), sessions);
    Transport::builder(
        host,
        base,
        task,
        Arc::new(move |request| {
            let sessions = renewer.clone();
            Box::pin(async move { Ok(sessions.public_token(&request.chat_id).await?) })
        }),
    )
    .start_session(Arc::new(move |request: StartRequest| {
        let sessions = starter.clone();
        Box::pin(async move { token(&sessions, request.task_id, request.chat_id).await })
    }))
    .build()
}

/// Creates or finds the chat's session, as an author's server does for its pages (C-217).
pub(crate) async fn token(
    sessions: &SessionsApi,
    task_identifier: TaskId,
    chat: String,
) -> Result<String, Box<dyn std::error::Error + Send + Sync>> {
    let base_payload = [
        ("trigger".to_owned(), "preload".into()),
        ("messages".to_owned(), serde_json::Value::Array(Vec::new())),
        ("chatId".to_owned(), chat.clone().into()),
    ];
    let create = CreateSession {
        kind: "chat.agent".to_owned(),
        task_identifier,
        trigger_config: TriggerConfig {
            base_payload: base_payload.into_iter().collect(),
            options: RunOptions { tags: Some(vec![format!("chat:{chat}")]), ..RunOptions::default() },
            ..TriggerConfig::default()
        },
        external_id: Some(chat),
        tags: None,
        metadata: None,
        expires_at: None,
    };
    Ok(sessions.create(&create).await?.public_access_token)
}

//! A served system in this process, and MCP clients of it.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use rmcp::model::{CallToolRequestParams, ProgressNotificationParam};
use rmcp::service::{NotificationContext, RunningService};
use rmcp::{ClientHandler, RoleClient, ServiceExt as _};
use serde_json::{Value, json};
use tokio::sync::Notify;
use turnkeep_agent::{Worker, WorkerOptions};
use turnkeep_host::{Host, Task};
use turnkeep_mcp::{AgentTools, ListedAgent, Settings};
use turnkeep_protocol::TaskId;
use turnkeep_reference_agents::conformance::{self, Scripted, SessionServer};
use turnkeep_session::{Environment, InMemoryObjects, MemoryDisk, MemoryStorage, Server};

pub const KEY: &str = "tr_dev_mcpTests";

/// How long one call may take on a loaded machine.
const LIMIT: Duration = Duration::from_secs(60);

/// Bytes between client and server that nobody has read yet.
const PIPE: usize = 64 * 1024;

/// A session server and a worker with the conformance agents.
pub struct Served {
    pub base_url: String,
    pub host: Host,
    _tasks: Vec<Task>,
}

impl Served {
    pub async fn start() -> Self {
        let host = Host::os();
        let storage = Arc::new(MemoryStorage::open(Arc::new(MemoryDisk::new())));
        let objects = Arc::new(InMemoryObjects::new());
        let server = Server::new(host.clone(), storage, objects, Environment::new("env_1", KEY));
        let server = server.bind("127.0.0.1:0").await.unwrap();
        let base_url = format!("http://{}", server.local_addr());
        let serving = host.spawn(async move {
            let Err(error) = server.run().await;
            panic!("the server failed: {error}");
        });
        let at = SessionServer { base_url: base_url.parse().unwrap(), secret_key: KEY.to_owned() };
        let worker = Worker::new(host.clone(), WorkerOptions::new(&base_url, KEY, "worker"));
        // Each of these agents brings a model of its own; a worker wants one all the same.
        let worker = worker.model(Arc::new(Scripted::saying(|_| String::new())));
        let worker = conformance::agents(&at).into_iter().fold(worker, Worker::agent);
        let working = host.spawn(async move {
            let Err(error) = worker.run().await;
            panic!("the worker failed: {error}");
        });
        Self { base_url, host, _tasks: vec![serving, working] }
    }

    pub fn settings(&self) -> Settings {
        Settings::new(self.base_url.parse().unwrap(), KEY)
    }

    /// A process of its own, as far as chats go: nothing is shared with another one.
    pub async fn client(&self) -> Client {
        self.client_with(self.settings()).await
    }

    pub async fn client_with(&self, settings: Settings) -> Client {
        let (ours, theirs) = tokio::io::duplex(PIPE);
        let tools = AgentTools::new(self.host.clone(), settings);
        let serving = self.host.spawn(async move {
            let _ = tools.serve(theirs).await.unwrap().waiting().await;
        });
        Client::over(ours, Some(serving)).await
    }
}

pub fn listed(id: &str) -> ListedAgent {
    ListedAgent { id: TaskId::new(id), description: None }
}

/// Hears of progress.
#[derive(Clone, Default)]
pub struct Heard {
    news: Arc<Mutex<Vec<ProgressNotificationParam>>>,
    came: Arc<Notify>,
}

impl ClientHandler for Heard {
    async fn on_progress(&self, params: ProgressNotificationParam, _: NotificationContext<RoleClient>) {
        self.news.lock().unwrap().push(params);
        self.came.notify_one();
    }
}

/// rmcp's client of one MCP server.
pub struct Client {
    pub service: RunningService<RoleClient, Heard>,
    heard: Heard,
    _serving: Option<Task>,
}

/// What a tool answered.
#[derive(Debug)]
pub struct Answered {
    pub text: String,
    pub is_error: bool,
}

impl Answered {
    /// Gives the text of a call that went well.
    #[track_caller]
    pub fn ok(self) -> String {
        assert!(!self.is_error, "{}", self.text);
        self.text
    }

    /// Gives the text of a tool error, which is JSON.
    #[track_caller]
    pub fn error(self) -> String {
        assert!(self.is_error, "{}", self.text);
        let error: Value = serde_json::from_str(&self.text).unwrap();
        error["error"].as_str().unwrap().to_owned()
    }

    /// Gives what the agent said and the run that said it.
    #[track_caller]
    pub fn said(self) -> (String, String) {
        let text = self.ok();
        let (said, run) = text.rsplit_once("\n\n[Run: ").unwrap();
        (said.to_owned(), run.trim_end_matches(']').to_owned())
    }
}

impl Client {
    pub async fn over<T, E, A>(transport: T, serving: Option<Task>) -> Self
    where
        T: rmcp::transport::IntoTransport<RoleClient, E, A>,
        E: std::error::Error + Send + Sync + 'static,
    {
        let heard = Heard::default();
        let service = heard.clone().serve(transport).await.unwrap();
        Self { service, heard, _serving: serving }
    }

    pub async fn call(&self, tool: &str, input: Value) -> Answered {
        let input = input.as_object().unwrap().clone();
        let params = CallToolRequestParams::new(tool.to_owned()).with_arguments(input);
        let result = tokio::time::timeout(LIMIT, self.service.call_tool(params)).await;
        let result = result.expect("a call takes less than a minute").unwrap();
        let text = result.content[0].as_text().unwrap().text.clone();
        Answered { text, is_error: result.is_error == Some(true) }
    }

    pub async fn start(&self, agent: &str, chat_id: &str) -> Answered {
        self.call("start_agent_chat", json!({ "agentId": agent, "chatId": chat_id })).await
    }

    pub async fn send(&self, chat_id: &str, message: &str) -> Answered {
        self.call("send_agent_message", json!({ "chatId": chat_id, "message": message })).await
    }

    pub async fn close(&self, chat_id: &str) -> Answered {
        self.call("close_agent_chat", json!({ "chatId": chat_id })).await
    }

    pub async fn tools(&self) -> Vec<String> {
        let tools = self.service.list_all_tools().await.unwrap();
        tools.iter().map(|tool| tool.name.to_string()).collect()
    }

    /// Waits until something has been told.
    pub async fn progressed(&self) {
        tokio::time::timeout(LIMIT, self.heard.came.notified()).await.expect("progress within a minute");
    }

    /// Gives all that was told, and how far each notification said the answer was.
    pub fn progress(&self) -> (String, Vec<f64>) {
        let news = self.heard.news.lock().unwrap();
        let texts = news.iter().filter_map(|one| one.message.as_deref()).collect();
        (texts, news.iter().map(|one| one.progress).collect())
    }
}

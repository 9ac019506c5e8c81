//! A server on a free port and a client that speaks to it.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::sync::oneshot;
use turnkeep_host::http::{BodyStream, Deadlines, HttpClient};
use turnkeep_host::{Host, Task};
use turnkeep_protocol::run_api::LeasedRun;
use turnkeep_protocol::{Batch, NewRecord, PartId, Record};
use turnkeep_session::{Environment, InMemoryObjects, MemoryDisk, MemoryStorage, ObjectStore, Server, Stopped};

/// The secret key of the tests' environment.
pub const SECRET: &str = "tr_dev_secret";

/// How long a test waits for what must happen; reaching it fails the test.
const PATIENCE: Duration = Duration::from_secs(10);

/// The tests' environment, with one key and no limits.
pub fn environment() -> Environment {
    Environment::new("env_1", SECRET)
}

/// A running server and its disk.
pub struct World {
    host: Host,
    addr: String,
    client: HttpClient,
    _server: Task,
    /// Tells the server to stop, and how it did.
    end: Mutex<Option<(oneshot::Sender<()>, oneshot::Receiver<Stopped>)>>,
    pub disk: Arc<MemoryDisk>,
    /// The chat snapshots; another machine's, so they outlive the server.
    pub objects: Arc<dyn ObjectStore>,
}

/// An answer, read to its end.
#[derive(Debug)]
pub struct Reply {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl World {
    /// Starts a server with an empty disk and leases of 10 s.
    pub async fn start() -> Self {
        Self::start_with(Arc::new(MemoryDisk::new()), Duration::from_secs(10)).await
    }

    /// Starts a server on what a disk holds.
    pub async fn start_with(disk: Arc<MemoryDisk>, lease: Duration) -> Self {
        Self::start_as(disk, lease, environment()).await
    }

    /// Starts a server with an empty disk, for an environment with keys or limits of its own.
    pub async fn start_for(environment: Environment) -> Self {
        Self::start_as(Arc::new(MemoryDisk::new()), Duration::from_secs(10), environment).await
    }

    /// Starts a server on what a disk holds, for any environment.
    pub async fn start_as(disk: Arc<MemoryDisk>, lease: Duration, environment: Environment) -> Self {
        Self::start_over(disk, Arc::new(InMemoryObjects::new()), lease, environment).await
    }

    /// Starts a server on what a disk and an object store hold.
    pub async fn start_over(
        disk: Arc<MemoryDisk>,
        objects: Arc<dyn ObjectStore>,
        lease: Duration,
        environment: Environment,
    ) -> Self {
        Self::start_on(Host::os(), disk, objects, lease, environment).await
    }

    /// Starts a server on a host of the test's own.
    pub async fn start_on(
        host: Host,
        disk: Arc<MemoryDisk>,
        objects: Arc<dyn ObjectStore>,
        lease: Duration,
        environment: Environment,
    ) -> Self {
        let storage = Arc::new(MemoryStorage::open(disk.clone()));
        let server = Server::new(host.clone(), storage, objects.clone(), environment).lease(lease);
        let server = server.bind("127.0.0.1:0").await.unwrap();
        let addr = server.local_addr();
        let ((stop, told), (tell, stopped)) = (oneshot::channel(), oneshot::channel());
        let task = host.spawn(async move {
            let until = async {
                // A test that is over has not told it to stop.
                let Ok(()) = told.await else { return std::future::pending().await };
            };
            let ended = server.run_until(until).await.unwrap_or_else(|error| panic!("the server failed: {error}"));
            let _ = tell.send(ended);
        });
        let client = client(&host, &addr);
        Self { host, addr, client, _server: task, end: Mutex::new(Some((stop, stopped))), disk, objects }
    }

    /// Sends a request with the secret key.
    pub async fn call(&self, method: &str, path: &str, body: Option<Value>) -> Reply {
        self.call_with(method, path, body, &[]).await
    }

    /// Sends a request with the secret key and further headers; an `authorization` among them replaces the key.
    pub async fn call_with(&self, method: &str, path: &str, body: Option<Value>, headers: &[(&str, &str)]) -> Reply {
        let body = body.map_or_else(Bytes::new, |body| body.to_string().into());
        self.raw(method, path, body, headers).await
    }

    /// Sends a request with a body of bytes.
    pub async fn raw(&self, method: &str, path: &str, body: Bytes, headers: &[(&str, &str)]) -> Reply {
        let response = self.client.fetch(request(method, path, body, headers)).await.unwrap();
        let (head, body) = response.into_parts();
        Reply { status: head.status, headers: head.headers, body }
    }

    /// Sends raw bytes on a connection of its own; gives the status line of the answer.
    pub async fn status_of(&self, request: &str) -> String {
        let mut stream = self.host.net().dial(&self.addr).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        BufReader::new(stream).read_line(&mut answer).await.unwrap();
        answer.trim_end().to_owned()
    }

    /// Tells the server to stop at once; the future gives how it did.
    pub fn stop(&self) -> impl Future<Output = Stopped> + use<> {
        let (stop, stopped) = self.end.lock().unwrap().take().expect("a server stops once");
        stop.send(()).expect("the server runs");
        async { tokio::time::timeout(PATIENCE, stopped).await.expect("the server stops").expect("it says how") }
    }

    /// Starts a server on what a power loss would leave of this one's disk.
    pub async fn restart(self) -> Self {
        self.restart_as(environment()).await
    }

    /// Stops the server and starts one on what a power loss would leave of its disk, for another environment.
    pub async fn restart_as(self, environment: Environment) -> Self {
        let (left, objects) = (self.disk.synced(), self.objects.clone());
        drop(self);
        Self::start_over(Arc::new(MemoryDisk::with(left)), objects, Duration::from_secs(10), environment).await
    }

    /// Opens an event stream on a connection of its own.
    pub async fn subscribe(&self, path: &str, headers: &[(&str, &str)]) -> Events {
        let mut all = vec![("accept", "text/event-stream")];
        all.extend(headers);
        let response = client(&self.host, &self.addr).open(request("GET", path, Bytes::new(), &all)).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        Events { response, buffer: String::new() }
    }

    /// Creates a session with the external id `chat` and no message.
    pub async fn create(&self) -> Value {
        self.create_with(json!({ "chatId": "chat", "trigger": "preload" })).await
    }

    /// Creates the session `chat` with a base payload.
    pub async fn create_with(&self, base_payload: Value) -> Value {
        let reply = self.call("POST", "/api/v1/sessions", Some(create_body(base_payload))).await;
        assert!(reply.status.is_success(), "{reply:?}");
        reply.json()
    }

    /// Appends a message to `in` of the session `chat`; gives its seq.
    pub async fn send(&self, text: &str) -> u64 {
        let reply = self.call("POST", "/realtime/v1/sessions/chat/in/append", Some(message(text))).await;
        assert_eq!(reply.status, StatusCode::OK, "{reply:?}");
        reply.json::<Value>()["seq"].as_u64().unwrap()
    }

    /// Leases a run, waiting up to `seconds`.
    pub async fn lease(&self, seconds: u64) -> Option<LeasedRun> {
        let body = json!({ "workerId": "w1", "taskIds": ["agent"], "version": "1", "timeoutInSeconds": seconds });
        let reply = self.call("POST", "/api/v1/workers/lease", Some(body)).await;
        assert_eq!(reply.status, StatusCode::OK, "{reply:?}");
        serde_json::from_value(reply.json::<Value>()["run"].clone()).unwrap()
    }

    /// Writes records to `out` of the session `chat` as the holder of a run.
    pub async fn write(&self, run: &LeasedRun, records: &[NewRecord]) -> Reply {
        let attempt = run.attempt.to_string();
        let headers = [("x-run-id", run.run_id.as_str()), ("x-run-attempt", &attempt)];
        let body = json!({ "records": records });
        self.call_with("POST", "/realtime/v1/sessions/chat/out/batch", Some(body), &headers).await
    }

    /// Calls a route of a leased run, for example `end`.
    pub async fn run_call(&self, run: &LeasedRun, route: &str, body: Value) -> Reply {
        let path = format!("/api/v1/runs/{}/{route}", run.run_id);
        self.call_with("POST", &path, Some(body), &[("x-run-attempt", &run.attempt.to_string())]).await
    }
}

fn client(host: &Host, addr: &str) -> HttpClient {
    HttpClient::new(host.clone(), format!("http://{addr}").parse().unwrap(), Deadlines::default())
}

fn request(method: &str, path: &str, body: Bytes, headers: &[(&str, &str)]) -> Request<Bytes> {
    let mut request = Request::new(body);
    *request.method_mut() = Method::from_bytes(method.as_bytes()).unwrap();
    *request.uri_mut() = path.parse().unwrap();
    request.headers_mut().insert("authorization", format!("Bearer {SECRET}").parse().unwrap());
    for (name, value) in headers {
        request.headers_mut().insert(http::HeaderName::from_bytes(name.as_bytes()).unwrap(), value.parse().unwrap());
    }
    request
}

/// A create request for the session `chat`.
pub fn create_body(base_payload: Value) -> Value {
    json!({
        "type": "chat.agent", "taskIdentifier": "agent", "externalId": "chat",
        "triggerConfig": { "basePayload": base_payload },
    })
}

/// A message as clients append it.
pub fn message(text: &str) -> Value {
    let message = json!({ "id": text, "role": "user", "parts": [{ "type": "text", "text": text }] });
    json!({ "kind": "message", "payload": { "chatId": "chat", "trigger": "submit-message", "message": message } })
}

/// A data record of `out`.
pub fn delta(text: &str) -> NewRecord {
    NewRecord::data(&json!({ "type": "text-delta", "id": "t", "delta": text }), &PartId::new(text))
}

/// A boundary that settles `in` up to `seq`.
pub fn turn_complete(seq: u64) -> NewRecord {
    NewRecord::control("turn-complete", [turnkeep_protocol::Header::new("session-in-event-id", seq.to_string())])
}

impl Reply {
    /// Parses the body.
    pub fn json<T: DeserializeOwned>(&self) -> T {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// Gives a header's text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }
}

/// One event of a stream.
#[derive(Debug, PartialEq)]
pub struct Event {
    pub name: String,
    pub data: String,
}

/// An open event stream.
pub struct Events {
    response: Response<BodyStream>,
    buffer: String,
}

impl Events {
    /// Gives a header of the response.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.response.headers().get(name).map(|value| value.to_str().unwrap())
    }

    /// Waits for the next event; nothing at the end of the body.
    pub async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(end) = self.buffer.find("\n\n") {
                let text: String = self.buffer.drain(..end + 2).collect();
                let field =
                    |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default().to_owned();
                return Some(Event { name: field("event: "), data: field("data: ") });
            }
            let chunk = tokio::time::timeout(PATIENCE, self.response.body_mut().next_chunk()).await;
            let bytes = chunk.expect("an event comes in time")?.unwrap();
            self.buffer.push_str(std::str::from_utf8(&bytes).unwrap());
        }
    }

    /// Waits for the next event that is no ping; pings do not prolong the wait.
    pub async fn next_but_ping(&mut self) -> Option<Event> {
        let next = async {
            loop {
                match self.next().await {
                    Some(event) if event.name == "ping" => {}
                    other => return other,
                }
            }
        };
        tokio::time::timeout(PATIENCE, next).await.expect("more than pings comes in time")
    }

    /// Waits for `n` records.
    pub async fn records(&mut self, n: usize) -> Vec<Record> {
        let mut records = Vec::new();
        while records.len() < n {
            let event = self.next_but_ping().await.expect("the stream goes on");
            assert_eq!(event.name, "batch", "{event:?}");
            records.extend(serde_json::from_str::<Batch>(&event.data).unwrap().records);
        }
        assert_eq!(records.len(), n, "{records:?}");
        records
    }

    /// Waits for `[DONE]` and the end of the body, with no record in between.
    pub async fn expect_done(&mut self) {
        assert_eq!(self.next_but_ping().await, Some(Event { name: String::new(), data: "[DONE]".to_owned() }));
        assert_eq!(self.next().await, None);
    }
}

//! A session server, a handler before it, a scripted model, and the agent's part played by the test.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream;
use http::{Request, Response};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use turnkeep_client::{Fetch, SessionsApi};
use turnkeep_head_start::{FirstStep, HeadStart, HeadStartBody, HeadStartRequest, RunError, StreamText};
use turnkeep_host::{Host, Task};
use turnkeep_model::{FinishReason, LanguageModel, ModelError, Prompt, StreamPart, StreamParts, Usage};
use turnkeep_protocol::session_api::DrainedRecord;
use turnkeep_protocol::{ChannelName, Header, NewRecord, PartId, SESSION_IN_EVENT_ID, TaskId, UiMessage, control};
use turnkeep_session::{Environment, InMemoryObjects, MemoryDisk, MemoryStorage, Server};

use crate::net;

pub const CHAT: &str = "chat-1";
pub const KEY: &str = "tr_dev_headStart";
const BASE: &str = "http://session";

/// A model that says what a test tells it to, with a pause before each word.
#[derive(Default)]
pub struct Scripted {
    pub steps: Mutex<VecDeque<Vec<Say>>>,
    pub prompts: Mutex<Vec<Prompt>>,
}

/// One thing that a scripted model does.
#[derive(Clone)]
#[expect(clippy::large_enum_variant, reason = "a script is short")]
pub enum Say {
    Part(StreamPart),
    Wait(Duration),
    Hang,
}

impl LanguageModel for Scripted {
    fn model_id(&self) -> &str {
        "scripted"
    }

    fn stream(&self, prompt: Prompt) -> BoxFuture<'static, Result<StreamParts, ModelError>> {
        self.prompts.lock().unwrap().push(prompt);
        let step = self.steps.lock().unwrap().pop_front().expect("a step is scripted");
        let parts = stream::iter(step).filter_map(|say| async {
            match say {
                Say::Part(part) => Some(part),
                Say::Wait(time) => {
                    tokio::time::sleep(time).await;
                    None
                }
                Say::Hang => std::future::pending().await,
            }
        });
        Box::pin(async move { Ok(Box::pin(parts) as StreamParts) })
    }
}

/// A text in two words.
pub fn text(words: [&str; 2]) -> Vec<Say> {
    let parts = [
        StreamPart::text_start("1"),
        StreamPart::text_delta("1", words[0]),
        StreamPart::text_delta("1", words[1]),
        StreamPart::text_end("1"),
        StreamPart::finish(FinishReason::Stop, Usage::default()),
    ];
    parts.map(Say::Part).to_vec()
}

/// A call of `forecast`.
pub fn call() -> Vec<Say> {
    let parts = [
        StreamPart::tool_call("t1", "forecast", json!({ "city": "Oslo" })),
        StreamPart::finish(FinishReason::ToolCalls, Usage::default()),
    ];
    parts.map(Say::Part).to_vec()
}

/// One author's server on one network.
pub struct Rig {
    pub host: Host,
    pub model: Arc<Scripted>,
    pub sessions: SessionsApi,
    pub head_start: HeadStart,
    pub heard: Arc<Mutex<Vec<String>>>,
    _server: Task,
}

impl Rig {
    pub async fn start(step: Vec<Say>) -> Self {
        Self::with(step, |head_start| head_start).await
    }

    pub async fn with(step: Vec<Say>, adjust: impl FnOnce(HeadStart) -> HeadStart) -> Self {
        Self::running(step, adjust, |step, model| Ok(step.stream_text(model).tools([]))).await
    }

    pub async fn running(
        step: Vec<Say>,
        adjust: impl FnOnce(HeadStart) -> HeadStart,
        run: impl Fn(FirstStep, Arc<dyn LanguageModel>) -> Result<StreamText, RunError> + Send + Sync + 'static,
    ) -> Self {
        let host = net::host();
        let storage = Arc::new(MemoryStorage::open(Arc::new(MemoryDisk::new())));
        let environment = Environment::new("env_1", KEY);
        let server = Server::new(host.clone(), storage, Arc::new(InMemoryObjects::new()), environment);
        let server = server.bind("session:80").await.unwrap();
        let serving = host.spawn(async move {
            let Err(error) = server.run().await;
            panic!("the server failed: {error}");
        });
        let model = Arc::new(Scripted::default());
        model.steps.lock().unwrap().push_back(step);
        let asked = model.clone();
        let run = move |step| {
            let call = run(step, asked.clone());
            async move { call }
        };
        let heard: Arc<Mutex<Vec<String>>> = Arc::default();
        let told = heard.clone();
        let head_start = HeadStart::new(host.clone(), BASE.parse().unwrap(), KEY, TaskId::new("agent"), run);
        let head_start = head_start.on_error(Arc::new(move |_, error| told.lock().unwrap().push(error.to_string())));
        let sessions = SessionsApi::new(host.clone(), BASE.parse().unwrap(), KEY);
        Self { head_start: adjust(head_start), host, model, sessions, heard, _server: serving }
    }

    /// Asks for a first turn as a page does, past HTTP.
    pub async fn ask(&self) -> Answer {
        Answer::new(self.head_start.respond(question()).await.unwrap())
    }

    /// Gives the records of `in`, as the agent reads them.
    pub async fn inputs(&self) -> Vec<Value> {
        let records = self.sessions.drain(CHAT, ChannelName::In, None).await.unwrap();
        records.iter().map(|record| serde_json::from_str(record.data.as_str().unwrap()).unwrap()).collect()
    }

    /// Waits for the record of `in` that ends the run's wait.
    pub async fn handover(&self) -> Value {
        // A bound far beyond every wait of the handler.
        for _ in 0..20_000 {
            if let Some(input) = self.inputs().await.into_iter().find(|input| input["kind"] != "message") {
                return input;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("the run waits for nothing");
    }

    pub async fn out(&self) -> Vec<DrainedRecord> {
        self.sessions.drain(CHAT, ChannelName::Out, None).await.unwrap()
    }

    /// Gives the kinds of the records of `out`, controls in brackets.
    pub async fn out_kinds(&self) -> Vec<String> {
        let kind = |record: DrainedRecord| match record.headers.first() {
            Some(Header(_, subtype)) => format!("[{subtype}]"),
            None => record.data["type"].as_str().unwrap().to_owned(),
        };
        self.out().await.into_iter().map(kind).collect()
    }

    /// Writes as the agent does.
    pub async fn agent_says(&self, chunks: &[Value]) {
        let record = |(at, chunk)| NewRecord::data(chunk, &PartId::new(format!("agent-{at}")));
        let records = chunks.iter().enumerate().map(record).collect();
        self.sessions.write_out(CHAT, records, &PartId::new("agent-says")).await.unwrap();
    }

    pub async fn agent_ends(&self, input: u64) {
        let header = Header::new(SESSION_IN_EVENT_ID, input.to_string());
        let boundary = NewRecord::control(control::TURN_COMPLETE, [header]);
        let part_id = PartId::new(format!("ends-{}", self.out().await.len()));
        self.sessions.write_out(CHAT, vec![boundary], &part_id).await.unwrap();
    }

    pub fn heard(&self) -> Vec<String> {
        self.heard.lock().unwrap().clone()
    }
}

/// A page's first turn.
pub fn question() -> HeadStartRequest {
    HeadStartRequest::new(CHAT, [UiMessage::user("u1", "What is it like in Oslo?")])
}

/// A response as it is read.
pub struct Answer {
    pub response: Response<HeadStartBody>,
    text: String,
}

impl Answer {
    pub fn new(response: Response<HeadStartBody>) -> Self {
        Self { response, text: String::new() }
    }

    pub fn header(&self, name: &str) -> &str {
        self.response.headers()[name].to_str().unwrap()
    }

    /// Reads the next chunk; none at the end.
    pub async fn next(&mut self) -> Option<Value> {
        loop {
            if let Some((frame, rest)) = self.text.split_once("\n\n") {
                let data = frame.strip_prefix("data: ").map(|data| serde_json::from_str(data).unwrap());
                assert!(data.is_some() || frame == ":", "a comment says that the handler lives");
                self.text = rest.to_owned();
                if data.is_some() {
                    return data;
                }
                continue;
            }
            let bytes = self.response.body_mut().frame().await?.unwrap().into_data().unwrap();
            self.text.push_str(str::from_utf8(&bytes).unwrap());
        }
    }

    /// Reads chunks up to the first of a type.
    pub async fn until(&mut self, kind: &str) -> Vec<Value> {
        let mut chunks = Vec::new();
        while let Some(chunk) = self.next().await {
            let is_last = chunk["type"] == kind;
            chunks.push(chunk);
            if is_last {
                return chunks;
            }
        }
        panic!("no {kind} among {chunks:?}");
    }

    /// Reads to the end.
    pub async fn rest(&mut self) -> Vec<Value> {
        let mut chunks = Vec::new();
        while let Some(chunk) = self.next().await {
            chunks.push(chunk);
        }
        chunks
    }
}

pub fn kinds(chunks: &[Value]) -> Vec<&str> {
    chunks.iter().map(|chunk| chunk["type"].as_str().unwrap()).collect()
}

/// What a [`Fetch`] saw: method and path of each request, with its part id.
#[derive(Default)]
pub struct Seen(Mutex<Vec<(String, String)>>);

impl Seen {
    /// Watches requests; those that `is_lost` picks go to a place where nobody answers.
    pub fn fetch(self: &Arc<Self>, is_lost: impl Fn(&Request<Bytes>, usize) -> bool + Send + Sync + 'static) -> Fetch {
        let seen = self.clone();
        Arc::new(move |mut request, _| {
            let part_id = request.headers().get("x-part-id").map(|id| id.to_str().unwrap().to_owned());
            let path = request.uri().path().to_owned();
            let mut seen = seen.0.lock().unwrap();
            let n_before = seen.iter().filter(|(before, _)| *before == path).count();
            seen.push((path, part_id.unwrap_or_default()));
            if is_lost(&request, n_before) {
                *request.uri_mut() = "http://nowhere:1/".parse().unwrap();
            }
            request
        })
    }

    pub fn count(&self, end: &str) -> usize {
        self.part_ids(end).len()
    }

    pub fn part_ids(&self, end: &str) -> Vec<String> {
        let seen = self.0.lock().unwrap();
        seen.iter().filter(|(path, _)| path.ends_with(end)).map(|(_, id)| id.clone()).collect()
    }
}

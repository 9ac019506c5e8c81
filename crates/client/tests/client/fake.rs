//! A session server that does what a script says: one log, a plan per append and per read, and a list of what was asked.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::convert::Infallible;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use futures::stream;
use http::{Method, Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use serde_json::{Value, json};
use tokio::sync::{Notify, Semaphore};
use turnkeep_host::{Host, Task, http::serve};

pub type Body = UnsyncBoxBody<Bytes, io::Error>;

/// What happens to one append.
pub enum AppendPlan {
    /// Refused with a status, a body and headers; nothing is stored.
    Refuse(u16, Value, Vec<(&'static str, &'static str)>),
    /// Stored, but the answer is this status.
    StoreThen(u16),
    /// Stored and acknowledged without a `seq`.
    NoSeq,
    /// Stored at once; the acknowledgement waits for a permit.
    Hold(Arc<Semaphore>),
}

/// How one read goes on after its records.
#[derive(Clone, Copy, PartialEq)]
pub enum After {
    /// Sends every later record too.
    Follow,
    /// `[DONE]` and a clean end.
    Done,
    /// The connection breaks.
    Break,
    /// Pings for ever, no record.
    Ping,
    /// One ping, then nothing for ever: the link behind it has died.
    PingOnce,
    /// Nothing for ever, not even pings.
    Silent,
    /// Nothing for so long, then as `Done`.
    Wait(Duration),
}

/// What happens to one read.
pub enum ReadPlan {
    /// A status.
    Refuse(u16),
    /// No headers ever.
    Hang,
    /// No record for so long, then `[DONE]` and a clean end; new records are not sent either.
    QuietWindow(Duration),
    /// A success without a body.
    NoContent,
    /// At most so many records, then…
    Serve { max: usize, after: After, headers: Vec<(&'static str, &'static str)> },
}

impl ReadPlan {
    pub fn serve(max: usize, after: After) -> Self {
        Self::Serve { max, after, headers: Vec::new() }
    }

    pub fn settled() -> Self {
        Self::Serve { max: usize::MAX, after: After::Done, headers: vec![("x-session-settled", "true")] }
    }
}

/// One creation of a session as it came in.
#[derive(Clone, Debug)]
pub struct SeenCreate {
    pub token: String,
    pub branch: Option<String>,
    pub body: Value,
}

/// One append as it came in.
#[derive(Clone, Debug)]
pub struct SeenAppend {
    pub path: String,
    pub tenant: Option<String>,
    pub token: String,
    pub branch: Option<String>,
    pub source: Option<String>,
    pub part_id: String,
    pub body: Value,
}

/// One read as it came in.
#[derive(Clone, Debug)]
pub struct SeenRead {
    pub path: String,
    pub token: String,
    pub cursor: Option<String>,
    pub peek: bool,
    pub window: Option<String>,
    pub tenant: Option<String>,
    pub branch: Option<String>,
}

#[derive(Default)]
struct State {
    out: Vec<Value>,
    first_available: usize,
    next_input: u64,
    known_parts: BTreeMap<String, u64>,
    tokens: Option<BTreeSet<String>>,
    append_plans: VecDeque<AppendPlan>,
    read_plans: VecDeque<ReadPlan>,
    create_plans: VecDeque<(u16, Value)>,
    creates: Vec<SeenCreate>,
    minted: Vec<Value>,
    appends: Vec<SeenAppend>,
    reads: Vec<SeenRead>,
    open_reads: usize,
    piece_bytes: Option<usize>,
    whole_batches: bool,
}

#[derive(Default)]
pub struct Fake {
    state: Mutex<State>,
    changed: Notify,
}

impl Fake {
    /// Serves at `addr` until the task is dropped.
    pub async fn serve(self: &Arc<Self>, host: &Host, addr: &str) -> (String, Task) {
        let listener = host.net().listen(addr).await.unwrap();
        let local = listener.local_addr();
        let (fake, own_host) = (self.clone(), host.clone());
        let task = host.spawn(async move {
            let service = tower::service_fn(move |request| {
                let fake = fake.clone();
                async move { Ok::<_, Infallible>(fake.answer(request).await) }
            });
            match serve(&own_host, listener, service).await {}
        });
        (local, task)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    fn push(&self, body: String, headers: &[(&str, &str)]) {
        let mut state = self.state();
        let seq = state.first_available + state.out.len();
        state.out.push(json!({ "seq_num": seq, "timestamp": 7, "body": body, "headers": headers }));
        drop(state);
        self.changed.notify_waiters();
    }

    /// Writes a data record whose part id is its own.
    pub fn data(&self, chunk: &Value) {
        let id = self.state().out.len();
        self.push(json!({ "data": chunk, "id": format!("p{id}") }).to_string(), &[]);
    }

    pub fn say(&self, text: &str) {
        self.data(&json!({ "type": "text-delta", "id": "t", "delta": text }));
    }

    pub fn control(&self, subtype: &str, siblings: &[(&str, &str)]) {
        let headers = [&[("trigger-control", subtype)], siblings].concat();
        self.push(String::new(), &headers);
    }

    /// Ends the turn of the input at `input`.
    pub fn boundary(&self, input: u64) {
        self.control("turn-complete", &[("session-in-event-id", &input.to_string())]);
    }

    pub fn trim_command(&self) {
        self.push("0".to_owned(), &[("", "trim")]);
    }

    /// Forgets the records below `first`, as a trim does.
    pub fn trim_to(&self, first: usize) {
        let mut state = self.state();
        let gone = first - state.first_available;
        state.out.drain(..gone);
        state.first_available = first;
    }

    /// Sets the place that the next input gets.
    pub fn next_input(&self, seq: u64) {
        self.state().next_input = seq;
    }

    /// Refuses every other token with 401.
    pub fn accept_only(&self, token: &str) {
        self.state().tokens = Some([token.to_owned()].into());
    }

    pub fn on_append(&self, plan: AppendPlan) {
        self.state().append_plans.push_back(plan);
    }

    pub fn on_read(&self, plan: ReadPlan) {
        self.state().read_plans.push_back(plan);
    }

    /// Cuts every body into pieces of so many bytes.
    pub fn cut(&self, bytes: usize) {
        self.state().piece_bytes = Some(bytes);
    }

    /// Sends all records that are there in one batch event that names the tail, as our server does (S-109).
    pub fn batch_with_tail(&self) {
        self.state().whole_batches = true;
    }

    /// Refuses the next creation.
    pub fn on_create(&self, status: u16, body: Value) {
        self.state().create_plans.push_back((status, body));
    }

    pub fn creates(&self) -> Vec<SeenCreate> {
        self.state().creates.clone()
    }

    pub fn minted(&self) -> Vec<Value> {
        self.state().minted.clone()
    }

    pub fn appends(&self) -> Vec<SeenAppend> {
        self.state().appends.clone()
    }

    pub fn reads(&self) -> Vec<SeenRead> {
        self.state().reads.clone()
    }

    pub fn open_reads(&self) -> usize {
        self.state().open_reads
    }

    /// Waits until so many appends have come.
    pub async fn wait_for_appends(&self, count: usize) {
        self.wait_until(|state| state.appends.len() >= count).await;
    }

    /// Waits until so many reads have come.
    pub async fn wait_for_reads(&self, count: usize) {
        self.wait_until(|state| state.reads.len() >= count).await;
    }

    async fn wait_until(&self, holds: impl Fn(&State) -> bool) {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if holds(&self.state()) {
                return;
            }
            changed.await;
        }
    }

    async fn answer(self: Arc<Self>, request: Request<Incoming>) -> Response<Body> {
        let path = request.uri().path().to_owned();
        let response = match (request.method(), path.as_str()) {
            (&Method::POST, "/api/v1/sessions") => Ok(self.create(request).await),
            (&Method::POST, "/api/v1/auth/public-tokens") => Ok(self.mint(request).await),
            (_, path) if path.starts_with("/api/") => Err(404),
            (&Method::POST, _) => self.append(request).await,
            _ => self.read(&request).await,
        };
        response.unwrap_or_else(|status| plain(status, json!({ "error": "refused" })))
    }

    async fn create(&self, request: Request<Incoming>) -> Response<Body> {
        let (head, body) = request.into_parts();
        let header = |name: &str| head.headers.get(name).map(|value| value.to_str().unwrap().to_owned());
        let body: Value = serde_json::from_slice(&body.collect().await.unwrap().to_bytes()).unwrap();
        let mut state = self.state();
        let token = header("authorization").unwrap_or_default().replace("Bearer ", "");
        state.creates.push(SeenCreate { token, branch: header("x-trigger-branch"), body: body.clone() });
        if let Some((status, refusal)) = state.create_plans.pop_front() {
            return plain(status, refusal);
        }
        let n = state.creates.len();
        let created = json!({
            "id": "session_1", "externalId": body["externalId"], "type": body["type"],
            "taskIdentifier": body["taskIdentifier"], "triggerConfig": body["triggerConfig"],
            "currentRunId": "run_1", "tags": [], "metadata": null, "closedAt": null, "closedReason": null,
            "expiresAt": null, "createdAt": "2026-01-01T00:00:00Z", "updatedAt": "2026-01-01T00:00:00Z",
            "runId": "run_1", "publicAccessToken": format!("created-{n}"), "isCached": n > 1,
        });
        let mut response = plain(if n > 1 { 200 } else { 201 }, created);
        response.headers_mut().insert("x-trigger-jwt", "run-scoped".parse().unwrap());
        response
    }

    async fn mint(&self, request: Request<Incoming>) -> Response<Body> {
        let body = serde_json::from_slice(&request.into_body().collect().await.unwrap().to_bytes()).unwrap();
        self.state().minted.push(body);
        plain(200, json!({ "token": "minted" }))
    }

    async fn append(&self, request: Request<Incoming>) -> Result<Response<Body>, u16> {
        let (head, body) = request.into_parts();
        let header = |name: &str| head.headers.get(name).map(|value| value.to_str().unwrap().to_owned());
        let token = header("authorization").unwrap_or_default().replace("Bearer ", "");
        let part_id = header("x-part-id").unwrap_or_default();
        let (path, tenant) = (head.uri.path().to_owned(), header("x-tenant"));
        let (branch, source) = (header("x-trigger-branch"), header("x-trigger-source"));
        let body = serde_json::from_slice(&body.collect().await.unwrap().to_bytes()).unwrap();
        let plan = {
            let mut state = self.state();
            state.appends.push(SeenAppend {
                path,
                tenant,
                branch,
                source,
                token: token.clone(),
                part_id: part_id.clone(),
                body,
            });
            state.append_plans.pop_front()
        };
        self.changed.notify_waiters();
        if let Some(AppendPlan::Refuse(status, body, headers)) = plan {
            let mut response = plain(status, body);
            for (name, value) in headers {
                response.headers_mut().insert(name, value.parse().unwrap());
            }
            return Ok(response);
        }
        self.check(&token)?;
        let seq = {
            let mut state = self.state();
            let next = state.next_input;
            let seq = *state.known_parts.entry(part_id).or_insert(next);
            state.next_input += u64::from(seq == next);
            seq
        };
        match plan {
            Some(AppendPlan::StoreThen(status)) => return Err(status),
            Some(AppendPlan::NoSeq) => return Ok(plain(200, json!({ "ok": true }))),
            Some(AppendPlan::Hold(permits)) => permits.acquire().await.unwrap().forget(),
            _ => {}
        }
        Ok(plain(200, json!({ "ok": true, "seq": seq })))
    }

    fn check(&self, token: &str) -> Result<(), u16> {
        let is_known = self.state().tokens.as_ref().is_none_or(|tokens| tokens.contains(token));
        if is_known { Ok(()) } else { Err(401) }
    }

    async fn read(self: &Arc<Self>, request: &Request<Incoming>) -> Result<Response<Body>, u16> {
        let header = |name: &str| request.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
        let token = header("authorization").unwrap_or_default().replace("Bearer ", "");
        let cursor = header("last-event-id");
        let seen = SeenRead {
            path: request.uri().path().to_owned(),
            token: token.clone(),
            cursor: cursor.clone(),
            peek: header("x-peek-settled").as_deref() == Some("1"),
            window: header("timeout-seconds"),
            tenant: header("x-tenant"),
            branch: header("x-trigger-branch"),
        };
        let plan = {
            let mut state = self.state();
            state.reads.push(seen);
            state.read_plans.pop_front()
        };
        self.changed.notify_waiters();
        let (max, after, headers) = match plan {
            Some(ReadPlan::Refuse(status)) => return Err(status),
            Some(ReadPlan::NoContent) => return Err(204),
            Some(ReadPlan::Hang) => std::future::pending().await,
            Some(ReadPlan::QuietWindow(length)) => (0, After::Wait(length), Vec::new()),
            Some(ReadPlan::Serve { max, after, headers }) => (max, after, headers),
            None => (usize::MAX, After::Follow, Vec::new()),
        };
        self.check(&token)?;
        let from = cursor.map_or(0, |cursor| cursor.parse::<usize>().unwrap() + 1);
        let feed = Feed::new(self.clone(), from, max, after);
        let body = StreamBody::new(stream::unfold(feed, |mut feed| async move {
            let piece = feed.next().await?;
            Some((piece.map(Frame::data), feed))
        }));
        let mut response =
            Response::builder().header("x-stream-version", "v2").header("content-type", "text/event-stream");
        for (name, value) in headers {
            response = response.header(name, value);
        }
        Ok(response.body(BodyExt::boxed_unsync(body)).unwrap())
    }
}

/// The body of one read.
struct Feed {
    fake: Arc<Fake>,
    next: usize,
    left: usize,
    after: After,
    pieces: VecDeque<Bytes>,
    is_done: bool,
}

impl Feed {
    fn new(fake: Arc<Fake>, next: usize, left: usize, after: After) -> Self {
        fake.state().open_reads += 1;
        Self { fake, next, left, after, pieces: VecDeque::new(), is_done: false }
    }

    async fn next(&mut self) -> Option<Result<Bytes, io::Error>> {
        loop {
            if let Some(piece) = self.pieces.pop_front() {
                return Some(Ok(piece));
            }
            if self.is_done {
                return None;
            }
            let (records, tail) = self.take_records();
            match (records.is_empty(), self.after) {
                (false, _) => {
                    let mut batch = json!({ "records": records });
                    if let Some(tail) = tail {
                        batch["tail"] = json!({ "seq_num": tail, "timestamp": 7 });
                    }
                    self.send(&format!("event: batch\nid: 4,10,2048\ndata: {batch}\n\n"));
                }
                (true, After::Follow) => {
                    let (fake, next) = (self.fake.clone(), self.next);
                    fake.wait_until(|state| state.first_available + state.out.len() > next).await;
                }
                (true, After::Done) => {
                    self.is_done = true;
                    self.send("data: [DONE]\n\n");
                }
                (true, After::Break) => {
                    // One turn of the loop, so that the records before the break are on the wire.
                    tokio::task::yield_now().await;
                    return Some(Err(io::ErrorKind::ConnectionReset.into()));
                }
                (true, After::Wait(length)) => {
                    tokio::time::sleep(length).await;
                    self.after = After::Done;
                }
                (true, After::PingOnce) => {
                    self.after = After::Silent;
                    self.send("event: ping\ndata: {\"timestamp\":1}\n\n");
                }
                (true, After::Silent) => std::future::pending().await,
                (true, After::Ping) => {
                    tokio::time::sleep(Duration::from_secs(5)).await;
                    self.send("event: ping\ndata: {\"timestamp\":1}\n\n");
                }
            }
        }
    }

    /// Takes what one batch carries: one record, or all with the tail.
    fn take_records(&mut self) -> (Vec<Value>, Option<usize>) {
        let state = self.fake.state();
        self.next = self.next.max(state.first_available);
        let there = state.out.get(self.next - state.first_available..).unwrap_or_default();
        let max = if state.whole_batches { self.left } else { self.left.min(1) };
        let records: Vec<Value> = there.iter().take(max).cloned().collect();
        self.left -= records.len();
        self.next += records.len();
        let tail = state.first_available + state.out.len();
        (records, state.whole_batches.then_some(tail))
    }

    fn send(&mut self, text: &str) {
        let size = self.fake.state().piece_bytes.unwrap_or(text.len());
        self.pieces.extend(text.as_bytes().chunks(size).map(Bytes::copy_from_slice));
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.fake.state().open_reads -= 1;
    }
}

fn plain(status: u16, body: Value) -> Response<Body> {
    let body = Full::new(Bytes::from(body.to_string())).map_err(|never| match never {});
    let mut response = Response::new(body.boxed_unsync());
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    response
}

//! [`HttpLink`]: the run's side of the session server's HTTP routes (D-39), authenticated and fenced.

mod retry;
mod tail;

use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt};
use http::{Method, Request, Response, StatusCode, header};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use turnkeep_host::http::{BaseUrl, Deadlines, HttpClient, segment};
use turnkeep_host::{Draws, Entropy, Host};
use turnkeep_protocol::run_api::{
    CreateWait, CreatedWait, EndRun, EndRunResponse, Heartbeat, HeartbeatResponse, Mark, MarkSession, OutBatch,
    OutBatchResponse, RUN_ATTEMPT_HEADER, RUN_ID_HEADER, RunMetadata, WaitOutcome, WaitpointStatus,
};
use turnkeep_protocol::session_api::{
    CODE_LEASE_LOST, CODE_RUN_CANCELLED, DrainedRecord, DrainedRecords, PresignedUrl, Refusal,
};
use turnkeep_protocol::{ChannelName, ChatSnapshot, InputRecord, JsonObject, NewRecord, RunId, SeqNum};

use self::retry::Retries;
use crate::error::Error;
use crate::link::{DurableWait, Link, SnapshotRead};

/// How long the server holds one poll of a waitpoint, in seconds.
const WAIT_POLL_S: u64 = 20;

/// How long a durable wait outlives its own limit before the run gives up on the server's clock.
const WAIT_GRACE: Duration = Duration::from_secs(60);

/// The longest waits of one batch: short, since a lapsed lease ends the run anyway and the next try carries the same part id.
const WRITE_DEADLINES: Deadlines =
    Deadlines { connect: Duration::from_secs(5), headers: Duration::from_secs(10), body: Duration::from_secs(10) };

/// The longest waits of one heartbeat: a late one is worth less than the next.
const BEAT_DEADLINES: Deadlines =
    Deadlines { connect: Duration::from_secs(3), headers: Duration::from_secs(3), body: Duration::from_secs(3) };

/// How many pages one drain reads; a page holds up to 100 000 records.
const MAX_PAGES: usize = 64;

/// How long a turn waits for its token: a turn without a fresh one is better than a turn that waits.
const TOKEN_LIMIT: Duration = Duration::from_secs(3);

/// The rest between two polls of a waitpoint, so that a server that does not hold them is not asked in a busy loop.
const WAIT_POLL_PAUSE: Duration = Duration::from_millis(250);

/// How many characters of a refusal's body an error keeps.
const REFUSAL_TEXT: usize = 200;

/// Who the run is and where its session server is.
#[derive(Clone, Debug)]
pub(crate) struct LinkTarget {
    pub(crate) base: BaseUrl,
    pub(crate) secret_key: String,
    pub(crate) run_id: RunId,
    pub(crate) attempt: u32,
    pub(crate) session_key: String,
    /// How long a turn's token lives.
    pub(crate) token_lifetime: Duration,
}

/// The HTTP link of one run.
pub(crate) struct HttpLink {
    host: Host,
    target: LinkTarget,
    /// Batches go out one by one over this connection.
    writes: HttpClient,
    /// Everything else; a long poll must not hold up a batch.
    calls: HttpClient,
    /// A beat must not wait behind anything.
    beats: HttpClient,
    retries: Retries,
    part_ids: Draws,
}

impl HttpLink {
    /// Makes the link; nothing is dialled yet. `entropy` must be this run attempt's own.
    pub(crate) fn new(host: Host, target: LinkTarget, entropy: &Entropy) -> Self {
        let client = |deadlines| HttpClient::new(host.clone(), target.base.clone(), deadlines);
        Self {
            writes: client(WRITE_DEADLINES),
            calls: client(Deadlines::default()),
            beats: client(BEAT_DEADLINES),
            retries: Retries::new(&entropy.child("backoff")),
            part_ids: entropy.child("batch-part-ids").draws(),
            host,
            target,
        }
    }

    /// Says that the run is alive; sent once, since the next beat follows soon (D-9).
    pub(crate) async fn heartbeat(&self, beat: Heartbeat) -> Result<HeartbeatResponse, Error> {
        let call = Call::post("heartbeat", self.run_path("/heartbeat"), &beat);
        let response = self.send(&self.beats, &call).await.map_err(|error| unreachable(call.what, error))?;
        parse(call.what, &retry::judge(call.what, response)?)
    }

    /// Reports the end of the attempt (D-3).
    pub(crate) async fn end(&self, end: &EndRun) -> Result<EndRunResponse, Error> {
        self.call(&self.calls, Call::post("end", self.run_path("/end"), end)).await
    }

    fn run_path(&self, tail: &str) -> String {
        format!("/api/v1/runs/{}{tail}", segment(self.target.run_id.as_str()))
    }

    fn session_path(&self, tail: &str) -> String {
        format!("/api/v1/sessions/{}{tail}", segment(&self.target.session_key))
    }

    fn channel_path(&self, channel: ChannelName, tail: &str) -> String {
        format!("/realtime/v1/sessions/{}/{channel}{tail}", segment(&self.target.session_key))
    }

    fn request(&self, method: Method, path: &str) -> http::request::Builder {
        Request::builder()
            .method(method)
            .uri(path)
            .header(header::AUTHORIZATION, format!("Bearer {}", self.target.secret_key))
            .header(RUN_ID_HEADER, self.target.run_id.as_str())
            .header(RUN_ATTEMPT_HEADER, self.target.attempt)
    }

    /// Sends one request until it is answered, and reads the answer's JSON.
    async fn call<T: DeserializeOwned>(&self, client: &HttpClient, call: Call) -> Result<T, Error> {
        let what = call.what;
        let response = self.retries.run(what, || self.send(client, &call)).await?;
        parse(what, &response)
    }

    async fn send(&self, client: &HttpClient, call: &Call) -> Result<Response<Bytes>, turnkeep_host::http::Error> {
        let mut builder = match call.is_signed {
            true => Request::builder().method(call.method.clone()).uri(&call.path),
            false => self.request(call.method.clone(), &call.path),
        };
        if let Some(part_id) = &call.part_id {
            builder = builder.header("x-part-id", part_id);
        }
        if !call.body.is_empty() {
            builder = builder.header(header::CONTENT_TYPE, "application/json");
        }
        client.fetch(builder.body(call.body.clone())?).await
    }

    /// Reads one page of what a channel holds after a place.
    async fn page(&self, channel: ChannelName, after: Option<SeqNum>) -> Result<Vec<DrainedRecord>, Error> {
        let cursor = after.map(|after| format!("?afterEventId={after}")).unwrap_or_default();
        let call = Call::new("records", Method::GET, self.channel_path(channel, &format!("/records{cursor}")));
        let answer: DrainedRecords = self.call(&self.calls, call).await?;
        Ok(answer.records)
    }

    async fn presigned(&self, method: Method) -> Result<String, Error> {
        let call = Call::new("snapshot address", method, self.session_path("/snapshot-url"));
        let url: PresignedUrl = self.call(&self.calls, call).await?;
        Ok(url.presigned_url)
    }

    /// Gives the client and the path for an address that is either below our server or somewhere else.
    fn resolve(&self, url: &str) -> Result<(Option<HttpClient>, String), Error> {
        if url.starts_with('/') {
            return Ok((None, url.to_owned()));
        }
        let ours = self.target.base.to_string();
        if let Some(path) = url.strip_prefix(&ours).filter(|path| path.starts_with('/')) {
            return Ok((None, path.to_owned()));
        }
        let after_scheme = url.find("://").map_or(0, |at| at + 3);
        let path_at = url[after_scheme..].find('/').map_or(url.len(), |at| after_scheme + at);
        let (origin, path) = url.split_at(path_at);
        let base: BaseUrl =
            origin.parse().map_err(|error: turnkeep_host::http::Error| Error::BadOptions(error.to_string()))?;
        Ok((Some(HttpClient::new(self.host.clone(), base, Deadlines::default())), path.to_owned()))
    }

    async fn fetch_snapshot(&self) -> Result<SnapshotRead, Error> {
        let (other, path) = self.resolve(&self.presigned(Method::GET).await?)?;
        let client = other.as_ref().unwrap_or(&self.calls);
        let call = Call::signed(Method::GET, path, Bytes::new());
        let response = self.retries.run(call.what, || self.send(client, &call)).await?;
        Ok(ChatSnapshot::parse(response.body())
            .map_or(SnapshotRead::Invalid, |snapshot| SnapshotRead::Found(Box::new(snapshot))))
    }

    async fn store_snapshot(&self, body: Bytes) -> Result<(), Error> {
        let (other, path) = self.resolve(&self.presigned(Method::PUT).await?)?;
        let client = other.as_ref().unwrap_or(&self.calls);
        let call = Call::signed(Method::PUT, path, body);
        self.retries.run(call.what, || self.send(client, &call)).await.map(drop)
    }

    async fn wait_durably(&self, wait: DurableWait) -> Result<WaitOutcome, Error> {
        let path = self.run_path("/session-streams/wait");
        let body = CreateWait {
            session: self.target.session_key.clone(),
            io: ChannelName::In.as_str().to_owned(),
            timeout: Some(whole_seconds(wait.limit)),
            // One key per wait, so that a repeated request finds the same waitpoint (S-144).
            idempotency_key: Some(self.part_ids.alphanumeric(21)),
            idempotency_key_ttl: None,
            tags: Vec::new(),
            last_seq_num: wait.consumed,
            settled_cursor: wait.settled,
        };
        let created: CreatedWait = self.call(&self.calls, Call::post("wait", path, &body)).await?;
        let poll =
            format!("/api/v1/waitpoints/{}?timeoutInSeconds={WAIT_POLL_S}", segment(created.waitpoint_id.as_str()));
        let polling = async {
            loop {
                match self.call(&self.calls, Call::new("wait", Method::GET, poll.clone())).await {
                    Ok(WaitpointStatus { outcome: Some(outcome) }) => return Ok(outcome),
                    Ok(WaitpointStatus { outcome: None }) => {}
                    // The server forgets a wait when its attempt loses the run, and never before.
                    Err(Error::Refused { status: 404, .. }) => return Err(Error::LeaseLost),
                    Err(error) => return Err(error),
                }
                tokio::time::sleep(WAIT_POLL_PAUSE).await;
            }
        };
        tokio::time::timeout(wait.limit + WAIT_GRACE, polling).await.unwrap_or(Ok(WaitOutcome::TimedOut))
    }
}

/// One request, as often as it must be sent.
struct Call {
    what: &'static str,
    method: Method,
    path: String,
    body: Bytes,
    part_id: Option<String>,
    /// Whether the address speaks for itself. It may be somebody else's: the secret key stays at home.
    is_signed: bool,
}

impl Call {
    fn new(what: &'static str, method: Method, path: String) -> Self {
        Self { what, method, path, body: Bytes::new(), part_id: None, is_signed: false }
    }

    /// A request for a snapshot at an address that the session server signed (S-194).
    fn signed(method: Method, path: String, body: Bytes) -> Self {
        Self { body, is_signed: true, ..Self::new("snapshot", method, path) }
    }

    fn post(what: &'static str, path: String, body: &impl Serialize) -> Self {
        Self { body: to_json(body), ..Self::new(what, Method::POST, path) }
    }
}

impl Link for HttpLink {
    fn append_out(&self, records: Vec<NewRecord>) -> BoxFuture<'_, Result<Vec<SeqNum>, Error>> {
        Box::pin(async move {
            let path = self.channel_path(ChannelName::Out, "/batch");
            let part_id = Some(self.part_ids.alphanumeric(21));
            let call = Call { part_id, ..Call::post("batch", path, &OutBatch { records }) };
            let answer: OutBatchResponse = self.call(&self.writes, call).await?;
            Ok(answer.seqs)
        })
    }

    fn drain(&self, channel: ChannelName, after: Option<SeqNum>) -> BoxFuture<'_, Result<Vec<DrainedRecord>, Error>> {
        Box::pin(async move { all_pages(after, |after| self.page(channel, after).boxed()).await })
    }

    fn follow_in(&self, after: Option<SeqNum>) -> BoxFuture<'_, Result<BoxStream<'static, InputRecord>, Error>> {
        Box::pin(async move {
            let mut builder = self
                .request(Method::GET, &self.channel_path(ChannelName::In, ""))
                .header(header::ACCEPT, "text/event-stream")
                .header("timeout-seconds", tail::BUDGET_S);
            if let Some(after) = after {
                builder = builder.header("last-event-id", after.to_string());
            }
            let request = builder.body(Bytes::new()).map_err(|error| unreachable("in", error.into()))?;
            let response = self.calls.open(request).await.map_err(|error| unreachable("in", error))?;
            if response.status() != StatusCode::OK {
                return Err(Error::Unreachable { what: "in", detail: format!("status {}", response.status()) });
            }
            Ok(tail::records(response.into_body()).boxed())
        })
    }

    fn read_snapshot(&self) -> BoxFuture<'_, SnapshotRead> {
        Box::pin(async move { self.fetch_snapshot().await.unwrap_or_else(SnapshotRead::from) })
    }

    fn write_snapshot(&self, snapshot: &ChatSnapshot) -> BoxFuture<'_, Result<(), Error>> {
        let body = to_json(snapshot);
        Box::pin(async move { self.store_snapshot(body).await })
    }

    fn mark(&self, mark: Mark) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(async move {
            let call = Call::post("mark", self.session_path("/mark"), &MarkSession { mark });
            self.retries.run(call.what, || self.send(&self.calls, &call)).await.map(drop)
        })
    }

    fn write_metadata(&self, metadata: JsonObject) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(async move {
            let body = to_json(&RunMetadata { metadata });
            let call = Call { body, ..Call::new("metadata", Method::PUT, self.run_path("/metadata")) };
            self.retries.run(call.what, || self.send(&self.calls, &call)).await.map(drop)
        })
    }

    fn wait(&self, wait: DurableWait) -> BoxFuture<'_, Result<WaitOutcome, Error>> {
        Box::pin(self.wait_durably(wait))
    }

    fn mint_token(&self) -> BoxFuture<'_, Option<String>> {
        Box::pin(async move {
            let (run, session) = (&self.target.run_id, &self.target.session_key);
            let scopes = [
                format!("read:runs:{run}"),
                format!("read:sessions:{session}"),
                format!("write:inputStreams:{run}"),
                format!("write:sessions:{session}"),
            ];
            let lifetime = whole_seconds(self.target.token_lifetime);
            let body = json!({ "scopes": scopes, "expirationTime": lifetime });
            let call = Call::post("token", "/api/v1/auth/public-tokens".to_owned(), &body);
            // Asked once, and briefly.
            let asked = tokio::time::timeout(TOKEN_LIMIT, self.send(&self.calls, &call));
            let response = asked.await.ok()?.ok()?;
            let answer: Value = parse(call.what, &retry::judge(call.what, response).ok()?).ok()?;
            answer.get("token")?.as_str().map(str::to_owned)
        })
    }
}

/// Reads page after page until one is empty: the server bounds each (A-49, S-97).
async fn all_pages<'a>(
    mut after: Option<SeqNum>,
    read: impl Fn(Option<SeqNum>) -> BoxFuture<'a, Result<Vec<DrainedRecord>, Error>>,
) -> Result<Vec<DrainedRecord>, Error> {
    let mut records = Vec::new();
    for _ in 0..MAX_PAGES {
        let page = read(after).await?;
        let Some(last) = page.last() else {
            return Ok(records);
        };
        after = Some(last.seq_num);
        records.extend(page);
    }
    Err(Error::Refused { what: "records", status: 200, body: format!("the channel has more than {MAX_PAGES} pages") })
}

/// Sends one JSON request that belongs to no run, once; the caller repeats it.
pub(crate) async fn post_json<T: DeserializeOwned>(
    client: &HttpClient,
    secret_key: &str,
    path: &str,
    body: &impl Serialize,
) -> Result<T, Error> {
    let what = "lease";
    let request = Request::builder()
        .method(Method::POST)
        .uri(path)
        .header(header::AUTHORIZATION, format!("Bearer {secret_key}"))
        .header(header::CONTENT_TYPE, "application/json");
    let request = request.body(to_json(body)).map_err(|error| unreachable(what, error.into()))?;
    let response = client.fetch(request).await.map_err(|error| unreachable(what, error))?;
    parse(what, &retry::judge(what, response)?)
}

fn unreachable(what: &'static str, error: turnkeep_host::http::Error) -> Error {
    Error::Unreachable { what, detail: error.to_string() }
}

fn parse<T: DeserializeOwned>(what: &'static str, response: &Response<Bytes>) -> Result<T, Error> {
    serde_json::from_slice(response.body())
        .map_err(|error| Error::Unreachable { what, detail: format!("unreadable answer: {error}") })
}

fn refusal(what: &'static str, response: &Response<Bytes>) -> Error {
    let known: Option<Refusal> = serde_json::from_slice(response.body()).ok();
    let code = known.and_then(|known| known.code).filter(|_| response.status() == StatusCode::CONFLICT);
    match code.as_deref() {
        Some(CODE_LEASE_LOST) => return Error::LeaseLost,
        Some(CODE_RUN_CANCELLED) => return Error::RunCancelled,
        _ => {}
    }
    let body = String::from_utf8_lossy(response.body()).chars().take(REFUSAL_TEXT).collect();
    Error::Refused { what, status: response.status().as_u16(), body }
}

/// Writes a duration in whole seconds, at least one (C-249).
fn whole_seconds(duration: Duration) -> String {
    format!("{}s", duration.as_secs().max(1))
}

fn to_json(body: &impl Serialize) -> Bytes {
    Bytes::from(serde_json::to_vec(body).expect("wire types always serialise"))
}

#[cfg(test)]
mod tests;

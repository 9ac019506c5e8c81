//! The load: sessions are read and written to, as many at once as are asked for.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use bytes::Bytes;
use futures::StreamExt as _;
use http::{Request, request};
use serde_json::{Value, json};
use tokio::time::Instant;
use turnkeep_host::http::{BodyStream, Deadlines, HttpClient};
use turnkeep_host::{Host, Tasks};
use turnkeep_protocol::Batch;
use turnkeep_protocol::sse::FrameDecoder;

use super::load::{Latencies, Load};
use super::server::SECRET;

/// Requests that are under way at once while a measurement is prepared.
pub(super) const PREPARING: usize = 64;

/// How long readers may take to see the last record.
const STRAGGLERS: Duration = Duration::from_secs(5);

/// Everybody who uses the server.
pub(super) struct Clients {
    host: Host,
    base: String,
}

impl Clients {
    pub(super) fn new(base: String) -> Self {
        Self { host: Host::os(), base }
    }

    /// Opens a reader on `out` of each session and waits until each has had its first ping.
    pub(super) async fn read(&self, ids: &[String]) -> Result<Vec<BodyStream>> {
        let opened = futures::stream::iter(ids).map(|id| self.open(id));
        opened.buffered(PREPARING).collect::<Vec<_>>().await.into_iter().collect()
    }

    async fn open(&self, id: &str) -> Result<BodyStream> {
        let request = Request::get(format!("/realtime/v1/sessions/{id}/out"))
            .header("authorization", format!("Bearer {SECRET}"))
            .header("accept", "text/event-stream")
            .header("timeout-seconds", 600);
        let response = self.client().open(request.body(Bytes::new())?).await?;
        ensure!(response.status().is_success(), "a reader of {id} was refused: {}", response.status());
        let mut body = response.into_body();
        body.next_chunk().await.context("a reader was closed")??;
        Ok(body)
    }

    /// Appends so many records a second for so long, each session in its turn, and times each until its reader has it.
    pub(super) async fn steady(&self, ids: &[String], rate: usize, lasts: Duration) -> Result<Load> {
        let start = Instant::now();
        let n_records = usize::try_from(lasts.as_secs())? * rate;
        let seen = Arc::new(AtomicUsize::new(0));
        let readers: Vec<_> = self.read(ids).await?.into_iter().map(|body| timed(body, start, seen.clone())).collect();
        let (tasks, mut results) = (Tasks::new(), Vec::new());
        for reader in readers {
            results.push(self.beside(&tasks, reader));
        }
        let writers = rate.clamp(1, PREPARING);
        let begins = Instant::now();
        let writing = (0..writers).map(|writer| async move {
            let client = self.client();
            for record in (writer..n_records).step_by(writers) {
                let due = begins + Duration::from_secs_f64(record as f64 / rate as f64);
                tokio::time::sleep_until(due).await;
                // Its clock runs from when it was due: a server that falls behind makes later records wait, and that counts.
                let body = json!(u64::try_from(due.duration_since(start).as_micros())?).to_string();
                append(&client, &ids[record % ids.len()], body).await?;
            }
            anyhow::Ok(())
        });
        futures::future::try_join_all(writing).await?;
        // The last record has its share of the time, too.
        tokio::time::sleep_until(begins + lasts).await;
        let lasted = begins.elapsed();
        let deadline = Instant::now() + STRAGGLERS;
        while seen.load(Ordering::SeqCst) < n_records {
            if Instant::now() > deadline {
                bail!("readers saw {} of {n_records} records", seen.load(Ordering::SeqCst));
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        drop(tasks);
        let mut parts = Vec::new();
        for result in results {
            parts.push(result.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone());
        }
        Ok(Load { took: Latencies::of(parts), lasted })
    }

    /// Runs a reader beside us and gives where its times are.
    fn beside(&self, tasks: &Tasks, reader: impl FnOnce(Times) -> Reading) -> Times {
        let times = Times::default();
        tasks.add(self.host.spawn(reader(times.clone())));
        times
    }

    /// Appends as fast as the appends are acknowledged, and times the acknowledgements.
    pub(super) async fn flat_out(&self, ids: &[String], writers: usize, lasts: Duration) -> Result<Load> {
        let begins = Instant::now();
        let until = begins + lasts;
        let writing = (0..writers).map(|writer| async move {
            let (client, mut times) = (self.client(), Vec::new());
            for id in ids.iter().cycle().skip(writer) {
                let began = Instant::now();
                if began > until {
                    break;
                }
                append(&client, id, "{}".to_owned()).await?;
                times.push(began.elapsed());
            }
            anyhow::Ok(times)
        });
        let times = futures::future::try_join_all(writing).await?;
        Ok(Load { took: Latencies::of(times), lasted: begins.elapsed() })
    }

    pub(super) fn client(&self) -> HttpClient {
        let base = self.base.parse().expect("the server's address makes a URL");
        HttpClient::new(self.host.clone(), base, Deadlines::default())
    }
}

/// How long each record of one reader took.
type Times = Arc<std::sync::Mutex<Vec<Duration>>>;

type Reading = futures::future::BoxFuture<'static, ()>;

/// Makes the task that reads one stream; a record's data is when its append began.
fn timed(mut body: BodyStream, start: Instant, seen: Arc<AtomicUsize>) -> impl FnOnce(Times) -> Reading {
    move |times| {
        Box::pin(async move {
            let mut frames = FrameDecoder::new();
            while let Some(Ok(bytes)) = body.next_chunk().await {
                let arrived = micros(start);
                let frames = frames.push(&bytes).unwrap_or_default();
                for frame in frames.iter().filter(|frame| frame.event == "batch") {
                    let Ok(batch) = serde_json::from_str::<Batch>(&frame.data) else { return };
                    let began = batch.records.iter().filter_map(|record| record.envelope()?.unpacked().as_u64());
                    let took: Vec<_> = began.map(|at| Duration::from_micros(arrived.saturating_sub(at))).collect();
                    seen.fetch_add(took.len(), Ordering::SeqCst);
                    times.lock().unwrap_or_else(std::sync::PoisonError::into_inner).extend(took);
                }
            }
        })
    }
}

fn micros(start: Instant) -> u64 {
    u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX)
}

async fn append(client: &HttpClient, id: &str, body: String) -> Result<()> {
    post(client, &format!("/realtime/v1/sessions/{id}/out/append"), body).await.map(drop)
}

pub(super) async fn post(client: &HttpClient, path: &str, body: String) -> Result<Value> {
    sent(client, Request::post(path), body).await
}

/// Sends a JSON body with the key and gives what is answered.
pub(super) async fn sent(client: &HttpClient, request: request::Builder, body: String) -> Result<Value> {
    let request = request
        .header("authorization", format!("Bearer {SECRET}"))
        .header("content-type", "application/json")
        .body(Bytes::from(body))?;
    let path = request.uri().path().to_owned();
    let response = client.fetch(request).await?;
    ensure!(response.status().is_success(), "{path}: {}", response.status());
    Ok(serde_json::from_slice(response.body())?)
}

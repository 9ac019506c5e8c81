//! The real server on a real folder is killed, again and again, while clients write (D-12, D-26).
//!
//! What was acknowledged is there, once and where it was said to be; what a reader saw stays; a retry after a lost answer is no second
//! record. A killed process loses what it has not handed to the system; what a power loss takes is for the simulated disk.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Stdio;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::future::{join, join_all};
use http::Request;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::{Notify, Semaphore};
use tokio::time::timeout;
use turnkeep_host::http::{Deadlines, HttpClient};
use turnkeep_host::{Entropy, Host};

use crate::support::{SECRET, create_body, delta};

const KILLS: usize = 12;
/// Clients that write at the same time.
const N_WRITERS: usize = 8;
/// The most appends that are acknowledged between two kills.
const MAX_ACKS: u64 = 150;
/// The longest wait for anything; reaching it fails the test.
const PATIENCE: Duration = Duration::from_secs(30);

/// A server in a process of its own; dropping it kills the process.
struct Process {
    child: Child,
    addr: String,
}

impl Process {
    async fn start(folder: &Path) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_turnkeep-session"));
        command.args(["serve", "--port", "0", "--format", "json", "--secret-key", SECRET, "--data"]).arg(folder);
        command.env_clear().stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        timeout(PATIENCE, stdout.read_line(&mut line)).await.expect("the server starts").unwrap();
        let ready: Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: `{line}`"));
        let addr = ready["url"].as_str().unwrap().trim_start_matches("http://").to_owned();
        Self { child, addr }
    }

    /// Ends the process as SIGKILL does, in the middle of whatever it does.
    async fn kill(mut self) {
        self.child.start_kill().expect("it runs");
        timeout(PATIENCE, self.child.wait()).await.expect("it is gone").unwrap();
    }
}

/// An append that the server has acknowledged.
#[derive(Clone)]
struct Acked {
    channel: &'static str,
    part: Option<String>,
    texts: Vec<String>,
    seqs: Vec<u64>,
}

/// What the clients share.
struct Clients {
    host: Host,
    /// Where the server listens, while it does.
    addr: Mutex<Option<String>>,
    opened: Notify,
    stop: AtomicBool,
    acked: Mutex<Vec<Acked>>,
    n_acked: Semaphore,
}

impl Clients {
    fn new() -> Self {
        Self {
            host: Host::os(),
            addr: Mutex::new(None),
            opened: Notify::new(),
            stop: AtomicBool::new(false),
            acked: Mutex::new(Vec::new()),
            n_acked: Semaphore::new(0),
        }
    }

    /// Lets the clients in.
    fn open(&self, process: &Process) {
        *self.addr.lock().unwrap() = Some(process.addr.clone());
        self.opened.notify_waiters();
    }

    /// Gives a client of the server that lives, or of the next one.
    async fn client(&self) -> HttpClient {
        let mut opened = std::pin::pin!(self.opened.notified());
        opened.as_mut().enable();
        let known = self.addr.lock().unwrap().clone();
        let addr = match known {
            Some(addr) => addr,
            None => {
                timeout(PATIENCE, opened).await.expect("the server comes back");
                self.addr.lock().unwrap().clone().expect("it has just come")
            }
        };
        client_of(&self.host, &addr)
    }

    /// Writes one thing after the other until it is told to stop; a thing with a part id is tried again until it is acknowledged.
    async fn write(&self, n: usize) {
        let channel = if n.is_multiple_of(2) { "in" } else { "out" };
        let mut client = self.client().await;
        for round in 0.. {
            if self.stop.load(Ordering::SeqCst) {
                return;
            }
            // One client of each channel names no part ids and tries once.
            let part = (n >= 2).then(|| format!("w{n}-{round}"));
            let n_texts = if channel == "in" { 1 } else { 1 + round % 3 };
            let texts: Vec<String> = (0..n_texts).map(|text| format!("w{n}-{round}-{text}")).collect();
            let seqs = loop {
                match append(&client, channel, &texts, part.as_deref()).await {
                    Some(seqs) => break Some(seqs),
                    None => client = self.client().await,
                }
                if part.is_none() {
                    break None;
                }
            };
            if let Some(seqs) = seqs {
                self.acked.lock().unwrap().push(Acked { channel, part, texts, seqs });
                self.n_acked.add_permits(1);
            }
        }
    }

    /// Follows a channel by its cursor over all lives of the server; gives what it saw.
    async fn follow(&self, channel: &'static str) -> Vec<(u64, String)> {
        let mut client = self.client().await;
        let mut seen: Vec<(u64, String)> = Vec::new();
        while !self.stop.load(Ordering::SeqCst) {
            match records(&client, channel, seen.last().map(|(seq, _)| *seq)).await {
                Some(more) => seen.extend(more),
                None => client = self.client().await,
            }
        }
        seen
    }
}

fn client_of(host: &Host, addr: &str) -> HttpClient {
    HttpClient::new(host.clone(), format!("http://{addr}").parse().unwrap(), Deadlines::default())
}

/// Writes texts once, a single one to `in`, and gives their places; nothing when no answer came.
async fn append(client: &HttpClient, channel: &str, texts: &[String], part: Option<&str>) -> Option<Vec<u64>> {
    let (route, body) = match (channel, texts) {
        ("in", [text]) => ("in/append", text.clone()),
        _ => {
            let records: Vec<_> = texts.iter().map(|text| delta(text)).collect();
            ("out/batch", json!({ "records": records }).to_string())
        }
    };
    let answer = call(client, "POST", &format!("/realtime/v1/sessions/chat/{route}"), body, part).await?;
    let seqs = if channel == "in" { json!([answer["seq"]]) } else { answer["seqs"].clone() };
    Some(serde_json::from_value(seqs).unwrap())
}

/// Calls a route that must succeed; nothing when no whole answer came.
async fn call(client: &HttpClient, method: &str, path: &str, body: String, part: Option<&str>) -> Option<Value> {
    let request = Request::builder().method(method).uri(path).header("authorization", format!("Bearer {SECRET}"));
    let request = part.into_iter().fold(request, |request, part| request.header("x-part-id", part));
    let answer = timeout(PATIENCE, client.fetch(request.body(Bytes::from(body)).unwrap())).await;
    let answer = answer.expect("a live server answers and a dead one is noticed").ok()?;
    // A server that is killed does not get to say so; but one that cannot commit any more would.
    assert!(answer.status().is_success(), "{answer:?}");
    Some(serde_json::from_slice(answer.body()).unwrap())
}

/// Reads the places and texts of everything after a cursor.
async fn records(client: &HttpClient, channel: &str, after: Option<u64>) -> Option<Vec<(u64, String)>> {
    let query = after.map(|seq| format!("?afterEventId={seq}")).unwrap_or_default();
    let path = format!("/realtime/v1/sessions/chat/{channel}/records{query}");
    let drained = call(client, "GET", &path, String::new(), None).await?;
    let text = |record: &Value| {
        let data = &record["data"];
        data.as_str().or(data["delta"].as_str()).expect("all that was written has a text").to_owned()
    };
    let records = drained["records"].as_array().unwrap().iter();
    Some(records.map(|record| (record["seqNum"].as_u64().unwrap(), text(record))).collect())
}

/// Lets the server live for a while, then kills it; again and again. Gives the last one, which lives.
async fn kill_again_and_again(clients: &Clients, folder: &Path, seed: u64) -> Process {
    let draws = Entropy::from_seed(seed).draws();
    let mut process = Process::start(folder).await;
    let create = create_body(json!({ "chatId": "chat" })).to_string();
    call(&client_of(&clients.host, &process.addr), "POST", "/api/v1/sessions", create, None).await.expect("it lives");
    clients.open(&process);
    for _ in 0..KILLS {
        let n = u32::try_from(1 + draws.below(MAX_ACKS)).unwrap();
        timeout(PATIENCE, clients.n_acked.acquire_many(n)).await.expect("there is progress").unwrap().forget();
        // The kill falls anywhere: between two commits, inside one, or before its answers.
        tokio::time::sleep(Duration::from_micros(draws.below(15_000))).await;
        *clients.addr.lock().unwrap() = None;
        process.kill().await;
        process = Process::start(folder).await;
        clients.open(&process);
    }
    let after = u32::try_from(MAX_ACKS).unwrap();
    timeout(PATIENCE, clients.n_acked.acquire_many(after)).await.expect("the last one serves").unwrap().forget();
    clients.stop.store(true, Ordering::SeqCst);
    process
}

/// Proves that a channel is what was acknowledged, what was seen, and nothing twice.
fn prove(channel: &str, log: &[(u64, String)], acked: &[Acked], seen: &[(u64, String)], place: &str) {
    let dense: Vec<u64> = (0..log.len() as u64).collect();
    assert_eq!(log.iter().map(|(seq, _)| *seq).collect::<Vec<_>>(), dense, "{place}: gaps (S-54)");
    let mut places = BTreeMap::new();
    for (seq, text) in log {
        assert_eq!(places.insert(text, *seq), None, "{place}: `{text}` is there twice");
    }
    let mut told = BTreeSet::new();
    for Acked { texts, seqs, .. } in acked.iter().filter(|acked| acked.channel == channel) {
        assert_eq!(texts.len(), seqs.len(), "{place}: {texts:?}");
        for (text, seq) in texts.iter().zip(seqs) {
            assert_eq!(places.get(text), Some(seq), "{place}: `{text}` was acknowledged at {seq}");
            assert!(told.insert(*seq), "{place}: {seq} was told twice");
        }
    }
    assert_eq!(seen, &log[..seen.len()], "{place}: what a reader saw");
}

#[tokio::test]
async fn a_server_that_is_killed_under_load_loses_nothing_acknowledged_and_reuses_no_seq_num_d6_d12_d26() {
    let folder = tempfile::tempdir().unwrap();
    let seed = Host::os().entropy().draws().next_u64();
    let clients = Clients::new();

    let writers = join_all((0..N_WRITERS).map(|n| clients.write(n)));
    let readers = join(clients.follow("in"), clients.follow("out"));
    let killer = kill_again_and_again(&clients, folder.path(), seed);
    let (_, (seen_in, seen_out), process) = futures::join!(writers, readers, killer);

    let client = clients.client().await;
    let acked = clients.acked.into_inner().unwrap();
    // Late retries of what lives before this one have acknowledged.
    for Acked { channel, part, texts, seqs } in acked.iter().filter(|acked| acked.part.is_some()).step_by(7) {
        let again = append(&client, channel, texts, part.as_deref()).await;
        assert_eq!(again.as_ref(), Some(seqs), "seed {seed}: a retry of {part:?}");
    }
    for (channel, seen) in [("in", seen_in), ("out", seen_out)] {
        let log = records(&client, channel, None).await.expect("it lives");
        prove(channel, &log, &acked, &seen, &format!("seed {seed}, {channel}"));
    }
    process.kill().await;
}

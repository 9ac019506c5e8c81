//! `cargo xtask bench serve`: what a session server takes on this machine, over real TCP.
//!
//! The server has a process of its own, so that its memory is its own. The clients are here and share the machine with it: what they cost
//! is in the times.

mod clients;
mod load;
mod server;
mod used;

use std::time::Duration;

use anyhow::{Context as _, Result};
use serde::Serialize;

use crate::cli::{BenchStore, ServeBenchArgs};
use crate::verdict::Verdict;
use clients::Clients;
use server::ServerProcess;

/// `--smoke` does one part of so many.
const SMOKE_PART: usize = 100;

/// Connections that append at once.
const WRITERS: usize = 64;

/// How much is asked of the server.
#[derive(Clone, Copy, Debug)]
struct Plan {
    idle_readers: usize,
    live_sessions: usize,
    /// Records per second, over all live sessions.
    rate: usize,
    /// How long each load lasts.
    lasts: Duration,
    store: BenchStore,
}

/// Sessions with some turns behind them, whose runs and readers only wait, and what they cost.
#[derive(Debug, Serialize)]
struct Idle<'a> {
    name: &'a str,
    store: &'a str,
    sessions: usize,
    readers: usize,
    kb_per_session: f64,
    kb_per_reader: f64,
    rss_mb: f64,
}

/// Records at a steady rate, each with a reader at the live edge, beside all the idle ones.
#[derive(Debug, Serialize)]
struct Live<'a> {
    name: &'a str,
    store: &'a str,
    sessions: usize,
    idle_readers: usize,
    records_per_s: f64,
    /// From the beginning of the append to the reader that has it.
    p50_ms: f64,
    p99_ms: f64,
    rss_mb: f64,
}

/// Appends as fast as they are acknowledged.
#[derive(Debug, Serialize)]
struct Appends<'a> {
    name: &'a str,
    store: &'a str,
    writers: usize,
    appends_per_s: f64,
    /// From the beginning of the append to its acknowledgement.
    p50_ms: f64,
    p99_ms: f64,
}

/// Measures what `args` ask for.
pub(crate) fn bench(args: &ServeBenchArgs) -> Result<Verdict> {
    if let Some(folder) = &args.here {
        server::serve(args.store, folder)?;
        return Ok(Verdict::Held);
    }
    let part = |n: usize| if args.smoke { n.div_ceil(SMOKE_PART) } else { n };
    let plan = Plan {
        idle_readers: part(args.readers),
        live_sessions: part(args.sessions),
        rate: part(args.rate),
        lasts: Duration::from_secs(if args.smoke { 1 } else { args.seconds }),
        store: args.store,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("no runtime")?;
    runtime.block_on(measure(plan, args.smoke))?;
    Ok(Verdict::Held)
}

async fn measure(plan: Plan, smoke: bool) -> Result<()> {
    let server = ServerProcess::start(plan.store, smoke).context("the server's process could not be started")?;
    let clients = Clients::new(server.base());
    let store = plan.store.name();

    let empty = server.rss_mb()?;
    let idle: Vec<String> = (0..plan.idle_readers).map(|n| format!("idle-{n}")).collect();
    clients.create(&idle).await?;
    let with_sessions = server.rss_mb()?;
    let waiting = clients.read(&idle).await?;
    let with_readers = server.rss_mb()?;
    let each = |from: f64, to: f64, n: usize| rounded((to - from) * 1000.0 / n.max(1) as f64);
    say(&Idle {
        name: "idle",
        store,
        sessions: idle.len(),
        readers: waiting.len(),
        kb_per_session: each(empty, with_sessions, idle.len()),
        kb_per_reader: each(with_sessions, with_readers, waiting.len()),
        rss_mb: with_readers,
    })?;

    let live: Vec<String> = (0..plan.live_sessions).map(|n| format!("live-{n}")).collect();
    clients.create(&live).await?;
    let steady = clients.steady(&live, plan.rate, plan.lasts).await?;
    say(&Live {
        name: "live",
        store,
        sessions: live.len(),
        idle_readers: waiting.len(),
        records_per_s: steady.per_second(),
        p50_ms: steady.took.percentile_ms(50),
        p99_ms: steady.took.percentile_ms(99),
        rss_mb: server.rss_mb()?,
    })?;
    drop(waiting);

    let flat_out = clients.flat_out(&live, WRITERS, plan.lasts).await?;
    say(&Appends {
        name: "appends",
        store,
        writers: WRITERS,
        appends_per_s: flat_out.per_second(),
        p50_ms: flat_out.took.percentile_ms(50),
        p99_ms: flat_out.took.percentile_ms(99),
    })
}

fn say(line: &impl Serialize) -> Result<()> {
    println!("{}", serde_json::to_string(line).context("numbers always serialise")?);
    Ok(())
}

fn rounded(number: f64) -> f64 {
    (number * 1e3).round() / 1e3
}

//! `cargo xtask serve`: a session server with the conformance agents beside it, in one process over real TCP.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use turnkeep_agent::host::Host;
use turnkeep_agent::{RunContext, Worker, WorkerOptions};
use turnkeep_reference_agents::conformance::{self, Scripted, SessionServer};
use turnkeep_session::cli::{DATA, Keep, ServeArgs, ServeError, Serving, Settings, Signals, log_to_stderr};

use crate::bad_input::BadInput;
use crate::verdict::Verdict;

/// How many runs may be open at once, sleeping ones included: a suite opens a chat a case, and their runs stay for an hour.
const CONCURRENCY: usize = 4096;

/// How long turns under way may take to end once the process is told to.
const PATIENCE: Duration = Duration::from_secs(10);

/// Serves until Ctrl-C.
pub(crate) fn serve(args: &ServeArgs) -> Result<Verdict> {
    let settings = args.settings(Keep::Folder(DATA.into())).map_err(|error| BadInput(error.to_string()))?;
    log_to_stderr(&settings);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("no runtime")?;
    runtime.block_on(serve_here(&settings))
}

async fn serve_here(settings: &Settings) -> Result<Verdict> {
    let mut signals = Signals::listen().context("signals cannot be heard")?;
    let serving = match Serving::start(Host::os(), settings).await {
        Err(error @ (ServeError::PortTaken(_) | ServeError::AddressRefused(_) | ServeError::DataInUse(_))) => {
            return Err(BadInput(error.to_string()).into());
        }
        started => started?,
    };
    let base_url = serving.url();
    let server = SessionServer { base_url: base_url.parse()?, secret_key: settings.secret_key.expose().to_owned() };
    let agents = conformance::agents(&server);
    let ids: Vec<&str> = agents.iter().map(|agent| agent.id().as_str()).collect();
    println!("{}", serving.ready_line(settings.format, &ids));
    let mut options = WorkerOptions::new(base_url, settings.secret_key.expose(), "conformance");
    options.concurrency = CONCURRENCY;
    let worker = agents.into_iter().fold(Worker::new(Host::os(), options), Worker::agent);
    let worker = worker.model(Arc::new(Scripted::saying(|_| String::new()))).on_warning(|run: &RunContext, text| {
        eprintln!("{} in {}: {text}", run.task_id, run.session_id);
    });
    let (stop, at_once) = signals.split();
    tokio::select! {
        biased;
        () = at_once => Ok(Verdict::Held),
        ended = together(serving, worker, stop) => ended,
    }
}

/// Runs both; the worker ends first, since its last words go to the server.
async fn together(serving: Serving, worker: Worker, stop: impl Future<Output = ()> + Send) -> Result<Verdict> {
    let (told, worker_done) = (tokio::sync::Notify::new(), tokio::sync::Notify::new());
    let working = async {
        let draining = async {
            stop.await;
            told.notify_one();
        };
        let late = async {
            told.notified().await;
            tokio::time::sleep(PATIENCE).await;
        };
        tokio::select! {
            biased;
            ended = worker.run_until(draining) => ended?,
            () = late => {}
        }
        worker_done.notify_one();
        anyhow::Ok(())
    };
    let serving = async { anyhow::Ok(serving.run_until(worker_done.notified()).await?) };
    tokio::try_join!(biased; working, serving)?;
    Ok(Verdict::Held)
}

//! [`Worker`]: a process that serves agents: it leases runs, keeps their leases alive and reports their ends (D-9, D-35).

mod lease;

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use turnkeep_host::http::{BaseUrl, Deadlines, HttpClient};
use turnkeep_host::{Host, Tasks};
use turnkeep_model::LanguageModel;
use turnkeep_protocol::run_api::{LeaseRequest, LeaseResponse, LeasedRun};
use turnkeep_protocol::{TaskId, WorkerId};

use self::lease::Serving;
use crate::agent::Agent;
use crate::checkpoint::Checkpoints;
use crate::error::Error;
use crate::event::RunContext;
use crate::http_link::post_json;
use crate::signal::Signal;
use crate::tool::check_tools;

/// How many runs one worker serves at once when its options do not say.
pub const DEFAULT_CONCURRENCY: usize = 16;

/// The rest after a lease request that failed.
const LEASE_RETRY_PAUSE: Duration = Duration::from_secs(1);

/// How long the answer to a lease request may be late beyond the poll itself.
const LEASE_GRACE: Duration = Duration::from_secs(10);

/// Takes warnings: what went wrong without ending a run.
pub(crate) type Warn = Arc<dyn Fn(&RunContext, String) + Send + Sync>;

/// How a worker works.
#[derive(Clone, Debug)]
pub struct WorkerOptions {
    /// Where the session server is: `http://host:port`.
    pub base_url: String,
    /// The environment's secret key.
    pub secret_key: String,
    /// This worker's name.
    pub worker_id: WorkerId,
    /// The version of the agents' code.
    pub version: String,
    /// How many runs it serves at once, suspended ones included.
    pub concurrency: usize,
    /// How often a run says that it is alive; well within the server's lease of 10 s.
    pub heartbeat: Duration,
    /// How long one request for a run waits at the server.
    pub lease_poll: Duration,
    /// Who is told of every named place that a run reaches, and may hold it there; nobody in production.
    pub checkpoints: Option<Arc<dyn Checkpoints>>,
}

impl WorkerOptions {
    /// Makes options with the usual limits: 16 runs, a heartbeat every 3 s, lease requests of 20 s.
    pub fn new(base_url: impl Into<String>, secret_key: impl Into<String>, worker_id: impl Into<String>) -> Self {
        Self {
            base_url: base_url.into(),
            secret_key: secret_key.into(),
            worker_id: WorkerId::new(worker_id),
            version: "1".to_owned(),
            concurrency: DEFAULT_CONCURRENCY,
            heartbeat: Duration::from_secs(3),
            lease_poll: Duration::from_secs(20),
            checkpoints: None,
        }
    }

    /// Tells `checkpoints` of every named place that a run reaches, and lets it hold the run there.
    #[must_use]
    pub fn checkpoints(mut self, checkpoints: Arc<dyn Checkpoints>) -> Self {
        self.checkpoints = Some(checkpoints);
        self
    }
}

/// Serves agents; build it, then await [`Worker::run`].
#[must_use = "a worker does nothing until `run` is awaited"]
pub struct Worker {
    host: Host,
    options: WorkerOptions,
    model: Option<Arc<dyn LanguageModel>>,
    agents: BTreeMap<TaskId, Agent>,
    warn: Warn,
}

impl Worker {
    /// Makes a worker that serves nothing yet.
    pub fn new(host: Host, options: WorkerOptions) -> Self {
        Self { host, options, model: None, agents: BTreeMap::new(), warn: Arc::new(|_, _| {}) }
    }

    /// Gives the agents a model; each answer may choose another.
    pub fn model(mut self, model: Arc<dyn LanguageModel>) -> Self {
        self.model = Some(model);
        self
    }

    /// Adds an agent; the last one of an id counts.
    pub fn agent(mut self, agent: impl Into<Agent>) -> Self {
        let agent = agent.into();
        self.agents.insert(agent.id.clone(), agent);
        self
    }

    /// Tells `warn` what went wrong without ending a run: a snapshot that was not stored, a hook whose failure is ignored.
    pub fn on_warning(mut self, warn: impl Fn(&RunContext, String) + Send + Sync + 'static) -> Self {
        self.warn = Arc::new(warn);
        self
    }

    /// Serves runs for ever.
    ///
    /// Dropping the future ends every run it serves at once, as a crash of the process would: their leases lapse and another worker
    /// takes them over.
    ///
    /// # Errors
    ///
    /// [`Error::BadOptions`] when there is no model, the base URL cannot be read, or a tool's input schema is none.
    pub async fn run(self) -> Result<Infallible, Error> {
        self.run_until(std::future::pending()).await?;
        unreachable!("a worker that nobody stops ends only by an error")
    }

    /// Serves runs until `stop` resolves, then leases no more, lets turns under way end, ends each run behind its turn or in its wait,
    /// and returns when the last one has reported (D-35). What is owed then is served by a continuation on another worker.
    ///
    /// Turns take as long as they take: bound the whole with a timeout, and drop the future when it is over.
    ///
    /// # Errors
    ///
    /// As [`Worker::run`].
    pub async fn run_until(self, stop: impl Future<Output = ()> + Send) -> Result<(), Error> {
        let base: BaseUrl = self
            .options
            .base_url
            .parse()
            .map_err(|error: turnkeep_host::http::Error| Error::BadOptions(error.to_string()))?;
        let model = self.model.clone().ok_or_else(|| Error::BadOptions("the worker has no model".to_owned()))?;
        for agent in self.agents.values() {
            check_tools(&agent.tools).map_err(|bad| Error::BadOptions(format!("agent `{}`: {bad}", agent.id)))?;
        }
        let headers = self.options.lease_poll + LEASE_GRACE;
        let deadlines = Deadlines { headers, ..Deadlines::default() };
        let client = HttpClient::new(self.host.clone(), base.clone(), deadlines);
        let n_places = u32::try_from(self.options.concurrency.max(1)).unwrap_or(u32::MAX);
        let places = Arc::new(Semaphore::new(n_places as usize));
        let (runs, drain) = (Tasks::new(), Signal::new());
        tokio::pin!(stop);
        loop {
            let work = async {
                let place = places.clone().acquire_owned().await.expect("the semaphore is never closed");
                (place, self.lease(&client).await)
            };
            let (place, lease) = tokio::select! {
                biased;
                () = &mut stop => break,
                work = work => work,
            };
            let Some(lease) = lease else {
                continue;
            };
            let Some(agent) = self.agents.get(&lease.task_id).cloned() else {
                // We did not ask for it; its lease lapses.
                continue;
            };
            let serving = Serving {
                host: self.host.clone(),
                base: base.clone(),
                options: self.options.clone(),
                model: model.clone(),
                warn: self.warn.clone(),
                drain: drain.clone(),
            };
            runs.add(self.host.spawn(async move {
                serving.serve(agent, lease).await;
                drop(place);
            }));
        }
        drain.set("the worker drains");
        // Each run gives its place back when its end is reported.
        let _ = places.acquire_many(n_places).await;
        Ok(())
    }

    async fn lease(&self, client: &HttpClient) -> Option<LeasedRun> {
        let request = LeaseRequest {
            worker_id: self.options.worker_id.clone(),
            task_ids: self.agents.keys().cloned().collect(),
            version: self.options.version.clone(),
            timeout_in_seconds: poll_s(self.options.lease_poll),
        };
        let answer: Result<LeaseResponse, Error> =
            post_json(client, &self.options.secret_key, "/api/v1/workers/lease", &request).await;
        match answer {
            Ok(answer) => answer.run,
            Err(_) => {
                tokio::time::sleep(LEASE_RETRY_PAUSE).await;
                None
            }
        }
    }
}

impl fmt::Debug for Worker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Worker").field("worker_id", &self.options.worker_id).finish_non_exhaustive()
    }
}

/// Gives the poll in whole seconds; one of 0 s would spin.
fn poll_s(lease_poll: Duration) -> u64 {
    lease_poll.as_secs().max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_request_waits_at_least_a_second_d9() {
        assert_eq!((poll_s(Duration::from_millis(200)), poll_s(Duration::from_secs(20))), (1, 20));
    }
}

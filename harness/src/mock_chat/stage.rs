//! [`Stage`]: what chats of one test share: the session server, the worker, and everything that was seen of both.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::json;
use tokio::sync::{Notify, oneshot};
use turnkeep_agent::{Agent, RunContext, Worker, WorkerOptions};
use turnkeep_client::{Part, ReadOptions, Reader, SessionsApi};
use turnkeep_host::http::BaseUrl;
use turnkeep_host::{Draws, Host, Task, Tasks};
use turnkeep_model::LanguageModel;
use turnkeep_protocol::{ChannelName, Record, RunId, SessionId, TaskId};
use turnkeep_session::{Disk as _, Environment, InMemoryObjects, MemoryDisk, MemoryStorage, Server};

use super::SetupError;
use super::faults::Faults;
use super::journal::Journal;
use super::machine::Watch;
use super::options::{MockChat, Where};
use super::progress::{Progress, Runs};
use super::wire::Wire;
use crate::offline::offline_parts;
use crate::overheard::Overheard;
use crate::watched::Watched;

/// The secret key of the session server that a mock chat has in memory, for agents that talk to other agents.
pub const MOCK_SECRET_KEY: &str = "tr_dev_mockChat";
/// The address of that server, on the mock chat's own network.
pub const MOCK_SESSION_URL: &str = "http://session:80";

/// Where the in-memory server is.
const SESSION_ADDR: &str = "session:80";
/// Where the faults stand between worker and server.
const FAULTS_ADDR: &str = "faults:80";

/// How often a run says that it is alive within a lease.
const BEATS_PER_LEASE: u32 = 4;

/// How long, in virtual time, a worker's runs may take to end.
const DRAIN_LIMIT: Duration = Duration::from_secs(2 * 3600);

/// How often a server's address is asked for before its absence is the server's own error.
const FREE_TRIES: usize = 1_000;

/// The rest before a stream that has ended is opened again.
const FOLLOW_PAUSE: Duration = Duration::from_millis(50);

/// The length of a part id.
const PART_ID_CHARACTERS: usize = 21;

/// What chats of one test share.
pub(super) struct Stage {
    /// The machine of the server and the page.
    pub(super) host: Host,
    /// The machine of the worker.
    worker_host: Host,
    /// What was seen of that machine; none when it is the test's own.
    pub(super) watch: Option<Watch>,
    pub(super) base: BaseUrl,
    worker_base: BaseUrl,
    pub(super) secret_key: String,
    agents: Vec<Agent>,
    pub(super) task: TaskId,
    model: Arc<dyn LanguageModel>,
    worker_id: String,
    version: String,
    pub(super) sessions: SessionsApi,
    pub(super) journal: Arc<Journal>,
    pub(super) progress: Arc<Progress>,
    pub(super) faults: Option<Faults>,
    pub(super) is_remote: bool,
    /// The in-memory server's disk.
    disk: Mutex<Arc<MemoryDisk>>,
    /// The chat snapshots of its sessions.
    objects: Arc<InMemoryObjects>,
    part_ids: Draws,
    lease: Duration,
    n_workers: AtomicUsize,
    running: Mutex<Running>,
    /// What went wrong in the server or the worker themselves.
    pub(super) failures: Arc<Watched<Vec<String>>>,
    warnings: Arc<Mutex<Vec<String>>>,
    /// Each chat holds one.
    pub(super) tickets: Arc<()>,
}

/// What runs in the background.
#[derive(Default)]
struct Running {
    server: Option<Task>,
    faults: Option<Task>,
    worker: Option<WorkerTask>,
    /// Who follows `out` of sessions elsewhere.
    followers: Tasks,
}

struct WorkerTask {
    _task: Task,
    stop: Arc<Notify>,
    stopped: oneshot::Receiver<()>,
}

impl Stage {
    /// Starts the server; no worker yet.
    pub(super) async fn set(options: &MockChat, model: Arc<dyn LanguageModel>) -> Result<Self, SetupError> {
        if !options.agents.iter().any(|agent| *agent.id() == options.task) {
            let known = options.agents.iter().map(|agent| agent.id().to_string()).collect();
            return Err(SetupError::UnknownAgent { id: options.task.to_string(), known });
        }
        let (host, worker_host, watch, is_remote) = match &options.at {
            Where::Offline { seed } => {
                let (parts, watch) = (offline_parts(*seed), Watch::default());
                (Host::from_parts(parts.clone()), watch.host(parts), Some(watch), false)
            }
            Where::On(host) => (host.clone(), host.clone(), None, false),
            Where::Remote { host, .. } => (host.clone(), host.clone(), None, true),
        };
        let (base, secret_key) = match &options.at {
            Where::Remote { base_url, secret_key, .. } => (base_url.clone(), secret_key.clone()),
            _ => (MOCK_SESSION_URL.to_owned(), MOCK_SECRET_KEY.to_owned()),
        };
        let base: BaseUrl = base.parse().map_err(|error| SetupError::refused("the server's address", error))?;
        let worker_base = match &options.faults {
            Some(_) => format!("http://{FAULTS_ADDR}").parse().expect("a fixed address parses"),
            None => base.clone(),
        };
        let part_ids = host.entropy().child("mock-chat").child("part-ids").draws();
        let stage = Self {
            part_ids,
            sessions: SessionsApi::new(host.clone(), base.clone(), secret_key.clone()),
            host,
            worker_host,
            watch,
            base,
            worker_base,
            secret_key,
            agents: options.agents.clone(),
            task: options.task.clone(),
            model,
            worker_id: options.worker_id.clone(),
            version: options.version.clone(),
            journal: Arc::default(),
            progress: Arc::default(),
            faults: options.faults.clone(),
            is_remote,
            disk: Mutex::new(Arc::new(MemoryDisk::new())),
            objects: Arc::default(),
            lease: options.lease,
            n_workers: AtomicUsize::new(0),
            running: Mutex::default(),
            failures: Arc::default(),
            warnings: Arc::default(),
            tickets: Arc::new(()),
        };
        stage.start_server().await?;
        stage.start_faults().await?;
        Ok(stage)
    }

    async fn start_server(&self) -> Result<(), SetupError> {
        if self.is_remote {
            return Ok(());
        }
        let storage = Overheard::new(Arc::new(MemoryStorage::open(lock(&self.disk).clone())), self.journal.clone());
        let environment = Environment::new("env_mock", MOCK_SECRET_KEY);
        let server =
            Server::new(self.host.clone(), Arc::new(storage), self.objects.clone(), environment).lease(self.lease);
        let server = server.bind(SESSION_ADDR).await.map_err(|error| SetupError::refused("the server", error))?;
        let failures = self.failures.clone();
        let task = self.host.spawn(async move {
            let Err(error) = server.run().await;
            failures.change(|failures| failures.push(format!("the session server failed: {error}")));
        });
        self.running().server = Some(task);
        Ok(())
    }

    async fn start_faults(&self) -> Result<(), SetupError> {
        let Some(faults) = &self.faults else {
            return Ok(());
        };
        let task = faults.serve(self.host.clone(), FAULTS_ADDR, self.base.clone()).await;
        self.running().faults = Some(task.map_err(|error| SetupError::refused("the faults", error))?);
        Ok(())
    }

    /// Starts a worker, which leases whatever is queued.
    pub(super) fn start_worker(&self) {
        let number = self.n_workers.fetch_add(1, Ordering::SeqCst);
        let name = if number == 0 { self.worker_id.clone() } else { format!("{}-{number}", self.worker_id) };
        let mut options = WorkerOptions::new(self.worker_base.to_string(), self.secret_key.clone(), name);
        options.version.clone_from(&self.version);
        options.heartbeat = self.lease / BEATS_PER_LEASE;
        let warnings = self.warnings.clone();
        let mut worker = Worker::new(self.worker_host.clone(), options.checkpoints(self.progress.clone()))
            .model(self.model.clone())
            .on_warning(move |_: &RunContext, text| lock(&warnings).push(text));
        for agent in self.agents.clone() {
            worker = worker.agent(agent);
        }
        let (stop, failures) = (Arc::new(Notify::new()), self.failures.clone());
        let (tell, stopped) = oneshot::channel();
        let told = stop.clone();
        let task = self.worker_host.spawn(async move {
            if let Err(error) = worker.run_until(async move { told.notified().await }).await {
                failures.change(|failures| failures.push(format!("the worker failed: {error}")));
            }
            // Nobody may be waiting.
            let _ = tell.send(());
        });
        self.running().worker = Some(WorkerTask { _task: task, stop, stopped });
    }

    /// Ends the worker at once, as a crash of its process would.
    pub(super) fn kill_worker(&self) {
        let worker = self.running().worker.take();
        drop(worker);
        self.progress.change(Runs::worker_died);
    }

    /// Asks the worker to end its runs and waits until it has.
    ///
    /// # Panics
    ///
    /// When its runs do not end within two virtual hours: one stands at a barrier, or its model is silent.
    pub(super) async fn drain_worker(&self) {
        let worker = self.running().worker.take();
        if let Some(worker) = worker {
            worker.stop.notify_one();
            // A worker that failed has told why.
            if tokio::time::timeout(DRAIN_LIMIT, worker.stopped).await.is_err() {
                let last = self.progress.look(Runs::last_places);
                panic!("the worker did not end its runs within {DRAIN_LIMIT:?}; the last places were {last}");
            }
        }
    }

    /// Ends everything at once.
    pub(super) fn kill(&self) {
        let running = std::mem::take(&mut *self.running());
        drop(running);
    }

    /// Calls a run that has ended by another name: the server starts again on a disk where it always had it.
    pub(super) async fn rename_run(&self, run: &RunId, name: &str) -> Result<(), SetupError> {
        if self.is_remote {
            return Err(SetupError::refused("the server", "a run elsewhere cannot be given another name"));
        }
        let server = self.running().server.take();
        drop(server);
        self.until_address_is_free().await;
        let disk = lock(&self.disk).clone();
        let bytes = disk.read().map_err(|error| SetupError::refused("the disk", error))?;
        let text = String::from_utf8_lossy(&bytes).replace(&json!(run).to_string(), &json!(name).to_string());
        *lock(&self.disk) = Arc::new(MemoryDisk::with(text.into_bytes()));
        self.start_server().await
    }

    /// Waits for a server that has just been ended: it lets its address go when its task is next looked at.
    async fn until_address_is_free(&self) {
        for _ in 0..FREE_TRIES {
            if self.host.net().listen(SESSION_ADDR).await.is_ok() {
                return;
            }
            tokio::task::yield_now().await;
        }
    }

    /// Follows `out` of a session on a server that tells nothing by itself; commands are not to be had there.
    pub(super) fn follow(&self, chat: &str, session: SessionId) {
        let options = ReadOptions::new(chat, ChannelName::Out, self.secret_key.clone());
        let draws = self.host.entropy().child("mock-chat").child("follower").child(chat).draws();
        let mut reader = Reader::new(self.host.clone(), self.base.clone(), options, draws);
        let (journal, failures) = (self.journal.clone(), self.failures.clone());
        let task = self.host.spawn(async move {
            loop {
                match reader.next().await {
                    Ok(Some(part)) => {
                        journal.change(|sessions| sessions.add(&session, ChannelName::Out, record(part)));
                    }
                    Ok(None) => reader.resubscribe_after(FOLLOW_PAUSE),
                    Err(error) => {
                        failures.change(|failures| failures.push(format!("`out` cannot be followed: {error}")));
                        return;
                    }
                }
            }
        });
        self.running().followers.add(task);
    }

    /// Draws a part id.
    pub(super) fn part_id(&self) -> String {
        self.part_ids.alphanumeric(PART_ID_CHARACTERS)
    }

    pub(super) fn wire(&self) -> Wire {
        Wire::new(self.host.clone(), self.base.clone(), self.secret_key.clone())
    }

    /// Speaks to the server as the worker does, faults included.
    pub(super) fn worker_wire(&self) -> Wire {
        Wire::new(self.worker_host.clone(), self.worker_base.clone(), self.secret_key.clone())
    }

    /// Gives the id of a chat's session.
    pub(super) fn session(&self, chat: &str) -> Option<SessionId> {
        self.journal.look(|sessions| sessions.id(chat).cloned())
    }

    pub(super) fn warnings(&self) -> Vec<String> {
        lock(&self.warnings).clone()
    }

    fn running(&self) -> MutexGuard<'_, Running> {
        lock(&self.running)
    }
}

/// Gives a record as it was stored.
fn record(part: Part) -> Record {
    let body = match (&part.chunk, &part.part_id) {
        (Some(chunk), Some(id)) => json!({ "data": chunk, "id": id }).to_string(),
        (Some(chunk), None) => json!({ "data": chunk }).to_string(),
        (None, _) => String::new(),
    };
    Record { seq_num: part.seq_num, timestamp: part.timestamp, body, headers: part.headers }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

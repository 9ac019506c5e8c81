//! Sets the world up: host `session`, workers, the author's `app`, and one host per person.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use turnkeep_agent::{Agent, Worker, WorkerOptions};
use turnkeep_host::{Entropy, Host};
use turnkeep_session::conformance::{DiskLife, FaultyDisk};
use turnkeep_session::{Environment, MemoryStorage, RedbStorage, Server, Storage, StorageError};

use super::backend::Backend;
use super::host::world_host;
use super::net::Shapes;
use super::person::{Person, live};
use super::shelf::Shelf;
use super::sim::Machines;
use super::storage::Teller;
use super::tabs::{Room, person_of_tab};
use crate::app::AppDatabase;
use crate::model::{MockLanguageModel, ModelCall};
use crate::overheard::Overheard;
use crate::scenario::{Scenario, Step, Store};
use crate::trace::{Event, Trace};

/// What keeps the session server's objects; no host, but something with a disk.
const OBJECTS: &str = "objects";
/// Least and most milliseconds that a person's tabs need to hear each other; each run draws its own.
const TAB_DELAY_MS: [u64; 2] = [3, 20];
/// The chat of every story.
pub(super) const CHAT: &str = "chat-1";
/// The environment's secret key, known to workers and to the author's servers.
pub(super) const SECRET_KEY: &str = "tr_dev_worldSecret";
/// Where pages and workers find the session server.
pub(super) const SESSION_URL: &str = "http://session:80";
/// Where pages and agents find the author's application.
pub(super) const APP_URL: &str = "http://app:80";

/// What an author's worker process has at hand when it makes its agents.
#[derive(Clone, Debug)]
pub struct Backstage {
    /// The worker's machine.
    pub host: Host,
    /// The author's application: `GET` and `PUT /chats/{chat}`.
    pub app_url: String,
    /// How long a run waits warm between turns.
    pub idle_timeout: Duration,
    /// How long a suspended run waits before it ends.
    pub turn_timeout: Duration,
}

/// Makes the agent with an id; none when there is no such agent. Called on each boot of each worker.
pub type Cast = Arc<dyn Fn(&str, &Backstage) -> Option<Agent> + Send + Sync>;

/// A world ready for its story.
pub(super) struct Stage<'a> {
    pub(super) machines: Machines<'a>,
    pub(super) people: BTreeMap<String, Arc<Person>>,
    pub(super) model: MockLanguageModel,
    pub(super) trace: Trace,
    pub(super) backend: Backend,
    /// What keeps the session server's objects.
    objects: Arc<Shelf>,
    /// Whom each step of the story concerns, if a person.
    clients: Vec<Option<String>>,
}

impl Stage<'_> {
    pub(super) fn set(scenario: &Scenario, agent: &str, seed: u64, cast: &Cast, trace: &Trace) -> Self {
        let trace = trace.clone();
        let shapes = Shapes::default();
        let entropy = Entropy::from_seed(seed);
        let model = scripted_model(scenario, &trace);
        let site = Site { trace: trace.clone(), shapes: shapes.clone(), entropy: entropy.child("hosts") };
        let mut machines = Machines::new(seed, trace.clone(), shapes);
        let backend = Backend::default();
        let objects = add_session(&mut machines, &site, scenario, &backend);
        add_app(&mut machines, &site);
        for number in 1..=scenario.workers {
            add_worker(&mut machines, &site, scenario, &format!("worker-{number}"), agent, cast, &model);
        }
        let mut people = BTreeMap::new();
        for name in &scenario.people {
            let tabs = tabs_of(scenario, name, agent, (&trace, &backend), &entropy.child("tabs"));
            people.extend(tabs.iter().map(|tab| (tab.name.clone(), tab.clone())));
            let (site, boots, host) = (site.clone(), Boots::default(), name.clone());
            machines.add(name, FaultyDisk::new(), move || live(tabs.clone(), site.boot(&host, &boots)));
        }
        machines.draw_latencies(&entropy.child("latencies"), scenario.latency_ms);
        let clients = scenario.steps.iter().map(|step| step.client().map(str::to_owned)).collect();
        Self { machines, people, model, trace, backend, objects, clients }
    }

    /// Puts an empty backend in the place of the session server, which is down.
    pub(super) fn replace_backend(&mut self) {
        self.machines.wipe("session");
        self.objects.wipe();
        self.backend.replace();
    }

    /// Gives the person whom a step concerns.
    pub(super) fn scenario_client(&self, index: usize) -> Option<String> {
        self.clients.get(index).cloned().flatten()
    }
}

/// Makes a person in front of each tab that the story names, her first one first.
fn tabs_of(
    scenario: &Scenario,
    name: &str,
    agent: &str,
    (trace, backend): (&Trace, &Backend),
    seed: &Entropy,
) -> Vec<Arc<Person>> {
    let mut first = Person::new(name, CHAT, agent, scenario, trace.clone());
    first.backend = backend.clone();
    let named = scenario.steps.iter().filter_map(Step::client);
    let others: BTreeSet<&str> = named.filter(|tab| *tab != name && person_of_tab(tab) == name).collect();
    if !others.is_empty() {
        first.room = Some(Arc::new(Room::new(TAB_DELAY_MS, seed.child(name))));
    }
    let others: Vec<_> = others.into_iter().map(|tab| first.in_tab(tab, scenario)).collect();
    std::iter::once(first).chain(others).map(Arc::new).collect()
}

/// What every simulated machine is made from.
#[derive(Clone)]
struct Site {
    trace: Trace,
    shapes: Shapes,
    entropy: Entropy,
}

/// Counts a machine's boots.
#[derive(Clone, Default)]
struct Boots(Arc<AtomicU64>);

impl Site {
    fn boot(&self, name: &str, boots: &Boots) -> Host {
        let boot = boots.0.fetch_add(1, Ordering::Relaxed);
        self.trace.log(name, Event::Boot { boot });
        world_host(name, boot, &self.entropy, &self.trace, &self.shapes)
    }
}

fn scripted_model(scenario: &Scenario, trace: &Trace) -> MockLanguageModel {
    let trace = trace.clone();
    let observer = Arc::new(move |call: &ModelCall| {
        let event = Event::ModelCalled { call: call.number, asked: call.asked.clone(), n_messages: call.n_messages };
        trace.log("model", event);
    });
    MockLanguageModel::new()
        .script(scenario.model.iter().cloned())
        .pace(Duration::from_millis(scenario.pace_ms))
        .observe(observer)
}

fn add_session(machines: &mut Machines<'_>, site: &Site, scenario: &Scenario, backend: &Backend) -> Arc<Shelf> {
    let site = site.clone();
    let (disk, boots) = (FaultyDisk::new(), Boots::default());
    let shelf_disk = FaultyDisk::new();
    let objects = Arc::new(Shelf::new(shelf_disk.life()));
    machines.add_shelf(OBJECTS, shelf_disk);
    let teller = Teller::new(site.trace.clone(), objects.clone(), backend.clone());
    let kept = objects.clone();
    let (lease, store) = (Duration::from_millis(scenario.lease_ms), scenario.store);
    machines.add("session", disk.clone(), move || {
        let host = site.boot("session", &boots);
        let (trace, disk, teller, objects) = (site.trace.clone(), disk.clone(), teller.clone(), objects.clone());
        async move {
            let failed = match open(store, &host, disk.life()).await {
                Ok(storage) => {
                    let storage = Overheard::new(storage, teller);
                    let server = Server::new(host, Arc::new(storage), objects, environment()).lease(lease);
                    let Err(error) = server.serve("0.0.0.0:80").await;
                    error.to_string()
                }
                Err(error) => error.to_string(),
            };
            trace.log("session", Event::ServerFailed { error: failed });
        }
    });
    kept
}

/// Gives the environment of every story.
pub(super) fn environment() -> Environment {
    Environment::new("env_world", SECRET_KEY)
}

/// Opens the session server's store for one life of its process.
pub(super) async fn open(store: Store, host: &Host, disk: DiskLife) -> Result<Arc<dyn Storage>, StorageError> {
    Ok(match store {
        Store::Journal => Arc::new(MemoryStorage::open(Arc::new(disk))),
        Store::Redb => Arc::new(RedbStorage::open(host, "the store", disk).await?),
    })
}

fn add_app(machines: &mut Machines<'_>, site: &Site) {
    let site = site.clone();
    let boots = Boots::default();
    let trace = site.trace.clone();
    let database = AppDatabase::new().observe(Arc::new(move |chat, row| {
        let (messages, cursor) = (row.messages.clone(), row.last_event_id);
        trace.log("app", Event::AppWrote { chat: chat.to_owned(), messages, cursor });
    }));
    machines.add("app", FaultyDisk::new(), move || {
        let host = site.boot("app", &boots);
        let (database, trace) = (database.clone(), site.trace.clone());
        async move {
            let Err(error) = database.serve(host, "0.0.0.0:80").await;
            trace.log("app", Event::ServerFailed { error: error.to_string() });
        }
    });
}

fn add_worker(
    machines: &mut Machines<'_>,
    site: &Site,
    scenario: &Scenario,
    name: &str,
    agent: &str,
    cast: &Cast,
    model: &MockLanguageModel,
) {
    let site = site.clone();
    let boots = Boots::default();
    let (name, agent, cast, model) = (name.to_owned(), agent.to_owned(), cast.clone(), model.clone());
    let heartbeat = Duration::from_millis((scenario.lease_ms / 4).max(1));
    let idle_timeout = Duration::from_millis(scenario.idle_ms);
    let turn_timeout = Duration::from_millis(scenario.turn_timeout_ms);
    let host_name = name.clone();
    machines.add(&host_name, FaultyDisk::new(), move || {
        let host = site.boot(&name, &boots);
        let backstage = Backstage { host: host.clone(), app_url: APP_URL.to_owned(), idle_timeout, turn_timeout };
        let agent = cast(&agent, &backstage);
        let options = WorkerOptions { heartbeat, ..WorkerOptions::new(SESSION_URL, SECRET_KEY, &name) };
        let model = Arc::new(model.clone());
        let (trace, name) = (site.trace.clone(), name.clone());
        async move {
            let agent = agent.expect("the cast was asked before the story began");
            let Err(error) = Worker::new(host, options).model(model).agent(agent).run().await;
            trace.log(&name, Event::ServerFailed { error: error.to_string() });
        }
    });
}

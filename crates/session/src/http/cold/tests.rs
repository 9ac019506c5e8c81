//! The world moves on while a handler looks into the store: the tests' store lets it, before and after each look.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::time::Duration;

use futures::future::BoxFuture;
use serde_json::json;
use tokio_util::sync::CancellationToken;
use turnkeep_host::{Host, Task, Timestamp};
use turnkeep_protocol::{NewRecord, SessionId};

use super::*;
use crate::actor::Driver;
use crate::core::NewSession;
use crate::objects::Objects;
use crate::trims::TRIM_GRACE;
use crate::{
    Bounds, Change, Environment, InMemoryObjects, Loaded, MemoryDisk, MemoryStorage, Part, RunRow, Storage,
    StorageError, StoreId, Window, Windows,
};

const IN: ChannelName = ChannelName::In;
const OUT: ChannelName = ChannelName::Out;

/// No window at all: every record and every part id is cold once it is stored.
const NOTHING: Windows = Windows::all(Window { records: Bounds { records: 0, bytes: 0 }, parts: 0 });

/// More looks than any request takes; a test that reaches them has no bound.
const TOO_MANY: usize = 4 * MAX_LOOKS;

/// Does something during the look of that number, from 0.
type Meanwhile = Arc<dyn Fn(Arc<App>, usize) -> BoxFuture<'static, ()> + Send + Sync>;

/// A store that lets things happen around its looks.
struct Slow {
    inner: MemoryStorage,
    app: OnceLock<Weak<App>>,
    looks: AtomicUsize,
    before: Mutex<Option<Meanwhile>>,
    after: Mutex<Option<Meanwhile>>,
}

impl Slow {
    async fn look<T>(&self, look: impl Future<Output = Result<T, StorageError>>) -> Result<T, StorageError> {
        let n = self.looks.fetch_add(1, Ordering::SeqCst);
        assert!(n < TOO_MANY, "it looks for ever");
        self.meanwhile(&self.before, n).await;
        let found = look.await;
        self.meanwhile(&self.after, n).await;
        found
    }

    async fn meanwhile(&self, what: &Mutex<Option<Meanwhile>>, n: usize) {
        let what = what.lock().unwrap().clone();
        if let Some(what) = what {
            what(self.app.get().and_then(Weak::upgrade).expect("a handler runs"), n).await;
        }
    }
}

impl Storage for Slow {
    fn load(&self, windows: Windows) -> BoxFuture<'_, Result<Loaded, StorageError>> {
        self.inner.load(windows)
    }

    fn commit(&self, changes: Vec<Change>) -> BoxFuture<'_, Result<(), StorageError>> {
        self.inner.commit(changes)
    }

    fn read(
        &self,
        session: SessionId,
        channel: ChannelName,
        from: SeqNum,
        bounds: Bounds,
    ) -> BoxFuture<'_, Result<Vec<Record>, StorageError>> {
        Box::pin(self.look(async move { self.inner.read(session, channel, from, bounds).await }))
    }

    fn part(
        &self,
        session: SessionId,
        channel: ChannelName,
        part: PartId,
    ) -> BoxFuture<'_, Result<Option<Part>, StorageError>> {
        Box::pin(self.look(async move { self.inner.part(session, channel, part).await }))
    }

    fn run(&self, run: RunId) -> BoxFuture<'_, Result<Option<RunRow>, StorageError>> {
        Box::pin(self.look(async move { self.inner.run(run).await }))
    }
}

/// A server's handlers over the slow store, with a session `chat`.
struct Fixture {
    app: Arc<App>,
    store: Arc<Slow>,
    _driver: Task,
}

async fn start() -> Fixture {
    let host = Host::os();
    let store = Arc::new(Slow {
        inner: MemoryStorage::open(Arc::new(MemoryDisk::new())),
        app: OnceLock::new(),
        looks: AtomicUsize::new(0),
        before: Mutex::default(),
        after: Mutex::default(),
    });
    let loaded = store.load(NOTHING).await.unwrap();
    let core = Core::load(loaded, host.entropy().draws(), Duration::from_secs(10)).with_windows(NOTHING);
    let (driver, actor) = Driver::new(core, store.clone(), host.clone());
    let driver = host.spawn(async move { driver.run().await.unwrap() });
    let environment = Environment::new("env_1", "secret");
    let objects = Objects::new(Arc::new(InMemoryObjects::new()), &environment, host.entropy().draws(), StoreId(1));
    let app = App::new(host, actor, store.clone(), objects, environment, CancellationToken::new());
    assert!(store.app.set(Arc::downgrade(&app)).is_ok());
    let create = |core: &mut Core, now| {
        let new = NewSession { external_id: Some("chat".to_owned()), ..NewSession::plain() };
        core.create(now, new).unwrap();
    };
    app.actor.call(create).await.unwrap();
    Fixture { app, store, _driver: driver }
}

impl Fixture {
    /// Lets something happen before each look: the store knows of it then.
    fn before<F: Future<Output = ()> + Send + 'static>(
        &self,
        what: impl Fn(Arc<App>, usize) -> F + Send + Sync + 'static,
    ) {
        *self.store.before.lock().unwrap() = Some(Arc::new(move |app, n| Box::pin(what(app, n))));
    }

    /// Lets something happen after each look, before its result is back.
    fn after<F: Future<Output = ()> + Send + 'static>(
        &self,
        what: impl Fn(Arc<App>, usize) -> F + Send + Sync + 'static,
    ) {
        *self.store.after.lock().unwrap() = Some(Arc::new(move |app, n| Box::pin(what(app, n))));
    }

    fn looks(&self) -> usize {
        self.store.looks.load(Ordering::SeqCst)
    }

    /// Reads a helping of `out` from its beginning.
    async fn help(&self) -> Result<Helping, Refused> {
        self.app.helping("chat", OUT, SeqNum::ZERO).await.unwrap()
    }

    async fn drain(&self) -> Result<Vec<u64>, Refused> {
        let drained = self.app.drain("chat", OUT, None).await.unwrap();
        drained.map(|records| records.iter().map(|record| record.seq_num.get()).collect())
    }

    /// Appends to `in` under a part id, as the route does.
    async fn append_once(&self, part: &str) -> Result<SeqNum, Refused> {
        let part = Some(PartId::new(part));
        let named = part.clone();
        let append = move |core: &mut Core, now: Timestamp, looked: Option<&Looked>| {
            core.append(now, "chat", IN, "hello", named.clone(), None, looked)
        };
        self.app.write_once(part, append).await.unwrap()
    }
}

/// Writes records to `out`.
async fn write(app: &App, records: impl IntoIterator<Item = NewRecord>) {
    let records: Vec<NewRecord> = records.into_iter().collect();
    let write = move |core: &mut Core, now: Timestamp| {
        let written = core.write_out(now, "chat", None, &records, None, None);
        // A trim among them takes effect at once, as if its time had passed.
        // It takes effect at a whole second.
        core.tick(now.plus(TRIM_GRACE + Duration::from_secs(1)));
        written
    };
    app.actor.call(write).await.unwrap().unwrap();
}

/// Appends to `in` under a part id, whatever the store would say of it.
async fn append(app: &App, part: &str) {
    let nothing = Looked { up_to: SeqNum::new(u64::MAX), found: None };
    let part = Some(PartId::new(part));
    let append = move |core: &mut Core, now| core.append(now, "chat", IN, "hello", part, None, Some(&nothing));
    app.actor.call(append).await.unwrap().unwrap();
}

fn data(n: u64) -> NewRecord {
    NewRecord::data(&json!(n), &PartId::new("p"))
}

fn trim(first: u64) -> NewRecord {
    NewRecord::trim(SeqNum::new(first))
}

fn seqs(helping: &Helping) -> Vec<u64> {
    helping.records.iter().map(|record| record.seq_num.get()).collect()
}

#[tokio::test]
async fn a_helping_ends_at_the_tail_that_is_told_with_it_s109() {
    let world = start().await;
    write(&world.app, [data(0), data(1), data(2)]).await;
    world.before(async |app, _| write(&app, [data(3)]).await);

    let helping = world.help().await.unwrap();

    assert_eq!((seqs(&helping), helping.tail.seq_num.get()), (vec![0, 1, 2], 3));
}

#[tokio::test]
async fn a_reader_goes_on_at_what_is_left_when_all_it_wanted_was_trimmed_meanwhile_d7() {
    let world = start().await;
    write(&world.app, [data(0), data(1), data(2)]).await;
    world.before(async |app, n| {
        if n == 0 {
            write(&app, [trim(3), data(4)]).await;
        }
    });

    let helping = world.help().await.unwrap();

    assert_eq!((seqs(&helping), helping.tail.seq_num.get()), (vec![3, 4], 5));
    assert_eq!(world.looks(), 2);
}

#[tokio::test]
async fn a_reader_that_is_outrun_by_trims_at_every_look_is_told_so() {
    let world = start().await;
    write(&world.app, [data(0)]).await;
    // Each look is for the trim of the one before it, and nothing older.
    world.before(async |app, n| write(&app, [trim(n as u64 + 1)]).await);

    let helping = world.help().await;

    assert_eq!(helping.unwrap_err(), Refused::Busy);
    assert_eq!(world.looks(), MAX_LOOKS);
}

#[tokio::test]
async fn a_drain_gives_what_there_was_when_it_was_asked() {
    let world = start().await;
    write(&world.app, [data(0), trim(0), data(2)]).await;
    world.before(async |app, _| write(&app, [data(3)]).await);

    assert_eq!(world.drain().await, Ok(vec![0, 2]), "commands are left out (S-98)");
}

#[tokio::test]
async fn a_drain_that_found_only_commands_or_nothing_goes_on_behind_them_s97_s98() {
    let commands = start().await;
    write(&commands.app, [trim(0), trim(0), trim(0)]).await;
    commands.before(async |app, n| {
        if n == 0 {
            write(&app, [data(3)]).await;
        }
    });
    let trimmed = start().await;
    write(&trimmed.app, [data(0), data(1)]).await;
    trimmed.before(async |app, n| {
        if n == 0 {
            write(&app, [trim(2), data(3)]).await;
        }
    });

    assert_eq!((commands.drain().await, commands.looks()), (Ok(vec![3]), 2));
    assert_eq!((trimmed.drain().await, trimmed.looks()), (Ok(vec![3]), 2));
}

#[tokio::test]
async fn a_drain_of_nothing_but_commands_is_empty() {
    let world = start().await;
    write(&world.app, [trim(0), trim(0)]).await;

    assert_eq!((world.drain().await, world.looks()), (Ok(Vec::new()), 1));
}

#[tokio::test]
async fn a_drain_that_is_outrun_by_trims_at_every_look_is_told_so() {
    let world = start().await;
    write(&world.app, [data(0)]).await;
    world.before(async |app, n| write(&app, [trim(n as u64 + 1)]).await);

    assert_eq!(world.drain().await, Err(Refused::Busy));
    assert_eq!(world.looks(), MAX_LOOKS);
}

#[tokio::test]
async fn a_retry_finds_its_cold_part_and_a_new_part_its_place_d6_s76() {
    let world = start().await;
    let places = [world.append_once("a").await, world.append_once("b").await, world.append_once("a").await];

    assert_eq!(places, [Ok(SeqNum::new(0)), Ok(SeqNum::new(1)), Ok(SeqNum::new(0))]);
    assert_eq!(world.looks(), 2, "an empty channel is not looked into");
}

#[tokio::test]
async fn a_part_that_was_written_between_the_look_and_its_return_is_still_found_d6_sr18() {
    let world = start().await;
    append(&world.app, "other").await;
    // Another try of the same append wins; by the time that the look is back, its part is cold as well.
    world.after(async |app, n| {
        if n == 0 {
            append(&app, "a").await;
        }
    });

    let place = world.append_once("a").await;

    assert_eq!((place, world.looks()), (Ok(SeqNum::new(1)), 2), "the first look is too old to tell");
}

#[tokio::test]
async fn a_write_that_is_outrun_at_every_look_is_told_so_and_writes_nothing() {
    let world = start().await;
    append(&world.app, "other").await;
    world.after(async |app, n| append(&app, &format!("more-{n}")).await);

    assert_eq!(world.append_once("a").await, Err(Refused::Busy));

    assert_eq!(world.looks(), MAX_LOOKS);
    *world.store.after.lock().unwrap() = None;
    let tail = world.app.actor.call(|core, _| core.find("chat").unwrap().input.tail()).await.unwrap();
    assert_eq!(tail.get(), 1 + MAX_LOOKS as u64);
}

#[tokio::test]
async fn a_run_that_memory_does_not_know_is_looked_for_once() {
    let world = start().await;
    let ask = async |run: RunId| {
        let known = move |core: &mut Core, _: Timestamp, look| core.check_run(&run, look);
        world.app.with_run(known).await.unwrap()
    };
    let first = world.app.actor.call(|core, _| core.find("chat").unwrap().row.current_run.clone()).await.unwrap();

    assert_eq!((ask(first.unwrap()).await, world.looks()), (Ok(()), 0));
    assert_eq!((ask(RunId::new("run_none")).await, world.looks()), (Err(Refused::NoRun), 1));
}

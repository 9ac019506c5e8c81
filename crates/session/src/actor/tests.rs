//! The driver over a store whose commits can be held, and under a wall clock that can be set.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use tokio::sync::Semaphore;
use turnkeep_host::Clock;
use turnkeep_protocol::run_api::LeaseRequest;
use turnkeep_protocol::{PartId, Record, RunId, SeqNum, SessionId, TaskId, WorkerId};

use super::*;
use crate::core::{NewSession, RunLook};
use crate::{Bounds, Loaded, Part, RecordWriter, RunRow, StorageError, Windows};

/// A store whose commits wait to be let through, one permit each.
struct Gate {
    permits: Semaphore,
    commits: Mutex<Vec<usize>>,
}

impl Storage for Gate {
    fn load(&self, _: Windows) -> BoxFuture<'_, Result<Loaded, StorageError>> {
        Box::pin(async { Ok(Loaded::default()) })
    }

    fn commit(&self, changes: Vec<Change>) -> BoxFuture<'_, Result<(), StorageError>> {
        Box::pin(async move {
            self.permits.acquire().await.expect("never closed").forget();
            self.commits.lock().unwrap().push(changes.len());
            Ok(())
        })
    }

    fn read(
        &self,
        _: SessionId,
        _: ChannelName,
        _: SeqNum,
        _: Bounds,
    ) -> BoxFuture<'_, Result<Vec<Record>, StorageError>> {
        Box::pin(async { Ok(Vec::new()) })
    }

    fn part(&self, _: SessionId, _: ChannelName, _: PartId) -> BoxFuture<'_, Result<Option<Part>, StorageError>> {
        Box::pin(async { Ok(None) })
    }

    fn run(&self, _: RunId) -> BoxFuture<'_, Result<Option<RunRow>, StorageError>> {
        Box::pin(async { Ok(None) })
    }
}

fn start(permits: usize) -> (BoxFuture<'static, Result<(), Error>>, Actor, Arc<Gate>) {
    start_on(Host::os(), permits)
}

fn start_on(host: Host, permits: usize) -> (BoxFuture<'static, Result<(), Error>>, Actor, Arc<Gate>) {
    let gate = Arc::new(Gate { permits: Semaphore::new(permits), commits: Mutex::new(Vec::new()) });
    let core = Core::load(Loaded::default(), host.entropy().draws(), Duration::from_secs(10));
    let (driver, actor) = Driver::new(core, gate.clone(), host);
    (driver.run().boxed(), actor, gate)
}

/// A command with one change: a new session without external id.
fn create(core: &mut Core, now: Timestamp) -> SessionId {
    core.create(now, NewSession::plain()).expect("nothing to refuse").row.id
}

/// A wall clock that goes with the test's time and can be set.
#[derive(Clone)]
struct SetClock {
    started: Instant,
    at_start: Arc<AtomicU64>,
}

impl Clock for SetClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.at_start.load(Ordering::Relaxed)).plus(self.started.elapsed())
    }
}

impl SetClock {
    const AT_START: u64 = 1_700_000_000_000;

    fn new() -> Self {
        Self { started: Instant::now(), at_start: Arc::new(Self::AT_START.into()) }
    }

    /// Puts it ahead of the time that has passed, or behind.
    fn set(&self, by_seconds: i64) {
        let at_start = Self::AT_START.checked_add_signed(by_seconds * 1000).unwrap();
        self.at_start.store(at_start, Ordering::Relaxed);
    }
}

/// Asks for a run and gives its lease, if one is queued.
async fn lease(actor: &Actor) -> Option<RecordWriter> {
    let request = LeaseRequest {
        worker_id: WorkerId::new("w"),
        task_ids: vec![TaskId::new("agent")],
        version: "1".to_owned(),
        timeout_in_seconds: 0,
    };
    let run = actor.call(move |core, now| core.lease(now, &request)).await.unwrap()?;
    Some(RecordWriter { run: run.run_id, attempt: run.attempt })
}

async fn beat(actor: &Actor, writer: &RecordWriter) -> bool {
    let writer = writer.clone();
    let beat = move |core: &mut Core, now| core.heartbeat(now, &writer, None, None, RunLook::NotYet);
    actor.call(beat).await.unwrap().is_ok()
}

#[tokio::test(start_paused = true)]
async fn a_wall_clock_that_is_set_ends_no_lease_and_keeps_nobody_waiting_d84_d9() {
    for by_seconds in [15, -3600, 86_400, 0] {
        let clock = SetClock::new();
        let (driver, actor, _) = start_on(Host::os().with_clock(clock.clone()), 99);
        let told = async {
            actor.call(create).await.unwrap();
            let writer = lease(&actor).await.expect("a run is queued");

            clock.set(by_seconds);

            tokio::time::sleep(Duration::from_millis(9800)).await;
            assert!(beat(&actor, &writer).await, "{by_seconds}: a lease of 10 s is over after 9.8 s");
            tokio::time::sleep(Duration::from_millis(9800)).await;
            assert!(lease(&actor).await.is_none(), "{by_seconds}: the next attempt began after 9.8 s");
            tokio::time::sleep(Duration::from_millis(400)).await;
            assert!(lease(&actor).await.is_some(), "{by_seconds}: a lease of 10 s still stands after 10.2 s");
        };
        tokio::select! {
            biased;
            ended = driver => panic!("{ended:?}"),
            () = told => {}
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_due_wakes_the_driver_though_the_wall_clock_was_set_back_d84() {
    let clock = SetClock::new();
    let (driver, actor, gate) = start_on(Host::os().with_clock(clock.clone()), 99);
    let told = async {
        actor.call(create).await.unwrap();
        lease(&actor).await.expect("a run is queued");
        let before = gate.commits.lock().unwrap().len();
        clock.set(-3600);

        tokio::time::sleep(Duration::from_millis(10_200)).await;

        assert_eq!(gate.commits.lock().unwrap().len(), before + 1, "the lapse, without anybody asking");
    };
    tokio::select! {
        biased;
        ended = driver => panic!("{ended:?}"),
        () = told => {}
    }
}

#[tokio::test]
async fn commands_that_wait_together_share_one_commit() {
    let (mut driver, actor, gate) = start(9);
    let calls = futures::future::join_all((0..5).map(|_| actor.call(create)));
    let mut calls = std::pin::pin!(calls);
    assert!(calls.as_mut().now_or_never().is_none(), "sent, and the driver has not run yet");

    assert!((&mut driver).now_or_never().is_none());

    assert_eq!(calls.await.len(), 5);
    assert_eq!(*gate.commits.lock().unwrap(), [15], "three changes each, in one commit");
}

#[tokio::test]
async fn nobody_is_answered_or_sees_a_change_before_it_is_durable_d12() {
    let (mut driver, actor, gate) = start(0);
    let mut call = std::pin::pin!(actor.call(create));
    assert!(call.as_mut().now_or_never().is_none());
    assert!((&mut driver).now_or_never().is_none());
    let mut read = std::pin::pin!(actor.call(|core, _| core.next_deadline()));

    assert!(call.as_mut().now_or_never().is_none());
    assert!(read.as_mut().now_or_never().is_none());
    assert!((&mut driver).now_or_never().is_none());
    assert!(read.as_mut().now_or_never().is_none(), "reads wait in the same line");

    gate.permits.add_permits(1);
    assert!((&mut driver).now_or_never().is_none());
    assert!(call.as_mut().now_or_never().is_some());
    assert!(read.as_mut().now_or_never().is_some());
}

#[tokio::test]
async fn a_command_is_applied_even_when_its_sender_has_gone() {
    let (mut driver, actor, gate) = start(9);
    assert!(actor.call(create).now_or_never().is_none());

    assert!((&mut driver).now_or_never().is_none());

    assert_eq!(*gate.commits.lock().unwrap(), [3]);
}

#[tokio::test]
async fn nothing_is_handed_to_a_sender_that_has_gone() {
    let (mut driver, actor, gate) = start(9);
    assert!(actor.call_while_waiting(create).now_or_never().is_none());

    assert!((&mut driver).now_or_never().is_none());

    assert!(gate.commits.lock().unwrap().is_empty());
}

#[tokio::test]
async fn reads_alone_commit_nothing() {
    let (mut driver, actor, gate) = start(0);
    let mut read = std::pin::pin!(
        actor.call(|core, _| core.read("chat", turnkeep_protocol::ChannelName::In, SeqNum::ZERO).is_ok())
    );
    assert!(read.as_mut().now_or_never().is_none());

    assert!((&mut driver).now_or_never().is_none());

    assert_eq!(read.now_or_never().map(Result::unwrap), Some(true));
    assert!(gate.commits.lock().unwrap().is_empty());
}

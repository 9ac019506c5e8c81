//! The one task that owns the core: commands in, one commit for many, answers only after it (D-12).
//!
//! A command is applied whether or not its sender still waits for the answer, so a cancelled handler never leaves half a step.
//! Reads take the same way, so nobody ever sees a state that a crash could take back.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use turnkeep_host::{Host, Timestamp};
use turnkeep_protocol::ChannelName;

use crate::core::Core;
use crate::metrics::Metrics;
use crate::wakes::{Wake, Wakes};
use crate::{Change, Error, RunStatus, Storage};

/// Commands that wait for the core; a further sender waits for room.
const MAILBOX: usize = 1024;

/// Commands that share one commit.
const MAX_GROUP: usize = 64;

type Work = Box<dyn FnOnce(&mut Core, Timestamp) -> Reply + Send>;
type Reply = Box<dyn FnOnce() + Send>;

/// The server stopped before the command was answered; it may or may not have been applied.
#[derive(Debug)]
pub(crate) struct Stopped;

/// Sends commands to the core.
#[derive(Clone)]
pub(crate) struct Actor {
    mailbox: mpsc::Sender<Work>,
    wakes: Arc<Wakes>,
    metrics: Arc<Metrics>,
}

impl Actor {
    /// Runs `command` on the core and gives its result once everything it changed is durable.
    pub(crate) async fn call<T: Send + 'static>(
        &self,
        command: impl FnOnce(&mut Core, Timestamp) -> T + Send + 'static,
    ) -> Result<T, Stopped> {
        self.send(false, command).await
    }

    /// Runs `command` unless its sender has gone by the time its turn comes: for commands that hand something over.
    pub(crate) async fn call_while_waiting<T: Send + 'static>(
        &self,
        command: impl FnOnce(&mut Core, Timestamp) -> T + Send + 'static,
    ) -> Result<T, Stopped> {
        self.send(true, command).await
    }

    async fn send<T: Send + 'static>(
        &self,
        only_while_waiting: bool,
        command: impl FnOnce(&mut Core, Timestamp) -> T + Send + 'static,
    ) -> Result<T, Stopped> {
        let (reply, answer) = oneshot::channel();
        let work: Work = Box::new(move |core, now| {
            if only_while_waiting && reply.is_closed() {
                return Box::new(|| {});
            }
            let result = command(core, now);
            Box::new(move || _ = reply.send(result))
        });
        self.mailbox.send(work).await.map_err(|_| Stopped)?;
        answer.await.map_err(|_| Stopped)
    }

    /// Gives what is counted.
    pub(crate) fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    /// Gives the bells that ring after a commit.
    pub(crate) fn wakes(&self) -> &Wakes {
        &self.wakes
    }
}

/// Owns the core and drives it.
pub(crate) struct Driver {
    core: Core,
    storage: Arc<dyn Storage>,
    host: Host,
    mailbox: mpsc::Receiver<Work>,
    wakes: Arc<Wakes>,
    metrics: Arc<Metrics>,
}

impl Driver {
    /// Makes a driver and the way to reach it.
    pub(crate) fn new(core: Core, storage: Arc<dyn Storage>, host: Host) -> (Self, Actor) {
        let (sender, mailbox) = mpsc::channel(MAILBOX);
        let wakes = Arc::new(Wakes::default());
        let metrics = Arc::new(Metrics::new());
        let actor = Actor { mailbox: sender, wakes: wakes.clone(), metrics: metrics.clone() };
        (Self { core, storage, host, mailbox, wakes, metrics }, actor)
    }

    /// Serves commands and timers until a commit fails, or until every [`Actor`] is gone.
    pub(crate) async fn run(mut self) -> Result<(), Error> {
        let mut group = Vec::with_capacity(MAX_GROUP);
        loop {
            let wait = self.core.next_deadline().map(|deadline| deadline.since(self.host.clock().now()));
            tokio::select! {
                biased;
                received = self.mailbox.recv_many(&mut group, MAX_GROUP) => {
                    if received == 0 {
                        return Ok(());
                    }
                }
                () = sleep(wait) => {}
            }
            self.step(&mut group).await?;
        }
    }

    async fn step(&mut self, group: &mut Vec<Work>) -> Result<(), Error> {
        let now = self.host.clock().now();
        self.core.tick(now);
        let core = &mut self.core;
        let replies: Vec<Reply> = group.drain(..).map(|work| work(core, now)).collect();
        let changes = self.core.take_changes();
        let bells: Vec<Wake> = changes.iter().flat_map(|change| self.bells(change)).collect();
        if !changes.is_empty() {
            let (counted, began) = (self.metrics.count(&changes), Instant::now());
            self.storage.commit(changes).await?;
            counted.became_durable(began.elapsed());
            self.core.committed();
        }
        for reply in replies {
            reply();
        }
        self.wakes.ring(bells);
        Ok(())
    }

    /// Says who may want to look again after `change`. Too many is harmless, too few is a stall.
    fn bells(&self, change: &Change) -> Vec<Wake> {
        let key = |session: &turnkeep_protocol::SessionId| {
            let session = self.core.find(session.as_str()).expect("a change names a session that exists");
            session.row.key().to_owned()
        };
        match change {
            Change::Record { session, channel, .. } => vec![Wake::Channel(key(session), *channel)],
            // What a closed session owes decides whether its readers may go (D-37).
            Change::Cursors { session, .. } => vec![Wake::Channel(key(session), ChannelName::Out)],
            Change::Session { row } => Wake::both(row.key()).into(),
            Change::Run { row } => {
                let queued = (row.status == RunStatus::Queued).then_some(Wake::Queue);
                Wake::both(&key(&row.session)).into_iter().chain(queued).collect()
            }
            Change::Waitpoint { row } => vec![Wake::Waitpoint(row.id.clone())],
            Change::WaitpointGone { waitpoint } => vec![Wake::Waitpoint(waitpoint.clone())],
            Change::Trim { .. } | Change::Lease { .. } | Change::Snapshot { .. } => Vec::new(),
        }
    }
}

async fn sleep(wait: Option<std::time::Duration>) {
    match wait {
        Some(wait) => tokio::time::sleep(wait).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::time::Duration;

    use futures::FutureExt as _;
    use futures::future::BoxFuture;
    use tokio::sync::Semaphore;
    use turnkeep_protocol::{PartId, Record, RunId, SeqNum, SessionId};

    use super::*;
    use crate::{Bounds, Loaded, Part, RunRow, StorageError, Windows};

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
        let gate = Arc::new(Gate { permits: Semaphore::new(permits), commits: Mutex::new(Vec::new()) });
        let host = Host::os();
        let core = Core::load(Loaded::default(), host.entropy().draws(), Duration::from_secs(10));
        let (driver, actor) = Driver::new(core, gate.clone(), host);
        (driver.run().boxed(), actor, gate)
    }

    /// A command with one change: a new session without external id.
    fn create(core: &mut Core, now: Timestamp) -> SessionId {
        let new = crate::core::NewSession {
            kind: "chat.agent".to_owned(),
            task_id: turnkeep_protocol::TaskId::new("agent"),
            trigger_config: Default::default(),
            external_id: None,
            tags: Vec::new(),
            metadata: None,
            expires_at: None,
        };
        core.create(now, new).expect("nothing to refuse").row.id
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
}

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
use crate::steady::SteadyClock;
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
    clock: Arc<SteadyClock>,
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

    /// Gives the clock that the core's times are of.
    pub(crate) fn clock(&self) -> &SteadyClock {
        &self.clock
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
    clock: Arc<SteadyClock>,
    mailbox: mpsc::Receiver<Work>,
    wakes: Arc<Wakes>,
    metrics: Arc<Metrics>,
}

impl Driver {
    /// Makes a driver and the way to reach it.
    pub(crate) fn new(core: Core, storage: Arc<dyn Storage>, host: Host) -> (Self, Actor) {
        let (sender, mailbox) = mpsc::channel(MAILBOX);
        let (wakes, metrics) = (Arc::new(Wakes::default()), Arc::new(Metrics::new()));
        let clock = Arc::new(SteadyClock::start(host));
        let actor = Actor { mailbox: sender, clock: clock.clone(), wakes: wakes.clone(), metrics: metrics.clone() };
        (Self { core, storage, clock, mailbox, wakes, metrics }, actor)
    }

    /// Serves commands and timers until a commit fails, or until every [`Actor`] is gone.
    pub(crate) async fn run(mut self) -> Result<(), Error> {
        let mut group = Vec::with_capacity(MAX_GROUP);
        self.core.resume(self.clock.now());
        loop {
            let wait = self.core.next_deadline().map(|deadline| deadline.since(self.clock.now()));
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
        let now = self.clock.now();
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
            Change::Trim { .. } | Change::Lease { .. } | Change::Snapshot { .. } | Change::Store { .. } => Vec::new(),
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
mod tests;

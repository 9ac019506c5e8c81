//! The session server's decisions, without async, clock or I/O: commands in, changes out.
//!
//! Every command first decides and then records its [`Change`]s through one door, [`Core::put`], which also applies them. So a
//! refused command leaves nothing behind, and folding the changes again gives the same state.

mod append;
mod create;
mod lifecycle;
mod list;
mod read;
mod runs;
mod snapshots;
mod state;
mod swap;
mod wait_index;
mod waits;

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::time::Duration;

use turnkeep_host::{Draws, Timestamp};
use turnkeep_protocol::{ChannelName, RunId, SeqNum, SessionId, WaitpointId};

pub(crate) use create::{NewSession, item, listed};
pub(crate) use list::{Direction, Query};
pub(crate) use read::{Cold, DRAIN, Drained, Helping, shown};
pub(crate) use runs::{RunLook, cancelled_in};
pub(crate) use snapshots::end_of;
use state::{Session, State};
pub(crate) use swap::NewSwap;
pub(crate) use waits::{MAX_PENDING, NewWait};

use crate::Change;
pub(crate) use crate::RecordWriter as Writer;
pub(crate) use crate::channel::Looked;
use crate::metrics::RunCounts;
use crate::storage::{Loaded, WINDOWS, Windows, session_of};

/// Trims that take effect in one step; further ones wait for the next, which is due at once. They share its commit with whatever people
/// wait for, so they are few.
const TRIMS_PER_TICK: usize = 4;

/// Leases that lapse in one step, and waits whose time is up; further ones wait likewise. A server that was down or held up finds those of
/// all its workers due at once.
const LAPSES_PER_TICK: usize = 64;
const TIMEOUTS_PER_TICK: usize = 64;

/// Why a command was refused; nothing has changed then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// No such session in this environment.
    NoSession,
    /// No such run.
    NoRun,
    /// No such waitpoint.
    NoWaitpoint,
    /// The session is closed (D-1).
    Closed {
        /// Why it was closed.
        reason: Option<String>,
    },
    /// The session has expired (D-1).
    Expired,
    /// The writer does not hold the run's lease (D-36).
    LeaseLost,
    /// The run was cancelled while the writer held its lease (D-70).
    RunCancelled,
    /// A newer snapshot is stored already (S-91).
    OldSnapshot {
        /// The stored one's `lastOutEventId`.
        stored: SeqNum,
    },
    /// The run that asked for a successor does not exist (S-45).
    NoCallingRun,
    /// The run asked for a successor without having done anything that its predecessor did not do (D-34).
    SwapLoop,
    /// The run has as many pending waitpoints as a run may have (D-85).
    TooManyWaits,
    /// A record is larger than a record may be (S-71).
    TooLarge {
        /// Its metered size.
        metered: usize,
    },
    /// Whether the part id is known cannot be told from memory: ask the store, then ask again with what it says (D-6).
    ColdPart(ColdPart),
    /// Whether the run ever existed cannot be told from memory: ask the store, then ask again.
    ColdRun(RunId),
    /// So much was written meanwhile that it could not be told: later, perhaps.
    Busy,
    /// The request makes no sense; the text says why.
    Invalid(String),
}

/// Where the store must look for a part id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ColdPart {
    /// The session.
    pub session: SessionId,
    /// Its channel.
    pub channel: ChannelName,
    /// The channel's tail: everything below it is in the store once this is answered.
    pub up_to: SeqNum,
}

/// All sessions of one environment and the runs that serve them.
pub(crate) struct Core {
    state: State,
    fresh: Vec<Change>,
    ids: Draws,
    lease: Duration,
    windows: Windows,
    /// Sessions with changes since the last commit, to themselves or to their runs.
    touched: BTreeSet<SessionId>,
}

impl Core {
    /// Makes a core from what a store keeps; `ids` must not have been drawn from in an earlier life of the store.
    pub(crate) fn load(loaded: Loaded, ids: Draws, lease: Duration) -> Self {
        let state = State::load(loaded);
        Self { state, fresh: Vec::new(), ids, lease, windows: WINDOWS, touched: BTreeSet::new() }
    }

    #[cfg(test)]
    pub(crate) fn with_windows(self, windows: Windows) -> Self {
        Self { windows, ..self }
    }

    /// Gives the changes since the last call, to be committed before anybody hears of them.
    pub(crate) fn take_changes(&mut self) -> Vec<Change> {
        std::mem::take(&mut self.fresh)
    }

    /// Lets go of what the store has by now: every change that was ever taken is durable.
    pub(crate) fn committed(&mut self) {
        assert!(self.fresh.is_empty(), "what was not taken cannot have been committed");
        for session in std::mem::take(&mut self.touched) {
            self.state.evict(&session, &self.windows);
        }
    }

    /// Gives the moment at which [`Core::tick`] next has something to do.
    pub(crate) fn next_deadline(&self) -> Option<Timestamp> {
        self.state.next_deadline().map(Timestamp::from)
    }

    /// Begins a life: no lease of the last one stands longer than one that is given now, though the wall clock was set back meanwhile
    /// (D-84).
    pub(crate) fn resume(&mut self, now: Timestamp) {
        let expires_at = now.plus(self.lease).into();
        for run in self.state.leased_beyond(expires_at) {
            self.shorten(run, expires_at);
        }
    }

    /// Does what time alone does: lapses leases, times waitpoints out, lets trims take effect. Call it before each command.
    pub(crate) fn tick(&mut self, now: Timestamp) {
        for _ in 0..LAPSES_PER_TICK {
            let Some(run) = self.state.lapsed(now.into()) else { break };
            self.lapse(now, &run);
        }
        for _ in 0..TIMEOUTS_PER_TICK {
            if !self.time_one_out(now) {
                break;
            }
        }
        for _ in 0..TRIMS_PER_TICK {
            let Some((session, first)) = self.state.due_trim(now.into()) else { break };
            self.put(Change::Trim { session, first });
        }
    }

    /// Finds a session by either form of its id (S-3).
    pub(crate) fn find(&self, url_id: &str) -> Option<&Session> {
        self.state.find(url_id)
    }

    /// Tells how the runs stand.
    pub(crate) fn counts(&self, now: Timestamp) -> RunCounts {
        self.state.counts(now.into())
    }

    #[cfg(test)]
    pub(crate) fn state(&self) -> &State {
        &self.state
    }

    fn put(&mut self, change: Change) {
        self.state.apply(&change);
        // A run that ends takes its session's windows along.
        let of_run = if let Change::Run { row } = &change { Some(&row.session) } else { None };
        self.touched.extend(session_of(&change).or(of_run).cloned());
        self.fresh.push(change);
    }

    fn require(&self, url_id: &str) -> Result<&Session, Refused> {
        self.find(url_id).ok_or(Refused::NoSession)
    }

    fn session(&self, id: &SessionId) -> &Session {
        self.state.session(id).expect("sessions are never removed")
    }

    fn new_session_id(&self) -> SessionId {
        self.draw("session_", SessionId::new, |id| self.state.session(id).is_some())
    }

    fn new_run_id(&self) -> RunId {
        self.draw("run_", RunId::new, |id| self.state.run(id).is_some())
    }

    fn new_waitpoint_id(&self) -> WaitpointId {
        self.draw("waitpoint_", WaitpointId::new, |id| self.state.waits().get(id).is_some())
    }

    fn draw<T>(&self, prefix: &str, make: impl Fn(String) -> T, taken: impl Fn(&T) -> bool) -> T {
        loop {
            let id = make(format!("{prefix}{}", self.ids.alphanumeric(24)));
            if !taken(&id) {
                return id;
            }
        }
    }

    /// Raises the row's cursors to what a run reports.
    fn settle(&mut self, id: &SessionId, settled: Option<SeqNum>, consumed: Option<SeqNum>) {
        let session = self.session(id);
        let settled = session.settled_with(settled);
        let consumed = consumed.min(session.input.last()).max(session.summary.consumed).max(settled);
        if settled != session.summary.settled || consumed != session.summary.consumed {
            self.put(Change::Cursors { session: id.clone(), settled, consumed });
        }
    }
}

//! All waitpoints, found by channel, by run, by key and by time.

use std::collections::{BTreeMap, BTreeSet};

use turnkeep_protocol::{ChannelName, RunId, WaitpointId};

use crate::WaitpointRow;
use crate::change::Millis;

/// The waitpoints of every run that has not ended.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Waits {
    rows: BTreeMap<WaitpointId, WaitpointRow>,
    pending: BTreeSet<(String, ChannelName, WaitpointId)>,
    by_run: BTreeSet<(RunId, u64, WaitpointId)>,
    by_key: BTreeMap<String, (u64, WaitpointId)>,
    timeouts: BTreeSet<(Millis, WaitpointId)>,
    last_number: u64,
}

impl Waits {
    /// Makes a waitpoint or replaces its row.
    pub(super) fn put(&mut self, row: WaitpointRow) {
        self.remove(&row.id);
        if row.outcome.is_none() {
            self.pending.insert((row.session_key.clone(), row.channel, row.id.clone()));
            self.timeouts.extend(row.expires_at.map(|at| (at, row.id.clone())));
        }
        self.by_run.insert((row.run.clone(), row.number, row.id.clone()));
        if let Some(key) = &row.idempotency_key {
            let newest = self.by_key.entry(key.clone()).or_insert((row.number, row.id.clone()));
            // A key whose time is up may name a newer waitpoint already (S-133).
            *newest = newest.clone().max((row.number, row.id.clone()));
        }
        self.last_number = self.last_number.max(row.number);
        self.rows.insert(row.id.clone(), row);
    }

    /// Notes that a waitpoint had this number, even if it is forgotten by now.
    pub(super) fn remember_number(&mut self, number: u64) {
        self.last_number = self.last_number.max(number);
    }

    /// Forgets a waitpoint.
    pub(super) fn remove(&mut self, id: &WaitpointId) {
        let Some(old) = self.rows.remove(id) else { return };
        self.pending.remove(&(old.session_key, old.channel, old.id.clone()));
        self.by_run.remove(&(old.run, old.number, old.id.clone()));
        if let Some(key) = &old.idempotency_key
            && self.by_key.get(key).is_some_and(|(number, _)| *number == old.number)
        {
            self.by_key.remove(key);
        }
        if let Some(expires_at) = old.expires_at {
            self.timeouts.remove(&(expires_at, old.id));
        }
    }

    /// Gives a waitpoint.
    pub(super) fn get(&self, id: &WaitpointId) -> Option<&WaitpointRow> {
        self.rows.get(id)
    }

    /// Finds a waitpoint by its idempotency key, unless the key's time is up by `now` (S-133, S-144).
    pub(super) fn by_key(&self, key: &str, now: Millis) -> Option<&WaitpointId> {
        let (_, id) = self.by_key.get(key)?;
        let is_stale = self.rows.get(id)?.idempotency_key_expires_at.is_some_and(|at| at <= now);
        (!is_stale).then_some(id)
    }

    /// Gives the pending waitpoints of one channel.
    pub(super) fn pending(&self, session_key: &str, channel: ChannelName) -> Vec<WaitpointRow> {
        let from = (session_key.to_owned(), channel, WaitpointId::new(""));
        let here = self.pending.range(from..).take_while(|(of, on, _)| of == session_key && *on == channel);
        here.filter_map(|(_, _, id)| self.rows.get(id).cloned()).collect()
    }

    /// Gives a run's waitpoints, oldest first.
    pub(super) fn of_run<'a>(&'a self, run: &'a RunId) -> impl DoubleEndedIterator<Item = &'a WaitpointRow> {
        let all = (run.clone(), 0, WaitpointId::new(""))..=(run.clone(), u64::MAX, WaitpointId::new(""));
        self.by_run.range(all).filter_map(|(_, _, id)| self.rows.get(id))
    }

    /// Counts a run's pending waitpoints.
    pub(super) fn n_pending(&self, run: &RunId) -> usize {
        self.of_run(run).filter(|row| row.outcome.is_none()).count()
    }

    /// Gives the number of the next waitpoint.
    pub(super) fn next_number(&self) -> u64 {
        self.last_number + 1
    }

    /// Gives the earliest timeout of a pending waitpoint.
    pub(super) fn next_timeout(&self) -> Option<Millis> {
        self.timeouts.first().map(|(at, _)| *at)
    }

    /// Gives a pending waitpoint whose time is up by `now`, earliest first.
    pub(super) fn timed_out(&self, now: Millis) -> Option<WaitpointRow> {
        let (_, id) = self.timeouts.first().filter(|(at, _)| *at <= now)?;
        self.rows.get(id).cloned()
    }
}

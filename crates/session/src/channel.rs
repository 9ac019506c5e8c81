//! One channel: where it begins and ends, and a window of its newest records and part ids.
//!
//! What lies before the window is cold: the store has it, and the caller goes there. Order and de-duplication are the only promises
//! made here; who may read or write is decided elsewhere.

use std::collections::{BTreeMap, VecDeque};

use turnkeep_host::Timestamp;
use turnkeep_protocol::{NewRecord, PartId, Record, SeqNum, Tail};

use crate::change::Millis;
use crate::standing::{Part, Shape};
use crate::storage::{Bounds, LoadedChannel, Window};

/// The most that one read gives; the reader comes back for more (S-114).
pub(crate) const HELPING: Bounds = Bounds { records: 1000, bytes: 1024 * 1024 };

/// A log of records, its older part out of sight.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Channel {
    shape: Shape,
    /// The newest records, up to the tail.
    records: VecDeque<Record>,
    /// The body bytes of `records`.
    bytes: usize,
    parts: BTreeMap<PartId, Part>,
    /// The same ids by first place, the oldest first.
    parts_by_place: BTreeMap<SeqNum, PartId>,
    /// Every part that was written here or later is in `parts`.
    parts_from: SeqNum,
}

/// Where a read starts, and what had to be bent to start there (D-57).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ReadStart {
    /// The first place that will be delivered.
    pub next: SeqNum,
    /// The first surviving record, when the cursor lies before it and records in between are gone.
    pub first_available: Option<SeqNum>,
    /// The tail, when the cursor lies beyond it.
    pub clamped_to: Option<SeqNum>,
}

/// What a store knew of a part id at some moment.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Looked {
    /// The tail at that moment or before: everything below it was in the store.
    pub up_to: SeqNum,
    /// What was found.
    pub found: Option<Part>,
}

/// The window does not reach back far enough to tell whether a part id is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unsure;

impl Channel {
    /// Makes a channel from what a store keeps of it.
    pub(crate) fn load(shape: Shape, loaded: LoadedChannel) -> Self {
        let parts_by_place = loaded.parts.iter().map(|(id, part)| (part.first, id.clone())).collect();
        let bytes = loaded.records.iter().map(|record| record.body.len()).sum();
        let (records, parts) = (loaded.records.into(), loaded.parts.into_iter().collect());
        let channel = Self { shape, records, bytes, parts, parts_by_place, parts_from: loaded.parts_from };
        assert!(channel.records.iter().next_back().is_none_or(|last| last.seq_num.next() == shape.tail));
        channel
    }

    /// Gives the place of the next record.
    pub(crate) fn tail(&self) -> SeqNum {
        self.shape.tail
    }

    /// Gives where the channel begins and ends.
    pub(crate) fn shape(&self) -> &Shape {
        &self.shape
    }

    /// Gives the tail as batches and pings report it (S-109).
    pub(crate) fn tail_mark(&self) -> Tail {
        self.shape.tail_mark()
    }

    /// Gives the newest record's place, or nothing before the first record.
    pub(crate) fn last(&self) -> Option<SeqNum> {
        self.tail().previous()
    }

    /// Gives `new` its place: the tail, `offset` records further on.
    pub(crate) fn place(&self, new: NewRecord, offset: usize, now: Timestamp) -> Record {
        let seq_num = SeqNum::new(self.tail().get() + offset as u64);
        Record { seq_num, timestamp: now.as_millis(), body: new.body, headers: new.headers }
    }

    /// Gives the places that `part` already has: the answer to a duplicate (D-6, S-76).
    ///
    /// # Errors
    ///
    /// [`Unsure`] when older parts are cold and `looked` is missing or too old: whoever asks looks into the store and comes back.
    pub(crate) fn duplicate(
        &self,
        part: &PartId,
        looked: Option<&Looked>,
        now: Timestamp,
    ) -> Result<Option<Vec<SeqNum>>, Unsure> {
        let cold = || match looked {
            _ if self.parts_from == SeqNum::ZERO => Ok(None),
            // All that has left the window had been stored by the time of that look.
            Some(looked) if looked.up_to >= self.parts_from => Ok(looked.found.as_ref()),
            _ => Err(Unsure),
        };
        let known = self.parts.get(part).map_or_else(cold, |part| Ok(Some(part)))?;
        Ok(known.filter(|part| part.is_remembered(&self.shape, now)).map(Part::places))
    }

    /// Puts a placed record at the tail. It stays in the window until [`Channel::evict`].
    pub(crate) fn append(&mut self, record: Record, part: Option<PartId>) {
        self.shape.append(&record);
        if let Some(id) = part {
            let at = Millis(record.timestamp);
            let known = self.parts.get(&id).is_some_and(|part| !part.is_remembered(&self.shape, Timestamp::from(at)));
            if known {
                // The id comes back after it was forgotten (D-6): it names the new record from now on.
                self.forget(&id);
            }
            match self.parts.get_mut(&id) {
                Some(part) => part.push(record.seq_num),
                None => {
                    self.parts_by_place.insert(record.seq_num, id.clone());
                    self.parts.insert(id, Part::new(record.seq_num, at));
                }
            }
        }
        self.bytes += record.body.len();
        self.records.push_back(record);
    }

    fn forget(&mut self, id: &PartId) {
        if let Some(part) = self.parts.remove(id) {
            self.parts_by_place.remove(&part.first);
        }
    }

    /// Makes records below `first` unreadable.
    pub(crate) fn trim(&mut self, first: SeqNum) {
        self.shape.trim(first);
        while self.records.front().is_some_and(|record| record.seq_num < self.shape.first) {
            self.drop_oldest();
        }
    }

    /// Lets go of what the window has no room for. Call it only when every record here is in the store.
    pub(crate) fn evict(&mut self, window: &Window) {
        while self.records.len() > window.records.records || self.bytes > window.records.bytes {
            self.drop_oldest();
        }
        if self.records.is_empty() {
            // An emptied deque keeps the room that it once had.
            self.records = VecDeque::new();
        }
        while self.parts.len() > window.parts {
            let (_, id) = self.parts_by_place.pop_first().expect("both maps hold the same ids");
            let part = self.parts.remove(&id).expect("both maps hold the same ids");
            self.parts_from = self.parts_from.max(part.last.next());
        }
    }

    /// Gives how many records and part ids the window holds.
    #[cfg(test)]
    pub(crate) fn held(&self) -> (usize, usize) {
        (self.records.len(), self.parts.len())
    }

    fn drop_oldest(&mut self) {
        self.bytes -= self.records.pop_front().map_or(0, |record| record.body.len());
    }

    /// Says where a read after `cursor` starts (S-104, S-105, D-57).
    pub(crate) fn start_after(&self, cursor: Option<SeqNum>) -> ReadStart {
        let first = self.shape.first;
        let Some(cursor) = cursor else {
            return ReadStart { next: first, first_available: None, clamped_to: None };
        };
        if cursor >= self.tail() {
            return ReadStart { next: self.tail(), first_available: None, clamped_to: Some(self.tail()) };
        }
        let wanted = cursor.next();
        let gap = wanted < first;
        ReadStart { next: wanted.max(first), first_available: gap.then_some(first), clamped_to: None }
    }

    /// Gives the place from which the store must be asked, when the window does not hold the record that a reader at `next` gets.
    pub(crate) fn cold_from(&self, next: SeqNum) -> Option<SeqNum> {
        let wanted = next.max(self.shape.first);
        let oldest = self.records.front().map_or(self.tail(), |record| record.seq_num);
        (wanted < oldest).then_some(wanted)
    }

    /// Gives the records of the window from `next` on, in order, every kind.
    pub(crate) fn from(&self, next: SeqNum) -> impl Iterator<Item = &Record> {
        let oldest = self.records.front().map_or(0, |record| record.seq_num.get());
        let skip = next.get().saturating_sub(oldest);
        self.records.iter().skip(usize::try_from(skip).unwrap_or(usize::MAX))
    }

    /// Gives one bounded helping of the window's records from `next` on.
    pub(crate) fn read(&self, next: SeqNum) -> Vec<Record> {
        HELPING.take(self.from(next).cloned())
    }
}

#[cfg(test)]
mod tests;

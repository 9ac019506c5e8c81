//! One channel: an append-only log with dense seq_nums, a trim point and a memory for part ids.
//!
//! Order and de-duplication are the only promises made here; who may read or write is decided elsewhere.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use turnkeep_host::Timestamp;
use turnkeep_protocol::{NewRecord, PartId, Record, RecordKind, SeqNum, Tail};

/// How long a part id outlives a trimmed record (D-6).
const PART_MEMORY: Duration = Duration::from_secs(24 * 60 * 60);

/// The most records one read gives; the reader comes back for more (S-114).
pub(crate) const MAX_READ_RECORDS: usize = 1000;

/// The most body bytes one read gives; a single larger record still travels alone.
pub(crate) const MAX_READ_BYTES: usize = 1024 * 1024;

/// A log of records.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Channel {
    /// Every readable record; the first one's place is `first`.
    records: VecDeque<Record>,
    first: SeqNum,
    last_timestamp: u64,
    parts: BTreeMap<PartId, Part>,
    /// The same ids by first place, so that the oldest are forgotten first.
    parts_by_place: BTreeMap<SeqNum, PartId>,
}

/// The records that were written under one part id.
#[derive(Clone, Debug, PartialEq)]
struct Part {
    seqs: Vec<SeqNum>,
    at: Timestamp,
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

impl Channel {
    /// Gives the place of the next record.
    pub(crate) fn tail(&self) -> SeqNum {
        SeqNum::new(self.first.get() + self.records.len() as u64)
    }

    /// Gives the tail as batches and pings report it (S-109).
    pub(crate) fn tail_mark(&self) -> Tail {
        Tail { seq_num: self.tail(), timestamp: self.last_timestamp }
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
    pub(crate) fn duplicate(&self, part: &PartId) -> Option<&[SeqNum]> {
        self.parts.get(part).map(|part| part.seqs.as_slice())
    }

    /// Puts a placed record at the tail.
    pub(crate) fn append(&mut self, record: Record, part: Option<PartId>) {
        assert_eq!(record.seq_num, self.tail(), "a record is placed at the tail, so seq_nums are dense (S-54)");
        self.forget_parts(Timestamp::from_millis(record.timestamp));
        if let Some(id) = part {
            let at = Timestamp::from_millis(record.timestamp);
            let seqs = &mut self.parts.entry(id.clone()).or_insert_with(|| Part { seqs: Vec::new(), at }).seqs;
            if seqs.is_empty() {
                self.parts_by_place.insert(record.seq_num, id);
            }
            seqs.push(record.seq_num);
        }
        self.last_timestamp = record.timestamp;
        self.records.push_back(record);
    }

    /// Says where a trim to `requested` would really cut: never backwards, never past the tail (S-89).
    pub(crate) fn trim_point(&self, requested: SeqNum) -> SeqNum {
        self.first.max(requested.min(self.tail()))
    }

    /// Makes records below `first` unreadable.
    pub(crate) fn trim(&mut self, first: SeqNum) {
        let first = self.trim_point(first);
        while self.first < first && self.records.pop_front().is_some() {
            self.first = self.first.next();
        }
    }

    /// Says where a read after `cursor` starts (S-104, S-105, D-57).
    pub(crate) fn start_after(&self, cursor: Option<SeqNum>) -> ReadStart {
        let Some(cursor) = cursor else {
            return ReadStart { next: self.first, first_available: None, clamped_to: None };
        };
        if cursor >= self.tail() {
            return ReadStart { next: self.tail(), first_available: None, clamped_to: Some(self.tail()) };
        }
        let wanted = cursor.next();
        let gap = wanted < self.first;
        ReadStart { next: wanted.max(self.first), first_available: gap.then_some(self.first), clamped_to: None }
    }

    /// Gives the readable records from `next` on, in order, every kind.
    pub(crate) fn from(&self, next: SeqNum) -> impl Iterator<Item = &Record> {
        let skip = next.get().saturating_sub(self.first.get());
        self.records.iter().skip(usize::try_from(skip).unwrap_or(usize::MAX))
    }

    /// Gives one bounded helping of records from `next` on.
    pub(crate) fn read(&self, next: SeqNum) -> Vec<Record> {
        let mut bytes = 0;
        let fits = |record: &&Record| {
            let first = bytes == 0;
            bytes += record.body.len() + 1;
            first || bytes <= MAX_READ_BYTES
        };
        self.from(next).take(MAX_READ_RECORDS).take_while(fits).cloned().collect()
    }

    /// Gives records from the newest backwards.
    pub(crate) fn backwards(&self) -> impl Iterator<Item = &Record> {
        self.records.iter().rev()
    }

    fn forget_parts(&mut self, now: Timestamp) {
        while let Some((&place, id)) = self.parts_by_place.first_key_value() {
            let part = self.parts.get(id).expect("both maps hold the same ids");
            let trimmed = part.seqs.last().is_some_and(|last| *last < self.first);
            if !trimmed || now < part.at.plus(PART_MEMORY) {
                return;
            }
            self.parts.remove(id);
            self.parts_by_place.remove(&place);
        }
    }
}

/// Reads the trim command's target, or nothing when the record is another command or malformed (S-89).
pub(crate) fn trim_target(record: &NewRecord) -> Option<SeqNum> {
    match record.kind() {
        RecordKind::Command(turnkeep_protocol::TRIM) => SeqNum::parse_cursor(&record.body),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const T0: Timestamp = Timestamp::from_millis(1_000);

    fn data(n: u64) -> NewRecord {
        NewRecord::data(&json!(n), &PartId::new(format!("p{n}")))
    }

    fn push(channel: &mut Channel, part: Option<&str>, now: Timestamp) -> SeqNum {
        let record = channel.place(data(channel.tail().get()), 0, now);
        let seq = record.seq_num;
        channel.append(record, part.map(PartId::new));
        seq
    }

    fn filled(n: u64) -> Channel {
        let mut channel = Channel::default();
        for _ in 0..n {
            push(&mut channel, None, T0);
        }
        channel
    }

    #[test]
    fn seq_nums_are_dense_from_zero_over_appends_and_trims_s54() {
        let mut channel = filled(3);

        channel.trim(SeqNum::new(3));
        let after_trim = push(&mut channel, None, T0);

        assert_eq!(after_trim, SeqNum::new(3));
        assert_eq!(channel.tail(), SeqNum::new(4));
        assert_eq!(channel.from(SeqNum::ZERO).map(|record| record.seq_num.get()).collect::<Vec<_>>(), [3]);
    }

    #[test]
    #[should_panic(expected = "dense")]
    fn a_record_out_of_place_is_our_own_broken_invariant() {
        let mut channel = filled(1);
        let mut record = channel.place(data(1), 0, T0);
        record.seq_num = SeqNum::new(5);

        channel.append(record, None);
    }

    #[track_caller]
    fn check_start(cursor: Option<u64>, next: u64, first_available: Option<u64>, clamped_to: Option<u64>) {
        let mut channel = filled(6);
        channel.trim(SeqNum::new(2));

        let start = channel.start_after(cursor.map(SeqNum::new));

        let want = ReadStart {
            next: SeqNum::new(next),
            first_available: first_available.map(SeqNum::new),
            clamped_to: clamped_to.map(SeqNum::new),
        };
        assert_eq!(start, want, "cursor {cursor:?}");
    }

    #[test]
    fn a_read_starts_after_its_cursor_bent_to_what_exists_s104_s105_d57() {
        check_start(None, 2, None, None);
        check_start(Some(0), 2, Some(2), None);
        check_start(Some(1), 2, None, None);
        check_start(Some(2), 3, None, None);
        check_start(Some(5), 6, None, None);
        check_start(Some(6), 6, None, Some(6));
        check_start(Some(99), 6, None, Some(6));
    }

    #[test]
    fn an_empty_channel_reads_as_empty_s55() {
        let channel = Channel::default();

        assert_eq!(channel.start_after(None).next, SeqNum::ZERO);
        assert_eq!(channel.read(SeqNum::ZERO), []);
        assert_eq!(channel.last(), None);
        assert_eq!(channel.tail_mark(), Tail { seq_num: SeqNum::ZERO, timestamp: 0 });
    }

    #[test]
    fn a_trim_goes_forward_only_and_never_past_the_tail_s89() {
        let mut channel = filled(5);

        for (requested, want) in [(2, 2), (1, 2), (2, 2), (99, 5)] {
            channel.trim(SeqNum::new(requested));
            assert_eq!(channel.first, SeqNum::new(want), "trim to {requested}");
        }
        assert_eq!(channel.tail(), SeqNum::new(5));
    }

    #[test]
    fn a_duplicate_part_id_gives_the_original_places_s76_d6() {
        let mut channel = filled(2);
        let first = push(&mut channel, Some("p"), T0);
        let second = push(&mut channel, Some("p"), T0);
        push(&mut channel, Some("q"), T0);

        assert_eq!(channel.duplicate(&PartId::new("p")), Some(&[first, second][..]));
        assert_eq!(channel.duplicate(&PartId::new("unknown")), None);
    }

    #[test]
    fn a_part_id_is_remembered_as_long_as_its_record_and_a_day_d6() {
        let p = PartId::new("p");
        let mut channel = Channel::default();
        push(&mut channel, Some("p"), T0);
        let next_week = T0.plus(PART_MEMORY * 7);

        push(&mut channel, None, next_week);
        assert!(channel.duplicate(&p).is_some(), "the record is still there");

        channel.trim(SeqNum::new(1));
        assert!(channel.duplicate(&p).is_some(), "forgetting happens with an append");
        push(&mut channel, None, next_week);
        assert_eq!(channel.duplicate(&p), None);

        let mut fresh = Channel::default();
        push(&mut fresh, Some("p"), T0);
        fresh.trim(SeqNum::new(1));
        push(&mut fresh, None, T0.plus(PART_MEMORY - Duration::from_millis(1)));
        assert!(fresh.duplicate(&p).is_some(), "a day has not passed");
    }

    #[test]
    fn one_read_is_bounded_by_count_and_by_bytes_but_never_empty_s114() {
        let many = filled(MAX_READ_RECORDS as u64 + 1);
        assert_eq!(many.read(SeqNum::ZERO).len(), MAX_READ_RECORDS);

        let mut heavy = Channel::default();
        for _ in 0..3 {
            let body = "x".repeat(MAX_READ_BYTES - 10);
            let record = heavy.place(NewRecord { body, headers: Vec::new() }, 0, T0);
            heavy.append(record, None);
        }
        assert_eq!(heavy.read(SeqNum::ZERO).len(), 1);
        assert_eq!(heavy.read(SeqNum::new(2)).len(), 1);
    }
}

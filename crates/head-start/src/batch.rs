//! [`Batch`]: records of the first step on their way to `out`, a few at a time (C-188).

use turnkeep_protocol::NewRecord;
use turnkeep_protocol::run_api::MAX_OUT_BATCH_BYTES;

/// How many records one batch carries.
pub(crate) const MAX_BATCH_RECORDS: usize = 512;

/// How many bytes of records one batch carries; JSON text inside JSON text may double them, and the route takes 10 MiB.
const MAX_BATCH_BYTES: usize = MAX_OUT_BATCH_BYTES / 4;

/// What collects until it is written.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    records: Vec<NewRecord>,
    n_bytes: usize,
}

impl Batch {
    /// Adds a record; tells whether the batch is full.
    pub(crate) fn push(&mut self, record: NewRecord) -> bool {
        self.n_bytes += record.metered_bytes();
        self.records.push(record);
        self.records.len() >= MAX_BATCH_RECORDS || self.n_bytes >= MAX_BATCH_BYTES
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Gives what has collected and begins the next batch.
    pub(crate) fn take(&mut self) -> Vec<NewRecord> {
        self.n_bytes = 0;
        std::mem::take(&mut self.records)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(n_bytes: usize) -> NewRecord {
        NewRecord { body: "x".repeat(n_bytes), headers: Vec::new() }
    }

    #[test]
    fn a_batch_is_full_at_either_bound_and_then_begins_anew_c188() {
        let mut batch = Batch::default();
        let until_full = |batch: &mut Batch, n_bytes| (1..).find(|_| batch.push(record(n_bytes))).unwrap();

        assert_eq!(until_full(&mut batch, 1), MAX_BATCH_RECORDS);
        assert_eq!(batch.take().len(), MAX_BATCH_RECORDS);
        assert!(batch.is_empty());
        assert_eq!(until_full(&mut batch, MAX_BATCH_BYTES - 8), 1);
        batch.take();
        assert_eq!(until_full(&mut batch, MAX_BATCH_BYTES - 9), 2, "the bytes of the last batch do not count");
    }
}

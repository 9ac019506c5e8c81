//! What a store gives a server that starts.

use turnkeep_protocol::{PartId, Record, SeqNum};

use crate::standing::{Part, Shape, Standing};
use crate::{RunRow, SessionRow, StoreId, WaitpointRow};

/// What all committed changes add up to, without what may stay in the store.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Loaded {
    /// How many changes were ever committed: it tells the lives of a store apart.
    pub n_changes: u64,
    /// The highest number that a waitpoint ever had; 0 when there was none.
    pub last_wait: u64,
    /// Which store it is; none when no server has had it yet, or only one that gave no ids.
    pub store: Option<StoreId>,
    /// Every session.
    pub sessions: Vec<LoadedSession>,
    /// The runs in the sessions' slots, live or not. All others have ended.
    pub runs: Vec<RunRow>,
    /// Every waitpoint that was not forgotten.
    pub waitpoints: Vec<WaitpointRow>,
}

/// A session as it starts again.
#[derive(Clone, Debug, PartialEq)]
pub struct LoadedSession {
    /// Its row.
    pub row: SessionRow,
    /// Its cursors and where its channels begin and end.
    pub standing: Standing,
    /// The window of `in`.
    pub input: LoadedChannel,
    /// The window of `out`.
    pub output: LoadedChannel,
}

/// The newest part of a channel.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LoadedChannel {
    /// The newest records, oldest first, up to the tail.
    pub records: Vec<Record>,
    /// The parts that were written last, whole, in any order.
    pub parts: Vec<(PartId, Part)>,
    /// Every part that was written here or later is in `parts`.
    pub parts_from: SeqNum,
}

impl LoadedChannel {
    /// Tells whether these are the newest records of a channel of that shape: side by side, up to the tail.
    pub(crate) fn fits(&self, shape: &Shape) -> bool {
        let places = || self.records.iter().map(|record| record.seq_num);
        let dense = places().zip(places().skip(1)).all(|(one, next)| one.next() == next);
        // Without a record there is none, or the window is too small for the newest.
        dense && places().next_back().is_none_or(|last| last.next() == shape.tail)
    }
}

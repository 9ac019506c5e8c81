//! The suite over a disk that fails: what was acknowledged stays, a commit without an answer is there whole or not at all, and what
//! a store cannot read it does not make up.

use std::future::Future;
use std::sync::Arc;

use turnkeep_host::{Draws, Entropy};

use super::{Author, DiskFault, DiskLife, FaultyDisk, WHOLE, compare, remembered};
use crate::StorageError;
use crate::storage::{Loaded, Storage, Tables};

/// Lives of the store in one suite.
const N_LIVES: usize = 16;
/// The most commits of a life.
const MAX_COMMITS: u64 = 12;
/// A fault waits for fewer operations of the disk than this power of two, which is about as many as a long life has.
const MAX_OPERATIONS_LOG2: u64 = 8;

const FAULTS: [DiskFault; 4] = [DiskFault::Gone, DiskFault::Full, DiskFault::SyncFails, DiskFault::ReadFails];

/// What a store may hold: everything acknowledged, and perhaps the one commit that failed without an answer.
struct Held {
    tables: Tables,
    author: Author,
    unanswered: Option<(Tables, Author)>,
}

/// Commits over several lives of a store, each of which ends by a fault of its disk, a power loss, or both; after each, compares what
/// is there with what was acknowledged.
///
/// `open` opens the store for one life of a process.
///
/// # Panics
///
/// When something acknowledged is lost, when a failed commit is there in part, when a read gives what was never committed, or when
/// the store does not open on a disk that is whole.
pub async fn check_failing<F, Fut>(seed: u64, open: F)
where
    F: Fn(DiskLife) -> Fut,
    Fut: Future<Output = Result<Arc<dyn Storage>, StorageError>>,
{
    let draws = Entropy::from_seed(seed).child("failing").draws();
    let disk = FaultyDisk::new();
    let mut held = Held { tables: Tables::default(), author: Author::default(), unanswered: None };
    for n in 0..N_LIVES {
        let place = format!("seed {seed}, life {n}");
        // One life in eight ends without a fault.
        if draws.below(8) != 0 {
            let fault = FAULTS[usize::try_from(draws.below(FAULTS.len() as u64)).expect("a few")];
            // As many early ones as late ones: a store that opens does little, one that works does much.
            let most = 1 << draws.below(MAX_OPERATIONS_LOG2);
            disk.fail_after(draws.below(most), fault);
        }
        // A store that does not open has acknowledged nothing.
        if let Ok(store) = open(disk.life()).await {
            live(&*store, &mut held, &draws, &place).await;
            if draws.below(2) == 0 {
                // It is killed; else it still puts its file in order, as far as the disk lets it.
                disk.fail(DiskFault::Gone);
            }
        }
        // A process that dies alone leaves behind all that it wrote.
        if draws.below(2) == 0 {
            disk.lose_power(&draws);
        }
        disk.mend();
        let store = open(disk.life()).await;
        let store = store.unwrap_or_else(|error| panic!("{place}: it does not open again: {error}"));
        held.settle(&*store, &place).await;
        compare(&*store, &held.tables, &held.author, &place).await;
    }
}

/// Commits until the disk fails, or until the life has been long enough.
async fn live(store: &dyn Storage, held: &mut Held, draws: &Draws, place: &str) {
    if !held.is_seen(store, place).await {
        return;
    }
    // A process settles what it goes on with before it acknowledges anything.
    held.settle(store, place).await;
    for _ in 0..draws.below(MAX_COMMITS) {
        let (mut tables, mut author) = (held.tables.clone(), held.author.clone());
        let changes = author.changes(draws);
        tables.apply(changes.clone());
        let answered = store.commit(changes).await.is_ok();
        if !answered {
            held.unanswered = Some((tables, author));
            held.is_seen(store, place).await;
            // The first failure ends a server; whoever tries once more must not be told that all is well while it is not.
            return;
        }
        (held.tables, held.author) = (tables, author);
        if !held.is_seen(store, place).await {
            return;
        }
    }
}

impl Held {
    /// Tells whether the store can be read; what it gives then is one of the states it may have.
    async fn is_seen(&self, store: &dyn Storage, place: &str) -> bool {
        let Ok(loaded) = store.load(WHOLE).await else { return false };
        match &self.unanswered {
            Some((tables, author)) if is_of(&loaded, tables) => assert_same(loaded, tables, author, place),
            _ => assert_same(loaded, &self.tables, &self.author, place),
        }
        true
    }

    /// Learns whether the commit without an answer is there.
    async fn settle(&mut self, store: &dyn Storage, place: &str) {
        if !self.is_seen(store, place).await {
            return;
        }
        let Ok(loaded) = store.load(WHOLE).await else { return };
        if let Some((tables, author)) = self.unanswered.take_if(|(tables, _)| is_of(&loaded, tables)) {
            (self.tables, self.author) = (tables, author);
        }
        self.unanswered = None;
    }
}

/// Tells two states apart by how much was ever committed.
fn is_of(loaded: &Loaded, tables: &Tables) -> bool {
    loaded.n_changes == tables.load(WHOLE).n_changes
}

fn assert_same(loaded: Loaded, tables: &Tables, author: &Author, place: &str) {
    assert!(is_of(&loaded, tables), "{place}: what was acknowledged is not what is there");
    let all = tables.load(WHOLE);
    let [loaded, want] = [loaded, all.clone()].map(|loaded| remembered(loaded, &all, author, place));
    assert_eq!(loaded, want, "{place}: what is read was never committed");
}

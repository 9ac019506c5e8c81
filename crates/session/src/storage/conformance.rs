//! The suite that every store passes: whatever is committed, a store gives it back as the plain fold of all changes would.
//!
//! The changes are drawn from a seed and are such as a core makes, on a few sessions with short channels, so that every table fills,
//! shrinks and is read at its edges. Days pass, so that part ids are forgotten and come back. [`check_failing`] does the same over a
//! [`FaultyDisk`].

mod author;
mod disk;
mod failing;

use std::future::Future;
use std::sync::Arc;

use turnkeep_host::Entropy;
use turnkeep_protocol::{ChannelName, SeqNum, SessionId};

pub use self::disk::{DiskFault, DiskLife, FaultyDisk};
pub use self::failing::check_failing;

use self::author::{Author, CHANNELS, N_PARTS, N_RUNS, N_SESSIONS, part_id, run_id, session_id};
use super::{Bounds, Loaded, LoadedChannel, Storage, Tables, Window, Windows};
use crate::{Part, Shape};

/// Commits of one suite.
const N_COMMITS: u64 = 40;

const WHOLE: Windows =
    Windows::all(Window { records: Bounds { records: usize::MAX, bytes: usize::MAX }, parts: usize::MAX });

/// Commits random groups of changes and compares everything that can be read, over several lives of the store.
///
/// `open` opens the store as a restarted server would find it; the suite has dropped the one before.
///
/// # Panics
///
/// When the store gives anything else than the fold of what was committed, or fails.
pub async fn check<F, Fut>(seed: u64, open: F)
where
    F: Fn() -> Fut,
    Fut: Future<Output = Arc<dyn Storage>>,
{
    let draws = Entropy::from_seed(seed).draws();
    let mut author = Author::default();
    let mut expected = Tables::default();
    let mut store = open().await;
    compare(&*store, &expected, &author, "an empty store").await;
    for n in 0..N_COMMITS {
        if draws.below(10) == 0 {
            drop(store);
            store = open().await;
        }
        let changes = author.changes(&draws);
        expected.apply(changes.clone());
        store.commit(changes).await.expect("the disk has room");
        compare(&*store, &expected, &author, &format!("seed {seed}, commit {n}")).await;
    }
    drop(store);
    compare(&*open().await, &expected, &author, &format!("seed {seed}, the last life")).await;
}

async fn compare(store: &dyn Storage, expected: &Tables, author: &Author, place: &str) {
    let bounds = |records, bytes| Bounds { records, bytes };
    for (records, bytes, parts) in [(0, 0, 0), (3, 10_000, 2), (100, 90, 5), (usize::MAX, usize::MAX, usize::MAX)] {
        let live = Window { records: bounds(records, bytes), parts };
        let idle = Window { records: bounds(records / 3, bytes), parts: parts / 2 };
        let windows = Windows { live, idle };
        let loaded = store.load(windows).await.expect("the disk is whole");
        let place = format!("{place}: load with {windows:?}");
        let all = expected.load(WHOLE);
        let [loaded, want] = [loaded, expected.load(windows)].map(|loaded| remembered(loaded, &all, author, &place));
        assert_eq!(loaded, want, "{place}");
    }
    for session in (0..=N_SESSIONS).map(session_id) {
        for channel in CHANNELS {
            compare_channel(store, expected, author, &session, channel, place).await;
        }
    }
    for run in (0..=N_RUNS).map(run_id) {
        assert_eq!(store.run(run.clone()).await.expect("the disk is whole"), expected.run(&run), "{place}: {run}");
    }
}

/// Takes out what a store may, but need not, have cleared away: part ids that are forgotten (D-6). Checks that the others are as many
/// as the channel says.
fn remembered(mut loaded: Loaded, all: &Loaded, author: &Author, place: &str) -> Loaded {
    let rows = loaded.sessions.iter_mut().zip(&all.sessions);
    let channels = rows.flat_map(|(one, all)| {
        let shapes = [one.standing.input, one.standing.output];
        [(&mut one.input, &all.input, shapes[0]), (&mut one.output, &all.output, shapes[1])]
    });
    for (channel, all, shape) in channels {
        remember(channel, all, shape, author, place);
    }
    loaded
}

fn remember(channel: &mut LoadedChannel, all: &LoadedChannel, shape: Shape, author: &Author, place: &str) {
    let known = |part: &Part| part.is_remembered(&shape, author.now());
    let oldest = channel.parts.iter().map(|(_, part)| part.first).min().unwrap_or(shape.tail);
    let from = std::mem::take(&mut channel.parts_from);
    assert!(from <= oldest, "{place}: {oldest} is not before {from}");
    channel.parts.retain(|(_, part)| known(part));
    channel.parts.sort_by_key(|(_, part)| part.first);
    for part in all.parts.iter().filter(|(_, part)| known(part) && part.last >= from) {
        assert!(channel.parts.contains(part), "{place}: {part:?} is missing from {from} on");
    }
}

async fn compare_channel(
    store: &dyn Storage,
    expected: &Tables,
    author: &Author,
    session: &SessionId,
    channel: ChannelName,
    place: &str,
) {
    for (from, records, bytes) in [(0, 1000, 10_000), (0, 2, 10_000), (4, 1000, 70), (9, 1000, 0), (u64::MAX, 9, 9)] {
        let (from, bounds) = (SeqNum::new(from), Bounds { records, bytes });
        let read = store.read(session.clone(), channel, from, bounds).await.expect("the disk is whole");
        let want = expected.read(session, channel, from, bounds);
        assert_eq!(read, want, "{place}: {session} {channel} from {from} with {bounds:?}");
    }
    let shape = author.shape(session, channel);
    for part in (0..N_PARTS).map(part_id) {
        let known = |it: &Part| it.is_remembered(&shape, author.now());
        let found = store.part(session.clone(), channel, part.clone()).await.expect("the disk is whole");
        let want = expected.part(session, channel, &part);
        assert_eq!(found.filter(known), want.filter(known), "{place}: {part} of {session} {channel}");
    }
}

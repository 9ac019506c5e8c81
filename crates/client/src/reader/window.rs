//! The part ids that a subscription has seen, so that each part comes once (C-34).

use std::hash::BuildHasher as _;

use foldhash::fast::FixedState;
use hashbrown::HashTable;
use turnkeep_protocol::PartId;

/// How many part ids a subscription remembers, oldest forgotten first (C-34).
pub(crate) const DEDUPE_WINDOW: usize = 5_000;

/// The ids seen last, at most [`DEDUPE_WINDOW`]: a ring, and a table of the places in it.
///
/// Each record of a stream passes through here, so an id is kept once and looked up by its hash. The table is never walked: its
/// order decides nothing.
#[derive(Debug, Default)]
pub(crate) struct Window {
    ids: Vec<PartId>,
    /// Where the oldest id stands once the ring is full.
    oldest: usize,
    places: HashTable<usize>,
    hasher: FixedState,
}

impl Window {
    /// Remembers `id`; false when it was known.
    pub(crate) fn insert(&mut self, id: &PartId) -> bool {
        let hash = self.hasher.hash_one(id);
        if self.places.find(hash, |place| self.ids[*place] == *id).is_some() {
            return false;
        }
        let place = if self.ids.len() < DEDUPE_WINDOW {
            self.ids.push(id.clone());
            self.ids.len() - 1
        } else {
            self.take_oldest(id)
        };
        let (ids, hasher) = (&self.ids, &self.hasher);
        self.places.insert_unique(hash, place, |place| hasher.hash_one(&ids[*place]));
        true
    }

    /// Puts `id` in the oldest one's place.
    fn take_oldest(&mut self, id: &PartId) -> usize {
        let place = self.oldest;
        self.oldest = (place + 1) % DEDUPE_WINDOW;
        let old = std::mem::replace(&mut self.ids[place], id.clone());
        if let Ok(entry) = self.places.find_entry(self.hasher.hash_one(&old), |known| *known == place) {
            entry.remove();
        }
        place
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: usize) -> PartId {
        PartId::new(format!("p{n}"))
    }

    #[test]
    fn an_id_is_known_until_5000_others_came_c34_cf15_s122() {
        let mut window = Window::default();
        for n in 0..DEDUPE_WINDOW {
            assert!(window.insert(&id(n)));
        }
        assert!((0..DEDUPE_WINDOW).all(|n| !window.insert(&id(n))), "all of a full window are known");

        assert!(window.insert(&id(DEDUPE_WINDOW)));

        assert!(!window.insert(&id(1)), "the second oldest is known still");
        assert!(window.insert(&id(0)), "the oldest is forgotten");
        assert!(window.insert(&id(1)), "and then the second oldest");
        assert_eq!((window.ids.len(), window.places.len()), (DEDUPE_WINDOW, DEDUPE_WINDOW));
    }

    #[test]
    fn a_long_stream_leaves_nothing_behind_c34() {
        let mut window = Window::default();

        for n in 0..4 * DEDUPE_WINDOW + 7 {
            assert!(window.insert(&id(n)));
            assert!(!window.insert(&id(n)));
        }

        assert_eq!((window.ids.len(), window.places.len()), (DEDUPE_WINDOW, DEDUPE_WINDOW));
        let last = 4 * DEDUPE_WINDOW + 7;
        assert!((last - DEDUPE_WINDOW..last).all(|n| !window.insert(&id(n))));
    }
}

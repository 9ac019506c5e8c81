//! The mark that says whose the objects are (D-86).
//!
//! A name that is not found says nothing by itself: the folder may not be mounted, the bucket may be another one, a proxy may answer
//! in its place. An object that carries the store's id lies beside the bodies; only where that is found, and carries the right id, is
//! a body that is not there lost.

use bytes::Bytes;
use object_store::path::Path;
use serde::{Deserialize, Serialize};

use crate::{Environment, Error, StoreId};

/// Gives the place of the mark.
pub(super) fn mark_place(environment: &Environment) -> Path {
    let Environment { project_ref, slug, .. } = environment;
    ["packets", project_ref, slug, "store.json"].into_iter().collect()
}

/// The mark as it is written.
#[derive(Serialize, Deserialize)]
struct Written {
    store: String,
}

/// Gives the mark of a store.
pub(super) fn mark_of(store: StoreId) -> Bytes {
    let written = Written { store: store.to_string() };
    serde_json::to_vec(&written).expect("a text always serialises").into()
}

/// Whose the objects are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mark {
    /// This store's.
    Ours,
    /// Another's, or written by nobody we know.
    Foreign,
    /// Nothing says so.
    None,
}

impl Mark {
    /// Reads what lies at the place of the mark.
    pub(super) fn read(found: Option<&[u8]>, store: StoreId) -> Self {
        let Some(found) = found else { return Self::None };
        match serde_json::from_slice::<Written>(found) {
            Ok(written) if written.store == store.to_string() => Self::Ours,
            _ => Self::Foreign,
        }
    }

    /// Decides whether a server may start on these objects, of which `n_missing` that sessions name are not there; gives whether the
    /// mark is to be written.
    pub(super) fn judge(self, n_missing: usize, adopt: bool) -> Result<bool, Error> {
        match self {
            Self::Ours => Ok(false),
            _ if adopt => Ok(true),
            Self::Foreign => Err(Error::ForeignObjects),
            // A new store, one from before there were marks, or a server that died before it had written its own.
            Self::None if n_missing == 0 => Ok(true),
            Self::None => Err(Error::MissingObjects { n_missing }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_mark_with_the_stores_own_id_is_its_own_d86() {
        let [ours, other] = [StoreId(7), StoreId(8)];

        assert_eq!(Mark::read(Some(&mark_of(ours)), ours), Mark::Ours);
        assert_eq!(Mark::read(Some(&mark_of(other)), ours), Mark::Foreign);
        assert_eq!(Mark::read(Some(b"<html>Not found</html>"), ours), Mark::Foreign);
        assert_eq!(Mark::read(Some(b""), ours), Mark::Foreign);
        assert_eq!(Mark::read(None, ours), Mark::None);
    }

    #[test]
    fn a_start_wants_its_own_mark_or_nothing_amiss_or_to_be_told_d86() {
        let judged = |mark: Mark, n_missing, adopt| mark.judge(n_missing, adopt).map_err(|error| error.to_string());
        let foreign = Err("the chat snapshots belong to another store of sessions than this one".to_owned());
        let missing =
            Err("2 chat snapshots are not there, and nothing marks the place as the one where they were kept");

        for n_missing in [0, 2] {
            assert_eq!(judged(Mark::Ours, n_missing, false), Ok(false), "what is missing is lost");
            assert_eq!(judged(Mark::Ours, n_missing, true), Ok(false));
            assert_eq!(judged(Mark::Foreign, n_missing, false), foreign);
            assert_eq!(judged(Mark::Foreign, n_missing, true), Ok(true));
            assert_eq!(judged(Mark::None, n_missing, true), Ok(true));
        }
        assert_eq!(judged(Mark::None, 0, false), Ok(true));
        assert_eq!(judged(Mark::None, 2, false), missing.map_err(str::to_owned));
    }
}

//! Where `out` may be trimmed: never past the last stored snapshot (A-106, S-90, S-91), where there are snapshots (D-44).

use turnkeep_protocol::SeqNum;

/// The boundaries of `out` that a run knows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Boundaries {
    /// The newest `turn-complete`.
    previous: Option<SeqNum>,
    /// The `turn-complete` that the newest stored snapshot covers.
    stored: Option<SeqNum>,
    /// The newest trim.
    trimmed: Option<SeqNum>,
    /// Whether the author keeps the history: then no snapshot holds a trim back (D-44).
    kept_by_author: bool,
}

impl Boundaries {
    /// Starts with what boot found: the snapshot's boundary, and the newest one on `out`.
    pub(crate) fn booted(snapshot: Option<SeqNum>, newest: Option<SeqNum>) -> Self {
        Self { previous: newest.max(snapshot), stored: snapshot, ..Self::default() }
    }

    /// Starts for a chat whose author keeps the history, with the newest boundary that boot found (D-44).
    pub(crate) fn kept_by_author(newest: Option<SeqNum>) -> Self {
        Self { previous: newest, kept_by_author: true, ..Self::default() }
    }

    /// Notes a written `turn-complete` and gives the first record to keep, if anything may go.
    ///
    /// One turn stays readable behind the newest boundary, and everything that no stored snapshot covers stays (AR-41).
    pub(crate) fn turn_completed(&mut self, seq_num: SeqNum) -> Option<SeqNum> {
        let previous = self.previous.replace(seq_num)?;
        let keep_from = if self.kept_by_author { previous } else { previous.min(self.stored?) };
        if self.trimmed.is_some_and(|trimmed| keep_from <= trimmed) {
            return None;
        }
        self.trimmed = Some(keep_from);
        Some(keep_from)
    }

    /// Notes that the snapshot which covers the newest boundary is stored.
    pub(crate) fn snapshot_stored(&mut self) {
        self.stored = self.previous;
    }

    /// Gives the newest `turn-complete`.
    pub(crate) fn newest(&self) -> Option<SeqNum> {
        self.previous
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seq(number: u64) -> SeqNum {
        SeqNum::new(number)
    }

    #[test]
    fn the_first_turn_trims_nothing_s90() {
        let mut boundaries = Boundaries::booted(None, None);

        assert_eq!(boundaries.turn_completed(seq(5)), None);
    }

    #[test]
    fn each_turn_trims_to_the_boundary_before_it_a106_s90() {
        let mut boundaries = Boundaries::default();
        boundaries.turn_completed(seq(5));
        boundaries.snapshot_stored();

        assert_eq!(boundaries.turn_completed(seq(9)), Some(seq(5)));
        boundaries.snapshot_stored();
        assert_eq!(boundaries.turn_completed(seq(14)), Some(seq(9)));
    }

    #[test]
    fn a_failed_snapshot_holds_the_trim_back_ar41_s91_sr52() {
        let mut boundaries = Boundaries::default();
        boundaries.turn_completed(seq(5));
        boundaries.snapshot_stored();

        // The snapshots of the turns that end at 9 and 14 fail.
        assert_eq!(boundaries.turn_completed(seq(9)), Some(seq(5)));
        assert_eq!(boundaries.turn_completed(seq(14)), None);
        assert_eq!(boundaries.turn_completed(seq(20)), None);

        boundaries.snapshot_stored();
        assert_eq!(boundaries.turn_completed(seq(25)), Some(seq(20)));
    }

    #[test]
    fn without_any_snapshot_nothing_is_ever_trimmed_s91() {
        let mut boundaries = Boundaries::default();

        for turn in 1..10 {
            assert_eq!(boundaries.turn_completed(seq(turn * 5)), None);
        }
    }

    #[test]
    fn without_snapshots_trim_goes_to_the_boundary_before_d44() {
        let mut boundaries = Boundaries::kept_by_author(None);

        assert_eq!(boundaries.turn_completed(seq(5)), None);
        assert_eq!(boundaries.turn_completed(seq(9)), Some(seq(5)));
        let mut booted = Boundaries::kept_by_author(Some(seq(9)));
        assert_eq!(booted.turn_completed(seq(14)), Some(seq(9)));
    }

    #[test]
    fn a_booted_run_trims_from_the_boundary_it_found_a46() {
        // The snapshot covers 9; the boundary at 14 was written, its snapshot was not.
        let mut boundaries = Boundaries::booted(Some(seq(9)), Some(seq(14)));

        assert_eq!(boundaries.turn_completed(seq(20)), Some(seq(9)));
        assert_eq!(boundaries.newest(), Some(seq(20)));
    }
}

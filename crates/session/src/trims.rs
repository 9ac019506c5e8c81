//! Trims that were asked for and have not taken effect: what they doom stays readable for a while (S-89, D-69).
//!
//! A page that sends a message and is slow to open its read finds the answer even when later turns have ended meanwhile. The commands
//! themselves are durable records and the waiting trims are folded from them, so a restart forgets none.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use turnkeep_host::Timestamp;
use turnkeep_protocol::SeqNum;

use crate::change::Millis;

/// How long records stay readable behind the trim that dooms them, and up to [`WHOLE_MS`] longer. With a trim in every turn it is at most
/// twice as long, and that much longer (S-89).
pub(crate) const TRIM_GRACE: Duration = Duration::from_secs(30);

/// Trims take effect at multiples of this, in milliseconds, so that those of many sessions share a commit.
const WHOLE_MS: u64 = 1000;

/// The trims of one channel that wait. Two are enough, however many are asked for: one that comes behind them takes the later one's
/// place, and its time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trims {
    /// The one that takes effect first.
    pub next: Option<Trim>,
    /// The newest, when it is another one.
    pub latest: Option<Trim>,
}

/// A trim that waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trim {
    /// The earliest record that stays.
    pub first: SeqNum,
    /// When the others go.
    pub due: Millis,
}

impl Trims {
    /// Tells whether none waits.
    pub fn is_empty(&self) -> bool {
        self.next.is_none()
    }

    /// Adds a trim that was asked for at `at`; one that goes no further than another that waits adds nothing.
    pub(crate) fn add(&mut self, first: SeqNum, at: Timestamp) {
        let due = at.plus(TRIM_GRACE).as_millis();
        let trim = Trim { first, due: Millis(due.next_multiple_of(WHOLE_MS)) };
        let furthest = self.latest.or(self.next).map(|trim| trim.first);
        match self.next {
            _ if furthest >= Some(first) => {}
            None => self.next = Some(trim),
            Some(_) => self.latest = Some(trim),
        }
    }

    /// Forgets what is done once records below `first` are gone.
    pub(crate) fn done(&mut self, first: SeqNum) {
        while self.next.is_some_and(|next| next.first <= first) {
            self.next = self.latest.take();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trims(asked: &[(u64, u64)]) -> Trims {
        let mut trims = Trims::default();
        asked.iter().for_each(|(first, at)| trims.add(SeqNum::new(*first), Timestamp::from_millis(*at)));
        trims
    }

    fn waiting(trims: &Trims) -> Vec<(u64, u64)> {
        [trims.next, trims.latest].into_iter().flatten().map(|trim| (trim.first.get(), trim.due.0)).collect()
    }

    #[test]
    fn however_many_trims_are_asked_for_two_wait_s89() {
        for (asked, want) in [
            (&[][..], &[][..]),
            (&[(3, 0)], &[(3, 30_000)]),
            // Never earlier than half a minute.
            (&[(3, 1)], &[(3, 31_000)]),
            (&[(3, 1_999)], &[(3, 32_000)]),
            (&[(3, 2_000)], &[(3, 32_000)]),
            (&[(3, 0), (5, 1_000)], &[(3, 30_000), (5, 31_000)]),
            (&[(3, 0), (5, 1_000), (9, 20_000)], &[(3, 30_000), (9, 50_000)]),
            // Backwards and again: nothing more goes, and nothing goes later.
            (&[(3, 0), (3, 4_000), (2, 5_000)], &[(3, 30_000)]),
            (&[(3, 0), (5, 1_000), (5, 4_000), (4, 5_000)], &[(3, 30_000), (5, 31_000)]),
        ] {
            assert_eq!(waiting(&trims(asked)), want, "{asked:?}");
        }
    }

    #[test]
    fn a_trim_that_has_taken_effect_lets_the_next_one_wait_s89() {
        let both = trims(&[(3, 0), (5, 1_000)]);
        for (first, want) in [(2, &[(3, 30_000), (5, 31_000)][..]), (3, &[(5, 31_000)]), (4, &[(5, 31_000)]), (5, &[])]
        {
            let mut trims = both;

            trims.done(SeqNum::new(first));

            assert_eq!(waiting(&trims), want, "{first}");
        }
    }

    /// A trim every so often: each record goes at least [`TRIM_GRACE`] after it was doomed, and at most twice that and a second.
    #[test]
    fn with_a_trim_in_every_turn_records_go_after_half_a_minute_to_a_minute_and_a_second_s89_d69() {
        for every_ms in [7, 970, 1_000, 1_001, 29_999, 30_000, 30_001, 31_000] {
            let (mut trims, mut gone, mut longest) = (Trims::default(), 0, 0);
            let end = 200_000 + every_ms * 4;
            for now in 0..end {
                while let Some(next) = trims.next.filter(|next| next.due.0 <= now) {
                    for doomed in gone..next.first.get() {
                        let waited = now - doomed * every_ms;
                        assert!(
                            (30_000..61_000).contains(&waited),
                            "record {doomed} went after {waited} ms: {every_ms}"
                        );
                        longest = waited.max(longest);
                    }
                    gone = next.first.get();
                    trims.done(next.first);
                }
                // Record n is doomed by the trim of that number.
                if now % every_ms == 0 {
                    trims.add(SeqNum::new(now / every_ms + 1), Timestamp::from_millis(now));
                }
            }
            assert!(gone * every_ms > 130_000, "{gone} of one each {every_ms} ms");
            assert!(every_ms > 1_001 || longest > 57_000, "{longest}");
        }
    }
}

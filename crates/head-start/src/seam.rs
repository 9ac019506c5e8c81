//! Where the first step ends on `out` and the agent's chunks begin (C-189, C-191), and what tells the page so (C-206).

use serde_json::{Value, json};
use turnkeep_client::Outcome;
use turnkeep_protocol::SeqNum;

/// What is known of the first step's records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Written {
    /// None was written.
    #[default]
    Nothing,
    /// All were; this is the place **of** the last (CR-28).
    Through(SeqNum),
    /// A write failed, and whether it is stored is anybody's guess (CR-31).
    Unknown,
}

impl Written {
    /// Notes how a batch went: the places of its records, or none after a failure.
    pub(crate) fn on_batch(&mut self, seqs: Option<&[SeqNum]>) {
        *self = match (*self, seqs.map(<[SeqNum]>::last)) {
            (Self::Unknown, _) | (_, None) => Self::Unknown,
            (before, Some(None)) => before,
            (_, Some(Some(last))) => Self::Through(*last),
        };
    }
}

/// Where the reading of the agent's chunks begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Seam {
    /// Behind this record; none is the beginning of an empty channel.
    After(Option<SeqNum>),
    /// Nobody knows, so nothing is read: the beginning would say the first step again (CR-31).
    Unknown,
}

impl Seam {
    /// Gives the seam; `tail` is the last record that `out` has, if it could be read and had to be.
    pub(crate) fn of(written: Written, tail: Option<Option<SeqNum>>) -> Self {
        match (written, tail) {
            (Written::Nothing, _) => Self::After(None),
            (Written::Through(last), _) => Self::After(Some(last)),
            (Written::Unknown, Some(last)) => Self::After(last),
            (Written::Unknown, None) => Self::Unknown,
        }
    }

    /// Gives the page's cursor when the response ends here.
    pub(crate) fn cursor(self) -> Option<SeqNum> {
        match self {
            Self::After(cursor) => cursor,
            Self::Unknown => None,
        }
    }
}

/// Tells the page from where its next turn reads (CR-29).
pub(crate) fn session_state(cursor: SeqNum) -> Value {
    json!({ "type": "trigger:session-state", "lastEventId": cursor.to_string() })
}

/// Gives the frames that end a response: the turn's end, if it came, and the page's cursor (C §5.2, step 9; C-197).
pub(crate) fn closing(outcome: Option<Outcome>, cursor: Option<SeqNum>) -> Vec<Value> {
    let complete = (outcome == Some(Outcome::Completed)).then(|| json!({ "type": "trigger:turn-complete" }));
    complete.into_iter().chain(cursor.map(session_state)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seqs(places: &[u64]) -> Vec<SeqNum> {
        places.iter().copied().map(SeqNum::new).collect()
    }

    #[test]
    fn reading_begins_behind_the_last_record_of_the_step_c189_cr28() {
        let mut written = Written::default();
        assert_eq!(Seam::of(written, None), Seam::After(None), "nothing was written and nothing can be doubled");

        written.on_batch(Some(&seqs(&[0, 1])));
        written.on_batch(Some(&seqs(&[2])));

        assert_eq!(Seam::of(written, None), Seam::After(Some(SeqNum::new(2))));
    }

    #[test]
    fn after_a_failed_write_reading_begins_at_the_tail_and_never_at_the_beginning_c191_cr31() {
        let mut written = Written::default();
        written.on_batch(Some(&seqs(&[0])));
        written.on_batch(None);
        written.on_batch(Some(&seqs(&[9])));

        assert_eq!(Seam::of(written, Some(Some(SeqNum::new(4)))), Seam::After(Some(SeqNum::new(4))));
        assert_eq!(Seam::of(written, Some(None)), Seam::After(None), "an empty channel has no first step to double");
        assert_eq!(Seam::of(written, None), Seam::Unknown);
        assert_eq!(Seam::Unknown.cursor(), None);
    }

    #[test]
    fn only_a_boundary_is_told_as_the_turns_end_and_the_cursor_follows_it_c206_c197() {
        let cursor = Some(SeqNum::new(7));
        let complete = json!({ "type": "trigger:turn-complete" });
        let state = json!({ "type": "trigger:session-state", "lastEventId": "7" });

        assert_eq!(closing(Some(Outcome::Completed), cursor), [complete.clone(), state.clone()]);
        assert_eq!(closing(Some(Outcome::Completed), None), [complete]);
        for outcome in [None, Some(Outcome::Failed), Some(Outcome::Settled), Some(Outcome::Closed)] {
            assert_eq!(closing(outcome, cursor), std::slice::from_ref(&state), "{outcome:?}");
        }
    }
}

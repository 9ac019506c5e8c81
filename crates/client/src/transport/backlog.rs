//! What was on `out` before this stream's own turn: turns of other tabs and devices, which are not its reply (RC-14).
//!
//! A page whose cursor is old, because another device has talked meanwhile, would show the other's turn inside its own reply.
//! Records carry no turn mark (D-19), but a boundary below the own input proves that everything up to it belongs to others. So
//! what the server had when reading began is held back until its end is reached, and dropped up to the last such boundary. A
//! foreign turn that is still running by then has no boundary yet and is delivered as it comes (CR-8).

use std::collections::VecDeque;

use turnkeep_protocol::SeqNum;

use crate::Part;

/// How many records are held back at most; a longer backlog is delivered as it comes.
pub(crate) const MAX_HELD_PARTS: usize = 10_000;

/// Holds back what may belong to others, until it is known.
#[derive(Debug)]
pub(crate) struct Backlog {
    baseline: Option<SeqNum>,
    held: VecDeque<Part>,
}

impl Backlog {
    /// Watches over a stream whose input is at `baseline`; without one nothing can be told apart.
    pub(crate) fn new(baseline: Option<SeqNum>) -> Self {
        Self { baseline, held: VecDeque::new() }
    }

    /// Takes the next record; gives those that can be judged now, in order.
    pub(crate) fn take(&mut self, part: Part, boundary: Option<Option<SeqNum>>) -> VecDeque<Part> {
        let Some(baseline) = self.baseline else { return [part].into() };
        if let Some(Some(input)) = boundary
            && input < baseline
        {
            self.held.clear();
            return [part].into();
        }
        self.held.push_back(part);
        if self.held.len() > MAX_HELD_PARTS { self.release() } else { VecDeque::new() }
    }

    /// Gives everything that is held, and holds nothing from now on: the backlog has been read, or will not be.
    pub(crate) fn release(&mut self) -> VecDeque<Part> {
        self.baseline = None;
        std::mem::take(&mut self.held)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(at: u64) -> Part {
        Part { seq_num: SeqNum::new(at), timestamp: 0, headers: Vec::new(), part_id: None, chunk: None }
    }

    fn places(parts: &VecDeque<Part>) -> Vec<u64> {
        parts.iter().map(|part| part.seq_num.get()).collect()
    }

    fn input(at: u64) -> Option<Option<SeqNum>> {
        Some(Some(SeqNum::new(at)))
    }

    #[test]
    fn what_precedes_a_boundary_of_an_earlier_input_is_dropped_rc14() {
        let mut backlog = Backlog::new(Some(SeqNum::new(5)));

        assert_eq!(places(&backlog.take(part(0), None)), [0; 0]);
        assert_eq!(places(&backlog.take(part(1), None)), [0; 0]);
        assert_eq!(places(&backlog.take(part(2), input(4))), [2], "the boundary itself moves cursor and gate");
        assert_eq!(places(&backlog.take(part(3), None)), [0; 0]);
        assert_eq!(places(&backlog.take(part(4), input(5))), [0; 0], "the own boundary ends nothing before its turn");

        assert_eq!(places(&backlog.release()), [3, 4]);
        assert_eq!(places(&backlog.take(part(5), None)), [5], "afterwards everything passes");
    }

    #[test]
    fn boundaries_without_a_number_and_streams_without_a_baseline_prove_nothing_rc14() {
        let mut backlog = Backlog::new(Some(SeqNum::new(5)));
        backlog.take(part(0), None);
        backlog.take(part(1), Some(None));
        assert_eq!(places(&backlog.release()), [0, 1]);

        let mut unknown = Backlog::new(None);
        assert_eq!(places(&unknown.take(part(0), None)), [0]);
    }

    #[test]
    fn a_backlog_beyond_its_bound_is_delivered_rc14() {
        let mut backlog = Backlog::new(Some(SeqNum::new(5)));
        for at in 0..MAX_HELD_PARTS as u64 {
            assert!(backlog.take(part(at), None).is_empty());
        }

        assert_eq!(backlog.take(part(99_999), None).len(), MAX_HELD_PARTS + 1);
        assert_eq!(places(&backlog.take(part(100_000), None)), [100_000]);
    }
}

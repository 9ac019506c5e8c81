//! [`Spot`]: where in the chain something stands that is not of it, and what becomes of that when the chain changes.

use std::sync::Arc;

use turnkeep_protocol::{Messages, UiMessage, UiPart};

/// A spot between the chain's messages, or between the steps of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Spot {
    /// The message that follows, or that it is inside of.
    pub(super) index: usize,
    /// How many of that message's steps are in front; none in front of the message itself.
    pub(super) n_steps: Option<usize>,
}

impl Spot {
    pub(super) const START: Self = Self::before(0);

    pub(super) const fn before(index: usize) -> Self {
        Self { index, n_steps: None }
    }

    pub(super) fn within(index: usize, n_steps: usize) -> Self {
        Self { index, n_steps: Some(n_steps) }
    }

    /// Gives the spot behind so many steps of a response, in front of it when there are none; none when the chain does not have it.
    pub(crate) fn in_response(chain: &Messages, response_id: &str, n_steps: usize) -> Option<Self> {
        let index = chain.iter().position(|message| message.id == response_id && message.is_assistant())?;
        Some(if n_steps == 0 { Self::before(index) } else { Self::within(index, n_steps) })
    }

    /// Gives the chain's end: behind what the last response has said so far, since it may go on.
    pub(crate) fn end(chain: &Messages) -> Self {
        match chain.last() {
            Some(last) if last.is_assistant() => Self::within(chain.len() - 1, n_steps(last)),
            _ => Self::before(chain.len()),
        }
    }
}

/// Counts a message's steps.
pub(crate) fn n_steps(message: &UiMessage) -> usize {
    message.parts.iter().filter(|part| is_step(part)).count()
}

/// Tells whether a step begins here.
pub(super) fn is_step(part: &UiPart) -> bool {
    matches!(part, UiPart::StepStart(_))
}

/// Tells whether two messages are one, before and after a change.
pub(super) fn is_same(old: &Arc<UiMessage>, new: &Arc<UiMessage>) -> bool {
    Arc::ptr_eq(old, new) || if old.id.is_empty() || new.id.is_empty() { old == new } else { old.id == new.id }
}

/// What a change of the chain did to the spots behind its first `n_same` messages.
pub(super) struct Move {
    n_same: usize,
    /// Where each old message from `n_same` on is now.
    now: Vec<Option<usize>>,
}

impl Move {
    pub(super) fn new(old: &[&Arc<UiMessage>], chain: &Messages, n_same: usize) -> Self {
        let find = |old: &&Arc<UiMessage>| {
            chain.as_shared()[n_same..].iter().position(|new| is_same(old, new)).map(|at| at + n_same)
        };
        Self { n_same, now: old[n_same..].iter().map(find).collect() }
    }

    /// Moves a spot with the message that it stands behind; false when the history was cut off in front of it.
    ///
    /// A message that was taken out of the middle leaves its spots to the one before it.
    pub(super) fn apply(&self, spot: &mut Spot) -> bool {
        let anchor = match spot.n_steps {
            Some(_) => spot.index,
            None if spot.index <= self.n_same => return true,
            None => spot.index - 1,
        };
        if anchor < self.n_same {
            return true;
        }
        let at = anchor - self.n_same;
        match self.now[at] {
            Some(index) if spot.n_steps.is_some() => spot.index = index,
            Some(index) => spot.index = index + 1,
            None if self.now[at + 1..].iter().all(Option::is_none) => return false,
            None => {
                let before = self.now[..at].iter().rev().flatten().next();
                *spot = Spot::before(before.map_or(self.n_same, |index| index + 1));
            }
        }
        true
    }
}

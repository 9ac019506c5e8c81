//! When a session was settled, as the server tells pages that ask.

use std::collections::BTreeSet;

use turnkeep_protocol::ChannelName;

use crate::checks::story::{Content, Stored};

/// The stretches of the trace in which a session was settled (D-33): nothing owed, no turn open.
#[derive(Default)]
pub(super) struct Calm {
    owed: BTreeSet<u64>,
    turn_open: bool,
    /// The entries at which settled stretches ended, each with where it began.
    stretches: Vec<(usize, usize)>,
    since: Option<usize>,
    began: bool,
}

impl Calm {
    /// Takes the session's next record, of either channel.
    pub(super) fn take(&mut self, stored: &Stored<'_>) {
        if !self.began {
            // Before its first record a session owes nothing either.
            (self.began, self.since) = (true, Some(0));
        }
        match &stored.content {
            Content::Input(_) if stored.wants_turn() => {
                self.owed.insert(stored.seq());
            }
            Content::Boundary(settled) => {
                self.turn_open = false;
                let settled = settled.map(|settled| settled.get());
                self.owed.retain(|seq| Some(*seq) > settled);
            }
            Content::Chunk(_) | Content::Opaque if stored.channel == ChannelName::Out => self.turn_open = true,
            _ => {}
        }
        let calm = self.owed.is_empty() && !self.turn_open;
        match (self.since, calm) {
            (None, true) => self.since = Some(stored.entry.n),
            (Some(since), false) => {
                self.stretches.push((since, stored.entry.n));
                self.since = None;
            }
            _ => {}
        }
    }

    /// Tells whether the session was settled at some moment after entry `from` and before entry `to`.
    pub(super) fn between(&self, from: usize, to: usize) -> bool {
        let open = self.since.map(|since| (since, usize::MAX));
        self.stretches.iter().copied().chain(open).any(|(began, ended)| began < to && ended > from)
    }
}

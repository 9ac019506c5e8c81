//! Boot with a history that the author keeps: no snapshot, no replay, no recovery hook.

use turnkeep_protocol::{ChannelName, InputRecord, SeqNum, UiMessageChunk};

use super::Attempt;
use crate::boot::hydrated::out_tail;
use crate::boundary::Boundaries;
use crate::error::Error;
use crate::inbox::Inbox;

/// The `abort` reason of an answer that died with its process (D-31).
pub(crate) const INTERRUPTED: &str = "interrupted";

impl Attempt {
    /// Takes over where the run or the attempt before has left the channels.
    pub(crate) async fn take_over(&mut self) -> Result<(), Error> {
        let out = self.link.drain(ChannelName::Out, None).await?;
        let mut tail = out_tail(self.lease.settled_cursor, &out);
        // Its turn is the first of all: behind a boundary it is over.
        self.awaits_handover &= tail.newest_boundary.is_none();
        tail.awaits_handover = self.awaits_handover;
        let input = self.drain_in(tail.drain_from()).await?;
        let in_flight = tail.in_flight(&input);
        let closing = tail.closing(&in_flight);

        self.boundaries = Boundaries::kept_by_author(tail.newest_boundary);
        self.recovered = in_flight.owed.into();
        self.ends_after_recovered = in_flight.closing;
        let kept = in_flight.signal;
        self.input.seed(seeded_inbox(tail.cursor, input, &in_flight.dropped, kept), tail.cursor);
        if let Some(closing) = closing {
            if closing.aborts {
                self.out.chunk(&UiMessageChunk::abort(INTERRUPTED)).await?;
            }
            if closing.ends {
                self.close_turn(None, None).await?;
            }
        }
        Ok(())
    }

    /// Starts a fresh chat, which reads nothing at all: the first message must not wait (A-42, AF-1).
    pub(crate) fn start_fresh(&self) {
        let settled = self.lease.settled_cursor;
        self.input.seed(Inbox::seeded(settled), settled);
    }
}

/// Gives an inbox that has read everything drained: the recovered records stay open, the rest is finished; `kept`, a head start's signal,
/// waits to be taken (D-41).
pub(crate) fn seeded_inbox(
    cursor: Option<SeqNum>,
    drained: Vec<InputRecord>,
    finished: &[SeqNum],
    kept: Option<SeqNum>,
) -> Inbox {
    let mut inbox = Inbox::seeded(cursor);
    for record in drained {
        inbox.receive_drained(record);
    }
    inbox.clear_buffer(kept);
    for seq_num in finished {
        inbox.finish(*seq_num);
    }
    inbox
}

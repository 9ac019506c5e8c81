//! Boot with a history that the author keeps: no snapshot, no replay, no recovery hook.

use turnkeep_protocol::{ChannelName, UiMessageChunk};

use super::{INTERRUPTED, Run, seeded_inbox};
use crate::boot::hydrated::{in_flight, out_tail};
use crate::boundary::Boundaries;
use crate::error::Error;

impl Run {
    /// Takes over where the run or the attempt before has left the channels.
    pub(super) async fn take_over(&mut self) -> Result<(), Error> {
        let out = self.link.drain(ChannelName::Out, None).await?;
        let tail = out_tail(self.lease.settled_cursor, &out);
        let input = self.drain_in(tail.cursor).await?;
        let in_flight = in_flight(&input);
        let closing = tail.closing(&in_flight);

        self.boundaries = Boundaries::kept_by_author(tail.newest_boundary);
        self.recovered = in_flight.owed.into();
        self.ends_after_recovered = in_flight.closing;
        self.input.seed(seeded_inbox(tail.cursor, input, &in_flight.dropped), tail.cursor);
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
}

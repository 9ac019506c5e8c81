//! End-and-continue: a run hands its session to a successor (S §2.2, D-36).
//!
//! One step does it all: the slot changes hands, the caller's run ends, `upgrade-required` is on `out`, the successor is queued. So
//! there is never more than one live run, and no write of the caller can come after.

use turnkeep_host::Timestamp;
use turnkeep_protocol::session_api::Swapped;
use turnkeep_protocol::{NewRecord, RunId, SeqNum, control};

use super::create::refuse_dead;
use super::{Core, Refused, RunLook, Session, Writer};
use crate::{RunReason, RunRow, RunStatus};

/// A checked end-and-continue request.
#[derive(Clone, Debug)]
pub(crate) struct NewSwap {
    /// The session, either form of its id.
    pub url_id: String,
    /// The run that ends.
    pub calling_run: RunId,
    /// Why the successor is started.
    pub reason: RunReason,
    /// The caller's run and attempt when it named them; only such a caller reports cursors.
    pub writer: Option<Writer>,
    /// The settled cursor (D-32).
    pub settled: Option<SeqNum>,
    /// The highest `in` seq_num received (D-41).
    pub consumed: Option<SeqNum>,
}

impl Core {
    /// Gives the session to a new run if the caller has it, or says who has it (S-46…S-48).
    pub(crate) fn end_and_continue(
        &mut self,
        now: Timestamp,
        swap: NewSwap,
        look: RunLook,
    ) -> Result<Swapped, Refused> {
        let session = self.require(&swap.url_id)?;
        refuse_dead(&session.row, now)?;
        self.check_run(&swap.calling_run, look).map_err(|refused| match refused {
            Refused::NoRun => Refused::NoCallingRun,
            other => other,
        })?;
        let owner = session.row.current_run.as_ref().ok_or(Refused::NoRun)?;
        if *owner != swap.calling_run {
            return Ok(Swapped { run_id: owner.clone(), swapped: false });
        }
        let calling = self.state.run(owner).expect("the run in the slot is never forgotten");
        let settled = swap.settled.filter(|_| swap.writer.is_some());
        if let Some(writer) = &swap.writer {
            self.check_writer(now, session, writer)?;
        }
        let suspects = suspects(session, calling, settled)?;
        let (id, calling) = (session.row.id.clone(), calling.clone());
        self.settle(&id, settled, swap.consumed.filter(|_| swap.writer.is_some()));
        if calling.status.is_live() {
            self.finish(calling, RunStatus::Completed);
        }
        let run_id = self.start_run(now, &id, swap.reason, suspects);
        self.put_output(now, &id, NewRecord::control(control::UPGRADE_REQUIRED, []), None, None);
        Ok(Swapped { run_id, swapped: true })
    }
}

/// Says what the successor will be suspected of, as at any end of a run (D-34), or refuses it.
///
/// Two swaps in a row without a turn between them would go on for ever: the second one is refused, so the run ends and what it owes
/// is answered as after any two runs without progress.
fn suspects(session: &Session, calling: &RunRow, settled: Option<SeqNum>) -> Result<Option<SeqNum>, Refused> {
    let settled = session.settled_with(settled);
    if settled > calling.settled_at_start {
        return Ok(None);
    }
    let owed = session.last_owed().filter(|_| session.owes_beyond(settled));
    let was_swapped_for_nothing = owed.is_none() && calling.reason == RunReason::Upgrade;
    if calling.suspects.is_some() || was_swapped_for_nothing { Err(Refused::SwapLoop) } else { Ok(owed) }
}

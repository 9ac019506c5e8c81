//! The shell around the boot plan: reads, recovery hook, closing, seeding, `on_boot` (A §3.1–§3.6).

use std::time::Duration;

use tokio::time::Instant;
use turnkeep_protocol::{ChannelName, ChatSnapshot, Role, SeqNum, UiMessageChunk};

use super::Run;
use crate::attempt::{INTERRUPTED, seeded_inbox};
use crate::boot::plan::{BootPlan, Choice, pending_tool_calls, plan};
use crate::boot::replay::{Found, HeadStart, Partial, Replay, drain_from, replay};
use crate::chain::Chain;
use crate::error::{Error, HookError};
use crate::event::{Recovery, RecoveryBoot};
use crate::link::SnapshotRead;
use crate::record::UNUSABLE;

/// How long boot repeats the read of a snapshot that it cannot do without.
const SNAPSHOT_PATIENCE: Duration = Duration::from_secs(30);

/// What is said of a chat that goes on without its snapshot (D-86).
const GONE: &str = "the stored chat snapshot is lost: the chat goes on with what is still on its channels";

/// The rest before it does.
const SNAPSHOT_PAUSE: Duration = Duration::from_secs(1);

impl Run {
    /// Brings the run to where it can take its first turn.
    pub(super) async fn boot(&mut self) -> Result<(), Error> {
        if self.lease.session_closed {
            self.input.close_session();
        }
        if self.could_have_prior_state() {
            if self.is_hydrated() { self.take_over().await? } else { self.restore().await? }
        } else {
            self.start_fresh();
        }
        if self.seed_head_start() {
            // Stored before the first hook: these messages are on no channel, and a run that dies for good takes its payload along.
            self.store_snapshot().await?;
        }
        // Before the tail opens, so that no stop of an earlier run outlives this line.
        self.input.listen_for_stops();
        if !self.awaits_handover {
            self.input.ignore_handovers();
        }
        self.on_boot().await?;
        if self.awaits_handover {
            // A stop from here on is one of the first turn.
            self.input.enter_turn(self.first_stop.clone());
        }
        self.input.connect();
        Ok(())
    }

    /// Begins an empty chat with what an author's warm server has answered so far; an author's own history has its own
    /// way to it. Tells whether there was anything to begin with.
    fn seed_head_start(&mut self) -> bool {
        let messages = self.payload.head_start_messages.clone().unwrap_or_default();
        if !self.awaits_handover || self.is_hydrated() || messages.is_empty() || !self.chain.messages().is_empty() {
            return false;
        }
        self.chain.replace_all(messages);
        self.chat.history().publish(self.chain.messages());
        true
    }

    /// Tells what this boot is to the head start that the session began with, if it did. The payload of a later run keeps the history of
    /// one only as a sign.
    fn head_start(&self) -> Option<HeadStart> {
        let history = self.payload.head_start_messages.clone();
        if self.awaits_handover {
            Some(HeadStart::Awaited(history.unwrap_or_default()))
        } else {
            history.map(|_| HeadStart::Past)
        }
    }

    async fn restore(&mut self) -> Result<(), Error> {
        self.resolve_boot_tools().await?;
        let found = self.read_history().await?;
        let saved = found.snapshot.as_ref().and_then(|snapshot| snapshot.store.clone());
        self.chat.store().restore(saved, &found.out);
        let withheld = found.snapshot.as_ref().and_then(|snapshot| snapshot.withheld.clone());
        let replayed = replay(&found);
        if replayed.n_malformed > 0 {
            self.warn(format!("{} messages on `out` could not be rebuilt", replayed.n_malformed));
        }
        let asks_hook = self.agent.hooks.recovery_boot.is_some();
        let partial = replayed.open_turn.as_ref().and_then(|turn| turn.partial.as_ref());
        let mut choice = None;
        if let Some(partial) = partial.filter(|_| asks_hook) {
            // What the hook writes belongs to the answer that comes next, in the chain as on the wire.
            // A boot that died in the hook has ended the cut answer already.
            if replayed.open_turn.as_ref().is_some_and(|turn| turn.is_open) {
                self.out.chunk(&UiMessageChunk::abort(INTERRUPTED)).await?;
            }
            choice = self.on_recovery_boot(&replayed, partial).await?;
        }
        let is_aborted = partial.is_some() && asks_hook;
        let (awaits_handover, signal) = (replayed.awaits_handover, replayed.signal);
        let BootPlan { chain, closing, mut recovered, finished, ends_after_recovered, cursor, boundaries } =
            plan(replayed, &self.payload, choice);
        // The wait for it takes it up (D-41); one that was answered as far as it ever will be has no turn any more (D-31).
        let kept = signal.filter(|signal| !finished.contains(signal));
        recovered.retain(|owed| kept.is_none() || owed.seq_num != kept);
        self.awaits_handover = awaits_handover && kept == signal;

        self.chain = Chain::seeded(chain);
        self.model_history.withhold(self.chain.messages(), withheld);
        self.chat.history().publish(self.chain.messages());
        self.boundaries = boundaries;
        self.recovered = recovered.into();
        self.ends_after_recovered = ends_after_recovered;
        self.input.seed(seeded_inbox(cursor, found.input, &finished, kept), cursor);
        if let Some(closing) = closing {
            if closing.aborts && !is_aborted {
                self.out.chunk(&UiMessageChunk::abort(INTERRUPTED)).await?;
            }
            if closing.tells {
                self.out.chunk(&UiMessageChunk::error(UNUSABLE)).await?;
            }
            if closing.ends {
                self.close_turn(None, None).await?;
                self.store_snapshot().await?;
            }
        }
        Ok(())
    }

    /// Reads snapshot, `out` and `in`, bounded and without waiting (A-44…A-49).
    ///
    /// A snapshot that cannot be read is no snapshot, unless `out` was trimmed behind one: starting without it would lose what was
    /// trimmed, and the next boundary would overwrite the good snapshot. Then the read is repeated for [`SNAPSHOT_PATIENCE`], and the
    /// attempt ends like one whose network failed. One that is lost will not be there later either: the chat goes on without (D-86).
    async fn read_history(&self) -> Result<Found, Error> {
        let give_up = Instant::now() + SNAPSHOT_PATIENCE;
        loop {
            let (snapshot, failure) = match self.link.read_snapshot().await {
                SnapshotRead::Found(snapshot) => (Some(*snapshot), None),
                SnapshotRead::Missing => (None, None),
                SnapshotRead::Gone => {
                    self.warn(GONE);
                    (None, None)
                }
                SnapshotRead::Invalid => {
                    self.warn("the stored chat snapshot is unusable");
                    (None, None)
                }
                SnapshotRead::Failed(Error::LeaseLost) => return Err(Error::LeaseLost),
                SnapshotRead::Failed(error) => {
                    self.warn(format!("the chat snapshot could not be read: {error}"));
                    (None, Some(error))
                }
            };
            let found = self.read_channels(snapshot).await?;
            let is_trimmed = found.out.first().is_some_and(|first| first.seq_num > SeqNum::ZERO);
            let Some(error) = failure.filter(|_| is_trimmed) else {
                return Ok(found);
            };
            if Instant::now() + SNAPSHOT_PAUSE > give_up {
                return Err(Error::Unreachable { what: "snapshot", detail: error.to_string() });
            }
            tokio::time::sleep(SNAPSHOT_PAUSE).await;
        }
    }

    async fn read_channels(&self, snapshot: Option<ChatSnapshot>) -> Result<Found, Error> {
        let row_settled = self.lease.settled_cursor;
        let out = self.link.drain(ChannelName::Out, snapshot.as_ref().and_then(|snapshot| snapshot.last_out_event_id));
        let (out, input) = match &snapshot {
            Some(snapshot) => futures::try_join!(out, self.drain_in(snapshot.last_in_event_id))?,
            None => {
                let out = out.await?;
                let input = self.drain_in(drain_from(row_settled, None::<&ChatSnapshot>, &out)).await?;
                (out, input)
            }
        };
        let (server_tools, head_start) = (self.server_tools.clone(), self.head_start());
        Ok(Found { row_settled, snapshot, out, input, server_tools, head_start })
    }

    /// Asks the author what to do with a turn that died inside its answer (A-60…A-66).
    async fn on_recovery_boot(&self, replayed: &Replay, partial: &Partial) -> Result<Option<Choice>, Error> {
        let Some(hook) = self.agent.hooks.recovery_boot.clone() else {
            return Ok(None);
        };
        let in_flight = replayed.in_flight.iter().filter_map(|owed| owed.payload.message.clone());
        let writer = self.writer();
        let event = RecoveryBoot {
            chat: self.chat.clone(),
            ctx: self.ctx.clone(),
            previous_run_id: self.payload.previous_run_id.clone().unwrap_or_default(),
            cause: "unknown",
            settled_messages: replayed.settled.messages().clone(),
            in_flight_users: in_flight.filter(|message| message.role == Role::User).collect(),
            partial_assistant: partial.cleaned.clone(),
            pending_tool_calls: pending_tool_calls(&partial.raw),
            writer: writer.clone(),
        };
        let decided: Result<Recovery, HookError> = hook(event).await;
        writer.flush().await?;
        let recovery = match decided {
            Ok(recovery) => recovery,
            Err(error) => {
                self.fatal("on_recovery_boot", &error)?;
                self.warn(format!("on_recovery_boot failed, the default applies: {error}"));
                return Ok(None);
            }
        };
        if let Some(before_boot) = recovery.before_boot {
            before_boot.await.map_err(|error| self.boot_error("before_boot", &error))?;
        }
        Ok(Some(Choice { chain: recovery.chain, recovered_turns: recovery.recovered_turns }))
    }
}

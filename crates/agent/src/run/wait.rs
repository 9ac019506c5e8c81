//! Between turns: warm for the idle time, then asleep on a waitpoint, then the end (A-31… ). How it waits is
//! [`crate::attempt`]'s.

use std::time::Duration;

use turnkeep_protocol::Messages;

use super::Run;
use crate::agent::Hook;
use crate::boot::replay::Owed;
use crate::checkpoint::Place;
use crate::error::Error;
use crate::event::{SuspendPhase, Suspension};

/// Where in the run's life it waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// For the first message of a chat.
    Preload,
    /// For the first message of a continuation.
    Continuation,
    /// For the next turn.
    Turn,
}

/// The two deadlines of one wait; skipping foreign records restarts neither.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Patience {
    idle: Duration,
    asleep: Duration,
    skips_sleep: bool,
}

impl Run {
    /// Waits for a message; none when the run shall end.
    pub(super) async fn wait(&mut self, phase: Phase) -> Result<Option<Owed>, Error> {
        let patience = self.patience(phase);
        // Nothing is owed here, and the server should know before it judges an append (D-32).
        let settled = self.input.with(|inbox| inbox.settled());
        self.input.publish(settled);
        if let Some(owed) = self.wait_warm(patience.idle).await? {
            return Ok(Some(owed));
        }
        if self.input.is_session_closed() || self.input.is_draining() {
            return Ok(None);
        }
        self.gate.reach(Place::IdleEnd).await;
        if patience.skips_sleep {
            return Ok(None);
        }
        // Work that was deferred must not freeze with the run (A-177, AR-40).
        self.chat.settle_deferred().await;
        self.on_suspension("on_chat_suspend", self.agent.hooks.chat_suspend.clone(), phase).await?;
        // A record that came while the hook ran is taken instead of suspending (A-33, AR-6).
        if let Some(owed) = self.take_queued() {
            return Ok(Some(owed));
        }
        let Some(owed) = self.sleep(patience.asleep).await? else {
            return Ok(None);
        };
        self.on_suspension("on_chat_resume", self.agent.hooks.chat_resume.clone(), phase).await?;
        self.input.connect();
        Ok(Some(owed))
    }

    fn patience(&self, phase: Phase) -> Patience {
        let limits = self.agent.limits;
        let is_preload = phase == Phase::Preload;
        let agent_idle = limits.preload_idle_timeout.filter(|_| is_preload).or(limits.idle_timeout);
        let agent_asleep = limits.preload_timeout.filter(|_| is_preload).unwrap_or(limits.turn_timeout);
        Patience {
            idle: self.idle_timeout(agent_idle),
            asleep: self.turn_timeout(agent_asleep),
            skips_sleep: is_preload && limits.exits_after_preload_idle,
        }
    }

    /// Runs a suspend or resume hook: at boot its failure fails the run, later it is only worth a warning.
    async fn on_suspension(
        &mut self,
        name: &'static str,
        hook: Option<Hook<Suspension>>,
        phase: Phase,
    ) -> Result<(), Error> {
        let Some(hook) = hook else {
            return Ok(());
        };
        let in_turns = phase == Phase::Turn;
        // The newest turn's, as its hooks had it; the run's own before the first one.
        let (client_data, client_data_error) = match self.chat.turn_context().filter(|_| in_turns) {
            Some(turn) => (turn.client_data, None),
            None => self.boot_client_data(name)?,
        };
        let event = Suspension {
            chat: self.chat.clone(),
            ctx: self.ctx.clone(),
            phase: match phase {
                Phase::Preload => SuspendPhase::Preload,
                Phase::Continuation => SuspendPhase::Continuation,
                Phase::Turn => SuspendPhase::Turn,
            },
            client_data,
            client_data_error,
            turn: in_turns.then_some(self.n_turns),
            messages: if in_turns { self.model_history_or_warn() } else { Vec::new() },
            ui_messages: if in_turns { self.chain.messages().clone() } else { Messages::new() },
        };
        let result = hook(event).await;
        self.apply_override();
        let Err(error) = result else {
            return Ok(());
        };
        if !in_turns {
            return Err(self.boot_error(name, &error));
        }
        self.fatal(name, &error)?;
        self.warn(format!("{name} failed: {error}"));
        Ok(())
    }
}

//! [`CustomRun`]: a run that the author's own code drives, message by message (A-209, A-210, A-218), or turn by turn
//! ([`CustomSession`]).
//!
//! There is no turn loop, no hook and no history here: the runtime binds the session, goes on where the attempt before has left it,
//! and keeps `out` short.

mod session;
mod stop_signal;
mod wait;

use std::fmt;
use std::sync::Arc;

use turnkeep_model::LanguageModel;
use turnkeep_protocol::{ChatTaskWirePayload, ModelMessage, SeqNum, Trigger};

pub use self::session::{CompletedTurn, CustomSession, CustomTurn, SessionOptions};
pub use self::stop_signal::StopSignal;
pub use self::wait::WaitOptions;
use crate::agent::{Agent, Hook, boxed};
use crate::answer::{Answer, StreamText};
use crate::attempt::{AtHand, Attempt, AttemptParts};
use crate::boot::replay::Owed;
use crate::boundary::Boundaries;
use crate::chat::Chat;
use crate::checkpoint::Place;
use crate::error::{Error, HookError};
use crate::event::RunContext;
use crate::run::RunParts;
use crate::task::Task;

/// What a custom agent's code is called in errors and checkpoints.
const RUN: &str = "run";

/// An agent that is all its author's own code; made by [`Agent::custom`].
#[derive(Clone, Debug)]
#[must_use = "an agent does nothing until a worker serves it"]
pub struct CustomAgent(Agent);

impl Agent {
    /// Makes an agent whose `code` drives the whole run: `id` is the task id that sessions name (A-218).
    ///
    /// The run ends when `code` does. A message that it took and did not close with [`CustomRun::write_turn_complete`] is still owed
    /// then, and starts another run. A failure fails the run.
    ///
    /// ```
    /// use turnkeep_agent::{Agent, CustomRun, PipeOptions, WaitOptions};
    ///
    /// let agent = Agent::custom("parrot", |mut run: CustomRun| async move {
    ///     let mut stop = run.create_stop_signal();
    ///     while let Some(payload) = run.next_message(WaitOptions::new()).await? {
    ///         stop.reset();
    ///         let said = payload.message.map(|message| message.text()).unwrap_or_default();
    ///         let answer = run.stream_text(vec![turnkeep_agent::protocol::ModelMessage::user(said)]);
    ///         run.chat.pipe(answer, PipeOptions::new().signal(stop.signal())).await?;
    ///         run.write_turn_complete(None).await?;
    ///     }
    ///     Ok(())
    /// });
    /// # let _: Agent = agent.into();
    /// ```
    pub fn custom<F, Fut>(id: impl Into<String>, code: F) -> CustomAgent
    where
        F: Fn(CustomRun) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<(), HookError>> + Send + 'static,
    {
        let loops_never = |_| async { Ok(Answer::Nothing) };
        CustomAgent(Self { custom: Some(boxed(code)), ..Self::new(id, loops_never) })
    }
}

impl From<CustomAgent> for Agent {
    fn from(custom: CustomAgent) -> Self {
        custom.0
    }
}

/// The run in the hands of a custom agent's code.
pub struct CustomRun {
    /// The chat; its history is empty, since the code keeps its own.
    pub chat: Chat,
    /// The run.
    pub ctx: RunContext,
    /// What the run was started with: client data, and whether it continues another run.
    pub payload: ChatTaskWirePayload,
    pub(crate) attempt: Attempt,
    pub(crate) model: Arc<dyn LanguageModel>,
    /// Given to the code and not closed yet.
    taken: Vec<SeqNum>,
    /// Whether nothing comes any more: a close was taken up.
    is_over: bool,
}

/// Where a turn ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TurnBoundary {
    /// Its place on `out`: where a reader that has the turn resumes.
    pub last_event_id: SeqNum,
    /// Everything up to here on `in` is settled.
    pub session_in_event_id: Option<SeqNum>,
}

impl CustomRun {
    /// Gives whether a run before this one served the session.
    pub fn is_continuation(&self) -> bool {
        self.attempt.is_continuation()
    }

    /// Begins an answer by the worker's model to these messages; pipe it with [`Chat::pipe`].
    pub fn stream_text(&self, messages: Vec<ModelMessage>) -> StreamText {
        StreamText::new(self.model.clone(), messages, Vec::new())
    }

    /// Waits for the next message, action or regenerate; none when the run shall end: nothing came in time, the chat or the session
    /// was closed, the worker is going away, or [`Chat::end_run`] was called and nothing waits.
    ///
    /// What is given out is owed until [`CustomRun::write_turn_complete`]. May be awaited beside a pipe, to hear what comes meanwhile;
    /// dropping the future loses nothing.
    ///
    /// # Errors
    ///
    /// Fails when the run cannot go on; return the error.
    pub async fn next_message(&mut self, options: WaitOptions) -> Result<Option<ChatTaskWirePayload>, Error> {
        while let Some(owed) = self.next_owed(options).await? {
            match owed.payload.trigger {
                // These have nothing to do on a live run (A-150).
                Some(Trigger::Preload) | None => self.attempt.finish(&owed),
                _ => return Ok(Some(self.take(owed))),
            }
        }
        Ok(None)
    }

    pub(crate) async fn next_owed(&mut self, options: WaitOptions) -> Result<Option<Owed>, Error> {
        if self.is_over {
            return Ok(None);
        }
        let owed = match self.attempt.at_hand() {
            AtHand::Payload(owed) => Some(*owed),
            AtHand::End => None,
            AtHand::Nothing => {
                let owed = self.attempt.wait_plainly(options).await?;
                owed.and_then(|owed| self.attempt.unless_close(owed))
            }
        };
        // Nothing revives a run that has heard of its end.
        self.is_over = owed.is_none();
        Ok(owed)
    }

    /// Holds a payload to be owed until the next boundary.
    pub(crate) fn take(&mut self, owed: Owed) -> ChatTaskWirePayload {
        self.taken.extend(owed.seq_num);
        owed.payload
    }

    /// Makes a signal that people's stops set from now on; each later one takes the stops of those before it (A-210).
    pub fn create_stop_signal(&self) -> StopSignal {
        StopSignal::attach(self.attempt.input.clone())
    }

    /// Mints an access token for the chat's clients, good for one turn's end (A-93); none when the server cannot.
    pub async fn mint_access_token(&self) -> Option<String> {
        self.attempt.link.mint_token().await
    }

    /// Closes the turn: every message that was given out is settled, readers know that nothing follows, and what is behind the boundary
    /// before this one is dropped from `out` (A-209, A-105, A-106, AR-39).
    ///
    /// The boundary and everything written before it is durable when this resolves.
    ///
    /// # Errors
    ///
    /// Fails when the run cannot go on; return the error.
    pub async fn write_turn_complete(&mut self, public_access_token: Option<String>) -> Result<TurnBoundary, Error> {
        // Nobody makes a message of them any more.
        self.attempt.queued.take();
        // An answer of the next turn goes on from no summary of this one (A-170).
        self.chat.pipes().sum_up(None, None);
        let newest = self.taken.pop();
        self.attempt.input.with(|inbox| self.taken.drain(..).for_each(|seq_num| inbox.finish(seq_num)));
        let last_event_id = self.attempt.close_turn(newest, public_access_token).await?;
        self.attempt.reach_turn_end().await;
        let (session_in_event_id, _) = self.attempt.input.cursors();
        Ok(TurnBoundary { last_event_id, session_in_event_id })
    }

    async fn boot(&mut self) -> Result<(), Error> {
        if self.attempt.lease.session_closed {
            self.attempt.input.close_session();
        }
        if self.attempt.could_have_prior_state() {
            self.attempt.take_over().await?;
        } else {
            self.attempt.start_fresh();
        }
        // Seeded first: whatever the code attaches finds no record of turns that are over (AR-8, A-57).
        self.attempt.input.listen_for_stops();
        if !self.attempt.awaits_handover {
            self.attempt.input.ignore_handovers();
        }
        self.attempt.input.connect();
        self.attempt.gate.reach(Place::Booted).await;
        Ok(())
    }
}

impl fmt::Debug for CustomRun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CustomRun").field("chat", &self.chat).field("ctx", &self.ctx).finish_non_exhaustive()
    }
}

/// Serves a session with a custom agent's code until that ends.
///
/// # Errors
///
/// Fails when the code does, or when the run cannot go on; what is not settled then is still owed.
pub(crate) async fn serve(code: Hook<CustomRun>, parts: RunParts, task: Arc<Task>) -> Result<(), Error> {
    let RunParts { host, agent, model, link, input, lease, warn, gate } = parts;
    let code = gate.around(RUN, code);
    let (locals, boundaries) = (agent.fresh_locals(), Boundaries::kept_by_author(None));
    let attempt = Attempt::new(AttemptParts { host, link, input, lease, warn, gate, locals, boundaries, task })?;
    let leaving = attempt.leaving();
    let mut run = CustomRun {
        chat: attempt.chat.clone(),
        ctx: attempt.ctx.clone(),
        payload: attempt.payload.clone(),
        attempt,
        model,
        taken: Vec::new(),
        is_over: false,
    };
    run.boot().await?;
    // A close boots nothing (A-79).
    if run.payload.trigger != Some(Trigger::Close) {
        code(run).await.map_err(|error| Error::of_hook(RUN, &error))?;
    }
    leaving.leave().await
}

#[cfg(test)]
mod tests;

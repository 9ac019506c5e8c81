//! [`Progress`]: where every run is, told by the checkpoints of the runtime.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::sync::Arc;

use futures::future::BoxFuture;
use turnkeep_agent::{Checkpoint, Checkpoints, Place, RunContext};
use turnkeep_protocol::run_api::RunOutcome;
use turnkeep_protocol::{RunId, SeqNum, SessionId};

use super::barrier::{Caught, Hold, HoldState, Stop, is_exit};
use crate::watched::Watched;

/// How many places are remembered, the newest.
const MAX_PLACES: usize = 1_000;

/// How many places a failure shows.
const SHOWN_PLACES: usize = 8;

/// Where every run is.
pub(super) type Progress = Watched<Runs>;

/// The runs that workers of this test have served.
#[derive(Debug, Default)]
pub(super) struct Runs {
    /// Counts everything that was reached; an entry's number is its time.
    n_reached: u64,
    /// The newest places, for failures to show.
    places: VecDeque<Reached>,
    /// Where each session's runs came last.
    last: BTreeMap<SessionId, Reached>,
    /// The newest attempt of each session, and whether it still lives.
    live: BTreeMap<SessionId, Attempt>,
    pub(super) exits: Vec<Exit>,
    settled: BTreeMap<SessionId, (SeqNum, u64)>,
    /// Every attempt that came anywhere.
    begun: BTreeSet<(RunId, u32)>,
    /// Runs whose worker has heard that they were cancelled.
    pub(super) cancelled: BTreeSet<RunId>,
    /// What boots of each session have read.
    reads: BTreeSet<(SessionId, &'static str)>,
    pub(super) holds: Vec<Hold>,
    /// Barriers, and delays, that were taken away before any run came.
    pub(super) unreached: Vec<String>,
    pub(super) told: ToldContext,
}

/// What the test makes of a run's context before hooks and code are told.
#[derive(Clone, Default)]
pub(super) struct ToldContext(pub(super) Option<Arc<ChangeContext>>);

type ChangeContext = dyn Fn(&mut RunContext) + Send + Sync;

impl fmt::Debug for ToldContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ToldContext").field(&self.0.is_some()).finish()
    }
}

/// A place that a run came to.
#[derive(Debug, Clone)]
struct Reached {
    number: u64,
    ctx: RunContext,
    place: Place,
}

/// One attempt at a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Attempt {
    pub(super) run: RunId,
    pub(super) attempt: u32,
    pub(super) is_booted: bool,
    pub(super) is_over: bool,
}

/// The end of an attempt, as it was about to be reported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Exit {
    pub(super) number: u64,
    pub(super) session: SessionId,
    pub(super) run: RunId,
    pub(super) attempt: u32,
    pub(super) outcome: RunOutcome,
    /// The test brought it about.
    pub(super) is_wished: bool,
    /// The test knows of it.
    pub(super) is_heard: bool,
}

impl Runs {
    /// Gives the time: everything reached later has a higher number.
    pub(super) fn now(&self) -> u64 {
        self.n_reached
    }

    fn note(&mut self, checkpoint: &Checkpoint) {
        let Checkpoint { ctx, place } = checkpoint.clone();
        self.n_reached += 1;
        let number = self.n_reached;
        let attempt = Attempt { run: ctx.run_id.clone(), attempt: ctx.attempt, is_booted: false, is_over: false };
        let live = self.live.entry(ctx.session_id.clone()).or_insert_with(|| attempt.clone());
        // One that was followed already may go on for a while: a cancelled run hears of it late.
        let is_new = self.begun.insert((attempt.run.clone(), attempt.attempt));
        if is_new {
            *live = attempt.clone();
        }
        if (&live.run, live.attempt) == (&attempt.run, attempt.attempt) {
            live.is_booted |= place == Place::Booted;
            live.is_over |= is_exit(&place);
        }
        match &place {
            Place::TurnEnd { settled: Some(settled) } => {
                self.settled.insert(ctx.session_id.clone(), (*settled, number));
            }
            Place::Cancelled => drop(self.cancelled.insert(ctx.run_id.clone())),
            Place::BeforeRead(what) => drop(self.reads.insert((ctx.session_id.clone(), what))),
            Place::BeforeExit(outcome) => {
                let (session, run, attempt) = (ctx.session_id.clone(), ctx.run_id.clone(), ctx.attempt);
                self.exits.push(Exit {
                    number,
                    session,
                    run,
                    attempt,
                    outcome: outcome.clone(),
                    is_wished: false,
                    is_heard: false,
                });
            }
            _ => {}
        }
        if self.places.len() == MAX_PLACES {
            self.places.pop_front();
        }
        let reached = Reached { number, ctx, place };
        self.last.insert(reached.ctx.session_id.clone(), reached.clone());
        self.places.push_back(reached);
    }

    /// Gives a session's newest attempt.
    pub(super) fn attempt(&self, session: &SessionId) -> Option<&Attempt> {
        self.live.get(session)
    }

    /// Gives where a session's runs came last.
    pub(super) fn place(&self, session: &SessionId) -> Option<&Place> {
        self.last.get(session).map(|reached| &reached.place)
    }

    /// Gives where an attempt came last before its end.
    pub(super) fn place_of(&self, run: &RunId, attempt: u32) -> Option<&Place> {
        let theirs = |reached: &&Reached| reached.ctx.run_id == *run && reached.ctx.attempt == attempt;
        let mut places = self.places.iter().rev().filter(theirs).map(|reached| &reached.place);
        places.find(|place| !is_exit(place))
    }

    /// Gives the first end of an attempt since `since` that nobody wished for.
    pub(super) fn failure(&self, session: &SessionId, since: u64) -> Option<Exit> {
        let mut exits = self.exits.iter().filter(|exit| exit.session == *session && exit.number > since);
        exits.find(|exit| exit.outcome != RunOutcome::Completed && !exit.is_wished).cloned()
    }

    /// Notes that the test knows of these ends of a session's attempts.
    pub(super) fn heard(&mut self, session: &SessionId, is_it: impl Fn(&Exit) -> bool) {
        let theirs = self.exits.iter_mut().filter(|exit| exit.session == *session && is_it(exit));
        theirs.for_each(|exit| exit.is_heard = true);
    }

    /// Notes that the worker is dead, and every attempt that lived with it.
    pub(super) fn worker_died(&mut self) {
        self.live.values_mut().for_each(|attempt| attempt.is_over = true);
    }

    /// Notes an end that the test has brought about.
    pub(super) fn ended_from_outside(&mut self, session: &SessionId, run: &RunId, attempt: u32, outcome: RunOutcome) {
        self.n_reached += 1;
        let (number, session, run) = (self.n_reached, session.clone(), run.clone());
        if let Some(live) = self.live.get_mut(&session).filter(|live| live.run == run) {
            live.is_over = true;
        }
        self.exits.push(Exit { number, session, run, attempt, outcome, is_wished: true, is_heard: true });
    }

    /// Gives when a session's runs came to their last place.
    pub(super) fn place_time(&self, session: &SessionId) -> Option<u64> {
        self.last.get(session).map(|reached| reached.number)
    }

    /// Gives the newest end of an attempt of a session.
    pub(super) fn last_exit(&self, session: &SessionId) -> Option<&Exit> {
        self.exits.iter().rev().find(|exit| exit.session == *session)
    }

    /// Tells whether the turn that served an input is over for good: hooks done, snapshot stored.
    ///
    /// A run that rests or ends behind the boundary has nothing left to do for it either.
    pub(super) fn is_settled(&self, session: &SessionId, input: Option<SeqNum>, since: u64) -> bool {
        let told = self.settled.get(session).filter(|(settled, number)| match input {
            Some(input) => *settled >= input,
            None => *number > since,
        });
        let last = self.last.get(session);
        let rests = |reached: &Reached| {
            let rests = matches!(reached.place, Place::IdleEnd | Place::BeforeSuspend | Place::BeforeExit(_));
            rests && reached.number > since
        };
        told.is_some() || last.is_some_and(rests)
    }

    /// Gives the end of a session's first attempt.
    pub(super) fn first_exit(&self, session: &SessionId) -> Option<&Exit> {
        self.exits.iter().find(|exit| exit.session == *session)
    }

    pub(super) fn has_read(&self, session: &SessionId, what: &'static str) -> bool {
        self.reads.contains(&(session.clone(), what))
    }

    /// Lists the newest places, oldest first.
    pub(super) fn last_places(&self) -> String {
        let shown: Vec<String> = self.places.iter().rev().take(SHOWN_PLACES).map(|it| it.place.to_string()).collect();
        if shown.is_empty() {
            return "none".to_owned();
        }
        shown.into_iter().rev().collect::<Vec<_>>().join(", ")
    }

    /// Names the barriers that hold a session's living attempt now.
    pub(super) fn holding(&self, session: &SessionId) -> Vec<String> {
        let holding = self.holds.iter().filter(|hold| hold.state == HoldState::Holding);
        let lives = |caught: &Caught| {
            let live = self.live.get(&caught.session).filter(|live| !live.is_over);
            live.is_some_and(|live| (&live.run, live.attempt) == (&caught.run, caught.attempt))
        };
        let theirs = |caught: &Caught| caught.session == *session && lives(caught);
        let holding = holding.filter(|hold| hold.caught.as_ref().is_some_and(theirs));
        holding.map(|hold| hold.at.to_string()).collect()
    }

    /// Takes a barrier away: who stands there goes on, and nobody stops there any more.
    pub(super) fn release(&mut self, index: usize) {
        let hold = &mut self.holds[index];
        if hold.state == HoldState::Waiting {
            self.unreached.push(hold.at.to_string());
        }
        hold.release();
    }

    /// Lets a session's runs go on, wherever they stand.
    pub(super) fn release_session(&mut self, session: &SessionId) {
        let theirs = |hold: &&mut Hold| hold.caught.as_ref().is_some_and(|caught| caught.session == *session);
        self.holds.iter_mut().filter(theirs).for_each(Hold::release);
    }

    /// Takes every barrier away.
    pub(super) fn release_all(&mut self) {
        (0..self.holds.len()).for_each(|index| self.release(index));
    }
}

impl Checkpoints for Progress {
    fn reach(&self, checkpoint: &Checkpoint) -> BoxFuture<'static, ()> {
        let stops: Vec<Stop> = self.change(|runs| {
            runs.note(checkpoint);
            runs.holds.iter_mut().filter_map(|hold| hold.catch(checkpoint)).collect()
        });
        Box::pin(async move {
            for stop in stops {
                stop.wait().await;
            }
        })
    }

    fn watches_records(&self) -> bool {
        self.look(|runs| runs.holds.iter().any(Hold::watches_records))
    }

    fn told(&self, mut ctx: RunContext) -> RunContext {
        let told = self.look(|runs| runs.told.clone());
        if let Some(change) = told.0 {
            change(&mut ctx);
        }
        ctx
    }
}

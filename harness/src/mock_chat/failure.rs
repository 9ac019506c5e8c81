//! [`SendError`] and [`SetupError`]: what a test reads when its chat goes wrong: the turn, the record, the place of the run.

use std::fmt;
use std::time::Duration;

use turnkeep_protocol::run_api::RunOutcome;
use turnkeep_protocol::{RunId, SeqNum};

use super::journal::name;
use super::stage::Stage;

/// How many records a failure shows.
const SHOWN_RECORDS: usize = 12;

/// Says why a chat cannot be set up.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SetupError {
    /// No agent has the id (AA-1).
    #[error("there is no agent `{id}`; the agents are {known:?}")]
    UnknownAgent {
        /// The id.
        id: String,
        /// The ids there are.
        known: Vec<String>,
    },
    /// The boot would not look at what was seeded.
    #[error("the {seed} would not be read: {reason}")]
    UnreadSeed {
        /// What was seeded.
        seed: &'static str,
        /// Why the boot does not read it.
        reason: &'static str,
    },
    /// The server, or the network, refused.
    #[error("{what} refused: {reason}")]
    Refused {
        /// Who refused.
        what: &'static str,
        /// Why.
        reason: String,
    },
}

impl SetupError {
    pub(super) fn refused(what: &'static str, reason: impl fmt::Display) -> Self {
        Self::Refused { what, reason: reason.to_string() }
    }
}

/// Says why an input was not answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SendError {
    /// Which input: `message 2 ("And tomorrow?") of chat test-chat`.
    pub input: String,
    /// Why.
    pub cause: SendFailure,
    /// Where the run was last, in words.
    pub place: Option<String>,
    /// What had come on `out` since the input was sent, in words.
    pub so_far: String,
}

/// Why an input was not answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SendFailure {
    /// The server did not take it.
    Refused(String),
    /// The page's stream failed.
    Stream(String),
    /// The run ended first.
    RunEnded {
        /// The run.
        run: RunId,
        /// Its attempt, from 1.
        attempt: u32,
        /// How it ended.
        outcome: RunOutcome,
    },
    /// The page's stream ended without the turn's boundary.
    NoBoundary,
    /// It took too long.
    TimedOut(Duration),
    /// The session server or the worker themselves failed.
    Broken(String),
}

impl SendError {
    pub(super) fn new(stage: &Stage, chat: &str, input: &str, since: usize, cause: SendFailure) -> Self {
        let session = stage.session(chat);
        let place = session.and_then(|id| {
            stage.progress.look(|runs| match &cause {
                SendFailure::RunEnded { run, attempt, .. } => runs.place_of(run, *attempt).map(ToString::to_string),
                _ => runs.place(&id).map(ToString::to_string),
            })
        });
        let so_far = stage.journal.look(|sessions| {
            sessions.chat(chat).map_or_else(String::new, |kept| {
                let records = kept.out.get(since..).unwrap_or_default();
                let names: Vec<String> = records.iter().take(SHOWN_RECORDS).map(name).collect();
                let more = if records.len() > SHOWN_RECORDS { ", …" } else { "" };
                match (records.first(), records.last()) {
                    (Some(first), Some(last)) if first.seq_num == last.seq_num => {
                        format!("record {} on `out`: {}", first.seq_num, names.join(", "))
                    }
                    (Some(first), Some(last)) => {
                        format!("records {}–{} on `out`: {}{more}", first.seq_num, last.seq_num, names.join(", "))
                    }
                    _ => "nothing on `out`".to_owned(),
                }
            })
        });
        Self { input: input.to_owned(), cause, place, so_far }
    }

    /// Gives how the run ended, when that is why.
    pub fn outcome(&self) -> Option<&RunOutcome> {
        match &self.cause {
            SendFailure::RunEnded { outcome, .. } => Some(outcome),
            _ => None,
        }
    }
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} was not answered: {}", self.input, self.cause)?;
        if let Some(place) = &self.place {
            write!(f, "\n  the run was last at `{place}`")?;
        }
        if !self.so_far.is_empty() {
            write!(f, "\n  the turn so far: {}", self.so_far)?;
        }
        Ok(())
    }
}

impl std::error::Error for SendError {}

impl fmt::Display for SendFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(why) => write!(f, "the server refused it: {why}"),
            Self::Stream(why) => write!(f, "the page's stream failed: {why}"),
            Self::RunEnded { run, attempt, outcome } => {
                write!(f, "run {run}, attempt {attempt}, ended: {}", in_words(outcome))
            }
            Self::NoBoundary => f.write_str("the page's stream ended without the turn's boundary"),
            Self::TimedOut(limit) => write!(f, "it took longer than {limit:?}"),
            Self::Broken(why) => f.write_str(why),
        }
    }
}

/// Says how a run ended.
pub(super) fn in_words(outcome: &RunOutcome) -> String {
    match outcome {
        RunOutcome::Completed => "completed".to_owned(),
        RunOutcome::Failed { error } => format!("failed: {error}"),
        RunOutcome::Crashed { error } => format!("crashed: {error}"),
        RunOutcome::OutOfMemory => "out of memory".to_owned(),
    }
}

/// Names a place on a channel, or says that there is none.
pub(super) fn place(seq_num: Option<SeqNum>) -> String {
    seq_num.map_or_else(|| "none".to_owned(), |seq_num| seq_num.to_string())
}

//! [`Compaction`]: when and how what the model reads is replaced by a summary (A-169…A-175).
//!
//! Between two steps the summary takes the place of everything so far, and only what the answer says after it follows; at a turn's
//! end it takes the answer in as well. The chat's own history stays as it is unless the author shortens it too.

mod between;
mod chat;
mod procedure;

use std::fmt;

use turnkeep_model::FinishReason;
use turnkeep_protocol::{ContentPart, ModelMessage, UiMessage};

pub use self::between::StepCompaction;
pub(crate) use self::between::{Between, Summed, Surroundings};
pub(crate) use self::procedure::{Procedure, Status, Trouble};
use crate::agent::{Agent, Hook, boxed};
use crate::answer::StepResult;
use crate::checkpoint::Gate;
use crate::error::HookError;
use crate::event::{CompactionCheck, CompactionSummary};

/// How the model is told that it reads a summary.
const SUMMARY_TITLE: &str = "[Conversation summary]";

/// Replaces what the model reads by a summary when it has become too long.
#[derive(Clone)]
#[must_use = "nothing is compacted unless an agent gets it"]
pub struct Compaction {
    pub(crate) should_compact: Hook<CompactionCheck, bool>,
    pub(crate) summarize: Hook<CompactionCheck, String>,
    pub(crate) compact_model_messages: Option<Hook<CompactionSummary, Vec<ModelMessage>>>,
    pub(crate) compact_ui_messages: Option<Hook<CompactionSummary, Vec<UiMessage>>>,
}

impl Compaction {
    /// Compacts when `should_compact` says so, by what `summarize` makes of it.
    ///
    /// Both are asked between the steps of an answer, where a failure fails the answer, and at the end of a turn, where it leaves
    /// everything as it is.
    pub fn new<C, FutC, S, FutS>(should_compact: C, summarize: S) -> Self
    where
        C: Fn(CompactionCheck) -> FutC + Send + Sync + 'static,
        FutC: Future<Output = Result<bool, HookError>> + Send + 'static,
        S: Fn(CompactionCheck) -> FutS + Send + Sync + 'static,
        FutS: Future<Output = Result<String, HookError>> + Send + 'static,
    {
        Self {
            should_compact: boxed(should_compact),
            summarize: boxed(summarize),
            compact_model_messages: None,
            compact_ui_messages: None,
        }
    }

    /// Compacts when more than so many tokens were read and written.
    pub fn above<S, FutS>(total_tokens: u64, summarize: S) -> Self
    where
        S: Fn(CompactionCheck) -> FutS + Send + Sync + 'static,
        FutS: Future<Output = Result<String, HookError>> + Send + 'static,
    {
        let is_above = move |check: CompactionCheck| {
            let is_above = check.total_tokens.is_some_and(|tokens| tokens > total_tokens);
            async move { Ok(is_above) }
        };
        Self::new(is_above, summarize)
    }

    /// Chooses what later turns read in place of the history; without it one message with the summary.
    pub fn compact_model_messages<F, Fut>(mut self, hook: F) -> Self
    where
        F: Fn(CompactionSummary) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Vec<ModelMessage>, HookError>> + Send + 'static,
    {
        self.compact_model_messages = Some(boxed(hook));
        self
    }

    /// Shortens the chat's own history too; without it people still see all of it.
    pub fn compact_ui_messages<F, Fut>(mut self, hook: F) -> Self
    where
        F: Fn(CompactionSummary) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Vec<UiMessage>, HookError>> + Send + 'static,
    {
        self.compact_ui_messages = Some(boxed(hook));
        self
    }

    pub(crate) fn gated(self, gate: &Gate) -> Self {
        let Self { should_compact, summarize, compact_model_messages, compact_ui_messages } = self;
        Self {
            should_compact: gate.around("should_compact", should_compact),
            summarize: gate.around("summarize", summarize),
            compact_model_messages: compact_model_messages.map(|hook| gate.around("compact_model_messages", hook)),
            compact_ui_messages: compact_ui_messages.map(|hook| gate.around("compact_ui_messages", hook)),
        }
    }
}

impl Agent {
    /// Replaces what the model reads by a summary when it has become too long.
    pub fn compaction(mut self, options: Compaction) -> Self {
        self.compaction = Some(options);
        self
    }
}

impl fmt::Debug for Compaction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Compaction")
    }
}

/// A summary that an answer went on from.
#[derive(Clone, Debug)]
pub(crate) struct Kept {
    pub(crate) text: String,
    pub(crate) options: Compaction,
    /// The answer's message, if it is known; its first so many steps are older than the answer.
    pub(crate) response: Option<(String, usize)>,
}

/// What compaction has to do before a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Inner {
    /// Nothing: there is nothing to sum up, or it is not safe to.
    Skip,
    /// The author is asked.
    Ask,
    /// It was done in this answer: the summary stays in place of what it stands for.
    Rebuild,
}

/// Decides by the newest step. What a summary stands for is not read again, whatever the newest step left open (D-67).
fn inner(newest: Option<&StepResult>, is_compacted: bool) -> Inner {
    if is_compacted && newest.is_some() {
        return Inner::Rebuild;
    }
    // A call whose result comes later must still be there then.
    let is_safe =
        |step: &StepResult| step.finish_reason != FinishReason::Error && step.calls.iter().all(|call| call.is_answered);
    if newest.is_some_and(is_safe) { Inner::Ask } else { Inner::Skip }
}

/// Tells whether a summary loses nothing that is still under way: no call of the agent waits for its outcome.
pub fn is_compaction_safe<'m>(messages: impl IntoIterator<Item = &'m UiMessage>) -> bool {
    let mut calls = messages.into_iter().filter(|message| message.is_assistant()).flat_map(UiMessage::tool_parts);
    calls.all(|call| call.state.is_final())
}

/// Gives what later turns read when the author does not choose.
pub(crate) fn summary_message(summary: &str) -> ModelMessage {
    ModelMessage::assistant(vec![ContentPart::text(format!("{SUMMARY_TITLE}\n\n{summary}"))])
}

#[cfg(test)]
mod tests;

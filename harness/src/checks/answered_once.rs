//! `answered-once`: every input that wants a turn gets exactly one.
//!
//! An input is owed from the moment it is durable until a `turn-complete` covers it, that is, carries a `session-in-event-id` at
//! or above its seq_num (D-33). Exactly: that cursor never falls (I4) and never passes the end of `in`. A turn that streamed a
//! message covers one owed input, besides inputs injected into a turn; a turn that only failed may cover several when no
//! run holds the lease, as the server writes it about poison (D-34). A turn that streamed a message and covers nothing answers
//! something for the second time, unless it took over from a head start. A turn that streamed nothing covers only what was
//! stopped, which is the newest owed input before a stop, is an action without a result, is a duplicate by message id
//! (D-42), or was given up with an interrupted turn (D-31). When the world has settled, nothing is owed, unless the session was
//! closed (D-2) or its backend replaced by an empty one. Interrupted, stopped and failed turns are answers.

use std::collections::BTreeSet;

use turnkeep_protocol::{ChannelName, ChatInputChunk, SESSION_CLOSED, Trigger, control};

use super::fold::{Turn, turns};
use super::story::{Content, Stored, Story, broken_at};
use crate::outcome::Violation;
use crate::trace::Event;

pub(super) const NAME: &str = "answered-once";

/// One session's inputs and how far they are settled.
struct Session<'s, 't> {
    name: &'t str,
    inputs: Vec<&'s Stored<'t>>,
    settled: Option<u64>,
    injected: BTreeSet<&'s str>,
    /// Whether a run holds the lease, from each of these entries on.
    leased: Vec<(usize, bool)>,
    after_interruption: bool,
}

pub(super) fn check(story: &Story<'_>) -> Vec<Violation> {
    let mut violations = Vec::new();
    for name in story.sessions() {
        let inputs = story.channel(name, ChannelName::In).collect();
        let leased = leases(story, name);
        let injected = BTreeSet::new();
        let mut session = Session { name, inputs, settled: None, injected, leased, after_interruption: false };
        for turn in turns(story.channel(name, ChannelName::Out)) {
            session.injected.extend(turn.injected());
            if let Some(boundary) = turn.boundary {
                violations.extend(session.close(&turn, boundary));
            }
        }
        if story.settled() && !closed(story, name) && !story.is_gone(name) {
            violations.extend(session.owed().map(|input| {
                let (seq, asked) = (input.seq(), describe(input));
                broken_at(NAME, name, input.entry, seq, format!("{asked} at seq_num {seq} was never answered"))
            }));
        }
    }
    violations
}

impl<'s, 't> Session<'s, 't> {
    /// Lists the inputs that want a turn and are not covered.
    fn owed(&self) -> impl Iterator<Item = &'s Stored<'t>> {
        let settled = self.settled;
        let inputs: Vec<_> = self.inputs.clone();
        inputs.into_iter().filter(move |input| input.wants_turn() && Some(input.seq()) > settled)
    }

    /// Takes a turn's end; gives what is wrong with what it covers.
    fn close(&mut self, turn: &Turn<'s, 't>, boundary: &'s Stored<'t>) -> Option<Violation> {
        let before = self.settled;
        let Some(settled) = turn.settled().or(before) else {
            return turn.answers().then(|| self.violation(boundary, &[], "ends a streamed turn without a cursor"));
        };
        if before.is_some_and(|before| settled < before) {
            let what = format!("moves the settled cursor back to {settled} from {}", before.unwrap_or_default());
            return Some(self.violation(boundary, &[], &what));
        }
        let durable =
            self.inputs.iter().filter(|input| input.entry.n < boundary.entry.n).map(|input| input.seq()).max();
        if Some(settled) > durable {
            let end = durable.map_or_else(|| "is empty".to_owned(), |end| format!("ends at seq_num {end}"));
            return Some(self.violation(boundary, &[], &format!("covers seq_num {settled}, but `in` {end}")));
        }
        let covered: Vec<_> =
            self.inputs.iter().copied().filter(|input| Some(input.seq()) > before && input.seq() <= settled).collect();
        let owed: Vec<_> = covered
            .iter()
            .copied()
            .filter(|input| input.wants_turn() && !input.message_id().is_some_and(|id| self.injected.contains(id)))
            .collect();
        self.settled = Some(settled);
        let after_interruption = std::mem::replace(&mut self.after_interruption, turn.interrupted());
        if turn.answers() {
            return self.judge_streamed(boundary, &covered, &owed);
        }
        if turn.failed() {
            return self.judge_failed(boundary, &owed);
        }
        let unanswered = owed.into_iter().find(|input| !after_interruption && !self.needs_no_answer(input, boundary));
        if after_interruption {
            self.after_interruption = true;
        }
        unanswered.map(|input| {
            let what = format!("covers {} at seq_num {}, but nothing was streamed", describe(input), input.seq());
            self.violation(boundary, &[input], &what)
        })
    }

    fn judge_streamed(
        &self,
        boundary: &Stored<'t>,
        covered: &[&Stored<'t>],
        owed: &[&Stored<'t>],
    ) -> Option<Violation> {
        let handed_over = |input: &&Stored<'_>| {
            matches!(input.content, Content::Input(ChatInputChunk::Handover { .. } | ChatInputChunk::HandoverSkip))
        };
        match owed {
            [_] => None,
            [] if covered.iter().any(handed_over) => None,
            [] => Some(self.violation(boundary, &[], "ends a turn that streamed a message for no owed input")),
            [..] => {
                let seqs: Vec<_> = owed.iter().map(|input| input.seq().to_string()).collect();
                let what = format!("covers the owed seq_nums {} with one streamed turn", seqs.join(", "));
                Some(self.violation(boundary, owed, &what))
            }
        }
    }

    /// Judges a turn that only failed: of several owed inputs only the server may say so, when no run is at work.
    fn judge_failed(&self, boundary: &Stored<'t>, owed: &[&Stored<'t>]) -> Option<Violation> {
        let at = boundary.entry.n;
        let leased = self.leased.iter().rev().find(|(since, _)| *since < at).is_some_and(|(_, leased)| *leased);
        (leased && owed.len() > 1).then(|| {
            let seqs: Vec<_> = owed.iter().map(|input| input.seq().to_string()).collect();
            let what = format!("covers the owed seq_nums {} with one failed turn of a run", seqs.join(", "));
            self.violation(boundary, owed, &what)
        })
    }

    /// Tells whether the turn that covers `input` may have streamed nothing.
    fn needs_no_answer(&self, input: &Stored<'_>, boundary: &Stored<'_>) -> bool {
        let action = input.payload().is_some_and(|payload| payload.trigger == Some(Trigger::Action));
        let before_boundary = |other: &&&Stored<'_>| other.entry.n < boundary.entry.n;
        let mut later = self.inputs.iter().filter(before_boundary).filter(|other| other.seq() > input.seq());
        let next = later.find(|other| other.wants_turn() || is_stop(other));
        let stopped = next.is_some_and(|next| is_stop(next));
        let duplicate = input.message_id().is_some_and(|id| {
            self.inputs.iter().any(|other| other.seq() < input.seq() && other.message_id() == Some(id))
        });
        action || stopped || duplicate
    }

    fn violation(&self, boundary: &Stored<'_>, inputs: &[&Stored<'_>], what: &str) -> Violation {
        let seq = boundary.seq();
        let violation =
            broken_at(NAME, self.name, boundary.entry, seq, format!("the turn-complete at seq_num {seq} {what}"));
        let entries = inputs.iter().map(|input| input.entry.n).chain(violation.entries.iter().copied()).collect();
        Violation { entries, ..violation }
    }
}

fn is_stop(input: &Stored<'_>) -> bool {
    matches!(input.content, Content::Input(ChatInputChunk::Stop { .. }))
}

/// Lists since when a run of the session holds the lease, and since when none does.
fn leases(story: &Story<'_>, name: &str) -> Vec<(usize, bool)> {
    let mut held = BTreeSet::new();
    let mut leases = Vec::new();
    for entry in story.entries {
        let Event::Run { session, run, status, .. } = &entry.event else { continue };
        if session != name {
            continue;
        }
        if status == "leased" {
            held.insert(run);
        } else {
            held.remove(run);
        }
        leases.push((entry.n, !held.is_empty()));
    }
    leases
}

/// Names an input for people.
fn describe(input: &Stored<'_>) -> String {
    match (input.message_id(), input.payload().and_then(|payload| payload.trigger)) {
        (Some(id), _) => format!("message {id}"),
        (None, Some(Trigger::RegenerateMessage)) => "the regenerate".to_owned(),
        (None, Some(Trigger::Action)) => "the action".to_owned(),
        _ => "the input".to_owned(),
    }
}

/// Tells whether the session was closed, which cancels what is owed (D-2).
fn closed(story: &Story<'_>, session: &str) -> bool {
    story.channel(session, ChannelName::Out).any(|stored| match &stored.content {
        Content::Control(subtype) => subtype == control::SESSION_CLOSED,
        Content::Boundary(_) => stored.record.header(SESSION_CLOSED) == Some("true"),
        _ => false,
    })
}

#[cfg(test)]
mod tests;

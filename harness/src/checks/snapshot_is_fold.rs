//! `snapshot-is-fold`: a stored chat snapshot is what the durable records tell, no more and no less.
//!
//! Exactly: a snapshot names as `lastOutEventId` the place of a `turn-complete`, never an earlier one than the snapshot before; its
//! `lastInEventId` is at least that boundary's cursor and covers no owed input above it; and its messages are the fold of all
//! records up to there: for each turn the user messages that it covers or that were injected into it, by the order of `in`, then
//! the messages it streamed. A streamed message replaces the one with its id. What was aborted or failed is cleaned of half calls;
//! what died before it said anything, and was streamed anew, is no message; nor is one without content. A regenerate takes the
//! trailing assistant messages, or all from the named one on, away first. An action may rewrite the history as it likes, and nothing
//! but the next snapshot tells what it left (D-43): that one's messages are not judged, and later ones are judged from there. Messages
//! are compared whole: ids, roles, metadata and every part in its order, but for what separates steps, empty texts and what only the
//! model's provider understands.

use std::collections::BTreeMap;

use turnkeep_protocol::{ChannelName, ChatSnapshot, Messages, UiMessage};

use super::chain::Chain;
use super::fold::{Turn, turns};
use super::story::{Stored, Story, broken, broken_at};
use super::whole::{first_difference, has_content, same};
use crate::outcome::Violation;
use crate::trace::{Entry, Event};

pub(super) const NAME: &str = "snapshot-is-fold";

pub(super) fn check(story: &Story<'_>) -> Vec<Violation> {
    let mut newest: BTreeMap<&str, u64> = BTreeMap::new();
    let mut given = Given::new();
    let mut violations = Vec::new();
    for entry in story.entries {
        let Event::SnapshotStored { session, snapshot } = &entry.event else { continue };
        let Some(snapshot) = snapshot else {
            violations.push(broken(NAME, session, entry, "what was stored is not a version 1 snapshot".to_owned()));
            continue;
        };
        let Some(end) = snapshot.last_out_event_id.map(|end| end.get()) else {
            violations.push(broken(NAME, session, entry, "the snapshot has no lastOutEventId".to_owned()));
            continue;
        };
        let before = newest.insert(session, end).filter(|before| *before > end);
        let what = match before {
            Some(before) => Some(format!("the snapshot ends at seq_num {end}, the one before it at {before}")),
            None => judge(story, session, entry, snapshot, &mut given),
        };
        violations.extend(what.map(|what| broken_at(NAME, session, entry, end, what)));
    }
    violations
}

/// The snapshots that tell what an action left, by session and end.
type Given<'t> = BTreeMap<(&'t str, u64), &'t Messages>;

fn judge<'t>(
    story: &Story<'t>,
    session: &'t str,
    entry: &Entry,
    snapshot: &'t ChatSnapshot,
    given: &mut Given<'t>,
) -> Option<String> {
    let end = snapshot.last_out_event_id.map(|end| end.get())?;
    let durable = |stored: &&Stored<'_>| stored.entry.n < entry.n;
    let inputs: Vec<_> = story.channel(session, ChannelName::In).filter(durable).collect();
    let out = story.channel(session, ChannelName::Out).filter(durable).filter(|stored| stored.seq() <= end);
    let turns = turns(out);
    let boundary = turns.last().and_then(|turn| turn.boundary).filter(|boundary| boundary.seq() == end);
    if boundary.is_none() {
        return Some(format!("the snapshot ends at seq_num {end}, where no turn-complete is stored"));
    }
    let settled = turns.iter().filter_map(Turn::settled).max();
    let saved = snapshot.last_in_event_id.map(|saved| saved.get());
    if saved < settled {
        return Some(format!("the snapshot's cursor is {}, its boundary's {}", number(saved), number(settled)));
    }
    let skipped =
        inputs.iter().find(|input| input.wants_turn() && Some(input.seq()) > settled && Some(input.seq()) <= saved);
    if let Some(skipped) = skipped {
        let (seq, settled) = (skipped.seq(), number(settled));
        return Some(format!("the snapshot's cursor covers owed seq_num {seq}, its boundary's ends at {settled}"));
    }
    let mut chain = Chain::default();
    let mut is_known = true;
    for turn in &turns {
        is_known &= !chain.take(&inputs, turn);
        if let Some(messages) = turn.boundary.and_then(|boundary| given.get(&(session, boundary.seq()))) {
            chain.messages = messages.to_vec();
            is_known = true;
        }
    }
    if !is_known {
        given.insert((session, end), &snapshot.messages);
        return None;
    }
    difference(&told(&snapshot.messages), &told(&chain.messages))
}

fn number(cursor: Option<u64>) -> String {
    cursor.map_or_else(|| "absent".to_owned(), |cursor| cursor.to_string())
}

/// Lists the messages that count, those of assistants without content left out.
fn told<'m>(messages: impl IntoIterator<Item = &'m UiMessage>) -> Vec<&'m UiMessage> {
    messages.into_iter().filter(|message| !message.is_assistant() || has_content(message)).collect()
}

fn difference(saved: &[&UiMessage], told: &[&UiMessage]) -> Option<String> {
    for (index, (saved, told)) in saved.iter().zip(told).enumerate() {
        // An id that a sender left out is the agent's to choose.
        let id = if told.id.is_empty() { saved.id.clone() } else { told.id.clone() };
        if same(saved, &UiMessage { id, ..(*told).clone() }) {
            continue;
        }
        let (one, other) = (show(saved), show(told));
        let how = if one == other { format!(": {}", first_difference(saved, told)) } else { String::new() };
        return Some(format!("message {index} of the snapshot is {one}, of the records {other}{how}"));
    }
    match (saved.get(told.len()), told.get(saved.len())) {
        (Some(extra), _) => Some(format!("the snapshot holds {}, which the records do not tell", show(extra))),
        (_, Some(missing)) => Some(format!("the snapshot lacks {}", show(missing))),
        _ => None,
    }
}

fn show(message: &UiMessage) -> String {
    let tools: Vec<_> = message.tool_parts().map(|tool| format!(", {} {}", tool.tool_name, tool.state)).collect();
    format!("{} {} {:?}{}", message.role, message.id, message.text(), tools.concat())
}

#[cfg(test)]
mod tests;

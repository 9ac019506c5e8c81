//! The transcript: what a story came to, as text that is the same on every seed. It is what a golden keeps.
//!
//! It holds the contract and never the schedule: the records of each session, `in` before `out`, how runs ended, what each person's
//! last page shows and what the author's database holds. Left out are times, packets, tokens, the consumed cursor and `trim`
//! commands, which say when something happened to be done; so places on `out`, which trims consume too, are not written either, and
//! a cursor is told as the turn it ends. Adjacent deltas of one part are one line. Ids are numbered as they appear.

mod labels;
mod line;

use std::collections::BTreeMap;
use std::fmt::Write as _;

use turnkeep_protocol::{ChannelName, SeqNum, UiMessage};

use crate::checks::{Content, Stored, decode, person_of};
use crate::trace::{Entry, Event};
use labels::{Kind, Labels};

/// Writes what the trace came to, for the golden.
pub fn transcript(entries: &[Entry]) -> String {
    let mut text = String::new();
    let mut labels = Labels::default();
    let records: Vec<_> = entries.iter().filter_map(decode).collect();
    let mut sessions: Vec<_> = records.iter().map(|stored| stored.session).collect();
    sessions.sort_unstable();
    sessions.dedup();
    for session in sessions {
        for channel in [ChannelName::In, ChannelName::Out] {
            let of_channel: Vec<_> =
                records.iter().filter(|stored| stored.session == session && stored.channel == channel).collect();
            section(&mut text, &format!("{session} {channel}"), line::of_records(&of_channel, &mut labels));
        }
    }
    section(&mut text, "runs", runs(entries, &mut labels));
    for (person, messages) in last_pages(entries) {
        section(&mut text, &format!("page of {person}"), page(messages, &mut labels));
    }
    for (chat, (messages, cursor)) in databases(entries) {
        let title = format!("database of the author, {chat}, {}", told(cursor, chat, &records));
        section(&mut text, &title, page(messages, &mut labels));
    }
    text
}

fn section(text: &mut String, title: &str, lines: Vec<String>) {
    let _ = writeln!(text, "{title}");
    if lines.is_empty() {
        text.push_str("  nothing\n");
    }
    for line in lines {
        let _ = writeln!(text, "  {line}");
    }
}

/// Tells how each run ended, in the order in which they were made.
fn runs(entries: &[Entry], labels: &mut Labels) -> Vec<String> {
    let mut runs: Vec<(String, u32, &str)> = Vec::new();
    for entry in entries {
        let Event::Run { run, attempt, status, .. } = &entry.event else { continue };
        let label = labels.of(Kind::Run, run.as_str());
        match runs.iter_mut().find(|known| known.0 == label) {
            Some(known) => (known.1, known.2) = (*attempt, status),
            None => runs.push((label, *attempt, status)),
        }
    }
    runs.into_iter().map(|(label, attempt, status)| format!("{label} attempt {attempt} {status}")).collect()
}

/// Gives what each person's last page shows.
fn last_pages(entries: &[Entry]) -> BTreeMap<&str, &[UiMessage]> {
    let shows = entries.iter().filter_map(|entry| match &entry.event {
        Event::PageShows { page, messages, .. } => Some((person_of(page), &messages[..])),
        _ => None,
    });
    shows.collect()
}

/// Gives what the author's database holds at the end, by chat.
fn databases(entries: &[Entry]) -> BTreeMap<&str, (&[UiMessage], Option<SeqNum>)> {
    let writes = entries.iter().filter_map(|entry| match &entry.event {
        Event::AppWrote { chat, messages, cursor } => Some((chat.as_str(), (&messages[..], *cursor))),
        _ => None,
    });
    writes.collect()
}

/// Tells a cursor on `out` by the turns before it.
fn told(cursor: Option<SeqNum>, session: &str, records: &[Stored<'_>]) -> String {
    let Some(cursor) = cursor else { return "no cursor".to_owned() };
    let boundaries = records.iter().filter(|stored| {
        stored.session == session
            && stored.channel == ChannelName::Out
            && matches!(stored.content, Content::Boundary(_))
    });
    let before: Vec<_> = boundaries.map(|stored| stored.record.seq_num).filter(|place| *place <= cursor).collect();
    match before.last() {
        Some(last) if *last == cursor => format!("cursor at the end of turn {}", before.len()),
        _ => format!("cursor inside turn {}", before.len() + 1),
    }
}

/// Writes messages as a page shows them.
fn page(messages: &[UiMessage], labels: &mut Labels) -> Vec<String> {
    let mut lines = Vec::new();
    for message in messages {
        lines.push(line::of_message(message, labels));
        for tool in message.tool_parts() {
            let call = labels.of(Kind::Call, &tool.tool_call_id);
            lines.push(format!("  {call} {} {}", tool.tool_name, tool.state));
        }
    }
    lines
}

#[cfg(test)]
mod tests;

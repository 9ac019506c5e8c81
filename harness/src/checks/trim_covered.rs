//! `trim-covered`: nothing becomes unreadable that no snapshot covers.
//!
//! Exactly: `in` is never trimmed, and `out` never to or past its newest boundary, so that a reader one turn behind finds its place
//! (S-90). Where the runtime writes snapshots, `out` is never trimmed past the `lastOutEventId` of the newest stored one (S-91); a
//! session without any snapshot in the whole run has an author who keeps the history himself (D-44). A trim is judged when its
//! command is stored, since it takes effect later (D-69); what goes then is no more than a command asked for.

use std::collections::{BTreeMap, BTreeSet};

use turnkeep_protocol::{ChannelName, SeqNum, TRIM};

use super::story::{Content, Stored, Story, broken_at};
use crate::outcome::Violation;
use crate::trace::Event;

pub(super) const NAME: &str = "trim-covered";

#[derive(Default)]
struct Session {
    saved: Option<SeqNum>,
    newest_boundary: Option<SeqNum>,
    /// The furthest that a command asked to trim to.
    asked: SeqNum,
}

pub(super) fn check(story: &Story<'_>) -> Vec<Violation> {
    let saving: BTreeSet<&str> = story
        .entries
        .iter()
        .filter_map(|entry| match &entry.event {
            Event::SnapshotStored { session, .. } => Some(session.as_str()),
            _ => None,
        })
        .collect();
    let mut sessions: BTreeMap<&str, Session> = BTreeMap::new();
    let mut violations = Vec::new();
    for (entry, stored) in story.walk() {
        if let Some(stored) = stored.filter(|stored| stored.channel == ChannelName::Out) {
            let state = sessions.entry(stored.session).or_default();
            if matches!(stored.content, Content::Boundary(_)) {
                state.newest_boundary = Some(stored.record.seq_num);
            }
            if let Some(first_kept) = asked(stored) {
                state.asked = state.asked.max(first_kept);
                if let Some(what) = judge(state, first_kept, saving.contains(stored.session)) {
                    violations.push(broken_at(NAME, stored.session, entry, first_kept.get(), what));
                }
            }
        }
        match &entry.event {
            Event::SnapshotStored { session, snapshot: Some(snapshot) } => {
                sessions.entry(session).or_default().saved = snapshot.last_out_event_id;
            }
            Event::Trimmed { session, channel, first_kept } => {
                let asked = sessions.entry(session).or_default().asked;
                let what = match channel {
                    ChannelName::In => format!("`in` was trimmed to seq_num {first_kept}"),
                    ChannelName::Out if *first_kept <= asked => continue,
                    ChannelName::Out => {
                        format!("`out` was trimmed to seq_num {first_kept}, which no command asked for")
                    }
                };
                violations.push(broken_at(NAME, session, entry, first_kept.get(), what));
            }
            _ => {}
        }
    }
    violations
}

/// Gives what a trim command asks to keep; it never reaches past its own place (S-89).
fn asked(stored: &Stored<'_>) -> Option<SeqNum> {
    let is_trim = matches!(&stored.content, Content::Command(op) if op == TRIM);
    let first_kept = SeqNum::parse_cursor(&stored.record.body)?;
    is_trim.then(|| first_kept.min(stored.record.seq_num))
}

fn judge(session: &Session, first_kept: SeqNum, saving: bool) -> Option<String> {
    if first_kept == SeqNum::ZERO {
        return None;
    }
    if saving && session.saved.is_none_or(|saved| first_kept > saved) {
        let covered = session.saved.map_or_else(
            || "no snapshot is stored".to_owned(),
            |saved| format!("the newest snapshot ends at seq_num {saved}"),
        );
        return Some(format!("`out` was trimmed to seq_num {first_kept}, but {covered}"));
    }
    match session.newest_boundary {
        Some(boundary) if first_kept < boundary => None,
        Some(boundary) => {
            Some(format!("`out` was trimmed to seq_num {first_kept}, but its newest boundary is {boundary}"))
        }
        None => Some(format!("`out` was trimmed to seq_num {first_kept} before any turn had ended")),
    }
}

#[cfg(test)]
mod tests {
    use turnkeep_protocol::NewRecord;

    use super::*;
    use crate::checks::tale::{self, Tale};

    fn two_turns() -> Tale {
        Tale::new().say("a1", &["A"]).boundary(0).snapshot(&[], 7, 0).say("a2", &["B"]).boundary(1)
    }

    #[test]
    fn the_turn_before_the_newest_may_go_once_it_is_saved() {
        assert_eq!(tale::judge(check, &two_turns().trim(7).snapshot(&[], 15, 1)), [""; 0]);
    }

    #[test]
    fn a_trim_past_the_newest_snapshot_is_seen_s91() {
        let past = two_turns().trim(8);
        let unsaved =
            Tale::new().say("a1", &["A"]).boundary(0).say("a2", &["B"]).boundary(1).trim(7).snapshot(&[], 15, 1);

        assert_eq!(
            tale::judge(check, &past),
            ["`out` was trimmed to seq_num 8, but the newest snapshot ends at seq_num 7"]
        );
        assert_eq!(tale::judge(check, &unsaved), ["`out` was trimmed to seq_num 7, but no snapshot is stored"]);
    }

    #[test]
    fn a_trim_to_the_newest_boundary_is_seen_s90() {
        let tale = two_turns().snapshot(&[], 15, 1).trim(15);

        assert_eq!(tale::judge(check, &tale), ["`out` was trimmed to seq_num 15, but its newest boundary is 15"]);
    }

    #[test]
    fn an_author_who_keeps_the_history_himself_trims_to_the_previous_boundary_d44() {
        let tale = Tale::new().say("a1", &["A"]).boundary(0).say("a2", &["B"]).boundary(1).trim(7);

        assert_eq!(tale::judge(check, &tale), [""; 0]);
    }

    #[test]
    fn a_trim_counts_from_its_command_on_and_takes_no_more_than_that_s89_s91_d69() {
        let early = NewRecord::trim(SeqNum::new(8));
        let late_snapshot =
            two_turns().record(ChannelName::Out, early).snapshot(&[], 15, 1).trimmed(ChannelName::Out, 8);
        let further = two_turns().trim(7).trimmed(ChannelName::Out, 8);

        assert_eq!(
            tale::judge(check, &late_snapshot),
            ["`out` was trimmed to seq_num 8, but the newest snapshot ends at seq_num 7"]
        );
        assert_eq!(tale::judge(check, &further), ["`out` was trimmed to seq_num 8, which no command asked for"]);
    }

    #[test]
    fn a_trim_of_in_is_seen_s90() {
        let tale = Tale::new().ask("alice-1", "Hi").stop().trimmed(ChannelName::In, 1);

        assert_eq!(tale::judge(check, &tale), ["`in` was trimmed to seq_num 1"]);
    }
}

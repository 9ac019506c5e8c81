//! `acknowledged-kept`: what the server has acknowledged is kept, once and for ever.
//!
//! Exactly: a message acknowledged at seq_num n was durable on `in` at n, under its id, before the acknowledgement (D-12); one
//! acknowledged without a seq_num was durable somewhere on `in`. An action or regenerate likewise, by its trigger; since one is like
//! another, so many as were acknowledged in all were durable by then. No place of any channel is ever given to a second, different
//! record, crashes and power losses included. No part id makes two records of `in` (D-6), and a message id is stored at most as
//! often as pages had it acknowledged, once if never.

use std::collections::BTreeMap;

use turnkeep_protocol::ChannelName;

use super::story::{Stored, Story, broken, broken_at, since};
use crate::outcome::Violation;
use crate::trace::{Entry, Event};

pub(super) const NAME: &str = "acknowledged-kept";

pub(super) fn check(story: &Story<'_>) -> Vec<Violation> {
    let mut violations = acknowledged(story);
    violations.extend(rewritten(story));
    violations.extend(doubled(story));
    violations
}

/// Looks for acknowledgements of what was not durable.
fn acknowledged(story: &Story<'_>) -> Vec<Violation> {
    let mut inputs: BTreeMap<&str, Vec<&Stored<'_>>> = BTreeMap::new();
    let mut gestures: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    let mut violations = Vec::new();
    for (entry, stored) in story.walk() {
        if let Some(stored) = stored.filter(|stored| stored.channel == ChannelName::In) {
            inputs.entry(stored.session).or_default().push(stored);
        }
        if let Event::Asked { page, chat, gesture, seq_num } = &entry.event {
            let n_acknowledged = gestures.entry((chat.as_str(), gesture.name())).or_default();
            *n_acknowledged += 1;
            let stored = inputs.get(chat.as_str()).into_iter().flatten();
            let mut likes = stored
                .filter(|stored| stored.payload().is_some_and(|payload| payload.trigger == Some(gesture.trigger())));
            let what = gesture.name();
            match seq_num.map(|seq_num| seq_num.get()) {
                Some(seq) if !likes.any(|stored| stored.seq() == seq) => {
                    let what =
                        format!("the {what} was acknowledged to {page} at seq_num {seq}, where it is not stored");
                    violations.push(broken_at(NAME, chat, entry, seq, what));
                }
                None => {
                    let (n_acknowledged, n_stored) = (*n_acknowledged, likes.count());
                    if n_stored < n_acknowledged {
                        let what = format!(
                            "the {what} was acknowledged to {page}, but `in` has {n_stored} of {n_acknowledged} acknowledged"
                        );
                        violations.push(broken(NAME, chat, entry, what));
                    }
                }
                Some(_) => {}
            }
        }
        let Event::Sent { page, chat, message, seq_num } = &entry.event else { continue };
        let stored = inputs.get(chat.as_str()).into_iter().flatten();
        let mut same = stored.filter(|stored| stored.message_id() == Some(&message.id));
        let Some(seq) = seq_num.map(|seq_num| seq_num.get()) else {
            if same.next().is_none() {
                let what = format!("message {} was acknowledged to {page}, but is nowhere on `in`", message.id);
                violations.push(broken(NAME, chat, entry, what));
            }
            continue;
        };
        if !same.any(|stored| stored.seq() == seq) {
            let what =
                format!("message {} was acknowledged to {page} at seq_num {seq}, where it is not stored", message.id);
            violations.push(broken_at(NAME, chat, entry, seq, what));
        }
    }
    violations
}

/// Looks for places that were given away twice.
fn rewritten(story: &Story<'_>) -> Vec<Violation> {
    let mut places: BTreeMap<_, &Stored<'_>> = BTreeMap::new();
    let mut violations = Vec::new();
    for stored in story.records() {
        let place = (stored.session, stored.channel, stored.seq());
        match places.get(&place) {
            Some(first) if first.record != stored.record => {
                let what = format!("`{}` has two different records at seq_num {}", stored.channel, stored.seq());
                violations.push(since(broken_at(NAME, stored.session, stored.entry, stored.seq(), what), first.entry));
            }
            Some(_) => {}
            None => {
                places.insert(place, stored);
            }
        }
    }
    violations
}

/// Looks for inputs that were stored twice.
fn doubled(story: &Story<'_>) -> Vec<Violation> {
    let mut allowed: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for entry in story.entries {
        if let Event::Sent { chat, message, .. } = &entry.event {
            *allowed.entry((chat, &message.id)).or_default() += 1;
        }
    }
    let mut parts: BTreeMap<_, (u64, &Entry)> = BTreeMap::new();
    let mut messages: BTreeMap<_, Vec<(u64, &Entry)>> = BTreeMap::new();
    let mut violations = Vec::new();
    for stored in story.records().filter(|stored| stored.channel == ChannelName::In) {
        let (session, seq) = (stored.session, stored.seq());
        if let Some(envelope) = stored.record.envelope() {
            match parts.get(&(session, envelope.id.clone())) {
                Some((first, earlier)) if *first != seq => {
                    let what =
                        format!("part id {} made two records on `in`, at seq_nums {first} and {seq}", envelope.id);
                    violations.push(since(broken_at(NAME, session, stored.entry, seq, what), earlier));
                    continue;
                }
                _ => {
                    parts.insert((session, envelope.id), (seq, stored.entry));
                }
            }
        }
        let Some(id) = stored.message_id() else { continue };
        let places = messages.entry((session, id.to_owned())).or_default();
        places.push((seq, stored.entry));
        let allowed = allowed.get(&(session, id)).copied().unwrap_or(1);
        if places.len() > allowed {
            let (first, earlier) = places[0];
            let what = format!("message {id} is on `in` at seq_nums {first} and {seq}, but its sends were {allowed}");
            violations.push(since(broken_at(NAME, session, stored.entry, seq, what), earlier));
        }
    }
    violations
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use turnkeep_protocol::{ChatInputChunk, ChatTaskWirePayload, NewRecord, PartId, SeqNum, Trigger};

    use super::*;
    use crate::checks::tale::{Tale, judge};
    use crate::trace::Gesture;

    #[test]
    fn an_acknowledged_message_is_where_the_server_said() {
        let tale = Tale::new().ask("alice-1", "Hi").sent("alice#1", "alice-1", "Hi", 0).stop().ask("alice-2", "Bye");

        assert_eq!(judge(check, &tale.sent("alice#1", "alice-2", "Bye", 2)), [""; 0]);
    }

    #[test]
    fn an_acknowledged_gesture_is_where_the_server_said_or_somewhere_when_it_did_not() {
        let undo = ChatInputChunk::message(ChatTaskWirePayload::new(crate::checks::tale::CHAT, Trigger::Action));
        let asked = |gesture, seq_num| Event::Asked {
            page: "alice#1".to_owned(),
            chat: crate::checks::tale::CHAT.to_owned(),
            gesture,
            seq_num,
        };
        let nowhere = |n_stored: usize| {
            let stored = (0..n_stored).fold(Tale::new().stop(), |tale, _| tale.input(&undo));
            judge(check, &stored.log("alice", asked(Gesture::Action, None)).log("alice", asked(Gesture::Action, None)))
        };
        let lacks = |n_stored: usize, n_acknowledged: usize| {
            format!("the action was acknowledged to alice#1, but `in` has {n_stored} of {n_acknowledged} acknowledged")
        };
        assert_eq!(nowhere(2), [""; 0]);
        assert_eq!(nowhere(1), [lacks(1, 2)]);
        assert_eq!(nowhere(0), [lacks(0, 1), lacks(0, 2)]);
        let asked = |gesture, seq: u64| asked(gesture, Some(SeqNum::new(seq)));
        let found = |gesture, seq| judge(check, &Tale::new().stop().input(&undo).log("alice", asked(gesture, seq)));

        assert_eq!(found(Gesture::Action, 1), [""; 0]);
        let want = ["the action was acknowledged to alice#1 at seq_num 0, where it is not stored"];
        assert_eq!(found(Gesture::Action, 0), want);
        let want = ["the regenerate was acknowledged to alice#1 at seq_num 1, where it is not stored"];
        assert_eq!(found(Gesture::Regenerate, 1), want);
    }

    #[test]
    fn an_acknowledgement_before_or_beside_the_record_is_seen_d12() {
        let want = ["message alice-1 was acknowledged to alice#1 at seq_num 0, where it is not stored"];
        let before = Tale::new().sent("alice#1", "alice-1", "Hi", 0).ask("alice-1", "Hi");
        let beside = Tale::new().stop().ask("alice-1", "Hi").sent("alice#1", "alice-1", "Hi", 0);

        assert_eq!(judge(check, &before), want);
        assert_eq!(judge(check, &beside), want);
    }

    #[test]
    fn a_place_given_away_again_after_a_power_loss_is_seen() {
        let tale = Tale::new().ask("alice-1", "Hi").sent("alice#1", "alice-1", "Hi", 0);
        let lost = tale.at_seq(ChannelName::In, 0).ask("alice-2", "Bye");

        assert_eq!(judge(check, &lost), ["`in` has two different records at seq_num 0"]);
    }

    #[test]
    fn one_part_id_makes_one_record_d6() {
        let record = || NewRecord::data(&json!("{\"kind\":\"stop\"}"), &PartId::new("same"));
        let tale = Tale::new().record(ChannelName::In, record()).record(ChannelName::In, record());

        assert_eq!(judge(check, &tale), ["part id same made two records on `in`, at seq_nums 0 and 1"]);
    }

    #[test]
    fn one_send_makes_one_record_but_a_second_send_may_make_another_d20() {
        let once = Tale::new().ask("alice-1", "Hi").ask("alice-1", "Hi").sent("alice#1", "alice-1", "Hi", 0);
        let twice = once.clone().sent("alice#1", "alice-1", "Hi", 1);

        let want = "message alice-1 is on `in` at seq_nums 0 and 1, but its sends were 1";
        assert_eq!(judge(check, &once), [want]);
        assert_eq!(judge(check, &twice), [""; 0]);
    }
}

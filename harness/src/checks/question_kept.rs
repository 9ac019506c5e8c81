//! `question-kept`: no page that has settled misses a question of its person, nor shows it behind its answer.
//!
//! Exactly: when the world has settled, every page shows every user message of its chat that was acknowledged to a page of the same
//! person, in whichever tab, in the order of their places on `in`, and each before every assistant message streamed in the turn that covers it; a
//! question before an action need not be there, since an action may have taken it back (D-59). This
//! is what reports a question lost by a refresh in mid-stream (CR-37).

use std::collections::BTreeMap;

use turnkeep_protocol::{ChannelName, Trigger, UiMessage};

use super::fold::{segment_id, turns};
use super::story::{Stored, Story, broken_at, device_of, since};
use crate::outcome::Violation;
use crate::trace::{Entry, Event};

pub(super) const NAME: &str = "question-kept";

/// A question that was acknowledged.
struct Question<'t> {
    entry: &'t Entry,
    id: &'t str,
    seq: u64,
}

pub(super) fn check(story: &Story<'_>) -> Vec<Violation> {
    let mut violations = Vec::new();
    for (page, entry) in story.last_pages() {
        let Event::PageShows { chat, messages, .. } = &entry.event else { continue };
        let answers = answers(story, chat);
        let mut place_before = None;
        for question in questions(story, device_of(page), chat) {
            let (id, seq) = (question.id, question.seq);
            let place = messages.iter().position(|message| message.is_user() && message.id == id);
            let answer = answers.get(&seq).and_then(|ids| first_of(messages, ids));
            let what = match (place, answer) {
                (None, _) => format!("does not show message {id}, acknowledged at seq_num {seq}"),
                (Some(place), Some((at, answer))) if at < place => {
                    format!("shows message {id} behind its answer {answer}")
                }
                (Some(place), _) if place_before.is_some_and(|before| place < before) => {
                    format!("shows message {id}, seq_num {seq}, before a message that was accepted earlier")
                }
                _ => {
                    place_before = place;
                    continue;
                }
            };
            violations.push(since(broken_at(NAME, page, entry, seq, what), question.entry));
        }
    }
    violations
}

/// Lists a person's acknowledged questions by their places, but none that a later action may have taken back (D-59).
fn questions<'t>(story: &Story<'t>, person: &str, chat: &str) -> Vec<Question<'t>> {
    let mut questions: Vec<_> = story
        .entries
        .iter()
        .filter_map(|entry| match &entry.event {
            Event::Sent { page, chat: of, message, .. }
                if device_of(page) == person && of == chat && message.is_user() =>
            {
                let id = message.id.as_str();
                let mut stored = story.channel(chat, ChannelName::In).filter(|stored| stored.message_id() == Some(id));
                // A question that is not durable is the concern of `acknowledged-kept`.
                Some(Question { entry, id, seq: stored.next()?.seq() })
            }
            _ => None,
        })
        .collect();
    let acts = |input: &&Stored<'_>| input.payload().is_some_and(|payload| payload.trigger == Some(Trigger::Action));
    let newest_action = story.channel(chat, ChannelName::In).filter(acts).map(Stored::seq).max();
    questions.retain(|question| Some(question.seq) > newest_action);
    questions.sort_by_key(|question| question.seq);
    questions.dedup_by_key(|question| question.seq);
    questions
}

/// Gives for each owed record of `in` the assistant messages streamed in the turn that covers it.
fn answers<'s>(story: &'s Story<'_>, chat: &'s str) -> BTreeMap<u64, Vec<&'s str>> {
    let mut answers = BTreeMap::new();
    let mut cursor = None;
    for turn in turns(story.channel(chat, ChannelName::Out)) {
        let Some(settled) = turn.settled() else { continue };
        let ids: Vec<_> = turn.segments().iter().filter_map(|segment| segment_id(segment)).collect();
        let covered = cursor.map_or(0, |cursor: u64| cursor + 1)..=settled;
        for seq in covered {
            answers.insert(seq, ids.clone());
        }
        cursor = cursor.max(Some(settled));
    }
    answers
}

fn first_of<'m>(messages: &'m [UiMessage], ids: &[&str]) -> Option<(usize, &'m str)> {
    let mut answers = messages.iter().enumerate().filter(|(_, message)| message.is_assistant());
    answers.find(|(_, message)| ids.contains(&message.id.as_str())).map(|(place, message)| (place, message.id.as_str()))
}

#[cfg(test)]
mod tests {
    use turnkeep_protocol::{ChatInputChunk, ChatTaskWirePayload};

    use super::*;
    use crate::checks::tale::{Tale, judge, reply};

    fn two_turns() -> Tale {
        Tale::new()
            .ask("alice-1", "Hi")
            .sent("alice#1", "alice-1", "Hi", 0)
            .say("a1", &["Hello"])
            .boundary(0)
            .ask("alice-2", "Bye")
            .sent("alice#2", "alice-2", "Bye", 1)
            .say("a2", &["So long"])
            .boundary(1)
            .settled()
    }

    fn question(n: usize) -> UiMessage {
        UiMessage::user(format!("alice-{n}"), "")
    }

    #[track_caller]
    fn check_page(messages: &[UiMessage], want: &[&str]) {
        assert_eq!(judge(check, &two_turns().shows("alice#2", messages)), want);
    }

    #[test]
    fn a_page_shows_each_question_before_its_answer() {
        check_page(&[question(1), reply("a1", "Hello"), question(2), reply("a2", "So long")], &[]);
        check_page(&[question(1), question(2)], &[]);
    }

    #[test]
    fn a_lost_question_is_seen_cr37() {
        check_page(
            &[reply("a1", "Hello"), question(2), reply("a2", "So long")],
            &["does not show message alice-1, acknowledged at seq_num 0"],
        );
    }

    #[test]
    fn a_question_behind_its_answer_or_out_of_order_is_seen() {
        check_page(&[reply("a1", "Hello"), question(1), question(2)], &["shows message alice-1 behind its answer a1"]);
        check_page(
            &[question(2), question(1)],
            &["shows message alice-2, seq_num 1, before a message that was accepted earlier"],
        );
    }

    #[test]
    fn a_question_may_be_gone_after_an_action_and_newer_ones_may_not_d59() {
        let undo = ChatInputChunk::message(ChatTaskWirePayload::new(crate::checks::tale::CHAT, Trigger::Action));
        let tale = two_turns().input(&undo).boundary(2).ask("alice-3", "So?").sent("alice#2", "alice-3", "So?", 3);

        assert_eq!(judge(check, &tale.clone().shows("alice#2", &[question(3)])), [""; 0]);
        assert_eq!(
            judge(check, &tale.shows("alice#2", &[question(1), question(2)])),
            ["does not show message alice-3, acknowledged at seq_num 3"]
        );
    }

    #[test]
    fn other_people_s_questions_are_not_hers_to_show() {
        let tale = Tale::new().ask("bob-1", "Hi").sent("bob#1", "bob-1", "Hi", 0).settled().shows("alice#1", &[]);

        assert_eq!(judge(check, &tale), [""; 0]);
    }
}

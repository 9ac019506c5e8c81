//! `rendered-prefix`: what a page renders is at every moment a prefix of the durable reply.
//!
//! Exactly: whenever a page is shown a chunk, the text on screen of that assistant message is a prefix of the text that the durable
//! records of `out` tell for its id so far, all its chunks folded in order. When the world has settled, no page shows a message id
//! twice, and every assistant message on a page either is told by `out`, of which its text is a prefix, or came with the page's
//! history. This is what reports a reply rendered twice (CR-38).

use std::collections::{BTreeMap, BTreeSet};

use turnkeep_protocol::{ChannelName, UiMessage};

use super::fold::Messages;
use super::story::{Story, broken, broken_at, since};
use crate::outcome::Violation;
use crate::trace::{Entry, Event};

pub(super) const NAME: &str = "rendered-prefix";

/// The most characters of a text that a report quotes.
const QUOTED: usize = 80;

pub(super) fn check(story: &Story<'_>) -> Vec<Violation> {
    let mut chats: BTreeMap<&str, Messages> = BTreeMap::new();
    let mut histories: BTreeMap<&str, &Entry> = BTreeMap::new();
    let mut violations = Vec::new();
    for (entry, stored) in story.walk() {
        if let Some(stored) = stored.filter(|stored| stored.channel == ChannelName::Out) {
            chats.entry(stored.session).or_default().take(stored);
        }
        match &entry.event {
            Event::PageOpened { page, .. } => {
                histories.insert(page, entry);
            }
            Event::Shown { page, chat, seq_num, message_id, text, .. } => {
                let durable = chats.entry(chat).or_default();
                let seq = seq_num.get();
                if let Some(what) = judge_screen(story, durable, chat, seq, message_id, text) {
                    let broken = broken_at(NAME, page, entry, seq, what);
                    violations.push(match histories.get(page.as_str()) {
                        Some(opened) => since(broken, opened),
                        None => broken,
                    });
                }
            }
            Event::PageShows { page, chat, messages } => {
                let history = histories.get(page.as_str()).map_or(&[][..], |opened| history_of(opened));
                let durable = chats.entry(chat).or_default();
                let faults = judge_page(durable, history, messages);
                violations.extend(faults.into_iter().map(|what| broken(NAME, page, entry, what)));
            }
            _ => {}
        }
    }
    violations
}

fn history_of(opened: &Entry) -> &[UiMessage] {
    match &opened.event {
        Event::PageOpened { messages, .. } => messages,
        _ => &[],
    }
}

fn judge_screen(story: &Story<'_>, durable: &Messages, chat: &str, seq: u64, id: &str, text: &str) -> Option<String> {
    if text.is_empty() {
        return None;
    }
    let Some(told) = durable.text(id) else {
        return Some(format!("shows {} in message {id}, which `out` does not tell", quote(text)));
    };
    // A step that was reset takes text back: a reader may not have come so far.
    let allowed = told.starts_with(text)
        || (durable.shrunk.iter().any(|shrunk| shrunk == id) && {
            let mut then = Messages::default();
            story
                .channel(chat, ChannelName::Out)
                .take_while(|stored| stored.seq() <= seq)
                .for_each(|stored| then.take(stored));
            then.text(id).is_some_and(|told| told.starts_with(text))
        });
    (!allowed).then(|| format!("shows {} in message {id}, where `out` tells {}", quote(text), quote(&told)))
}

fn judge_page(durable: &Messages, history: &[UiMessage], messages: &[UiMessage]) -> Vec<String> {
    let mut faults = Vec::new();
    let mut ids = BTreeSet::new();
    for message in messages {
        if !message.id.is_empty() && !ids.insert(message.id.as_str()) {
            faults.push(format!("shows message {} twice at the end", message.id));
        }
        if !message.is_assistant() {
            continue;
        }
        let (id, text) = (&message.id, message.text());
        match durable.text(id) {
            Some(told) if told.starts_with(&text) => {}
            Some(told) => {
                faults.push(format!(
                    "shows {} in message {id} at the end, where `out` tells {}",
                    quote(&text),
                    quote(&told)
                ));
            }
            None if history.iter().any(|known| known.id == *id) || text.is_empty() => {}
            None => {
                faults.push(format!("shows {} in message {id} at the end, which `out` does not tell", quote(&text)))
            }
        }
    }
    faults
}

/// Quotes a text, its end left out when it is long.
fn quote(text: &str) -> String {
    if text.chars().count() <= QUOTED {
        return format!("{text:?}");
    }
    let start: String = text.chars().take(QUOTED).collect();
    format!("{start:?}…")
}

#[cfg(test)]
mod tests {
    use turnkeep_protocol::UiMessageChunk;

    use super::*;
    use crate::checks::tale::{Tale, judge, reply};

    fn answered() -> Tale {
        Tale::new().open("alice#1", &[], None).ask("alice-1", "Hi").say("a1", &["Hello ", "you."])
    }

    #[test]
    fn a_screen_that_follows_the_records_is_right() {
        let tale = answered().watch("alice#1").boundary(0).shows("alice#1", &[reply("a1", "Hello you.")]);

        assert_eq!(judge(check, &tale), [""; 0]);
    }

    #[test]
    fn a_turn_replayed_onto_the_saved_reply_is_seen_cr38() {
        let tale = answered()
            .boundary(0)
            .open("alice#2", &[reply("a1", "Hello you.")], None)
            .resumed("alice#2", true)
            .shown("alice#2", 3, "a1", "Hello you.Hello ");

        let want = r#"shows "Hello you.Hello " in message a1, where `out` tells "Hello you.""#;
        assert_eq!(judge(check, &tale), [want]);
    }

    #[test]
    fn a_message_that_no_record_opened_is_seen() {
        let shown = answered().shown("alice#1", 3, "made-up", "Hello ");
        let at_the_end = answered().shows("alice#1", &[reply("made-up", "Hello you.")]);
        let from_history =
            answered().open("alice#2", &[reply("old", "Past.")], None).shows("alice#2", &[reply("old", "Past.")]);

        assert_eq!(judge(check, &shown), [r#"shows "Hello " in message made-up, which `out` does not tell"#]);
        let want = r#"shows "Hello you." in message made-up at the end, which `out` does not tell"#;
        assert_eq!(judge(check, &at_the_end), [want]);
        assert_eq!(judge(check, &from_history), [""; 0]);
    }

    #[test]
    fn a_page_that_shows_a_message_twice_or_doubled_is_seen_cr38() {
        let twice = answered().shows("alice#1", &[reply("a1", "Hello you."), reply("a1", "Hello you.")]);
        let doubled = answered().shows("alice#1", &[reply("a1", "Hello you.Hello you.")]);

        assert_eq!(judge(check, &twice), ["shows message a1 twice at the end"]);
        let want = r#"shows "Hello you.Hello you." in message a1 at the end, where `out` tells "Hello you.""#;
        assert_eq!(judge(check, &doubled), [want]);
    }

    #[test]
    fn a_reader_may_be_behind_a_step_that_was_reset_d25() {
        let tale = Tale::new().begin("a1", &["Wrong"]).chunk(UiMessageChunk::reset_step());
        let behind = tale.shown("alice#1", 3, "a1", "Wrong");

        assert_eq!(judge(check, &behind), [""; 0]);
    }
}

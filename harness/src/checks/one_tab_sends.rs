//! `one-tab-sends`: while a person's tab has an answer of its own, no other tab of hers may send.
//!
//! Exactly: while the stream of something that a page sent goes on, at most one of the person's open pages of that chat is writable
//! (C-124), but for a second, in which claims reach the other tabs or cross (C-133), and for six seconds after a page was opened,
//! which hears of the claim by its next sign of life (C-132). Pages of viewers take no part (C-123).

use std::collections::{BTreeMap, BTreeSet};

use super::story::{Story, broken, device_of, person_of, since};
use crate::outcome::Violation;
use crate::scenario::Step;
use crate::trace::{Entry, Event};

pub(super) const NAME: &str = "one-tab-sends";

/// Virtual milliseconds in which a claim reaches the other tabs.
const CLAIM_MS: u64 = 1000;

/// Virtual milliseconds in which a page that was opened hears of a claim.
const OPENED_MS: u64 = 6000;

struct Page<'t> {
    opened_ms: u64,
    /// Since when it may send.
    writable_ms: Option<u64>,
    /// With what its answer began.
    asked: Option<&'t Entry>,
}

type Pages<'t> = BTreeMap<(&'t str, &'t str), BTreeMap<&'t str, Page<'t>>>;

pub(super) fn check(story: &Story<'_>) -> Vec<Violation> {
    let watchers: BTreeSet<&str> =
        story.scenario.steps.iter().filter(|step| matches!(step, Step::Watch(_))).filter_map(Step::client).collect();
    let mut people = Pages::new();
    let mut violations = Vec::new();
    for entry in story.entries {
        let Some((page, chat)) = page_of(&entry.event) else { continue };
        if watchers.contains(person_of(page)) {
            continue;
        }
        let pages = people.entry((device_of(page), chat)).or_default();
        violations.extend(two_at_once(pages, entry));
        take(pages, page, entry);
    }
    violations
}

/// Gives the page and the chat of an event that matters here.
fn page_of(event: &Event) -> Option<(&str, &str)> {
    match event {
        Event::PageOpened { page, chat, .. }
        | Event::PageClosed { page, chat, .. }
        | Event::ReadOnly { page, chat, .. }
        | Event::Sent { page, chat, .. }
        | Event::Asked { page, chat, .. }
        | Event::Stopped { page, chat, .. }
        | Event::StreamEnded { page, chat, .. } => Some((page, chat)),
        _ => None,
    }
}

fn take<'t>(pages: &mut BTreeMap<&'t str, Page<'t>>, page: &'t str, entry: &'t Entry) {
    match &entry.event {
        Event::PageOpened { .. } => {
            // One page a tab: the one before is gone.
            pages.retain(|other, _| person_of(other) != person_of(page));
            pages.insert(page, Page { opened_ms: entry.ms, writable_ms: Some(entry.ms), asked: None });
        }
        Event::PageClosed { .. } => _ = pages.remove(page),
        Event::ReadOnly { read_only, .. } => {
            if let Some(page) = pages.get_mut(page) {
                page.writable_ms = (!read_only).then_some(entry.ms);
            }
        }
        Event::Sent { .. } | Event::Asked { .. } => {
            if let Some(page) = pages.get_mut(page) {
                page.asked = Some(entry);
            }
        }
        _ => {
            if let Some(page) = pages.get_mut(page) {
                page.asked = None;
            }
        }
    }
}

/// Says which two pages might both have sent for too long until now.
fn two_at_once(pages: &BTreeMap<&str, Page<'_>>, now: &Entry) -> Option<Violation> {
    for (name, page) in pages {
        let (Some(asked), Some(writable_ms)) = (page.asked, page.writable_ms) else { continue };
        let from = writable_ms.max(asked.ms);
        for (other, second) in pages.iter().filter(|(other, _)| other != &name) {
            let Some(other_ms) = second.writable_ms else { continue };
            let until = (from.max(other_ms) + CLAIM_MS).max(second.opened_ms + OPENED_MS);
            if now.ms > until {
                let what = format!("could send while {name} had an answer of its own");
                return Some(since(broken(NAME, other, now, what), asked));
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::tale::{CHAT, Tale, judge};

    fn read_only(tale: Tale, page: &str, read_only: bool) -> Tale {
        tale.log("alice", Event::ReadOnly { page: page.to_owned(), chat: CHAT.to_owned(), read_only })
    }

    fn closed(tale: Tale, page: &str) -> Tale {
        tale.log("alice", Event::PageClosed { page: page.to_owned(), chat: CHAT.to_owned(), died: false })
    }

    /// Two tabs, of which the first sends long after both were opened.
    fn asked() -> Tale {
        let tale = Tale::new().open("alice#1", &[], None).open("alice/b#2", &[], None).pass(10_000);
        tale.ask("alice-1", "Hi").sent("alice#1", "alice-1", "Hi", 0)
    }

    const BOTH: [&str; 1] = ["could send while alice#1 had an answer of its own"];

    #[test]
    fn the_other_tab_is_read_only_while_one_has_an_answer_c124() {
        let told = read_only(asked().pass(100), "alice/b#2", true).pass(60_000).ended("alice#1", "completed");
        assert_eq!(judge(check, &told), [""; 0]);

        assert_eq!(judge(check, &asked().pass(2000).ended("alice#1", "completed")), BOTH);
        let stopped = asked().pass(100).stopped("alice#1").pass(5000).ended("alice#1", "aborted");
        assert_eq!(judge(check, &stopped), [""; 0], "what is stopped is nobody's");
    }

    #[test]
    fn of_two_that_sent_at_once_one_gives_way_c133() {
        let both = || asked().ask("alice-2", "Ho").sent("alice/b#2", "alice-2", "Ho", 1).pass(500);
        let gave_way = read_only(both(), "alice#1", true).pass(60_000).ended("alice/b#2", "completed");
        let taken_over = read_only(read_only(gave_way, "alice#1", false), "alice/b#2", true).pass(60_000);

        assert_eq!(judge(check, &taken_over.ended("alice#1", "completed")), [""; 0]);
        assert_eq!(judge(check, &both().pass(5000).ended("alice#1", "completed")).len(), 1);
    }

    #[test]
    fn a_tab_that_is_opened_in_mid_answer_hears_of_it_soon_c132() {
        let opened = || asked().pass(100).open("alice/b#3", &[], None);
        let (soon, late) = (opened().pass(5500), opened().pass(7000));

        assert_eq!(judge(check, &read_only(soon, "alice/b#3", true).pass(9000).ended("alice#1", "completed")), [""; 0]);
        assert_eq!(judge(check, &read_only(late, "alice/b#3", true)), BOTH);
    }

    #[test]
    fn a_tab_that_is_gone_sends_nothing() {
        let gone = closed(asked().pass(100), "alice/b#2").pass(60_000).ended("alice#1", "completed");

        assert_eq!(judge(check, &gone), [""; 0]);
    }
}

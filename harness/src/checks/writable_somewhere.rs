//! `writable-somewhere`: among the tabs that a person has open, one at least may send.
//!
//! Exactly: all her open pages of a chat are read-only at once for a second at most (C-133: a tab that gives way has its last words,
//! C-128, and the way), or until 16 s after a page of hers has died, which is how long such a one keeps a chat (C-126: ten seconds
//! since its last sign of life, looked for every five, and the way); and when the world has settled, none is read-only: nobody holds
//! a chat in which nothing goes on (C-125, C-130, CF-8).

use std::collections::BTreeMap;

use super::story::{Story, broken, device_of, person_of, since};
use crate::outcome::Violation;
use crate::trace::{Entry, Event};

pub(super) const NAME: &str = "writable-somewhere";

/// Virtual milliseconds for which all tabs may be read-only.
const AT_MOST_MS: u64 = 1000;

/// Virtual milliseconds for which a page that has died may hold a chat.
const DEAD_MS: u64 = 16_000;

/// A person's open pages of one chat.
#[derive(Default)]
struct Tabs<'t> {
    /// Whether each page is read-only, and since which entry.
    pages: BTreeMap<&'t str, Option<&'t Entry>>,
    /// The entry with which the last page became read-only.
    locked: Option<&'t Entry>,
    /// When a page died last.
    died_ms: Option<u64>,
}

pub(super) fn check(story: &Story<'_>) -> Vec<Violation> {
    let mut people: BTreeMap<(&str, &str), Tabs<'_>> = BTreeMap::new();
    let mut violations = Vec::new();
    for entry in story.entries {
        match &entry.event {
            Event::PageOpened { page, chat, .. } => {
                let tabs = people.entry((device_of(page), chat)).or_default();
                // One page a tab: the one before is gone.
                tabs.pages.retain(|other, _| person_of(other) != person_of(page));
                tabs.pages.insert(page, None);
                violations.extend(tabs.look(entry));
            }
            Event::PageClosed { page, chat, died } => {
                let tabs = people.entry((device_of(page), chat)).or_default();
                tabs.pages.remove(page.as_str());
                tabs.died_ms = died.then_some(entry.ms).or(tabs.died_ms);
                violations.extend(tabs.look(entry));
            }
            Event::ReadOnly { page, chat, read_only } => {
                let tabs = people.entry((device_of(page), chat)).or_default();
                if let Some(page) = tabs.pages.get_mut(page.as_str()) {
                    *page = read_only.then_some(entry);
                }
                violations.extend(tabs.look(entry));
            }
            Event::Settled => {
                for tabs in people.values() {
                    let locked = tabs.pages.iter().filter_map(|(page, since)| Some((page, (*since)?)));
                    violations.extend(locked.map(|(page, from)| {
                        let what = "is read-only though nothing goes on any more".to_owned();
                        since(broken(NAME, page, entry, what), from)
                    }));
                }
            }
            _ => {}
        }
    }
    violations
}

impl<'t> Tabs<'t> {
    /// Takes note of a change; says when it ends a time in which no page might send for too long.
    fn look(&mut self, entry: &'t Entry) -> Option<Violation> {
        let all = !self.pages.is_empty() && self.pages.values().all(Option::is_some);
        if all {
            self.locked.get_or_insert(entry);
            return None;
        }
        let from = self.locked.take()?;
        let ms = entry.ms - from.ms;
        let until = (from.ms + AT_MOST_MS).max(self.died_ms.map_or(0, |died| died + DEAD_MS));
        let page = self.pages.keys().next().copied().unwrap_or("nobody");
        (entry.ms > until).then(|| {
            since(broken(NAME, page, entry, format!("was read-only for {ms} ms, as every other tab was")), from)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::tale::{CHAT, Tale, judge};

    fn read_only(page: &str, read_only: bool) -> Event {
        Event::ReadOnly { page: page.to_owned(), chat: CHAT.to_owned(), read_only }
    }

    fn closed(page: &str, died: bool) -> Event {
        Event::PageClosed { page: page.to_owned(), chat: CHAT.to_owned(), died }
    }

    fn two_tabs() -> Tale {
        Tale::new().open("alice#1", &[], None).open("alice/b#2", &[], None).log("alice", read_only("alice/b#2", true))
    }

    #[test]
    fn one_tab_of_two_may_be_read_only_for_as_long_as_the_other_sends_c124() {
        let tale = two_tabs().pass(60_000).log("alice", read_only("alice/b#2", false)).settled();

        assert_eq!(judge(check, &tale), [""; 0]);
    }

    #[test]
    fn all_tabs_may_be_read_only_for_as_long_as_a_dead_holder_counts_c126() {
        let died =
            |ms| two_tabs().log("alice", closed("alice#1", true)).pass(ms).log("alice", read_only("alice/b#2", false));

        assert_eq!(judge(check, &died(15_500)), [""; 0]);
        assert_eq!(judge(check, &died(17_000)), ["was read-only for 17000 ms, as every other tab was"]);
        assert_eq!(judge(check, &died(17_000).open("alice/b#3", &[], None)).len(), 1);
        // A page that could say that it goes holds nothing any more.
        let went = two_tabs().log("alice", closed("alice#1", false)).pass(1500);
        let went = went.log("alice", read_only("alice/b#2", false));
        assert_eq!(judge(check, &went), ["was read-only for 1500 ms, as every other tab was"]);
    }

    #[test]
    fn tabs_that_lock_each_other_out_are_seen_c133() {
        let locked = |ms| two_tabs().log("alice", read_only("alice#1", true)).pass(ms);
        let freed = |ms| locked(ms).log("alice", read_only("alice#1", false));

        assert_eq!(judge(check, &freed(900)), [""; 0], "one gives way while the other says its last words");
        assert_eq!(judge(check, &freed(2000)), ["was read-only for 2000 ms, as every other tab was"]);
    }

    #[test]
    fn nobody_holds_a_chat_in_which_nothing_goes_on_c130() {
        let held = two_tabs().settled();
        let reloaded = two_tabs().open("alice/b#3", &[], None).settled();
        let closed = two_tabs().log("alice", closed("alice/b#2", false)).settled();

        assert_eq!(judge(check, &held), ["is read-only though nothing goes on any more"]);
        assert_eq!(judge(check, &reloaded), [""; 0]);
        assert_eq!(judge(check, &closed), [""; 0]);
    }
}

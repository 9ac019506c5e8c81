//! `sends-accepted`: whatever a person sends is taken, unless the story expects a refusal.
//!
//! Exactly: no message of a page is refused for good, except those of a person of whom the story's `expect` says how many are
//! `refused`; their number is then judged by `expect`.

use super::story::{Story, broken, person_of};
use crate::outcome::Violation;
use crate::scenario::Expectation;
use crate::trace::Event;

pub(super) const NAME: &str = "sends-accepted";

pub(super) fn check(story: &Story<'_>) -> Vec<Violation> {
    let expected = |who: &str| {
        let mut expect = story.scenario.expect.iter();
        expect.any(|expectation| matches!(expectation, Expectation::Refused { client, .. } if client == who))
    };
    let refusals = story.entries.iter().filter_map(|entry| match &entry.event {
        Event::SendFailed { page, message_id, error, .. } if !expected(person_of(page)) => {
            Some(broken(NAME, page, entry, format!("message {message_id} was refused: {error}")))
        }
        _ => None,
    });
    refusals.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::tale::{CHAT, Tale, judge, scenario};

    fn refused() -> Tale {
        let (page, chat) = ("alice#1".to_owned(), CHAT.to_owned());
        let (message_id, error) = ("alice-1".to_owned(), "closed".to_owned());
        Tale::new().log("alice", Event::SendFailed { page, chat, message_id, error })
    }

    #[test]
    fn a_refused_message_is_seen() {
        assert_eq!(judge(check, &refused()), ["message alice-1 was refused: closed"]);
        assert_eq!(judge(check, &Tale::good()), [""; 0]);
    }

    #[test]
    fn a_refusal_that_the_story_expects_of_this_person_is_right() {
        let mut scenario = scenario();
        let entries = refused().entries;
        for (client, want) in [("alice", 0), ("bob", 1)] {
            scenario.expect = vec![Expectation::Refused { client: client.to_owned(), count: 1 }];
            assert_eq!(check(&Story::new(&scenario, &entries)).len(), want);
        }
    }
}

//! `expect`: what is particular to the story, as its file says under `expect`.

use std::collections::BTreeSet;

use turnkeep_protocol::ChannelName;

use super::story::{Content, Story, broken, person_of};
use crate::outcome::Violation;
use crate::scenario::Expectation;
use crate::trace::{Entry, Event};

pub(super) const NAME: &str = "expect";

/// How the end of a stream begins that ended with an error.
const FAILED: &str = "failed: ";

/// Whom counts concern.
const STORY: &str = "story";

pub(super) fn check(story: &Story<'_>) -> Vec<Violation> {
    let Some(last) = story.entries.last() else { return Vec::new() };
    story.scenario.expect.iter().filter_map(|expectation| judge(story, last, expectation)).collect()
}

fn judge(story: &Story<'_>, last: &Entry, expectation: &Expectation) -> Option<Violation> {
    match expectation {
        Expectation::Answers { client, texts } => answers(story, last, client, texts),
        Expectation::Runs(want) => count(last, "runs", *want, runs(story).len()),
        Expectation::Attempts(want) => count(last, "leased attempts", *want, attempts(story).len()),
        Expectation::Turns(want) => {
            let turns = story.records().filter(|stored| matches!(stored.content, Content::Boundary(_)));
            count(last, "turns", *want, turns.count())
        }
        Expectation::Inputs(want) => {
            let inputs = story.records().filter(|stored| stored.channel == ChannelName::In);
            count(last, "records on `in`", *want, inputs.count())
        }
        Expectation::ModelCalls(want) => {
            let calls = story.entries.iter().filter(|entry| matches!(entry.event, Event::ModelCalled { .. }));
            count(last, "model calls", *want, calls.count())
        }
        Expectation::Prompts(want) => {
            let got: Vec<_> = story.entries.iter().filter_map(n_prompted).collect();
            (got != *want)
                .then(|| broken(NAME, STORY, last, format!("expected model calls with {want:?} messages, got {got:?}")))
        }
        Expectation::ShownAfterLoad { client, count: want } => shown(story, last, client, *want),
        Expectation::Failed { client, count: want } => {
            let failed = |entry: &&Entry| match &entry.event {
                Event::StreamEnded { page, how, .. } => person_of(page) == client && how.starts_with(FAILED),
                _ => false,
            };
            count(last, "failed streams", *want, story.entries.iter().filter(failed).count())
        }
        Expectation::Refused { client, count: want } => {
            let of_client =
                |entry: &&Entry| matches!(&entry.event, Event::SendFailed { page, .. } if person_of(page) == client);
            count(last, "refused messages", *want, story.entries.iter().filter(of_client).count())
        }
    }
}

fn n_prompted(entry: &Entry) -> Option<usize> {
    match &entry.event {
        Event::ModelCalled { n_messages, .. } => Some(*n_messages),
        _ => None,
    }
}

fn count(last: &Entry, things: &str, want: usize, got: usize) -> Option<Violation> {
    (want != got).then(|| broken(NAME, STORY, last, format!("expected {want} {things}, got {got}")))
}

fn answers(story: &Story<'_>, last: &Entry, client: &str, want: &[String]) -> Option<Violation> {
    let shows = story.entries.iter().rev().find_map(|entry| match &entry.event {
        Event::PageShows { page, messages, .. } if person_of(page) == client => Some((entry, page, messages)),
        _ => None,
    });
    let Some((entry, page, messages)) = shows else {
        return Some(broken(NAME, client, last, format!("expected answers {want:?}, but {client} has no page open")));
    };
    let got: Vec<_> = messages.iter().filter(|message| message.is_assistant()).map(|message| message.text()).collect();
    (got != want).then(|| broken(NAME, page, entry, format!("expected answers {want:?}, got {got:?}")))
}

fn shown(story: &Story<'_>, last: &Entry, client: &str, want: usize) -> Option<Violation> {
    let opened = story.entries.iter().rev().find_map(|entry| match &entry.event {
        Event::PageOpened { page, .. } if person_of(page) == client => Some((entry, page)),
        _ => None,
    });
    let Some((entry, page)) = opened else {
        return Some(broken(
            NAME,
            client,
            last,
            format!("expected {want} chunks shown, but {client} never had a page"),
        ));
    };
    let got = story
        .entries
        .iter()
        .filter(|entry| matches!(&entry.event, Event::Shown { page: of, .. } if of == page))
        .count();
    (want != got).then(|| broken(NAME, page, entry, format!("expected {want} chunks shown after the load, got {got}")))
}

fn runs<'t>(story: &Story<'t>) -> BTreeSet<&'t str> {
    let runs = story.entries.iter().filter_map(|entry| match &entry.event {
        Event::Run { run, .. } => Some(run.as_str()),
        _ => None,
    });
    runs.collect()
}

fn attempts<'t>(story: &Story<'t>) -> BTreeSet<(&'t str, u32)> {
    let attempts = story.entries.iter().filter_map(|entry| match &entry.event {
        Event::Run { run, attempt, status, .. } if status == "leased" => Some((run.as_str(), *attempt)),
        _ => None,
    });
    attempts.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::tale::{Tale, reply, scenario};

    fn tale() -> Tale {
        Tale::new()
            .open("alice#1", &[], None)
            .ask("alice-1", "Hi")
            .run("run_1", 1, "queued")
            .run("run_1", 1, "leased")
            .run("run_1", 2, "leased")
            .log("worker-1", Event::ModelCalled { call: 0, asked: "Hi".to_owned(), n_messages: 1 })
            .say("a1", &["A"])
            .watch("alice#1")
            .boundary(0)
            .settled()
            .shows("alice#1", &[reply("a1", "A")])
    }

    #[track_caller]
    fn check_one(expectation: Expectation, want: Option<&str>) {
        let mut scenario = scenario();
        scenario.expect = vec![expectation];
        let entries = tale().entries;
        let found: Vec<_> =
            check(&Story::new(&scenario, &entries)).into_iter().map(|violation| violation.what).collect();
        assert_eq!(found.first().map(String::as_str), want);
    }

    #[test]
    fn counts_are_compared() {
        for (expectation, want) in [
            (Expectation::Runs(1), None),
            (Expectation::Runs(2), Some("expected 2 runs, got 1")),
            (Expectation::Attempts(2), None),
            (Expectation::Attempts(1), Some("expected 1 leased attempts, got 2")),
            (Expectation::Turns(1), None),
            (Expectation::Turns(0), Some("expected 0 turns, got 1")),
            (Expectation::Inputs(1), None),
            (Expectation::Inputs(3), Some("expected 3 records on `in`, got 1")),
            (Expectation::Refused { client: "alice".to_owned(), count: 0 }, None),
            (Expectation::Refused { client: "alice".to_owned(), count: 1 }, Some("expected 1 refused messages, got 0")),
            (Expectation::ModelCalls(1), None),
            (Expectation::Prompts(vec![1]), None),
            (Expectation::Prompts(vec![]), Some("expected model calls with [] messages, got [1]")),
            (Expectation::ModelCalls(2), Some("expected 2 model calls, got 1")),
        ] {
            check_one(expectation, want);
        }
    }

    #[test]
    fn answers_are_those_of_the_last_page() {
        let answers =
            |client: &str, text: &str| Expectation::Answers { client: client.to_owned(), texts: vec![text.to_owned()] };

        check_one(answers("alice", "A"), None);
        check_one(answers("alice", "B"), Some(r#"expected answers ["B"], got ["A"]"#));
        check_one(answers("bob", "A"), Some(r#"expected answers ["A"], but bob has no page open"#));
    }

    #[test]
    fn chunks_are_counted_from_the_last_load_on() {
        let shown = |client: &str, count| Expectation::ShownAfterLoad { client: client.to_owned(), count };

        check_one(shown("alice", 7), None);
        check_one(shown("alice", 0), Some("expected 0 chunks shown after the load, got 7"));
        check_one(shown("bob", 0), Some("expected 0 chunks shown, but bob never had a page"));
    }
}

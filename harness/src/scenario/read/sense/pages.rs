//! Which pages are open when a story asks something of them: a verb that finds none would do nothing.

use std::collections::BTreeSet;

use super::Complaint;
use crate::document::Segment;
use crate::scenario::{Scenario, Step};

/// The pages that are open, by their tabs, and those of them that are out of sight.
struct Pages<'a> {
    open: BTreeSet<&'a str>,
    hidden: BTreeSet<&'a str>,
}

/// Says which verb is the first that finds no page, or finds it as it would make it.
pub(super) fn check(scenario: &Scenario) -> Result<(), Complaint> {
    let mut pages = Pages { open: scenario.people.iter().map(String::as_str).collect(), hidden: BTreeSet::new() };
    for (index, step) in scenario.steps.iter().enumerate() {
        if let Some(program) = step.client().filter(|name| scenario.programs.iter().any(|program| program == name))
            && !is_for_programs(step)
        {
            let message = format!("`{program}` is a program: it has no page");
            return Err(Complaint::new(["steps".into(), index.into(), Segment::from(verb_of(step).as_str())], message));
        }
        let Some(tab) = step.client().filter(|_| wants_page(step)) else { continue };
        if let Some(message) = pages.take(tab, step) {
            return Err(Complaint::new(["steps".into(), index.into(), Segment::from(verb_of(step).as_str())], message));
        }
    }
    Ok(())
}

/// Tells whether a step is about one page, rather than about the person, her device or what she owes nobody.
fn wants_page(step: &Step) -> bool {
    !matches!(step, Step::CancelRun(_) | Step::GoOffline(_) | Step::GoOnline(_) | Step::WaitStreams(_))
}

/// Tells whether a step is about what a program does, too, or its machine.
fn is_for_programs(step: &Step) -> bool {
    matches!(
        step,
        Step::Send(_)
            | Step::WaitChunks(_)
            | Step::WaitAnswer(_)
            | Step::WaitStreams(_)
            | Step::CancelRun(_)
            | Step::GoOffline(_)
            | Step::GoOnline(_)
    )
}

/// Gives a step's verb as files write it.
fn verb_of(step: &Step) -> String {
    let written = serde_json::to_value(step).expect("a step always serialises");
    written.as_object().and_then(|verbs| verbs.keys().next().cloned()).unwrap_or_default()
}

impl<'a> Pages<'a> {
    /// Takes a step in; says what is wrong with it.
    fn take(&mut self, tab: &'a str, step: &Step) -> Option<String> {
        let is_open = self.open.contains(tab);
        match step {
            Step::OpenPage(_) if is_open => return Some(format!("`{tab}` has a page open already here")),
            Step::OpenPage(_) => _ = self.open.insert(tab),
            _ if !is_open => return Some(format!("`{tab}` has no page open here")),
            Step::Claim(_) if !self.has_others(tab) => {
                return Some(format!("`{tab}` has no other tab open here that could hear of it: `send` says that"));
            }
            Step::Hide(_) if !self.hidden.insert(tab) => return Some(format!("the page of `{tab}` is hidden already")),
            Step::Show(_) if !self.hidden.remove(tab) => return Some(format!("the page of `{tab}` is in sight here")),
            Step::ClosePage(_) | Step::CrashPage(_) => _ = self.open.remove(tab),
            _ => {}
        }
        // A page that has just been loaded is in sight.
        if matches!(step, Step::ClosePage(_) | Step::CrashPage(_) | Step::Reload(_) | Step::Watch(_)) {
            self.hidden.remove(tab);
        }
        None
    }
}

impl Pages<'_> {
    /// Tells whether the person has a page open in another tab.
    fn has_others(&self, tab: &str) -> bool {
        let person = |tab: &str| tab.split_once('/').map_or(tab, |(person, _)| person).to_owned();
        self.open.iter().any(|other| *other != tab && person(other) == person(tab))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::scenario::parse;

    /// Reads a story of these steps, each a verb and the tab it concerns.
    #[track_caller]
    fn check_steps(steps: &[(&str, &str)], want: Result<(), &str>) {
        let steps: Vec<Value> = steps.iter().map(|(verb, tab)| json!({ *verb: { "client": tab } })).collect();
        let story = json!({ "why": "w", "agent": "plain", "model": [], "steps": steps, "expect": [] });

        let got = parse("story", &story.to_string()).map(drop).map_err(|error| error.to_string());

        match want {
            Ok(()) => assert_eq!(got, Ok(())),
            Err(want) => assert!(got.as_ref().is_err_and(|got| got.contains(want)), "{got:?} for {want:?}"),
        }
    }

    #[test]
    fn a_page_is_opened_when_none_is_and_closed_when_one_is() {
        check_steps(&[("close_page", "alice"), ("open_page", "alice"), ("crash_page", "alice")], Ok(()));
        check_steps(&[("open_page", "alice")], Err("`alice` has a page open already here"));
        for verb in ["close_page", "crash_page", "reload", "stop", "show", "expire_token", "wait_answer", "watch"] {
            check_steps(&[("close_page", "alice"), (verb, "alice")], Err("`alice` has no page open here"));
        }
        check_steps(&[("close_page", "alice"), ("go_offline", "alice"), ("go_online", "alice")], Ok(()));
    }

    #[test]
    fn a_further_tab_begins_without_a_page() {
        check_steps(&[("open_page", "alice/b"), ("stop", "alice/b"), ("reload", "alice")], Ok(()));
        check_steps(&[("stop", "alice/b")], Err("`alice/b` has no page open here"));
        check_steps(&[("open_page", "bob/b")], Err("there is no person `bob` in this story"));
        check_steps(&[("open_page", "alice/B")], Err("a tab's name is made of `a-z`, `0-9` and `-`"));
        check_steps(&[("go_offline", "alice/b")], Err("there is no person `alice/b` in this story"));
    }

    #[test]
    fn a_chat_is_taken_from_somebody_c124() {
        let story = |open: &str| {
            let steps = json!([{ "open_page": { "client": "alice/b" } }, { open: { "client": "alice/b" } },
                { "claim": { "client": "alice", "text": "Hi" } }]);
            json!({ "why": "w", "agent": "plain", "model": [], "steps": steps, "expect": [] }).to_string()
        };

        assert!(parse("story", &story("reload")).is_ok());
        let alone = parse("story", &story("close_page")).unwrap_err().to_string();
        assert!(alone.contains("`alice` has no other tab open here"), "{alone}");
    }

    #[test]
    fn a_page_is_hidden_in_sight_and_shown_out_of_it() {
        check_steps(&[("hide", "alice"), ("show", "alice"), ("hide", "alice"), ("reload", "alice")], Ok(()));
        check_steps(&[("show", "alice")], Err("the page of `alice` is in sight here"));
        check_steps(&[("hide", "alice"), ("hide", "alice")], Err("the page of `alice` is hidden already"));
        check_steps(
            &[("hide", "alice"), ("reload", "alice"), ("show", "alice")],
            Err("the page of `alice` is in sight here"),
        );
    }
    #[test]
    fn a_program_sends_and_has_no_page() {
        let read = |steps: Value, programs: &[&str]| {
            let story = json!({ "why": "w", "agent": "plain", "model": [], "steps": steps, "programs": programs });
            parse("story", &story.to_string()).map(drop).map_err(|error| error.message)
        };
        let asks = json!([{ "send": { "client": "alice", "text": "Hi" } }, { "wait_answer": { "client": "alice" } }]);

        assert_eq!(read(asks.clone(), &["alice"]), Ok(()));
        let reloads = json!([{ "reload": { "client": "alice" } }]);
        assert_eq!(read(reloads.clone(), &["alice"]), Err("`alice` is a program: it has no page".to_owned()));
        assert_eq!(read(reloads, &[]), Ok(()));
        assert_eq!(read(asks, &["bob"]), Err("there is no person `bob` in this story".to_owned()));
    }
}

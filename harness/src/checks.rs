//! What must always hold, whatever the story: every run's trace is read by every check.
//!
//! Each check is a pure function over the trace, in a file of its own that words its promise exactly. Checks know the wire format
//! and nothing of the code they judge: what they need of the conversation they fold from the durable records themselves.

mod acknowledged_kept;
mod answered_once;
mod answers_shown;
mod chain;
mod dense_seq_nums;
mod excuses;
mod expect;
mod fold;
mod nothing_after_boundary;
mod one_tab_sends;
mod one_writer;
mod processes_live;
mod question_kept;
mod rendered_prefix;
mod script_kept;
mod sends_accepted;
mod shown_once;
mod snapshot_is_fold;
mod story;
#[cfg(test)]
pub(crate) mod tale;
mod trim_covered;
mod whole;
mod writable_somewhere;

pub(crate) use story::{Content, Stored, decode, person_of};

use crate::outcome::Violation;
use crate::scenario::Scenario;
use crate::trace::Entry;
use story::Story;

/// The most violations that one check reports of one run; what breaks once often breaks a hundred times.
pub const MAX_REPORTED: usize = 3;

/// One check: its name and its judgement.
type Check = (&'static str, fn(&Story<'_>) -> Vec<Violation>);

const CHECKS: &[Check] = &[
    (dense_seq_nums::NAME, dense_seq_nums::check),
    (acknowledged_kept::NAME, acknowledged_kept::check),
    (one_writer::NAME, one_writer::check),
    (nothing_after_boundary::NAME, nothing_after_boundary::check),
    (answered_once::NAME, answered_once::check),
    (snapshot_is_fold::NAME, snapshot_is_fold::check),
    (trim_covered::NAME, trim_covered::check),
    (shown_once::NAME, shown_once::check),
    (answers_shown::NAME, answers_shown::check),
    (rendered_prefix::NAME, rendered_prefix::check),
    (question_kept::NAME, question_kept::check),
    (script_kept::NAME, script_kept::check),
    (processes_live::NAME, processes_live::check),
    (sends_accepted::NAME, sends_accepted::check),
    (writable_somewhere::NAME, writable_somewhere::check),
    (one_tab_sends::NAME, one_tab_sends::check),
    (expect::NAME, expect::check),
];

/// Judges a run; gives what broke, in the order of the trace, at most [`MAX_REPORTED`] of each check.
pub fn check(scenario: &Scenario, entries: &[Entry]) -> Vec<Violation> {
    let story = Story::new(scenario, entries);
    let mut violations: Vec<_> = CHECKS.iter().flat_map(|(_, check)| first_few(check(&story))).collect();
    violations.sort_by_key(|violation| violation.at_ms);
    violations
}

/// Lists the names of all checks.
pub fn names() -> &'static [&'static str] {
    const NAMES: [&str; CHECKS.len()] = {
        let mut names = [""; CHECKS.len()];
        let mut index = 0;
        while index < CHECKS.len() {
            names[index] = CHECKS[index].0;
            index += 1;
        }
        names
    };
    &NAMES
}

/// Keeps the first few, and of equal sentences about the same one only the first.
fn first_few(violations: Vec<Violation>) -> Vec<Violation> {
    let mut kept: Vec<Violation> = Vec::new();
    for violation in violations {
        let known = kept.iter().any(|other| other.what == violation.what && other.whom == violation.whom);
        if !known && kept.len() < MAX_REPORTED {
            kept.push(violation);
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use turnkeep_protocol::ChannelName;

    use super::tale::{Tale, scenario};
    use super::*;

    #[test]
    fn every_check_is_green_on_a_conversation_that_goes_well() {
        let tale = Tale::good();

        assert_eq!(check(&scenario(), &tale.entries), []);
    }

    #[test]
    fn names_are_unique_and_in_the_words_of_files() {
        let mut sorted = names().to_vec();
        sorted.sort_unstable();
        sorted.dedup();

        assert_eq!(sorted.len(), names().len());
        assert!(names().iter().all(|name| name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-')));
    }

    #[test]
    fn one_check_reports_only_the_first_few() {
        let mut tale = Tale::new();
        for hole in [1, 3, 5, 7, 9] {
            tale = tale.at_seq(ChannelName::In, hole).stop();
        }

        let found = check(&scenario(), &tale.entries);

        assert_eq!(found.len(), MAX_REPORTED);
        assert!(found.iter().all(|violation| violation.check == "dense-seq-nums"));
    }
}

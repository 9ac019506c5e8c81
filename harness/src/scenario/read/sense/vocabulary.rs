//! The names that only the caller knows: who is in the cast, which checks there are.

use super::Complaint;
use crate::document::Segment;
use crate::scenario::Scenario;

/// The names that a story may use beyond its own people and hosts.
#[derive(Debug, Clone, Copy)]
pub struct Vocabulary<'a> {
    /// The ids of the agents in the cast.
    pub agents: &'a [&'a str],
    /// The names of the checks that can report a careless agent.
    pub checks: &'a [&'a str],
}

/// Says which agent or check is the first that is not there.
pub(super) fn check(scenario: &Scenario, vocabulary: &Vocabulary<'_>) -> Result<(), Complaint> {
    known(&["agent"], "agent", &scenario.agent, vocabulary.agents)?;
    let Some(careless) = &scenario.careless else { return Ok(()) };
    known(&["careless", "agent"], "agent", &careless.agent, vocabulary.agents)?;
    known(&["careless", "reported_by"], "check", &careless.reported_by, vocabulary.checks)
}

fn known(path: &[&str], what: &str, word: &str, words: &[&str]) -> Result<(), Complaint> {
    if words.contains(&word) {
        return Ok(());
    }
    Err(Complaint {
        path: path.iter().copied().map(Segment::from).collect(),
        message: format!("there is no {what} `{word}`"),
        word: word.to_owned(),
        allowed: words.iter().map(|word| (*word).to_owned()).collect(),
    })
}

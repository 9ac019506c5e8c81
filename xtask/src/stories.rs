//! The stories under scenarios/: read, checked against the cast, and each a test of its own.

use std::path::Path;

use anyhow::Result;
use turnkeep_harness::checks;
use turnkeep_harness::scenario::{self, Scenario};

use crate::bad_input::{BadInput, no_such};
use crate::cast::{AGENTS, cast};
use crate::house;
use crate::judge::{Golden, judge};

/// Reads every scenario; what they name in the cast and among the checks exists.
pub(crate) fn load() -> Result<Vec<Scenario>, BadInput> {
    let all = scenario::load_all(&house::scenarios()).map_err(|mut err| {
        if let Ok(short) = Path::new(&err.file).strip_prefix(house::root()) {
            err.file = short.display().to_string();
        }
        BadInput(err.to_string())
    })?;
    all.iter().try_for_each(fits)?;
    Ok(all)
}

/// Says when a scenario asks for an agent or a check that is not there.
fn fits(scenario: &Scenario) -> Result<(), BadInput> {
    let of = |err: BadInput| BadInput(format!("scenario {}: {err}", scenario.name));
    let careless = scenario.careless.as_ref();
    for agent in std::iter::once(&scenario.agent).chain(careless.map(|careless| &careless.agent)) {
        if !AGENTS.contains(&agent.as_str()) {
            return Err(of(no_such("agent", agent, AGENTS)));
        }
    }
    match careless {
        Some(careless) if !checks::names().contains(&careless.reported_by.as_str()) => {
            Err(of(no_such("check", &careless.reported_by, checks::names())))
        }
        _ => Ok(()),
    }
}

/// One scenario as a test: its own seed, its golden, its careless twin.
#[derive(Debug)]
pub struct Story {
    scenario: Scenario,
}

/// Reads every scenario file as a test.
///
/// # Errors
///
/// When a file is no scenario, or asks for an agent or a check that is not there.
pub fn stories() -> Result<Vec<Story>> {
    Ok(load()?.into_iter().map(|scenario| Story { scenario }).collect())
}

impl Story {
    /// Gives the scenario's name.
    pub fn name(&self) -> &str {
        &self.scenario.name
    }

    /// Runs the scenario on its own seed.
    ///
    /// # Errors
    ///
    /// When it does not hold: the report for people.
    pub fn hold(&self) -> Result<(), String> {
        let judged = judge(&self.scenario, self.scenario.seed, &cast(), Golden::Compare);
        if judged.report.is_empty() { Ok(()) } else { Err(judged.report) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn story(agent: &str, careless: &str) -> Scenario {
        let text =
            format!(r#"{{ "why": "w", "agent": "{agent}", "model": [], "steps": [{{ "advance_ms": 1 }}]{careless} }}"#);
        scenario::parse("story", &text).unwrap()
    }

    #[test]
    fn an_agent_or_a_check_that_is_not_there_is_bad_input() {
        let agent = AGENTS[0];
        let right = format!(r#", "careless": {{ "agent": "{agent}", "reported_by": "{}" }}"#, checks::names()[0]);
        let wrong = format!(r#", "careless": {{ "agent": "{agent}", "reported_by": "luck" }}"#);

        assert!(fits(&story(agent, "")).is_ok());
        assert!(fits(&story(agent, &right)).is_ok());
        let text = fits(&story("ecko", "")).unwrap_err().to_string();
        assert!(text.starts_with("scenario story: there is no agent `ecko`"), "{text}");
        let text = fits(&story(agent, &wrong)).unwrap_err().to_string();
        assert!(text.starts_with("scenario story: there is no check `luck`"), "{text}");
    }
}

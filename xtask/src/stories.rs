//! The stories under scenarios/: read, checked against the cast, and each a test of its own.

use std::path::Path;

use anyhow::Result;
use turnkeep_harness::checks;
use turnkeep_harness::scenario::{self, Scenario, Vocabulary};

use crate::bad_input::BadInput;
use crate::cast::{AGENTS, cast};
use crate::house;
use crate::judge::{Golden, judge};

/// Reads every scenario; what they name in the cast and among the checks exists.
pub(crate) fn load() -> Result<Vec<Scenario>, BadInput> {
    let vocabulary = Vocabulary { agents: AGENTS, checks: checks::names() };
    scenario::load_all(&house::scenarios(), &vocabulary).map_err(|mut err| {
        if let Ok(short) = Path::new(&err.file).strip_prefix(house::root()) {
            err.file = short.display().to_string();
        }
        BadInput(err.to_string())
    })
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

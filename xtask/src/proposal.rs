//! What a run would have its golden be: left beside the golden for `cargo insta review`, taken away once it says nothing new.
//!
//! Only a scenario's own seed proposes and withdraws, so that a sweep over many seeds, in parallel, leaves what its own run left.

use std::fs;
use std::io;
use std::path::Path;

use turnkeep_harness::Outcome;
use turnkeep_harness::golden;
use turnkeep_harness::scenario::Scenario;

/// Tells whether this is CI, where nobody reviews a proposal and nobody may bless.
pub(crate) fn in_ci() -> bool {
    means_ci(std::env::var("CI").ok().as_deref())
}

fn means_ci(ci: Option<&str>) -> bool {
    ci.is_some_and(|value| !["", "0", "false"].contains(&value))
}

/// Leaves the transcript of `outcome` in `folder` and gives the line about it for the report; empty when none is left.
pub(crate) fn leave(folder: &Path, scenario: &Scenario, outcome: &Outcome) -> String {
    if outcome.seed != scenario.seed {
        return String::new();
    }
    let name = &scenario.name;
    match golden::propose(folder, scenario, outcome) {
        Ok(()) => format!("\nor review it:   cargo insta review, which finds golden/{name}.snap.new"),
        Err(err) => format!("\ngolden/{name}.snap.new cannot be written: {err}"),
    }
}

/// Takes the proposal of an earlier run away.
///
/// # Errors
///
/// When there is one and it cannot be removed.
pub(crate) fn withdraw(folder: &Path, scenario: &Scenario, seed: u64) -> io::Result<()> {
    if seed != scenario.seed {
        return Ok(());
    }
    match fs::remove_file(folder.join(format!("{}.snap.new", scenario.name))) {
        Err(err) if err.kind() != io::ErrorKind::NotFound => Err(err),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use turnkeep_harness::scenario;

    use super::*;

    fn story() -> Scenario {
        let text = r#"{ "why": "w", "agent": "a", "model": [], "seed": 7, "steps": [{ "advance_ms": 1 }] }"#;
        scenario::parse("reload", text).unwrap()
    }

    fn outcome(seed: u64) -> Outcome {
        Outcome {
            scenario: "reload".to_owned(),
            seed,
            violations: Vec::new(),
            entries: Vec::new(),
            transcript: "alice: Hi\n".to_owned(),
            virtual_ms: 0,
            turns: 0,
            records: 0,
        }
    }

    #[test]
    fn ci_is_what_the_variable_says() {
        for (value, want) in
            [(None, false), (Some(""), false), (Some("false"), false), (Some("true"), true), (Some("1"), true)]
        {
            assert_eq!(means_ci(value), want, "{value:?}");
        }
    }

    #[test]
    fn a_proposal_is_left_and_taken_away_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("reload.snap.new");

        let said = leave(folder.path(), &story(), &outcome(7));
        assert!(said.contains("cargo insta review"), "{said}");
        assert!(fs::read_to_string(&path).unwrap().ends_with("---\nalice: Hi\n"));

        withdraw(folder.path(), &story(), 7).unwrap();
        assert!(!path.exists());
        withdraw(folder.path(), &story(), 7).unwrap();
    }

    #[test]
    fn another_seed_neither_proposes_nor_withdraws() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("reload.snap.new");

        assert_eq!(leave(folder.path(), &story(), &outcome(8)), "");
        assert!(!path.exists());

        leave(folder.path(), &story(), &outcome(7));
        withdraw(folder.path(), &story(), 8).unwrap();
        assert!(path.exists());
    }
}

//! `cargo xtask bless`: writes goldens and the scenario schema, after showing what changes.

use std::fs;

use anyhow::{Context as _, Result};
use serde_json::Value;
use turnkeep_harness::golden;
use turnkeep_harness::scenario::{self, Scenario};

use crate::bad_input::{BadInput, no_such};
use crate::cast::cast;
use crate::cli::BlessArgs;
use crate::house;
use crate::judge::{Golden, judge};
use crate::proposal;
use crate::stories;
use crate::verdict::Verdict;

/// Writes what `args` ask for; a story that does not hold keeps its golden.
pub(crate) fn bless(args: &BlessArgs) -> Result<Verdict> {
    if proposal::in_ci() {
        return Err(BadInput("goldens are written by people who read the diff, never in CI".to_owned()).into());
    }
    write_schema()?;
    let mut worst = Verdict::Held;
    for scenario in choose(stories::load()?, &args.names)? {
        worst = worst.max(bless_one(&scenario)?);
    }
    Ok(worst)
}

fn choose(all: Vec<Scenario>, wanted: &[String]) -> Result<Vec<Scenario>, BadInput> {
    let names: Vec<&str> = all.iter().map(|scenario| scenario.name.as_str()).collect();
    if let Some(unknown) = wanted.iter().find(|name| !names.contains(&name.as_str())) {
        return Err(no_such("scenario", unknown, &names));
    }
    Ok(all.into_iter().filter(|scenario| wanted.is_empty() || wanted.contains(&scenario.name)).collect())
}

fn bless_one(scenario: &Scenario) -> Result<Verdict> {
    let judged = judge(scenario, scenario.seed, &cast(), Golden::Leave);
    if judged.verdict != Verdict::Held {
        println!("{}", judged.report.trim_end());
        eprintln!("{}: not blessed, the story does not hold", scenario.name);
        return Ok(judged.verdict);
    }
    match golden::compare(&house::golden(), scenario, &judged.outcome) {
        Ok(()) => eprintln!("{}: unchanged", scenario.name),
        Err(difference) => {
            println!("{difference}");
            golden::write(&house::golden(), scenario, &judged.outcome)
                .with_context(|| format!("the golden of {} cannot be written", scenario.name))?;
            eprintln!("{}: written; read the diff before you commit it", scenario.name);
        }
    }
    proposal::withdraw(&house::golden(), scenario, judged.outcome.seed)
        .with_context(|| format!("golden/{}.snap.new cannot be removed", scenario.name))?;
    Ok(Verdict::Held)
}

fn write_schema() -> Result<()> {
    let (path, text) = (house::schema(), pretty(&scenario::schema()));
    if fs::read_to_string(&path).ok().as_deref() != Some(&text) {
        fs::write(&path, text).with_context(|| format!("{} cannot be written", path.display()))?;
        eprintln!("docs/scenario.schema.json: written");
    }
    Ok(())
}

/// Writes JSON as it is checked in.
pub(crate) fn pretty(value: &Value) -> String {
    format!("{value:#}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_scenarios_that_exist_can_be_blessed() {
        let text = r#"{ "why": "w", "agent": "a", "model": [], "steps": [{ "advance_ms": 1 }] }"#;
        let all = || ["a", "b"].map(|name| scenario::parse(name, text).unwrap()).into();

        assert_eq!(choose(all(), &[]).unwrap().len(), 2);
        assert_eq!(choose(all(), &["b".to_owned()]).unwrap()[0].name, "b");
        assert!(choose(all(), &["c".to_owned()]).is_err());
    }
}

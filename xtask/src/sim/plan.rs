//! Which scenarios on which seeds.

use turnkeep_harness::scenario::{Scenario, Store};

use crate::address::Address;
use crate::bad_input::{BadInput, no_such};
use crate::cli::{SimArgs, StoreName};

/// One scenario and the seeds it runs on.
#[derive(Debug)]
pub(super) struct Telling {
    pub(super) scenario: Scenario,
    pub(super) seeds: Vec<u64>,
    /// The moment that the caller asks about, in virtual milliseconds.
    pub(super) moment_ms: Option<u64>,
}

/// One run that is to be done.
#[derive(Debug)]
pub(super) struct Job<'a> {
    pub(super) telling: usize,
    pub(super) scenario: &'a Scenario,
    pub(super) seed: u64,
}

impl Telling {
    /// Says which seeds in a few characters.
    pub(super) fn seeds_text(&self) -> String {
        match self.seeds.as_slice() {
            [seed] => format!("seed {seed}"),
            [first, .., last] => format!("seeds {first}..{}", last + 1),
            [] => "no seeds".to_owned(),
        }
    }
}

/// Lists the runs, scenario by scenario.
pub(super) fn jobs(tellings: &[Telling]) -> Vec<Job<'_>> {
    let runs = |(telling, it): (usize, &'_ Telling)| -> Vec<(usize, u64)> {
        it.seeds.iter().map(|seed| (telling, *seed)).collect()
    };
    let all = tellings.iter().enumerate().flat_map(runs);
    all.map(|(telling, seed)| Job { telling, scenario: &tellings[telling].scenario, seed }).collect()
}

/// Picks what `args` ask for; all scenarios when they name none.
pub(super) fn choose(all: Vec<Scenario>, args: &SimArgs) -> Result<Vec<Telling>, BadInput> {
    let names: Vec<&str> = all.iter().map(|scenario| scenario.name.as_str()).collect();
    if let Some(address) = args.names.iter().find(|address| !names.contains(&address.name.as_str())) {
        return Err(no_such("scenario", &address.name, &names));
    }
    if all.is_empty() {
        return Err(BadInput("there is no scenario under scenarios/".to_owned()));
    }
    if args.names.is_empty() {
        return Ok(all.into_iter().map(|scenario| tell(scenario, None, args)).collect());
    }
    let chosen = args.names.iter().map(|address| {
        let scenario = all.iter().find(|scenario| scenario.name == address.name);
        tell(scenario.expect("every name was looked up above").clone(), Some(address), args)
    });
    Ok(chosen.collect())
}

fn tell(mut scenario: Scenario, address: Option<&Address>, args: &SimArgs) -> Telling {
    scenario.store = match args.store {
        StoreName::Journal => Store::Journal,
        StoreName::Redb => Store::Redb,
    };
    let seeds = match (address.and_then(|address| address.seed), &args.seeds, args.seed) {
        (Some(seed), _, _) | (None, None, Some(seed)) => vec![seed],
        (None, Some(range), _) => range.clone().collect(),
        (None, None, None) => vec![scenario.seed],
    };
    Telling { seeds, moment_ms: address.and_then(|address| address.ms), scenario }
}

#[cfg(test)]
mod tests {
    use turnkeep_harness::scenario::parse;

    use super::*;

    fn stories() -> Vec<Scenario> {
        let text = r#"{ "why": "w", "agent": "a", "model": [], "seed": 7, "steps": [{ "advance_ms": 1 }] }"#;
        ["a", "b"].map(|name| parse(name, text).unwrap()).into()
    }

    fn args(names: &[&str]) -> SimArgs {
        SimArgs { names: names.iter().map(|name| name.parse().unwrap()).collect(), ..SimArgs::default() }
    }

    #[track_caller]
    fn check(args: &SimArgs, want: &[(&str, &[u64])]) {
        let tellings = choose(stories(), args).unwrap();

        let got: Vec<_> = tellings.iter().map(|t| (t.scenario.name.as_str(), t.seeds.as_slice())).collect();
        assert_eq!(got, want);
    }

    #[test]
    fn without_a_name_every_scenario_runs_on_its_own_seed() {
        check(&args(&[]), &[("a", &[7]), ("b", &[7])]);
    }

    #[test]
    fn seeds_come_from_the_flags_unless_the_address_has_one() {
        check(&SimArgs { seed: Some(3), ..args(&["b"]) }, &[("b", &[3])]);
        check(&SimArgs { seeds: Some(1..4), ..args(&["b@9", "a"]) }, &[("b", &[9]), ("a", &[1, 2, 3])]);
    }

    #[test]
    fn the_moment_of_an_address_is_kept() {
        let tellings = choose(stories(), &args(&["a@9+120"])).unwrap();

        assert_eq!((tellings[0].moment_ms, tellings[0].seeds_text()), (Some(120), "seed 9".to_owned()));
    }

    #[test]
    fn an_unknown_name_is_bad_input() {
        let err = choose(stories(), &args(&["c"])).unwrap_err();

        assert!(err.to_string().starts_with("there is no scenario `c`\n  there is: a, b"), "{err}");
        assert!(choose(Vec::new(), &args(&[])).is_err());
    }

    #[test]
    fn jobs_are_listed_scenario_by_scenario() {
        let tellings = choose(stories(), &SimArgs { seeds: Some(1..3), ..args(&[]) }).unwrap();

        let list: Vec<_> = jobs(&tellings).iter().map(|job| (job.scenario.name.clone(), job.seed)).collect();

        let want = [("a", 1), ("a", 2), ("b", 1), ("b", 2)].map(|(name, seed)| (name.to_owned(), seed));
        assert_eq!(list, want);
        assert_eq!(tellings[0].seeds_text(), "seeds 1..3");
    }
}

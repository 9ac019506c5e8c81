//! Every scenario has a golden and the other way round; the checked-in schema is what the code reads.

use std::collections::BTreeSet;

use turnkeep_harness::scenario;

use super::Finding;
use crate::bless;
use crate::tree::Tree;

const SCHEMA: &str = "docs/scenario.schema.json";

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = pairs(tree);
    if tree.text(SCHEMA) != Some(&bless::pretty(&scenario::schema())) {
        findings.push(Finding::new(SCHEMA, 0, "is not what the code reads: run cargo xtask bless"));
    }
    findings
}

fn pairs(tree: &Tree) -> Vec<Finding> {
    let stems = |folder: &'static str, ext: &'static str| -> BTreeSet<String> {
        let name = |path: &str| path.rsplit('/').next().unwrap_or(path).to_owned();
        let stem = |name: String| name.strip_suffix(&format!(".{ext}")).map_or(name.clone(), str::to_owned);
        tree.below(folder, ext).map(|file| stem(name(&file.path))).collect()
    };
    let (stories, goldens) = (stems("scenarios/", "json"), stems("golden/", "snap"));
    let bare = stories.difference(&goldens);
    let orphans = goldens.difference(&stories);
    bare.map(|name| Finding::new(format!("scenarios/{name}.json"), 0, "has no golden: run cargo xtask bless"))
        .chain(orphans.map(|name| Finding::new(format!("golden/{name}.snap"), 0, "has no scenario: remove it")))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scenarios_and_goldens_come_in_pairs() {
        let tree = Tree::of(&[
            ("scenarios/a.json", ""),
            ("scenarios/x/b.json", ""),
            ("golden/b.snap", ""),
            ("golden/c.snap", ""),
        ]);

        let found: Vec<String> = pairs(&tree).iter().map(Finding::to_string).collect();

        assert_eq!(
            found,
            ["scenarios/a.json: has no golden: run cargo xtask bless", "golden/c.snap: has no scenario: remove it"]
        );
    }

    #[test]
    fn a_schema_that_is_out_of_date_is_found() {
        let now = bless::pretty(&scenario::schema());

        assert_eq!(check(&Tree::of(&[(SCHEMA, &now)])), []);
        assert_eq!(check(&Tree::of(&[(SCHEMA, "{}")])).len(), 1);
        assert_eq!(check(&Tree::of(&[])).len(), 1);
    }
}

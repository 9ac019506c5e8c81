//! The bank of defences fits the code and leaves no story out.

use anyhow::Result;

use super::Finding;
use crate::red::{Bank, missing, unfit};
use crate::tree::Tree;

/// What a story says that runs its own broken twin every time.
const CARELESS: &str = "\"careless\":";

pub(super) fn check(tree: &Tree) -> Result<Vec<Finding>> {
    let bank = Bank::read(tree)?;
    let stories: Vec<&str> = tree.below("scenarios/", "json").filter_map(|file| stem(&file.path)).collect();
    let proves_itself = |story: &str| {
        let text = tree.text(&format!("scenarios/{story}.json"));
        text.is_some_and(|text| text.contains(CARELESS))
    };
    let unfit = unfit(&bank, tree).into_iter().map(|(place, what)| Finding::new(place, 0, what));
    let missing = missing(&bank, &stories, proves_itself).into_iter().map(|(place, what)| Finding::new(place, 0, what));
    Ok(unfit.chain(missing).collect())
}

fn stem(path: &str) -> Option<&str> {
    path.rsplit('/').next()?.strip_suffix(".json")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_story_without_a_defence_is_found_unless_it_proves_itself() {
        let tree = Tree::of(&[("scenarios/a.json", "{}"), ("scenarios/b.json", "{ \"careless\": {} }")]);

        let found: Vec<String> = check(&tree).unwrap().iter().map(Finding::to_string).collect();

        assert_eq!(found, ["scenarios/a.json: was never seen red: xtask/red has no defence of it"]);
    }
}

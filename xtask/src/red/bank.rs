//! The bank of defences: one file a story, `xtask/red/STORY.json`.

use std::collections::BTreeMap;

use anyhow::Result;
use serde::Deserialize;

use crate::bad_input::BadInput;
use crate::tree::Tree;

/// Where the bank is.
const FOLDER: &str = "xtask/red/";

/// The defences of every story.
#[derive(Debug, Default)]
pub(crate) struct Bank(BTreeMap<String, Vec<Defence>>);

/// One defence, how to take it out, and who must notice.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Defence {
    /// What the code then does, and the rules it breaks.
    pub(crate) without: String,
    /// What to change.
    pub(crate) edits: Vec<Edit>,
    /// The checks that must all report it, on some seed; `golden`, `watchdog` and `memory` count as checks.
    pub(crate) reported_by: Vec<String>,
}

/// One text of one file, replaced once.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Edit {
    pub(crate) file: String,
    pub(crate) find: String,
    pub(crate) replace: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BankFile {
    defences: Vec<Defence>,
}

impl Bank {
    /// Reads the bank.
    pub(crate) fn read(tree: &Tree) -> Result<Self, BadInput> {
        let mut bank = BTreeMap::new();
        for file in tree.below(FOLDER, "json") {
            let story = story_of(&file.path);
            let read: BankFile =
                serde_json::from_str(&file.text).map_err(|err| BadInput(format!("{}: {err}", file.path)))?;
            bank.insert(story.to_owned(), read.defences);
        }
        Ok(Self(bank))
    }

    /// Names the stories that have defences.
    pub(crate) fn stories(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// Gives a story's defences.
    pub(crate) fn of(&self, story: &str) -> &[Defence] {
        self.0.get(story).map_or(&[], Vec::as_slice)
    }
}

fn story_of(path: &str) -> &str {
    let name = path.strip_prefix(FOLDER).unwrap_or(path);
    name.strip_suffix(".json").unwrap_or(name)
}

/// Lists the edits that no longer fit the code, as (file of the bank, complaint): a text must stand in its file exactly once.
pub(crate) fn unfit(bank: &Bank, tree: &Tree) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for (story, defences) in &bank.0 {
        let place = format!("{FOLDER}{story}.json");
        for edit in defences.iter().flat_map(|defence| &defence.edits) {
            let complaint = match tree.text(&edit.file) {
                None => Some("which does not exist".to_owned()),
                Some(text) => match text.matches(&edit.find).count() {
                    1 => None,
                    n_times => Some(format!("where its text stands {n_times} times instead of once: {:?}", edit.find)),
                },
            };
            found.extend(complaint.map(|complaint| (place.clone(), format!("edits {}, {complaint}", edit.file))));
        }
        for defence in defences.iter().filter(|defence| defence.edits.is_empty() || defence.reported_by.is_empty()) {
            found.push((place.clone(), format!("proves nothing: {}", defence.without)));
        }
    }
    found
}

/// Lists the stories without a defence in the bank, and the bank's files without a story. `proves_itself` tells of a story that runs
/// its own broken twin every time.
pub(crate) fn missing<'a>(
    bank: &'a Bank,
    stories: &[&'a str],
    proves_itself: impl Fn(&str) -> bool,
) -> Vec<(String, &'static str)> {
    let bare = stories.iter().filter(|story| bank.of(story).is_empty() && !proves_itself(story));
    let bare =
        bare.map(|story| (format!("scenarios/{story}.json"), "was never seen red: xtask/red has no defence of it"));
    let orphans = bank.stories().filter(|story| !stories.contains(story));
    bare.chain(orphans.map(|story| (format!("{FOLDER}{story}.json"), "has no scenario"))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENTRY: &str = r#"{ "defences": [{ "without": "a: b (S-1)",
        "edits": [{ "file": "src/a.rs", "find": "if x", "replace": "if true" }], "reported_by": ["expect"] }] }"#;

    fn bank(tree: &Tree) -> Bank {
        Bank::read(tree).unwrap()
    }

    #[test]
    fn an_edit_must_fit_its_file_exactly_once() {
        let fits = Tree::of(&[("xtask/red/a.json", ENTRY), ("src/a.rs", "if x {}")]);
        let twice = Tree::of(&[("xtask/red/a.json", ENTRY), ("src/a.rs", "if x {} if x {}")]);
        let gone = Tree::of(&[("xtask/red/a.json", ENTRY)]);

        assert_eq!(unfit(&bank(&fits), &fits), []);
        assert!(unfit(&bank(&twice), &twice)[0].1.contains("stands 2 times"), "{:?}", unfit(&bank(&twice), &twice));
        assert_eq!(unfit(&bank(&gone), &gone)[0].1, "edits src/a.rs, which does not exist");
    }

    #[test]
    fn an_entry_without_edits_or_checks_proves_nothing() {
        let entry = r#"{ "defences": [{ "without": "w", "edits": [], "reported_by": ["expect"] }] }"#;
        let tree = Tree::of(&[("xtask/red/a.json", entry)]);

        assert_eq!(unfit(&bank(&tree), &tree), [("xtask/red/a.json".to_owned(), "proves nothing: w".to_owned())]);
    }

    #[test]
    fn every_story_has_a_defence_or_proves_itself() {
        let tree = Tree::of(&[("xtask/red/a.json", ENTRY), ("xtask/red/old.json", ENTRY)]);

        let found = missing(&bank(&tree), &["a", "b", "c"], |story| story == "c");

        let places: Vec<&str> = found.iter().map(|(place, _)| place.as_str()).collect();
        assert_eq!(places, ["scenarios/b.json", "xtask/red/old.json"]);
    }

    #[test]
    fn a_file_that_is_no_bank_names_its_place() {
        let tree = Tree::of(&[("xtask/red/a.json", "{ \"defences\": [{ \"with\": 1 }] }")]);

        let complaint = Bank::read(&tree).unwrap_err().to_string();

        assert!(complaint.starts_with("xtask/red/a.json: unknown field `with`"), "{complaint}");
    }
}

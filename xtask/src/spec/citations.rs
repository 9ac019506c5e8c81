//! Who cites which id: tests, headings of test code, scenarios, and code apart from them.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result};
use serde::Serialize;

use super::source::{self, Scope, Source};
use crate::rule_id::{self, RuleId};
use crate::tree::{File, Tree};

/// The texts of our own tests are samples of ids, so only comments and names cite there.
const SAMPLES: &str = "xtask/";

/// What kind of place cites an id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Kind {
    /// A test: its name, the comments above it, its body.
    Test,
    /// A story under scenarios/.
    Scenario,
    /// Test code outside any test: a module's heading, a helper.
    Module,
    /// What is no test: the rule is followed there, not proved.
    Code,
}

/// A place that cites an id; the first one of several in the same test, story or file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(super) struct Citation {
    pub(super) kind: Kind,
    pub(super) path: String,
    /// The test's or the story's name; empty for a file.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) name: String,
    pub(super) line: usize,
}

pub(super) type Citations = BTreeMap<RuleId, Vec<Citation>>;

/// Finds every citation of a known id.
///
/// # Errors
///
/// When the braces of a source do not match: which of its lines are tests is unknown then.
pub(super) fn citations(tree: &Tree, known: &BTreeSet<RuleId>) -> Result<Citations> {
    let mut found = Found { known, places: BTreeMap::new() };
    for (file, source) in sources(tree)? {
        found.rust(file, &source);
    }
    for story in tree.below("scenarios/", "json") {
        found.story(story);
    }
    Ok(found.places.into_iter().map(|(id, places)| (id, places.into_iter().map(citation).collect())).collect())
}

/// Names every test of the house.
///
/// # Errors
///
/// As [`citations`].
pub(crate) fn test_names(tree: &Tree) -> Result<BTreeSet<String>> {
    let scopes = sources(tree)?.into_iter().flat_map(|(_, source)| source.lines);
    Ok(scopes.filter_map(|(scope, _)| if let Scope::Test(name) = scope { Some(name) } else { None }).collect())
}

/// Reads every Rust source, those of test modules as test code.
fn sources(tree: &Tree) -> Result<Vec<(&File, Source)>> {
    let mut sources = Vec::new();
    let mut for_tests: BTreeSet<String> = BTreeSet::new();
    // A module's file may sort before the one that declares it, so the declarations are read first.
    for file in tree.below("", "rs") {
        let source = source::read(&file.text, false).with_context(|| format!("{}: braces do not match", file.path))?;
        for module in &source.test_modules {
            for_tests.insert(format!("{}{module}", folder_of_modules(&file.path)));
        }
        sources.push((file, source));
    }
    for (file, source) in &mut sources {
        if is_for_tests(&file.path, &for_tests) {
            for (scope, _) in &mut source.lines {
                if *scope == Scope::Code {
                    *scope = Scope::Module;
                }
            }
        }
    }
    Ok(sources)
}

/// Gives the folder in which a source's modules have their files.
fn folder_of_modules(path: &str) -> String {
    let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
    match name.trim_end_matches(".rs") {
        "lib" | "main" | "mod" => format!("{folder}/"),
        name => format!("{folder}/{name}/"),
    }
}

fn is_for_tests(path: &str, modules: &BTreeSet<String>) -> bool {
    let is_integration = path.split_once("/tests/").is_some_and(|(before, _)| !before.contains("/src"));
    let module = path.trim_end_matches(".rs");
    is_integration
        || module.match_indices('/').any(|(at, _)| modules.contains(&module[..at]))
        || modules.contains(module)
}

struct Found<'a> {
    known: &'a BTreeSet<RuleId>,
    /// By kind, path and name: the first line.
    places: BTreeMap<RuleId, BTreeMap<(Kind, String, String), usize>>,
}

impl Found<'_> {
    fn rust(&mut self, file: &File, source: &Source) {
        let mut last = None;
        for (index, (scope, line)) in source.lines.iter().enumerate() {
            let (kind, name) = match scope {
                Scope::Code => (Kind::Code, ""),
                Scope::Module => (Kind::Module, ""),
                Scope::Test(name) => (Kind::Test, name.as_str()),
            };
            let mut ids = rule_id::cited(&line.comment, self.known);
            if !file.path.starts_with(SAMPLES) {
                ids.extend(rule_id::cited(&line.text, self.known));
            }
            if last != Some(scope) {
                ids.extend(rule_id::named(name, self.known));
            }
            last = Some(scope);
            self.add(ids, kind, &file.path, name, index + 1);
        }
    }

    fn story(&mut self, story: &File) {
        let name = story.path.rsplit('/').next().unwrap_or_default().trim_end_matches(".json");
        for (index, line) in story.text.lines().enumerate() {
            self.add(rule_id::cited(line, self.known), Kind::Scenario, &story.path, name, index + 1);
        }
    }

    fn add(&mut self, ids: BTreeSet<RuleId>, kind: Kind, path: &str, name: &str, line: usize) {
        for id in ids.into_iter().filter(|id| self.known.contains(id)) {
            let places = self.places.entry(id).or_default();
            places.entry((kind, path.to_owned(), name.to_owned())).or_insert(line);
        }
    }
}

fn citation(((kind, path, name), line): ((Kind, String, String), usize)) -> Citation {
    Citation { kind, path, name, line }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree() -> Tree {
        Tree::of(&[
            (
                "crates/a/src/lib.rs",
                "//! Follows A-1…A-3.\nmod run;\n#[cfg(test)]\nmod rig;\n#[cfg(test)]\nmod tests {\n    /// A-4, AA-1.\n    \
                 #[test]\n    fn a_cat_purrs_a5() {\n        assert!(true, \"A-6 holds\");\n    }\n}\n",
            ),
            ("crates/a/src/rig.rs", "//! A-7.\n"),
            ("crates/a/src/run.rs", "// A-1 here.\n// A-1 there.\n#[cfg(test)]\nmod tests;\n"),
            ("crates/a/src/run/tests.rs", "//! A-2 … A-3.\nmod more;\n"),
            ("crates/a/src/run/tests/more.rs", "#[test]\nfn b_a2() {\n}\n"),
            ("crates/a/tests/b/main.rs", "// A-8.\n"),
            ("harness/src/tests/x.rs", "// A-8.\n"),
            ("scenarios/cat.json", "{\n  \"why\": \"A-9, A-99.\"\n}\n"),
            ("xtask/src/x.rs", "#[test]\nfn c_a4() {\n    f(\"A-5\"); // A-6\n}\n"),
        ])
    }

    fn told(citations: &Citations) -> Vec<String> {
        let one = |id: &RuleId, at: &Citation| format!("{id} {:?} {}:{} {}", at.kind, at.path, at.line, at.name);
        let all = citations.iter().flat_map(|(id, places)| places.iter().map(move |at| one(id, at)));
        all.map(|line| line.trim_end().to_owned()).collect()
    }

    #[test]
    fn every_kind_of_place_is_told_from_the_others() {
        let known = (1..10).map(|n| format!("A-{n}")).chain(["AA-1".to_owned()]);
        let known = known.filter_map(|id| RuleId::parse(&id)).collect();

        let found = told(&citations(&tree(), &known).unwrap());

        assert_eq!(
            found,
            [
                "A-1 Code crates/a/src/lib.rs:1",
                "A-1 Code crates/a/src/run.rs:1",
                "A-2 Test crates/a/src/run/tests/more.rs:1 b_a2",
                "A-2 Module crates/a/src/run/tests.rs:1",
                "A-2 Code crates/a/src/lib.rs:1",
                "A-3 Module crates/a/src/run/tests.rs:1",
                "A-3 Code crates/a/src/lib.rs:1",
                "A-4 Test crates/a/src/lib.rs:7 a_cat_purrs_a5",
                "A-4 Test xtask/src/x.rs:1 c_a4",
                "A-5 Test crates/a/src/lib.rs:7 a_cat_purrs_a5",
                "A-6 Test crates/a/src/lib.rs:10 a_cat_purrs_a5",
                "A-6 Test xtask/src/x.rs:3 c_a4",
                "A-7 Module crates/a/src/rig.rs:1",
                "A-8 Module crates/a/tests/b/main.rs:1",
                "A-8 Code harness/src/tests/x.rs:1",
                "A-9 Scenario scenarios/cat.json:2 cat",
                "AA-1 Test crates/a/src/lib.rs:7 a_cat_purrs_a5",
            ]
        );
    }

    #[test]
    fn every_test_of_the_house_is_seen() {
        let tree = Tree::read(&crate::house::root()).unwrap();

        for (file, source) in sources(&tree).unwrap() {
            let marked = source.lines.iter().filter(|(_, line)| {
                let code = line.code.trim();
                code == "#[test]" || code.starts_with("#[tokio::test")
            });
            let mut scopes: Vec<&Scope> = source.lines.iter().map(|(scope, _)| scope).collect();
            scopes.dedup();
            let tests = scopes.iter().filter(|scope| matches!(scope, Scope::Test(_)));
            assert_eq!(tests.count(), marked.count(), "{}", file.path);
        }
    }

    #[test]
    fn a_source_that_cannot_be_read_is_an_error_not_a_guess() {
        let tree = Tree::of(&[("crates/a/src/lib.rs", "fn f() {")]);

        let err = citations(&tree, &BTreeSet::new()).unwrap_err();

        assert_eq!(err.to_string(), "crates/a/src/lib.rs: braces do not match");
    }
}

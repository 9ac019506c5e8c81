//! From a file's bytes to a [`Scenario`] or a complaint with its place.
//!
//! Three passes: the JSON itself, the words and types, the sense (people, hosts and counts that exist). Each stops at its first
//! complaint. Which agents and checks exist only the caller knows: it says so in a [`Vocabulary`].

mod sense;
#[cfg(test)]
mod tests;

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::Scenario;
use crate::document::{Segment, Source};

pub use crate::document::DocumentError as ScenarioError;
pub use sense::Vocabulary;

/// Gives the JSON Schema of scenario files.
pub fn schema() -> Value {
    schemars::schema_for!(Scenario).to_value()
}

/// Reads one scenario from text; `name` stands in for the file's stem, and its agents and checks may be any.
///
/// # Errors
///
/// When the text is no scenario: the place, what is wrong, the allowed words.
pub fn parse(name: &str, text: &str) -> Result<Scenario, ScenarioError> {
    read(&format!("{name}.json"), name, text, None)
}

/// Reads one scenario file; its stem becomes the scenario's name.
///
/// # Errors
///
/// When the file cannot be read, its stem is not made of `a-z`, `0-9` and `-`, [`parse`] refuses its text, or it names an agent or a
/// check that is not in the vocabulary.
pub fn load_file(path: &Path, vocabulary: &Vocabulary<'_>) -> Result<Scenario, ScenarioError> {
    let file = path.display().to_string();
    let name = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if name.is_empty() || !name.chars().all(plain) {
        return Err(ScenarioError::of_file(&file, "a scenario's file name is made of `a-z`, `0-9` and `-`".to_owned()));
    }
    let text =
        fs::read_to_string(path).map_err(|err| ScenarioError::of_file(&file, format!("cannot be read: {err}")))?;
    read(&file, name, &text, Some(vocabulary))
}

/// Reads every `*.json` below `dir`, sorted by name.
///
/// # Errors
///
/// When the folder cannot be read, two files have the same stem, or [`load_file`] refuses one.
pub fn load_all(dir: &Path, vocabulary: &Vocabulary<'_>) -> Result<Vec<Scenario>, ScenarioError> {
    let mut files = Vec::new();
    collect(dir, &mut files)?;
    files.sort_by(|a, b| a.file_stem().cmp(&b.file_stem()));
    for pair in files.windows(2) {
        if pair[0].file_stem() == pair[1].file_stem() {
            let other = pair[0].display();
            return Err(ScenarioError::of_file(
                &pair[1].display().to_string(),
                format!("the name is taken by {other}"),
            ));
        }
    }
    files.iter().map(|file| load_file(file, vocabulary)).collect()
}

fn collect(dir: &Path, files: &mut Vec<PathBuf>) -> Result<(), ScenarioError> {
    let unreadable = |err| ScenarioError::of_file(&dir.display().to_string(), format!("cannot be read: {err}"));
    for entry in fs::read_dir(dir).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else if path.extension().is_some_and(|ext| ext == "json") {
            files.push(path);
        }
    }
    Ok(())
}

fn read(file: &str, name: &str, text: &str, vocabulary: Option<&Vocabulary<'_>>) -> Result<Scenario, ScenarioError> {
    let source = Source { file, text };
    let mut document = source.read::<Scenario>(word_kind)?;
    document.value.name = name.to_owned();
    sense::check(&document.value, vocabulary).map_err(|complaint| {
        source.complain(&document, &complaint.path, complaint.message).allow(complaint.allowed, &complaint.word)
    })?;
    Ok(document.value)
}

/// Names what a wrong word was meant to be: the steps of a story are verbs.
fn word_kind(path: &[Segment]) -> &'static str {
    let is_step = matches!(path.first(), Some(Segment::Key(key)) if key == "steps");
    if is_step && path.len() <= 3 { "verb" } else { "word" }
}

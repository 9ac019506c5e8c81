//! From a file's bytes to a [`Scenario`] or a complaint with its place.
//!
//! Three passes: the JSON itself, the words and types, the sense (people, hosts and counts that exist). Each stops at its first
//! complaint. Which agents and checks exist only the caller knows: it says so in a [`Vocabulary`].

mod sense;
#[cfg(test)]
mod tests;

use std::fs;
use std::path::{Path, PathBuf};

use jsonc_parser::common::Range;
use jsonc_parser::{CollectOptions, ParseOptions, ast, parse_to_ast};
use serde_json::Value;

use super::Scenario;
use super::place::{Place, Segment, locate};

pub use super::place::ScenarioError;
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
    let ast = source.ast()?;
    source.refuse_twin_keys(&ast)?;
    let mut scenario: Scenario = serde_path_to_error::deserialize(Value::from(ast.clone())).map_err(|err| {
        let path = path_of(err.path());
        source.explain(&ast, &path, &err.inner().to_string())
    })?;
    scenario.name = name.to_owned();
    sense::check(&scenario, vocabulary).map_err(|complaint| {
        let range = locate(&ast, &complaint.path, None);
        source.error(range, complaint.message).allow(complaint.allowed, &complaint.word)
    })?;
    Ok(scenario)
}

/// A file under examination.
struct Source<'a> {
    file: &'a str,
    text: &'a str,
}

impl<'a> Source<'a> {
    fn error(&self, range: Range, message: String) -> ScenarioError {
        let place = Some(Box::new(Place::of(self.text, range)));
        ScenarioError { place, ..ScenarioError::of_file(self.file, message) }
    }

    fn ast(&self) -> Result<ast::Value<'a>, ScenarioError> {
        // Comments and trailing commas are read (D-60); nothing else of JSON5 is.
        let options = ParseOptions {
            allow_comments: true,
            allow_trailing_commas: true,
            allow_loose_object_property_names: false,
            allow_missing_commas: false,
            allow_single_quoted_strings: false,
            allow_hexadecimal_numbers: false,
            allow_unary_plus_numbers: false,
            allow_bare_decimal_point_numbers: false,
            allow_non_finite_numbers: false,
            allow_extended_string_escapes: false,
        };
        let parsed = parse_to_ast(self.text, &CollectOptions::default(), &options).map_err(|err| {
            let text = err.kind().to_string();
            self.error(err.range(), format!("broken JSON: {}", lower_first(&text)))
        })?;
        parsed.value.ok_or_else(|| self.error(Range::new(0, 0), "broken JSON: the file is empty".to_owned()))
    }

    /// Refuses an object that has a key twice: which one counts would be a guess.
    fn refuse_twin_keys(&self, value: &ast::Value<'_>) -> Result<(), ScenarioError> {
        match value {
            ast::Value::Array(array) => array.elements.iter().try_for_each(|element| self.refuse_twin_keys(element)),
            ast::Value::Object(object) => {
                for (index, property) in object.properties.iter().enumerate() {
                    let key = property.name.as_str();
                    if object.properties[..index].iter().any(|earlier| earlier.name.as_str() == key) {
                        return Err(self.error(property.range, format!("`{key}` is here twice")));
                    }
                    self.refuse_twin_keys(&property.value)?;
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Turns serde's words into ours and finds their place.
    fn explain(&self, ast: &ast::Value<'_>, path: &[Segment], text: &str) -> ScenarioError {
        let at = |word: Option<&str>| locate(ast, path, word);
        let mut quoted = text.split('`').skip(1).step_by(2).map(str::to_owned);
        let word = quoted.next().unwrap_or_default();
        let (kind, allowed) = if text.starts_with("unknown variant") {
            let verbs = matches!(path.first(), Some(Segment::Key(key)) if key == "steps");
            (if verbs && path.len() <= 3 { "verb" } else { "word" }, quoted.collect())
        } else if text.starts_with("unknown field") {
            ("field", quoted.collect())
        } else {
            return self.error(at(None), plain_words(text));
        };
        self.error(at(Some(&word)), format!("unknown {kind} `{word}`")).allow(allowed, &word)
    }
}

fn path_of(path: &serde_path_to_error::Path) -> Vec<Segment> {
    use serde_path_to_error::Segment as Theirs;
    path.iter()
        .filter_map(|segment| match segment {
            Theirs::Seq { index } => Some(Segment::Index(*index)),
            Theirs::Map { key } => Some(Segment::Key(key.clone())),
            Theirs::Enum { variant } => Some(Segment::Key(variant.clone())),
            Theirs::Unknown => None,
        })
        .collect()
}

/// Names types as the reader of a JSON file knows them.
fn plain_words(text: &str) -> String {
    if text.ends_with("map with a single key") {
        return "an object with exactly one word belongs here".to_owned();
    }
    if text.starts_with("invalid type: unit variant") {
        return "this word needs a value: write it as the key of an object".to_owned();
    }
    let Some((found, expected)) = text.rsplit_once(", expected ") else { return text.to_owned() };
    let expected = match expected {
        "u32" | "u64" | "usize" => "a whole number from 0",
        "a sequence" => "a list",
        "string or map" => "an object with one word",
        other if other.starts_with("struct ") => "an object",
        other if other.starts_with("enum ") => "an object with one word",
        other if other.contains("LinkEnds") => "a list of two hosts",
        other => other,
    };
    format!("{}, expected {expected}", found.replace("map", "an object").replace("sequence", "a list"))
}

fn lower_first(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_lowercase().chain(chars).collect())
}

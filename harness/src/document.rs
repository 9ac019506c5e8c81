//! Files that people write: JSON with comments and trailing commas (D-60), read into a type or refused with the place.
//!
//! Two passes: the JSON itself, then the words and types. What makes no sense beyond that, only the caller knows.

mod place;

use jsonc_parser::common::Range;
use jsonc_parser::{CollectOptions, ParseOptions, ast, parse_to_ast};
use serde::de::DeserializeOwned;
use serde_json::Value;

pub(crate) use self::place::Segment;
use self::place::locate;
pub use self::place::{DocumentError, Place};

/// A file under examination.
pub(crate) struct Source<'a> {
    pub(crate) file: &'a str,
    pub(crate) text: &'a str,
}

/// What a file holds, with the places of everything in it.
pub(crate) struct Document<'a, T> {
    pub(crate) value: T,
    ast: ast::Value<'a>,
}

impl<'a> Source<'a> {
    /// Reads the file into a `T`; `word_kind` names the kind of word that belongs at a path, for the complaint about one that does not.
    ///
    /// # Errors
    ///
    /// Gives the first thing that is wrong, with its place.
    pub(crate) fn read<T: DeserializeOwned>(
        &self,
        word_kind: impl Fn(&[Segment]) -> &'static str,
    ) -> Result<Document<'a, T>, DocumentError> {
        let ast = self.ast()?;
        self.refuse_twin_keys(&ast)?;
        let value = serde_path_to_error::deserialize(Value::from(ast.clone())).map_err(|err| {
            let path = path_of(err.path());
            self.explain(&ast, &path, &err.inner().to_string(), word_kind(&path))
        })?;
        Ok(Document { value, ast })
    }

    /// Says that what stands at `path` is wrong.
    pub(crate) fn complain<T>(&self, document: &Document<'_, T>, path: &[Segment], message: String) -> DocumentError {
        self.error(locate(&document.ast, path, None), message)
    }

    fn error(&self, range: Range, message: String) -> DocumentError {
        let place = Some(Box::new(Place::of(self.text, range)));
        DocumentError { place, ..DocumentError::of_file(self.file, message) }
    }

    fn ast(&self) -> Result<ast::Value<'a>, DocumentError> {
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
    fn refuse_twin_keys(&self, value: &ast::Value<'_>) -> Result<(), DocumentError> {
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
    fn explain(&self, ast: &ast::Value<'_>, path: &[Segment], text: &str, word_kind: &str) -> DocumentError {
        let at = |word: Option<&str>| locate(ast, path, word);
        let mut quoted = text.split('`').skip(1).step_by(2).map(str::to_owned);
        let word = quoted.next().unwrap_or_default();
        let (kind, allowed) = if text.starts_with("unknown variant") {
            (word_kind, quoted.collect())
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

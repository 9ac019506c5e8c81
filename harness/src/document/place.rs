//! Where in a file something is wrong, and how to say it.

use std::fmt;

use jsonc_parser::ast;
use jsonc_parser::common::{Range, Ranged as _};

/// A file that cannot be used: where, what is wrong, and what would be right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DocumentError {
    /// The file, or the folder when no single file is to blame.
    pub file: String,
    /// The place in the file; none when the file as a whole is wrong.
    pub place: Option<Box<Place>>,
    /// What is wrong, as a lowercase fragment.
    pub message: String,
    /// The words that are allowed here, when the place takes no others.
    pub allowed: Vec<String>,
    /// The allowed word that is nearest to the one in the file.
    pub suggestion: Option<String>,
}

/// A place in a file, with the line it is on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
    /// How many characters are meant, at least 1.
    pub width: usize,
    /// The whole line.
    pub source: String,
}

impl DocumentError {
    /// Blames a file as a whole.
    pub(crate) fn of_file(file: &str, message: String) -> Self {
        Self { file: file.to_owned(), place: None, message, allowed: Vec::new(), suggestion: None }
    }

    /// Names the words that would be right here and suggests the one nearest to `word`.
    pub(crate) fn allow(mut self, allowed: Vec<String>, word: &str) -> Self {
        self.suggestion = nearest(word, &allowed);
        self.allowed = allowed;
        self
    }
}

impl std::error::Error for DocumentError {}

impl fmt::Display for DocumentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(place) = &self.place else {
            return write!(f, "{}: {}", self.file, self.message);
        };
        let number = place.line.to_string();
        let margin = " ".repeat(number.len());
        let indent = " ".repeat(place.column - 1);
        let caret = "^".repeat(place.width);
        writeln!(f, "{}:{}:{}: {}", self.file, place.line, place.column, self.message)?;
        writeln!(f, "{margin} |")?;
        writeln!(f, "{number} | {}", place.source)?;
        write!(f, "{margin} | {indent}{caret}")?;
        if !self.allowed.is_empty() {
            let words: Vec<String> = self.allowed.iter().map(|word| format!("`{word}`")).collect();
            write!(f, "\n{margin} = allowed: {}", words.join(", "))?;
        }
        if let Some(word) = &self.suggestion {
            write!(f, "\n{margin} = did you mean `{word}`?")?;
        }
        Ok(())
    }
}

impl Place {
    /// Finds the line and column of a byte range; what runs over the line's end is cut there.
    pub(crate) fn of(text: &str, range: Range) -> Self {
        let start = floor_char(text, range.start);
        let line_start = text[..start].rfind('\n').map_or(0, |at| at + 1);
        let line_end = text[start..].find('\n').map_or(text.len(), |at| start + at);
        let end = floor_char(text, range.end).clamp(start, line_end);
        Self {
            line: text[..line_start].matches('\n').count() + 1,
            column: text[line_start..start].chars().count() + 1,
            width: text[start..end].trim_end().chars().count().max(1),
            // A tab is one column here, so it must be one column in the terminal as well.
            source: text[line_start..line_end].trim_end().replace('\t', " "),
        }
    }
}

fn floor_char(text: &str, at: usize) -> usize {
    let at = at.min(text.len());
    (0..=at).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0)
}

/// One step on the way from the root of a file to a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Segment {
    Key(String),
    Index(usize),
}

impl From<&str> for Segment {
    fn from(key: &str) -> Self {
        Self::Key(key.to_owned())
    }
}

impl From<usize> for Segment {
    fn from(index: usize) -> Self {
        Self::Index(index)
    }
}

/// Finds the range of the value at `path`, or of the last value on the way that is there; when `word` is a key at or in that
/// value, the range of that key.
pub(crate) fn locate(root: &ast::Value<'_>, path: &[Segment], word: Option<&str>) -> Range {
    let mut value = root;
    let mut last_key: Option<(&str, Range)> = None;
    for segment in path {
        let next = match (segment, value) {
            (Segment::Key(key), ast::Value::Object(object)) => {
                object.properties.iter().rfind(|p| p.name.as_str() == key)
            }
            (Segment::Index(index), ast::Value::Array(array)) => {
                let Some(element) = array.elements.get(*index) else { break };
                (value, last_key) = (element, None);
                continue;
            }
            _ => None,
        };
        let Some(property) = next else { break };
        last_key = Some((property.name.as_str(), property.name.range()));
        value = &property.value;
    }
    let Some(word) = word else { return value.range() };
    if let ast::Value::Object(object) = value
        && let Some(property) = object.get(word)
    {
        return property.name.range();
    }
    match last_key {
        Some((key, range)) if key == word && !matches!(value, ast::Value::StringLit(text) if text.value == word) => {
            range
        }
        _ => value.range(),
    }
}

/// Gives the word nearest to `word`, if one is near enough to be meant.
pub(crate) fn nearest(word: &str, allowed: &[String]) -> Option<String> {
    let score = |candidate: &String| strsim::damerau_levenshtein(word, candidate);
    let best = allowed.iter().min_by_key(|candidate| score(candidate))?;
    (score(best) <= (word.chars().count() / 3).max(1)).then(|| best.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_counted_in_characters_and_stays_on_its_line() {
        let text = "{\n  \"é\": \"über\",\n}";

        let place = Place::of(text, Range::new(text.find("\"ü").unwrap(), text.len()));

        assert_eq!((place.line, place.column, place.width), (2, 8, 7));
        assert_eq!(place.source, "  \"é\": \"über\",");
    }

    #[test]
    fn a_place_at_the_end_of_the_file_still_has_a_caret() {
        let place = Place::of("{", Range::new(1, 1));

        assert_eq!((place.line, place.column, place.width), (1, 2, 1));
    }

    #[test]
    fn only_a_near_word_is_suggested() {
        let allowed = ["send".to_owned(), "stop".to_owned()];

        assert_eq!(nearest("snd", &allowed), Some("send".to_owned()));
        assert_eq!(nearest("explode", &allowed), None);
    }
}

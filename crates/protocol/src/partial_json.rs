//! Reads JSON text as it arrives, so that a tool's input can be shown while the model still writes it (A-127).
//!
//! Each piece of text is read once and the value grows in place: a long input costs as much as its length, however it
//! is cut. Open strings, arrays and objects show what they hold so far; a number or word that is not yet complete shows
//! the nearest value it can be read as. Text that is not JSON stops the reader; what was read before stays.

use serde_json::Value;

use crate::wire::JsonObject;

/// Bounds how deep containers nest, as serde_json does.
const MAX_DEPTH: usize = 127;

/// Bounds the length of one number; a longer one stops the reader.
const MAX_SCALAR_BYTES: usize = 1024;

/// Reads whatever a cut-off JSON text already says; none when no value has begun.
pub fn parse_partial_json(text: &str) -> Option<Value> {
    let mut root = None;
    PartialJson::default().push(text, &mut root);
    root
}

/// Holds where in the text the reader stands; the value itself lives with the caller.
#[derive(Debug, Clone, Default)]
pub(crate) struct PartialJson {
    /// Leads to the innermost open container; each object names the key whose value is open.
    path: Vec<Open>,
    expect: Expect,
    /// Collects the number or word, the key, or the escape that is being read.
    scratch: String,
    escape: String,
    /// Tells that the scalar in `scratch` already shows in the value.
    shown: bool,
}

#[derive(Debug, Clone)]
enum Open {
    Array,
    Object { key: String },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Expect {
    #[default]
    Value,
    /// After `[`: a value or the end.
    ValueOrEnd,
    /// After `{`: a key or the end.
    KeyOrEnd,
    /// After a comma in an object.
    Key,
    InKey,
    Colon,
    InString,
    InScalar,
    CommaOrEnd,
    /// The root value is complete; only white space may follow.
    Nothing,
    /// The text is not JSON.
    Failed,
}

impl PartialJson {
    /// Reads the next piece of the text into `root`.
    pub(crate) fn push(&mut self, text: &str, root: &mut Option<Value>) {
        let mut rest = text;
        while !rest.is_empty() && self.expect != Expect::Failed {
            rest = match self.expect {
                Expect::InKey | Expect::InString => self.read_string(rest, root),
                Expect::InScalar => self.read_scalar(rest, root),
                _ => self.read_structure(rest, root),
            };
        }
        if self.expect == Expect::InScalar {
            self.show_scalar(root);
        }
    }

    /// Reads one character between values.
    fn read_structure<'t>(&mut self, text: &'t str, root: &mut Option<Value>) -> &'t str {
        let mut chars = text.chars();
        let Some(next) = chars.next() else {
            return "";
        };
        let rest = chars.as_str();
        if matches!(next, ' ' | '\t' | '\n' | '\r') {
            return rest;
        }
        match (self.expect, next) {
            (Expect::ValueOrEnd, ']') | (Expect::KeyOrEnd, '}') => self.close(),
            (Expect::CommaOrEnd, ']') if matches!(self.path.last(), Some(Open::Array)) => self.close(),
            (Expect::CommaOrEnd, '}') if matches!(self.path.last(), Some(Open::Object { .. })) => self.close(),
            (Expect::CommaOrEnd, ',') => {
                self.expect = match self.path.last() {
                    Some(Open::Array) => Expect::Value,
                    _ => Expect::Key,
                };
            }
            (Expect::KeyOrEnd | Expect::Key, '"') => self.expect = Expect::InKey,
            (Expect::Colon, ':') => {
                if let Some(Open::Object { key }) = self.path.last_mut() {
                    *key = std::mem::take(&mut self.scratch);
                }
                self.expect = Expect::Value;
            }
            (Expect::Value | Expect::ValueOrEnd, _) => return self.begin_value(next, text, rest, root),
            _ => self.expect = Expect::Failed,
        }
        rest
    }

    fn begin_value<'t>(&mut self, next: char, text: &'t str, rest: &'t str, root: &mut Option<Value>) -> &'t str {
        match next {
            '{' | '[' if self.path.len() == MAX_DEPTH => self.expect = Expect::Failed,
            '{' => {
                self.place(Value::Object(JsonObject::new()), root);
                self.path.push(Open::Object { key: String::new() });
                self.expect = Expect::KeyOrEnd;
            }
            '[' => {
                self.place(Value::Array(Vec::new()), root);
                self.path.push(Open::Array);
                self.expect = Expect::ValueOrEnd;
            }
            '"' => {
                self.place(Value::String(String::new()), root);
                self.expect = Expect::InString;
            }
            '-' | '0'..='9' | 't' | 'f' | 'n' => {
                self.expect = Expect::InScalar;
                self.shown = false;
                return text;
            }
            _ => self.expect = Expect::Failed,
        }
        rest
    }

    /// Reads characters of a string or a key, up to its closing quote.
    fn read_string<'t>(&mut self, text: &'t str, root: &mut Option<Value>) -> &'t str {
        let mut piece = String::new();
        let mut closed = false;
        let mut chars = text.chars();
        for next in chars.by_ref() {
            if !self.escape.is_empty() {
                self.read_escape(next, &mut piece);
            } else if next == '"' {
                closed = true;
                break;
            } else if next == '\\' {
                self.escape.push(next);
            } else if next < ' ' {
                self.expect = Expect::Failed;
            } else {
                piece.push(next);
            }
            if self.expect == Expect::Failed {
                break;
            }
        }
        let in_key = self.expect == Expect::InKey;
        if in_key {
            self.scratch.push_str(&piece);
        } else if let Some(Value::String(open)) = self.slot(root) {
            open.push_str(&piece);
        }
        if closed {
            self.expect = if in_key { Expect::Colon } else { self.after_value() };
        }
        chars.as_str()
    }

    /// Reads one more character of an escape; a pair of surrogates is one escape.
    fn read_escape(&mut self, next: char, piece: &mut String) {
        self.escape.push(next);
        let decoded = match decode_escape(&self.escape) {
            Escape::Open => return,
            Escape::Complete(decoded) => decoded,
            Escape::Wrong => {
                self.expect = Expect::Failed;
                return;
            }
        };
        piece.push(decoded);
        self.escape.clear();
    }

    /// Reads characters of a number or word, up to what ends it.
    fn read_scalar<'t>(&mut self, text: &'t str, root: &mut Option<Value>) -> &'t str {
        let ends = |next: char| matches!(next, ',' | ']' | '}' | ' ' | '\t' | '\n' | '\r');
        let (piece, rest, complete) = match text.find(ends) {
            Some(at) => (&text[..at], &text[at..], true),
            None => (text, "", false),
        };
        if self.scratch.len() + piece.len() > MAX_SCALAR_BYTES {
            self.expect = Expect::Failed;
            return rest;
        }
        self.scratch.push_str(piece);
        if !complete {
            return rest;
        }
        match serde_json::from_str::<Value>(&self.scratch) {
            Ok(value) => {
                self.show(value, root);
                self.scratch.clear();
                self.expect = self.after_value();
            }
            Err(_) => self.expect = Expect::Failed,
        }
        rest
    }

    /// Shows the scalar as far as it can be read.
    fn show_scalar(&mut self, root: &mut Option<Value>) {
        if let Some(value) = lenient_scalar(&self.scratch) {
            self.show(value, root);
        }
    }

    fn show(&mut self, value: Value, root: &mut Option<Value>) {
        if !self.shown {
            self.place(value, root);
            self.shown = true;
        } else if let Some(slot) = self.slot(root) {
            *slot = value;
        }
    }

    /// Puts a new value where the text says: in the open container, or as the root.
    fn place(&mut self, value: Value, root: &mut Option<Value>) {
        let Some((innermost, outer)) = self.path.split_last() else {
            *root = Some(value);
            return;
        };
        match (innermost, descend(outer, root)) {
            (Open::Array, Some(Value::Array(items))) => items.push(value),
            (Open::Object { key }, Some(Value::Object(entries))) => {
                entries.insert(key.clone(), value);
            }
            // The caller changed the value behind our back: nothing sensible is left to grow.
            _ => self.expect = Expect::Failed,
        }
    }

    /// Finds the value that was placed last.
    fn slot<'r>(&self, root: &'r mut Option<Value>) -> Option<&'r mut Value> {
        descend(&self.path, root)
    }

    fn close(&mut self) {
        self.path.pop();
        self.expect = self.after_value();
    }

    fn after_value(&self) -> Expect {
        if self.path.is_empty() { Expect::Nothing } else { Expect::CommaOrEnd }
    }
}

/// Follows the newest item of each open container; costs at most [`MAX_DEPTH`] steps.
fn descend<'r>(path: &[Open], root: &'r mut Option<Value>) -> Option<&'r mut Value> {
    path.iter().try_fold(root.as_mut()?, |value, open| match (open, value) {
        (Open::Array, Value::Array(items)) => items.last_mut(),
        (Open::Object { key }, Value::Object(entries)) => entries.get_mut(key),
        _ => None,
    })
}

/// Reads a number or word that may be cut: `tr` is `true`, `1.` is `1`, a lone `-` is nothing yet.
fn lenient_scalar(text: &str) -> Option<Value> {
    for (word, value) in [("true", Value::Bool(true)), ("false", Value::Bool(false)), ("null", Value::Null)] {
        if !text.is_empty() && word.starts_with(text) {
            return Some(value);
        }
    }
    let is_open = |next: char| matches!(next, '.' | 'e' | 'E' | '+' | '-');
    serde_json::from_str(text.trim_end_matches(is_open)).ok()
}

enum Escape {
    Open,
    Complete(char),
    Wrong,
}

fn decode_escape(text: &str) -> Escape {
    let simple = |decoded| Escape::Complete(decoded);
    match text.as_bytes() {
        [_] | [_, b'u'] => Escape::Open,
        [_, b'"'] => simple('"'),
        [_, b'\\'] => simple('\\'),
        [_, b'/'] => simple('/'),
        [_, b'b'] => simple('\u{8}'),
        [_, b'f'] => simple('\u{c}'),
        [_, b'n'] => simple('\n'),
        [_, b'r'] => simple('\r'),
        [_, b't'] => simple('\t'),
        [_, b'u', digits @ ..] => decode_unicode(digits),
        _ => Escape::Wrong,
    }
}

/// Decodes what follows `\u`: four digits, or eight in two escapes for a pair of surrogates.
fn decode_unicode(digits: &[u8]) -> Escape {
    let Some(high) = code_unit(&digits[..digits.len().min(4)]) else {
        return Escape::Wrong;
    };
    if digits.len() < 4 {
        return Escape::Open;
    }
    if !(0xD800..0xDC00).contains(&high) {
        return char::from_u32(high).map_or(Escape::Wrong, Escape::Complete);
    }
    let rest = &digits[4..];
    if !b"\\u".starts_with(&rest[..rest.len().min(2)]) {
        return Escape::Wrong;
    }
    let low_digits = rest.get(2..).unwrap_or_default();
    match code_unit(low_digits) {
        None => Escape::Wrong,
        Some(_) if low_digits.len() < 4 => Escape::Open,
        Some(low) if (0xDC00..0xE000).contains(&low) => {
            let code = 0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00);
            char::from_u32(code).map_or(Escape::Wrong, Escape::Complete)
        }
        Some(_) => Escape::Wrong,
    }
}

fn code_unit(digits: &[u8]) -> Option<u32> {
    digits.iter().try_fold(0, |code, digit| Some(code * 16 + char::from(*digit).to_digit(16)?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::testing::any_json;

    #[track_caller]
    fn check(text: &str, want: Option<Value>) {
        assert_eq!(parse_partial_json(text), want, "{text}");
    }

    #[test]
    fn open_strings_arrays_and_objects_show_what_they_hold_a127() {
        check("", None);
        check("  ", None);
        check("-", None);
        check("{", Some(json!({})));
        check(r#"{"ci"#, Some(json!({})));
        check(r#"{"city""#, Some(json!({})));
        check(r#"{"city":"#, Some(json!({})));
        check(r#"{"city":"Os"#, Some(json!({ "city": "Os" })));
        check(r#"{"city":"Oslo","days":[1,2"#, Some(json!({ "city": "Oslo", "days": [1, 2] })));
        check(r#"[{"a":[[]"#, Some(json!([{ "a": [[]] }])));
        check(r#"["a\n\u00"#, Some(json!(["a\n"])));
        check(r#"["\ud83d\ude0"#, Some(json!([""])));
        check(r#"["\ud83d\ude00"#, Some(json!(["😀"])));
    }

    #[test]
    fn numbers_and_words_show_the_nearest_value_a127() {
        check("[tr", Some(json!([true])));
        check("[nul", Some(json!([null])));
        check("[1.", Some(json!([1])));
        check("[1.5e", Some(json!([1.5])));
        check("[1e+", Some(json!([1])));
        check("[-", Some(json!([])));
        check("12", Some(json!(12)));
    }

    #[test]
    fn text_that_is_not_json_keeps_what_was_read_before() {
        check(r#"{"a":1 oops"#, Some(json!({ "a": 1 })));
        check("[1}", Some(json!([1])));
        check("[1,]", Some(json!([1])));
        check("hello", None);
        check(&"[".repeat(MAX_DEPTH + 1), serde_json::from_str(&("[".repeat(MAX_DEPTH) + &"]".repeat(MAX_DEPTH))).ok());
    }

    #[test]
    fn a_repeated_key_grows_the_value_that_the_text_names_last() {
        check(r#"{"a":1,"b":2,"a":[3"#, Some(json!({ "a": [3], "b": 2 })));
    }

    proptest! {
        #[test]
        fn every_prefix_yields_a_value_and_the_full_text_the_equal_one(value in any_json()) {
            let text = format!("[{value}]");

            for at in (1..text.len()).filter(|at| text.is_char_boundary(*at)) {
                prop_assert!(parse_partial_json(&text[..at]).is_some_and(|value| value.is_array()));
            }

            prop_assert_eq!(parse_partial_json(&text), Some(json!([value])));
        }

        #[test]
        fn the_value_is_the_same_however_the_text_is_cut(value in any_json(), cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..4)) {
            let text = value.to_string();
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(text.len() + 1)).filter(|at| text.is_char_boundary(*at)).collect();
            cuts.sort_unstable();
            cuts.push(text.len());
            let (mut reader, mut root, mut from) = (PartialJson::default(), None, 0);

            for to in cuts {
                reader.push(&text[from..to], &mut root);
                prop_assert_eq!(&root, &parse_partial_json(&text[..to]));
                from = to;
            }

            prop_assert_eq!(root, Some(value));
        }

        #[test]
        fn no_text_makes_it_panic(text in ".{0,40}") {
            parse_partial_json(&text);
        }
    }
}

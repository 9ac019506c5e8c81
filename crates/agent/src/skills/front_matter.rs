//! The block between `---` lines at the beginning of a `SKILL.md` (A-252).
//!
//! It is read as YAML. People write what YAML refuses, `description: Use it when: …` above all; such a block is read line by line,
//! as `key: value` with one pair of quotes around the value.

use std::collections::BTreeMap;

use saphyr_parser::{Event, Parser, ScanError};

/// The line before and behind the block.
const FENCE: &str = "---";

/// What a skill says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SkillFrontmatter {
    /// The name that the model calls it by.
    pub name: String,
    /// What it is for, and when the model should load it.
    pub description: String,
    /// The other fields of the block, as text; lists and maps are empty.
    pub extra: BTreeMap<String, String>,
}

/// Says what is missing at the beginning of a `SKILL.md`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FrontMatterError {
    /// The file does not begin with a block between `---` lines.
    #[error("does not begin with a block between `---` lines")]
    NoBlock,
    /// The block has no `name`, or an empty one.
    #[error("has no `name` between its `---` lines")]
    NoName,
    /// The block has no `description`, or an empty one.
    #[error("has no `description` between its `---` lines")]
    NoDescription,
}

/// Gives the block and the text behind it.
pub(super) fn parse(text: &str) -> Result<(SkillFrontmatter, &str), FrontMatterError> {
    let (block, body) = split(text).ok_or(FrontMatterError::NoBlock)?;
    let mut extra = yaml_fields(block).unwrap_or_else(|_| line_fields(block));
    let mut take =
        |field: &str| extra.remove(field).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty());
    let name = take("name").ok_or(FrontMatterError::NoName)?;
    let description = take("description").ok_or(FrontMatterError::NoDescription)?;
    Ok((SkillFrontmatter { name, description, extra }, body))
}

/// Gives what lies between the fences, and what follows without its empty first lines.
fn split(text: &str) -> Option<(&str, &str)> {
    // Windows editors mark UTF-8 with an invisible first character.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut lines = text.split_inclusive('\n');
    let begin = lines.next().filter(|line| line.trim_end() == FENCE)?.len();
    let mut at = begin;
    for line in lines {
        let end = at;
        at += line.len();
        if line.trim_end() == FENCE {
            return Some((&text[begin..end], text[at..].trim_start_matches(['\r', '\n'])));
        }
    }
    None
}

/// Reads the fields of a YAML map.
fn yaml_fields(block: &str) -> Result<BTreeMap<String, String>, ScanError> {
    let mut fields = BTreeMap::new();
    // The key whose value comes next, on the first level.
    let mut key = None;
    let mut depth = 0_usize;
    for event in Parser::new_from_str(block) {
        let value = match event?.0 {
            Event::MappingStart(..) | Event::SequenceStart(..) => {
                depth += 1;
                continue;
            }
            Event::MappingEnd | Event::SequenceEnd => {
                depth -= 1;
                if depth != 1 {
                    continue;
                }
                String::new()
            }
            Event::Scalar(value, ..) if depth == 1 => value.into_owned(),
            // What another place says is not looked up.
            Event::Alias(_) if depth == 1 => String::new(),
            _ => continue,
        };
        match key.take() {
            Some(key) => drop(fields.insert(key, value)),
            None => key = Some(value),
        }
    }
    Ok(fields)
}

/// Reads `key: value` lines; indented lines belong to fields that are read by nobody.
fn line_fields(block: &str) -> BTreeMap<String, String> {
    let own = block.lines().filter(|line| !line.starts_with([' ', '\t', '#']));
    let pairs = own.filter_map(|line| line.split_once(':'));
    pairs.map(|(key, value)| (key.trim().to_owned(), unquoted(value.trim()).to_owned())).collect()
}

fn unquoted(value: &str) -> &str {
    let inner = |quote: char| value.strip_prefix(quote)?.strip_suffix(quote);
    inner('"').or_else(|| inner('\'')).unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn reads(text: &str, want: (&str, &str, &str)) {
        let (front, body) = parse(text).expect("a good block");
        assert_eq!((front.name.as_str(), front.description.as_str(), body), want);
    }

    #[test]
    fn name_and_description_are_read_and_quotes_stripped_a252_aa151() {
        reads("---\nname: pdf\ndescription: Reads files\n---\n\n# Body\n", ("pdf", "Reads files", "# Body\n"));
        reads("---\nname: \"pdf\"\ndescription: 'It: reads'\n---\n", ("pdf", "It: reads", ""));
        reads("---\r\nname: pdf\r\ndescription: D\r\n---\r\nBody\r\n", ("pdf", "D", "Body\r\n"));
        reads("\u{feff}---\n# a comment\n\nname: pdf\ndescription: D \"x\"\n---", ("pdf", "D \"x\"", ""));
        reads("---\nname: pdf\ndescription: >-\n  over two\n  lines\n---\nB", ("pdf", "over two lines", "B"));
    }

    #[test]
    fn a_description_may_take_several_lines_as_yaml_has_it_a252() {
        #[track_caller]
        fn describes(value: &str, want: &str) {
            reads(&format!("---\nname: pdf\ndescription:{value}\nlicense: MIT\n---\nB"), ("pdf", want, "B"));
        }

        for folded in [" >", " >-", " >+", " >2", " >-2"] {
            describes(&format!("{folded}\n  over two\n  lines\n\n  and one"), "over two lines\nand one");
        }
        for literal in [" |", " |-", " |+", " |2", " | # as it stands"] {
            describes(&format!("{literal}\n  over two\n    lines"), "over two\n  lines");
        }
        describes(" |2\n   indented", "indented");
        describes(" over\n  two lines", "over two lines");
        describes("\n  on the next line", "on the next line");
        describes(" \"quoted: over\n  two\\tlines\"", "quoted: over two\tlines");
        describes(" 'it''s' # a comment", "it's");
        describes(" >\r\n  over two\r\n  lines\r", "over two lines");
    }

    #[test]
    fn what_yaml_refuses_is_read_line_by_line_a252() {
        reads("---\nname: pdf\ndescription: Use it when: asked\n---\n", ("pdf", "Use it when: asked", ""));
        reads("---\nname: \"pdf\"\n# no\ndescription: @home: \"x\"\n---\n", ("pdf", "@home: \"x\"", ""));
        reads("---\nname: pdf\ndescription: [a\nmore:\n  name: no\n---\n", ("pdf", "[a", ""));
    }

    #[test]
    fn other_fields_are_kept_and_nested_ones_take_no_place_a252() {
        let text = "---\nmetadata:\n  name: [{ name: inner }]\nname: &n outer\ndescription: |\n  a\n  b\nalso: *n\nlicense: MIT\n---\n";

        let (front, _) = parse(text).unwrap();

        assert_eq!((front.name.as_str(), front.description.as_str()), ("outer", "a\nb"));
        let extra: Vec<(&str, &str)> = front.extra.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        assert_eq!(extra, [("also", ""), ("license", "MIT"), ("metadata", "")]);
    }

    #[test]
    fn what_is_missing_is_said_a252_aa152() {
        #[track_caller]
        fn fails(text: &str, want: FrontMatterError) {
            assert_eq!(parse(text), Err(want));
        }

        for text in ["", "# Body", "name: x\n---\n", "---\nname: x\ndescription: y\n", "\n---\nname: x\n---\n"] {
            fails(text, FrontMatterError::NoBlock);
        }
        fails("---\ndescription: y\n---\n", FrontMatterError::NoName);
        fails("---\nname: \"\"\ndescription: y\n---\n", FrontMatterError::NoName);
        fails("---\nname: x\n---\n", FrontMatterError::NoDescription);
        fails("---\nname: x\ndescription: >\n---\n", FrontMatterError::NoDescription);
        fails("---\n- name: x\n---\n", FrontMatterError::NoName);
        fails("---\nname\n---\n", FrontMatterError::NoName);
    }
}

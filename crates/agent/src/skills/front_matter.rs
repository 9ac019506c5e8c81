//! The block between `---` lines at the beginning of a `SKILL.md`.

use std::collections::BTreeMap;

/// The line before and behind the block.
const FENCE: &str = "---";

/// What a skill says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SkillFrontmatter {
    /// The name that the model calls it by.
    pub name: String,
    /// What it is for, and when the model should load it.
    pub description: String,
    /// The other fields of the block, as text.
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
    let mut extra = fields(&block);
    let mut take = |field: &str| extra.remove(field).filter(|value| !value.is_empty());
    let name = take("name").ok_or(FrontMatterError::NoName)?;
    let description = take("description").ok_or(FrontMatterError::NoDescription)?;
    Ok((SkillFrontmatter { name, description, extra }, body))
}

/// Gives the lines between the fences, and what follows without its empty first lines.
fn split(text: &str) -> Option<(Vec<&str>, &str)> {
    // Windows editors mark UTF-8 with an invisible first character.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut lines = text.split_inclusive('\n');
    let mut at = lines.next().filter(|line| line.trim_end() == FENCE)?.len();
    let mut block = Vec::new();
    for line in lines {
        at += line.len();
        if line.trim_end() == FENCE {
            return Some((block, text[at..].trim_start_matches(['\r', '\n'])));
        }
        block.push(line.trim_end());
    }
    None
}

/// Reads `key: value` lines. Indented lines belong to the field before them, which must say so with `>` or `|`.
fn fields(block: &[&str]) -> BTreeMap<String, String> {
    let mut fields = BTreeMap::new();
    let mut lines = block.iter().peekable();
    while let Some(line) = lines.next() {
        let is_field = !line.starts_with([' ', '\t', '#']);
        let Some((key, value)) = line.split_once(':').filter(|_| is_field) else {
            continue;
        };
        let joint = match value.trim() {
            ">" | ">-" => Some(" "),
            "|" | "|-" => Some("\n"),
            _ => None,
        };
        let value = match joint {
            None => unquoted(value.trim()).to_owned(),
            Some(joint) => {
                let mut parts = Vec::new();
                while let Some(line) = lines.next_if(|line| line.is_empty() || line.starts_with([' ', '\t'])) {
                    parts.push(line.trim());
                }
                parts.join(joint).trim().to_owned()
            }
        };
        fields.insert(key.trim().to_owned(), value);
    }
    fields
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
    fn other_fields_are_kept_and_nested_ones_take_no_place_a252() {
        let text = "---\nmetadata:\n  name: inner\nname: outer\ndescription: |\n  a\n  b\nlicense: MIT\n---\n";

        let (front, _) = parse(text).unwrap();

        assert_eq!((front.name.as_str(), front.description.as_str()), ("outer", "a\nb"));
        assert_eq!(front.extra["license"], "MIT");
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
    }
}

//! What a person asked for and cannot have: exit code 2.

use std::fmt;

/// A complaint about the command line or a scenario file; everything else that fails is unforeseen.
#[derive(Debug)]
pub(crate) struct BadInput(pub(crate) String);

impl fmt::Display for BadInput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for BadInput {}

/// Says that there is no `word` among `words`, and which one may be meant.
pub(crate) fn no_such(what: &str, word: &str, words: &[&str]) -> BadInput {
    let nearest = words.iter().min_by_key(|candidate| strsim::damerau_levenshtein(word, candidate));
    let near = nearest.filter(|candidate| strsim::damerau_levenshtein(word, candidate) <= (word.len() / 3).max(1));
    let hint = near.map_or_else(String::new, |candidate| format!("\n  did you mean `{candidate}`?"));
    BadInput(format!("there is no {what} `{word}`\n  there is: {}{hint}", words.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_near_word_is_suggested_and_all_are_listed() {
        let text = no_such("scenario", "several-turn", &["reload", "several-turns"]).to_string();

        assert_eq!(
            text,
            "there is no scenario `several-turn`\n  there is: reload, several-turns\n  did you mean `several-turns`?"
        );
    }
}

//! Ids of rules, races, faults, acceptance lines, interop facts and decisions: how they are read out of a text.

use std::collections::BTreeSet;
use std::fmt;

use clap::ValueEnum;
use serde::Serialize;

/// Every prefix with its area, in the order in which ids are listed.
const PREFIXES: &[(&str, Area)] = &[
    ("A", Area::Runtime),
    ("AR", Area::Runtime),
    ("AF", Area::Runtime),
    ("AA", Area::Runtime),
    ("S", Area::Sessions),
    ("SR", Area::Sessions),
    ("C", Area::Client),
    ("CR", Area::Client),
    ("CF", Area::Client),
    ("CA", Area::Client),
    ("RC", Area::Interop),
    ("D", Area::Decisions),
];

/// What stands between the first and the last id of a range.
const RANGES: &[&str] = &["…", "...", "..=", "..", "–"];

/// A part of the specification, by the prefixes of its ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Area {
    /// A-, AR-, AF-, AA-: the agent runtime
    Runtime,
    /// S-, SR-: the session server
    Sessions,
    /// C-, CR-, CF-, CA-: the clients
    Client,
    /// RC-: what the real npm clients do
    Interop,
    /// D-: the decisions
    Decisions,
}

/// An id such as `A-97` or `A-256a`; sorted by prefix, then number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct RuleId {
    prefix: usize,
    number: u32,
    letter: Option<char>,
}

impl RuleId {
    /// Reads a word that is an id and nothing else.
    pub(crate) fn parse(word: &str) -> Option<Self> {
        let (prefix, number) = word.split_once('-')?;
        Self::of(prefix, number)
    }

    fn of(prefix: &str, number: &str) -> Option<Self> {
        let letter = number.chars().next_back().filter(char::is_ascii_lowercase);
        let digits = number.strip_suffix(|c: char| Some(c) == letter).unwrap_or(number);
        let prefix = PREFIXES.iter().position(|(known, _)| *known == prefix)?;
        let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        let number = digits.parse().ok().filter(|_| is_number)?;
        Some(Self { prefix, number, letter })
    }

    /// Gives the prefix without its dash.
    pub(crate) fn prefix(self) -> &'static str {
        PREFIXES[self.prefix].0
    }

    /// Gives the part of the specification that it belongs to.
    pub(crate) fn area(self) -> Area {
        PREFIXES[self.prefix].1
    }
}

impl fmt::Display for RuleId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.prefix(), self.number)?;
        self.letter.map_or(Ok(()), |letter| write!(f, "{letter}"))
    }
}

/// Finds the ids in a line, each a word of its own.
pub(crate) fn ids(line: &str) -> impl Iterator<Item = RuleId> {
    places(line).map(|(id, _, _)| id)
}

/// Finds the ids that a text cites: those in it and, for a range such as `A-87…A-89`, those `known` between its ends.
pub(crate) fn cited(text: &str, known: &BTreeSet<RuleId>) -> BTreeSet<RuleId> {
    let mut found = BTreeSet::new();
    let mut open: Option<(RuleId, usize)> = None;
    for (id, start, end) in places(text) {
        if let Some((first, after)) = open
            && is_range(&text[after..start])
        {
            found.extend(between(known, first, id));
        }
        if let Some(last) = short_end(id, &text[end..]) {
            found.extend(between(known, id, last));
        }
        found.insert(id);
        open = Some((id, end));
    }
    found
}

/// Finds the ids in a test's name: `_a97_ar31` at its end or between other words.
pub(crate) fn named(name: &str, known: &BTreeSet<RuleId>) -> BTreeSet<RuleId> {
    let read = |word: &str| {
        let digits = word.find(|c: char| c.is_ascii_digit())?;
        RuleId::of(&word[..digits].to_ascii_uppercase(), &word[digits..])
    };
    name.split('_').filter_map(read).filter(|id| known.contains(id)).collect()
}

/// Finds the ids in a line with where each begins and ends.
fn places(line: &str) -> impl Iterator<Item = (RuleId, usize, usize)> {
    let mut from = 0;
    line.split(|c: char| !(c.is_ascii_alphanumeric() || c == '-' || c == '_')).filter_map(move |word| {
        let start = from + line[from..].find(word).expect("a piece of a line is in the line");
        from = start + word.len();
        RuleId::parse(word).map(|id| (id, start, from))
    })
}

fn is_range(text: &str) -> bool {
    RANGES.contains(&text.trim())
}

/// Reads the end of a range that leaves its prefix out, as in `A-87…89`.
fn short_end(first: RuleId, rest: &str) -> Option<RuleId> {
    let rest = RANGES.iter().find_map(|mark| rest.trim_start().strip_prefix(mark))?.trim_start();
    let number = rest.split(|c: char| !c.is_ascii_alphanumeric()).next()?;
    RuleId::of(first.prefix(), number)
}

fn between(known: &BTreeSet<RuleId>, first: RuleId, last: RuleId) -> impl Iterator<Item = RuleId> {
    let is_range = first.prefix == last.prefix && first < last;
    let ids = is_range.then(|| known.range(first..=last).copied());
    ids.into_iter().flatten().chain(is_range.then_some(last))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known() -> BTreeSet<RuleId> {
        let rules = (1..=300).map(|n| format!("A-{n}")).chain(["A-256a".to_owned(), "AR-31".to_owned()]);
        rules.filter_map(|id| RuleId::parse(&id)).collect()
    }

    fn texts(ids: impl IntoIterator<Item = RuleId>) -> Vec<String> {
        ids.into_iter().map(|id| id.to_string()).collect()
    }

    #[test]
    fn ids_are_words_of_their_own() {
        let found = texts(ids("S-120, A-65…A-67 (SR-22), A-256a; UTF-8 X-1 TLS-1 A-x A- S-120-b xA-1 A-1ab"));

        assert_eq!(found, ["S-120", "A-65", "A-67", "SR-22", "A-256a"]);
    }

    #[track_caller]
    fn cites(text: &str, want: &[&str]) {
        assert_eq!(texts(cited(text, &known())), want, "{text}");
    }

    #[test]
    fn a_range_cites_every_id_in_it() {
        cites("A-87…A-89", &["A-87", "A-88", "A-89"]);
        cites("A-87 … A-89, A-91", &["A-87", "A-88", "A-89", "A-91"]);
        cites("A-87..A-89", &["A-87", "A-88", "A-89"]);
        cites("A-87–A-89", &["A-87", "A-88", "A-89"]);
        cites("A-87…89", &["A-87", "A-88", "A-89"]);
        cites("A-256…A-257", &["A-256", "A-256a", "A-257"]);
    }

    #[test]
    fn ids_that_only_stand_side_by_side_are_no_range() {
        cites("A-87, A-89", &["A-87", "A-89"]);
        cites("A-87 and A-89", &["A-87", "A-89"]);
        cites("A-89…A-87", &["A-87", "A-89"]);
        cites("A-31…AR-31", &["A-31", "AR-31"]);
        cites("A-87… ends", &["A-87"]);
    }

    #[test]
    fn a_name_cites_the_known_ids_among_its_words() {
        let found = texts(named("an_answer_keeps_its_tail_a97_ar31_a256a_a999_s3_utf8", &known()));

        assert_eq!(found, ["A-97", "A-256a", "AR-31"]);
    }
}

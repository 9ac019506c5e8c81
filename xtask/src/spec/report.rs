//! What is known of each id, for people and for programs.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::Serialize;

use super::chapters::Definition;
use super::citations::{Citation, Citations, Kind};
use crate::rule_id::{Area, RuleId};

/// How much of a rule's text a line of the listing shows.
const TITLE_CHARS: usize = 90;

/// Whether an id is proved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Status {
    Cited,
    Uncited,
    NotApplicable,
}

/// An id and who cites it.
#[derive(Debug, Serialize)]
struct Entry {
    id: String,
    area: Area,
    page: String,
    line: usize,
    section: String,
    title: String,
    status: Status,
    /// Why no test is needed.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    cited_by: Vec<Citation>,
    implemented_in: Vec<Citation>,
    #[serde(skip)]
    prefix: &'static str,
}

/// How many ids of a prefix there are.
#[derive(Debug, Default, Clone, Copy, Serialize)]
struct Count {
    ids: usize,
    cited: usize,
    uncited: usize,
    not_applicable: usize,
}

/// Every id that was asked for, in order.
#[derive(Debug)]
pub(super) struct Report {
    entries: Vec<Entry>,
}

/// What `--format json` prints.
#[derive(Serialize)]
struct Json<'a> {
    ids: Vec<&'a Entry>,
    counts: BTreeMap<&'static str, Count>,
}

impl Report {
    pub(super) fn new(
        definitions: BTreeMap<RuleId, Definition>,
        mut citations: Citations,
        mut not_applicable: BTreeMap<RuleId, String>,
    ) -> Self {
        let entry = |(id, at): (RuleId, Definition)| {
            let citations = citations.remove(&id).unwrap_or_default();
            let (implemented_in, cited_by): (Vec<_>, Vec<_>) =
                citations.into_iter().partition(|c| c.kind == Kind::Code);
            let reason = not_applicable.remove(&id);
            let status = match &reason {
                Some(_) => Status::NotApplicable,
                None if cited_by.iter().any(|citation| proves(citation.kind)) => Status::Cited,
                None => Status::Uncited,
            };
            Entry {
                id: id.to_string(),
                area: id.area(),
                page: at.page,
                line: at.line,
                section: at.section,
                title: at.title,
                status,
                reason,
                cited_by,
                implemented_in,
                prefix: id.prefix(),
            }
        };
        Self { entries: definitions.into_iter().map(entry).collect() }
    }

    /// Whether every id that needs one has a test or a scenario.
    pub(super) fn is_complete(&self) -> bool {
        self.entries.iter().all(|entry| entry.status != Status::Uncited)
    }

    /// Writes the listing for people, and how many there are.
    pub(super) fn text(&self, only_uncited: bool) -> String {
        let mut text = String::new();
        for entry in self.chosen(only_uncited) {
            text += &if only_uncited { entry.line() } else { entry.block() };
        }
        if !text.is_empty() {
            text.push('\n');
        }
        let _ = writeln!(text, "{:<6} {:>6} {:>6} {:>8} {:>15}", "", "ids", "cited", "uncited", "not applicable");
        let mut sum = Count::default();
        for (prefix, count) in self.counts() {
            count.write(&mut text, prefix);
            sum.ids += count.ids;
            sum.cited += count.cited;
            sum.uncited += count.uncited;
            sum.not_applicable += count.not_applicable;
        }
        sum.write(&mut text, "all");
        text
    }

    /// Writes one JSON object.
    pub(super) fn json(&self, only_uncited: bool) -> String {
        let json = Json { ids: self.chosen(only_uncited).collect(), counts: self.counts().into_iter().collect() };
        serde_json::to_string_pretty(&json).expect("numbers and texts always serialise") + "\n"
    }

    fn chosen(&self, only_uncited: bool) -> impl Iterator<Item = &Entry> {
        self.entries.iter().filter(move |entry| !only_uncited || entry.status == Status::Uncited)
    }

    /// Counts by prefix, in the order of the ids.
    fn counts(&self) -> Vec<(&'static str, Count)> {
        let mut counts: Vec<(&'static str, Count)> = Vec::new();
        for entry in &self.entries {
            if counts.last().is_none_or(|(prefix, _)| *prefix != entry.prefix) {
                counts.push((entry.prefix, Count::default()));
            }
            let (_, count) = counts.last_mut().expect("one was pushed above");
            count.ids += 1;
            *match entry.status {
                Status::Cited => &mut count.cited,
                Status::Uncited => &mut count.uncited,
                Status::NotApplicable => &mut count.not_applicable,
            } += 1;
        }
        counts
    }
}

/// Whether such a place is enough for an id: a test or a story that names it, not the heading of the module they stand in.
fn proves(kind: Kind) -> bool {
    matches!(kind, Kind::Test | Kind::Scenario)
}

impl Entry {
    /// Writes the id in a line, with where the code names it.
    fn line(&self) -> String {
        let mut line = format!("{:<7} §{:<6} {}", self.id, self.section, short(&self.title));
        if let Some(at) = self.implemented_in.first() {
            let _ = write!(line, "  [{}:{}]", at.path, at.line);
        }
        line + "\n"
    }

    /// Writes the id with all who cite it.
    fn block(&self) -> String {
        let mut text = format!("{:<7} §{:<6} {}\n", self.id, self.section, short(&self.title));
        if let Some(reason) = &self.reason {
            let _ = writeln!(text, "        not applicable: {reason}");
        }
        for at in self.cited_by.iter().chain(&self.implemented_in) {
            let line = match at.kind {
                Kind::Test => format!("test      {}:{} {}", at.path, at.line, at.name),
                Kind::Scenario => format!("scenario  {}", at.name),
                Kind::Module => format!("test code {}:{}", at.path, at.line),
                Kind::Code => format!("code      {}:{}", at.path, at.line),
            };
            let _ = writeln!(text, "        {line}");
        }
        if self.status == Status::Uncited {
            text += "        no test cites it\n";
        }
        text
    }
}

impl Count {
    fn write(&self, text: &mut String, name: &str) {
        let Self { ids, cited, uncited, not_applicable } = self;
        let _ = writeln!(text, "{name:<6} {ids:>6} {cited:>6} {uncited:>8} {not_applicable:>15}");
    }
}

/// Cuts a title to the length that a line has for it.
fn short(title: &str) -> String {
    if title.chars().count() <= TITLE_CHARS {
        return title.to_owned();
    }
    let cut: String = title.chars().take(TITLE_CHARS - 1).collect();
    cut.trim_end().to_owned() + "…"
}

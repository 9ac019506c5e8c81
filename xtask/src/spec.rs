//! `cargo xtask spec`: each id of docs/spec with the tests and scenarios that cite it, and the ids nobody cites.
//!
//! ```text
//!   chapters (what is defined) ──┐
//!   lexer ─▶ source ─▶ citations ┴▶ report ─▶ text, json
//! ```

mod chapters;
mod citations;
mod lexer;
mod report;
mod source;

use std::collections::BTreeSet;
use std::io::{self, Write as _};

use anyhow::Result;

use crate::bad_input::BadInput;
use crate::cli::{Format, SpecArgs};
use crate::house;
use crate::tree::Tree;
use crate::verdict::Verdict;
pub(crate) use chapters::{definitions, not_applicable};
pub(crate) use citations::test_names;
use report::Report;

/// Prints what `args` ask for; with `--check`, an id that nobody cites is a failure.
pub(crate) fn spec(args: &SpecArgs) -> Result<Verdict> {
    let tree = Tree::read(&house::root())?;
    let report = read(&tree, args)?;
    let text = match args.format {
        Format::Text => report.text(args.uncited),
        Format::Json => report.json(args.uncited),
    };
    print(&text)?;
    let holds = !args.check || report.is_complete();
    Ok(if holds { Verdict::Held } else { Verdict::Unforeseen })
}

fn read(tree: &Tree, args: &SpecArgs) -> Result<Report> {
    let mut definitions = definitions(tree);
    let known: BTreeSet<_> = definitions.keys().copied().collect();
    let citations = citations::citations(tree, &known)?;
    definitions.retain(|id, _| args.area.is_none_or(|area| id.area() == area));
    let sections: BTreeSet<String> = definitions.values().map(|definition| definition.section.clone()).collect();
    for wanted in args.section.iter().chain(&args.except) {
        if !sections.iter().any(|section| is_in(section, wanted)) {
            return Err(no_section(wanted, &sections).into());
        }
    }
    definitions.retain(|_, definition| {
        let is_any = |sections: &[String]| sections.iter().any(|wanted| is_in(&definition.section, wanted));
        (args.section.is_empty() || is_any(&args.section)) && !is_any(&args.except)
    });
    Ok(Report::new(definitions, citations, not_applicable(tree)))
}

/// Whether a section is `wanted` or inside it: `14.2` is in `14`, `C.7` in `c`.
fn is_in(section: &str, wanted: &str) -> bool {
    let (section, wanted) = (section.to_lowercase(), wanted.to_lowercase());
    section.strip_prefix(&wanted).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

fn no_section(wanted: &str, sections: &BTreeSet<String>) -> BadInput {
    let all: Vec<&str> = sections.iter().map(String::as_str).collect();
    BadInput(format!("there is no section `{wanted}`\n  there is: {}", all.join(", ")))
}

/// Writes to stdout; a reader that has seen enough, such as `head`, is no failure.
fn print(text: &str) -> Result<()> {
    match io::stdout().lock().write_all(text.as_bytes()) {
        Err(err) if err.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => Ok(written?),
    }
}

#[cfg(test)]
mod tests;

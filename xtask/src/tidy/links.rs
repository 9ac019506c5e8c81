//! Links on the pages lead somewhere: the file is there, and the heading in it.

use std::collections::BTreeSet;

use super::Finding;
use crate::markdown;
use crate::tree::Tree;

/// Links that lead out of the house are not followed.
const OUTSIDE: &[&str] = &["http://", "https://", "mailto:"];

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for page in tree.below("", "md") {
        for (line, target) in links(&page.text) {
            if let Some(what) = wrong(tree, &page.path, target) {
                findings.push(Finding::new(&page.path, line, format!("({target}): {what}")));
            }
        }
    }
    findings
}

/// Finds the targets of `[text](target)` with their lines, outside code.
fn links(page: &str) -> Vec<(usize, &str)> {
    let mut found = Vec::new();
    let mut in_code = false;
    for (index, line) in page.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            in_code = !in_code;
        }
        if in_code || line.starts_with("    ") {
            continue;
        }
        for text in markdown::prose(line) {
            let ends = text.match_indices("](").map(|(at, mark)| at + mark.len());
            found.extend(ends.filter_map(|at| text[at..].split_once(')')).map(|(target, _)| (index + 1, target)));
        }
    }
    found
}

/// Says what is wrong with a link, if anything is.
fn wrong(tree: &Tree, page: &str, target: &str) -> Option<String> {
    if OUTSIDE.iter().any(|scheme| target.starts_with(scheme)) {
        return None;
    }
    let (file, heading) = target.split_once('#').map_or((target, None), |(file, heading)| (file, Some(heading)));
    let Some(path) = resolve(page, file) else {
        return Some("leads out of the house".to_owned());
    };
    let is_folder = |path: &str| tree.files.iter().any(|file| file.path.starts_with(&format!("{path}/")));
    match (tree.text(&path), heading) {
        (Some(text), Some(heading)) if !headings(text).contains(heading) => Some(format!("{path} has no such heading")),
        (None, _) if !is_folder(&path) => Some(format!("there is no {path}")),
        _ => None,
    }
}

/// Follows a relative path from a page; an empty one is the page itself.
fn resolve(page: &str, target: &str) -> Option<String> {
    if target.is_empty() {
        return Some(page.to_owned());
    }
    let mut path: Vec<&str> = page.split('/').collect();
    path.pop();
    for part in target.trim_end_matches('/').split('/') {
        match part {
            "." => {}
            ".." => drop(path.pop()?),
            part => path.push(part),
        }
    }
    Some(path.join("/"))
}

/// Gives the names under which a page's headings are linked, as code hosts make them.
fn headings(page: &str) -> BTreeSet<String> {
    let titles = page.lines().filter_map(|line| line.strip_prefix('#')?.trim_start_matches('#').strip_prefix(' '));
    let name = |title: &str| {
        let kept = title.trim().chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
        kept.collect::<String>().to_lowercase().replace(' ', "-")
    };
    titles.map(name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn finds(text: &str, want: &[&str]) {
        let tree = Tree::of(&[
            ("README.md", "# Top\n## The map, in short\n"),
            ("docs/guide/a.md", text),
            ("docs/guide/b.md", "# B\n"),
        ]);

        let found: Vec<String> = check(&tree).iter().map(Finding::to_string).collect();

        assert_eq!(found, want, "{text}");
    }

    #[test]
    fn a_link_to_what_is_there_is_fine() {
        finds("# Here\n[b](b.md) and [top](../../README.md#the-map-in-short), [here](#here)", &[]);
        finds("[folder](../guide) [folder](../../docs/) [out](https://example.com/x.md) [same](./b.md#b)", &[]);
    }

    #[test]
    fn a_link_to_nothing_is_found() {
        finds("x\n[c](c.md)", &["docs/guide/a.md:2: (c.md): there is no docs/guide/c.md"]);
        finds("[b](b.md#c) ", &["docs/guide/a.md:1: (b.md#c): docs/guide/b.md has no such heading"]);
        finds("[x](#x)", &["docs/guide/a.md:1: (#x): docs/guide/a.md has no such heading"]);
        finds("[x](../../../x)", &["docs/guide/a.md:1: (../../../x): leads out of the house"]);
    }

    #[test]
    fn code_has_no_links() {
        finds("`a[0](x)`\n```\n[c](c.md)\n```\n    [c](c.md)\n", &[]);
    }
}

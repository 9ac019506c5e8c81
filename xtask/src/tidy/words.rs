//! Words that must not be in the sources, and where they may be after all.

use super::Finding;
use crate::tree::{File, Tree};

/// This file names every banned word, so it is not read.
const SELF: &str = "xtask/src/tidy/words.rs";

/// What breaks a deterministic run, with what to take instead.
const NONDETERMINISTIC: &[(&str, &str)] = &[
    ("SystemTime::now", "take host.clock().now()"),
    ("std::time::Instant::now", "take tokio::time::Instant"),
    ("thread::sleep", "take tokio::time::sleep"),
    ("thread::spawn", "take host.spawn"),
    ("Uuid::new_v4", "draw ids from host.entropy()"),
    ("rand::rng(", "draw from host.entropy()"),
    ("thread_rng", "draw from host.entropy()"),
    ("HashMap<", "take BTreeMap"),
    ("HashSet<", "take BTreeSet or IndexSet"),
    ("HashMap::new", "take BTreeMap"),
    ("HashSet::new", "take BTreeSet or IndexSet"),
    ("tokio::sync::watch", "take tokio::sync::Notify"),
    ("sync::watch::", "take tokio::sync::Notify"),
    ("spawn_blocking", "take host.blocking()"),
    ("tokio::spawn", "take host.spawn"),
    ("tokio::task::spawn(", "take host.spawn"),
    ("axum::serve", "take turnkeep_host::http::serve"),
    ("futures::select!", "take tokio::select! with biased;"),
    ("use std::time::Instant", "take tokio::time::Instant"),
    ("std::time::{Duration, Instant", "take tokio::time::Instant"),
    ("use tokio::task::spawn", "take host.spawn"),
    ("watch::", "take tokio::sync::Notify"),
    ("StreamMap", "its order is drawn: poll a BTreeMap in order"),
    ("std::fs", "a simulated host has a disk of its own: take its storage, or host.files()"),
    ("tokio::fs", "a simulated host has a disk of its own: take its storage, or host.files()"),
    ("std::process", "take host.process()"),
    ("tokio::process", "take host.process()"),
    ("tokio::net", "take host.net()"),
    ("use std::{", "name each module on a line of its own, where the banned ones are seen"),
    ("use tokio::{", "name each module on a line of its own, where the banned ones are seen"),
];

/// Where one of those may be after all, and why.
const EXCEPTIONS: &[(&str, &str, &str)] = &[
    ("crates/host/src/os.rs", "SystemTime::now", "this is the real machine's clock behind Host::os()"),
    ("crates/host/src/os.rs", "tokio::task::spawn(", "this is the real machine's runtime behind Host::os()"),
    ("crates/host/src/os.rs", "tokio::net", "this is the real machine's network behind Host::os()"),
    ("crates/host/src/os.rs", "spawn_blocking", "this is the real machine's threads behind Host::os()"),
    ("crates/host/src/os/files.rs", "std::fs", "these are the real machine's files behind Host::os()"),
    ("crates/host/src/os/process.rs", "std::process", "these are the real machine's programs behind Host::os()"),
    ("crates/host/src/os/process.rs", "tokio::process", "these are the real machine's programs behind Host::os()"),
    (
        "crates/session/src/storage/redb/folder.rs",
        "std::fs",
        "this is the real machine's folder behind RedbStorage::in_folder()",
    ),
    ("crates/session/src/objects/folder.rs", "std::fs", "the objects lie in a folder of this machine"),
    ("crates/session/tests/server/snapshots.rs", "std::fs", "the test takes away a folder of this machine"),
    ("crates/session/src/cli/serving.rs", "std::fs", "the test takes away a file of this machine"),
    ("crates/session/src/storage/redb/tests.rs", "std::fs", "the test's stores are files of this machine"),
    ("crates/agent/src/skills/tests.rs", "std::fs", "the test's skills are folders of this machine"),
    ("crates/host/tests/host/machine.rs", "std::fs", "the test's folders are of this machine"),
    ("crates/session/tests/server/kills.rs", "std::process", "the test kills the real server"),
    ("crates/session/tests/server/kills.rs", "tokio::process", "the test kills the real server"),
    ("crates/mcp/src/main.rs", "std::process", "this is the process's own exit code"),
    ("crates/mcp/src/cli.rs", "std::process", "this is the process's own exit code"),
    ("crates/mcp/tests/mcp/binary.rs", "std::process", "the test starts the real binary"),
    ("crates/mcp/tests/mcp/binary.rs", "tokio::process", "the test starts the real binary"),
    ("crates/session/src/main.rs", "std::process", "this is the process's own exit code"),
    ("crates/session/src/cli.rs", "std::process", "this is the process's own exit code"),
    (
        "crates/session/src/cli/settings.rs",
        "std::fs",
        "settings are files of this machine, read before there is a host",
    ),
    ("harness/src/world/driver.rs", "watch::", "this is the world's own module, not tokio's"),
    ("harness/src/world/disk.rs", "std::fs", "this is turmoil's simulated disk under that name"),
    ("harness/src/golden.rs", "std::fs", "goldens are files of this machine, read after the run"),
    ("harness/src/golden/tests.rs", "std::fs", "the test's goldens are files of this machine"),
    ("harness/src/golden/tests.rs", "std::process", "the test's folder is named after its process"),
    ("harness/src/model/script_file.rs", "std::fs", "scripts are files of this machine, read before the test"),
    ("harness/src/scenario/read.rs", "std::fs", "stories are files of this machine, read before the run"),
    ("harness/src/scenario/read/tests.rs", "std::process", "the test's folder is named after its process"),
    ("harness/src/run.rs", STATIC, "panics are heard per thread, and the hook that hears them is set once per process"),
    ("harness/src/offline.rs", "tokio::task::spawn(", "this is the test's runtime behind the offline host"),
    ("crates/model/tests/providers/requests.rs", "Mock", "this is a provider's stand-in, and wiremock's word for it"),
    ("crates/client/tests/client/net.rs", "tokio::task::spawn(", "this is the test's runtime behind a host of its own"),
];

/// What a `static` holds when it outlives a run and so carries from one into the next.
const KEPT: &[&str] = &["Cell<", "Mutex<", "RwLock<", "Atomic", "Once", "Lazy"];

/// The word under which a `static` that changes is excepted.
const STATIC: &str = "static";

/// What stays in no source at all.
const NEVER: &[(&str, &str)] = &[
    ("#[ignore", "a test runs or is not there"),
    ("todo!", "finish it or leave it out"),
    ("unimplemented!", "finish it or leave it out"),
    ("dbg!", "talk goes through the trace"),
    ("FIXME", "file an issue"),
    ("XXX", "file an issue"),
    ("#[allow(", "take #[expect(lint, reason = \"…\")]"),
    ("#![allow(", "take #[expect(lint, reason = \"…\")]"),
];

/// What the crates that ship must not name.
const NOT_SHIPPED: &[(&str, &str)] = &[
    ("turmoil", "the simulator stays in the harness"),
    ("turnkeep_harness", "the harness depends on the crates, not the other way round"),
    ("turnkeep-harness", "the harness depends on the crates, not the other way round"),
    ("Mock", "mocks live in the harness"),
];

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in tree.below("", "rs").filter(|file| file.path != SELF) {
        let under = |folder: &str| file.path.starts_with(folder);
        findings.extend(banned(file, NEVER, Text::All));
        if under("crates/") {
            findings.extend(banned(file, NOT_SHIPPED, Text::Code));
        }
        if under("crates/") || under("harness/") || under("reference-agents/") {
            findings.extend(banned(file, NONDETERMINISTIC, Text::Code));
            findings.extend(unbiased(file));
            findings.extend(kept(file));
        }
    }
    for file in tree.below("crates/", "toml") {
        findings.extend(banned(file, NOT_SHIPPED, Text::All));
    }
    findings
}

/// What of a file counts.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Text {
    All,
    /// Without comments: they may name what they warn of.
    Code,
}

fn banned(file: &File, words: &[(&str, &str)], text: Text) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (index, line) in file.text.lines().enumerate() {
        let line = if text == Text::Code { code(line) } else { line };
        for (word, instead) in words.iter().filter(|(word, _)| names(line, word) && !is_exception(&file.path, word)) {
            findings.push(Finding::new(&file.path, index + 1, format!("`{word}`: {instead}")));
        }
    }
    findings
}

/// Whether `line` names `word`, not as the end of a longer word.
fn names(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        !before.is_some_and(|c| c.is_alphanumeric() || c == '_')
    })
}

fn is_exception(path: &str, word: &str) -> bool {
    EXCEPTIONS.iter().any(|(file, allowed, _why)| *file == path && *allowed == word)
}

/// Gives a line without its comment.
pub(super) fn code(line: &str) -> &str {
    let comment = line.match_indices("//").find(|(at, _)| !line[..*at].ends_with(':'));
    comment.map_or(line, |(at, _)| &line[..at])
}

/// Finds every `static` that can change: what one run leaves in it the next one sees.
fn kept(file: &File) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (index, line) in file.text.lines().enumerate() {
        let words = code(line).trim_start();
        let item = words.strip_prefix("pub").map_or(words, |rest| rest.split_once(' ').map_or(rest, |(_, item)| item));
        let Some(item) = item.strip_prefix("static ") else { continue };
        let changes = item.starts_with("mut ") || KEPT.iter().any(|word| item.contains(word));
        if changes && !is_exception(&file.path, STATIC) {
            findings.push(Finding::new(&file.path, index + 1, "a `static` that changes: it outlives the run"));
        }
    }
    findings
}

/// Finds every `select!` whose first word is not `biased;`.
fn unbiased(file: &File) -> Vec<Finding> {
    let code: Vec<&str> = file.text.lines().map(code).collect();
    let mut findings = Vec::new();
    for (index, line) in code.iter().enumerate() {
        let Some((_, rest)) = line.split_once("select!") else { continue };
        let mut words = std::iter::once(rest).chain(code[index + 1..].iter().copied()).flat_map(str::split_whitespace);
        let first = words.find(|word| *word != "{" && *word != "(");
        if !first.is_some_and(|word| word.trim_start_matches(['{', '(']).starts_with("biased;")) {
            findings.push(Finding::new(&file.path, index + 1, "`select!` without `biased;`: its order would be drawn"));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn finds(path: &str, text: &str, want: &[&str]) {
        let found: Vec<String> = check(&Tree::of(&[(path, text)])).iter().map(Finding::to_string).collect();

        assert_eq!(found, want);
    }

    #[test]
    fn what_breaks_a_deterministic_run_is_found_in_crates_and_harness() {
        let bad = "fn f() {\n    let now = SystemTime::now();\n}";

        finds("crates/agent/src/a.rs", bad, &["crates/agent/src/a.rs:2: `SystemTime::now`: take host.clock().now()"]);
        finds("harness/src/a.rs", bad, &["harness/src/a.rs:2: `SystemTime::now`: take host.clock().now()"]);
        finds("crates/host/src/os.rs", bad, &[]);
        finds("xtask/src/a.rs", bad, &[]);
    }

    #[test]
    fn every_banned_word_is_found() {
        for (word, instead) in NONDETERMINISTIC {
            let found: Vec<String> = banned(&Tree::of(&[("a.rs", word)]).files[0], NONDETERMINISTIC, Text::Code)
                .iter()
                .map(Finding::to_string)
                .collect();
            assert!(found.contains(&format!("a.rs:1: `{word}`: {instead}")), "{word}: {found:?}");
        }
    }

    #[test]
    fn a_comment_may_name_what_it_warns_of_and_a_longer_word_is_another() {
        finds("crates/a.rs", "//! Never `tokio::spawn`.\nlet x = 1; // not HashMap<K, V>", &[]);
        finds("crates/a.rs", "let x: IndexMap<u8, MyHashMap<u8, u8>>;", &[]);
        finds(
            "crates/a.rs",
            "let url = \"http://turmoil\";",
            &["crates/a.rs:1: `turmoil`: the simulator stays in the harness"],
        );
    }

    #[test]
    fn unfinished_and_silenced_code_is_found_everywhere_comments_included() {
        for (word, instead) in NEVER.iter().filter(|(word, _)| !word.starts_with('#')) {
            finds("xtask/src/a.rs", &format!("// {word}"), &[&format!("xtask/src/a.rs:1: `{word}`: {instead}")]);
        }
        finds("crates/a.rs", "    #[ignore]", &["crates/a.rs:1: `#[ignore`: a test runs or is not there"]);
        finds(
            "crates/a.rs",
            "#[allow(dead_code)]",
            &["crates/a.rs:1: `#[allow(`: take #[expect(lint, reason = \"…\")]"],
        );
    }

    #[test]
    fn shipped_crates_name_no_harness_no_simulator_and_no_mock() {
        let harness = "the harness depends on the crates, not the other way round";
        finds("crates/a.rs", "use turnkeep_harness::x;", &[&format!("crates/a.rs:1: `turnkeep_harness`: {harness}")]);
        finds("crates/a.rs", "struct MockLink;", &["crates/a.rs:1: `Mock`: mocks live in the harness"]);
        finds(
            "crates/a/Cargo.toml",
            "turmoil = \"1\"",
            &["crates/a/Cargo.toml:1: `turmoil`: the simulator stays in the harness"],
        );
        finds("harness/src/a.rs", "use turmoil::Sim; struct MockLink;", &[]);
    }

    #[test]
    fn files_processes_sockets_and_drawn_orders_are_found_in_any_spelling() {
        let net = "take host.net()";
        finds("crates/a.rs", "use tokio::net::TcpStream;", &[&format!("crates/a.rs:1: `tokio::net`: {net}")]);
        finds("crates/host/src/os.rs", "use tokio::net::TcpStream;", &[]);
        let watch = "crates/a.rs:1: `watch::`: take tokio::sync::Notify";
        finds("crates/a.rs", "let (s, r) = watch::channel(1);", &[watch]);
        let line = "name each module on a line of its own, where the banned ones are seen";
        finds("harness/a.rs", "use std::{fs, io};", &[&format!("harness/a.rs:1: `use std::{{`: {line}")]);
        finds("xtask/src/a.rs", "use std::fs;", &[]);
    }

    #[test]
    fn a_static_that_changes_is_found_and_a_constant_one_is_not() {
        let what = "a `static` that changes: it outlives the run";
        for text in [
            "static mut N: u8 = 0;",
            "    static N: AtomicU64 = AtomicU64::new(0);",
            "pub(crate) static N: Mutex<u8> = Mutex::new(0);",
            "pub static N: std::sync::OnceLock<u8> = std::sync::OnceLock::new();",
        ] {
            finds("crates/a.rs", text, &[&format!("crates/a.rs:1: {what}")]);
        }
        finds("crates/a.rs", "static NAMES: [&'static str; 1] = [\"a\"];\nfn f() -> &'static str { \"static \" }", &[]);
        finds("harness/src/run.rs", "static ONCE: Once = Once::new();", &[]);
    }

    #[test]
    fn every_exception_is_of_a_banned_word() {
        for (file, word, why) in EXCEPTIONS {
            let mut banned = NONDETERMINISTIC.iter().chain(NOT_SHIPPED);
            assert!(*word == STATIC || banned.any(|(banned, _)| banned == word), "{file}: {word}");
            assert!(!why.is_empty(), "{file}: {word}");
        }
    }

    #[test]
    fn a_select_must_be_biased() {
        let what = "`select!` without `biased;`: its order would be drawn";

        finds("crates/a.rs", "tokio::select! {\n    biased;\n    () = stop => {}\n}", &[]);
        finds("crates/a.rs", "tokio::select! { biased; () = stop => {} }", &[]);
        finds("crates/a.rs", "tokio::select! {\n    // why\n    biased;\n}", &[]);
        finds("crates/a.rs", "x;\ntokio::select! {\n    () = stop => {}\n}", &[&format!("crates/a.rs:2: {what}")]);
    }
}

//! `cargo xtask interop`: the real npm clients against the served system.
//!
//! Installs what `interop/package-lock.json` names, starts this very binary as `serve` on a free port, and has Node run every case.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;
use tempfile::TempDir;

use crate::cli::InteropArgs;
use crate::house;
use crate::verdict::Verdict;

/// The oldest Node that the suite runs on: the first whose test runner can leave the clients' timers behind.
const OLDEST_NODE: (u32, u32) = (20, 14);

/// How long the server may take until it is ready.
const START_LIMIT: Duration = Duration::from_secs(20);

/// How long the whole suite may take; each case has a limit of its own.
const SUITE_LIMIT: Duration = Duration::from_secs(240);

/// The rest between two looks at a process.
const LOOK: Duration = Duration::from_millis(50);

/// The key of the served environment; it opens nothing else.
const SECRET_KEY: &str = "tr_dev_interop";

/// Keeps what was installed last, beside what was installed.
const STAMP: &str = "node_modules/.turnkeep-lock.json";

/// Runs the suite.
pub(crate) fn interop(args: &InteropArgs) -> Result<Verdict> {
    let folder = house::root().join("interop");
    check_node()?;
    install(&folder)?;
    let served = Served::start()?;
    let counts = run_cases(&folder, &served.url, args)?;
    if counts.cases == 0 {
        bail!("interop: no case ran");
    }
    println!("interop: {} of {} cases held", counts.held, counts.cases);
    if counts.held == counts.cases { Ok(Verdict::Held) } else { bail!("interop: not all cases held") }
}

fn check_node() -> Result<()> {
    let version = version_of("node")?;
    version_of("npm")?;
    if numbers(&version).is_none_or(|numbers| numbers < OLDEST_NODE) {
        bail!(
            "the interop suite needs {}, and node is {version}: install a newer one and put it first in PATH",
            needed()
        );
    }
    Ok(())
}

fn needed() -> String {
    format!("Node {}.{} or newer with npm", OLDEST_NODE.0, OLDEST_NODE.1)
}

fn version_of(program: &str) -> Result<String> {
    let missing = || format!("the interop suite needs {}, and `{program}` cannot be run: install Node", needed());
    let output = Command::new(program).arg("--version").stderr(Stdio::null()).output().with_context(missing)?;
    if !output.status.success() {
        bail!(missing());
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Reads the first two numbers of `v20.14.1`.
fn numbers(version: &str) -> Option<(u32, u32)> {
    let mut numbers = version.strip_prefix('v')?.split('.').map(|number| number.parse().ok());
    Some((numbers.next()??, numbers.next()??))
}

/// Brings node_modules to what the lockfile says, if it is not there yet.
fn install(folder: &Path) -> Result<()> {
    let lock =
        fs::read_to_string(folder.join("package-lock.json")).context("interop/package-lock.json cannot be read")?;
    let stamp = folder.join(STAMP);
    if fs::read_to_string(&stamp).is_ok_and(|installed| installed == lock) {
        return Ok(());
    }
    eprintln!("interop: npm ci");
    let status = Command::new("npm").args(["ci", "--no-audit", "--no-fund"]).current_dir(folder).status()?;
    if !status.success() {
        bail!("npm ci ended with {status}: it needs a registry that npm can reach");
    }
    fs::write(&stamp, lock).with_context(|| format!("{} cannot be written", stamp.display()))
}

/// A process of ours; it ends with this.
struct Ours(Child);

impl Drop for Ours {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The served system, on the embedded store.
struct Served {
    _process: Ours,
    _folder: TempDir,
    url: String,
}

impl Served {
    fn start() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let said = folder.path().join("ready");
        let mut command = Command::new(house::this_binary()?);
        command.args(["serve", "--port", "0", "--host", "127.0.0.1", "--format", "json", "--log", "warn"]);
        command.arg("--data").arg(folder.path().join("data"));
        command.env("TURNKEEP_SECRET_KEY", SECRET_KEY).stdin(Stdio::null()).stdout(File::create(&said)?);
        let mut process = Ours(command.spawn().context("the served system could not be started")?);
        let ready = watch(START_LIMIT, || {
            if let Some(status) = process.0.try_wait()? {
                bail!("the served system ended with {status}");
            }
            Ok(ready_url(&fs::read_to_string(&said)?))
        })?;
        let url =
            ready.with_context(|| format!("the served system was not ready within {} s", START_LIMIT.as_secs()))?;
        Ok(Self { _process: process, _folder: folder, url })
    }
}

/// Looks until there is something to see, or the limit is over.
#[expect(clippy::disallowed_methods, reason = "processes of this machine are bounded by its clock")]
fn watch<T>(limit: Duration, mut look: impl FnMut() -> Result<Option<T>>) -> Result<Option<T>> {
    let start = std::time::Instant::now();
    while start.elapsed() < limit {
        if let Some(seen) = look()? {
            return Ok(Some(seen));
        }
        std::thread::sleep(LOOK);
    }
    Ok(None)
}

fn ready_url(line: &str) -> Option<String> {
    let ready: Value = serde_json::from_str(line.lines().next()?).ok()?;
    Some(ready["url"].as_str()?.to_owned())
}

/// What the suite says about itself.
#[derive(Debug, Default, PartialEq, Eq)]
struct Counts {
    cases: u64,
    held: u64,
}

fn run_cases(folder: &Path, url: &str, args: &InteropArgs) -> Result<Counts> {
    let output = tempfile::tempdir()?;
    let report = output.path().join("report.tap");
    let mut command = Command::new("node");
    // Clients leave timers of a minute behind.
    command.args(["--test", "--test-force-exit"]);
    // People read the one, this program the other.
    command.args(["--test-reporter=spec", "--test-reporter-destination=stderr"]);
    command.args(["--test-reporter=tap", "--test-reporter-destination=stdout"]);
    command.args(args.names.iter().map(|name| format!("--test-name-pattern={name}")));
    command.args(files(&folder.join("test"))?);
    command.current_dir(folder).env("TURNKEEP_URL", url).env("TURNKEEP_SECRET_KEY", SECRET_KEY);
    // For cases that end a server of their own and start it again.
    command.env("TURNKEEP_SERVE", house::this_binary()?);
    command.stdin(Stdio::null()).stdout(File::create(&report)?);
    let mut suite = Ours(command.spawn().context("node could not be started")?);
    let ended = watch(SUITE_LIMIT, || Ok(suite.0.try_wait()?))?;
    if ended.is_none() {
        bail!("the suite did not end within {} s", SUITE_LIMIT.as_secs());
    }
    Ok(counts(&fs::read_to_string(&report)?))
}

fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).context("interop/test cannot be read")?;
    let mut files = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    files.retain(|file| file.to_string_lossy().ends_with(".test.mjs"));
    files.sort();
    Ok(files)
}

/// Reads the last lines of a TAP report: `# tests 3`, `# pass 2`.
fn counts(tap: &str) -> Counts {
    let number = |name: &str| {
        let mut lines = tap.lines().filter_map(|line| line.strip_prefix("# ")?.strip_prefix(name)?.trim().parse().ok());
        lines.next_back().unwrap_or(0)
    };
    Counts { cases: number("tests ") - number("skipped "), held: number("pass ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn node_is_known_by_its_first_two_numbers() {
        assert_eq!(numbers("v20.20.2"), Some((20, 20)));
        assert!(numbers("v18.20.0") < Some(OLDEST_NODE));
        assert_eq!((numbers("v8"), numbers("twenty")), (None, None));
    }

    #[test]
    fn the_ready_line_says_where() {
        let line = r#"{"event":"ready","url":"http://127.0.0.1:4811","agents":["echo"]}"#;

        assert_eq!(ready_url(line).as_deref(), Some("http://127.0.0.1:4811"));
        assert_eq!((ready_url("ready"), ready_url("")), (None, None));
    }

    #[test]
    fn cases_are_counted_by_the_reports_last_lines() {
        let tap = "ok 1 - # pass 9\n# tests 5\n# suites 0\n# pass 2\n# fail 1\n# cancelled 1\n# skipped 1\n";

        assert_eq!(counts(tap), Counts { cases: 4, held: 2 });
        assert_eq!(counts("node: bad option"), Counts::default());
    }
}

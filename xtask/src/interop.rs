//! `cargo xtask interop`: the real npm clients against the served system.
//!
//! Installs what `interop/package-lock.json` names, starts this very binary as `serve` on a free port, and has Node run every case.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, bail};
use serde_json::Value;

use crate::cli::InteropArgs;
use crate::house;
use crate::verdict::Verdict;

/// The oldest Node that the suite runs on.
const OLDEST_NODE: u32 = 20;

/// How long the server may take until it is ready.
const START_LIMIT: Duration = Duration::from_secs(20);

/// How long the whole suite may take; each case has a limit of its own.
const SUITE_LIMIT: Duration = Duration::from_secs(240);

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
    if major(&version).is_none_or(|major| major < OLDEST_NODE) {
        bail!(
            "the interop suite needs Node {OLDEST_NODE} or newer, and node is {version}: install a newer one and put it first in PATH"
        );
    }
    Ok(())
}

fn version_of(program: &str) -> Result<String> {
    let missing = || {
        format!(
            "the interop suite needs Node {OLDEST_NODE} or newer with npm, and `{program}` cannot be run: install Node"
        )
    };
    let output = Command::new(program).arg("--version").stderr(Stdio::null()).output().with_context(missing)?;
    if !output.status.success() {
        bail!(missing());
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Reads `v20.1.2`.
fn major(version: &str) -> Option<u32> {
    version.strip_prefix('v')?.split('.').next()?.parse().ok()
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

/// The served system; it ends with this.
struct Served {
    process: Child,
    url: String,
}

impl Served {
    fn start() -> Result<Self> {
        let mut command = Command::new(house::this_binary()?);
        command.args(["serve", "--port", "0", "--host", "127.0.0.1", "--format", "json", "--log", "warn"]);
        let mut process = command
            .env("TURNKEEP_SECRET_KEY", SECRET_KEY)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .context("the served system could not be started")?;
        let stdout = process.stdout.take().expect("it is piped");
        let mut served = Self { process, url: String::new() };
        let (tell, told) = mpsc::channel();
        thread::spawn(move || {
            let mut line = String::new();
            // Whoever no longer waits has seen the limit pass.
            let _ = BufReader::new(stdout).read_line(&mut line).map(|_| tell.send(line));
        });
        let line = told.recv_timeout(START_LIMIT);
        let line = line.map_err(|_| anyhow!("the served system was not ready within {} s", START_LIMIT.as_secs()))?;
        served.url =
            ready_url(&line).with_context(|| format!("the served system did not say that it is ready: {line:?}"))?;
        Ok(served)
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn ready_url(line: &str) -> Option<String> {
    let ready: Value = serde_json::from_str(line).ok()?;
    Some(ready["url"].as_str()?.to_owned())
}

/// What the suite says about itself.
#[derive(Debug, Default, PartialEq, Eq)]
struct Counts {
    cases: u64,
    held: u64,
}

fn run_cases(folder: &Path, url: &str, args: &InteropArgs) -> Result<Counts> {
    let mut command = Command::new("node");
    command.arg("--test");
    // People read the one, this program the other.
    command.args(["--test-reporter=spec", "--test-reporter-destination=stderr"]);
    command.args(["--test-reporter=tap", "--test-reporter-destination=stdout"]);
    command.args(args.names.iter().map(|name| format!("--test-name-pattern={name}")));
    command.args(files(&folder.join("test"))?);
    let command = command.current_dir(folder).env("TURNKEEP_URL", url).env("TURNKEEP_SECRET_KEY", SECRET_KEY);
    let mut suite = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().context("node could not be started")?;
    let mut stdout = suite.stdout.take().expect("it is piped");
    let reading = thread::spawn(move || {
        let mut tap = String::new();
        stdout.read_to_string(&mut tap).map(|_| tap)
    });
    let began = Instant::now();
    while suite.try_wait()?.is_none() {
        if began.elapsed() > SUITE_LIMIT {
            suite.kill()?;
            bail!("the suite did not end within {} s", SUITE_LIMIT.as_secs());
        }
        thread::sleep(Duration::from_millis(50));
    }
    let tap = reading.join().map_err(|_| anyhow!("the suite's output could not be read"))??;
    Ok(counts(&tap))
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
        let lines = tap.lines().filter_map(|line| line.strip_prefix("# ")?.strip_prefix(name)?.trim().parse().ok());
        lines.last().unwrap_or(0)
    };
    Counts { cases: number("tests ") - number("skipped "), held: number("pass ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn node_is_known_by_its_major_version() {
        assert_eq!(major("v20.20.2"), Some(20));
        assert_eq!(major("v8"), Some(8));
        assert_eq!(major("twenty"), None);
    }

    #[test]
    fn the_ready_line_says_where() {
        let line = r#"{"event":"ready","url":"http://127.0.0.1:4811","agents":["echo"]}"#;

        assert_eq!(ready_url(line).as_deref(), Some("http://127.0.0.1:4811"));
        assert_eq!(ready_url("ready"), None);
    }

    #[test]
    fn cases_are_counted_by_the_reports_last_lines() {
        let tap = "ok 1 - # pass 9\n# tests 5\n# suites 0\n# pass 2\n# fail 1\n# cancelled 1\n# skipped 1\n";

        assert_eq!(counts(tap), Counts { cases: 4, held: 2 });
        assert_eq!(counts("node: bad option"), Counts::default());
    }
}
